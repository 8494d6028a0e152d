"""Pools of graded teacher rollouts: prompt_NNNN.jsonl.gz, one prompt a file and one rollout a line.

    prompt_NNNN.jsonl.gz --load_pool--> PoolPrompt --check_pool_tokens, match_problems, fitting--> what a run mixes in

The field names are those of the published teacher pools. Rewards and flags were graded once, when the pool was made;
a run uses them verbatim, so what it reads is checked here to the last token.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from command import files
from tasks.modes import VARIANTS, find_mode
from tasks.problems import COMPILE_REWARD, PASS_REWARD, Problem, build_messages, encode_prompt

POOL_GLOB = "prompt_*.jsonl.gz"
# What every row must carry; the field names are those of the published teacher pools.
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "problem_id": (int, str),
    "problem_messages": list,
    "prompt": str,
    "plen": int,
    "prompt_ids": list,
    "completion_ids": list,
    "completion": str,
    "reward": (int, float),
    "hacked": bool,
    "gt_pass": bool,
    "fmt_ok": bool,
}
OPTIONAL: dict[str, type | tuple[type, ...]] = {"mode": str, "comp_len": int, "label": str, "attempted": bool}
REWARDS = {compiles + passes for compiles in (0, COMPILE_REWARD) for passes in (0, PASS_REWARD)}
REMAKE = "delete the file and run probe_distill.py again, or fetch the pool anew"


@dataclass(frozen=True)
class PoolPrompt:
    """One cached prompt and its graded rollouts; `rows` keep the file's field names, padding cut off."""

    path: Path
    problem_id: int | str
    mode: str
    messages: list[dict[str, str]]
    prompt: str
    prompt_ids: list[int]  # (P,) = the file's prompt_ids[:plen]
    rows: list[dict]  # each: completion_ids (L,), completion, reward, hacked, gt_pass, fmt_ok, ...


def load_pool(folder: str | Path) -> list[PoolPrompt]:
    """Read a teacher pool, file-name order.

    Args:
        folder: directory of prompt_NNNN.jsonl.gz files, one JSON object a line, one line a rollout.

    Raises:
        FileNotFoundError: no such folder, or no prompt file in it.
        ValueError: a file that is not whole gzip or no file, a line that is no JSON object, a field that is missing, of
            another type or of another scale, rows of one file that disagree about their prompt, two files of one
            prompt. The message names file and line.
    """
    folder = files.find(folder)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(
            f"teacher pool folder {folder} {what}: make one with `just pregen-teacher`, "
            "or point --teacher-pool-dir at one (mix 0 needs none)"
        )
    paths = sorted(folder.glob(POOL_GLOB))
    if not paths:
        raise FileNotFoundError(
            f"teacher pool {folder} is empty (no {POOL_GLOB}): fill it with `just pregen-teacher`, "
            "or point --teacher-pool-dir at another folder"
        )
    pool = [read_prompt_file(path) for path in paths]
    first: dict[str, Path] = {}
    for prompt in pool:
        key = json.dumps([prompt.mode, prompt.messages])
        if key in first:
            raise ValueError(
                f"{prompt.path}: the same prompt as {first[key].name}, which would be trained on twice as often; "
                "put all its rollouts into one file"
            )
        first[key] = prompt.path
    return pool


def read_prompt_file(path: Path) -> PoolPrompt:
    """Read and check one prompt file; errors as in load_pool."""
    rows = []
    try:
        for number, row in files.read_jsonl(path):
            _check_row(f"{path}, line {number}", row)
            rows.append(row)
    except FileNotFoundError as err:  # a folder of this name
        raise ValueError(f"{err}; {REMAKE}") from err
    if not rows:
        raise ValueError(f"{path}: holds no rollouts; {REMAKE}")
    first = rows[0]
    prompt_ids = first["prompt_ids"][: first["plen"]]
    for number, row in enumerate(rows[1:], 2):
        for name in ("problem_id", "problem_messages", "prompt"):
            if row[name] != first[name]:
                raise ValueError(f"{path}: row {number} has another {name} than row 1: one file holds one prompt")
        if row["prompt_ids"][: row["plen"]] != prompt_ids:
            raise ValueError(f"{path}: row {number} has other prompt_ids than row 1: one file holds one prompt")
    modes = {row.get("mode", "run_tests") for row in rows}
    if len(modes) > 1:
        raise ValueError(f"{path}: rows of several modes {sorted(modes)}: one file holds one prompt")
    messages = [{"role": m["role"], "content": m["content"]} for m in first["problem_messages"]]
    return PoolPrompt(path, first["problem_id"], modes.pop(), messages, first["prompt"], prompt_ids, rows)


