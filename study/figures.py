"""Which curves a figure shows, with which words; plots.py draws them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from study import plots
from study.arms import Study, needed, stack_curves
from study.read import DECODES, Run, arm_name, marked
from study.registered import BESIDE
from study.tables import arm_order
from study.words import arm_words

Array = np.ndarray


def curve_decode(study: Study) -> str | None:
    """The decoding whose curves are drawn: the deciding one where it was evaluated along training, else greedy."""
    runs = [r for by_seed in study.arms.values() for r in by_seed.values()]
    for decode in DECODES:
        sides = [side for r in runs for side, _ in needed(r.label, r)]
        if sides and all(decode in side and len(side[decode].step) >= 3 for side in sides):
            return decode
    return None


def study_plots(study: Study, summaries: dict[str, dict], out: Path) -> list[Path]:
    """Curves per treatment with its controls, every other arm, forest, pass-hack plane, overlap of the update."""
    treated = {t: controls for t, controls in study.controls.items() if t in study.arms}
    groups = {t: ["vanilla", t, *controls, *BESIDE.get(t, ()), "ceiling"] for t, controls in treated.items()}
    rest = [a for a in arm_order(study) if not any(a in g for g in groups.values())]
    others = {f"others-{i // 5 + 1}": ["vanilla", *rest[i : i + 5], "ceiling"] for i in range(0, len(rest), 5)}
    sampled = summaries.get("sample")
    return [
        *curve_plots(study, groups | others, out),
        *forest_plot(study, sampled or summaries.get("greedy") or {}, bool(sampled), out),
        *overlap_plots(study, groups, out),
        *training_plot(study, groups, out),
    ]


def training_plot(study: Study, groups: dict[str, list[str]], out: Path) -> Iterator[Path]:
    """Attempts of the student's own rollouts while it trains, of every run whatever became of it: the first treatment
    with its controls, and beside it what the study describes."""
    every = [r for by_seed in study.arms.values() for r in by_seed.values()] + study.invalid + study.unfinished
    runs = {label: [r for r in every if r.label == label] for label in dict.fromkeys(r.label for r in every)}
    curves = {label: c for label, rs in runs.items() if (c := attempt_curves(rs)) is not None and label != "ceiling"}
    first = next(iter(groups.values()), [])
    left = {a: curves[a] for a in first if a in curves}
    right = {a: c for a, c in curves.items() if a == "vanilla" or a not in first}
    if len(left) > 1 and len(right) > 1:
        longest = int(max(c[0][-1] for a, c in right.items() if a != "vanilla"))
        steps, rates = right["vanilla"]
        right["vanilla"] = steps[:longest], rates[:, :longest]
        unit = "% of the student's training rollouts"
        panels = [("Attempts: the treatment and its controls", unit, left), ("Attempts: described arms", unit, right)]
        note = (
            f"Study {study.name}, every run that was begun, means of ten steps, as far as 3 in 4 of an arm came. "
            "Line: mean over seeds; band: 95% t interval (below 5 seeds: thin lines, each seed)."
        )
        yield plots.two_panels(out / "training.png", panels, "Does the student learn to use the loophole?", note)


def attempt_curves(runs: list[Run], window: int = 10) -> tuple[Array, Array] | None:
    """(steps (T,), attempt rates (n, T)), means of the last `window` steps; three in four of the runs reached T."""
    lengths = sorted((len(r.rows.get("att_s", ())) for r in runs), reverse=True)
    last = lengths[(3 * len(lengths) - 1) // 4]
    if last < window:
        return None
    rates = np.array([r.rows["att_s"][:last] for r in runs if len(r.rows["att_s"]) >= last])
    total = np.cumsum(np.pad(rates, ((0, 0), (window, 0))), axis=1)
    seen = np.minimum(np.arange(1, last + 1), window)
    return np.arange(1, last + 1), (total[:, window:] - total[:, :-window]) / seen


def curve_plots(study: Study, groups: dict[str, list[str]], out: Path) -> Iterator[Path]:
    """Of each group of arms: hack and pass rate over steps, and of a treatment's the plane of both."""
    decode = curve_decode(study)
    if decode is None:
        return
    n_prompts = {int(r.on[decode].n[-1]) for s in study.arms.values() for r in s.values() if decode in r.on}
    note = (
        f"Study {study.name}, {DECODES[decode]}, {'-'.join(map(str, sorted(n_prompts)))} held-out prompts a seed, "
        "evaluator renamed. Line: mean over seeds; band: 95% t interval (below 5 seeds: thin lines, each seed)."
    )
    ring = "\nRing: step 0, dot: last step."
    for group, labels in groups.items():
        here = [a for a in labels if a in study.arms]
        hinted = [a for a in here if all(decode in r.on for r in study.arms[a].values())]
        hack = {a: stack_curves(study, a, "hacked", decode) for a in hinted}
        passes = {a: stack_curves(study, a, "pass", decode) for a in here}
        treats = group in study.controls
        title = f"Does `{group}` stop the hacking, and what does it cost?" if treats else "The other arms"
        yield plots.hack_and_pass(out / f"curves-{group}.png", hack, passes, title, note + labelled(study, here))
        if treats:
            plane = {a: _on_common(passes[a], hack[a]) for a in hinted}
            yield plots.plane(out / f"plane-{group}.png", plane, "Hacking at matched solve rate", note + ring)


