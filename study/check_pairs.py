"""Validate pair files by grading both sides of every pair.

python -m study check-pairs data/pairs/*.jsonl     # exit code 1 on any violation
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from command import flags
from grader import Grader
from tasks.pairs import CONTROLS, check_pairs, own_problem_files, summary


@dataclass(frozen=True)
class Check(flags.Checked):
    """Validate pair files: schema, grades of both sides, length, repetition, leakage."""

    files: tyro.conf.Positional[tuple[Path, ...]]  # data/pairs/*.jsonl
    problems: tuple[Path, ...] = ()  # files that no pair may share a problem with; default: the project's own
    tokenizer: str | None = None  # count lengths with this HF tokenizer, else by words and marks
    accept_level: str | None = None  # a weaker sandbox to put up with, as grader.py names it
    workers: int | None = None  # grader workers


def _load_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as err:
        raise SystemExit(f"--tokenizer {name}: cannot be loaded ({str(err).splitlines()[0]})") from err


def check(cfg: Check) -> None:
    if not cfg.files:
        raise SystemExit("no pair file given: python -m study check-pairs data/pairs/*.jsonl")
    tokenizer = _load_tokenizer(cfg.tokenizer) if cfg.tokenizer else None
    against = cfg.problems or own_problem_files()
    try:
        with Grader(workers=cfg.workers, accept_level=cfg.accept_level) as grader:
            layers = grader.layers
            found, pairs = check_pairs(cfg.files, against, tokenizer, grader)
    except (FileNotFoundError, ValueError, RuntimeError) as err:
        raise SystemExit(str(err)) from err
    for f in found:
        print(f)
    if pairs:
        print(summary(pairs, tokenizer))
    n_hack = sum(p.mechanism not in CONTROLS for p in pairs)
    unit = f"tokens of {cfg.tokenizer}" if cfg.tokenizer else "stand-in tokens"
    print(
        f"PAIRS: {'OK' if not found else f'{len(found)} VIOLATION(S)'}: {n_hack} hack pairs,"
        f" {len(pairs) - n_hack} control pairs in {len(cfg.files)} file(s), lengths in {unit},"
        f" leakage against {', '.join(p.name for p in against) or 'nothing (no data/problems.jsonl)'};"
        f" sandbox {layers}"
    )
    if found:
        raise SystemExit(1)
