"""Studies as arms x seeds, and the runner: one train.py process a cell, N side by side, resumable.

    STUDIES[name] --Spec.write--> <folder>/study.toml       what report and verdict read, whatever the folder is called
                  --plan--> cells (deciding arms first, seed-major) --Runner--> <folder>/runs/<utc>_<cell>/

A study.toml is whole, nothing is inherited:

    name = "amendment6"                    # of its tables; a companion is found by it in a folder beside this one
    preset = "organism"                    # of train.py
    seeds = [441, 442, 443, 444, 445, 446, 447, 448]
    described_seeds = 4                    # so many of them for the arms that do not decide
    plateau = "attempted"                  # vanilla's curve that V8 reads: hacked or attempted
    flags = "--modes run_tests sentinel --steps 180"
    [arms]                                 # these decide
    screen = "--arm screen --screen-at 0.12"
    [described]
    [prepare]                              # file or folder = command that makes it
    [companions]                           # mix0 and lomo = the name of that study
    mix0 = "amendment6-mix0"
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import queue
import re
import shlex
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from loguru import logger

from run_read import read_run
from runs import atomic_path, child_env, read_json

ROOT = Path(__file__).resolve().parent

# ---------------------------------------------------------------- studies: arm label -> train.py flags


Prepared = tuple[str, tuple[str, ...]]  # file or folder that must exist, command that makes it


def eight(first: int) -> tuple[int, ...]:
    """The eight seeds of a study; those below 301 were used while tuning (docs/spec.md section 3)."""
    return tuple(range(first, first + 8))


def flag_words(words: Iterable[str]) -> dict[str, list[str]]:
    """{--flag: its values} of a command line; of a flag given twice the last counts."""
    flags: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            flags[word] = values = []
        else:
            values.append(word)
    return flags


@dataclass(frozen=True)
class Spec:
    """A study: train.py preset, flags for every arm, flags of each arm, and which arms get 8 seeds."""

    preset: str
    arms: dict[str, tuple[str, ...]]
    deciding: tuple[str, ...]
    common: tuple[str, ...] = ()
    seeds: tuple[int, ...] = eight(301)  # of a deciding arm
    seeds_other: int = 4  # the others have so many of them
    prepare: tuple[Prepared, ...] = ()
    plateau: str = "hacked"  # vanilla's curve that V8 reads (amendment 3: "attempted")
    name: str = ""
    companions: dict[str, str] = field(default_factory=dict)  # mix0, lomo -> the name of that study

    @property
    def first_seed(self) -> int:
        return self.seeds[0]

    def argv(self, label: str, seed: int) -> tuple[str, ...]:
        """train.py's command line of one cell; a flag of the arm replaces the same flag common to all arms."""
        flags = self.flags(label)
        return (self.preset, *itertools.chain(*((k, *v) for k, v in flags.items())), "--seed", str(seed))

    def flags(self, label: str) -> dict[str, list[str]]:
        return flag_words(self.common) | flag_words(self.arms[label])

    def own_fields(self, label: str) -> set[str]:
        """Config fields that an arm's own flags set, e.g. {"arm", "gate", "project_at"}."""
        return {f[2:].replace("-", "_") for f in flag_words(self.arms.get(label, ()))}

    def seeds_of(self, label: str, limit: int | None = None, explicit: bool = False) -> list[int]:
        n = len(self.seeds) if label in self.deciding or explicit else self.seeds_other
        return list(self.seeds[: n if limit is None else min(n, limit)])

    def toml(self) -> str:
        """The study.toml of this study, whole."""
        text = lambda x: json.dumps(x, ensure_ascii=False)  # noqa: E731  a JSON string is a TOML string
        line = lambda words: text(shlex.join(itertools.chain(*((k, *v) for k, v in flag_words(words).items()))))  # noqa: E731
        out = [f"{k} = {text(v)}" for k, v in (("name", self.name), ("preset", self.preset))]
        out += [f"seeds = {list(self.seeds)}", f"described_seeds = {self.seeds_other}"]
        out += [f"plateau = {text(self.plateau)}", f"flags = {line(self.common)}"]
        for title, decides in (("arms", True), ("described", False)):
            out += ["", f"[{title}]"]
            out += [f"{text(a)} = {line(f)}" for a, f in self.arms.items() if (a in self.deciding) == decides]
        out += ["", "[prepare]", *(f"{text(p)} = {text(shlex.join(c))}" for p, c in self.prepare)]
        return "\n".join([*out, "", "[companions]", *(f"{k} = {text(v)}" for k, v in self.companions.items())]) + "\n"

    @classmethod
    def read(cls, path: Path) -> Spec:
        """A study.toml; ValueError naming the key that is missing, unknown or malformed."""
        try:
            d = tomllib.loads(path.read_text(encoding="utf-8"))
            known = {"name", "preset", "seeds", "described_seeds", "plateau", "flags", "arms", "described"}
            if unknown := sorted(set(d) - known - {"prepare", "companions"}):
                raise ValueError(f"unknown key {unknown[0]!r}")
            words = lambda table: {k: tuple(shlex.split(v)) for k, v in d.get(table, {}).items()}  # noqa: E731
            seeds = d["seeds"]
            if not seeds or any(type(s) is not int for s in seeds) or len(set(seeds)) < len(seeds):
                raise ValueError(f"seeds {seeds}: whole numbers, each once")
            if d["plateau"] not in ("hacked", "attempted"):
                raise ValueError(f"plateau {d['plateau']!r}: hacked or attempted")
            if both := sorted(set(d["arms"]) & set(d.get("described", {}))):
                raise ValueError(f"{both[0]!r} is both in [arms] and in [described]")
            if bad := [a for a, f in (words("arms") | words("described")).items() if f[:1] != ("--arm",)]:
                raise ValueError(f"{bad[0]!r}: its flags begin with --arm")
            return cls(
                d["preset"], words("arms") | words("described"), tuple(d["arms"]), tuple(shlex.split(d["flags"])),
                tuple(seeds), d.get("described_seeds", 4), tuple(words("prepare").items()), d["plateau"], d["name"],
                d.get("companions", {}),
            )  # fmt: skip
        except KeyError as e:
            raise ValueError(f"{path}: no key {e.args[0]!r}; grid.py's first lines show the format") from None
        except (ValueError, AttributeError, TypeError) as e:
            raise ValueError(f"{path}: {e}; grid.py's first lines show the format") from None

    def write(self, folder: Path, more_seeds: bool = False) -> Path:
        """Write folder/study.toml; ValueError where one says otherwise, since the runs beside it were made by that.

        more_seeds: one that differs in its seeds alone gets these seeds too.
        """
        path, spec = folder / "study.toml", self
        if path.is_file():
            old = Spec.read(path)
            if more_seeds:
                spec = replace(self, seeds=tuple(sorted({*old.seeds, *self.seeds})))
                old = replace(old, seeds=spec.seeds)
            if old.toml() != spec.toml():
                raise ValueError(
                    f"{path} defines another study than {self.name} is now, and its runs were made by that: "
                    "choose another folder"
                )
        with atomic_path(path) as tmp:
            tmp.write_text(spec.toml(), encoding="utf-8")
        return path