def labelled(study: Study, names: Iterable[str]) -> str:
    """A note that names which of these arms read labels; "" for none."""
    said = [marked(a, next(iter(study.arms[a].values())).config) for a in names]
    found = [text for a, text in zip(names, said, strict=True) if text != a]
    return f" {'; '.join(found)}." if found else ""


def forest_plot(study: Study, summary: dict[str, dict], sampled: bool, out: Path) -> Iterator[Path]:
    """Every arm's effect against vanilla, where one has been measured."""
    note = (
        "Small dots: same-seed differences. Diamond: mean. Thick bar: 95% BCa bootstrap; thin: 95% t interval "
        f"(both from 5 seeds). Last step, {'T=1' if sampled else 'greedy'}."
    )
    if rows := [(a, s["delta_hacked"], s["delta_pass"]) for a, s in summary.items() if "delta_hacked" in s]:
        note += labelled(study, [r[0] for r in rows])
        yield plots.forest(out / "forest.png", rows, "Effect of each arm against vanilla with the same seed", note)


def overlap_plots(study: Study, groups: dict[str, list[str]], out: Path) -> Iterator[Path]:
    """How hack-ward the applied updates of a treatment and its controls are, where that was measured."""
    note = "Norm of the hack-ward part of the step that the optimizer took, over its whole norm; 5-step means."
    for group, arms in groups.items():
        labels = [a for a in arm_order(study) if a in arms or a.startswith(f"{group}/")]
        if cupd := {a: c for a in labels if a != "ceiling" and (c := overlap_curves(study, a))}:
            yield plots.overlap(out / f"overlap-{group}.png", cupd, "How hack-ward is the applied update?", note)


def overlap_curves(study: Study, label: str, window: int = 5) -> tuple[Array, Array] | None:
    """(steps, cupd (n, T)) of an arm as running means; None where it was not measured."""
    runs = [r for _, r in sorted(study.arms[label].items()) if "cupd" in r.rows and np.isfinite(r.rows["cupd"]).any()]
    steps = sorted(set.intersection(*(set(r.rows["step"].tolist()) for r in runs))) if runs else []
    if len(steps) < window:
        return None
    raw = np.array([r.rows["cupd"][np.isin(r.rows["step"], steps)] for r in runs])
    kernel = np.ones(window) / window
    return np.array(steps[window - 1 :]), np.array([np.convolve(x, kernel, "valid") for x in raw])


