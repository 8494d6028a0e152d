"""Does V still see the hacks that training meets? Cosines of the attempts that would be reinforced, over steps.

    rollouts.jsonl of a study's runs -> by arm and window of steps: attempts, their cosine with V, what a screen dropped

V is extracted once and stays; the policy does not. What a screen's threshold misses is paid in full, and the cosine of
an attempt falls as attempts grow likely: its gradient says what the policy has still to learn. An arm whose drops do
not read V (`screen_random`) tells that from selection against V. Flags are read here and nowhere in training.

    python -m study drift out/studies/amendment6-threshold --arms screen screen/at_0.3 screen_random
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from command import files
from command.flags import Checked
from runs import read_log
from study import plots
from study.arms import load_study
from study.read import Run

COLUMNS = "{:16s} {:>9s} {:>6s} {:>9s} {:>18s} {:>8s} {:>9s} {:>8s}"


READ = ("step", "source", "attempted", "gt_correct", "advantage", "screened", "cos_hack")  # of a rollout


@dataclass(frozen=True)
class Config(Checked):
    """Flags of `drift`."""

    study: tyro.conf.Positional[Path]  # study directory with its run directories
    arms: tuple[str, ...] = ()  # only these arms; (): all
    edges: tuple[int, ...] = (10, 20, 40, 60, 120)  # last steps of the windows; one more ends with the run
    out: Path | None = None  # default: drift.json in the study directory; the plot lies beside it


def reinforced(rows: Iterable[dict]) -> list[dict]:
    """Student rollouts that training pushes towards: of positive advantage, or dropped by a screen for being so."""
    return [r for r in rows if r["source"] == "student" and (r["screened"] or r["advantage"] > 0)]


def windows(run: Run, edges: tuple[int, ...]) -> list[dict]:
    """One run -> for each window (a, b] of steps the counts and the cosines with V of its reinforced rollouts."""
    ends = [e for e in edges if e < run.config["steps"]] + [run.config["steps"]]
    path = Path(run.dir) / "rollouts.jsonl"
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: not there; a published study packs no rollouts, so drift needs its first runs"
        )
    rows = reinforced(read_log(path, READ))
    out = []
    for first, last in itertools.pairwise([0, *ends]):
        here = [r for r in rows if first < r["step"] <= last]
        used = [r for r in here if r["attempted"]]
        plain = [r for r in here if r["gt_correct"] and not r["attempted"]]
        out.append(
            {
                "steps": [first + 1, last], "attempts": len(used), "dropped": sum(r["screened"] for r in used),
                "correct": len(plain), "correct_dropped": sum(r["screened"] for r in plain),
                "cosines": [r["cos_hack"] for r in used if r["cos_hack"] is not None],
            }
        )  # fmt: skip
    return out


def drift(by_seed: dict[int, Run], edges: tuple[int, ...]) -> list[dict]:
    """An arm's windows: counts summed over seeds, the median cosine of the attempts with its range over seeds."""
    each = [windows(run, edges) for run in by_seed.values()]
    if len({tuple(w["steps"][1] for w in ws) for ws in each}) > 1:
        raise ValueError("runs of one arm have different --steps: name arms of one length with --arms")
    out = []
    for same in zip(*each, strict=True):
        cosines = [c for w in same for c in w["cosines"]]
        medians = [float(np.median(w["cosines"])) for w in same if w["cosines"]]
        sums = {k: sum(w[k] for w in same) for k in ("attempts", "dropped", "correct", "correct_dropped")}
        middle = {"median": float(np.median(cosines)), "seeds": [min(medians), max(medians)]} if cosines else {}
        out.append({"steps": same[0]["steps"], **sums, **middle})
    return out


def show(found: dict[str, list[dict]]) -> str:
    """The table: arm and window by row, denominators shown."""
    head = ("arm", "steps", "share", "attempts", "median cos (seeds)", "dropped", "correct", "dropped")
    lines = [COLUMNS.format(*head)]
    for arm, rows in found.items():
        for w in rows:
            middle = f"{w['median']:+.3f} ({w['seeds'][0]:+.2f} {w['seeds'][1]:+.2f})" if "median" in w else "-"
            share = [f"{100 * a / n:.1f}%" if n else "-" for a, n in
                     ((w["attempts"], w["attempts"] + w["correct"]), (w["dropped"], w["attempts"]),
                      (w["correct_dropped"], w["correct"]))]  # fmt: skip
            steps = f"{w['steps'][0]}-{w['steps'][1]}"
            lines.append(
                COLUMNS.format(arm, steps, share[0], str(w["attempts"]), middle, share[1], str(w["correct"]), share[2])
            )
    lines.append(
        "of the student's rollouts of positive advantage: attempts (share of attempts and correct ones), their"
    )
    lines.append("cosine with V, how many of them the arm dropped; correct ones without an attempt, how many dropped")
    return "\n".join(lines)


def main(cfg: Config) -> dict[str, list[dict]]:
    """Print the table, write drift.json and drift.png."""
    study = load_study(cfg.study)
    arms = cfg.arms or tuple(study.arms)
    if unknown := [a for a in arms if a not in study.arms]:
        raise ValueError(f"--arms {unknown[0]}: no finished valid run of it in {cfg.study}; there are {[*study.arms]}")
    found = {arm: drift(dict(sorted(study.arms[arm].items())), cfg.edges) for arm in arms}
    runs = {arm: [Path(r.dir).name for _, r in sorted(study.arms[arm].items())] for arm in arms}
    out = cfg.out or cfg.study / "drift.json"
    files.write_json(out, {"study": study.name, "runs": runs, "drift": found})
    print(show(found))
    drawn = {arm: rows for arm, rows in found.items() if any("median" in w for w in rows)}
    if drawn:
        seeds = ", ".join(f"{arm} n={len(runs[arm])}" for arm in drawn)
        note = f"Study {study.name}; {seeds}. The student's rollouts of positive advantage; band: range over seeds."
        plots.drift(out.with_suffix(".png"), drawn, "Does V still see the attempts that training meets?", note)
    print(f"OUT: {out}" + (f", {out.with_suffix('.png')}" if drawn else ""))
    return found