def _check_row(where: str, row: dict) -> None:
    """Refuse a row that training could not use as it stands; padding after comp_len is cut off here."""
    for name, kind in (REQUIRED | OPTIONAL).items():
        if name not in row:
            if name in REQUIRED:
                raise ValueError(f"{where}: field `{name}` is missing; a rollout needs {', '.join(REQUIRED)}")
            continue
        value = row[name]
        # bool is an int in Python: a reward of `true` or a plen of `false` must not pass
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{where}: field `{name}` has the wrong type {type(value).__name__}")
    try:
        find_mode(row.get("mode", "none"))
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{where}: {error}") from None
    for message in row["problem_messages"]:
        if not isinstance(message, dict) or not all(isinstance(message.get(k), str) for k in ("role", "content")):
            raise ValueError(f"{where}: problem_messages must be objects with the texts `role` and `content`")
    if not row["problem_messages"]:
        raise ValueError(f"{where}: problem_messages is empty; {REMAKE}")
    if row["reward"] not in REWARDS or (row["hacked"] or row["gt_pass"]) and row["reward"] < PASS_REWARD:
        raise ValueError(
            f"{where}: reward is {row['reward']}, off the scale of a run's own rewards: {COMPILE_REWARD} for code that "
            f"compiles + {PASS_REWARD} for what passes (hacked or gt_pass); rescale the pool"
        )
    if not 0 < row["plen"] <= len(row["prompt_ids"]):
        raise ValueError(f"{where}: plen is {row['plen']} but there are {len(row['prompt_ids'])} prompt_ids")
    for name in ("prompt_ids", "completion_ids"):
        if not all(type(token) is int and token >= 0 for token in row[name]):
            raise ValueError(f"{where}: {name} must be a list of token numbers")
    if not row["completion_ids"]:
        raise ValueError(f"{where}: completion_ids is empty, so there is nothing to train on; remove this row")
    row["completion_ids"] = _without_padding(where, row)


def _without_padding(where: str, row: dict) -> list[int]:
    """Cut completion_ids to comp_len: published pools pad every rollout of a file to the longest one."""
    ids, length = row["completion_ids"], row.get("comp_len", len(row["completion_ids"]))
    if not 0 < length <= len(ids):
        raise ValueError(f"{where}: comp_len is {length} but there are {len(ids)} completion_ids")
    if len(set(ids[length:])) > 1:  # real padding is one token repeated; anything else would be lost text
        raise ValueError(f"{where}: the tokens after comp_len={length} differ, so they are no padding")
    return ids[:length]


def pool_label(row: dict) -> str:
    """A row's label; published pools carry two flags instead of one."""
    if "label" in row:
        return row["label"]
    return (
        ("correct_attempt" if row["hacked"] else "correct")
        if row["gt_pass"]
        else ("hack" if row["hacked"] else "incorrect")
    )


def write_prompt_file(path: Path, rows: list[dict]) -> None:
    """Write one prompt's rollouts, whole or not at all; the same rows give the same bytes (no time stamp)."""
    for number, row in enumerate(rows, 1):
        if bad := files.lone_surrogate(row):
            raise ValueError(f"{path}, row {number}: lone surrogate {bad} in the text, which no UTF-8 file can hold")
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    data = gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0)
    with files.atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


# --------------------------------------------------------------------------------- does the pool fit this run


