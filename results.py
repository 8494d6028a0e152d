"""Table over run directories: one line a run, held-out rates as n/d with the step-0 baseline beside them.

    python results.py                       # every run under out, oldest first
    python results.py --arm projected --last 10 --markdown
    python results.py --tail                # the last run's BLUF, as the run itself printed it

Reads config.json, evals.jsonl and bluf.json of each run directory. Runs are listed, never averaged: means over
seeds with their intervals are study.py's job.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import tyro

import flags
import runs
from run_read import EVAL


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


RUNS = Path("out")


def run_dirs(root: Path = RUNS) -> list[Path]:
    """Run directories in root, root/runs, root/*/runs (out/runs) or root/*/*/runs (of a study, a demo); oldest first:
    names begin with the UTC start. FileNotFoundError where there is none."""
    root = runs.find(root)
    places = [root, *(p for deep in ("runs", "*/runs", "*/*/runs") for p in root.glob(deep))]
    found = {path.parent for place in places for path in place.glob("*/config.json")}
    found = [d for d in found if re.match(r"\d{8}T\d{6}", d.name)]  # <utc>_<name>: models have a config.json too
    if not found:
        raise FileNotFoundError(f"no run under {root}: none has been made yet (try `just smoke-projected`)")
    return sorted(found, key=lambda d: d.name)


def find_run(name: str, root: Path = RUNS) -> Path:
    """A run directory by its path, by a folder that holds no other, by a unique part of its name, or `last`."""
    path = runs.find(name)
    if (path / "config.json").is_file():
        return path
    if path.is_dir():
        inside = run_dirs(path)
        if len(inside) == 1:
            return inside[0]
        raise FileNotFoundError(f"{path} is no run directory: it holds no config.json and {len(inside)} runs, not one")
    try:
        found = run_dirs(root)
    except FileNotFoundError as e:
        raise FileNotFoundError(f"no run directory called {name!r}: {e}") from None
    if name == "last":
        found = found[-1:]
    else:
        found = [p for p in found if p.name == name] or [p for p in found if name in p.name]
    if len(found) == 1:
        return found[0]
    if not found:
        raise FileNotFoundError(f"no run directory called {name!r} under {root}: `just results` lists them")
    raise ValueError(f"{name!r} fits {len(found)} runs ({', '.join(p.name for p in found[:6])}, ...): give more of it")


def read_log(path: Path, fields: tuple[str, ...] = ()) -> list[dict]:
    """Rows of a run's log, [] where there is none yet."""
    return list(runs.read_log(path, fields)) if path.exists() else []


def rate(evals: list[dict], what: str, hint: str, step: int) -> Rate:
    """Counts of `what` over all modes at one step; sampled rows where there are any, else greedy ones."""
    rows = [e for e in evals if e["step"] == step and e["hint"] == hint and e["evaluator"] == "renamed"]
    rows = rows or [e for e in evals if e["step"] == step and e["hint"] == hint]
    rows = [e for e in rows if e["decode"] == "sample"] or rows
    return Rate(sum(e[what] for e in rows), sum(e["n"] for e in rows))


def read_line(run: Path) -> Line:
    """One run directory -> its line."""
    config = runs.read_config(run)["config"]
    bluf = runs.read_json(run / "bluf.json") if (run / "bluf.json").exists() else {}
    evals = read_log(run / "evals.jsonl", (*EVAL, "hacked", "solved"))
    steps = sorted({e["step"] for e in evals})
    first, last = (steps[0], steps[-1]) if steps else (0, 0)
    done = bluf.get("steps_done", len(read_log(run / "rows.jsonl")))
    status = bluf.get("status", "running")
    if bluf and not bluf.get("valid"):
        status += ", void"
    return Line(
        run.name,
        config["arm"],
        str(config["seed"]),
        f"{done}/{config['steps']}",
        str(rate(evals, "hacked", "on", last)),
        str(rate(evals, "hacked", "on", first)),
        str(rate(evals, "solved", "off", last)),
        str(rate(evals, "solved", "off", first)),
        status,
    )


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
    """Flags of results.py."""

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
        found = [p for p in found if runs.read_config(p)["config"]["arm"] == cfg.arm]
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


if __name__ == "__main__":
    with runs.plain_errors():
        main(tyro.cli(Config))
