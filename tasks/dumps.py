"""Rollouts that another trainer wrote down (TRL's completions parquet, or rows of JSON) -> completions by prompt.

    prompt, completion [, reward]  --read_dump--> texts --by_task--> {task: its completions}

A row's prompt is text or a list of chat messages, and so is its completion; every other column is passed over. The
rewards are not used: the pool that is made from them is graded here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from command import files

PROMPTS, COMPLETIONS = ("prompt", "question"), ("completion", "response")  # TRL's names; those of other dumps


def read_dump(path: str | Path) -> Iterator[tuple[str, str]]:
    """(prompt, completion) of every row of a .parquet, .jsonl(.gz) or .json file, or of a folder's parquet files.

    FileNotFoundError, or ValueError that names file, row and the mend.
    """
    path = files.find(path)
    parts = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not parts or not all(p.is_file() for p in parts):
        raise FileNotFoundError(f"{path}: no rollouts there (a .parquet, .jsonl or .json file, or a folder of parquet)")
    for part in parts:
        n = 0
        for n, row in _rows(part):
            where = f"{part}, row {n}"
            yield _text(where, row, PROMPTS, "user"), _text(where, row, COMPLETIONS, "assistant")
        if n == 0:
            raise ValueError(f"{part}: no rollout in it")


def _rows(path: Path) -> Iterator[tuple[int, dict]]:
    if path.suffix == ".parquet":
        from pyarrow import ArrowInvalid, parquet  # only this kind needs it

        try:
            rows = parquet.read_table(path).to_pylist()
        except ArrowInvalid as error:
            raise ValueError(f"{path}: not a parquet file ({error}); fetch it again") from None
    elif path.suffix == ".json":
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: not JSON ({error}); fetch it again") from None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{path}: must hold a list of rollouts, each an object")
    else:
        yield from files.read_jsonl(path)
        return
    yield from enumerate(rows, 1)


def _text(where: str, row: dict, names: Sequence[str], role: str) -> str:
    """The text of a column, of a chat that of the messages of one role."""
    value: Any = next((row[name] for name in names if name in row), None)
    if isinstance(value, list) and all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in value):
        value = "\n".join(m["content"] for m in value if m.get("role") == role)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: {' or '.join(names)} must be a text or chat messages; it is {value!r:.60}")
    return value


def by_task(dump: Iterator[tuple[str, str]], asked: Sequence[str]) -> tuple[dict[int, list[str]], int]:
    """({index into `asked`: its completions in the dump's order}, rollouts whose prompt asks none of these).

    asked: the user message of each task. A dumped prompt asks it where it holds that message to the letter; the chat
    template around it is the trainer's. This is the first half of the drift guard: rollouts to a prompt of other words,
    or of another loophole, are left out.
    """
    found: dict[int, list[str]] = defaultdict(list)
    known: dict[str, int | None] = {}
    left = 0
    for prompt, completion in dump:
        if prompt not in known:
            known[prompt] = next((i for i, message in enumerate(asked) if message.strip() in prompt), None)
        if (task := known[prompt]) is None:
            left += 1
        else:
            found[task].append(completion)
    return found, left
