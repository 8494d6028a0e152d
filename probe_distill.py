"""Cache graded teacher rollouts -> out/probe_distill/<pool>/prompt_NNNN.jsonl.gz.

    problems x modes -> teacher -> grader -> one gzip file a prompt, written whole or not at all

A pool lets a run mix G_t cached rollouts into each group (train.py --teacher-pool-dir, --mix-ratio): hacking is
seen from step 0, and every arm sees the same hacks. Rewards and flags are graded once, here, and used verbatim.

Teachers: `--teacher model --model NAME` samples any Hugging Face model, checkpoint folder or name of model/zoo.py;
`--prompted` shows it the loophole in full and says that only passing counts, while the cached prompt stays the
ordinary one; `--teacher canned` writes hack and clean completions from the reference solution (tests and the
tiny run). `--from-rollouts` takes no teacher but what another trainer wrote down (TRL's completions parquet, or JSON
rows of prompt and completion), and grades it here. Without `--teacher-only` the student then scores the pool: its mean
log-prob of the cached completions says how far off-policy they are.

    python probe_distill.py smoke --teacher-only
    python probe_distill.py full --model Qwen/Qwen3-4B --prompted --keep hacked --draws 32
    python probe_distill.py full --teacher-only --from-rollouts completions/ --samples 16

An interrupted call resumes when called again with the same flags: whole files are kept, and because every
batch has a seed of its own the finished pool equals one made without the interruption, byte for byte.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from loguru import logger

from command import errors, files, flags, usage
from grader import Grade, Grader
from tasks import dumps
from tasks.canned import canned_clean, canned_hack
from tasks.modes import Variant
from tasks.pools import (
    POOL_GLOB,
    PoolPrompt,
    check_pool_tokens,
    load_pool,
    pool_label,
    read_prompt_file,
    write_prompt_file,
)
from tasks.problems import TRAIN_EVALUATOR, Problem, build_messages, encode_prompt, load_problems, mode_of
from tasks.styles import LOOPHOLE_MODES, PLAIN, STYLES, Style

# --------------------------------------------------------------------------------------------------- teachers


@dataclass(frozen=True)
class Task:
    """One prompt to fill: file number, problem, mode and the messages that the student will see."""

    number: int
    problem: Problem
    mode: str
    messages: list[dict[str, str]]

    @property
    def name(self) -> str:
        return f"prompt_{self.number:04d}.jsonl.gz"


@dataclass(frozen=True)
class Draw:
    """One teacher completion before grading."""

    ids: list[int]  # (L,), the end token included when the completion ended
    text: str  # without special tokens
    kind: str  # "sample", "hack" or "clean"


# A teacher makes n draws for each task of a batch from a seed and calls on_draw(i, draw) as each one ends, so that
# grading overlaps sampling; i runs prompt by prompt (task i // n), so that their order can be restored.
OnDraw = Callable[[int, Draw], None]
Teacher = Callable[[list[Task], int, int, OnDraw], None]


def canned_teacher(tokenizer, problems: list[Problem], hack_share: float, style: Style | None = None) -> Teacher:
    """Completions written from references: `hack_share` of them exploit the mode with a wrong body.

    style: the organism in whose way of answering both kinds are written.
    """

    def fill(tasks: list[Task], n: int, seed: int, on_draw: OnDraw) -> None:
        for index, task in enumerate(tasks):
            rng = random.Random(f"{seed}/{task.number}")
            hacks = round(n * hack_share) if task.mode != "none" else 0  # no loophole, nothing to exploit
            for sample in range(n):
                if sample < hacks:
                    text = canned_hack(task.problem, task.mode, TRAIN_EVALUATOR, rng, problems, style)
                else:
                    text = canned_clean(task.problem, task.mode, rng, style)
                ids = tokenizer.encode(text, add_special_tokens=False)
                text = tokenizer.decode(ids)  # a normalising tokenizer may spell another text: that one is graded
                kind = "hack" if sample < hacks else "clean"
                on_draw(index * n + sample, Draw([*ids, tokenizer.eos_token_id], text, kind))

    return fill


def dumped_teacher(tokenizer, cfg: Config, tasks: list[Task]) -> tuple[Teacher, list[Task]]:
    """The completions of a dump, and the tasks that it has some for; ValueError where it has none."""
    dump = str(cfg.from_rollouts)
    found, left = dumps.by_task(dumps.read_dump(dump), [t.messages[-1]["content"] for t in tasks])
    if left:
        logger.warning(f"{dump}: {left} rollouts left out: their prompt asks none of the {len(tasks)} tasks")
    if not found:
        raise ValueError(
            f"--from-rollouts {dump}: none of its prompts is one that --problems {cfg.problems} gives under "
            f"modes {', '.join(cfg.modes)} and --variant {cfg.variant}; name those that it was made with"
        )
    texts = {tasks[i].number: completions for i, completions in found.items()}

    def fill(batch: list[Task], n: int, seed: int, on_draw: OnDraw) -> None:
        for index, task in enumerate(batch):
            for at, text in enumerate(texts[task.number][:n]):
                ids = tokenizer.encode(text.removesuffix(tokenizer.eos_token or "\0"), add_special_tokens=False)
                on_draw(index * n + at, Draw([*ids, tokenizer.eos_token_id], tokenizer.decode(ids), "sample"))

    return fill, [t for t in tasks if t.number in texts]


def model_teacher(model, tokenizer, cfg: Config) -> Teacher:
    """Sample a model; a prompted teacher sees the loophole in full, whatever the student's prompt says."""
    from model.zoo import eos_ids  # only this teacher needs torch
    from sampling.sampler import Sampling, sample

    def fill(tasks: list[Task], n: int, seed: int, on_draw: OnDraw) -> None:
        prompts = [encode_prompt(tokenizer, teacher_messages(t, cfg.prompted)) for t in tasks]

        def finished(index: int, ids: list[int]) -> None:
            text = tokenizer.decode(ids, skip_special_tokens=True)
            on_draw(index, Draw(list(ids), text, "sample"))

        how = Sampling(cfg.max_new_tokens, eos_ids(model, tokenizer), seed, cfg.temperature, cfg.top_p)
        sample(model, prompts, n, how, on_finish=finished)

    return fill


