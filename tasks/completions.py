"""The rows of `python grader.py`: completions checked before anything runs, and grades that an earlier call left.

cfg: grader.Config, whose flags an error names.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from command import files
from tasks.modes import find_mode


@dataclass(frozen=True)
class Row:
    """A completion and what it answers."""

    problem: Any
    completion: str
    mode: str
    evaluator: str

    def key(self) -> dict[str, str | int]:
        """What an output row repeats of its input row, so that a continued run cannot mix two inputs."""
        digest = hashlib.sha256(self.completion.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return {"problem_id": self.problem.id, "evaluator": self.evaluator, "completion_sha256": digest}


def read_rows(cfg: Any, problems: dict[str, Any]) -> list[Row]:
    """All completions, checked before anything runs; SystemExit names the file, the line and the mend."""
    if not cfg.completions.is_file():
        raise SystemExit(f"{cfg.completions}: no such file (--completions)")
    rows = []
    for number, row in files.read_jsonl(cfg.completions):
        where = f"{cfg.completions}, line {number}"
        for name in ("problem_id", "completion"):
            if name not in row:
                raise SystemExit(f"{where}: the field {name!r} is missing")
        if str(row["problem_id"]) not in problems:
            raise SystemExit(f"{where}: problem_id {row['problem_id']!r} stands not in {cfg.problems} (--problems)")
        if not isinstance(row["completion"], str):
            raise SystemExit(f"{where}: completion must be text, not {type(row['completion']).__name__}")
        mode, evaluator = row.get("mode") or cfg.mode, row.get("evaluator") or cfg.evaluator
        try:
            find_mode(mode)
        except (ValueError, FileNotFoundError) as error:
            raise SystemExit(f"{where}: {error}") from None
        if not isinstance(evaluator, str) or not evaluator.isidentifier():
            raise SystemExit(f"{where}: evaluator {evaluator!r} is no Python name")
        rows.append(Row(problems[str(row["problem_id"])], row["completion"], mode, evaluator))
    if not rows:
        raise SystemExit(f"{cfg.completions}: no completions in the file (--completions)")
    return rows


def done_rows(cfg: Any, rows: list[Row]) -> list[dict]:
    """Rows that an interrupted run left in --out; a torn last line is cut off, another input is refused."""
    if not cfg.out.exists():
        return []
    data = cfg.out.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    done = []
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        where = f"{cfg.out}, line {number}"
        try:
            row = json.loads(line)
        except ValueError:
            raise SystemExit(f"{where}: no JSON; remove the file or choose another --out") from None
        wanted = rows[number - 1].key() | {"mode": rows[number - 1].mode} if number <= len(rows) else {"": ""}
        if any(row.get(k) != v for k, v in wanted.items()):
            raise SystemExit(f"{where}: is the grade of another completion; remove the file or choose another --out")
        done.append(row)
    if len(whole) < len(data):
        with open(cfg.out, "r+b") as file:
            file.truncate(len(whole))
    return done