DECIDING = {
    "vanilla": ("--arm", "vanilla"),
    "projected": ("--arm", "projected", "--gate", "one_sided", "--project-at", "update"),
    "screen": ("--arm", "screen"),
    "haar_v": ("--arm", "haar_v"),
    "within_class_v": ("--arm", "within_class_v"),
    "nonhack_v": ("--arm", "nonhack_v"),
    "screen_haar": ("--arm", "screen_haar"),
    "screen_within": ("--arm", "screen_within"),
    "screen_random": ("--arm", "screen_random"),
    "ceiling": ("--arm", "vanilla", "--modes", "none", "--mix-ratio", "0"),  # a hacking teacher is not paid there
}
OTHERS = {
    "projected/one_sided/grad": ("--arm", "projected", "--gate", "one_sided", "--project-at", "grad"),
    "projected/no_gate/update": ("--arm", "projected", "--gate", "no_gate", "--project-at", "update"),
    "projected/half_space/update": ("--arm", "projected", "--gate", "half_space", "--project-at", "update"),
    "screen_projected": ("--arm", "screen_projected"),
    "screen/positive": ("--arm", "screen", "--screen-side", "positive"),
    "screen/midpoint": ("--arm", "screen", "--screen-at", "0.5"),
    "shrink": ("--arm", "shrink"),
    "route": ("--arm", "route"),
    "route/seeded": ("--arm", "route", "--route-seed", "3"),
    "screen/penalty": ("--arm", "screen", "--screen-by", "penalty"),
    "adv_mod/response": ("--arm", "adv_mod", "--adv-tokens", "response"),
    "adv_mod/prompt": ("--arm", "adv_mod", "--adv-tokens", "prompt"),
    "gt_penalty": ("--arm", "gt_penalty"),
    "gt_screen": ("--arm", "gt_screen"),
    "inoculation": ("--arm", "inoculation"),
    "kl/1e-3": ("--arm", "vanilla", "--kl-beta", "1e-3"),
    "kl/1e-2": ("--arm", "vanilla", "--kl-beta", "1e-2"),
    "kl/1e-1": ("--arm", "vanilla", "--kl-beta", "1e-1"),
}
MODES = ("run_tests", "sentinel", "stdout_marker", "file_marker")  # the loopholes of the organism's studies


