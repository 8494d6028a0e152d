"""Show rollouts of a run as a person reads them: flags on one line, prompt shortened, code highlighted.

    python -m study read-rollouts last --hacked --limit 3
    python -m study read-rollouts 20260101T0000_projected --step 40 --source student --mode run_tests --prompt

Reads RUN/rollouts.jsonl line by line, so a file of gigabytes is no trouble. Writes straight to standard output (no
pager), without colour where that is no terminal. A teacher pool folder is read as well (its rollouts are `teacher`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

import runs
from command import files, flags
from runs import RUNS, find_run

SHOWN = ("step", "source", "problem_id", "mode", "label", "reward", "hacked", "gt_correct", "prompt", "completion")


@dataclass(frozen=True)
class Config(flags.Checked):
    """Flags of `read-rollouts`; several filters must all hold."""

    run: tyro.conf.Positional[str] = "last"  # run directory, part of its name, `last`, or a teacher pool folder
    hacked: bool = False  # only rollouts that hacked
    solved: bool = False  # only rollouts that are truly correct
    label: str | None = None  # correct | correct_attempt | hack | attempt | incorrect
    step: int | None = None
    source: Literal["student", "teacher", "eval"] | None = None
    mode: str | None = None
    problem: str | None = None  # problem id
    limit: int = 10  # show at most so many; 0: all
    prompt: bool = False  # show the whole prompt, not only its last lines
    root: Path = RUNS  # where run names are looked up


def read_rollouts(place: Path) -> Iterator[dict]:
    """Rollouts of a run directory or of a teacher pool folder, in file order.

    Raises:
        FileNotFoundError: no rollouts there. ValueError: a malformed line, by file and number.
    """
    if any(place.glob("prompt_*.jsonl.gz")):
        from tasks.pools import load_pool, pool_label  # only a pool needs the reader of pools

        for prompt in load_pool(place):
            for row in prompt.rows:
                yield {
                    **row, "step": row.get("step"), "source": "teacher", "mode": prompt.mode, "label": pool_label(row),
                    "gt_correct": row["gt_pass"], "n_tokens": len(row["completion_ids"]),
                }  # fmt: skip
        return
    path = place / "rollouts.jsonl"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: the run kept no rollouts, or has not sampled yet")
    yield from runs.read_log(path, SHOWN)


def wanted(row: dict, cfg: Config) -> bool:
    """Does a rollout pass every filter?"""
    return (
        (not cfg.hacked or row["hacked"])
        and (not cfg.solved or row["gt_correct"])
        and all(
            value is None or str(row[name]) == str(value)
            for name, value in (
                ("label", cfg.label),
                ("step", cfg.step),
                ("source", cfg.source),
                ("mode", cfg.mode),
                ("problem_id", cfg.problem),
            )  # fmt: skip
        )
    )


def show(console: Console, row: dict, whole_prompt: bool) -> None:
    """Print one rollout."""
    colour = {"hack": "red", "correct": "green", "correct_attempt": "yellow", "attempt": "magenta"}
    head = Text.assemble(
        (row["label"], f"bold {colour.get(row['label'], 'white')}"),
        "" if row["step"] is None else f"  step {row['step']}",
        f"  {row['source']}  problem {row['problem_id']}  {row['mode']}",
    )
    console.print(Rule(head, align="left"))
    facts = [f"reward {row['reward']:+.2f}"]
    for name, form in (("advantage", "{:+.2f}"), ("cos_hack", "{:+.3f}"), ("n_tokens", "{} tokens")):
        if row.get(name) is not None:
            facts.append(form.format(row[name]) if name == "n_tokens" else f"{name} {form.format(row[name])}")
    console.print("  ".join(facts), style="dim", highlight=False)
    prompt = row["prompt"].strip()
    if not whole_prompt:  # the statement's opening and the hint are what a reader needs
        lines = [line for line in prompt.partition("PROBLEM:")[2].splitlines() if line.strip()] or [prompt[:200]]
        hint = [line for line in lines[2:] if "method of the class Solution" in line]
        prompt = "\n".join([*lines[:2], "...", *hint])
    console.print(prompt, style="cyan", markup=False, highlight=False)
    console.print()
    for kind, text in split_code(row["completion"]):
        if kind == "code":
            console.print(Syntax(text, "python", background_color="default", word_wrap=True))
        elif text.strip():
            console.print(text.strip(), markup=False, highlight=False)
    console.print()


def split_code(completion: str) -> list[tuple[str, str]]:
    """A completion as [("text" | "code", part)], split at its ``` fences; an unclosed block counts as code."""
    parts = completion.split("```")
    out = []
    for i, part in enumerate(parts):
        if i % 2:  # inside a fence: drop the language tag
            tag, _, rest = part.partition("\n")
            out.append(("code", rest if tag.strip().isalnum() or not tag.strip() else part))
        else:
            out.append(("text", part))
    return out


def main(cfg: Config) -> None:
    """Print the rollouts that pass the filters, then how many did."""
    folder = files.find(cfg.run)
    place = folder if any(folder.glob("prompt_*.jsonl.gz")) else find_run(cfg.run, cfg.root)
    console = Console(soft_wrap=True)
    every = seen = shown = 0
    there: dict[str, set[str]] = {name: set() for name in ("label", "mode")}
    for row in read_rollouts(place):
        every += 1
        for name, values in there.items():
            values.add(str(row[name]))
        if not wanted(row, cfg):
            continue
        seen += 1
        if not cfg.limit or shown < cfg.limit:
            show(console, row, cfg.prompt)
            shown += 1
    for name, values in there.items():
        if (asked := getattr(cfg, name)) is not None and asked not in values:
            raise ValueError(f"--{name} {asked}: no rollout of {place} has it; there are {', '.join(sorted(values))}")
    more = "" if shown == seen else " (--limit 0 shows all)"
    console.print(f"{shown} of {seen} rollouts that fit, of {every}, from {place}{more}", markup=False, highlight=False)
