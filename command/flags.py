"""What every number on a command line may be: one table for all scripts, applied before any work.

    check(config)  --ValueError-->  "--lr nan: choose a number above 0, at most 100"

A numeric flag without a row ends every start of its script, so that a new flag gets one. The upper ends are no advice:
they refuse a slipped decimal point before it ends in a machine without memory or in a number that overflows.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from command import files


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from low to high, an open end excluded; `zero` admits 0 beside them."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False
    zero: bool = False

    def __contains__(self, x: float) -> bool:
        above = x > self.low if self.open_low else x >= self.low
        below = x < self.high if self.open_high else x <= self.high
        return above and below or self.zero and x == 0

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        high = f"below {self.high:g}" if self.open_high else f"at most {self.high:g}"
        return f"a number {low}, {high}" + ", or 0" * self.zero


def count(low: int = 1, high: int = 1_000_000) -> Range:
    return Range(low, high)


def positive(high: float) -> Range:
    return Range(0, high, open_low=True)


SHARE = Range(0, 1)
SEED = Range(0, 2**32, open_high=True)  # torch and numpy both take these
GIGABYTES = positive(100_000)
SECONDS = Range(0, 1e9)

# flag -> what it may be; where two scripts mean different things by one name, the script stands before a dot
TABLE: dict[str, Range] = {
    # how much
    "batch": count(1, 100_000),
    "batches": count(1, 100_000),
    "cap": count(),
    "draws": count(1, 100_000),
    "edges": count(),
    "eval_n": count(),
    "eval_mid_n": count(),
    "eval_samples": count(1, 10_000),
    "group": count(2, 4096),  # a group of one has no baseline
    "gpu.group": count(1, 4096),
    "limit": count(),
    "look.limit": count(0),  # 0: all
    "last": count(),
    "max_new_tokens": count(),
    "n": count(),
    "study.n": count(2, 10_000),
    "n_pairs": count(4, 100_000),
    "n_test": count(),
    "n_train": count(),
    "new": count(),
    "slow_new": count(),
    "probe_rollouts": count(),
    "prompt": count(),
    "prompts_per_batch": count(1, 100_000),
    "prompts_per_step": count(1, 4096),
    "repeat": count(1, 10_000),
    "replay_rows": count(1, 100_000),
    "rollouts": count(1, 100_000),
    "samples": count(1, 4096),
    "seeds": count(1, 10_000),
    "tokens_per_micro": count(1, 2**28),
    "train_rows": count(1, 100_000),
    "vocab": count(300, 2**20),  # 256 bytes and the special tokens
    # when: steps
    "ckpt_every": count(0),  # 0: only the last
    "eval_every": count(0),  # 0: only at the start and the end
    "steps": count(1, 10_000_000),
    "step": count(0, 10_000_000),
    "teacher_off_step": count(1, 10_000_000),  # without a teacher from the start: --mix-ratio 0
    "warmup_steps": count(0, 10_000_000),
    # the machine
    "budgets": GIGABYTES,
    "cpu_limit_s": positive(86_400),
    "gpus": count(1, 1024),
    "grader_cpu_s": positive(86_400),
    "grader_workers": count(1, 1024),
    "jobs": count(1, 1024),
    "memory_gb": GIGABYTES,
    "memory_mb": count(64, 10_000_000),
    "parallel": count(1, 1024),
    "tb_s": positive(1e6),
    "tflops": positive(1e9),
    "threads": count(1, 1024),
    "time_limit_s": SECONDS,
    "workers": count(1, 1024),
    # seeds
    "seed": SEED,
    "only_seeds": SEED,
    # sampling
    "temperature": Range(0.01, 100),  # at 0 the log-probability of what was sampled has no gradient
    "probe_distill.temperature": Range(0.01, 100, zero=True),  # 0: greedy
    "top_p": Range(0, 1, open_low=True),
    "mix_ratio": SHARE,
    "hack_share": SHARE,
    "loops": SHARE,
    # loss and optimizer
    "betas": Range(0, 1, open_high=True),
    "clip": positive(1e12),
    "kl_beta": Range(0, 1e4),
    "lr": positive(100),
    "lr_embed": positive(100),
    "prompt_weight": SHARE,
    "weight_decay": Range(0, 100),
    # directions
    "clean_rank": count(0, 100_000),
    "core_rank": count(1, 100_000),
    "floor": Range(0, 1, open_high=True),
    "grader.floor": Range(0, 1e9),
    "index": count(0),
    "k": count(1, 100_000),
    "sign_p": Range(0, 1, open_low=True),
    # screens and rivals
    "strength": Range(0, 1e6),
    "screen_at": Range(-1e4, 1e4),  # below 0: a threshold under the clean mean, above 1: beyond the hack mean
    # data of the organism
    "show": count(0),
    "sd": positive(1),
}


def dashed(flag: str) -> str:
    return f"--{flag.replace('_', '-')}"


def allowed(flag: str, script: str = "") -> Range:
    """The row of a flag; KeyError, a fault of ours, where the table has none."""
    return TABLE.get(f"{script}.{flag}") or TABLE[flag]


def check(config, script: str | None = None) -> None:
    """Refuse what a flag may not be, by its row or its kind of text; ValueError names the flag and the mend.

    config: a dataclass of flags, or a mapping of them with the script's name.
    """
    if isinstance(config, Mapping):
        values = dict(config)
    else:
        values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        script = script or Path(inspect.getfile(type(config))).stem
    for flag, value in values.items():
        for x in value if isinstance(value, tuple) else (value,):
            if isinstance(x, int | float) and not isinstance(x, bool) and x not in (row := allowed(flag, script or "")):
                raise ValueError(f"{dashed(flag)} {str(x)[:40]}: choose {row}")
            if isinstance(x, str) and not x.strip() and not flag.endswith("_args"):  # those hold more flags, or none
                raise ValueError(f"{dashed(flag)} {x!r}: empty; give a value or leave the flag out")
            if flag in TEXTS and x is not None:
                TEXTS[flag](flag, x)
    for flag in ("modes", "pair_modes"):
        check_modes(flag, values.get(flag) or ())


def check_name(flag: str, name: str) -> None:
    """Refuse what is no folder's name on every system and in every shell."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+=@,-]{0,99}", name):
        raise ValueError(
            f"{dashed(flag)} {name[:40]!r}: becomes the end of a folder's name; choose at most 100 letters, digits and "
            "_.+=@,- that begin with a letter, a digit or _"
        )