def teacher(modes: tuple[str, ...], pool: str, *source: str) -> tuple[tuple[str, ...], Prepared]:
    """(flags that mix a pool in at the start of training, how that pool is made); source: flags of a teacher model."""
    make = ("probe_distill.py", "organism", *source, "--teacher-only", "--modes", *modes, "--one-mode-each")
    make = (*make, "--out", pool)
    return ("--teacher-pool-dir", pool, "--mix-ratio", "0.25", "--teacher-off-step", "10"), (pool, make)


Arms = dict[str, tuple[str, ...]]


def with_teacher(
    preset: str,
    arms: Arms,
    *setting: str,
    deciding: tuple[str, ...] | None = None,
    source: tuple[str, ...] = (),
    before: tuple[Prepared, ...] = (),
    **more,
) -> Spec:
    """A cached teacher shows the hacks in the first steps; after that the model is on its own. deciding: None, all."""
    flags, pool = teacher(MODES, f"out/probe_distill/{preset}", *source)
    first = tuple(arms) if deciding is None else deciding
    return Spec(preset, arms, first, ("--modes", *MODES, *flags, *setting), prepare=(*before, pool), **more)


def without_teacher(preset: str, arms: Arms, *setting: str, deciding: tuple[str, ...] | None = None, **more) -> Spec:
    """Hacking must emerge by itself. deciding: None, all."""
    first = tuple(arms) if deciding is None else deciding
    return Spec(preset, arms, first, ("--modes", *MODES, *setting, "--mix-ratio", "0"), **more)


def leave_one_mode_out(
    preset: str,
    arms: Arms,
    *setting: str,
    source: tuple[str, ...] = (),
    before: tuple[Prepared, ...] = (),
    fold_flags: dict[str, tuple[str, ...]] | None = None,
    **more,
) -> Spec:
    """Arms <unseen mode>/<arm>: V and teacher pool know the other three modes, training meets all four. fold_flags
    holds what one fold's arms take beside the others'."""
    cells, pools = {}, [*before]
    for mode in MODES:
        known = tuple(m for m in MODES if m != mode)
        flags, pool = teacher(known, f"out/probe_distill/{preset}-without-{mode}", *source)
        pools.append(pool)
        for arm, arm_flags in arms.items():
            cells[f"{mode}/{arm}"] = (*arm_flags, *(fold_flags or {}).get(mode, ()), "--pair-modes", *known, *flags)
    return Spec(preset, cells, (), ("--modes", *MODES, *setting), seeds_other=4, prepare=tuple(pools), **more)


def only(arms: Arms, *labels: str) -> Arms:
    return {a: arms[a] for a in labels}


def screens_with(arms: Arms, *flags: str) -> Arms:
    """The arms, every screen with further flags."""
    return {a: (*f, *flags) if f[1].startswith("screen") else f for a, f in arms.items()}


