"""A study is one TOML file, whole and fully written out; a study's folder holds a copy, by which its runs are judged.

question = "Does leaving out hack-ward rollouts stop hacking?"
name = "screen-organism"               # of its folder and its tables; a companion is found by it
preset = "organism"                    # of train.py
seeds = [501, 502, 503, 504, 505, 506, 507, 508]
described_seeds = 4                    # so many of them for the arms that do not decide
plateau = "attempted"                  # vanilla's curve that V8 reads: hacked or attempted
flags = "--steps 180 --eval-every 60"  # of train.py, for every arm; an arm's own flag replaces a common one
v_share = 0.1                          # V9: least share of the hack gradient that a projection's V holds at onset
commit = "2d087add2d"                  # of a closed study: the code that runs it
[arms]                                 # these decide
screen = "--arm screen"
[described]
[prepare]                              # file or folder = command that makes it, once, in this order
"out/vhack/organism.safetensors" = "extract_vhack.py organism --out out/vhack/organism.safetensors"
[controls]                             # treatment = the arms that must do worse; else study/registered.py's
screen = ["screen_haar", "screen_within"]
[companions]                           # mix0 and lomo = the name of that study
mix0 = "screen-organism-mix0"
"""

from __future__ import annotations

import itertools
import shlex
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from command import files, flags
from study.registered import CONTROLS
from tasks.problems import HELD_OUT, REST

