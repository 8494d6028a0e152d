"""GO or NO-GO of a short run on mixed batches, before a study's hours are paid for.

GO if the run is valid, the teacher's hacks are in every step, the student takes them up (its hacks in the last third
of the steps are at least 5%, and twice as many as in the first), and V's cosine tells the student's hacks from its
other answers in most steps (AUROC above .5). The shares of both gradients inside V are printed beside it and decide
nothing: once the student hacks as the teacher does, the two are alike.
"""

from __future__ import annotations

import numpy as np

from study.arms import Study
from study.read import Run

TAKEN_UP = 0.05  # of the student's answers


def mean(values: np.ndarray) -> float:
    """Of the steps that have a value; nan where none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def judge(run: Run) -> tuple[bool, str]:
    """(whether it is GO, the line that says why)."""
    steps = len(run.rows["step"])
    hacks, seen = run.rows["hack_s"], run.rows["auroc"][~np.isnan(run.rows["auroc"])]
    third = max(1, steps // 3)
    first, last = mean(hacks[:third]), mean(hacks[-third:])
    with_teacher, told = int((run.rows["hack_t"] > 0).sum()), int((seen > 0.5).sum())
    cin_s, cin_t = mean(run.rows["cin_s"]), mean(run.rows["cin_t"])
    asked = {
        "valid run" if run.valid else f"not valid ({', '.join(run.why) or run.status})": run.valid,
        f"teacher's hacks in {with_teacher}/{steps} steps": with_teacher == steps,
        f"student's hacks {first:.1%} -> {last:.1%}": last >= max(TAKEN_UP, 2 * first),
        f"V sees them in {told}/{len(seen)} steps": 2 * told > len(seen),
    }
    missed = [words for words, ok in asked.items() if not ok]
    why = f"{'; '.join(missed)} (missed)" if missed else ", ".join(asked)
    word = "NO-GO" if missed else "GO"
    return not missed, f"{word} {run.label} seed {run.seed}: {why}; V holds {cin_s:.2f} (teacher's {cin_t:.2f})"


def probe(study: Study) -> tuple[list[str], bool]:
    """A line for every run of a study, and whether every deciding one is GO."""
    runs = [r for by_seed in study.arms.values() for r in by_seed.values()] + study.invalid
    if not runs:
        raise ValueError(f"{study.dir}: no finished run in it; `just probe-mixed` makes them (QUEUE=local: here)")
    judged = {(r.label, r.seed): judge(r) for r in runs}
    deciding = [go for (label, _), (go, _) in judged.items() if label in study.defined().deciding]
    return [line for _, line in judged.values()], bool(deciding) and all(deciding)