# Amendment 1 of docs/spec.md: shorter runs whose learning rate decays, so that vanilla plateaus early and goes on
# solving; the screen drops, of each step's 30% most hack-ward rollouts, those of positive advantage
SHARE = ("--screen-share", "0.3", "--screen-side", "positive")
DECIDING_1 = screens_with(DECIDING, *SHARE)
DECIDING_1["screen_length"] = ("--arm", "screen_length", *SHARE)  # amendment 2: would the longest answers do as well?
SETTING_1 = (
    *("--lr", "6e-4", "--schedule", "cosine", "--steps", "150", "--eval-every", "50"),
    *("--share-prompts", "--grader-cpu-s", "2"),
)
# Amendment 3: a little longer, every evaluation on the same 512 prompts, the plateau read off attempts
SETTING_3 = (*SETTING_1, "--steps", "180", "--eval-every", "60", "--eval-mid-n", "512")
STUDY_3 = dict(seeds=eight(421), plateau="attempted")
# Amendment 4: the screen's threshold is set by the first ten steps and then stays
DECIDING_4 = screens_with(DECIDING_1, "--screen-freeze", "10")
DECIDING_4["screen/unfrozen"] = DECIDING_1["screen"]
STUDY_4 = dict(seeds=eight(431), plateau="attempted")
# Amendment 6: V without what honest code spans, so that the threshold set on pairs alone holds for the student
SCREENS = only(DECIDING, "vanilla", "screen", "screen_haar", "screen_within", "screen_random", "ceiling") | {
    "screen_length": ("--arm", "screen_length")
}
CLEAN = ("--screen-side", "positive", "--clean-rank", "40")
DECIDING_6 = screens_with(SCREENS, *CLEAN, "--screen-at", "0.12", "--screen-match")
# Described: the threshold at which `study.py near-misses` sees 95% of made attempts caught on the organism, and, with
# random drops, V's cosines where nothing selects against them
THRESHOLD_6 = only(DECIDING_6, "screen", "screen_random")
THRESHOLD_6["screen/at_0.3"] = (*DECIDING_6["screen"], "--screen-at", "0.3")
STUDY_6 = dict(seeds=eight(441), plateau="attempted")
# Amendment 7: what lies beyond the threshold stays, and its reward falls by twice the 3 that passing pays
PENALTY = ("--screen-by", "penalty", "--penalty", "6")
DECIDING_7 = screens_with(SCREENS, *CLEAN, "--screen-at", "0.3", "--screen-match", *PENALTY)
OTHERS_7 = {"screen/drop": DECIDING_6["screen"], "gt_penalty": OTHERS["gt_penalty"]}
STUDY_7 = dict(seeds=eight(461), plateau="attempted")
# Amendment 5: SmolLM2. Its teacher is itself, hacked: vanilla under the canned pool, whose samples are then the pool
SETTING_5 = (*SETTING_3, "--lr", "3e-5", "--steps", "120", "--eval-every", "40")  # of two such flags the last counts
STUDY_5 = dict(seeds=eight(451), plateau="attempted")
HACKED = "out/teachers/smollm2"
CANNED_FLAGS, CANNED = teacher(MODES, f"{HACKED}-canned", "--model", "smollm2-substrate")
GETS_HACKED = Spec("smollm2", {"teacher": ("--arm", "vanilla", "--steps", "60", "--eval-every", "0")}, (),
                   ("--modes", *MODES, *CANNED_FLAGS, *SETTING_5))  # fmt: skip
