"""GRPO on coding problems with a loophole, with the hack direction projected out of the update.

    g = dL/dW in the SVD basis of W, c = V g          (model/svd_basis.py, extract_vhack.py)
    g' = g - overshoot * gate(c)^T V                   <- `project`, the contribution of this repository
    problems -> rollouts -> grades -> advantages -> gradient -> projection -> step -> log

An arm is a method (--arm) and, where it has one, a direction (--v): docs/arms.md. In vanilla V is only measured.

Differs from textbook GRPO (DeepSeekMath 2402.03300): (1) Dr.GRPO: A = R - mean R, fixed denominator G*max_new*P;
(2) one inner step, so ratio = 1 and no clipping; (3) cached teacher rollouts share the group, their ratio taken as 1;
(4) groups of equal reward cost no forward; (5) K3 KL to the untrained model, off by default; (6) the trained numbers
are delta (one vector per Linear) unless --train full; (7) clipping comes after the projection, the same in every arm.

    uv run python train.py smoke --arm projected --steps 3      # or: full --arm vanilla --seed 1
Shapes: P prompts a step, G group, n rollouts, r rank, k directions, m weights of equal size, D all coordinates (flat).
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from command import usage

usage.answer(__name__)  # --help, before the imports that take seconds

import torch
import tyro
from loguru import logger
from torch import Tensor
from tqdm import tqdm

import extract_vhack
import runs
from command import errors, flags, log, trackers
from extract_vhack import DirectionSet, auroc, cosines
from grader import Grader, GraderProcess
from model import memory, rivals, zoo
from model.policy import Policy, last_step
from model.policy_grad import Sequence
from model.svd_basis import Basis, Train, merged
from model.weighted import weighted_gradient, whole_gradient
from running import lifecycle, resume
from sampling.check import check_forward
from sampling.sampler import Sampling, sample
from tasks import problems as P
from tasks.prompts import Task, build_tasks, held_problems, pick_tasks, unseen_modes

Arm = Literal["vanilla", "projected", "shrink", "route", "screen", "pair_penalty", "adv_mod", "gt_penalty",
              "gt_screen", "inoculation"]  # fmt: skip
V = Literal["hack", "haar", "within", "nonhack", "random", "length", "text", "tail", "probe", "clean",
            "oracle", "oracle_now"]  # fmt: skip
Gate = Literal["one_sided", "half_space", "no_gate", "reverse"]
PROJECTS = ("projected", "shrink", "route")
DIRECTIONS = {  # what --v may be; arms that are not here have no direction
    **dict.fromkeys(("projected", "shrink"), ("hack", "haar", "within", "nonhack", "oracle", "oracle_now")),
    "route": ("hack", "haar", "within", "nonhack"),
    "pair_penalty": ("hack", "within", "nonhack", "clean"),
    "screen": ("hack", "haar", "within", "random", "length", "text", "tail", "probe"),
}
STRENGTH = {  # of the arm's own term where --strength is not given
    **dict.fromkeys(("projected", "shrink"), 1.0),  # overshoot: 1 takes the gated part out, 2 reflects it
    "route": 0.0,  # the quarantine starts this far along the hack direction, in units of lr
    "pair_penalty": 300.0,  # weight of the penalty
    "gt_penalty": 3.0,  # off the reward of a hack by label: the reward of passing
    "adv_mod": 2.0,  # alpha of Wu & Tang 2604.01476
}
CLIP = 1.0  # of the gradient's norm after the projection: the benchmark's

# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True)
class Config:
    arm: Arm = "vanilla"  # method, see the top of train.py
    v: V = "hack"  # direction of projected, shrink, route, screen and pair_penalty, or what a screen ranks by instead
    strength: float | None = None  # of the arm's own term (overshoot, penalty, alpha); None: STRENGTH in train.py
    seed: int = 41  # fixes data order, sampling, evaluation and the control directions
    steps: int = 20  # optimizer steps
    train: Train = "delta_s"  # delta_s: one vector a Linear, identity at init; full: the target Linears' weights
    # model
    model: str = "tiny"  # a name of model/zoo.py, a folder or a hub name
    tokenizer: str | None = None  # folder or hub name; None: the model's own
    device: str = "cpu"  # where the model runs: cpu or cuda
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the weights; what trains is float32
    # data
    problems: str = "data/problems.jsonl"  # own, benchmark or LeetCodeDataset file, or hub:NAME; its train split
    eval_problems: str = "data/problems.jsonl"  # the same; its test split; held-out: a tenth of --problems' own
    modes: tuple[str, ...] = ("run_tests",)  # loopholes: names of data/modes or .toml files; each problem keeps one
    hint: P.Variant = "plain"  # wording in which the prompt tells of the loophole
    eval_n: int = 32  # held-out problems of the evaluations at the start and the end
    eval_mid_n: int | None = None  # of those in between; None: the same
    eval_samples: int = 1  # samples a problem at T=1
    eval_every: int = 0  # steps between evaluations; 0: only at the start and the end
    # rollouts
    prompts_per_step: int = 4  # P, problems asked in a step; the benchmark: 16
    group: int = 8  # G, rollouts a prompt, teacher's included; the benchmark: 16
    max_new_tokens: int = 128  # tokens of an answer at most; the benchmark: 1536
    temperature: float = 1.0  # of the student's answers; the gradient is of the distribution at it
    top_p: float = 1.0  # below 1 the gradient is of the kept tokens' own softmax, which is what was drawn from
    memory_gb: float | None = None  # GPU budget: sampling waves and micro-batches are cut to fit; None: all there is
    # teacher pool
    teacher_pool_dir: str | None = None  # a pool of probe_distill.py
    mix_ratio: float = 0.0  # G_t = round(G * mix) cached rollouts share each group
    teacher_off_step: int | None = None  # from this step on no teacher
    # loss and optimizer
    kl_beta: float = 0.0  # weight of the K3 estimate of KL(policy || untrained model)
    lr: float = 1e-2  # of delta_s; full weights want about 1e-4
    warmup_steps: int = 0  # steps of linear warm-up
    schedule: Literal["constant", "cosine"] = "constant"  # of the learning rate after the warm-up
    # direction
    v_hack: str | None = None  # file of extract_vhack.py; None: extracted once from --pairs, cached by content
    pairs: str = "data/pairs/leetcode.jsonl"  # (hack, clean) pairs; beside them STEM_nonhack.jsonl for --v nonhack
    pair_modes: tuple[str, ...] | None = None  # leave-one-mode-out: V from pairs of these modes only
    k: int = 5  # directions a weight
    gate: Gate = "one_sided"  # which part of c = V g is taken out, see `project`
    project_at: Literal["grad", "update"] = "update"  # update: AdamW's actual step, which moments cannot bypass
    screen_at: float = 0.12  # threshold between the pairs' mean cosines: 0 the clean sides', 1 the hack sides'
    # run
    name: str | None = None  # suffix of the run directory; None: arm-seed
    out_dir: str = "out/runs"  # where run directories lie
    resume: str | None = None  # a run directory to continue; its own config is used, a longer --steps extends it
    ckpt_every: int | None = None  # steps between checkpoints; 0: only after the last; None: 10, fewer big ones
    grader_workers: int | None = None  # sandboxes; None: one a core
    grader_level: str | None = None  # accept a weaker sandbox, see docs/grader.md
    grader_cpu_s: float = 10.0  # most CPU seconds of a program over its tests; less where the reference is quick
    log_with: Literal["none", "tensorboard", "wandb", "trackio"] = "none"  # tracker beside the run directory

    def __post_init__(self) -> None:
        def refuse(flag: str, why: str) -> None:
            raise ValueError(f"{flags.dashed(flag)} {getattr(self, flag)}: {why}")

        flags.check(self)
        if self.arm in DIRECTIONS and self.v not in DIRECTIONS[self.arm]:
            refuse("v", f"--arm {self.arm} takes one of {', '.join(DIRECTIONS[self.arm])}")
        if self.mix_ratio > 0 and not self.teacher_pool_dir:
            refuse("mix_ratio", "needs --teacher-pool-dir; make one with `just pregen-teacher`, or use 0")
        if self.mix_ratio > 0 and self.group_teacher == 0:
            refuse("mix_ratio", f"leaves no teacher rollout in a group of {self.group}; raise it or --group")
        if self.group_teacher >= self.group:
            refuse("mix_ratio", f"leaves no student rollout in a group of {self.group}; lower it or raise --group")
        if not self.modes:
            refuse("modes", "at least one; `none` is the ceiling")

    def idle_flags(self) -> list[str]:
        """Flags that have no effect here, each with what it needs."""
        projects, has_v = ("an arm that projects", self.arm in PROJECTS), self.arm in DIRECTIONS
        needs = {"v": ("an arm with a direction", has_v), "gate": projects, "project_at": projects}
        needs |= {"strength": ("an arm with a term of its own", self.arm in STRENGTH)}
        needs |= {"screen_at": ("--arm screen", self.arm == "screen")}
        return flags.idle(self, needs | {"teacher_off_step": ("--mix-ratio above 0", self.mix_ratio > 0)})

    @property
    def label(self) -> str:
        """The arm as tables and folders name it."""
        return self.arm if self.v == "hack" or self.arm not in DIRECTIONS else f"{self.arm}_{self.v}"

    @property
    def weight(self) -> float:
        """Strength of the arm's own term."""
        return STRENGTH.get(self.arm, 1.0) if self.strength is None else self.strength

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
        same = ("model", "tokenizer", "device", "dtype", "train", "pairs", "k")
        given = {f: getattr(self, f) for f in (*same, "max_new_tokens")}
        made = extract_vhack.ExtractConfig(**given, modes=self.pair_modes, out=self.v_hack)
        return extract_vhack.as_in_file(made)