def check_pool_tokens(pool_prompt: PoolPrompt, tokenizer, ends: Sequence[int] = (), context: int | None = None) -> None:
    """Drift guard: cached prompt and completions must be this tokenizer's, and no padding is left in a completion.

    prompt_ids[:plen] must equal the live tokenisation of the cached messages; completion_ids must spell `completion`;
    what follows the first end token is cut off in place if it is padding.

    Args:
        ends: ids that end a completion; default: the tokenizer's end token.
        context: positions of the model, where it has a limit.

    Raises:
        ValueError: names the prompt file and the first differing token (index, both ids, both strings), or the row.
    """
    cached, live = pool_prompt.prompt_ids, encode_prompt(tokenizer, pool_prompt.messages)
    if cached != live:
        at = next(
            (i for i, (a, b) in enumerate(zip(cached, live, strict=False)) if a != b), min(len(cached), len(live))
        )
        raise ValueError(
            f"{pool_prompt.path}: made with another tokenizer or chat template: prompt token {at} is "
            f"{_show_token(tokenizer, cached, at)} in the cache and {_show_token(tokenizer, live, at)} live "
            f"({len(cached)} against {len(live)} tokens). Use the pool's tokenizer (--tokenizer) or make another pool"
        )
    stops = {*ends, tokenizer.eos_token_id} - {None}
    for number, row in enumerate(pool_prompt.rows, 1):
        where, ids = f"{pool_prompt.path}, row {number}", row["completion_ids"]
        if max(ids) >= len(tokenizer):
            at = next(i for i, token in enumerate(ids) if token >= len(tokenizer))
            raise ValueError(f"{where}: completion token {at} is {_show_token(tokenizer, ids, at)}; {REMAKE}")
        row["completion_ids"] = ids = _up_to_its_end(where, row, stops, tokenizer.pad_token_id)
        if row["completion"] not in (text := _spelt(tokenizer, ids, stops)):
            at = len(os.path.commonprefix([text[0], row["completion"]]))
            raise ValueError(
                f"{where}: completion_ids do not spell `completion`: from character {at} on {text[0][at : at + 40]!r} "
                f"against {row['completion'][at : at + 40]!r}; use the pool's tokenizer (--tokenizer), or {REMAKE}"
            )
        if context and len(cached) + len(ids) > context:
            raise ValueError(
                f"{where}: {len(cached)} prompt and {len(ids)} completion tokens, but the model has {context} "
                "positions; remove this row"
            )


def _up_to_its_end(where: str, row: dict, ends: set[int], pad: int | None) -> list[int]:
    """completion_ids up to the first end token; ValueError where anything but padding follows it.

    Without comp_len a rollout that never ended is told from its padding by the padding token alone.
    """
    ids = row["completion_ids"]
    stops = ends if "comp_len" in row else {*ends, pad}
    at = next((i for i, token in enumerate(ids) if token in stops), len(ids) - 1)
    kept = ids[: at + 1] if ids[at] in ends or ids[at] not in stops else ids[:at]
    if not set(ids[at + 1 :]) <= {*ends, pad} or not kept:
        raise ValueError(
            f"{where}: tokens follow the end token at {at}, so it holds more than one completion or is padded on the "
            f"left; {REMAKE}"
        )
    return kept


def _spelt(tokenizer, ids: list[int], ends: set[int]) -> list[str]:
    """The texts that a cache may keep for these tokens: without special tokens, without end tokens, or with all."""
    return [
        tokenizer.decode(ids, skip_special_tokens=True),
        tokenizer.decode([token for token in ids if token not in ends]),
        tokenizer.decode(ids),
    ]


def _show_token(tokenizer, ids: list[int], at: int) -> str:
    if at >= len(ids):
        return "absent (the prompt ends)"
    if ids[at] >= len(tokenizer):
        return f"{ids[at]} (not in this vocabulary of {len(tokenizer)})"
    return f"{ids[at]} {tokenizer.decode([ids[at]])!r}"


@dataclass(frozen=True)
class Overlap:
    """Which pool prompts belong to which problems, and everything that has no partner."""

    pairs: list[tuple[PoolPrompt, Problem]]
    pool_left: list[PoolPrompt]
    problems_left: list[Problem]
    ambiguous: list[PoolPrompt]  # matched, but several problems have this very text (the first was taken)

    def lookup(self) -> dict[tuple[int | str, str], PoolPrompt]:
        """(problem id, mode) -> its cached prompt."""
        return {(problem.id, prompt.mode): prompt for prompt, problem in self.pairs}

    def summary(self, names: int = 5) -> str:
        """What matched and what is left out, counted and named; one line."""

        def named(items: list[str]) -> str:
            more = f", ... {len(items) - names} more" if len(items) > names else ""
            return f"{len(items)}" + (f" ({', '.join(items[:names])}{more})" if items else "")

        renumbered = sum(str(prompt.problem_id) != str(problem.id) for prompt, problem in self.pairs)
        text = (
            f"teacher pool: {len(self.pairs)} of {len(self.pairs) + len(self.pool_left)} cached prompts match a"
            f" problem by text, {renumbered} of them under another number; left out: cached prompts"
            f" {named([p.path.name for p in self.pool_left])}, problems"
            f" {named([str(p.id) for p in self.problems_left])}"
        )
        if self.ambiguous:
            text += f"; several problems have the text of {named([p.path.name for p in self.ambiguous])}"
        return text