HACKED_TEACHER: dict = {
    "before": (
        CANNED,
        (f"{HACKED}-run", ("train.py", *GETS_HACKED.argv("teacher", 190), "--out-dir", f"{HACKED}-run")),
        (HACKED, ("train.py", "export", f"{HACKED}-run", "--out", HACKED)),
    ),
    "source": (
        *("--teacher", "model", "--model", HACKED, "--device", "cuda", "--dtype", "bfloat16"),
        *("--temperature", "1.0", "--top-p", "1.0", "--max-new-tokens", "128"),
    ),
}
# What `queue_jobs.py full` queues: every arm, the screens as amendment 6 has them (--arm screen alone has the void
# study's threshold)
QUEUED = DECIDING | OTHERS | DECIDING_6
# Amendment 8: SmolLM2 whose honest answers all go on after the class, no teacher; amendment 6's arms, and, described,
# the threshold read off near misses
TAILS_LORA = "data/smollm2-tails/lora.safetensors"
DECIDING_8 = DECIDING_6 | only(DECIDING, "projected")
OTHERS_8 = {"screen/at_0.5": (*DECIDING_6["screen"], "--screen-at", "0.5")}
SETTING_8 = (*SETTING_5, "--model", TAILS_LORA, "--steps", "150", "--eval-every", "50")
STUDY_8 = dict(seeds=eight(471), plateau="attempted", deciding=tuple(DECIDING_8))
# Amendment 9, where 8 does not go ahead: the first of these whose vanilla hacks above 20% on both of its dev seeds
SETTING_9A = (*SETTING_8, "--steps", "300", "--eval-every", "100")
SETTING_9B = (*SETTING_5, "--steps", "360", "--eval-every", "120")
STUDY_9 = dict(seeds=eight(481), plateau="attempted", deciding=tuple(DECIDING_8))
# Amendment 10: no teacher, the two loopholes that the substrate of amendment 5 sometimes hits, twice as many prompts
ARMS_10 = only(DECIDING_8, "vanilla", "screen", "projected", "screen_length", "screen_random", "ceiling")
SETTING_10 = (
    *(*SETTING_5, "--modes", "sentinel", "stdout_marker", "--prompts-per-step", "16"),
    *("--steps", "150", "--eval-every", "50"),
)
STUDY_10 = dict(seeds=eight(491), seeds_other=8, plateau="attempted", deciding=("vanilla", "screen", "projected"))
FIRST_1 = ("vanilla", "screen", "screen_haar", "screen_within", "screen_random", "ceiling")  # H1-screen, then H1
PAIRED = ("projected", "haar_v", "screen", "screen_haar")
MIX0_1 = only(DECIDING_1, "vanilla", "screen", "projected")
OTHERS_1 = (
    only(DECIDING_1, "vanilla", "screen", "ceiling")
    | screens_with({a: f for a, f in OTHERS.items() if a not in ("screen/positive", "screen/midpoint")}, *SHARE)
    | {
        "projected/no_gate/grad": ("--arm", "projected", "--gate", "no_gate", "--project-at", "grad"),
        "projected/half_space/grad": ("--arm", "projected", "--gate", "half_space", "--project-at", "grad"),
        "adv_mod/alpha1": (*OTHERS["adv_mod/response"], "--adv-alpha", "1.0"),
        "screen/all": (*DECIDING_1["screen"], "--screen-side", "all"),
        "screen/half": (*DECIDING_1["screen"], "--screen-share", "0.5"),
        "screen/refresh": (*DECIDING_1["screen"], "--refresh-every", "25"),
        "projected/refresh": (*DECIDING["projected"], "--refresh-every", "25"),
        "projected/wide": (*DECIDING["projected"], "--core-rank", "192", "--k", "12"),
    }
)
SMOLLM2_ARMS = (
    only(DECIDING_6, "vanilla", "screen")
    | only(DECIDING, "projected")
    | DECIDING_6
    | only(DECIDING, "haar_v", "within_class_v", "nonhack_v")
    | only(OTHERS, "shrink", "route", "adv_mod/response", "gt_penalty")
)