def check_device(flag: str, device: str) -> None:
    """Refuse a device that would run on the CPU without a word."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f"{dashed(flag)} {device}: choose cpu or cuda (CUDA_VISIBLE_DEVICES says which GPU)")


def check_level(flag: str, level: str) -> None:
    """Refuse a sandbox level with a layer that does not exist, whether or not this machine lacks one."""
    from sandbox.client import ALL_LAYERS  # only a run with a weaker sandbox needs it here

    unknown = set(level.split("+")) - {*ALL_LAYERS, "none"}
    if unknown:
        raise ValueError(
            f"{dashed(flag)} {level}: no layer is called {', '.join(map(repr, sorted(unknown)))}; "
            f"choose some of {'+'.join(ALL_LAYERS)}, or none"
        )


TEXTS: dict[str, Callable[[str, str], None]] = {
    "name": check_name,
    "device": check_device,
    "grader_level": check_level,
    "accept_level": check_level,
}


class Checked:
    """A dataclass of flags that refuses bad values when it is made."""

    def __post_init__(self) -> None:
        check(self)


def check_modes(flag: str, modes: tuple[str, ...]) -> None:
    """Refuse a mode given twice (it would be drawn twice as often), and `none` beside loopholes."""
    twice = sorted({m for m in modes if modes.count(m) > 1})
    if twice:
        raise ValueError(f"{dashed(flag)} {' '.join(modes)}: {', '.join(twice)} stands twice; name each mode once")
    if "none" in modes and len(modes) > 1:
        raise ValueError(f"{dashed(flag)} {' '.join(modes)}: `none` has no loophole and stands alone")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON is one of a type such as `tuple[float, float] | None`."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in args
    if origin in (Union, types.UnionType):
        return any(fits(value, a) for a in args)
    if origin is tuple:
        return (
            isinstance(value, list)
            and (args[-1] is Ellipsis or len(value) == len(args))
            and all(fits(v, args[0]) for v in value)
        )
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return isinstance(value, hint)


def typed_flags(argv: Sequence[str], fields: Sequence[str]) -> list[str]:
    """Names of the flags that a command line holds, in its order."""
    names = [w[2:].partition("=")[0].replace("-", "_") for w in argv if w.startswith("--")]
    return [n if n in fields else n.removeprefix("no_") for n in names]


def idle(config, needs: dict[str, tuple[str, bool]]) -> list[str]:
    """Of {flag: (what it needs, whether that is given)} those that were set in vain: a study hands all its arms one set
    of flags, so they are told and not refused."""
    return [
        f"{dashed(f)} {getattr(config, f)} has no effect: it needs {what}"
        for f, (what, given) in needs.items()
        if not given and getattr(config, f) != getattr(type(config), f)
    ]


def preset_values() -> dict[str, tuple[str, dict[str, Any]]]:
    """presets.toml: name -> (what it is, its flags); `base` names the preset that it changes."""
    made: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, table in tomllib.loads((files.ROOT / "presets.toml").read_text(encoding="utf-8")).items():
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items() if k not in ("base", "about")}
        made[name] = table["about"], (made[table["base"]][1] if "base" in table else {}) | values
    return made


def presets(kind: type) -> dict[str, tuple[str, Any]]:
    """name -> (what it is, its config of class `kind`)."""
    return {name: (about, kind(**values)) for name, (about, values) in preset_values().items()}