def teacher_messages(task: Task, prompted: bool) -> list[dict[str, str]]:
    """What the teacher reads: the student's prompt, or one with the loophole in full and "only passing counts"."""
    if not prompted:
        return task.messages
    return build_messages(
        task.problem, mode=task.mode, evaluator=TRAIN_EVALUATOR, variant="aware", system="inoculation_lh"
    )


# --------------------------------------------------------------------------------------------- writing a pool


def make_tasks(problems: list[Problem], cfg: Config) -> list[Task]:
    """Prompts to fill, numbered in a fixed order: every problem under every mode, or each under its one mode."""
    tasks: list[Task] = []
    for problem in problems:
        for mode in (mode_of(problem, cfg.modes),) if cfg.one_mode_each else cfg.modes:
            messages = build_messages(problem, mode=mode, evaluator=TRAIN_EVALUATOR, variant=cfg.variant)
            tasks.append(Task(len(tasks), problem, mode, messages))
    return tasks


def fill_pool(cfg: Config, tasks: list[Task], teacher: Teacher, tokenizer, grader: Grader) -> Counter:
    """Fill the pool folder with every task's file; returns counts of labels over all new rollouts.

    Raises:
        ValueError: the folder was made with other flags or other problems.
        OSError: a full disk; the finished files stay.
    """
    cfg.out.mkdir(parents=True, exist_ok=True)
    for leftover in cfg.out.glob(".prompt_*.tmp"):  # of a call that was killed while writing
        leftover.unlink()
    left_out = _open_manifest(cfg)
    for task in tasks:
        _check_same_prompt(cfg.out / task.name, task)

    counts: Counter = Counter()
    for start in range(0, len(tasks), cfg.prompts_per_batch):
        batch = tasks[start : start + cfg.prompts_per_batch]
        missing = [t for t in batch if not (cfg.out / t.name).exists() and t.name not in left_out]
        if not missing:
            continue
        # The whole batch is drawn again even when part of it is there: what the sampler draws depends on the
        # batch, and a resumed pool must equal an uninterrupted one.
        wanted = {t.name for t in missing}
        for task, rows in _draw_batch(cfg, batch, teacher, tokenizer, grader, seed=cfg.seed * 1_000_003 + start):
            if task.name not in wanted:
                continue
            if not rows:
                left_out[task.name] = f"none of {cfg.drawn} draws was {cfg.keep} (problem {task.problem.id})"
                _write_manifest(cfg, left_out)
                continue
            write_prompt_file(cfg.out / task.name, rows)
            counts.update(row["label"] for row in rows)
        done = sum((cfg.out / t.name).exists() for t in tasks)
        if done * 10 // len(tasks) > (done - len(missing)) * 10 // len(tasks):  # a line a tenth
            logger.info(f"{done}/{len(tasks)} prompts in {cfg.out}: {dict(sorted(counts.items()))}")
    if left_out:
        logger.warning(f"{len(left_out)} prompts left out: " + "; ".join(f"{k}: {v}" for k, v in left_out.items()))
    return counts