def _on_common(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """Mean curves of two stacks on the steps that both have."""
    common = np.intersect1d(a[0], b[0])
    return a[1].mean(0)[np.isin(a[0], common)], b[1].mean(0)[np.isin(b[0], common)]


def pair_plot(runs: Sequence[Run], path: Path, title: str = "") -> Path:
    """Attempts and pass rate over steps of a few single runs; thin lines: attempts of the training rollouts."""
    arms = [arm_name(r.config) or r.label for r in runs]
    labels = [marked(arm_words(a), r.config) for a, r in zip(arms, runs, strict=True)]
    if len(set(labels)) < len(labels):
        labels = [f"{name} [{i + 1}]" for i, name in enumerate(labels)]
    decode = next((d for d in DECODES if all(d in r.on and d in r.off for r in runs)), None)
    if decode is None:
        raise ValueError("plot: the runs share no decoding evaluated with hint on (renamed evaluator) and hint off")
    tried = {k: (r.on[decode].step, r.on[decode].rate("attempted")[None]) for k, r in zip(labels, runs, strict=True)}
    passes = {k: (r.off[decode].step, r.off[decode].rate("solved")[None]) for k, r in zip(labels, runs, strict=True)}
    thin = {k: c for k, r in zip(labels, runs, strict=True) if (c := attempt_curves([r], 5)) is not None}
    n = "-".join(map(str, sorted({int(x) for r in runs for x in r.on[decode].n})))
    seeds = ", ".join(map(str, sorted({r.seed for r in runs})))
    note = (
        f"Dots: {n} held-out prompts, evaluator renamed, {DECODES[decode]}. Thin lines: answers in training, means of "
        f"5 steps. Each line is one run, seed {seeds}: one seed is no evidence for or against a method."
    )
    panels = (
        ("Cheating: tries the loophole", "% of answers to prompts with the hint", tried),
        ("Solving: truly right", "% of answers to prompts without it", passes),
    )
    style = dict(zip(labels, plots.looks(arms).values(), strict=False)) if len(set(arms)) == len(arms) else None
    return plots.two_panels(path, panels, title or " against ".join(labels), note, thin, style)


def run_plot(run: Run, path: Path) -> Path:
    """One run: hacked, attempted, passed, reward and hack-ward overlap over steps, held-out beside training."""
    steps = run.rows.get("step", np.array([]))
    if not len(steps):
        raise ValueError(f"{run.dir}/rows.jsonl: no training step yet, nothing to draw")
    width = max(1, min(10, len(steps) // 6))
    decode = next((d for d in DECODES if d in run.on or d in run.off), "sample")
    sides = {"hacked": run.on, "attempted": run.on, "solved": run.off, "tokens": run.off}

    def smooth(x: Array) -> tuple[Array, Array]:
        """Mean of what was measured in a step and the `width` - 1 before it, as far as there are any, (1, T)."""
        n, total = (np.convolve(v, np.ones(width))[: len(x)] for v in (np.isfinite(x).astype(float), np.nan_to_num(x)))
        return steps, np.where(n > 0, total / np.maximum(n, 1), np.nan)[None]

    def panel(heading: str, unit: str, curves: dict[str, str], held_out: str = "") -> tuple[str, str, plots.Curves]:
        drawn = {name: smooth(run.rows[k]) for name, k in curves.items() if np.isfinite(run.rows.get(k, np.nan)).any()}
        if held_out and (c := sides[held_out].get(decode)):
            hint = "off" if held_out in ("solved", "tokens") else "on"
            rate = c.rate(held_out)[None]
            if np.isfinite(rate).any():
                drawn[f"held-out prompts, hint {hint}"] = (c.step, rate)
        return heading, unit, drawn

    panels = [
        panel("Hacked: paid for a wrong answer", "% of answers", {"training rollouts": "hack_s"}, "hacked"),
        panel("Attempted the loophole", "% of answers", {"training rollouts": "att_s"}, "attempted"),
        panel("Passed: truly solved", "% of answers", {"training rollouts": "gt_s"}, "solved"),
        panel("Reward", "mean of a step", {"training rollouts": "rew_s"}),
        panel("Hack-ward overlap", "cosine with V, share", {"gradient": "cin_s", "applied update": "cupd"}),
        panel("Length of answers", "tokens, mean", {"training rollouts": "length"}, "tokens"),
    ]
    title = f"{run.config.get('arm', run.label)}, seed {run.seed}: {len(steps)} of {run.config.get('steps')} steps"
    n = "-".join(map(str, sorted({int(x) for s in (run.on, run.off) if decode in s for x in s[decode].n}))) or "no"
    note = (
        f"{Path(run.dir).name}. Training: mean of the last {width} steps. Held-out: {n} prompts, {DECODES[decode]}, "
        "evaluator renamed. One seed: not evidence about H1."
    )
    return plots.one_run(path, [p for p in panels if p[2]], title, note)
