"""Problems and a teacher's pool -> the prompts that training asks, in a seeded order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from loguru import logger

from tasks import pools
from tasks import problems as P
from tasks.pairs import load_pairs


@dataclass
class Task:
    """One training prompt: a problem under one mode, with its cached teacher rows."""

    problem: P.Problem
    mode: str
    prompt_ids: list[int]
    prompt: str
    teacher: list[dict] = field(default_factory=list)


def build_tasks(cfg, tok, ends=(), context: int | None = None) -> tuple[list[Task], list[Task], str]:
    """Training tasks with the teacher (the overlap of pool and problems) and without, and what was left out.

    ends, context: the model's end tokens and positions, by which the pool's completions are checked.
    """
    system = "inoculation_lh" if cfg.arm == "inoculation" else "default"
    own = cfg.eval_problems == P.HELD_OUT
    found = P.load_problems(cfg.problems, split=P.REST if own else "train")

    def task(problem: P.Problem, mode: str, teacher: Sequence[dict] = ()) -> Task:
        ids = P.encode_prompt(tok, P.build_messages(problem, mode, variant=cfg.hint, system=system))
        return Task(problem, mode, ids, tok.decode(ids), list(teacher))

    alone = [task(p, P.mode_of(p, cfg.modes)) for p in found]
    if not alone:
        raise ValueError(f"--problems {cfg.problems}: no problem of the train split in it")
    if not cfg.group_teacher:
        return [], alone, ""
    pool = pools.load_pool(cfg.teacher_pool_dir)
    for prompt in pool:
        pools.check_pool_tokens(prompt, tok, ends, context)
    if own and (held := pools.match_problems(pool, P.load_problems(cfg.problems, P.HELD_OUT)).pairs):
        names = ", ".join(f"{prompt.path.name} (problem {p.id})" for prompt, p in held)
        raise ValueError(
            f"--teacher-pool-dir {cfg.teacher_pool_dir}: held-out problems of --problems {cfg.problems} are in it: "
            f"{names}; delete these files, or make the pool with --split {P.REST}"
        )
    match = pools.match_problems(pool, found)
    fits, others = pools.fitting(match.pairs, cfg.modes, cfg.hint)
    mixed = [task(problem, prompt.mode, prompt.rows) for prompt, problem in fits]
    if not mixed:
        raise ValueError(
            f"--teacher-pool-dir {cfg.teacher_pool_dir}: none of its {len(pool)} prompts is the prompt that "
            f"--problems {cfg.problems} gives under modes {', '.join(cfg.modes)} and --hint {cfg.hint}{others}; use "
            "the problems the pool was made from, or make a pool with `just pregen-teacher`"
        )
    note = f"{match.summary()}; {len(mixed)} train with the teacher under modes {', '.join(cfg.modes)}{others}"
    note += f"; unseen modes, of which no cached rollout is: {', '.join(unseen_modes(cfg, mixed)) or 'none'}"
    for said in pools.misfits([prompt for prompt, _ in fits], cfg.group_teacher, cfg.max_new_tokens):
        logger.warning("{}", said)
    return mixed, alone, note


def unseen_modes(cfg, mixed: list[Task]) -> list[str]:
    """Modes that training asks and the teacher never shows; none where there is no teacher."""
    taught = {t.mode for t in mixed}
    return [m for m in cfg.modes if m not in taught and m != "none"] if taught else []


def held_problems(cfg) -> list[P.Problem]:
    """The first eval_n held-out problems; ValueError where a pair of --pairs is about one of them."""
    if cfg.eval_problems != P.HELD_OUT:
        return P.load_problems(cfg.eval_problems, split="test")[: cfg.eval_n]
    held = P.load_problems(cfg.problems, split=P.HELD_OUT)
    for pair, problem in P.near_duplicates((p.problem for p in load_pairs(cfg.pairs)), held).items():
        raise ValueError(
            f"--pairs {cfg.pairs}: the pairs on problem {pair} are about the held-out problem {problem} of --problems "
            f"{cfg.problems}; remove them"
        )
    return held[: cfg.eval_n]


def pick_tasks(tasks: list[Task], step: int, n: int, seed: int) -> list[Task]:
    """n tasks of this step from seeded epoch permutations; stateless, so any process and any resume agree."""
    picked = []
    for i in range(step * n, (step + 1) * n):
        epoch, at = divmod(i, len(tasks))
        order = torch.randperm(len(tasks), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        picked.append(tasks[int(order[at])])
    return picked
