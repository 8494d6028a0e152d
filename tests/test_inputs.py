"""What a user hands in: every flag of every script, and the one line that a wrong one ends in."""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
import typing
from pathlib import Path

import pytest
import tyro

import bench_gpu
import bench_grader
import drift
import extract_vhack
import flags
import grader
import organism
import pairs
import probe_distill
import problems
import queue_jobs
import results
import rollouts_view
import runs
import study
import substrate
import train

CONFIGS = {
    "train": train.Config(),
    "extract_vhack": extract_vhack.ExtractConfig(),
    "probe_distill": probe_distill.Config(),
    "bench_gpu": bench_gpu.Config(),
    "bench_grader": bench_grader.Config(),
    "drift": drift.Config(Path("x")),
    "grader": grader.Config("x", Path("x"), Path("x")),
    "organism train": organism.TrainConfig(),
    "organism problems": organism.ProblemsConfig(),
    "organism eval": organism.EvalConfig(),
    "pairs check": pairs.Check(()),
    "pairs show": pairs.Show(Path("x"), 0),
    "problems": problems.Config("x"),
    "queue_jobs": queue_jobs.Config("full"),
    "results": results.Config(),
    "rollouts_view": rollouts_view.Config(),
    "substrate": substrate.TrainConfig(),
}
COMMANDS = (study.run_command, study.stage0_command, study.near_misses_command, study.power_command)
NEGATIVE_IS_RIGHT = {"screen_at": "a threshold may lie below the pairs' clean mean"}


def numeric(kind) -> type | None:
    """int or float where a flag's type is one, or a tuple of or an optional one; None for texts and switches."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) in (typing.Union, tuple):
        return next((n for n in map(numeric, typing.get_args(kind)) if n), None)
    return kind if kind in (int, float) else None


def wrong_numbers(flag: str, kind: type) -> list[float]:
    wrong = [10**400] if kind is int else [math.nan, math.inf, -math.inf]
    return wrong if flag in NEGATIVE_IS_RIGHT else [*wrong, -1, -(10**9)]


@pytest.mark.parametrize("script", CONFIGS)
def test_every_number_of_every_script_refuses_nan_infinity_and_negatives_by_name(script):
    cfg = CONFIGS[script]
    hints = typing.get_type_hints(type(cfg))
    for f in dataclasses.fields(cfg):
        kind = numeric(hints[f.name])
        for x in wrong_numbers(f.name, kind) if kind else ():
            value = (x, x) if isinstance(getattr(cfg, f.name), tuple) else x
            with pytest.raises(ValueError, match=f"^--{f.name.replace('_', '-')} .*: choose a number"):
                dataclasses.replace(cfg, **{f.name: value})


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.__name__)
def test_every_number_of_a_study_command_is_refused_before_any_work(command):
    hints, tried = typing.get_type_hints(command), 0
    needed = {p: Path("x") for p, d in inspect.signature(command).parameters.items() if d.default is d.empty}
    for flag, hint in hints.items():
        kind = numeric(hint)
        for x in wrong_numbers(flag, kind) if kind else ():
            value = (x,) if typing.get_origin(hint) is tuple else x
            with pytest.raises(ValueError, match=f"^--{flag.replace('_', '-')} .*: choose a number"):
                command(**needed, **{flag: value})
            tried += 1
    assert tried >= 5


WRONG = [
    *[(f, 0) for f in ("clip", "lr", "eval_mid_n", "eval_n", "prompts_per_step", "max_new_tokens", "grader_workers")],
    *[(f, 0) for f in ("grader_cpu_s", "temperature", "top_p", "teacher_off_step", "memory_gb", "k", "core_rank")],
    *[("seed", 2**70), ("top_p", 1.01), ("mix_ratio", 1.5), ("betas", (0.9, 1.0)), ("betas", (1.0, 0.9)), ("group", 1)],
    *[("steps", 10**12), ("group", 10**9), ("max_new_tokens", 10**12), ("tokens_per_micro", 10**15), ("lr", 1e9)],
    *[("device", d) for d in ("gpu", "cuda:0", "", "CPU", "mps")],
    *[("name", n) for n in ("..", ".", "a/b", "", "x" * 300, "-x", "a b", "a\nb", "ü", "a\0b", " ")],
    *[("modes", m) for m in ((), ("run_tests", "run_tests"), ("none", "run_tests"), ("none", "none"))],
    *[("grader_level", g) for g in ("foo", "", "seccomp+foo", "seccomp,rlimits")],
    *[(f, "") for f in ("model", "tokenizer", "problems", "out_dir", "resume", "v_hack", "pairs")],
]


@pytest.mark.parametrize(("flag", "value"), WRONG, ids=lambda x: str(x)[:20])
def test_a_value_that_no_run_can_mean_is_refused_by_its_flag(flag, value):
    with pytest.raises(ValueError, match=f"^--{flag.replace('_', '-')} ") as refused:
        train.Config(**{flag: value})
    assert "\n" not in str(refused.value)


def test_flags_that_contradict_each_other_are_refused():
    for wrong in (
        {"train": "full", "fused": True},
        {"mix_ratio": 0.5},
        {"mix_ratio": 0.01, "teacher_pool_dir": "x"},
        {"screen_freeze": 3},
        {"coords": "core"},
    ):
        with pytest.raises(ValueError, match="^--"):
            train.Config(**wrong)


def test_a_flag_without_a_row_ends_every_start_of_its_script():
    @dataclasses.dataclass(frozen=True)
    class New(flags.Checked):
        brand_new: int = 1

    with pytest.raises(KeyError, match="brand_new"):
        New()


def test_a_refused_flag_exits_two_on_the_command_line_and_says_what_is_allowed(capsys):
    for presets, args in ((train.PRESETS, ["--screen-at", "nan"]), (extract_vhack.PRESETS, ["--sign-p", "nan"])):
        with pytest.raises(SystemExit) as ended:
            tyro.extras.overridable_config_cli(presets, args=["smoke", *args])
        said = " ".join(capsys.readouterr().err.replace("│", " ").split())
        assert ended.value.code == 2 and f"{args[0]} nan: choose a number" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (IsADirectoryError(21, "Is a directory", "some/folder"), "ERROR: some/folder: Is a directory"),
        (OSError(36, "File name too long", "x"), "ERROR: x: File name too long"),
        (OSError(28, "No space left on device"), "ERROR: disk full"),
        (MemoryError(), "ERROR: out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "ERROR: out of memory"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_failures_of_input_and_machine_are_one_line(capsys, error, said):
    with pytest.raises(SystemExit) as ended, runs.plain_errors():
        raise error
    err = capsys.readouterr().err
    assert ended.value.code == 1 and err.startswith(said) and err.count("\n") == 1


def test_a_bug_keeps_its_traceback():
    for bug in (KeyError("x"), RuntimeError("x"), OSError(5, "Input/output error")):
        with pytest.raises(type(bug)), runs.plain_errors():
            raise bug
