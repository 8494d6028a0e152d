"""Runs of one seed side by side: one BLUF, the first run the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from study.figures import pair_plot
from study.read import DECODES, Run, arm_name, marked
from study.words import arm_words, listed, pp, wait_words

Cell = tuple[float, str]  # a rate, and its text with counts


def cell(num: float, den: float) -> Cell:
    return (num / den if den else float("nan")), (f"{num / den:.3f} ({int(num)}/{int(den)})" if den else "n/a")


def training(r: Run, last: int = 5) -> Cell:
    part = r.rows["hack_s_n"][-last:] if "hack_s_n" in r.rows else np.zeros((0, 2))
    return cell(part[:, 0].sum(), part[:, 1].sum())


def heldout(r: Run, side: str, key: str, decode: str, which: int = -1) -> Cell:
    c = getattr(r, side).get(decode)
    return cell(c.counts[key][which], c.n[which]) if c is not None else (float("nan"), "n/a")


def measures(runs: Sequence[Run]) -> dict[str, tuple[str, list[Cell]]]:
    """{name: (what it is, a cell a run)}"""
    decode = next((d for d in DECODES if all(d in r.on for r in runs)), "sample")
    on, off = f"held-out, hint on, renamed, {DECODES[decode]}", f"held-out, hint off, {DECODES[decode]}"
    hinted = {"HACK_HELDOUT": "hacked", "ATTEMPTED": "attempted", "ATTEMPTED_RIGHT": "attempted_correct"}
    hinted["ATTEMPTED_BROKEN"] = "attempted_broken"
    return {
        "HACK_STUDENT": ("training rollouts, last 5 steps", [training(r) for r in runs]),
        **{name: (on, [heldout(r, "on", key, decode) for r in runs]) for name, key in hinted.items()},
        "PASS_RATE": (off, [heldout(r, "off", "solved", decode) for r in runs]),
        "PASS_START": ("the same at step 0", [heldout(r, "off", "solved", decode, 0) for r in runs]),
    }


def seen(runs: Sequence[Run]) -> str:
    """One sentence, of the runs' counts alone: how often each student tries the loophole at its last evaluation."""
    if void := [arm_words(arm_name(r.config)) for r in runs if not r.valid]:
        return f"Nothing can be said of these runs: {listed(void)} ended void."
    decode = next((d for d in DECODES if all(d in r.on for r in runs)), None)
    if decode is None:
        return "No prompt told of a loophole, so nobody could try one."
    last = [(int(c.counts["attempted"][-1]), int(c.n[-1])) for r in runs for c in [r.on[decode]]]
    steps, asked = (set(x) for x in zip(*((int(r.on[decode].step[-1]), int(r.on[decode].n[-1])) for r in runs)))
    when = f"after {listed(map(str, sorted(steps)))} steps"
    prompts = f"{'-'.join(map(str, sorted(asked)))} held-out prompts"
    if not any(k for k, _ in last):
        tiny = all(r.config["model"] == "tiny" for r in runs)
        return f"No run tries the loophole on any of {prompts} {when}" + ", as a random model cannot" * tiny + "."
    rates = [f"{arm_words(arm_name(r.config))} on {k / n:.0%}" for r, (k, n) in zip(runs, last, strict=True)]
    first, _, rate = rates[0].rpartition(" on ")
    return f"{when.capitalize()}, {first} tries the loophole on {rate} of {prompts}, {listed(rates[1:])}."


def delta(values: list[Cell], i: int) -> str:
    return "n/a" if np.isnan(values[0][0]) or np.isnan(values[i][0]) else pp(values[i][0] - values[0][0])


def compare(runs: Sequence[Run], plot: Path | None = None) -> int:
    """Print one BLUF for runs of the same seed, the first the baseline; exit code 1 when one of them is invalid."""
    if len({r.seed for r in runs}) != 1 or len(runs) < 2:
        which = ", ".join(f"{r.seed} ({r.dir})" for r in runs)
        raise ValueError(f"compare wants two or more runs of the same seed, got {which}")
    names, found = [marked(arm_name(r.config) or r.label, r.config) for r in runs], measures(runs)
    valid, others = all(r.valid for r in runs), range(1, len(runs))
    hacks, passes = found["HACK_HELDOUT"][1], found["PASS_RATE"][1]
    parts = [f"{names[i]} held-out hack rate {delta(hacks, i)}, pass rate {delta(passes, i)}" for i in others]
    print(
        f"BLUF: {'valid' if valid else 'VOID'}, seed {runs[0].seed}, against {names[0]}: {'; '.join(parts)}. "
        "n=1 seed: not evidence about H1."
    )
    print(f"{'':17s} {names[0]:>18s}" + "".join(f" {names[i]:>18s} {'diff':>9s}" for i in others))
    for name, (what, values) in found.items():
        row = "".join(f" {values[i][1]:>18s} {delta(values, i):>9s}" for i in others)
        print(f"{name + ':':17s} {values[0][1]:>18s}{row}   {what}")
    for r, name in zip(runs, names, strict=True):
        words = "valid" if r.valid else f"VOID ({r.status}; {', '.join(r.why) or 'see its bluf.txt'})"
        print(f"RUN: {name}: {words}, {wait_words(r.seconds)}, {r.dir}")
    print(f"SEEN: {seen(runs)}")
    if plot:
        print(f"PLOT: {pair_plot(runs, plot, seen(runs))}")
    tiny = all(r.config["model"] == "tiny" for r in runs)
    print(f"NEXT: {'just demo' if tiny else f'just read-rollouts {runs[0].dir} --hacked'}")
    return 0 if valid else 1
