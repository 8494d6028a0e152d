"""Table over run directories: one line a run, held-out rates as n/d with the step-0 baseline beside them.

    python -m study results                       # every run under out, oldest first
    python -m study results --arm projected --last 10 --markdown
    python -m study results --tail                # the last run's BLUF, as the run itself printed it

Runs are listed, never averaged: means over seeds with their intervals are the report's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from command import flags
from runs import RUNS, read_config, run_dirs
from study.read import DECODES, Curve, arm_name, marked, read_run


@dataclass(frozen=True)
class Rate:
    """hits / n as counts, so that the denominator shows."""

    hits: int
    n: int

    def __str__(self) -> str:
        return f"{self.hits}/{self.n} {self.hits / self.n:4.0%}" if self.n else "-"


@dataclass(frozen=True)
class Line:
    """One run of the table."""

    run: str
    arm: str
    seed: str
    steps: str
    hack: str  # hint on, evaluator renamed, sampled where the run sampled, else greedy; last evaluation
    hack_0: str  # the same at step 0
    solve: str  # hint off
    solve_0: str
    status: str  # finished | crashed | stopped | running, with "void" where a SHOULD failed


HEADER = {
    "run": "run", "arm": "arm", "seed": "seed", "steps": "steps", "hack": "hack", "hack_0": "at step 0",
    "solve": "solve", "solve_0": "at step 0", "status": "status",
}  # fmt: skip


def rate(curves: dict[str, Curve], key: str, which: int) -> Rate:
    """Counts of an evaluation over all modes; sampled ones where they go as far as the greedy ones."""
    found = [curves[d] for d in DECODES if d in curves]
    if not found:
        return Rate(0, 0)
    c = max(found, key=lambda c: c.step[-1])  # the first of equals: sampled
    return Rate(int(c.counts[key][which]), int(c.n[which]))


def read_line(path: Path) -> Line:
    """One run directory -> its line."""
    run = read_run(path)
    status = "running" if run.status == "unfinished" else run.status + ("" if run.valid else ", void")
    done = len(run.rows["step"]) if "step" in run.rows else 0
    hack, hack_0 = (str(rate(run.on, "hacked", which)) for which in (-1, 0))
    solve, solve_0 = (str(rate(run.off, "solved", which)) for which in (-1, 0))
    arm, steps = marked(arm_name(run.config), run.config), f"{done}/{run.config['steps']}"
    return Line(path.name, arm, str(run.seed), steps, hack, hack_0, solve, solve_0, status)


def table(lines: list[Line], markdown: bool) -> str:
    """Fixed-width text, or a Markdown table."""
    cells = [list(HEADER.values())] + [[getattr(line, key) for key in HEADER] for line in lines]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADER))]
    rows = [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in cells]
    if not markdown:
        return "\n".join("  ".join(row).rstrip() for row in rows)
    rule = ["-" * width for width in widths]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], rule, *rows[1:]])


@dataclass(frozen=True)
class Config(flags.Checked):
    """Flags of `results`."""

    runs: Path = RUNS  # folder of run directories, or of folders `runs`, one or two levels down
    arm: str | None = None  # only this arm
    name: str | None = None  # only runs whose directory name holds this
    last: int | None = None  # only the last so many
    markdown: bool = False
    tail: bool = False  # print the last run's bluf.txt instead of the table


def main(cfg: Config) -> None:
    """Print the table, or the last run's BLUF."""
    found = [p for p in run_dirs(cfg.runs) if not cfg.name or cfg.name in p.name]
    if cfg.arm:
        found = [p for p in found if arm_name(read_config(p)["config"]) == cfg.arm]
    if not found:
        raise FileNotFoundError(f"no run under {cfg.runs} fits these flags")
    if cfg.tail:
        path = found[-1] / "bluf.txt"
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: the run {found[-1].name} is not over, or was killed")
        print(path.read_text(encoding="utf-8").rstrip())
        return
    print(table([read_line(p) for p in found[-(cfg.last or len(found)) :]], cfg.markdown))
    print("\nhack: held out, hint on, evaluator renamed; solve: held out, hint off; last evaluation, all modes")