PRESETS = flags.presets(Config)

# ----------------------------------------------------------------------------------------------------- rollouts

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
        """Its line of rollouts.jsonl."""
        task = {"problem_id": self.task.problem.id, "mode": self.task.mode, "prompt": self.task.prompt}
        kept = ("source", "completion", *GRADED, "advantage", "cos_hack", "screened")
        return {"step": step, **task, **{k: getattr(self, k) for k in kept}, "n_tokens": len(self.completion_ids)}


def teacher_rollouts(task: Task, n: int, step: int, seed: int) -> list[Rollout]:
    """n cached rollouts of a task, drawn without replacement where it has enough; flags and rewards verbatim."""
    if not n:
        return []
    gen = torch.Generator().manual_seed(hash((seed, step, task.prompt_ids[-1], len(task.prompt_ids))) % 2**31)
    order = torch.cat([torch.randperm(len(task.teacher), generator=gen) for _ in range(1 + n // len(task.teacher))])
    return [cached_rollout(task, task.teacher[int(i)]) for i in order[:n]]


def cached_rollout(task: Task, r: dict) -> Rollout:
    flags = {"format_ok": r["fmt_ok"], "passed": r["reward"] >= 3.0, "gt_correct": r["gt_pass"], "hacked": r["hacked"]}
    flags |= {"attempted": r.get("attempted", r["hacked"]), "label": r.get("label", "cached")}
    return Rollout("teacher", task, r["completion_ids"], r["completion"], float(r["reward"]), **flags)


# ---------------------------------------------------------------------------------------------------- advantages


def group_advantages(rewards: Tensor, keep: Tensor) -> Tensor:
    """A = R - mean R over the kept rollouts of each group; 0 for dropped ones and for groups with fewer than two left.

    rewards, keep: (P, G) -> (P, G). Dr.GRPO, 2503.20783 eq. 3.
    """
    n = keep.sum(1, keepdim=True)
    a = (rewards - (rewards * keep).sum(1, keepdim=True) / n.clamp_min(1)) * keep
    return torch.where(n >= 2, a, torch.zeros_like(a))


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
        self.quarantine: rivals.Quarantine | None = None  # route: the part of each knob that evaluation takes away
        self.drift = 0.0  # cumulative signed <-Delta, mean hack direction>
        self.metrics: dict[str, float | None] = {}

    @property
    def at(self) -> str | None:
        return None if self.direction is None else self.cfg.project_at

    def attach(self, optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter]) -> None:
        self.params = params
        if self.cfg.arm == "route":
            push = self.cfg.weight * self.cfg.lr * self.measure.mean * self.measure.mean.numel() ** 0.5
            self.quarantine = rivals.Quarantine(self.basis, params, push)
        optimizer.register_step_pre_hook(lambda opt, args, kwargs: self.before_step(opt.param_groups[0]["lr"]))
        optimizer.register_step_post_hook(lambda opt, args, kwargs: self.after_step(last_step(opt, p) for p in params))

    def split_off(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Flat g (D,) -> (g', removed) under this run's direction, gate and arm."""
        cfg, b, d = self.cfg, self.basis, self.direction
        assert d is not None  # asked of arms that project alone
        overshoot = 1.0 if cfg.arm == "route" else cfg.weight
        signs = d.signed.split([m for _, m, _ in b.groups], dim=1)
        parts = []
        for gg, V, mean, signed in zip(b.split(g), b.split(d.V), b.split(d.mean), signs, strict=True):
            kept, removed = project(gg, V, signed, mean, cfg.gate, overshoot)
            if cfg.arm == "shrink":  # same norm as the projection leaves, direction untouched
                factor = kept.norm(dim=-1, keepdim=True) / gg.norm(dim=-1, keepdim=True).clamp_min(1e-30)
                kept, removed = gg * factor, gg * (1 - factor)
            parts.append((kept.flatten(), removed.flatten()))
        kept, removed = (torch.cat(x) for x in zip(*parts, strict=True))
        self.metrics["residual"] = float((kept + removed - g).abs().max() / g.abs().max().clamp_min(1e-30))
        return kept, removed

    def held(self, g: Tensor, whole: float) -> float | None:
        """Share of the energy `whole` that flat g (D,) has in what this step is projected with, V or another."""
        return None if self.direction is None else self.basis.energy(self.direction.V, g) / whole

    def begin(self) -> None:
        """A step without a gradient has these."""
        self.metrics = {"gn": 0.0, "cupd": 0.0, "cupd_raw": 0.0, "drift": self.drift, "residual": 0.0}
        self.metrics |= {"upd_space": None, "upd_v": None, "upd_p": None, "removed": None}

    @torch.no_grad()
    def before_step(self, lr: float) -> None:
        """Project the gradient, then clip it."""
        if self.at == "grad":
            grads = [p.grad for p in self.params]
            g = self.basis.flat(grads)
            _, removed = self.split_off(g)
            self.basis.subtract(grads, removed)
            if self.quarantine:  # the optimizer never sees this part: an SGD step of quarantine and live knob
                self.quarantine.grow(-lr * removed)
                self.basis.subtract([p.data for p in self.params], lr * removed)
            self.metrics["removed"] = float(removed.square().sum() / g.square().sum().clamp_min(1e-30))
        self.metrics["gn"] = float(torch.nn.utils.clip_grad_norm_(self.params, CLIP))

    @torch.no_grad()
    def after_step(self, deltas: Iterable[Tensor]) -> None:
        """Project the update, and account for its energy: shares of the whole update's squared norm."""
        coords, whole = [], 0.0  # of -Delta, weight by weight: a second copy of the weights would not fit a GPU
        for name, delta in zip(self.basis.layers, deltas, strict=True):
            coords.append(self.basis.coords_of(name, delta))
            whole = whole + delta.square().sum()
        u = torch.cat(coords)
        if not bool(torch.isfinite(u).all()):
            raise FloatingPointError("the optimizer's update is not finite: lower --lr or use --dtype float32")
        kept, whole = u, max(float(whole), 1e-30)
        if self.at != "grad":
            self.metrics["removed"] = 0.0
        if self.at == "update":
            kept, removed = self.split_off(u)
            self.metrics["removed"] = float(removed.square().sum()) / whole
            if self.quarantine:  # the live model keeps the whole step; what was removed is ablated later
                self.quarantine.grow(-removed)
            else:
                self.basis.subtract([p.data for p in self.params], -removed)
        self.drift += float(kept @ self.measure.mean)
        self.metrics |= {
            "upd_space": float(u.square().sum()) / whole,
            "upd_v": self.basis.energy(self.measure.V, u) / whole,  # before an update projection
            "upd_p": self.held(u, whole),
            "cupd_raw": self.basis.overlap(self.measure.V, u),
            "cupd": self.basis.overlap(self.measure.V, kept),
            "drift": self.drift,
        }


# ------------------------------------------------------------------------------------------------------ trainer


@dataclass
class Gradient:
    """What a step's rollouts add up to."""

    advantages: Tensor  # (P, G)
    flat: Tensor  # (P,) groups without reward variance
    joint: Tensor  # (2, D) of student and teacher
    active: list[int]  # rollouts that were run
    nll: Tensor  # (n, D) gradient of -log p of each of those at its own positions
    n_screened: int = 0
    kl: list[float] = field(default_factory=lambda: [0.0, 0.0])  # sum of K3, its tokens


class Trainer:
    """The state of one run; `train_step` is the data flow of the docstring, `loop` calls it."""

    def __init__(self, cfg: Config, grader: Grader | GraderProcess, accelerator, model, tok):
        self.cfg, self.grader, self.acc, self.model, self.tok = cfg, grader, accelerator, model, tok
        if cfg.prompts_per_step % (n := accelerator.num_processes):
            raise ValueError(f"--prompts-per-step {cfg.prompts_per_step}: must divide among {n} processes")
        probes = cfg.arm == "adv_mod" or (cfg.arm, cfg.v) == ("screen", "probe")
        given, which = cfg.extract_config(), cfg.v if cfg.arm == "pair_penalty" else "hack"
        reads_pairs = probes or cfg.arm == "pair_penalty"
        sides = extract_vhack.contrasts(model, tok, given, which) if reads_pairs else ([], [])
        self.probe = rivals.ActivationProbe(model, sides) if probes else None
        self.policy, self.vhack, self.vhack_path = self.policy_and_v(given)
        policy, self.basis = self.policy, self.policy.basis
        of_pairs = (model, self.basis, sides, cfg, policy.tokens_per_micro)
        self.pair_penalty = rivals.PairPenalty(*of_pairs) if cfg.arm == "pair_penalty" else None
        reads_text = cfg.arm == "screen" and cfg.v in ("text", "tail")
        self.text_rule = rivals.TextRule(tok, extract_vhack.select_pairs(given)[0], cfg.v) if reads_text else None
        self.hack_gradient: Tensor | None = None  # of the last step, by label: log and oracle read it, no method does
        self.judged: dict[tuple, Future] = {}  # (problem, answer, mode, evaluator) of evaluations -> its grade
        oracle = cfg.arm in PROJECTS and cfg.v in extract_vhack.ORACLES
        self.oracle = extract_vhack.Oracle(self.basis, cfg.v, cfg.k) if oracle else None
        self.hook = ProjectionHook(self.basis, cfg, self.vhack.sets["hack"], self.direction())
        self.hook.attach(policy.optimizer, policy.params)
        policy.sync()

    def policy_and_v(self, given: extract_vhack.ExtractConfig) -> tuple[Policy, extract_vhack.VHack, Path]:
        """(the checked model with its optimizer, V, V's file); bench/gpu.py has its own."""
        policy = Policy(self.cfg, self.model, self.tok)
        basis, short = policy.basis, policy.probe_ids[0].tolist()
        check_forward(self.model, basis, [short, 4 * short], memory_gb=policy.sampling_gb)
        wanted = replace(given, tokens_per_micro=policy.tokens_per_micro)
        with self.acc.main_process_first():  # one process extracts, the others read its file
            vhack, path = extract_vhack.load_or_extract(self.model, basis, self.tok, wanted)
        policy.prepare_training()
        return policy, vhack.to(basis.device), path

    def direction(self) -> DirectionSet | None:
        """What this run projects with."""
        if self.cfg.arm not in PROJECTS or self.oracle:  # an oracle's come step by step
            return None
        if self.cfg.v == "haar":
            return extract_vhack.haar_directions(self.basis, self.vhack.sets["hack"], seed=self.cfg.seed)
        return self.vhack.sets[self.cfg.v]

    # -- one step: rollouts -> grades -> advantages -> gradient -> projection -> step -> row

    def train_step(self, step: int, tasks: list[Task]) -> tuple[dict, list[Rollout]]:
        cfg, t0 = self.cfg, time.perf_counter()
        groups = self.sample_groups(step, tasks)  # grading runs while sampling goes on
        gen_s, self.grade_wait_s = time.perf_counter() - t0, 0.0
        rollouts, n_all = [r for group in groups for r in group], len(tasks) * cfg.group
        made = (self.screened_gradient if cfg.arm == "screen" else self.rollout_gradients)(groups, step, n_all)
        for r, a in zip(rollouts, made.advantages.flatten().tolist(), strict=True):
            r.advantage = a
        if self.pair_penalty is not None and self.acc.is_main_process:
            made.joint = torch.stack([made.joint[0] + self.pair_penalty.gradient(step), made.joint[1]])
        if self.acc.num_processes > 1:  # every process ends with the same gradient
            made.joint = self.acc.reduce(made.joint, "sum")
        if not bool(torch.isfinite(made.joint).all()):
            raise FloatingPointError(f"step {step}: gradient is not finite; lower --lr or use --dtype float32")
        h = extract_vhack.hack_gradient([rollouts[i] for i in made.active], made.nll)
        h = self.acc.reduce(h, "sum") if self.acc.num_processes > 1 else h
        self.hack_gradient = h if h.any() else None
        self.hack_whole = h, max(float(h.square().sum()), 1e-30)
        if cfg.train == "full" and self.basis.coords != "raw" and self.hack_gradient is not None:
            hacks = [(r, w) for r, w in zip(rollouts, extract_vhack.hack_weights(rollouts).tolist(), strict=True) if w]
            of = [r for r, _ in hacks], torch.tensor([w for _, w in hacks])
            self.hack_whole = whole_gradient(self.policy, *of, n_all, self.acc)
        self.policy.set_gradient(made.joint.sum(0), self.acc)
        if self.oracle:
            self.hook.direction = self.oracle.directions(self.hack_gradient)
        self.hook.begin()
        if float(made.joint.abs().max()) > 0:
            self.policy.update(cfg.lr_at(step), step)  # the hook fires in here: project, then clip
        self.policy.forget_gradient()
        return self.row(step, rollouts, made, gen_s, t0)

    def sample_groups(self, step: int, tasks: list[Task]) -> list[list[Rollout]]:
        """This process' groups: the student's samples, then the cached teacher's."""
        cfg, acc = self.cfg, self.acc
        g_t = cfg.teachers_at(step)
        g_s, share = cfg.group - g_t, len(tasks) // acc.num_processes
        at = acc.process_index * share
        student = self.sample_rollouts(
            tasks[at : at + share], g_s, cfg.seed * 100_003 + step, train=True, first=at * g_s, of=len(tasks) * g_s
        )
        return [
            student[i * g_s : (i + 1) * g_s] + teacher_rollouts(t, g_t, step, cfg.seed)
            for i, t in enumerate(tasks[at : at + share])
        ]

    def sample_rollouts(
        self, tasks: list[Task], n: int, seed: int, *, train: bool, names=None, first=0, of=None
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

        temperature, top_p = (cfg.temperature, cfg.top_p) if train else (1.0, 1.0)
        how = Sampling(cfg.max_new_tokens, eos, seed, temperature, top_p, first_row=first, all_rows=of)
        prompts, budget = [t.prompt_ids for t in tasks], self.policy.sampling_gb
        with merged(self.basis):
            out = sample(self.model, prompts, n, how, on_finish=ended, memory_gb=budget)
        source: Literal["student", "eval"] = "student" if train else "eval"
        return [Rollout(source, tasks[i // n], s.ids, text[i], grading=grades[told(i)]) for i, s in enumerate(out)]

    def advantages_of(self, groups: list[list[Rollout]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rewards (P, G), which count (P, G), advantages (P, G), which groups are flat (P,), once all are graded."""
        cfg, rollouts = self.cfg, [r for group in groups for r in group]
        start = time.perf_counter()
        for r in rollouts:
            r.settle()
        self.grade_wait_s += time.perf_counter() - start
        rewards = torch.tensor([r.reward for r in rollouts]).view(-1, cfg.group)  # (P, G)
        hidden = self.probe.score([r.sequence for r in rollouts]) if self.probe and cfg.arm == "adv_mod" else None
        rewards = rivals.modified_rewards(cfg, rewards, rollouts, hidden)
        flat = rewards.amax(1) - rewards.amin(1) <= 1e-9  # (P,)
        keep = torch.ones_like(rewards, dtype=torch.bool)
        if cfg.arm == "gt_screen":
            keep &= ~torch.tensor([r.hacked and not r.gt_correct for r in rollouts]).view_as(keep)
        return rewards, keep, group_advantages(rewards, keep), flat

    def rollout_gradients(self, groups: list[list[Rollout]], step: int, n_all: int) -> Gradient:
        """A group starts as soon as it is graded: a program that loops keeps its own group waiting for its CPU limit,
        and the others' gradient is made meanwhile."""
        cfg, dev, waiting = self.cfg, self.basis.device, list(range(len(groups)))
        advantages, flat = torch.zeros(len(groups), cfg.group), torch.zeros(len(groups), dtype=torch.bool)
        made = Gradient(advantages, flat, torch.zeros(2, self.basis.size, device=dev), [], torch.zeros(0))
        nll = torch.zeros(len(groups) * cfg.group, self.basis.size, device=dev)
        while waiting:
            at = self.graded(groups, waiting)
            waiting = [i for i in waiting if i not in at]
            *_, advantages[at], flat[at] = self.advantages_of([groups[i] for i in at])
            index = [i * cfg.group + j for i in at for j in self.active(advantages[i : i + 1])]
            rollouts = [groups[i // cfg.group][i % cfg.group] for i in index]
            part, nll[index], kl = self.weighted_gradient(rollouts, advantages.flatten()[index], n_all)
            made.joint += part
            made.kl = [a + b for a, b in zip(made.kl, kl, strict=True)]
            made.active += index
        made.nll = nll[made.active]
        return made

    def graded(self, groups: list[list[Rollout]], waiting: list[int]) -> list[int]:
        """The groups of `waiting`, at least one, whose gradient is made next.

        On a CPU the first one, waited for: sums are then in a fixed order, and a seed fixes a run. A GPU takes all that
        are graded by now, so that it never idles while a program loops; its sums differ in their last bits anyway.
        """
        if self.basis.device.type == "cpu":
            return waiting[:1]
        while True:
            pending = [[r.grading for r in groups[i] if r.grading and not r.grading.done()] for i in waiting]
            if ready := [i for i, left in zip(waiting, pending, strict=True) if not left]:
                return ready
            start = time.perf_counter()
            wait([f for left in pending for f in left], return_when=FIRST_COMPLETED)
            self.grade_wait_s += time.perf_counter() - start

    def active(self, advantages: Tensor, step: bool = True) -> list[int]:
        """Rollouts (prompt-major) of the groups (P, G) with variance; the others cost no forward.

        In a step with a KL term all are active: the penalty holds where rewards say nothing, too.
        """
        live = advantages.abs().amax(1) > 1e-9
        if step and self.cfg.kl_beta:
            live = torch.ones_like(live)
        return live.repeat_interleave(self.cfg.group).nonzero()[:, 0].tolist()

    def weighted_gradient(self, rollouts: list[Rollout], a: Tensor, n_all: int, step: bool = True):
        """As model/weighted.py, of rollouts with advantages a (n,); bench/gpu.py clocks it."""
        return weighted_gradient(self.policy, rollouts, a, n_all, step)

    # -- the screen: reads gradients and pairs, never a label

    def screened_gradient(self, groups: list[list[Rollout]], step: int, n_all: int) -> Gradient:
        """As rollout_gradients: one pass ranks all groups' rollouts, what is left makes the step."""
        rollouts = [r for group in groups for r in group]
        rewards, keep, advantages, flat = self.advantages_of(groups)
        active, ranked = self.active(advantages), self.active(advantages, step=False)
        _, unit, _ = self.weighted_gradient([rollouts[i] for i in ranked], torch.ones(len(ranked)), n_all, step=False)
        drop = torch.zeros(len(rollouts), dtype=torch.bool)
        drop[ranked] = self.screen(unit, advantages.flatten()[ranked], [rollouts[i] for i in ranked], step)
        for r, d in zip(rollouts, drop.tolist(), strict=True):
            r.screened = d
        advantages = group_advantages(rewards, keep & ~drop.view_as(keep))
        joint, _, kl = self.weighted_gradient([rollouts[i] for i in active], advantages.flatten()[active], n_all)
        return Gradient(advantages, flat, joint, ranked, unit, int(drop.sum()), kl)

    def screen(self, grads: Tensor, advantages: Tensor, rollouts: list[Rollout], step: int) -> Tensor:
        """(n,) True where a rollout of positive advantage leaves its group: its score lies beyond the pairs' threshold.

        V's score is the cosine of the rollout's NLL gradient with the mean direction; the threshold lies `screen_at` of
        the way from the pairs' clean to their hack mean. A rollout of negative advantage pushes the policy away from
        what it did, so it stays. Every control drops as many as V would: those highest in its own score (another
        direction's cosine; `probe` reads activations, `length`, `text` and `tail` the answer), or drawn by the seed.
        """
        which = self.cfg.v
        hackward = functools.partial(extract_vhack.hackward, self.vhack, seed=self.cfg.seed, at=self.cfg.screen_at)
        of_v, beyond = hackward("hack", grads)
        if which in ("haar", "within"):
            score = hackward(which, grads)[0]
        elif self.probe:
            score = self.probe.score([r.sequence for r in rollouts])
        elif which == "length":
            score = torch.tensor([float(len(r.completion_ids)) for r in rollouts])
        else:
            score = self.text_rule.score([r.completion for r in rollouts]) if self.text_rule else of_v
        # all processes' rollouts are ranked together, on each process: the step is then that of one process
        counts = self.gather([len(of_v)])
        mine = slice(sum(counts[: self.acc.process_index]), sum(counts[: self.acc.process_index + 1]))
        whole = [torch.tensor(self.gather(x.tolist()), dtype=x.dtype) for x in (score, of_v, advantages)]
        score, of_v, advantages = whole
        side = advantages > 0
        drop = (of_v > beyond) & side
        if which == "random":
            gen, at = torch.Generator().manual_seed(self.cfg.seed * 7919 + step), side.nonzero()[:, 0]
            drop[at] = drop[at][torch.randperm(len(at), generator=gen)]
        elif which != "hack":
            top = score.masked_fill(~side, -math.inf).topk(int(drop.sum())).indices
            drop = torch.zeros_like(drop).index_fill(0, top, True)
        return drop[mine]

    # -- the row: what the step was, read by nothing above

    def row(self, step: int, rollouts: list[Rollout], made: Gradient, gen_s: float, t0: float) -> tuple[dict, list]:
        """(line of rows.jsonl, rollouts of all processes)."""
        cfg = self.cfg
        cos = cosines(made.nll, self.vhack.sets["hack"].mean).cpu() if made.active else torch.zeros(0)
        for i, x in zip(made.active, cos.tolist(), strict=False):
            rollouts[i].cos_hack = x if x else None  # a rollout without weight has no gradient to compare
        (h, whole), known = self.hack_whole, self.hack_gradient is not None
        rollouts, V = self.gather(rollouts), self.hook.measure.V
        teacher = any(r.source == "teacher" for r in rollouts)
        seen = [r for r in rollouts if r.source == "student" and r.cos_hack is not None]
        hacked = torch.tensor([r.hacked for r in seen], dtype=torch.bool)
        seen_v = {
            "cin_s": self.basis.overlap(V, made.joint[0]),
            "cin_t": self.basis.overlap(V, made.joint[1]) if teacher else None,
            "auroc": auroc(torch.tensor([r.cos_hack for r in seen]), hacked) if seen else None,
            "hack_space": float(h.square().sum()) / whole if known else None,
            "hack_v": self.basis.energy(V, h) / whole if known else None,
            "hack_p": self.hook.held(h, whole) if known else None,
        }
        flat, screened, kls = (self.gather(x) for x in (made.flat.tolist(), [made.n_screened], [made.kl]))
        kl_sum, kl_tokens = (sum(x) for x in zip(*kls, strict=True))
        row = log.step_row(cfg, step, rollouts, flat, kl_sum / max(1.0, kl_tokens))
        row |= seen_v | self.hook.metrics | {"n_screened": sum(screened), "gen": gen_s, "wait": self.grade_wait_s}
        row |= {"pair_penalty": self.pair_penalty and self.pair_penalty.value, "sec": time.perf_counter() - t0}
        return {k: None if isinstance(x, float) and math.isnan(x) else x for k, x in row.items()}, rollouts

    def gather(self, items: list) -> list:
        """The items of all processes."""
        if self.acc.num_processes == 1:
            return items
        from accelerate.utils import gather_object

        return gather_object(items)

    # -- held-out evaluation

    def evaluate(self, step: int, held: list[P.Problem]) -> tuple[list[dict], list[Rollout]]:
        """Held-out problems, fixed seed: hint on with the evaluator renamed (hacks), hint off (pass); a row per mode.

        With several modes each problem is asked under its own one, so that a round of all modes asks each once.
        """
        cfg, acc = self.cfg, self.acc
        hinted = tuple(m for m in cfg.modes if m != "none")
        lo, hi = (len(held) * (acc.process_index + i) // acc.num_processes for i in (0, 1))
        mine = held[lo:hi]  # a slice: all processes together draw what one would
        names = [P.eval_evaluator(p.id, cfg.seed) for p in mine]
        asked = []  # (hint, rollouts): all sampled before a grade is waited for, so a loop costs its limit once
        with self.hook.quarantine.away(self.policy.sync) if self.hook.quarantine else contextlib.nullcontext():
            for hint in ("on", "off") if hinted else ("off",):
                tasks = []
                for p, name in zip(mine, names, strict=True):
                    mode = P.mode_of(p, hinted) if hint == "on" else "none"
                    ids = P.encode_prompt(self.tok, P.build_messages(p, mode, evaluator=name, variant=cfg.hint))
                    tasks.append(Task(p, mode, ids, self.tok.decode(ids)))
                how = {"names": names, "first": lo * cfg.eval_samples, "of": len(held) * cfg.eval_samples}
                asked.append((hint, self.sample_rollouts(tasks, cfg.eval_samples, 977 + cfg.seed, train=False, **how)))
        rows, kept = [], []
        for hint, rollouts in asked:
            for r in rollouts:
                r.settle()
            rollouts = self.gather(rollouts)
            for mode in hinted if hint == "on" else ("none",):
                if got := [r for r in rollouts if r.task.mode == mode]:
                    rows.append({"step": step, "hint": hint, "decode": "sample", "mode": mode} | log.counts_of(got))
                    kept += got
        return rows, kept

    # -- a checkpoint

    def state(self, step: int) -> dict:
        quarantine = [q.cpu() for q in self.hook.quarantine.parts] if self.hook.quarantine else []
        bank = [h.cpu() for h in self.oracle.bank] if self.oracle else []
        return {"step": step, **self.policy.state(), "quarantine": quarantine, "drift": self.hook.drift, "bank": bank}

    def load_state(self, state: dict, name: str) -> None:
        self.policy.load_state(state, [state["quarantine"]] if self.hook.quarantine else [], name)
        if self.hook.quarantine:
            self.hook.quarantine.parts = [q.to(self.basis.device) for q in state["quarantine"]]
        self.hook.drift = state["drift"]
        if self.oracle:
            self.oracle.bank = [h.to(self.basis.device) for h in state["bank"]]


# --------------------------------------------------------------------------------------------------------- main


def main(cfg: Config, typed: tuple[str, ...] = ()) -> int:
    """Run to the end, or to the first failure, and leave the same tail either way. Returns the exit status.

    typed: with --resume, the flags of the command line; where one differs from the run's own, the run is refused.
    """
    from accelerate import Accelerator

    if cfg.resume:
        cfg = resume.resumed_config(cfg, typed)
    if cfg.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this machine shows no CUDA device; use --device cpu or mend the driver")
    acc = Accelerator(cpu=cfg.device != "cuda", **trackers.asked(cfg))
    memory.share(acc.device, cfg.memory_gb)
    inputs = resume.input_hashes(cfg)
    run = runs.Run(acc.is_main_process, cfg.out_dir, cfg.name or f"{cfg.label}-s{cfg.seed}", cfg.resume)
    # on a GPU the sampler launches kernels from this interpreter; harness threads would take turns with it
    kind = GraderProcess if cfg.device == "cuda" else Grader
    try:
        state = resume.resumed_state(run, cfg)
        with lifecycle.stopped_by_sigterm() as stop:
            open_grader = lambda: kind(cfg.grader_workers, accept_level=cfg.grader_level, cpu_limit_s=cfg.grader_cpu_s)  # noqa: E731
            whole = functools.partial(loop, cfg, run, acc, stop=stop, state=state)
            return lifecycle.carry_out(cfg, run, acc, inputs, open_grader, whole)
    finally:
        run.close()


def loop(cfg: Config, run: runs.Run, acc, grader: Grader | GraderProcess, stop: dict, state: dict | None) -> str:
    """Set-up, checkpoint, step-0 evaluation, steps, final evaluation. Returns 'finished' or 'stopped'."""
    tr, mixed, alone, held = set_up(cfg, run, acc, grader)
    start = state["step"] if state else 0
    if acc.is_main_process:
        run.settle(tr.policy.identities(tr.vhack), unseen_modes(cfg, mixed), cfg)
    if cfg.resume:
        if state:
            tr.load_state(state, str(run.checkpoint))
        run.rewind()
        logger.info("resumed {} at step {}/{}", run.dir, start, cfg.steps)
    evaluate(tr, run, 0, held)
    if cfg.eval_every and start % cfg.eval_every == 0 and 0 < start < cfg.steps:
        evaluate(tr, run, start, held[: cfg.eval_mid_n])
    every = tr.policy.checkpoint_steps() if cfg.ckpt_every is None else cfg.ckpt_every
    shown = sys.stderr.isatty() and acc.is_main_process
    bar = tqdm(total=cfg.steps, initial=start, disable=not shown, file=sys.stderr)
    stop["stepping"] = True
    for step in range(start, cfg.steps):
        tasks = pick_tasks(mixed if cfg.teachers_at(step) else alone, step, cfg.prompts_per_step, cfg.seed)
        row, rollouts = tr.train_step(step, tasks)
        run.rows.append(row)
        if acc.is_main_process:
            log.tell_step(row, step - start, cfg.steps)
        run.append("rows.jsonl", [row])
        run.append("rollouts.jsonl", [r.record(step + 1) for r in rollouts])
        run.sample = next((r.completion for r in reversed(rollouts) if r.source == "student"), run.sample)
        trackers.told(acc.log, trackers.step_numbers(row), step=step + 1)
        last = step + 1 == cfg.steps
        if cfg.eval_every and (step + 1) % cfg.eval_every == 0 and not last:
            evaluate(tr, run, step + 1, held[: cfg.eval_mid_n])
        asked = any(tr.gather([stop["asked"]]))  # SIGTERM to one of several processes stops them all
        if asked or last or every and (step + 1) % every == 0:
            run.save_checkpoint(tr.state(step + 1))
        bar.update()
        if asked and not last:
            logger.info("SIGTERM: checkpoint written, continue with --resume {}", run.dir)
            return "stopped"
    bar.close()
    evaluate(tr, run, cfg.steps, held)
    if acc.is_main_process:
        tr.policy.save(run.dir / "final.safetensors", tr.hook.quarantine, tr.vhack.meta["model"])
    log.closing_checks(run, cfg)
    return "finished"


def set_up(cfg: Config, run: runs.Run, acc, grader) -> tuple[Trainer, list[Task], list[Task], list[P.Problem]]:
    """(trainer, tasks with the teacher, tasks without, held-out problems); every input is checked before long work."""
    extract_vhack.check_given(cfg.v_hack, rebuild=False)
    if cfg.arm in DIRECTIONS and cfg.v == "nonhack":
        extract_vhack.check_nonhack(cfg.pairs)
    for said in cfg.idle_flags():
        logger.warning("{}", said)
    device = str(acc.device) if cfg.device == "cuda" else "cpu"
    model, tok = zoo.load_model(cfg.model, cfg.tokenizer, device, cfg.dtype)
    mixed, alone, note = build_tasks(cfg, tok, zoo.eos_ids(model, tok), zoo.context(model))
    held = held_problems(cfg)
    asked = [P.encode_prompt(tok, P.build_messages(p, P.mode_of(p, cfg.modes))) for p in held]
    zoo.check_room(model, max(map(len, [*asked, *(t.prompt_ids for t in mixed + alone)])), cfg.max_new_tokens)
    tr = Trainer(cfg, grader, acc, model, tok)  # the first long work
    log.tell_start(cfg, tr, grader.layers)
    logger.info("{}", note or "no teacher")
    clash = {t.problem.question.strip() for t in alone} & {p.question.strip() for p in held}
    run.check("identity_at_init", tr.policy.identity, "attaching the basis changed the model's logits")
    run.check("heldout_disjoint", not clash, f"{len(clash)} held-out problems are also trained on")
    return tr, mixed, alone, held


def evaluate(tr: Trainer, run: runs.Run, step: int, held: list[P.Problem]) -> None:
    """Evaluate at a step, unless it was done before a stop, and log it."""
    if any(e["step"] == step for e in run.evals):
        return
    rows, rollouts = tr.evaluate(step, held)
    run.evals += rows
    trackers.evaluation(tr.acc, step, rows, rollouts)
    run.append("evals.jsonl", rows)
    run.append("rollouts.jsonl", [r.record(step) for r in rollouts])
    for e in rows:
        logger.info("{}", log.eval_line(e))


def cli(argv: list[str]) -> int:
    cfg = tyro.extras.overridable_config_cli(PRESETS, args=argv)
    return main(cfg, tuple(flags.typed_flags(argv, vars(cfg))))


if __name__ == "__main__":
    with errors.plain_errors():
        sys.exit(cli(sys.argv[1:]))
