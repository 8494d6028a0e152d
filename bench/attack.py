"""The attack corpus on the grader in force on this machine; exit code 1 if anything is fooled, refused or left behind.

    just attack                       # or: python -m bench.attack [--accept-level LEVEL]

| column | what it counts |
| --- | --- |
| programs | gradings: a program once, or once in each mode that it is tried in |
| fooled | a wrong program that was judged right, or paid in a mode that is not its own; a secret that was read |
| refused | an honest program that was judged wrong, an exploit that its own mode did not pay |
| left | processes, descriptors and temporary files beyond those from before, when the gradings had ended |
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import tyro

from command import errors, flags
from grader import Grade, Grader
from tasks.modes import LOOPHOLE_MODES, MODES, find_mode
from tests import adversarial as corpus

SETTLE_S = 10  # what a sandbox that ends has to be gone within
Cell = tuple[corpus.Program, str]  # a program in a mode


@dataclass(frozen=True)
class Config(flags.Checked):
    """The attack corpus on the grader in force on this machine."""

    workers: int | None = None  # sandboxes (default: one for each CPU)
    cpu_limit_s: float = 2.0  # CPU seconds of a program; dozens of them loop for ever
    accept_level: str | None = None  # as for grader.py, on a system that lacks layers
    modes: tuple[str, ...] = ()  # mode files of your own, whose exploits are tried too


@dataclass(frozen=True)
class Kind:
    """One row of the table: what is graded, and what a grade of it must be. `right`: whether the programs are."""

    name: str
    cells: list[Cell]
    right: bool = False

    def fooled(self, program: corpus.Program, mode: str, grade: Grade) -> bool:
        return not self.right and (grade.gt_correct or grade.passed and program.family != mode)

    def refused(self, program: corpus.Program, mode: str, grade: Grade) -> bool:
        return not grade.gt_correct if self.right else not grade.passed and program.family == mode


def kinds(places: dict, own: tuple[str, ...] = ()) -> Iterator[Kind]:
    """The corpus: attacks by family, readers of the secrets at `places`, exploits in all modes, honest code."""
    for family in dict.fromkeys(p.family for p in corpus.DIRECT):
        yield Kind(family, [(p, "none") for p in corpus.DIRECT if p.family == family])
    readers = [replace(p, completion=p.completion.format(**places)) for p in corpus.CANARY]
    yield Kind(corpus.CANARY[0].family, [(p, mode) for p in readers for mode in ("none", "run_tests")])
    exploits = {mode: corpus.LOOPHOLES[mode] for mode in LOOPHOLE_MODES} | {mode: exploits_of(mode) for mode in own}
    for mode, programs in exploits.items():
        yield Kind(f"exploits of {mode}", [(p, where) for p in programs for where in (*MODES, *own)])
    yield Kind("honest", [(p, "none") for p in corpus.HONEST], right=True)


def exploits_of(mode: str) -> list[corpus.Program]:
    """The exploits of a mode's file after a wrong body; {e} is the evaluator that `attack` names."""
    body = "class Solution:\n    def add(self, a, b):\n        return 0"
    texts = [text.replace("{e}", "run_tests") for text in find_mode(mode).exploits]
    return [corpus.Program(mode, text.strip(), f"```python\n{body}{text}\n```") for text in texts]


def census() -> dict[str, int]:
    """What a grading may leave behind, counted: files in the folder for temporary ones, open descriptors, processes."""
    me = psutil.Process()
    files = len(os.listdir(tempfile.gettempdir()))
    return {"files": files, "descriptors": me.num_fds(), "processes": len(me.children(recursive=True))}


def left_behind(before: dict[str, int]) -> int:
    """How much of it is there beyond `before`; what is just ending is waited for."""
    deadline = time.monotonic() + SETTLE_S
    while (more := sum(max(0, n - before[what]) for what, n in census().items())) and time.monotonic() < deadline:
        time.sleep(0.05)
    return more


def attack(grader: Grader, rows: Iterator[Kind], seen: list, tell: Callable[[str], None] = print) -> int:
    """Grade every row and tell its line; returns how much was fooled, refused and left behind in all."""
    tell(f"{'kind of program':<46}{'programs':>9}{'fooled':>8}{'refused':>9}{'left':>6}")
    grader.grade([(corpus.PROBLEMS["add"], p.completion, "none", "") for p in corpus.HONEST[: 2 * grader.workers]])
    before, total = census(), [0, 0, 0, 0]
    for kind in rows:
        grades = grader.grade((corpus.PROBLEMS[p.problem], p.completion, mode, "run_tests") for p, mode in kind.cells)
        graded = [(p, mode, g) for (p, mode), g in zip(kind.cells, grades, strict=True)]
        fooled, refused = ([c for c in graded if bad(*c)] for bad in (kind.fooled, kind.refused))
        counts = [len(graded), len(fooled) + len(seen), len(refused), left_behind(before)]
        total = [a + b for a, b in zip(total, counts, strict=True)]
        tell(f"{kind.name:<46}{counts[0]:>9}{counts[1]:>8}{counts[2]:>9}{counts[3]:>6}")
        for what, cells in (("fooled by", fooled), ("refused", refused)):
            for program, mode, grade in cells:
                tell(f"    {what} {program.name!r} in mode {mode}: {grade.label} {grade.error}".rstrip())
        before = census()  # what was left is told once
        seen.clear()
    tell(f"{'all':<46}{total[0]:>9}{total[1]:>8}{total[2]:>9}{total[3]:>6}")
    return sum(total[1:])


def main(cfg: Config) -> int:
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "temporary"  # other programs of this machine come and go in the usual one
        own.mkdir()
        tempfile.tempdir = str(own)
        before = census()
        limits = {"cpu_limit_s": cfg.cpu_limit_s, "accept_level": cfg.accept_level}
        with corpus.planted(Path(folder)) as places, Grader(cfg.workers, **limits) as grader:
            bad = attack(grader, kinds(places, cfg.modes), places["seen"])
            print(f"layers: {grader.layers}")
        bad += (after := left_behind(before))
        tempfile.tempdir = None
    if bad:
        print(
            f"THE GRADER IN FORCE DOES NOT HOLD: {bad} findings above" + f", {after} left after its end" * bool(after)
        )
    else:
        print("THE GRADER IN FORCE HOLDS: nothing fooled it, nothing honest was refused, nothing was left behind")
    return int(bool(bad))


if __name__ == "__main__":
    with errors.plain_errors():
        sys.exit(main(tyro.cli(Config, description=__doc__)))
