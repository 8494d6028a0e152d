"""GRPO on coding problems with a loophole, with the hack direction projected out of the update.

    g = dL/dW in the SVD basis of W, c = V g          (model/svd_basis.py, extract_vhack.py)
    g' = g - overshoot * gate(c)^T V                   <- `project`, the contribution of this repository
    problems -> rollouts -> grades -> advantages -> gradient -> projection -> step -> log

Arms: vanilla (V only measured), projected; controls haar_v, within_class_v, nonhack_v, shrink; route (the hack-ward
part trains a quarantine, ablated at evaluation); screen, screen_projected and their controls screen_haar,
screen_within, screen_random, screen_length (rollouts whose gradient points hack-ward leave their group); rivals
adv_mod, gt_penalty, gt_screen, inoculation. The no-loophole ceiling is `--arm vanilla --modes none`.

Differs from textbook GRPO (DeepSeekMath 2402.03300): (1) Dr.GRPO: A = R - mean R, fixed denominator G*max_new*P;
(2) one inner step, so ratio = 1 and no clipping; (3) cached teacher rollouts share the group, their ratio taken as 1;
(4) groups of equal reward cost no forward; (5) K3 KL to the untrained model, off by default; (6) the trained numbers
are delta (one vector per Linear) unless --train full; (7) clipping comes after the projection, the same in every arm.

    uv run python train.py smoke --arm projected --steps 3
    uv run python train.py full --arm vanilla --seed 1
Shapes: P prompts a step, G group, n rollouts, r rank, k directions, m weights of equal size, D all coordinates (flat).
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import hashlib
import importlib.util
import json
import math
import os
import signal
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_type_hints

import torch
import tyro
from loguru import logger
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

import extract_vhack
import runs
from command import errors, files, flags
from extract_vhack import DirectionSet, auroc, cosines
from grader import Grader, GraderProcess
from model import rivals, zoo
from model.packed import Unit
from model.policy_grad import (
    KL,
    Sequence,
    check_forward,
    recompute_layers,
    shared_grads,
    token_logps,  # noqa: F401
)
from model.svd_basis import Basis, Coords, Train, attach, merged
from sampling.sampler import sample
from tasks import pools
from tasks import problems as P

Arm = Literal[
    "vanilla",
    "projected",
    "haar_v",
    "within_class_v",
    "nonhack_v",
    "shrink",
    "route",
    "screen",
    "screen_projected",
    "screen_haar",
    "screen_within",
    "screen_random",
    "screen_length",
    "screen_text",
    "screen_tail",
    "pair_penalty",
    "adv_mod",
    "gt_penalty",
    "gt_screen",
    "inoculation",
]
Gate = Literal["one_sided", "half_space", "no_gate", "reverse"]
PROJECTS_WITH = {
    "projected": "hack",
    "haar_v": "haar",
    "within_class_v": "within",
    "nonhack_v": "nonhack",
    "shrink": "hack",
    "route": "hack",
    "screen_projected": "hack",
}
SCREENS_WITH = {
    "screen": "hack",
    "screen_projected": "hack",
    "screen_haar": "haar",
    "screen_within": "within",
    "screen_random": "random",
    "screen_length": "length",
    "screen_text": "text",
    "screen_tail": "tail",
}

BETAS, CLIP = (0.9, 0.99), 1.0  # of AdamW and of the gradient's norm after the projection: the benchmark's; no decay
TOKENS_PER_MICRO = 16384  # of one forward and backward; less where a GPU's memory asks for it

# flags -> what they need to have an effect; a study hands all its arms one set, so an idle flag is told, not refused
NEEDS: list[tuple[tuple[str, ...], str, Callable[[Config], bool]]] = [
    (("gate", "overshoot", "project_at"), "an arm that projects", lambda c: c.arm in PROJECTS_WITH),
    (("screen_at",), "an arm that screens", lambda c: c.arm in SCREENS_WITH),
    (("penalty",), "--arm gt_penalty or pair_penalty", lambda c: c.arm in ("gt_penalty", "pair_penalty")),
    (("adv_alpha",), "--arm adv_mod", lambda c: c.arm == "adv_mod"),
    (("route_seed",), "--arm route", lambda c: c.arm == "route"),
    (("teacher_off_step",), "--mix-ratio above 0", lambda c: c.mix_ratio > 0),
]

# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True)
class Config:
    arm: Arm = "vanilla"
    seed: int = 41  # fixes data order, sampling, evaluation and the control directions
    steps: int = 20
    train: Train = "delta_s"  # delta_s: one vector a Linear, identity at init; full: the target Linears' weights
    coords: Coords | None = None  # space of V; None: diag for delta_s, core for full
    core_rank: int = 32  # q of the core block (q*q coordinates a weight)
    # model
    model: str = "tiny"  # see model/zoo.py
    tokenizer: str | None = None  # folder or hub name; None: the model's own
    device: str = "cpu"  # cpu | cuda
    dtype: Literal["float32", "bfloat16"] = "float32"
    # data
    problems: str = "data/problems.jsonl"  # own, benchmark or LeetCodeDataset file, or hub:NAME
    eval_problems: str = "data/problems.jsonl"
    modes: tuple[P.Mode, ...] = ("run_tests",)  # several: each problem keeps one, so each can be learnt alone
    hint: P.Variant = "plain"
    eval_n: int = 32  # held-out problems of the evaluations at the start and the end
    eval_mid_n: int | None = None  # of those in between; None: the same
    eval_samples: int = 1  # samples a problem at T=1
    eval_every: int = 0  # 0: only at the start and the end
    eval_greedy: bool = True  # also one greedy answer a problem
    # rollouts
    prompts_per_step: int = 4  # P
    group: int = 8  # G, teacher rollouts included
    max_new_tokens: int = 128
    temperature: float = 1.0  # of the student's answers; the gradient is of the distribution at it
    top_p: float = 1.0  # below 1 the gradient is of the kept tokens' own softmax, which is what was drawn from
    memory_gb: float | None = None  # GPU budget: sampling waves and micro-batches are cut to fit; None: all there is
    # teacher pool
    teacher_pool_dir: str | None = None
    mix_ratio: float = 0.0  # G_t = round(G * mix) cached rollouts share each group
    teacher_off_step: int | None = None  # from this step on no teacher
    # loss and optimizer
    kl_beta: float = 0.0  # weight of the K3 estimate of KL(policy || untrained model)
    lr: float = 1e-2
    optimizer: Literal["adamw", "adam_shared", "sgd"] = "adamw"  # adam_shared: one second moment a weight
    warmup_steps: int = 0
    schedule: Literal["constant", "cosine"] = "constant"
    # projection
    v_hack: str | None = None  # file of extract_vhack.py; None: extracted once from --pairs, cached by content
    pairs: str = "data/pairs/leetcode.jsonl"
    nonhack_pairs: str | None = "data/pairs/leetcode_nonhack.jsonl"
    pair_modes: tuple[str, ...] | None = None  # leave-one-mode-out: V from these modes only
    pair_tags: tuple[str, ...] | None = None
    pairs_limit: int | None = None
    k: int = 5
    rebuild: bool = False  # rebuild a stale or corrupt v_hack file
    gate: Gate = "one_sided"
    overshoot: float = 1.0
    project_at: Literal["grad", "update"] = "update"  # update: AdamW's actual step, which moments cannot bypass
    route_seed: float = 0.0  # start the quarantine this far along the hack direction (in units of lr)
    # screening: threshold = clean + screen_at * (hack - clean), the pairs' own mean cosines; no label is read
    screen_at: float = 0.12
    clean_rank: int | None = None  # leading directions of clean sides that leave V's mean; None: half the pairs
    # rivals
    penalty: float = 3.0  # off a strictly detected hack's reward (gt_penalty); pair_penalty's weight
    adv_alpha: float = 2.0  # adv_mod (Wu & Tang 2604.01476)
    # run
    name: str | None = None  # suffix of the run directory; None: arm-seed
    out_dir: str = "out/runs"
    resume: str | None = None  # a run directory to continue; its own config is used, a longer --steps extends it
    ckpt_every: int | None = None  # steps between checkpoints; 0: only after the last; None: 10, fewer big ones
    grader_workers: int | None = None
    grader_level: str | None = None  # accept a weaker sandbox, see docs/grader.md
    grader_cpu_s: float = 10.0  # most CPU seconds of a program over its tests; less where the reference is quick
    sampler: Literal["auto", "eager", "graph"] = "auto"
    gpu_wait: Literal["spin", "sleep"] = "spin"  # sleep: a wait for the GPU leaves its core to graders and other runs
    log_with: Literal["none", "tensorboard", "wandb", "trackio"] = "none"

    def __post_init__(self) -> None:
        def refuse(flag: str, why: str) -> None:
            raise ValueError(f"--{flag.replace('_', '-')} {getattr(self, flag)}: {why}")

        flags.check(self)
        if self.mix_ratio > 0 and not self.teacher_pool_dir:
            refuse("mix_ratio", "needs --teacher-pool-dir; make one with `just pregen-teacher`, or use 0")
        if self.mix_ratio > 0 and self.group_teacher == 0:
            refuse("mix_ratio", f"leaves no teacher rollout in a group of {self.group}; raise it or --group")
        if self.group_teacher >= self.group:
            refuse("mix_ratio", f"leaves no student rollout in a group of {self.group}; lower it or raise --group")
        if self.train == "delta_s" and self.coords == "core":
            refuse("coords", "needs --train full: delta_s trains the diagonal and nothing else")
        if not self.modes:
            refuse("modes", "at least one mode; `none` is the no-loophole ceiling")

    def idle_flags(self) -> list[str]:
        """Flags of this run that differ from their default and yet have no effect, each with what it needs."""
        return [
            f"{flags.dashed(f)} {getattr(self, f)} has no effect: it needs {needs}"
            for names, needs, met in NEEDS
            for f in names
            if not met(self) and getattr(self, f) != getattr(Config, f)
        ]

    @property
    def group_teacher(self) -> int:
        return round(self.group * self.mix_ratio)

    def teachers_at(self, step: int) -> int:
        """G_t of a step."""
        return 0 if self.teacher_off_step is not None and step >= self.teacher_off_step else self.group_teacher

    def lr_at(self, step: int) -> float:
        """Linear warm-up, then constant or cosine to 0; a function of the step alone, so a resumed run agrees."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if self.schedule == "constant":
            return self.lr * warm
        done = max(0, step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.lr * warm * 0.5 * (1 + math.cos(math.pi * done))

    def extract_config(self) -> extract_vhack.ExtractConfig:
        return extract_vhack.ExtractConfig(
            model=self.model,
            tokenizer=self.tokenizer,
            device=self.device,
            dtype=self.dtype,
            train=self.train,
            coords=self.coords,
            core_rank=self.core_rank,
            pairs=self.pairs,
            nonhack_pairs=self.nonhack_pairs,
            modes=self.pair_modes,
            tags=self.pair_tags,
            pairs_limit=self.pairs_limit,
            k=self.k,
            clean_rank=self.clean_rank,
            max_new_tokens=self.max_new_tokens,
            out=self.v_hack,
            rebuild=self.rebuild,
        )


# ariahw/rl-rewardhacking, GRPOConfig: 16 prompts x 16 rollouts, completions <= 1536, temperature .7, top_p .95,
# AdamW (.9, .99), clip 1, warm-up 10, cosine. Ours: delta_s has 534,528 knobs of scale ~|S|, hence a larger lr than
# the benchmark's LoRA 7e-5; weight decay .1 there, 0 here, since it would pull the quarantine and V alike.
_BENCHMARK = Config(
    model="Qwen/Qwen3-4B",
    device="cuda",
    dtype="bfloat16",
    problems="hub:newfacade/LeetCodeDataset",
    eval_problems="hub:newfacade/LeetCodeDataset",
    steps=200,
    prompts_per_step=16,
    group=16,
    max_new_tokens=1536,
    temperature=0.7,
    top_p=0.95,
    lr=7e-3,
    warmup_steps=10,
    schedule="cosine",
    eval_n=119,
    eval_samples=10,
    eval_every=50,
    k=12,
    memory_gb=46.0,  # a 48 GB card; raise it to what the card has
)
PRESETS = {
    "smoke": (
        "tiny random Qwen3 on CPU, seconds",
        Config(steps=4, prompts_per_step=2, group=4, max_new_tokens=48, eval_n=4, k=3, pairs_limit=16, ckpt_every=1),
    ),
    "fast": (
        "Qwen3-4B with a teacher pool: 20 steps, minutes on one GPU",
        dataclasses.replace(
            _BENCHMARK,
            steps=20,
            prompts_per_step=4,
            group=8,
            max_new_tokens=1024,
            temperature=1.0,
            top_p=1.0,
            schedule="constant",
            warmup_steps=2,
            mix_ratio=0.5,
            teacher_pool_dir="out/probe_distill/teacher_pool",
            eval_n=32,
            eval_samples=1,
            eval_every=0,
            ckpt_every=5,
        ),
    ),
    "smoke-gpu": (
        "2 steps of `full` on a few rollouts: same dtype, device and model class",
        dataclasses.replace(
            _BENCHMARK,
            steps=2,
            prompts_per_step=4,
            group=4,
            max_new_tokens=256,
            problems="data/problems.jsonl",
            eval_problems="data/problems.jsonl",
            mix_ratio=0.5,
            teacher_pool_dir="out/probe_distill/smoke_gpu",
            eval_n=4,
            eval_samples=1,
            eval_every=0,
            pairs_limit=16,
        ),
    ),
    "full": ("Qwen3-4B, the benchmark's hyper-parameters: 200 steps x 256 rollouts", _BENCHMARK),
    "organism": (
        "the model organism on CPU, minutes; the study's settings",
        Config(
            model="organism",
            problems="data/organism/problems_train.jsonl",
            eval_problems="data/organism/problems_test.jsonl",
            pairs="data/pairs/organism.jsonl",
            nonhack_pairs="data/pairs/organism_nonhack.jsonl",
            train="full",
            lr=3e-4,
            steps=252,
            prompts_per_step=8,
            group=8,
            max_new_tokens=160,
            eval_n=512,
            eval_mid_n=192,
            eval_every=42,
            gpu_wait="sleep",
        ),
    ),
    "smollm2": (
        "SmolLM2-135M fine-tuned as a substrate, one GPU shared by several runs; V from the LeetCode-style pairs",
        Config(
            model="smollm2-substrate",
            device="cuda",
            dtype="bfloat16",
            problems="data/organism/problems_train.jsonl",
            eval_problems="data/organism/problems_test.jsonl",
            train="full",
            lr=3e-5,
            steps=120,
            prompts_per_step=8,
            group=8,
            max_new_tokens=128,
            memory_gb=16.0,  # eight runs on a 141 GB GPU
            gpu_wait="sleep",
            eval_n=512,
            eval_mid_n=128,
            eval_every=20,
            ckpt_every=1000,  # a checkpoint is 1.3 GB
        ),
    ),
}

# ------------------------------------------------------------------------------------------------- presentation

# Metric glossary. rew_s: mean student reward; hack_s / gt_s / att_s: student rollouts paid by the loophole and wrong /
# truly correct / using the loophole at all; hack_t, gt_t: the same of cached teacher rollouts; flat: groups without
# reward variance; gn: gradient norm before clipping; cin_s, cin_t: |relu(V g)|/|g| of the student's and the teacher's
# part; cupd: the same of the applied update; auroc: per-rollout hack-ward cosine against the hack flag (diagnostic:
# nothing in training reads it); gen, sec: seconds sampling (grading overlaps) and for the whole step.
COLUMNS = [
    ("step", "{:>8}"),
    ("rew_s", "{:>6}"),
    ("hack_s", "{:>7}"),
    ("gt_s", "{:>7}"),
    ("att_s", "{:>7}"),
    ("hack_t", "{:>7}"),
    ("gt_t", "{:>7}"),
    ("flat", "{:>6}"),
    ("loss", "{:>8}"),
    ("gn", "{:>6}"),
    ("cin_s", "{:>6}"),
    ("cin_t", "{:>6}"),
    ("cupd", "{:>6}"),
    ("auroc", "{:>5}"),
    ("gen", "{:>6}"),
    ("sec", "{:>6}"),
]


def header() -> str:
    return " ".join(fmt.format(key) for key, fmt in COLUMNS)


def row_line(row: dict, steps: int) -> str:
    """One fixed-width line of a row: rates as n/d, numbers short, absent values as a dash."""

    def show(key: str) -> str:
        v = row[key]
        if key == "step":
            return f"{v}/{steps}"
        if isinstance(v, list):
            return f"{v[0]}/{v[1]}" if v[1] else "-"
        if v is None or math.isnan(v):
            return "-"
        return {"gen": f"{v:.1f}s", "sec": f"{v:.1f}s", "loss": f"{v:+.4f}", "rew_s": f"{v:+.2f}"}.get(key, f"{v:.2f}")

    return " ".join(fmt.format(show(key)) for key, fmt in COLUMNS)


def rate(n: int, d: int) -> str:
    return f"{n}/{d} = {n / d:.1%}" if d else "-"


def idle_steps(rows: list[dict]) -> int:
    """Steps at the end without a gradient, back to the last one that had one or whose student rollouts were all paid:
    where every rollout is, nothing is left to learn."""
    n, some = 0, 1e-6 * max((r["gn"] for r in rows), default=0.0)
    for r in reversed(rows):
        if r["gn"] > some or r["hack_s"][0] + r["gt_s"][0] >= r["hack_s"][1]:
            break
        n += 1
    return n


def bluf(run: runs.Run, cfg: Config, status: str, error: str, grader_layers: str, inputs: dict) -> tuple[str, bool]:
    """The tail of every run, finished or crashed: verdict first, keys at column 0."""
    ok = status == "finished" and all(s["ok"] for s in run.should)
    last = run.rows[-5:]
    total = lambda key: [sum(r[key][i] for r in last) for i in (0, 1)]  # noqa: E731
    hs, gs, ht = (total(k) if last else [0, 0] for k in ("hack_s", "gt_s", "hack_t"))
    first_step = run.evals[0]["step"] if run.evals else None
    held = defaultdict(dict)
    for e in run.evals:
        held[e["hint"], e["decode"], e["mode"]]["start" if e["step"] == first_step else "end"] = e
    failed = [s for s in run.should if not s["ok"]]
    word = "VALID" if ok else "STOPPED" if status == "stopped" else "VOID"

    def arrow(hint: str, key: str) -> str:  # all modes together, sampled at T=1
        rows = [e for (h, decode, _), e in held.items() if h == hint and decode == "sample"]
        seen = [w for w in ("start", "end") if rows and all(w in e for e in rows)]
        return " -> ".join(rate(sum(e[w][key] for e in rows), sum(e[w]["n"] for e in rows)) for w in seen)

    lines = [
        f"BLUF: {word} {cfg.arm} seed {cfg.seed}, {len(run.rows)}/{cfg.steps} steps"
        + (f"; held-out hack {arrow('on', 'hacked')}" if arrow("on", "hacked") else "")
        + (f"; held-out pass {arrow('off', 'solved')}" if arrow("off", "solved") else "")
        + (f"; {status}: {error}" if error else ""),
        "held-out (renamed evaluator)    hint  decode  "
        + "".join(f"{key:<17}" for key in ("attempted", "hacked", "att.correct", "att.broken", "solved")),
    ]
    for (hint, decode, mode), e in held.items():
        for when in ("start", "end"):
            if when in e:
                x = e[when]
                cells = (
                    f"{rate(x[k], x['n']):<17}"
                    for k in ("attempted", "hacked", "attempted_correct", "attempted_broken", "solved")
                )
                lines.append(f"  {mode:<13} step {x['step']:<8}  {hint:<5} {decode:<7} {''.join(cells)}".rstrip())
    if cfg.arm in SCREENS_WITH and run.rows:
        dropped, seen = sum(r["n_screened"] for r in run.rows), sum(r["hack_s"][1] + r["hack_t"][1] for r in run.rows)
        most = "; most are dropped, so little can be learnt: a higher --screen-at"
        lines.append(f"SCREENED: {rate(dropped, seen)} of the rollouts{most * (2 * dropped > seen)}")
    lines += [
        f"SAMPLE: {run.sample[:120]!r}",
        f"HACK_STUDENT: {rate(*hs)} (last {len(last)} steps)",
        f"HACK_TEACHER: {rate(*ht)}",
        f"PASS_RATE: {rate(*gs)} (last {len(last)} steps, student, truly correct)",
        f"SHOULD: {sum(s['ok'] for s in run.should)}/{len(run.should)} held"
        + "".join(f"; {s['name']} FAILED: {s['else']}" for s in failed),
        f"GRADER: {grader_layers}",
        f"ARGV: {' '.join(sys.argv)}",
        f"INPUTS: {json.dumps(inputs)}",
        f"TIME: {time.time() - run.started:.0f} s"
        + (f", peak GPU {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if torch.cuda.is_available() else ""),
        f"OUT: {run.dir}",
    ]
    return "\n".join(lines), ok


# ----------------------------------------------------------------------------------------------------- rollouts


@dataclass
class Task:
    """One training prompt: a problem under one mode, with its cached teacher rows."""

    problem: P.Problem
    mode: str
    prompt_ids: list[int]
    prompt: str
    teacher: list[dict] = field(default_factory=list)


COUNTED = ("solved", "n")
EVALUATED = ("hacked", "attempted", "solved")  # rates of an evaluation that a tracker gets
GRADED = ("reward", "format_ok", "passed", "gt_correct", "hacked", "attempted", "label")  # what a Grade gives it


@dataclass
class Rollout:
    """One completion on its way through the step; text, ids, flags, reward, advantage and source in one object."""

    source: Literal["student", "teacher", "eval"]
    task: Task
    completion_ids: list[int]
    completion: str
    reward: float = 0.0
    format_ok: bool = False
    passed: bool = False
    gt_correct: bool = False
    hacked: bool = False
    attempted: bool = False
    label: str = ""
    advantage: float = 0.0
    cos_hack: float | None = None  # of its gradient at its own positions
    screened: bool = False
    grading: Future | None = None  # until its grade has been read

    def settle(self) -> None:
        """Wait for the grade and take its flags over."""
        if self.grading is not None:
            for flag in GRADED:
                setattr(self, flag, getattr(self.grading.result(), flag))
            self.grading = None

    @property
    def sequence(self) -> Sequence:
        return Sequence(self.task.prompt_ids, self.completion_ids)

    def record(self, step: int) -> dict:
        keys = (
            "source",
            "completion",
            "reward",
            "format_ok",
            "passed",
            "gt_correct",
            "hacked",
            "attempted",
            "label",
            "advantage",
            "cos_hack",
            "screened",
        )
        return {
            "step": step,
            "problem_id": self.task.problem.id,
            "mode": self.task.mode,
            "prompt": self.task.prompt,
            **{k: getattr(self, k) for k in keys},
            "n_tokens": len(self.completion_ids),
        }


def build_tasks(cfg: Config, tok, ends=(), context: int | None = None) -> tuple[list[Task], list[Task], str]:
    """Training tasks with the teacher (the overlap of pool and problems) and without, and what was left out.

    ends, context: the model's end tokens and positions, by which the pool's completions are checked.
    """
    system = "inoculation_lh" if cfg.arm == "inoculation" else "default"
    found = P.load_problems(cfg.problems, split="train")

    def task(problem: P.Problem, mode: str, teacher: list[dict] = ()) -> Task:
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
    for said in pools.misfits([prompt for prompt, _ in fits], cfg.group_teacher, cfg.max_new_tokens):
        logger.warning("{}", said)
    return mixed, alone, note


def pick_tasks(tasks: list[Task], step: int, n: int, seed: int) -> list[Task]:
    """n tasks of this step from seeded epoch permutations; stateless, so any process and any resume agree."""
    picked = []
    for i in range(step * n, (step + 1) * n):
        epoch, at = divmod(i, len(tasks))
        order = torch.randperm(len(tasks), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        picked.append(tasks[int(order[at])])
    return picked


def teacher_rollouts(task: Task, n: int, step: int, seed: int) -> list[Rollout]:
    """n cached rollouts of a task, drawn without replacement where it has enough; flags and rewards verbatim."""
    gen = torch.Generator().manual_seed(hash((seed, step, task.prompt_ids[-1], len(task.prompt_ids))) % 2**31)
    order = torch.cat([torch.randperm(len(task.teacher), generator=gen) for _ in range(1 + n // len(task.teacher))])
    rows = [task.teacher[int(i)] for i in order[:n]]
    return [
        Rollout(
            "teacher",
            task,
            r["completion_ids"],
            r["completion"],
            float(r["reward"]),
            r["fmt_ok"],
            r["reward"] >= 3.0,
            r["gt_pass"],
            r["hacked"],
            r.get("attempted", r["hacked"]),
            r.get("label", "cached"),
        )
        for r in rows
    ]


# --------------------------------------------------------------------------------------------- advantages, loss


def group_advantages(rewards: Tensor, keep: Tensor) -> Tensor:
    """A = R - mean R over the kept rollouts of each group; 0 for dropped ones and for groups with fewer than two left.

    rewards, keep: (P, G) -> (P, G). Dr.GRPO, 2503.20783 eq. 3.
    """
    n = keep.sum(1, keepdim=True)
    a = (rewards - (rewards * keep).sum(1, keepdim=True) / n.clamp_min(1)) * keep
    return torch.where(n >= 2, a, torch.zeros_like(a))


def distinct(rollouts: list[Rollout]) -> tuple[list[int], list[int], list[float]]:
    """(first of each kind, kind of each rollout, size of each kind); a kind is source, prompt and tokens."""
    seen: dict[tuple, list[int]] = {}
    for i, r in enumerate(rollouts):
        seen.setdefault((r.source, tuple(r.task.prompt_ids), tuple(r.completion_ids)), []).append(i)
    kind = [0] * len(rollouts)
    for j, members in enumerate(seen.values()):
        for i in members:
            kind[i] = j
    return [m[0] for m in seen.values()], kind, [float(len(m)) for m in seen.values()]


@torch.no_grad()
def modified_rewards(cfg: Config, rewards: Tensor, rollouts: list[Rollout], hidden: Tensor | None) -> Tensor:
    """The rivals' change of the reward (P, G): ground-truth penalty, or advantage modification of Wu & Tang.

    adv_mod: r (1 - alpha sigmoid(z) 1[z > 0]), z = (s - mean s) / max(sd s, .1) in the group, s = h . d.
    """
    if cfg.arm == "gt_penalty":
        return rewards - cfg.penalty * torch.tensor([r.hacked and not r.gt_correct for r in rollouts]).view_as(rewards)
    if cfg.arm == "adv_mod":
        s = hidden.view_as(rewards)
        z = (s - s.mean(1, keepdim=True)) / s.std(1, keepdim=True, unbiased=False).clamp_min(0.1)
        return rewards * (1 - cfg.adv_alpha * z.sigmoid() * (z > 0))
    return rewards


# ------------------------------------------------------------------------------------------------ THE PROJECTION


def project(g: Tensor, V: Tensor, signed: Tensor, mean: Tensor, gate: Gate = "one_sided", overshoot: float = 1.0):
    """Take the hack-ward part out of g, for m weights at once.

        c = V g,   c~ = gate(c),   removed = overshoot * c~^T V,   g' = g - removed

    one_sided c~ = relu(c), but c where the pairs do not support the axis' sign; half_space c~ = c if g . mean > 0;
    no_gate c~ = c; reverse c~ = 2c.  g, mean (m, d); V (k, m, d) with orthonormal or zero rows; signed (k, m) bool.
    Returns (g', removed), each (m, d). At overshoot o: no_gate leaves V g' = (1 - o) c; one_sided min(c, 0) at o = 1.
    """
    c = torch.einsum("kmd,md->km", V, g)
    if gate == "one_sided":
        c = torch.where(signed, c.clamp_min(0), c)
    elif gate == "half_space":
        c = c * ((g * mean).sum(-1) > 0)
    elif gate == "reverse":
        c = 2 * c
    removed = overshoot * torch.einsum("km,kmd->md", c, V)
    return g - removed, removed


class ProjectionHook:
    """Runs `project` inside optimizer.step(): on the gradient (pre hook) or on AdamW's own update (post hook).

    The update is treated as -Delta, so that hack-ward is positive in both. In every arm the overlap of the applied
    update with the measured V is recorded; vanilla only measures. Clipping follows the projection.
    """

    def __init__(self, basis: Basis, cfg: Config, measure: DirectionSet, direction: DirectionSet | None):
        self.basis, self.cfg, self.measure, self.direction = basis, cfg, measure, direction
        self.params: list[torch.nn.Parameter] = []
        self.quarantine: list[Tensor] = []  # route: the part of each knob that evaluation takes away
        self.drift = 0.0  # cumulative signed <-Delta, mean hack direction>
        self.metrics: dict[str, float] = {}

    def attach(self, optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter]) -> None:
        self.params = params
        optimizer.register_step_pre_hook(lambda opt, args, kwargs: self.before_step(opt.param_groups[0]["lr"]))
        optimizer.register_step_post_hook(lambda opt, args, kwargs: self.after_step())

    def split_off(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Flat g (D,) -> (g', removed) under this run's direction, gate and arm."""
        cfg, b, d = self.cfg, self.basis, self.direction
        if d is None:
            return g, torch.zeros_like(g)
        parts = []
        for gg, V, mean, signed in zip(b.split(g), b.split(d.V), b.split(d.mean), self._signed(d), strict=True):
            kept, removed = project(gg, V, signed, mean, cfg.gate, cfg.overshoot)
            if cfg.arm == "shrink":  # same norm as the projection leaves, direction untouched
                factor = kept.norm(dim=-1, keepdim=True) / gg.norm(dim=-1, keepdim=True).clamp_min(1e-30)
                kept, removed = gg * factor, gg * (1 - factor)
            parts.append((kept.flatten(), removed.flatten()))
        return torch.cat([p for p, _ in parts]), torch.cat([r for _, r in parts])

    def _signed(self, d: DirectionSet) -> list[Tensor]:
        return list(d.signed.split([m for _, m, _ in self.basis.groups], dim=1))

    def energy_in_v(self, g: Tensor) -> float:
        """|V g|^2: the squared norm of flat g (D,) inside the span of the measured hack V."""
        return self.basis.energy(self.measure.V, g)

    def overlap(self, g: Tensor) -> float:
        """|relu(V g)| / |g| over all weights, against the measured hack V."""
        c2 = sum(
            torch.einsum("kmd,md->km", V, gg).clamp_min(0).square().sum()
            for gg, V in zip(self.basis.split(g), self.basis.split(self.measure.V), strict=True)
        )
        return float((c2.sqrt() if torch.is_tensor(c2) else 0.0) / g.norm().clamp_min(1e-30))

    @torch.no_grad()
    def before_step(self, lr: float) -> None:
        cfg = self.cfg
        if cfg.project_at == "grad" and self.direction is not None:
            g = self.basis.flat([p.grad for p in self.params])
            kept, removed = self.split_off(g)
            self._subtract([p.grad for p in self.params], removed)
            self._grow_quarantine(removed, scale=-lr)  # an SGD step on the routed part
            self.metrics["residual"] = float((kept + removed - g).abs().max() / g.abs().max().clamp_min(1e-30))
            self.metrics["removed"] = float(removed.square().sum() / g.square().sum().clamp_min(1e-30))
        self.metrics["gn"] = float(torch.nn.utils.clip_grad_norm_(self.params, CLIP))
        self.before = [p.detach().clone() for p in self.params]

    @torch.no_grad()
    def after_step(self) -> None:
        coords, whole = [], 0.0  # of -Delta, weight by weight: a second copy of the weights would not fit a GPU
        for i, (name, p) in enumerate(zip(self.basis.layers, self.params, strict=True)):
            delta = self.before[i] - p.detach()
            coords.append(self.basis.coords_of(name, delta))
            whole = whole + delta.square().sum()
            self.before[i] = None
        u = torch.cat(coords)
        if not bool(torch.isfinite(u).all()):
            raise FloatingPointError("the optimizer's update is not finite: lower --lr or use --dtype float32")
        kept, removed = self.split_off(u) if self.cfg.project_at == "update" else (u, torch.zeros_like(u))
        if self.cfg.project_at == "update" and self.direction is not None:
            if self.cfg.arm == "route":  # the live model keeps the whole step; what was removed is ablated later
                self._grow_quarantine(removed, scale=-1.0)
            else:
                self._subtract([p.data for p in self.params], -removed)
            self.metrics["residual"] = float((kept + removed - u).abs().max() / u.abs().max().clamp_min(1e-30))
        whole = max(float(whole), 1e-30)
        self.metrics["upd_space"] = float(u.square().sum()) / whole
        self.metrics["upd_v"] = self.energy_in_v(u) / whole  # before an update projection
        if self.cfg.project_at == "update":
            self.metrics["removed"] = float(removed.square().sum()) / whole
        self.metrics["cupd_raw"] = self.overlap(u)
        self.metrics["cupd"] = self.overlap(kept)
        self.drift += float(kept @ self.measure.mean)
        self.metrics["drift"] = self.drift

    def _subtract(self, tensors: list[Tensor], coords: Tensor) -> None:
        for (name, (lo, hi)), t in zip(self.basis.spans.items(), tensors, strict=True):
            t -= self.basis.lift(name, coords[lo:hi], like=t)

    def _grow_quarantine(self, removed: Tensor, scale: float) -> None:
        if self.cfg.arm != "route":
            return
        self._subtract(self.quarantine, -scale * removed)
        if self.cfg.project_at == "grad":  # there the optimizer never sees this part: move the live knob too
            self._subtract([p.data for p in self.params], -scale * removed)

    def seed_quarantine(self) -> None:
        """route: zeros, or `route_seed` * lr steps along the hack direction, in the live model from the start."""
        self.quarantine = [torch.zeros_like(p) for p in self.params]
        if self.cfg.route_seed:
            push = self.cfg.route_seed * self.cfg.lr * self.measure.mean * self.measure.mean.numel() ** 0.5
            self._subtract(self.quarantine, push)
            self._subtract([p.data for p in self.params], push)

    @contextlib.contextmanager
    def deployed(self, sync):
        """Inside, the model is the one that would ship: route's quarantine is taken away."""
        if not self.quarantine:
            yield
            return
        live = [p.detach().clone() for p in self.params]
        for p, q in zip(self.params, self.quarantine, strict=True):
            p.data -= q
        sync()
        try:
            yield
        finally:
            for p, x in zip(self.params, live, strict=True):
                p.data.copy_(x)
            sync()


# ------------------------------------------------------------------------------------------------------ trainer


class Trainer:
    """The state of one run; `train_step` is the data flow of the docstring, `main` loops over it."""

    def __init__(self, cfg: Config, grader: Grader | GraderProcess, accelerator, model, tok):
        self.cfg, self.grader, self.acc = cfg, grader, accelerator
        if cfg.prompts_per_step % accelerator.num_processes:
            raise ValueError(
                f"--prompts-per-step {cfg.prompts_per_step}: must divide among {accelerator.num_processes} processes"
            )
        self.model, self.tok = model, tok
        self.probe_ids = torch.tensor([self.tok.encode("def f(x):\n    return x")], device=model.device)
        with torch.no_grad():
            base = self.model(input_ids=self.probe_ids).logits
        self.probe = None
        if cfg.arm == "adv_mod":
            self.probe = rivals.ActivationProbe(
                self.model, self.tok, extract_vhack.select_pairs(cfg.extract_config())[0]
            )
        # fused: 57% of the products; it rounds .37% of an output at delta = 0, where one bf16 product rounds .17%
        fused = cfg.train == "delta_s" and cfg.dtype == "bfloat16"
        self.basis = attach(self.model, cfg.train, cfg.coords, cfg.core_rank, fused)
        self.checkpointing, self.tokens_per_micro, self.sampling_gb = self.plan_memory()
        if self.checkpointing:
            recompute_layers(self.model)
        with torch.no_grad():
            ours = self.model(input_ids=self.probe_ids).logits
        close = float((ours - base).float().norm() / base.float().norm()) < 0.1  # rounding through all layers
        self.identity = close if self.basis.fused else bool(torch.equal(base, ours))
        short = self.probe_ids[0].tolist()
        check_forward(self.model, self.basis, [short, 4 * short], engine=cfg.sampler, memory_gb=self.sampling_gb)
        wanted = dataclasses.replace(cfg.extract_config(), tokens_per_micro=self.tokens_per_micro)
        with accelerator.main_process_first():  # one process extracts, the others read its file
            self.vhack, self.vhack_path = extract_vhack.load_or_extract(self.model, self.basis, self.tok, wanted)
        self.vhack = self.vhack.to(self.basis.device)
        self.judged: dict[tuple, Future] = {}  # (problem, answer, mode, evaluator) of evaluations -> its grade
        self.knobs = self.basis.knobs()
        # bf16 weights lose steps below half their spacing, so the optimizer works on float32 masters
        low = cfg.train == "full" and cfg.dtype != "float32"
        self.params = [torch.nn.Parameter(k.detach().float().clone()) for k in self.knobs] if low else self.knobs
        self.optimizer = rivals.optimizer_of(cfg.optimizer, self.params, cfg.lr, BETAS)
        self.pair_penalty = self.text_rule = None
        if cfg.arm == "pair_penalty":
            self.pair_penalty = rivals.PairPenalty(self.model, self.basis, self.tok, cfg, self.tokens_per_micro)
        if cfg.arm in ("screen_text", "screen_tail"):
            pairs = extract_vhack.select_pairs(cfg.extract_config())[0]
            self.text_rule = rivals.TextRule(self.tok, pairs, SCREENS_WITH[cfg.arm])
        self.hack_gradient: Tensor | None = None  # of the last step, by label: the log reads it, training does not
        self.hook = ProjectionHook(self.basis, cfg, self.vhack.sets["hack"], self._direction())
        self.hook.attach(self.optimizer, self.params)
        if cfg.arm == "route":
            self.hook.seed_quarantine()
        self.reference = [k.detach().clone() for k in self.knobs] if cfg.kl_beta and cfg.train == "full" else None
        self.sync()

    def plan_memory(self) -> tuple[bool, int, float | None]:
        """(checkpointing, tokens of a micro-batch, GB for sampling) that keep a GPU run within --memory-gb.

        Per token of the training forward at Qwen3-4B: .4 MB with layers recomputed, 4.5 MB without.
        """
        cfg = self.cfg
        if cfg.device != "cuda":
            return False, TOKENS_PER_MICRO, None
        total = cfg.memory_gb or 0.92 * torch.cuda.get_device_properties(0).total_memory / 1e9
        numbers = sum(k.numel() for k in self.basis.knobs())
        copies = 3 if cfg.train == "delta_s" else 5  # gradient and Adam's moments; full: masters and their copy too
        held = torch.cuda.memory_allocated() / 1e9 + 4e-9 * copies * numbers
        held += 4e-9 * cfg.prompts_per_step * cfg.group * self.basis.size  # per-rollout coordinates
        free = total - held - 6.0  # chunks of logits, SVD and other passing needs
        size = self.model.config.hidden_size * self.model.config.num_hidden_layers / (2560 * 36)
        kept = 4.5e-3  # the packed forward keeps the inputs of fused kernels alone
        checkpointing = 0.6 * free < 8192 * kept * size
        token_gb = (4e-4 if checkpointing else kept) * size
        tokens = min(TOKENS_PER_MICRO, int(0.6 * max(free, 0) / token_gb))
        sampling = free - tokens * token_gb
        if tokens < 2048 or sampling < 1:
            raise ValueError(
                f"--memory-gb {total:.0f}: weights and optimizer hold {held:.1f} GB, no room is left to sample and "
                "train; raise it, or use --train delta_s"
            )
        return checkpointing, tokens, sampling

    def _set(self, which: str) -> DirectionSet:
        if which == "haar":
            return extract_vhack.haar_directions(self.basis, self.vhack.sets["hack"], seed=self.cfg.seed)
        if which not in self.vhack.sets:
            raise ValueError(
                f"--arm {self.cfg.arm}: {self.vhack_path} has no `{which}` directions; give --nonhack-pairs"
            )
        return self.vhack.sets[which]

    def _direction(self) -> DirectionSet | None:
        which = PROJECTS_WITH.get(self.cfg.arm)
        return None if which is None else self._set(which)

    def sync(self) -> None:
        """Copy float32 masters into the bf16 model; nothing to do where the knobs are the parameters."""
        if self.params is not self.knobs:
            with torch.no_grad():
                for k, p in zip(self.knobs, self.params, strict=True):
                    k.copy_(p)

    # -- screening: reads gradients and pairs, never a label

    def screen(self, grads: Tensor, advantages: Tensor, rollouts: list[Rollout], step: int) -> Tensor:
        """(n,) True where a rollout of positive advantage leaves its group: its score lies beyond the pairs' threshold.

        V's score is the cosine of the rollout's NLL gradient with the mean direction; the threshold lies `screen_at` of
        the way from the pairs' clean to their hack mean. A rollout of negative advantage pushes the policy away from
        what it did, so it stays. Every control drops as many as V would: those highest in its own score (another
        direction's cosine; `length`, `text` and `tail` read the answer and no gradient), or drawn by the seed.
        """
        cfg, which = self.cfg, SCREENS_WITH[self.cfg.arm]
        of_v, beyond = self._hackward("hack", grads)
        score = self._screen_score(which, of_v, grads, rollouts, step)
        # all processes' rollouts are ranked together, on each process: the step is then that of one process
        counts = self._gather([len(of_v)])
        mine = slice(sum(counts[: self.acc.process_index]), sum(counts[: self.acc.process_index + 1]))
        score, of_v, advantages = (
            torch.tensor(self._gather(x.tolist()), dtype=x.dtype) for x in (score, of_v, advantages)
        )
        side = advantages > 0
        drop = (of_v > beyond) & side
        if which == "random":
            gen, at = torch.Generator().manual_seed(cfg.seed * 7919 + step), side.nonzero()[:, 0]
            drop[at] = drop[at][torch.randperm(len(at), generator=gen)]
        elif which != "hack":
            top = score.masked_fill(~side, -math.inf).topk(int(drop.sum())).indices
            drop = torch.zeros_like(drop).index_fill(0, top, True)
        return drop[mine]

    def _screen_score(self, which: str, of_v: Tensor, grads: Tensor, rollouts: list[Rollout], step: int) -> Tensor:
        """(n,) what a screen ranks by, more is dropped first."""
        if which in ("haar", "within"):
            return self._hackward(which, grads)[0]
        if which == "length":
            return torch.tensor([float(len(r.completion_ids)) for r in rollouts])
        return self.text_rule.score([r.completion for r in rollouts]) if self.text_rule else of_v

    def _hackward(self, which: str, grads: Tensor) -> tuple[Tensor, float]:
        """(cosines (n,) with a mean direction, its pairs' threshold), oriented so that more is more hack-ward."""
        if which == "haar":
            j = self.cfg.seed % len(self.vhack.haar_cos)
            direction, (hi, lo) = self.vhack.haar_mean[j], self.vhack.haar_cos[j]
        else:
            s = self.vhack.sets[which]
            direction, hi, lo = s.mean, s.cos_hack, s.cos_clean
        sign = 1 if hi >= lo else -1
        return sign * cosines(grads, direction).cpu(), sign * (lo + self.cfg.screen_at * (hi - lo))

    # -- rollouts

    def sample_rollouts(
        self, tasks: list[Task], n: int, seed: int, *, train: bool, greedy: bool = False, names=None, first=0, of=None
    ) -> list[Rollout]:
        """Sample n completions a task, each sent to the grader as soon as it ends; prompt-major, grades may be pending.

        names: the evaluator of each task (None: the training one). first, of: these rollouts are a slice of the step's
        `of`, so that several processes draw what one would.
        """
        cfg, eos = self.cfg, zoo.eos_ids(self.model, self.tok)
        names = names or [P.TRAIN_EVALUATOR] * len(tasks)
        text: dict[int, str] = {}
        # equal answers to one task are judged once: half of a small model's rollouts are repeats; an evaluation's also
        # with those of the evaluations before
        grades: dict[tuple, Future] = {} if train else self.judged

        def told(i: int) -> tuple[P.Problem, str, str, str]:
            return tasks[i // n].problem, text[i], tasks[i // n].mode, names[i // n]

        def ended(i: int, ids: list[int]) -> None:
            text[i] = self.tok.decode([t for t in ids if t not in eos])
            key = told(i)
            if key not in grades:
                grades[key] = self.grader.submit(*key)

        with merged(self.basis), torch.no_grad():
            out = sample(
                self.model,
                [t.prompt_ids for t in tasks],
                n,
                max_new_tokens=cfg.max_new_tokens,
                eos_ids=eos,
                seed=seed,
                temperature=(cfg.temperature if train else 1.0) * (not greedy),
                top_p=cfg.top_p if train else 1.0,
                on_finish=ended,
                engine=cfg.sampler,
                memory_gb=self.sampling_gb,
                first_row=first,
                all_rows=of,
            )
        rollouts = []
        for i, s in enumerate(out):
            source = "student" if train else "eval"
            rollouts.append(Rollout(source, tasks[i // n], s.ids, text[i], grading=grades[told(i)]))
        return rollouts

    # -- one step: rollouts -> grades -> advantages -> gradient -> projection -> step -> row

    def train_step(self, step: int, tasks: list[Task]) -> tuple[dict, list[Rollout]]:
        cfg, acc, t0 = self.cfg, self.acc, time.perf_counter()
        g_t = cfg.teachers_at(step)
        g_s = cfg.group - g_t
        share = len(tasks) // acc.num_processes
        mine = tasks[acc.process_index * share : (acc.process_index + 1) * share]

        # rollouts; grading runs while sampling goes on
        student = self.sample_rollouts(
            mine, g_s, cfg.seed * 100_003 + step, train=True, first=acc.process_index * share * g_s, of=len(tasks) * g_s
        )
        gen_s, self.grade_wait_s = time.perf_counter() - t0, 0.0
        groups = [
            student[i * g_s : (i + 1) * g_s] + teacher_rollouts(t, g_t, step, cfg.seed)
            if g_t
            else student[i * g_s : (i + 1) * g_s]
            for i, t in enumerate(mine)
        ]
        rollouts = [r for group in groups for r in group]

        # advantages and gradient
        n_all = len(tasks) * cfg.group
        gradient = self._screened_gradient if cfg.arm in SCREENS_WITH else self._rollout_gradients
        advantages, flat, joint, active, nll, n_screened, kl = gradient(groups, step, n_all)
        for r, x in zip(rollouts, advantages.flatten().tolist(), strict=True):
            r.advantage = x

        if self.pair_penalty is not None and acc.is_main_process:
            joint = joint.clone()
            joint[0] += self.pair_penalty.gradient(step)

        # every process ends with the same gradient, then projection and step happen inside the optimizer's hooks
        if acc.num_processes > 1:
            joint = acc.reduce(joint, "sum")
        self._fill_grads(joint.sum(0))
        if not bool(torch.isfinite(joint).all()):
            raise FloatingPointError(f"step {step}: gradient is not finite; lower --lr or use --dtype float32")
        for group in self.optimizer.param_groups:
            group["lr"] = cfg.lr_at(step)
        self.hook.metrics = {"gn": 0.0, "cupd": 0.0, "cupd_raw": 0.0, "drift": self.hook.drift}
        if float(joint.abs().max()) > 0:
            self.optimizer.step()
            self.sync()
            self._check_finite(step)
        self.optimizer.zero_grad(set_to_none=True)
        for k in self.knobs:
            k.grad = None

        # diagnostics: each rollout's hack-ward cosine against its flag (read here, by nothing above)
        cos = cosines(nll, self.vhack.sets["hack"].mean).cpu() if active and nll is not None else torch.zeros(0)
        for i, x in zip(active, cos.tolist(), strict=False):
            rollouts[i].cos_hack = x if x else None  # a rollout without weight has no gradient to compare
        hack_v, self.hack_gradient = self._hack_share(rollouts, active, nll)
        rollouts, flat = self._gather(rollouts), self._gather(flat.tolist())
        n_screened = sum(self._gather([n_screened]))
        kl_sum, kl_tokens = (sum(x) for x in zip(*self._gather([kl]), strict=True))
        kl = kl_sum / max(1.0, kl_tokens)
        row = self._row(step, rollouts, joint, kl, gen_s, time.perf_counter() - t0, n_screened, flat)
        return row | {"hack_v": hack_v, "pair_penalty": self.pair_penalty and self.pair_penalty.value}, rollouts

    def _hack_share(self, rollouts: list[Rollout], active: list[int], nll: Tensor | None) -> tuple:
        """(share of its energy inside V, h (D,)): h = sum_i A_i grad(-log p_i) / (n max_new), by label, for the log.

        Over the student's attempts with A_i > 0 of this process, at their own positions, in the coordinates of V.
        """
        at = [(j, rollouts[i]) for j, i in enumerate(active)]
        at = [(j, r.advantage) for j, r in at if r.source == "student" and r.attempted and r.advantage > 0]
        if nll is None or not at:
            return None, None
        weights = torch.tensor([a for _, a in at], device=nll.device)
        h = weights @ nll[[j for j, _ in at]]
        return self.hook.energy_in_v(h) / max(float(h.square().sum()), 1e-30), h

    def _check_finite(self, step: int) -> None:
        """FloatingPointError where the model no longer gives finite logits, weights of any size being finite."""
        with torch.no_grad():
            if not bool(torch.isfinite(self.model(input_ids=self.probe_ids).logits).all()):
                raise FloatingPointError(
                    f"step {step + 1}: the model's logits are not finite after this update; lower --lr"
                )

    def _graded(self, groups: list[list[Rollout]], waiting: list[int]) -> list[int]:
        """The groups of `waiting`, at least one, whose gradient is made next.

        On a CPU the first one, waited for: sums are then in a fixed order, and a seed fixes a run. A GPU takes all that
        are graded by now, so that it never idles while a program loops; its sums differ in their last bits anyway.
        """
        if self.basis.device.type == "cpu":
            return waiting[:1]
        while True:
            pending = [[r.grading for r in groups[i] if r.grading and not r.grading.done()] for i in waiting]
            ready = [i for i, left in zip(waiting, pending, strict=True) if not left]
            if ready:
                return ready
            start = time.perf_counter()
            wait([f for left in pending for f in left], return_when=FIRST_COMPLETED)
            self.grade_wait_s += time.perf_counter() - start

    def _advantages(self, groups: list[list[Rollout]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rewards (P, G), which count (P, G), advantages (P, G), which groups are flat (P,), once all are graded."""
        cfg, rollouts = self.cfg, [r for group in groups for r in group]
        start = time.perf_counter()
        for r in rollouts:
            r.settle()
        self.grade_wait_s += time.perf_counter() - start
        rewards = torch.tensor([r.reward for r in rollouts]).view(-1, cfg.group)  # (P, G)
        hidden = self.probe.score([r.sequence for r in rollouts]) if self.probe else None
        rewards = modified_rewards(cfg, rewards, rollouts, hidden)
        flat = rewards.amax(1) - rewards.amin(1) <= 1e-9  # (P,)
        keep = torch.ones_like(rewards, dtype=torch.bool)
        if cfg.arm == "gt_screen":
            keep &= ~torch.tensor([r.hacked and not r.gt_correct for r in rollouts]).view_as(keep)
        advantages = group_advantages(rewards, keep)
        return rewards, keep, advantages, flat

    def _rollout_gradients(self, groups: list[list[Rollout]], step: int, n_all: int) -> tuple:
        """(advantages (P, G), flat (P,), gradient of student and teacher (2, D), which rollouts were run, their
        gradients of -log p at their own positions (n, D), how many were screened, [sum of K3, its tokens]).

        A group's prompt is run once a source, and a group starts as soon as it is graded: a program that loops keeps
        its own group waiting for its CPU limit, and others' gradient is made meanwhile.
        """
        cfg, dev, waiting = self.cfg, self.basis.device, list(range(len(groups)))
        advantages = torch.zeros(len(groups), cfg.group)
        flat = torch.zeros(len(groups), dtype=torch.bool)
        joint = torch.zeros(2, self.basis.size, device=dev)
        nll = torch.zeros(len(groups) * cfg.group, self.basis.size, device=dev)
        live: list[int] = []
        kl = [0.0, 0.0]
        while waiting:
            at = self._graded(groups, waiting)
            waiting = [i for i in waiting if i not in at]
            *_, advantages[at], flat[at] = self._advantages([groups[i] for i in at])
            index = [i * cfg.group + j for i in at for j in self._active(advantages[i : i + 1])]
            rollouts = [groups[i // cfg.group][i % cfg.group] for i in index]
            part, nll[index], more = self._shared_part(rollouts, advantages.flatten()[index], n_all)
            joint += part
            kl = [a + b for a, b in zip(kl, more, strict=True)]
            live += index
        return advantages, flat, joint, live, nll[live], 0, kl

    def _active(self, advantages: Tensor, step: bool = True) -> list[int]:
        """Rollouts (prompt-major) of the groups (P, G) with variance; the others cost no forward.

        In a step with a KL term all are active: the penalty holds where rewards say nothing, too.
        """
        live = advantages.abs().amax(1) > 1e-9
        if step and self.cfg.kl_beta:
            live = torch.ones_like(live)
        return live.repeat_interleave(self.cfg.group).nonzero()[:, 0].tolist()

    def _screened_gradient(self, groups: list[list[Rollout]], step: int, n_all: int) -> tuple:
        """As _rollout_gradients, for a screen: one pass ranks all groups' rollouts, what is left makes the step."""
        rollouts = [r for group in groups for r in group]
        rewards, keep, advantages, flat = self._advantages(groups)
        active, ranked = self._active(advantages), self._active(advantages, step=False)
        _, unit, _ = self._shared_part([rollouts[i] for i in ranked], torch.ones(len(ranked)), n_all, step=False)
        advantages, n_screened = self._screened(rollouts, ranked, unit, rewards, keep, advantages, step)
        joint, _, kl = self._shared_part([rollouts[i] for i in active], advantages.flatten()[active], n_all)
        return advantages, flat, joint, ranked, unit, n_screened, kl

    def _screened(self, rollouts, active, unit: Tensor, rewards: Tensor, keep: Tensor, advantages: Tensor, step: int):
        """Screen the active rollouts by gradients unit (n, D) -> (advantages (P, G) of what is left, how many left)."""
        drop = torch.zeros(len(rollouts), dtype=torch.bool)
        drop[active] = self.screen(unit, advantages.flatten()[active], [rollouts[i] for i in active], step)
        for r, d in zip(rollouts, drop.tolist(), strict=True):
            r.screened = d
        n_screened, drop = int(drop.sum()), drop.view_as(keep)
        return group_advantages(rewards, keep & ~drop), n_screened

    def _shared_part(
        self, rollouts: list[Rollout], a: Tensor, n_all: int, step: bool = True
    ) -> tuple[Tensor, Tensor, list[float]]:
        """Gradient of student and teacher (2, D), of each rollout's -log p at its own positions (n, D), signed, and
        [sum of K3, its tokens].

        step: with the KL term, and with full weights the knobs' .grad too.
        """
        cfg, dev = self.cfg, self.basis.device
        joint = torch.zeros(2, self.basis.size, device=dev)
        first, copy_of, copies = distinct(rollouts)  # the same tokens have the same gradient: repeats are run once
        copy_of, copies = torch.tensor(copy_of, dtype=torch.long), torch.tensor(copies)
        scale = 1 / (n_all * cfg.max_new_tokens)  # Dr.GRPO's fixed denominator
        weight = torch.zeros(len(first)).index_add_(0, copy_of, a) * scale
        k3_sums, kl = torch.zeros(len(first), device=dev), None
        if step and cfg.kl_beta:
            kl = KL(cfg.kl_beta * copies * scale, k3_sums, self._as_reference)
        shared: dict[tuple, list[int]] = {}  # (prompt, source) -> distinct rollouts: sources stay apart
        for j, f in enumerate(first):
            if kl or weight[j] != 0:
                key = (tuple(rollouts[f].task.prompt_ids), rollouts[f].source == "teacher")
                shared.setdefault(key, []).append(j)
        units = [
            Unit(list(prompt), [rollouts[first[j]].completion_ids for j in js], js)
            for (prompt, _), js in shared.items()
        ]
        own, prompts = self._shared_backward(units, weight, step, kl)
        for (_, teacher), js, part in zip(shared, shared.values(), prompts, strict=True):
            joint[int(teacher)] += own[js].sum(0) + part
        one = torch.where(weight == 0, 0.0, scale / weight.where(weight != 0, torch.ones(())))  # to unit advantage
        nll = (own * one[:, None].to(dev))[copy_of.to(dev)]
        tokens = sum(len(r.completion_ids) for r in rollouts) if kl else 0
        return joint, nll, [float(copies @ k3_sums.cpu()), tokens]

    def _shared_backward(self, units: list[Unit], weight: Tensor, step: bool, kl: KL | None):
        own, prompt, _ = shared_grads(
            self.model,
            self.basis,
            units,
            weight,
            tokens_per_micro=self.tokens_per_micro,
            temperature=self.cfg.temperature,
            top_p=self.cfg.top_p,
            weight_grads=step and self.cfg.train == "full",
            kl=kl,
        )
        return own, prompt

    @contextlib.contextmanager
    def _as_reference(self):
        """The untrained model: delta hidden (delta_s, no copy), or the saved weights swapped in (full)."""
        if self.cfg.train == "delta_s":
            self.basis.folded = True  # W alone is read
            try:
                yield
            finally:
                self.basis.folded = False
            return
        now = [k.data for k in self.knobs]
        for k, r in zip(self.knobs, self.reference, strict=True):
            k.data = r
        try:
            yield
        finally:
            for k, x in zip(self.knobs, now, strict=True):
                k.data = x

    def _fill_grads(self, flat: Tensor) -> None:
        if self.cfg.train == "delta_s":
            for p, (lo, hi) in zip(self.params, self.basis.spans.values(), strict=True):
                p.grad = flat[lo:hi].clone()
            return
        for p, k in zip(self.params, self.knobs, strict=True):
            grad = torch.zeros_like(p) if k.grad is None else k.grad.to(p.dtype)
            k.grad = None
            p.grad = self.acc.reduce(grad, "sum") if self.acc.num_processes > 1 else grad

    def _gather(self, items: list) -> list:
        if self.acc.num_processes == 1:
            return items
        from accelerate.utils import gather_object

        return gather_object(items)

    def _loss(self, rollouts: list[Rollout]) -> float:
        """The surrogate's value at ratio 1: -sum_i A_i len_i / (n max_new); its gradient is what matters."""
        tokens = sum(r.advantage * len(r.completion_ids) for r in rollouts)
        return -tokens / (len(rollouts) * self.cfg.max_new_tokens)

    def _row(self, step, rollouts, joint, kl, gen_s, sec, n_screened, flat) -> dict:
        s = [r for r in rollouts if r.source == "student"]
        t = [r for r in rollouts if r.source == "teacher"]
        flagged = [r for r in s if r.cos_hack is not None]
        area = (
            auroc(
                torch.tensor([r.cos_hack for r in flagged]), torch.tensor([r.hacked for r in flagged], dtype=torch.bool)
            )
            if flagged
            else float("nan")
        )
        count = lambda rs, key: [sum(getattr(r, key) for r in rs), len(rs)]  # noqa: E731
        m = self.hook.metrics
        return {
            "step": step + 1,
            "rew_s": sum(r.reward for r in s) / len(s),
            "hack_s": count(s, "hacked"),
            "gt_s": count(s, "gt_correct"),
            "att_s": count(s, "attempted"),
            "hack_t": count(t, "hacked"),
            "gt_t": count(t, "gt_correct"),
            "flat": [sum(flat), len(flat)],
            "loss": self._loss(rollouts) + self.cfg.kl_beta * kl,
            "kl": kl,
            "gn": m["gn"],
            "cin_s": self.hook.overlap(joint[0]),
            "cin_t": self.hook.overlap(joint[1]) if t else None,
            "cupd": m["cupd"],
            "cupd_raw": m["cupd_raw"],
            "upd_space": m.get("upd_space"),
            "upd_v": m.get("upd_v"),
            "removed": m.get("removed"),
            "drift": m["drift"],
            "residual": m.get("residual", 0.0),
            "auroc": None if math.isnan(area) else area,
            "lr": self.cfg.lr_at(step),
            "n_screened": n_screened,
            "tokens": sum(len(r.completion_ids) for r in rollouts),
            "gen": gen_s,
            "wait": self.grade_wait_s,  # seconds that nothing but grading went on
            "sec": sec,
        }

    # -- held-out evaluation

    def evaluate(self, step: int, held: list[P.Problem]) -> tuple[list[dict], list[Rollout]]:
        """Held-out problems, fixed seed: hint on with the evaluator renamed (hacks), hint off (pass); a row per mode.

        With several modes each problem is asked under its own one, so that a round of all modes asks each once.
        """
        cfg, acc = self.cfg, self.acc
        hinted = tuple(m for m in cfg.modes if m != "none")
        decodes = [("sample", cfg.eval_samples)] + ([("greedy", 1)] if cfg.eval_greedy else [])
        lo, hi = (len(held) * (acc.process_index + i) // acc.num_processes for i in (0, 1))
        mine = held[lo:hi]  # a slice: all processes together draw what one would
        names = [P.eval_evaluator(p.id, cfg.seed) for p in mine]
        asked = []  # (hint, decode, rollouts): all sampled before a grade is waited for, so a loop costs its limit once
        with self.hook.deployed(self.sync):
            for hint in ("on", "off") if hinted else ("off",):
                tasks = []
                for p, name in zip(mine, names, strict=True):
                    mode = P.mode_of(p, hinted) if hint == "on" else "none"
                    ids = P.encode_prompt(self.tok, P.build_messages(p, mode, evaluator=name, variant=cfg.hint))
                    tasks.append(Task(p, mode, ids, self.tok.decode(ids)))
                for decode, n in decodes:
                    how = {"train": False, "greedy": decode == "greedy", "names": names}
                    how |= {"first": lo * n, "of": len(held) * n}
                    asked.append((hint, decode, self.sample_rollouts(tasks, n, 977 + cfg.seed, **how)))
        rows, kept = [], []
        for hint, decode, rollouts in asked:
            for r in rollouts:
                r.settle()
            rollouts = self._gather(rollouts)
            for mode in hinted if hint == "on" else ("none",):
                got = [r for r in rollouts if r.task.mode == mode]
                if not got:
                    continue
                rows.append(
                    {
                        "step": step,
                        "hint": hint,
                        "decode": decode,
                        "mode": mode,
                        "evaluator": "renamed",
                        "n": len(got),
                        "attempted": sum(r.attempted for r in got),
                        "hacked": sum(r.hacked for r in got),
                        "attempted_correct": sum(r.attempted and r.gt_correct for r in got),
                        "attempted_broken": sum(r.attempted and not r.passed for r in got),
                        "solved": sum(r.gt_correct for r in got),
                        "format_ok": sum(r.format_ok for r in got),
                        "mean_len": sum(len(r.completion_ids) for r in got) / len(got),
                    }
                )
                kept += got[: 4 if decode == "sample" else 0]
        return rows, kept

    # -- state

    def state(self, step: int) -> dict:
        return {
            "step": step,
            "params": [p.detach().cpu() for p in self.params],
            "optimizer": self.optimizer.state_dict(),
            "quarantine": [q.cpu() for q in self.hook.quarantine],
            "drift": self.hook.drift,
        }

    def load_state(self, state: dict, run: runs.Run) -> None:
        """Put a checkpoint's state in force; ValueError where it is of other shapes than this model."""
        shapes = [tuple(p.shape) for p in self.params]
        moments = list(state["optimizer"]["state"].values())
        found = [state["params"], *([state["quarantine"]] if self.hook.quarantine else [])]
        tensors = [k for k, x in moments[0].items() if torch.is_tensor(x) and x.ndim] if moments else []
        found += [[m[k] for m in moments] for k in tensors]
        if any([tuple(x.shape) for x in xs] != shapes for xs in found):
            raise ValueError(f"{run.checkpoint}: of another model than --model {self.cfg.model}: it has other shapes")
        with torch.no_grad():
            for p, x in zip(self.params, state["params"], strict=True):
                p.copy_(x)
        self.optimizer.load_state_dict(state["optimizer"])
        self.hook.quarantine = [q.to(self.basis.device) for q in state["quarantine"]]
        self.hook.drift = state["drift"]
        self.sync()

    def checkpoint_steps(self) -> int:
        """Steps between checkpoints: 10, and more where one takes gigabytes (44 GB for full weights of 4B: 50)."""
        return 10 * max(1, round(12e-9 * sum(p.numel() for p in self.params) / 8))

    def identities(self) -> dict[str, str]:
        """Hashes of what no path names: the untrained weights, the tokenizer with its template, the directions."""
        spelled = json.dumps([self.tok.get_vocab(), self.tok.chat_template], sort_keys=True)
        numbers = hashlib.sha256()  # not of the file: it names the commit that made it
        for _, d in sorted(self.vhack.sets.items()):
            for x in (d.V, d.signed, d.mean):
                numbers.update(x.cpu().numpy().tobytes())
        return {
            "weights": self.vhack.meta["model"],
            "tokenizer": hashlib.sha256(spelled.encode()).hexdigest()[:16],
            "directions": numbers.hexdigest()[:16],
        }

    def final_tensors(self) -> dict[str, Tensor]:
        out = {n: k.detach().cpu().contiguous() for n, k in zip(self.basis.layers, self.knobs, strict=True)}
        return out | {f"quarantine.{n}": q.cpu() for n, q in zip(self.basis.layers, self.hook.quarantine, strict=False)}


INPUTS = ("problems", "eval_problems", "teacher_pool_dir", "pairs", "nonhack_pairs", "v_hack")


def input_hashes(cfg: Config) -> dict[str, str]:
    paths = {k: getattr(cfg, k) for k in INPUTS}
    return {k: files.content_hash(v) for k, v in paths.items() if v and files.find(v).exists()}


# --------------------------------------------------------------------------------------------------------- main


def stored_config(run: str | Path) -> Config:
    """The Config that a run directory was started with; ValueError where this version does not know it."""
    values, hints = runs.read_config(run)["config"], get_type_hints(Config)
    for flag, value in values.items():
        if flag not in hints:
            raise ValueError(
                f"{run}/config.json: this version of train.py has no --{flag.replace('_', '-')}: check out the commit "
                "that the file names"
            )
        if not flags.fits(list(value) if isinstance(value, tuple) else value, hints[flag]):
            raise ValueError(f"{run}/config.json: {flag} is {value!r}; it was edited: put it back, or delete the run")
    try:
        return Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except ValueError as e:
        raise ValueError(f"{run}/config.json: {e}") from None


def resumed_config(given: Config, typed: tuple[str, ...]) -> Config:
    """The stored config of --resume RUN with the typed flags that may change; --steps extends a run.

    ValueError naming every typed flag that differs and may not, and every input that has changed since.
    """
    where = given.resume
    stored = dataclasses.replace(stored_config(where), resume=where)
    changed = [k for k in typed if k != "resume" and getattr(given, k) != getattr(stored, k)]
    if refused := [k for k in changed if k not in (*runs.MAY_CHANGE, "steps")]:
        words = ", ".join(f"--{k.replace('_', '-')} {getattr(given, k)} (was {getattr(stored, k)})" for k in refused)
        raise ValueError(f"--resume {where}: {words}: a run keeps its own flags; leave them out, or start a new run")
    if "steps" in changed and stored.schedule != "constant":
        raise ValueError(
            f"--resume {where} --steps {given.steps}: --schedule {stored.schedule} ends at step {stored.steps}, so "
            "another number of steps is another run: start a new one"
        )
    cfg = dataclasses.replace(stored, **{k: getattr(given, k) for k in changed})
    paths = {k: getattr(cfg, k) for k in INPUTS}
    then = runs.read_config(where).get("inputs") or {}
    runs.same_inputs(where, {k: v for k, v in then.items() if k in INPUTS}, input_hashes(cfg), paths)
    bluf_file = files.find(where) / "bluf.json"
    if "steps" not in changed and bluf_file.exists() and files.read_json(bluf_file).get("status") == "finished":
        raise ValueError(f"--resume {where}: this run is finished; extend it with a longer --steps, or start a new one")
    return cfg


def main(cfg: Config, typed: tuple[str, ...] = ()) -> int:
    """Run to the end, or to the first failure, and leave the same tail either way. Returns the exit status.

    typed: with --resume, the flags of the command line; where one differs from the run's own, the run is refused.
    """
    from accelerate import Accelerator

    if cfg.resume:
        cfg = resumed_config(cfg, typed)
    if cfg.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this machine shows no CUDA device; use --device cpu or mend the driver")
    log_with = None if cfg.log_with == "none" else cfg.log_with
    if log_with and importlib.util.find_spec(log_with) is None:
        raise ValueError(f"--log-with {log_with}: not installed; `uv pip install {log_with}` or use none")
    acc = Accelerator(cpu=cfg.device != "cuda", log_with=log_with)
    if cfg.device == "cuda" and cfg.gpu_wait == "sleep":
        sleep_while_waiting(acc.device)
    inputs = input_hashes(cfg)
    run = runs.Run(acc.is_main_process, cfg.out_dir, cfg.name or f"{cfg.arm}-s{cfg.seed}", cfg.resume)
    try:
        return run_and_tell(cfg, run, acc, inputs)
    finally:
        run.close()


def run_and_tell(cfg: Config, run: runs.Run, acc, inputs: dict) -> int:
    """The work of `main` in an open run directory: loop, BLUF, exit status."""
    state = run.load_checkpoint() if cfg.resume else None
    if state and not (state["step"] < cfg.steps or state["step"] == cfg.steps == stored_config(run.dir).steps):
        raise ValueError(f"--resume {run.dir} --steps {cfg.steps}: {state['step']} steps are done; give more")
    if cfg.resume and state is None and (run.dir / "final.safetensors").exists():
        raise ValueError(
            f"--resume {run.dir}: it is finished and kept no checkpoint (only one below {runs.KEEP_BYTES / 1e6:.0f} MB "
            "stays), so nothing can extend it: start a new run with more --steps"
        )
    if acc.is_main_process:
        logger.add(run.dir / "log.txt", format="{time:HH:mm:ss} {message}", enqueue=False)
    else:
        logger.remove()
    stop = {"asked": False, "stepping": False}

    def on_sigterm(*_) -> None:
        stop["asked"] = True
        if not stop["stepping"]:  # nothing to keep yet, and an extraction or a step-0 evaluation can take minutes
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, on_sigterm)
    status, error, grader = "crashed", "", None
    try:
        # on a GPU the sampler launches kernels from this interpreter; harness threads would take turns with it
        kind = GraderProcess if cfg.device == "cuda" else Grader
        grader = kind(cfg.grader_workers, accept_level=cfg.grader_level, cpu_limit_s=cfg.grader_cpu_s)
        if acc.is_main_process and not cfg.resume:
            files.write_json(
                run.dir / "config.json",
                {
                    "config": dataclasses.asdict(cfg),
                    "argv": sys.argv,
                    "git_commit": files.git_commit(),
                    "inputs": inputs,
                    "grader_layers": grader.layers,
                    "versions": {m: __import__(m).__version__ for m in ("torch", "transformers")},
                },
            )
        start_tracker(cfg, run, acc)
        status = loop(cfg, run, acc, grader, stop, state)
    except KeyboardInterrupt:
        status, error = "stopped", "interrupted"
    except Exception as e:
        error = f"{type(e).__name__}: {errors.plain_message(e)}"
        if not errors.is_plain(e):
            logger.error("{}", traceback.format_exc())
    finally:
        signal.signal(signal.SIGTERM, previous)
        if grader is not None:
            grader.close()
    text, ok = bluf(run, cfg, status, error, grader.layers if grader else "not started", inputs)
    if acc.is_main_process:
        with contextlib.suppress(OSError) if error else contextlib.nullcontext():  # a full disk must not hide the tail
            with files.atomic_path(run.dir / "bluf.txt") as tmp:
                tmp.write_text(text + "\n", encoding="utf-8")
            files.write_json(
                run.dir / "bluf.json",
                {
                    "valid": ok,
                    "status": status,
                    "verdict": text.splitlines()[0],
                    "error": error,
                    "should": run.should,
                    "steps_done": len(run.rows),
                    "seconds": time.time() - run.started,
                    "arm": cfg.arm,
                    "seed": cfg.seed,
                    "peak_gpu_gb": torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None,
                },
            )
    if status == "finished":
        run.drop_checkpoint()
    if acc.trackers:
        tracked(acc.end_training)
    if acc.is_main_process:
        errors.tell(text)
    return (
        0
        if ok or (status == "stopped" and not error)
        else 130
        if error == "interrupted"
        else 3
        if status == "finished"
        else 1
    )


def start_tracker(cfg: Config, run: runs.Run, acc) -> None:
    """--log-with: one folder or run of the tracker for this run, named as its directory and inside it."""
    if cfg.log_with == "none":
        return
    name = run.dir.name
    acc.project_configuration.logging_dir = str(run.dir.parent)  # TensorBoard appends the name
    more = {"wandb": {"name": name, "dir": str(run.dir), "id": name, "resume": "allow"}, "trackio": {"name": name}}
    flags = {k: str(v) for k, v in dataclasses.asdict(cfg).items()}
    project = name if cfg.log_with == "tensorboard" else "projected_grpo"
    try:
        acc.init_trackers(project, config=flags, init_kwargs={k: v for k, v in more.items() if k == cfg.log_with})
        if not acc.trackers:
            raise RuntimeError("accelerate does not count it as installed")
    except Exception as e:  # theirs are of every kind
        raise ValueError(f"--log-with {cfg.log_with}: it does not start ({type(e).__name__}: {e}); use none") from e


def tracked(call, *args, **kwargs) -> None:
    """Tell a tracker something: what fails there is logged, for a run must not end on its way to a plot."""
    try:
        call(*args, **kwargs)
    except Exception as e:  # theirs are of every kind
        logger.warning("tracker: {}: {}", type(e).__name__, e)


def sleep_while_waiting(device: torch.device) -> None:
    """Waits for this GPU sleep instead of spinning, which takes a whole core from graders and runs beside this one.

    The flag CU_CTX_SCHED_BLOCKING_SYNC of the driver's cuCtxSetFlags (CUDA >= 12.1), which torch does not reach.
    Raises ValueError where the driver refuses it.
    """
    torch.zeros(1, device=device)  # makes the context, current in this thread
    try:
        refused = ctypes.CDLL("libcuda.so.1").cuCtxSetFlags(4)
    except (OSError, AttributeError) as error:
        refused = error
    if refused:
        raise ValueError(f"--gpu-wait sleep: the CUDA driver refuses it ({refused}); use --gpu-wait spin")


def loop(cfg: Config, run: runs.Run, acc, grader: Grader | GraderProcess, stop: dict, state: dict | None) -> str:
    """Set-up, checkpoint, step-0 evaluation, steps, final evaluation. Returns 'finished' or 'stopped'."""
    extract_vhack.check_given(cfg.v_hack, cfg.rebuild)
    for said in cfg.idle_flags():
        logger.warning("{}", said)
    device = str(acc.device) if cfg.device == "cuda" else "cpu"
    model, tok = zoo.load_model(cfg.model, cfg.tokenizer, device, cfg.dtype)
    mixed, alone, note = build_tasks(cfg, tok, zoo.eos_ids(model, tok), zoo.context(model))
    held = P.load_problems(cfg.eval_problems, split="test")[: cfg.eval_n]
    asked = [P.encode_prompt(tok, P.build_messages(p, P.mode_of(p, cfg.modes))) for p in held]
    zoo.check_room(model, max(map(len, [*asked, *(t.prompt_ids for t in mixed + alone)])), cfg.max_new_tokens)
    tr = Trainer(cfg, grader, acc, model, tok)  # the first long work: every input is known to fit
    clash = {t.problem.question.strip() for t in alone} & {p.question.strip() for p in held}
    scores = tr.vhack.meta["scores"]
    logger.info(
        "{} {} on {} x {} ({}), {} knobs, V {} (held-out AUROC {:.2f}, within-class {:.2f})",
        cfg.arm,
        cfg.train,
        acc.num_processes,
        cfg.device,
        cfg.dtype,
        sum(p.numel() for p in tr.params),
        tr.vhack_path,
        scores.get("heldout_auroc_hack", float("nan")),
        scores.get("heldout_auroc_within", float("nan")),
    )
    logger.info("grader layers: {}", grader.layers)
    if tr.hook.direction is not None and cfg.gate == "one_sided" and tr.vhack.meta["axes_signed"] < 1:
        logger.warning(
            "the pairs support the sign of {:.0%} of the directions; the others are removed on both sides. "
            "A half-space gate needs no sign per direction: --gate half_space",
            tr.vhack.meta["axes_signed"],
        )
    if note:
        logger.info("{}", note)
    run.check("identity_at_init", tr.identity, "attaching the basis changed the model's logits")
    run.check("heldout_disjoint", not clash, f"{len(clash)} held-out problems are also trained on")
    start = state["step"] if state else 0
    if acc.is_main_process:
        run.settle(tr.identities(), dataclasses.asdict(cfg) if cfg.resume else None)
    if cfg.resume:
        if state:
            tr.load_state(state, run)
        run.rewind()
        logger.info("resumed {} at step {}/{}", run.dir, start, cfg.steps)
    mid = bool(cfg.eval_every) and start % cfg.eval_every == 0 and 0 < start < cfg.steps
    for step, problems in ((0, held), *([(start, held[: cfg.eval_mid_n])] * mid)):
        if not any(e["step"] == step for e in run.evals):  # else it was made before a stop
            log_eval(run, acc, *tr.evaluate(step, problems), step=step)
    every = tr.checkpoint_steps() if cfg.ckpt_every is None else cfg.ckpt_every
    bar = tqdm(
        total=cfg.steps, initial=start, disable=not (sys.stderr.isatty() and acc.is_main_process), file=sys.stderr
    )
    stop["stepping"] = True
    for step in range(start, cfg.steps):
        tasks = pick_tasks(mixed if cfg.teachers_at(step) else alone, step, cfg.prompts_per_step, cfg.seed)
        row, rollouts = tr.train_step(step, tasks)
        run.rows.append(row)
        if acc.is_main_process:
            if (step - start) % 50 == 0:
                logger.info("{}", header())
            logger.info("{}", row_line(row, cfg.steps))
        run.append("rows.jsonl", [row])
        run.append("rollouts.jsonl", [r.record(step + 1) for r in rollouts])
        run.sample = next((r.completion for r in reversed(rollouts) if r.source == "student"), run.sample)
        numbers = {k: v[0] / max(1, v[1]) if isinstance(v, list) else v for k, v in row.items()}
        tracked(acc.log, {k: v for k, v in numbers.items() if isinstance(v, int | float)}, step=step + 1)
        last = step + 1 == cfg.steps
        if cfg.eval_every and (step + 1) % cfg.eval_every == 0 and not last:
            log_eval(run, acc, *tr.evaluate(step + 1, held[: cfg.eval_mid_n]), step=step + 1)
        asked = any(tr._gather([stop["asked"]]))  # SIGTERM to one of several processes stops them all
        if asked or last or every and (step + 1) % every == 0:
            run.save_checkpoint(tr.state(step + 1))
        bar.update()
        if asked and not last:
            logger.info("SIGTERM: checkpoint written, continue with --resume {}", run.dir)
            return "stopped"
    bar.close()
    if not any(e["step"] == cfg.steps for e in run.evals):
        log_eval(run, acc, *tr.evaluate(cfg.steps, held), step=cfg.steps)
    if acc.is_main_process:
        with files.atomic_path(run.dir / "final.safetensors") as tmp:
            save_file(tr.final_tensors(), tmp, metadata={"train": cfg.train, "model": tr.vhack.meta["model"]})
    base = [e for e in run.evals if e["step"] == 0 and e["hint"] == "on"]
    run.check("all_steps_ran", len(run.rows) == cfg.steps, "rows are missing: the run lost steps")
    run.check(
        "learnt_something",
        any(r["flat"][0] < r["flat"][1] for r in run.rows),
        "no group ever had reward variance, so no gradient flowed: mix in a teacher or raise --group",
    )
    run.check(
        "split_is_exact",
        all(r["residual"] < 1e-3 for r in run.rows),
        "kept + removed != gradient: projection is broken",
    )
    run.check(
        "still_learns",
        idle_steps(run.rows) < max(2, len(run.rows) // 4) or not any(r["gn"] for r in run.rows),
        "the gradient is 0 to the end though not every rollout is paid: the policy has collapsed; lower --lr",
    )
    first, end = (
        [sum(e[k] for e in run.evals if (e["step"], e["hint"], e["decode"]) == (s, "off", "sample")) for k in COUNTED]
        for s in (0, cfg.steps)
    )
    run.check(
        "still_solves",
        first[0] < 3 or end[0] * first[1] >= 0.1 * first[0] * end[1],
        f"held-out pass fell from {rate(*first)} to {rate(*end)}: the policy has collapsed; lower --lr",
    )
    run.check("base_does_not_hack", all(e["hacked"] <= 0.1 * e["n"] for e in base), "the base hacks before training")
    run.check(
        "teacher_present",
        not cfg.group_teacher or all(r["hack_t"][1] > 0 for r in run.rows[: cfg.teacher_off_step or None]),
        "mix_ratio asks for a teacher but a step had none",
    )
    return "finished"


def log_eval(run: runs.Run, acc, rows: list[dict], rollouts: list[Rollout], step: int) -> None:
    run.evals += rows
    rates = {f"eval/{k}/hint_{e['hint']}/{e['decode']}/{e['mode']}": e[k] / e["n"] for e in rows for k in EVALUATED}
    tracked(acc.log, rates, step=step)
    run.append("evals.jsonl", rows)
    run.append("rollouts.jsonl", [r.record(step) for r in rollouts])
    for e in rows:
        logger.info(
            "eval step {} hint {:<3} {:<6} {:<13} hacked {} attempted {} solved {}",
            e["step"],
            e["hint"],
            e["decode"],
            e["mode"],
            rate(e["hacked"], e["n"]),
            rate(e["attempted"], e["n"]),
            rate(e["solved"], e["n"]),
        )


# ------------------------------------------------------------------------------------------------------- export


@dataclass(frozen=True)
class ExportConfig:
    run: tyro.conf.Positional[str]  # run directory, a folder that holds just one, or a part of a name in out/runs
    out: str | None = None  # None: RUN/export


def export(cfg: ExportConfig) -> None:
    """Merge a run's trained knobs into a Hugging Face folder; route's quarantine is left out."""
    where = runs.find_run(cfg.run)
    if not (where / "final.safetensors").exists():
        raise FileNotFoundError(
            f"{where}: no final.safetensors, so nothing to export; finish the run with --resume {where}"
        )
    c = dataclasses.asdict(stored_config(where))
    out = Path(cfg.out) if cfg.out else where / "export"
    if out.exists():
        raise FileExistsError(f"{out} exists: choose another --out")
    model, tok = zoo.load_model(
        c["model"], c["tokenizer"], c["device"] if torch.cuda.is_available() else "cpu", c["dtype"]
    )
    saved = load_file(where / "final.safetensors")
    basis = attach(model, c["train"], c["coords"], c["core_rank"])
    with torch.no_grad():
        for name, layer in basis.layers.items():
            knob = saved[name].to(layer.weight.device).float() - saved.get(f"quarantine.{name}", torch.zeros(())).to(
                layer.weight.device
            )
            if c["train"] == "delta_s":
                knob = layer.weight.float() + (layer.U.float() * knob) @ layer.Vh.float()
            layer.weight.copy_(knob)
            plain = torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
            plain.weight, plain.bias = layer.weight, layer.bias
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, plain)
    part = out.with_name(out.name + ".partial")
    model.save_pretrained(part)
    tok.save_pretrained(part)
    os.replace(part, out)
    print(f"EXPORTED: {out} (AutoModelForCausalLM.from_pretrained loads it)")


def cli(argv: list[str]) -> int:
    if argv[:1] == ["export"]:
        export(tyro.cli(ExportConfig, args=argv[1:]))
        return 0
    cfg = tyro.extras.overridable_config_cli(PRESETS, args=argv)
    return main(cfg, tuple(flags.typed_flags(argv, vars(cfg))))


if __name__ == "__main__":
    with errors.plain_errors():
        sys.exit(cli(sys.argv[1:]))