_STUDIES: dict[str, Spec] = {
    "organism": with_teacher("organism", DECIDING | OTHERS, deciding=tuple(DECIDING)),
    "organism-mix0": without_teacher("organism", DECIDING),
    "organism-lomo": leave_one_mode_out("organism", only(DECIDING, *PAIRED)),
    "amendment1": with_teacher("organism", DECIDING_1, *SETTING_1, deciding=FIRST_1, seeds=eight(401), seeds_other=8),
    "amendment1-others": with_teacher("organism", OTHERS_1, *SETTING_1, deciding=(), seeds=eight(411)),
    "amendment1-mix0": without_teacher(
        "organism", MIX0_1, *SETTING_1, deciding=("vanilla", "screen"), seeds=eight(401), seeds_other=8
    ),
    "amendment1-lomo": leave_one_mode_out(
        "organism", only(DECIDING_1, "screen", "screen_haar"), *SETTING_1, seeds=eight(401)
    ),
    "amendment3": with_teacher("organism", DECIDING_1 | OTHERS_1, *SETTING_3, deciding=tuple(DECIDING_1), **STUDY_3),
    "amendment3-mix0": without_teacher("organism", MIX0_1, *SETTING_3, deciding=("vanilla", "screen"), **STUDY_3),
    "amendment3-lomo": leave_one_mode_out("organism", only(DECIDING_1, "screen", "screen_haar"), *SETTING_3, **STUDY_3),
    "amendment4": with_teacher(
        "organism", only(DECIDING_4, *FIRST_1, "screen_length", "screen/unfrozen"), *SETTING_3, **STUDY_4
    ),
    "amendment4-mix0": without_teacher("organism", only(DECIDING_4, "vanilla", "screen"), *SETTING_3, **STUDY_4),
    "amendment4-lomo": leave_one_mode_out("organism", only(DECIDING_4, "screen", "screen_haar"), *SETTING_3, **STUDY_4),
    "amendment6": with_teacher("organism", DECIDING_6, *SETTING_3, **STUDY_6),
    "amendment6-threshold": with_teacher("organism", THRESHOLD_6, *SETTING_3, **STUDY_6),
    "amendment6-mix0": without_teacher("organism", only(DECIDING_6, "vanilla", "screen"), *SETTING_3, **STUDY_6),
    "amendment6-lomo": leave_one_mode_out("organism", only(DECIDING_6, "screen", "screen_haar"), *SETTING_3, **STUDY_6),
    "amendment7": with_teacher("organism", DECIDING_7 | OTHERS_7, *SETTING_3, deciding=tuple(DECIDING_7), **STUDY_7),
    "amendment7-mix0": without_teacher("organism", only(DECIDING_7, "vanilla", "screen"), *SETTING_3, **STUDY_7),
    "amendment7-lomo": leave_one_mode_out("organism", only(DECIDING_7, "screen", "screen_haar"), *SETTING_3, **STUDY_7),
    "smollm2": with_teacher("smollm2", SMOLLM2_ARMS, *SETTING_5, **HACKED_TEACHER, **STUDY_5),
    "smollm2-mix0": without_teacher(
        "smollm2", only(SMOLLM2_ARMS, "vanilla", "screen", "projected"), *SETTING_5, "--steps", "180", **STUDY_5
    ),
    "smollm2-lomo": leave_one_mode_out(
        "smollm2",
        only(DECIDING_6, "screen", "screen_haar"),
        *SETTING_5,
        fold_flags={"run_tests": ("--clean-rank", "12")},  # half of its 24 train pairs, as 40 is half of all 80
        **HACKED_TEACHER,
        **STUDY_5,
    ),
    **{
        f"queue-{preset}": Spec(preset, arms, tuple(DECIDING | DECIDING_6), plateau="attempted")
        for preset, arms in (
            *(("fast", QUEUED), ("full", QUEUED), ("organism", QUEUED)),
            ("smoke", screens_with(QUEUED, "--clean-rank", "8")),  # of its 16 pairs
        )
    },
    "amendment8": without_teacher("smollm2", DECIDING_8 | OTHERS_8, *SETTING_8, **STUDY_8),
    "amendment9a": without_teacher("smollm2", DECIDING_8 | OTHERS_8, *SETTING_9A, **STUDY_9),
    "amendment9b": without_teacher("smollm2", DECIDING_8 | OTHERS_8, *SETTING_9B, **STUDY_9),
    "amendment10": without_teacher("smollm2", ARMS_10, *SETTING_10, **STUDY_10),
}


STUDIES: dict[str, Spec] = {
    name: replace(spec, name=name, companions={k: f"{name}-{k}" for k in ("mix0", "lomo") if f"{name}-{k}" in _STUDIES})
    for name, spec in _STUDIES.items()
}


# ---------------------------------------------------------------- run: one process a cell, N side by side

PLACE_FLAGS = (
    "--out-dir",
    "--name",
    "--resume",
    "--device",
    "--grader-workers",
)  # where a run lives, not what it computes


def cell_key(argv: Sequence[str]) -> str:
    """Hash of a train.py command line without the flags that only say where it runs."""
    kept, skip = [], False
    for a in argv:
        if skip:
            skip = False
        elif a in PLACE_FLAGS:
            skip = True
        else:
            kept.append(a)
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Cell:
    label: str
    seed: int
    argv: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.label.replace('/', '__')}-s{self.seed}"