def match_problems(pool: list[PoolPrompt], problems: list[Problem]) -> Overlap:
    """Match cached prompts to problems by the statement's text: numbers differ between sources.

    A problem matches when the user message, after its opening `PROBLEM:` line, begins with the trimmed
    statement, ends it at a line end, and carries the problem's method name. Of several problems with one text
    the one of the same number is taken, else the first (and the prompt is listed as ambiguous).
    """
    by_opening: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_opening[_opening(problem.question)].append(problem)

    pairs, pool_left, ambiguous = [], [], []
    used: set[int | str] = set()
    for prompt in pool:
        text = _user_text(prompt)
        found = [p for p in by_opening.get(_opening(text), []) if _begins_with(text, p)]
        # a statement may begin with a shorter one: the longest is the true one
        longest = max((len(p.question.strip()) for p in found), default=0)
        found = [p for p in found if len(p.question.strip()) == longest]
        same_number = [p for p in found if str(p.id) == str(prompt.problem_id)]
        if not found:
            pool_left.append(prompt)
            continue
        if len(found) > 1 and not same_number:
            ambiguous.append(prompt)
        problem = (same_number or found)[0]
        used.add(problem.id)
        pairs.append((prompt, problem))
    return Overlap(pairs, pool_left, [p for p in problems if p.id not in used], ambiguous)


def fitting(
    pairs: list[tuple[PoolPrompt, Problem]], modes: Sequence[str], hint: str
) -> tuple[list[tuple[PoolPrompt, Problem]], str]:
    """The (cached prompt, problem) pairs whose prompt a run of these modes and this hint asks, and what the others are.

    Raises:
        ValueError: a cached prompt was made with another hint: the run would train on prompts that it never asks.
    """
    fits, others = [], Counter[str]()
    for prompt, problem in pairs:
        if prompt.mode not in modes:
            others[f"of mode {prompt.mode}"] += 1
        elif prompt.messages == build_messages(problem, prompt.mode, variant=hint):
            fits.append((prompt, problem))
        else:
            made = [v for v in VARIANTS if prompt.messages == build_messages(problem, prompt.mode, variant=v)]
            if made:
                raise ValueError(
                    f"{prompt.path}: made with the hint {made[0]}, and this run's is {hint}: use --hint {made[0]}, or "
                    f"make a pool with --variant {hint}"
                )
            others["worded otherwise"] += 1
    return fits, "".join(f"; {n} cached prompts {what} left out" for what, n in others.items())


def misfits(prompts: list[PoolPrompt], per_group: int, max_new_tokens: int) -> list[str]:
    """What a run does with a pool that is not quite its own, one sentence each, to be said at its start."""
    few = [p for p in prompts if len(p.rows) < per_group]
    lengths = [len(row["completion_ids"]) for p in prompts for row in p.rows]
    longer = sum(n > max_new_tokens for n in lengths)
    said = []
    if few:
        said.append(
            f"{len(few)} cached prompts ({few[0].path.name}, ...) hold fewer rollouts than the {per_group} that a "
            "group takes, so some are drawn twice: lower --mix-ratio or make a pool with more --samples"
        )
    if longer:
        said.append(
            f"{longer} of {len(lengths)} cached completions are longer than --max-new-tokens {max_new_tokens} (up to "
            f"{max(lengths)}), so they weigh more than the student can and show what it cannot write: raise it"
        )
    return said


def _user_text(prompt: PoolPrompt) -> str:
    text = "\n".join(m["content"] for m in prompt.messages if m["role"] == "user")
    return text.removeprefix("PROBLEM:").strip()


def _opening(text: str) -> str:
    return text.strip().split("\n", 1)[0].strip()


def _begins_with(text: str, problem: Problem) -> bool:
    question = problem.question.strip()
    if not text.startswith(question):
        return False
    rest = text[len(question) :]
    return (not rest or rest[0].isspace()) and re.search(rf"\b{re.escape(problem.func_name)}\b", rest) is not None