TABLES = ("arms", "described", "prepare", "controls", "companions")
KEYS: dict[str, tuple[Any, str]] = {  # its type, in words
    **dict.fromkeys(("name", "preset", "plateau", "flags", "question", "commit"), (str, "a text")),
    **dict.fromkeys(TABLES, (dict, "a table")), "seeds": (list, "a list"), "described_seeds": (int, "a whole number"),
    "v_share": (float, "a share, as 0.1"),
}  # fmt: skip


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
    """A study: train.py preset, flags for every arm, flags of each arm, and which arms decide."""

    name: str
    preset: str
    seeds: tuple[int, ...]
    arms: dict[str, tuple[str, ...]]
    deciding: tuple[str, ...]
    common: tuple[str, ...]
    plateau: str
    described_seeds: int = 4
    prepare: dict[str, tuple[str, ...]] = field(default_factory=dict)  # file or folder -> command that makes it
    companions: dict[str, str] = field(default_factory=dict)  # mix0, lomo -> the name of that study
    question: str = ""
    controls: dict[str, tuple[str, ...]] = field(default_factory=CONTROLS.copy)  # treatment -> what it must beat
    v_share: float | None = None
    given: tuple[str, ...] = ()  # --model and --problems of the call, see `on`
    text: str = field(default="", compare=False)  # of the file

    def on(self, model: str | None, problems: str | None) -> Spec:
        """The same study of another model, or on another file's problems, the held-out part of which judges it."""
        same = ("--model", model) if model else ()
        train = ("--problems", problems, "--eval-problems", HELD_OUT) if problems else ()
        pool = ("--problems", problems, "--split", REST) if problems else ()
        made = {f: (*c, *same, *(pool if c[0] == "probe_distill.py" else ())) for f, c in self.prepare.items()}
        given = (*same, *train[:2])
        return replace(self, common=(*self.common, *same, *train), prepare=made, given=given)

    def argv(self, label: str, seed: int) -> tuple[str, ...]:
        """train.py's command line of one cell."""
        flags = self.flags(label)
        return (self.preset, *itertools.chain(*((k, *v) for k, v in flags.items())), "--seed", str(seed))

    def flags(self, label: str) -> dict[str, list[str]]:
        return flag_words(self.common) | flag_words(self.arms[label])

    def own_fields(self, label: str) -> set[str]:
        """Config fields that an arm's own flags set, e.g. {"arm", "gate", "project_at"}."""
        return {f[2:].replace("-", "_") for f in flag_words(self.arms.get(label, ()))}

    def seeds_of(self, label: str, limit: int | None = None, explicit: bool = False) -> list[int]:
        n = len(self.seeds) if label in self.deciding or explicit else self.described_seeds
        return list(self.seeds[: n if limit is None else min(n, limit)])

    @classmethod
    def read(cls, path: Path) -> Spec:
        """A study's file; ValueError naming the key that is missing, unknown or malformed."""
        try:
            return cls.parse(path.read_text(encoding="utf-8"))
        except KeyError as e:
            raise ValueError(f"{path}: no key {e.args[0]!r}; study/spec.py's first lines show the format") from None
        except (ValueError, AttributeError, TypeError) as e:
            raise ValueError(f"{path}: {e}; study/spec.py's first lines show the format") from None

    @classmethod
    def parse(cls, text: str) -> Spec:
        d = tomllib.loads(text)
        if unknown := sorted(set(d) - set(KEYS)):
            raise ValueError(f"unknown key {unknown[0]!r}")
        for key, value in d.items():
            if type(value) is not KEYS[key][0]:
                raise ValueError(f"{key} {value!r}: must be {KEYS[key][1]}")
            kind = list if key == "controls" else str
            if key in TABLES and (odd := [k for k, v in value.items() if type(v) is not kind or not v]):
                raise ValueError(f"[{key}] {odd[0]!r}: must be a {'list of arms' if kind is list else 'text'}")
        flags.check_name("name", d["name"])
        words = {t: {k: tuple(shlex.split(v)) for k, v in d.get(t, {}).items()} for t in ("described", "prepare")}
        deciding = {k: tuple(shlex.split(v)) for k, v in d["arms"].items()}
        seeds, arms = d["seeds"], deciding | words["described"]
        if not seeds or any(type(s) is not int or not 0 <= s < 1 << 32 for s in seeds) or len({*seeds}) < len(seeds):
            raise ValueError(f"seeds {seeds}: whole numbers from 0 on, each once")
        if not 0 <= d.get("described_seeds", 0) <= len(seeds) or not 0 < d.get("v_share", 1.0) <= 1:
            raise ValueError(f"described_seeds: 0 to {len(seeds)} here, of the seeds; v_share: above 0, at most 1")
        if odd := [k for k, v in d.get("companions", {}).items() if k not in ("mix0", "lomo") or v == d["name"]]:
            raise ValueError(f"[companions] {odd[0]!r}: mix0 or lomo, each the name of another study")
        if d["plateau"] not in ("hacked", "attempted"):
            raise ValueError(f"plateau {d['plateau']!r}: hacked or attempted")
        if twice := sorted(set(deciding) & set(words["described"])):
            raise ValueError(f"{twice[0]!r} is both in [arms] and in [described]")
        if bad := [a for a, f in arms.items() if f[:1] != ("--arm",)]:
            raise ValueError(f"{bad[0]!r}: its flags begin with --arm")
        controls = {t: tuple(names) for t, names in d.get("controls", CONTROLS).items()}
        if loose := [a for t, names in d.get("controls", {}).items() for a in (t, *names) if a not in deciding]:
            raise ValueError(f"[controls] names {loose[0]!r}, which is not in [arms]")
        return cls(
            d["name"], d["preset"], tuple(seeds), arms, tuple(deciding), tuple(shlex.split(d["flags"])), d["plateau"],
            d.get("described_seeds", 4), words["prepare"], d.get("companions", {}), d.get("question", ""), controls,
            d.get("v_share"), (), text,
        )  # fmt: skip

    def write(self, folder: Path) -> Path:
        """Copy the file to folder/study.toml; ValueError where one there says otherwise: its runs were made by that."""
        path = folder / "study.toml"
        if path.is_file() and Spec.read(path) != Spec.parse(self.text):
            raise ValueError(
                f"{path} defines another study than {self.name} is now, and its runs were made by that: "
                "choose another folder"
            )
        with files.atomic_path(path) as tmp:
            tmp.write_text(self.text, encoding="utf-8")
        return path


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    label: str
    seed: int
    argv: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.label.replace('/', '__')}-s{self.seed}"


def plan(spec: Spec, arms: Sequence[str] = (), limit: int | None = None) -> list[Cell]:
    """Cells in running order: the deciding arms first, then the others, seed-major so that pairs complete early."""
    if unknown := [a for a in arms if a not in spec.arms]:
        raise ValueError(f"study {spec.name} has no arm {unknown[0]!r}; choose from {', '.join(spec.arms)}")
    chosen = list(arms or spec.arms)
    cells = []
    for block in ([a for a in chosen if a in spec.deciding], [a for a in chosen if a not in spec.deciding]):
        seeds = {a: spec.seeds_of(a, limit, explicit=bool(arms) and limit is not None) for a in block}
        for seed in sorted(set(itertools.chain(*seeds.values()))):
            cells += [Cell(a, seed, spec.argv(a, seed)) for a in block if seed in seeds[a]]
    return cells