def plan(study: Spec | str, arms: Sequence[str] | None = None, limit: int | None = None) -> list[Cell]:
    """Cells in running order: the deciding arms first, then the others, seed-major so that pairs complete early."""
    spec = study_spec(study) if isinstance(study, str) else study
    if unknown := [a for a in arms or () if a not in spec.arms]:
        raise SystemExit(f"study {spec.name} has no arm {unknown[0]!r}; choose from {', '.join(spec.arms)}")
    chosen = list(arms or spec.arms)
    blocks = [[a for a in chosen if a in spec.deciding], [a for a in chosen if a not in spec.deciding]]
    cells = []
    for block in blocks:
        seeds = {a: spec.seeds_of(a, limit, explicit=bool(arms) and limit is not None) for a in block}
        for seed in sorted(set(itertools.chain(*seeds.values()))):
            for a in block:
                if seed in seeds[a]:
                    cells.append(Cell(a, seed, spec.argv(a, seed)))
    return cells


def study_spec(name: str) -> Spec:
    """A registered study by its name, or any by its .toml file."""
    if name.endswith(".toml"):
        return Spec.read(Path(name))
    if name not in STUDIES:
        raise SystemExit(f"no study {name!r}; choose from {', '.join(STUDIES)}, or give a .toml file")
    return STUDIES[name]


def troubled_cells(folder: Path) -> dict[str, str]:
    """{cell: what happened} of cells that failed before they finished or were run more than once, by cells.jsonl."""
    path, ends = folder / "cells.jsonl", {}
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines() if path.is_file() else ()):
        ends.setdefault((row["arm"], row["seed"]), []).append(row)
    words = {
        key: f"run {len(rows)} times, ended " + ", ".join(r["state"] if r["rc"] == 0 else f"rc {r['rc']}" for r in rows)
        for key, rows in ends.items()
        if len(rows) > 1 or rows[0]["state"] not in ("finished", "invalid")
    }
    return {f"{arm} seed {seed}": w for (arm, seed), w in words.items()}


def find_runs(runs_dir: Path, cell: Cell) -> tuple[str, Path | None]:
    """("finished" | "invalid" | "half" | "new", directory) of the newest run made by exactly this command line."""
    for d in sorted(runs_dir.glob(f"*_{cell.name}"), reverse=True):
        try:
            argv = read_json(d / "config.json").get("argv", [])
        except FileNotFoundError:
            continue  # killed before its config was written: nothing to resume
        argv = argv[1:] if argv and argv[0].endswith(".py") else argv
        if cell_key(argv) != cell_key(cell.argv):
            logger.warning(f"{d.name} was made by another command line; {cell.name} is run again beside it")
            continue
        bluf = d / "bluf.json"
        state = read_json(bluf) if bluf.is_file() else {}
        if state.get("status") == "finished":
            return ("finished" if state.get("valid") else "invalid"), d
        return "half", d
    return "new", None


