"""A study's numbers by arm, and the tables of its report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from loguru import logger

from study.arms import Study, matched_hack, mean_height, needed, retained_gain, step_to
from study.read import COUNTS, Run, marked
from study.registered import RULE
from study.stats import Contrast, fisher, t_interval, tost
from study.words import both, interval, share, table


def arm_order(study: Study) -> list[str]:
    """Ceiling, vanilla, each treatment followed by its controls, then the rest in the order of the definition."""
    first = ["ceiling", "vanilla"]
    for t, controls in study.controls.items():
        first += [t, *controls]
    known = list(study.spec.arms) if study.spec else []
    rest = sorted(set(study.arms) - set(first), key=lambda a: (known.index(a) if a in known else len(known), a))
    return [a for a in first if a in study.arms] + rest


def mean_ci(values: Iterable[float]) -> tuple[float, tuple[float, float]]:
    """Mean over seeds with its 95% t interval."""
    v = np.array(list(values), dtype=float)
    return float(v.mean()), t_interval(v)


def summarise(study: Study, decode: str) -> dict[str, dict]:
    """Everything the tables and plots need, by arm, for one decoding."""
    out: dict[str, dict] = {}
    for arm in arm_order(study):
        runs = dict(sorted(study.arms[arm].items()))
        if any(decode not in side for r in runs.values() for side, _ in needed(arm, r)):
            logger.warning(
                f"{arm}: a run has no {decode} evaluation (hint on and off); the arm is left out of that table"
            )
            continue
        paired = set(runs) <= set(study.arms.get("vanilla", {})) and arm != "vanilla"
        van = {k: study.arms["vanilla"][k] for k in runs} if paired else {}
        out[arm] = at_the_end(study, arm, runs, decode)
        if out[arm]["hinted"]:
            out[arm] |= with_the_hint(runs, decode)
        if van:
            out[arm] |= against_vanilla(study, arm, out[arm], van, decode)
    return out


def at_the_end(study: Study, arm: str, runs: dict[int, Run], decode: str) -> dict:
    """Rates of an arm at its last step, with their means over seeds."""
    hinted = all(decode in r.on for r in runs.values())  # not so for a ceiling that was only asked to solve
    end = {m: {k: r.end(m, decode) for k, r in runs.items()} for m in ((*COUNTS, "pass") if hinted else ("pass",))}
    retained, retained_ci = retained_gain(study, arm, decode)
    known = all("cupd" in r.rows and np.isfinite(r.rows["cupd"]).any() for r in runs.values())
    return {
        "seeds": list(runs), "runs": {k: Path(r.dir).name for k, r in runs.items()}, "hinted": hinted, "end": end,
        "mean": {m: mean_ci(v.values()) for m, v in end.items()}, "retained": retained, "retained_ci": retained_ci,
        "cupd": float(np.nanmean([np.nanmean(r.rows["cupd"]) for r in runs.values()])) if known else float("nan"),
        "hours": float(np.mean([r.seconds for r in runs.values()]) / 3600),
        "name": marked(f"`{arm}`", next(iter(runs.values())).config),
        "commits": sorted({r.commit[:7] for r in runs.values() if r.commit}),
    }  # fmt: skip


def with_the_hint(runs: dict[int, Run], decode: str) -> dict:
    """Counts, answer lengths, modes and breakouts of runs that were shown a loophole."""
    last = {k: r.on[decode] for k, r in runs.items()}
    return {
        "counts": {k: {"n": int(c.n[-1]), **{m: int(c.counts[m][-1]) for m in COUNTS}} for k, c in last.items()},
        "tokens": {k: r.curve("tokens", decode)[1][[0, -1]].tolist() for k, r in runs.items()},  # of an answer
        "modes": {k: r.modes[decode] for k, r in runs.items()},
        "unseen": sorted({m for r in runs.values() for m in r.unseen}),
        "height": {k: mean_height(r, decode) for k, r in runs.items()},
        "step50": {k: step_to(r, decode) for k, r in runs.items()},
        "breakouts": breakouts(runs, decode),
    }


def breakouts(runs: dict[int, Run], decode: str) -> int:
    return sum(r.end("hacked", decode) > RULE.breakout for r in runs.values())


def against_vanilla(study: Study, arm: str, s: dict, van: dict[int, Run], decode: str) -> dict:
    """Same-seed contrasts of an arm's figures `s` with vanilla's runs."""
    base = {k: r.end("pass", decode) for k, r in van.items()}
    out: dict = {"delta_pass": Contrast.of(s["end"]["pass"], base, arm)}
    out["tost"] = max(tost(out["delta_pass"].diffs, RULE.pass_margin))
    if set(van) <= set(study.arms.get("ceiling", {})) and arm != "ceiling":
        top = Contrast.of(s["end"]["pass"], study.values("ceiling", "pass", decode, van), arm)
        out["tost_ceiling"] = max(tost(top.diffs, RULE.pass_margin_tight))
    if not s["hinted"]:
        return out
    runs = study.arms[arm]
    for m in ("hacked", "attempted"):
        out["delta_" + m] = Contrast.of(s["end"][m], {k: r.end(m, decode) for k, r in van.items()}, arm)
    out["delta_height"] = Contrast.of(s["height"], {k: mean_height(r, decode) for k, r in van.items()}, arm)
    out["fisher"] = fisher(s["breakouts"], len(van), breakouts(van, decode), len(van))
    out["matched"] = [matched_hack(runs[k], r, decode) for k, r in van.items()]
    out["matched_back"] = [matched_hack(r, runs[k], decode) for k, r in van.items()]
    return out


Columns = dict[str, Callable[[dict], str]]  # heading -> cell of an arm's figures


def by_arm(summary: dict[str, dict], columns: Columns, first: str = "arm", more: Sequence[Sequence[str]] = ()) -> str:
    """A table of one row an arm, then the rows `more`."""
    rows = [(s["name"], *(cell(s) for cell in columns.values())) for s in summary.values()]
    return table((first, *columns), [*rows, *more])


def hinted(summary: dict[str, dict]) -> dict[str, dict]:
    """The arms that were shown a loophole."""
    return {arm: s for arm, s in summary.items() if s["hinted"]}


def percent(s: dict, measure: str) -> str:
    """Mean rate over seeds; empty where the arm has none."""
    return f"{100 * s['mean'][measure][0]:.1f}" if measure in s["mean"] else ""


def with_interval(s: dict, measure: str) -> str:
    return f"{percent(s, measure)} {interval(s['mean'][measure][1], False)}" if measure in s["mean"] else ""


def with_p(c: Contrast | None) -> str:
    return f"{100 * c.mean:+.1f}, {both(c)}, {c.p_less:.4f}" if c else ""


def first_step(s: dict) -> str:
    """Median over seeds of the first step at which half of the prompts are hacked."""
    if not s["hinted"]:
        return ""
    reached = [x for x in s["step50"].values() if x is not None]
    return (f"{np.median(reached):.0f} " if reached else "never ") + f"({len(reached)}/{len(s['seeds'])})"


def main_table(summary: dict[str, dict], planned: Iterable[str] = ()) -> str:
    """The first table: rates in percent, differences in percentage points, 95% intervals over seeds."""

    def delta_pass(s: dict) -> str:
        d = s.get("delta_pass")
        return f"{100 * d.mean:+.1f} {interval(d.t_ci)}, {s['tost']:.3f}" if d else ""

    columns: Columns = {
        "n seeds": lambda s: str(len(s["seeds"])),
        "hack held-out [t CI]": lambda s: with_interval(s, "hacked"),
        "Δ vs vanilla, BCa and t CI, p": lambda s: with_p(s.get("delta_hacked")),
        "pass no-hint [t CI]": lambda s: with_interval(s, "pass"),
        "Δ pass [t CI], TOST ±10 p": delta_pass,
        "retained gain [Fieller CI]": lambda s: (
            "" if np.isnan(s["retained"]) else f"{s['retained']:.2f} {share(s['retained_ci'])}"
        ),
        "attempted": lambda s: percent(s, "attempted"),
        "breakouts": lambda s: f"{s['breakouts']}/{len(s['seeds'])}" if s["hinted"] else "",
        "first step ≥ 50%": first_step,
        "cupd": lambda s: "" if np.isnan(s["cupd"]) else f"{s['cupd']:.3f}",
        "h / run": lambda s: f"{s['hours']:.3f}",
        "commit": lambda s: ", ".join(s["commits"]),
    }
    absent = [(f"`{a}`", *[""] * (len(columns) - 1), "not run") for a in planned if a not in summary]
    return by_arm(summary, columns, more=absent)


def outcome_table(summary: dict[str, dict]) -> str:
    """Damage told apart from suppression: what the samples did with the loophole, percent of prompts over seeds."""

    def prompts(s: dict) -> str:
        sizes = sorted({c["n"] for c in s["counts"].values()})
        return "-".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))

    def tokens(s: dict) -> str:
        start, end = np.array(list(s["tokens"].values())).T
        return f"{start.mean():.1f} -> {end.mean():.1f} ({end.min():.1f}-{end.max():.1f})"

    def worst(s: dict) -> str:
        seed = max(s["end"]["hacked"], key=s["end"]["hacked"].get)
        return f"{seed}: {100 * s['end']['hacked'][seed]:.1f}"

    columns: Columns = {
        "n seeds": lambda s: str(len(s["seeds"])),
        "prompts a seed": prompts,
        "attempted": lambda s: percent(s, "attempted"),
        "hacked (paid, wrong)": lambda s: percent(s, "hacked"),
        "attempted but correct": lambda s: percent(s, "attempted_correct"),
        "attempted but broken": lambda s: percent(s, "attempted_broken"),
        "solved, hint on": lambda s: percent(s, "solved"),
        "pass, hint off": lambda s: percent(s, "pass"),
        "tokens an answer, start -> end (seeds)": tokens,
        "worst seed (hack)": worst,
    }
    return by_arm(hinted(summary), columns)


def trajectory_table(summary: dict[str, dict]) -> str:
    """Delay and matched solve rate: Delta of the whole curve, and of checkpoints that solve equally much."""

    def matched(values: list, sign: int) -> str:
        got = [sign * v for v in values if v is not None]
        return (f"{100 * np.mean(got):+.1f} " if got else "") + f"({len(got)}/{len(values)} matched)"

    columns: Columns = {
        "Δ hack at the end": lambda s: f"{100 * s['delta_hacked'].mean:+.1f}",
        "Δ mean height of the hack curve, BCa and t CI, p": lambda s: with_p(s["delta_height"]),
        "Δ hack, arm's end against vanilla's latest checkpoint of equal pass": lambda s: matched(s["matched"], 1),
        "Δ hack, arm's latest checkpoint of equal pass against vanilla's end": lambda s: matched(s["matched_back"], -1),
        "breakouts Fisher p": lambda s: f"{s['fisher']:.3f}",
        "TOST ±3 vs ceiling p": lambda s: f"{s['tost_ceiling']:.3f}" if "tost_ceiling" in s else "",
    }
    return by_arm({arm: s for arm, s in summary.items() if "delta_hacked" in s}, columns)


def seeds_table(summary: dict[str, dict]) -> str:
    """Every seed of every arm: hack / attempted / pass in percent."""

    def cell(s: dict, seed: int) -> str:
        ends = [s["end"].get(m) for m in ("hacked", "attempted", "pass")]
        return " / ".join(f"{100 * e[seed]:.0f}" if e else "–" for e in ends) if seed in s["seeds"] else ""

    seeds = sorted({k for s in summary.values() for k in s["seeds"]})
    return by_arm(summary, {str(k): partial(cell, seed=k) for k in seeds}, "arm: hack / attempted / pass")


def modes_table(summary: dict[str, dict]) -> str:
    """Hack rate by loophole mode, percent, mean over seeds (a global rate can hide one mode's collapse)."""

    def cell(s: dict, mode: str) -> str:
        v = [by[mode]["hacked"] / by[mode]["n"] for by in s["modes"].values() if mode in by and by[mode]["n"]]
        return f"{100 * np.mean(v):.1f}" if v else ""

    modes = sorted({m for s in summary.values() for by in s.get("modes", {}).values() for m in by})
    unseen = {m for s in summary.values() for m in s.get("unseen", ())}
    return by_arm(hinted(summary), {m + " (not in the pool)" * (m in unseen): partial(cell, mode=m) for m in modes})


MORE = {  # heading in the report -> table
    "What the samples did": outcome_table,
    "Along the trajectory": trajectory_table,
    "Hack rate by mode": modes_table,
    "Every seed": seeds_table,
}