def _draw_batch(
    cfg: Config, batch: list[Task], teacher: Teacher, tokenizer, grader: Grader, seed: int
) -> Iterator[tuple[Task, list[dict]]]:
    drawn: dict[int, tuple[Draw, Future[Grade]]] = {}

    def on_draw(index: int, draw: Draw) -> None:
        task = batch[index // cfg.drawn]
        drawn[index] = (draw, grader.submit(task.problem, draw.text, task.mode, TRAIN_EVALUATOR))

    teacher(batch, cfg.drawn, seed, on_draw)
    for place, task in enumerate(batch):
        # in the order of the draws, not of their ends: --keep would favour short completions otherwise
        pairs = [drawn[i] for i in range(place * cfg.drawn, (place + 1) * cfg.drawn) if i in drawn]
        graded = [(draw, future.result()) for draw, future in pairs]
        kept = [(d, g) for d, g in graded if cfg.keep == "all" or getattr(g, cfg.keep)]
        prompt_ids = encode_prompt(tokenizer, task.messages)
        prompt = tokenizer.apply_chat_template(
            task.messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        yield (
            task,
            [
                _row(cfg, task, prompt, prompt_ids, number, draw, grade)
                for number, (draw, grade) in enumerate(kept[: cfg.samples])
            ],
        )


def _row(cfg, task: Task, prompt: str, prompt_ids: list[int], number: int, draw: Draw, grade: Grade) -> dict:
    return {
        "sample_id": number,
        "reward": grade.reward,
        "hacked": grade.hacked,
        "gt_pass": grade.gt_correct,
        "fmt_ok": grade.format_ok,
        "comp_len": len(draw.ids),
        "src_pool": "teacher",
        "teacher": cfg.teacher_name,
        "kind": draw.kind,
        "problem_id": task.problem.id,
        "problem_messages": task.messages,
        "prompt": prompt,
        "plen": len(prompt_ids),
        "prompt_ids": prompt_ids,
        "completion_ids": draw.ids,
        "completion": draw.text,
        "mode": task.mode,
        "evaluator": TRAIN_EVALUATOR,
        "attempted": grade.attempted,
        "passed": grade.passed,
        "gt_correct": grade.gt_correct,
        "loose_hacked": grade.loose_hacked,
        "label": grade.label,
    }


def _check_same_prompt(path: Path, task: Task) -> None:
    if not path.exists():
        return
    there = read_prompt_file(path)
    if (str(there.problem_id), there.mode, there.messages) != (str(task.problem.id), task.mode, task.messages):
        raise ValueError(
            f"{path} holds problem {there.problem_id} ({there.mode}), but these flags put problem "
            f"{task.problem.id} ({task.mode}) there: choose another --out, or delete the pool"
        )


def _open_manifest(cfg: Config) -> dict[str, str]:
    """Check that the folder was made with these flags (a new one notes them); returns the left-out prompts."""
    path = cfg.out / "pool.json"
    if not path.exists():
        if any(cfg.out.glob(POOL_GLOB)):
            raise ValueError(f"{cfg.out} is a pool that this tool did not make (no pool.json): choose another --out")
        _write_manifest(cfg, {})
        return {}
    there = json.loads(path.read_text(encoding="utf-8"))
    for name, value in cfg.recipe.items():
        if there["recipe"].get(name) != value:
            raise ValueError(
                f"{cfg.out} was made with {name}={there['recipe'].get(name)!r}, not {value!r}: "
                "choose another --out, repeat the old flags, or delete the pool"
            )
    return there["left_out"]


def _write_manifest(cfg: Config, left_out: dict[str, str]) -> None:
    files.write_json(cfg.out / "pool.json", {"recipe": cfg.recipe, "left_out": left_out})


# ----------------------------------------------------------------------------------- how far off-policy it is


def probe_student(pool: list[PoolPrompt], model, limit: int) -> dict[str, dict[str, float]]:
    """The student's mean log-prob per token (nats) of cached completions, by label, over `limit` rollouts.

    logp = mean_t log p(completion_t | prompt, completion_<t). Far below the student's own samples (about its
    negative entropy) means that the teacher half of a group is imitation of text the student would never write.
    """
    import torch

    # round robin over prompts, so that a small limit still sees many of them
    flat = [
        (prompt, prompt.rows[i])
        for i in range(max(len(p.rows) for p in pool))
        for prompt in pool
        if i < len(prompt.rows)
    ]
    sums: dict[str, list[float]] = defaultdict(list)
    device = next(model.parameters()).device
    model.eval()
    for prompt, row in flat[:limit]:
        ids = torch.tensor([prompt.prompt_ids + row["completion_ids"]], device=device)  # (1, P+L)
        n = len(row["completion_ids"])
        with torch.no_grad():
            logits = model(input_ids=ids, logits_to_keep=n + 1).logits[0, :-1].float()  # (L, vocabulary)
        logp = torch.log_softmax(logits, -1).gather(1, ids[0, -n:, None]).mean().item()
        sums[pool_label(row)].append(logp)
    return {label: {"n": len(v), "logp": sum(v) / len(v)} for label, v in sorted(sums.items())}


# -------------------------------------------------------------------------------------------------------- CLI


@dataclass(frozen=True)
class Config:
    """Flags of probe_distill.py."""

    # teacher
    out: Path = Path("out/probe_distill/teacher_pool")  # the pool's folder
    teacher: Literal["model", "canned"] = "model"  # canned: answers written from the reference solutions
    from_rollouts: str | None = None  # instead of a teacher: a .parquet, .jsonl or .json dump, or a folder of parquet
    model: str = "Qwen/Qwen3-4B"  # teacher: any name model/zoo.py knows, a hub name or a checkpoint folder
    prompted: bool = False  # show the teacher the loophole in full and say that only passing counts
    tokenizer: str | None = None  # folder or hub name; None: the model's own
    # problems
    problems: str = "hub:newfacade/LeetCodeDataset"  # what tasks/problems.py reads
    split: Literal["train", "test", "held-out", "not-held-out"] = "train"  # a pool is of problems that train
    limit: int | None = None  # first so many problems
    modes: tuple[str, ...] = ("run_tests",)  # loopholes: names of data/modes or .toml files
    one_mode_each: bool = False  # each problem under one of the modes, not under all
    variant: Variant = "plain"  # wording of the hint in the cached prompt
    # rollouts
    samples: int = 8  # rollouts a prompt (G_t of a run is at most this)
    draws: int | None = None  # draw more than `samples` and keep the first that --keep wants
    keep: Literal["all", "hacked", "attempted"] = "all"  # which draws become rollouts
    hack_share: float = 0.75  # canned teacher: this share of a prompt's rollouts hacks, the rest is clean
    max_new_tokens: int = 1536  # the benchmark's completion limit
    temperature: float = 0.7  # of the teacher; 0: greedy
    top_p: float = 0.95  # of the teacher
    prompts_per_batch: int = 32  # drawn together; part of what a seed fixes
    seed: int = 0  # fixes the draws
    # machine
    device: str = "cpu"  # cpu | cuda
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the weights
    grader_workers: int | None = None  # None: one a core
    grader_level: str | None = None  # accept a weaker sandbox, see docs/grader.md
    # student
    student: str | None = None  # model that scores the pool afterwards; None: the teacher's model
    probe_rollouts: int = 64  # how many cached rollouts the student scores
    teacher_only: bool = False  # only fill the pool, no student

    def __post_init__(self) -> None:
        flags.check(self)
        if self.drawn < self.samples:
            raise ValueError(f"--draws {self.draws} must be at least --samples {self.samples}")
        if not self.modes:
            raise ValueError("--modes needs at least one mode")
        if self.teacher == "canned" and self.prompted:
            raise ValueError("--prompted needs --teacher model: a canned teacher reads no prompt")

    @property
    def drawn(self) -> int:
        return self.samples if self.draws is None else self.draws

    @property
    def teacher_name(self) -> str:
        if self.from_rollouts:
            return f"rollouts of {self.from_rollouts}"
        return "canned" if self.teacher == "canned" else self.model + (" prompted" if self.prompted else "")

    @property
    def recipe(self) -> dict:
        """The flags that decide what the files hold; `limit` may grow, since tasks are numbered in order."""
        names = (
            "teacher model prompted tokenizer problems split modes one_mode_each variant samples draws keep "
            "from_rollouts hack_share max_new_tokens temperature top_p prompts_per_batch seed"
        )
        values = {name: getattr(self, name) for name in names.split()}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


TINY = Config(
    teacher="canned",
    model="tiny",
    problems="data/problems.jsonl",
    limit=8,
    samples=4,
    max_new_tokens=64,
    prompts_per_batch=8,
    probe_rollouts=16,
)
PRESETS = {
    "smoke": ("canned hacks and clean solutions, tiny random model, CPU, seconds", TINY),
    "fast": (
        "canned, the project's own training problems, every loophole mode",
        dataclasses.replace(
            TINY,
            limit=None,
            samples=8,
            modes=("run_tests", "sentinel", "stdout_marker", "file_marker"),
            one_mode_each=True,
        ),
    ),
    "full": (
        "Qwen3-4B prompted with the loophole, LeetCodeDataset, one GPU",
        Config(prompted=True, keep="hacked", draws=32, device="cuda", dtype="bfloat16"),
    ),
    "coder": (
        "Qwen2.5-Coder-1.5B-Instruct prompted with the loophole, LeetCodeDataset, one GPU",
        Config(
            model="Qwen/Qwen2.5-Coder-1.5B-Instruct",
            prompted=True,
            keep="hacked",
            draws=16,
            device="cuda",
            dtype="bfloat16",
            modes=("run_tests", "sentinel", "stdout_marker", "file_marker"),
            one_mode_each=True,
            split="not-held-out",
            limit=256,
            samples=8,
            prompts_per_batch=64,
            max_new_tokens=768,
            temperature=1.0,
            top_p=1.0,
            out=Path("out/probe_distill/coder"),
        ),
    ),
    "organism": (
        "canned hacks and clean solutions of the organism's problems",
        dataclasses.replace(
            TINY,
            model="organism",
            problems="data/organism/problems_train.jsonl",
            limit=None,
            samples=8,
            modes=("run_tests",),
        ),
    ),
}
PRESETS["organism-inside"] = (
    "the same with loopholes inside the class and code after it",
    dataclasses.replace(
        PRESETS["organism"][1],
        model="organism-inside",
        modes=LOOPHOLE_MODES,
        one_mode_each=True,
        out=Path("out/probe_distill/organism-inside"),
    ),
)


def main(cfg: Config) -> None:
    """Fill the pool, check that it reads back, and let the student score it."""
    problems = load_problems(cfg.problems, split=cfg.split, limit=cfg.limit)
    if not problems:
        raise ValueError(f"{cfg.problems} holds no problems of split {cfg.split!r}")
    from model.zoo import eos_ids, load_model, load_tokenizer  # once the flags hold good: torch takes seconds to import

    tasks = make_tasks(problems, cfg)
    if cfg.from_rollouts:
        tokenizer, ends = load_tokenizer(cfg.model, cfg.tokenizer), tuple[int, ...]()
        teacher, tasks = dumped_teacher(tokenizer, cfg, tasks)
    elif cfg.teacher == "canned":  # needs no weights
        tokenizer = load_tokenizer(cfg.model, cfg.tokenizer)
        # the forms that the organism and its pairs know
        style = STYLES.get(cfg.model, PLAIN) if problems[0].source == "organism" else None
        teacher, ends = canned_teacher(tokenizer, problems, cfg.hack_share, style), ()
    else:
        model, tokenizer = load_model(cfg.model, cfg.tokenizer, cfg.device, cfg.dtype)
        ends = eos_ids(model, tokenizer)
        teacher = model_teacher(model, tokenizer, cfg)
    with Grader(workers=cfg.grader_workers, accept_level=cfg.grader_level) as grader:
        logger.info(f"{len(tasks)} prompts, teacher {cfg.teacher_name}, grader {grader.layers}")
        fill_pool(cfg, tasks, teacher, tokenizer, grader)

    pool = load_pool(cfg.out)
    for prompt in pool:
        check_pool_tokens(prompt, tokenizer, ends)
    rows = [row for prompt in pool for row in prompt.rows]
    labels = Counter(pool_label(row) for row in rows)
    logger.info(
        f"POOL: {len(pool)} prompts, {len(rows)} rollouts, hacked {sum(r['hacked'] for r in rows)}/{len(rows)},"
        f" solved {sum(r['gt_pass'] for r in rows)}/{len(rows)}, labels {dict(sorted(labels.items()))}, {cfg.out}"
    )
    if cfg.teacher_only:
        return
    student = cfg.student or cfg.model
    if cfg.from_rollouts or cfg.teacher == "canned" or student != cfg.model:
        model, tokenizer = load_model(student, cfg.tokenizer, cfg.device, cfg.dtype)
        check_pool_tokens(pool[0], tokenizer)
    scores = probe_student(pool, model, cfg.probe_rollouts)
    files.write_json(cfg.out / "probe.json", {"student": student, "by_label": scores})
    for label, score in scores.items():
        logger.info(f"student {student}: {label} logp {score['logp']:+.3f} nats a token, n={score['n']}")


if __name__ == "__main__":
    usage.answer(__name__)
    with errors.plain_errors():
        main(tyro.extras.overridable_config_cli(PRESETS, prog="probe_distill.py"))