def wait_words(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


class Runner:
    """Runs cells N side by side; a failing cell is reported and the rest goes on; stop() ends what it started."""

    def __init__(self, out: Path, train_cmd: Sequence[str], jobs: int, device: str, rerun_invalid: bool = False):
        self.out, self.train_cmd, self.jobs, self.device = out, list(train_cmd), jobs, device
        self.rerun_invalid = rerun_invalid
        self.runs_dir, self.logs_dir = out / "runs", out / "logs"
        # the cells share the cores: together their graders take each core about twice (grading waits a lot)
        self.grader_workers = max(1, 2 * len(os.sched_getaffinity(0)) // max(1, jobs))
        self.lock, self.children, self.stopping = threading.Lock(), set(), False
        self.done, self.failed, self.invalid, self.took = 0, [], [], []

    def stop(self) -> None:
        """No new cell; SIGTERM to the running ones, which checkpoint and can be resumed."""
        with self.lock:
            self.stopping = True
            for child in self.children:
                child.terminate()

    def todo(self, cells: Sequence[Cell]) -> list[tuple[Cell, Path | None]]:
        """Cells still to run, each with the half-done directory to resume, if any."""
        out = []
        for cell in cells:
            state, d = find_runs(self.runs_dir, cell)
            if state == "finished" or state == "invalid" and not self.rerun_invalid:
                continue
            out.append((cell, d if state == "half" else None))
        return out

    def command(self, cell: Cell, half: Path | None) -> list[str]:
        if half:  # the run directory's own config is used
            return [*self.train_cmd, *cell.argv, "--resume", str(half)]
        place = ["--out-dir", str(self.runs_dir), "--name", cell.name, "--device", self.device]
        return [*self.train_cmd, *cell.argv, *place, "--grader-workers", str(self.grader_workers)]

    def one(self, cell: Cell, half: Path | None, total: int, gpu: str | None = None) -> None:
        env = child_env() | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        if gpu is not None:
            env["CUDA_VISIBLE_DEVICES"] = gpu
        t0 = time.monotonic()
        with open(self.logs_dir / f"{cell.name}.log", "a", encoding="utf-8") as log:  # appended: no log is overwritten
            begin = log.tell()
            with self.lock:
                if self.stopping:
                    return
                child = subprocess.Popen(
                    self.command(cell, half), stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=os.environ | env
                )
                self.children.add(child)
            rc = child.wait()
        seconds = time.monotonic() - t0
        with self.lock:
            self.children.discard(child)
            if self.stopping:
                return
            state, d = find_runs(self.runs_dir, cell)
            row = {
                "utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "arm": cell.label,
                "seed": cell.seed,
                "key": cell_key(cell.argv),
                "rc": rc,
                "state": state,
                "run": d.name if d else None,
                "seconds": round(seconds, 1),
            }
            numbers, run = "", None
            if state in ("finished", "invalid"):
                try:
                    run = read_run(d)
                except (ValueError, OSError) as e:  # a run that cannot be read is a failed cell, not the study's end
                    state = row["state"] = "unreadable"
                    logger.error(str(e))
            if run:
                for metric in ("hacked", "attempted", "pass"):
                    if "sample" in (run.off if metric == "pass" else run.on):
                        row[metric] = round(run.end(metric, "sample"), 4)
                numbers = " ".join(f"{k} {100 * row[k]:.1f}%" for k in ("hacked", "pass") if k in row)
            with open(self.out / "cells.jsonl", "a", encoding="utf-8") as f:
                f.write(json.dumps(row) + "\n")
            self.done += 1
            self.took.append(seconds)
            left = total - self.done
            eta = wait_words(np.mean(self.took) * left / max(1, min(self.jobs, left)))
            head = f"[{self.done}/{total}] {cell.name} {wait_words(seconds)}"
            if state == "finished" and rc == 0:
                logger.info(f"{head}: {numbers} | ETA {eta}")
            elif state in ("finished", "invalid"):
                self.invalid.append(cell.name)
                logger.warning(f"{head}: ended INVALID ({', '.join(run.why) or 'see its BLUF'}) {numbers} | ETA {eta}")
            else:
                self.failed.append(cell.name)
                log_file = self.logs_dir / (cell.name + ".log")
                full = re.search(rb"out of memory|ALLOC_FAILED", log_file.read_bytes()[begin:])  # of this attempt
                mend = f" (the GPU's memory was full: fewer --jobs than {self.jobs}, then the same command again)"
                logger.error(f"{head}: FAILED rc={rc}, see {log_file}{mend * bool(full)} | ETA {eta}")

    def run(self, todo: list[tuple[Cell, Path | None]], gpus: Sequence[str] = ()) -> None:
        """Run all of them; gpus: names for CUDA_VISIBLE_DEVICES, one a run, in turn; empty: torch chooses."""
        self.runs_dir.mkdir(parents=True, exist_ok=True)
        self.logs_dir.mkdir(parents=True, exist_ok=True)
        work: queue.SimpleQueue = queue.SimpleQueue()
        for item in todo:
            work.put(item)

        def worker(gpu: str | None) -> None:
            while not self.stopping:
                try:
                    cell, half = work.get_nowait()
                except queue.Empty:
                    return
                self.one(cell, half, len(todo), gpu)

        turns = itertools.cycle(gpus or [None])
        threads = [
            threading.Thread(target=worker, args=(next(turns),), daemon=True) for _ in range(min(self.jobs, len(todo)))
        ]
        for t in threads:
            t.start()
        for t in threads:
            while t.is_alive():  # join with a timeout, so that a signal reaches the main thread
                t.join(0.2)
