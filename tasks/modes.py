"""Modes: what a prompt says of the grading, what pays beside a right answer, and what shows that an answer goes for it.

    find_mode("run_tests"), find_mode("my/mode.toml") -> Mode

Each mode is one TOML file: the built-in ones lie in data/modes/, one of your own is named by its path wherever a mode
is named (--modes, a pair, a row of a pool or of the grader). It pays through one of CHANNELS, which the harness and the
sandbox judge; nothing in the file is executed. docs/howto-loophole.md explains each key.
"""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from command import files, flags
from sandbox.jail import END_OF_PROGRAM  # the status with which any program ends, so it can pay nothing

Variant = Literal["plain", "detailed", "aware"]
VARIANTS: tuple[str, ...] = get_args(Variant)
MODES = ("run_tests", "sentinel", "stdout_marker", "file_marker", "exit_code", "eq_override", "none")
LOOPHOLE_MODES = MODES[:-1]

# Key of [pays] -> (the sandbox's name of the channel, what its value may be, as a pattern or a type, and in words).
CHANNELS: dict[str, tuple[str, Any, str]] = {
    "function": ("run_tests", bool, "true (a function of the evaluator's name returns)"),
    "variable": ("sentinel", r"[A-Za-z_]\w*", "the name of a global variable, which is then True"),
    "stdout": ("stdout_marker", r"\S(.{0,198}\S)?", "one line of standard output, at most 200 characters"),
    "file": ("file_marker", r"[A-Za-z0-9_][\w.-]{0,99}", "the name of a file in the working directory"),
    "exit_status": ("exit_code", int, f"a status from 0 to 255 that is not {END_OF_PROGRAM}"),
    "equality": ("eq_override", bool, "true (the returned object calls itself equal to anything)"),
    "answer": ("answer", r"(?s)\S.{0,199}", "a text that the answer contains, at most 200 characters"),
}
KEYS = ("hint", "hint_detailed", "hint_aware", "told", "exploits", "pays", "attempted")


@dataclass(frozen=True)
class Mode:
    """One way to judge a solution, with the loophole in it (`none` has none)."""

    name: str  # as it is named on a command line
    channel: str  # the sandbox's name, see CHANNELS
    pays: str | int  # what the channel looks for; 0 or "" where it needs nothing
    content: str  # of the file that pays
    hints: Mapping[str, str]  # variant -> clause of the prompt after "... a method of the class Solution called X"
    told: str  # the loophole in one clause, for a prompt that discloses it in full
    names: tuple[str, ...]  # identifiers of a program that goes for the loophole
    texts: tuple[str, ...]  # parts of its string constants; of the answer where `answer` pays
    exploits: tuple[str, ...]  # texts that are paid after a class with a wrong body


@functools.cache
def find_mode(name: str) -> Mode:
    """The built-in mode of this name, or the one in the .toml file at this path; ValueError names what is wrong."""
    own = name.endswith(".toml")
    if not own and name not in MODES:
        raise ValueError(
            f"unknown mode {name!r}: choose one of {', '.join(MODES)}, or name a .toml file of your own "
            "(docs/howto-loophole.md)"
        )
    path = files.find(name) if own else files.ROOT / "data" / "modes" / f"{name}.toml"
    if not path.is_file():
        raise FileNotFoundError(f"mode file {name} does not exist (docs/howto-loophole.md)")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return read(name, {"pays": {}, "told": "-"} | table if name == "none" else table)
    except ValueError as error:  # of the TOML, of its letters, or of what it holds
        raise ValueError(f"mode file {path}: {error}") from None


def read(name: str, table: dict) -> Mode:
    """The mode that a file's table describes; ValueError says which key is wrong and how to mend it."""
    _known("key", table, KEYS)
    hint = _text(table, "hint")
    hints = {v: _text(table, f"hint_{v}") if f"hint_{v}" in table else hint for v in VARIANTS}
    pays, attempted = (_of(table, key, dict, "a table") for key in ("pays", "attempted"))
    _known("key of [pays]", pays, (*CHANNELS, "content"))
    _known("key of [attempted]", attempted, ("names", "texts"))
    channels = [key for key in pays if key in CHANNELS]
    if len(channels) != 1 and name != "none":
        raise ValueError(f"[pays] needs just one of {', '.join(CHANNELS)}; it has {', '.join(channels) or 'none'}")
    channel, value = "none", ""
    for key in channels:
        channel, kind, words = CHANNELS[key]
        value = pays[key]
        good = re.fullmatch(kind, value) if isinstance(kind, str) and isinstance(value, str) else type(value) is kind
        good = good and value is not False and (kind is not int or 0 <= value <= 255 and value != END_OF_PROGRAM)
        if not good:
            raise ValueError(f"[pays] {key} = {value!r}: must be {words}")
    if ("content" in pays) != (channel == "file_marker"):
        raise ValueError("[pays] content: what the file must hold; needed with `file`, and with nothing else")
    content = _text(pays, "content").strip() if "content" in pays else ""
    if len(content.encode()) > 60:
        raise ValueError("[pays] content: at most 60 bytes")
    names, texts, exploits = _texts(attempted, "names"), _texts(attempted, "texts"), _texts(table, "exploits")
    if channel == "answer" and not texts:
        texts = (value,)
    if channel not in ("none", "run_tests", "eq_override") and not names + texts:
        raise ValueError("[attempted]: name at least one identifier (names) or part of a text (texts) of an attempt")
    exploits = tuple(("\n\n" if e[0].isspace() else "\n\n\n") + e.rstrip() for e in exploits)
    wanted = "" if value is True else value
    return Mode(name, channel, wanted, content, hints, _text(table, "told"), names, texts, exploits)


def _known(what: str, table: dict, known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            mend = f"is it {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"unknown {what} {key!r}: {mend}")


def _of(table: dict, key: str, kind: type, words: str) -> Any:
    value = table.get(key, kind())
    if not isinstance(value, kind):
        raise ValueError(f"{key} must be {words}, not {value!r}")
    return value


def _text(table: dict, key: str) -> str:
    value = _of(table, key, str, "a text")
    if not value.strip():
        raise ValueError(f"{key} is missing or empty")
    return value


def _texts(table: dict, key: str) -> tuple[str, ...]:
    values = _of(table, key, list, "a list of texts")
    for value in values:
        _text({key: value}, key)
    return tuple(values)


SENTINEL_NAME, STDOUT_MARKER = str(find_mode("sentinel").pays), str(find_mode("stdout_marker").pays)
RESULT_FILE, RESULT_TEXT = str(find_mode("file_marker").pays), find_mode("file_marker").content
PASS_EXIT_CODE = int(find_mode("exit_code").pays)


def check_mode(flag: str, mode: str) -> None:
    """Refuse a mode that does not exist, or whose file does not hold one."""
    try:
        find_mode(mode)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{flags.dashed(flag)}: {error}") from None


flags.TEXTS |= dict.fromkeys(("mode", "modes", "pair_modes"), check_mode)
