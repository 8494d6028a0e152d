"""Completion -> the code of its answer: which text counts, by CommonMark's rules for fenced code.

    completion --_spoken--> text outside thoughts --_fenced--> Block(text, named, solves) --> what the sandbox runs

    text                                                     what counts
    <think>...</think>, also without its opening tag         nothing
    <think> that is never closed                             its code, where there is none outside
    ``` or ~~~ or longer, also indented, in a list, quoted   its code, if the info string is empty or names Python
                                                             (python title="x", {.python}, python3.11, main.py)
    a fence of Markdown                                      the fences in it
    a fence of another language                              nothing
    backticks in a line, shorter or deeper fences inside     they are part of the code
    a fence that is never closed                             its code up to the end, or to a line that ends with it
                                                             or, where that does not compile, begins with it
    no fence at all, but a class Solution                    the text from the first line of code on, or from there
                                                             to the last indented line

Of several blocks that define the solution the last that compiles is the answer and the others are drafts. Blocks that
do not define it (helpers, an evaluator, a demonstration) run around it in their order, in the same module. Where no
block defines the solution and compiles, all of them joined are the program, as in the benchmark.
Every step is linear in the text's length, whatever the text.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

_THOUGHT = re.compile(r"<(/?)(think|thinking|thought|reasoning)>")
_OPEN = re.compile(r"([ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)(`{3,}|~{3,})(.*)", re.DOTALL)  # margin, fence, info
_PYTHON = re.compile(
    r"[{.\s]*(?:code(?:-cell|-block)?[}\s]+|[\w/-]+\.)?(?:i?python|py)[\d.]*(?![\w+#-])", re.IGNORECASE
)
_MARKDOWN = re.compile(r"\s*(?:markdown|md)\s*", re.IGNORECASE)
_FENCE_LINE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_INDENTED = re.compile(r"^[ \t]+\S.*", re.MULTILINE)
_SOLUTION = re.compile(r"^[ \t]*class[ \t]+Solution\b", re.MULTILINE)
_FIRST_LINE = re.compile(r"^(?:(?:import|from|class|def)\b|@)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code: its text, whether its fence says Python, whether it defines the solution."""

    text: str
    named: bool
    solves: bool


@dataclass(frozen=True)
class Answer:
    """The blocks of an answer, and whole programs to try where none of them is a solution that compiles."""

    blocks: tuple[Block, ...]
    wholes: tuple[str, ...]

    @property
    def code(self) -> str:
        """The answer as one text: the last block that defines the solution and all that do not define it."""
        last = max((i for i, block in enumerate(self.blocks) if block.solves), default=-1)
        return _join([block for i, block in enumerate(self.blocks) if i == last or not block.solves])


def read_answer(completion: str, method: str = "") -> Answer:
    """The code of a completion; a block solves where it has a class Solution (and a def of `method`, if given)."""
    text = completion.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")
    for part in _spoken(text):
        found, span = _fenced(part)
        cut = _FENCE_LINE.split(found[-1][0], 1)[0] if found else ""
        if "```" not in part and "~~~" not in part and _SOLUTION.search(part) and (start := _FIRST_LINE.search(part)):
            found = [(part[start.start() :], True)]
            cut = part[start.start() : max((line.end() for line in _INDENTED.finditer(part)), default=0)]
        blocks = tuple(_block(code, named, method) for code, named in found if code.strip())
        if blocks:
            wholes = (_join(blocks), _join([block for block in blocks if block.named]), span, cut)
            return Answer(blocks, tuple(dict.fromkeys(filter(str.strip, wholes))))
    return Answer((), ())


def extract_code(completion: str) -> str:
    """The code of a completion's answer as one text; "" without any."""
    return read_answer(completion).code


def _join(blocks) -> str:
    return "\n\n".join(block.text.strip("\n") for block in blocks)


def _block(code: str, named: bool, method: str) -> Block:
    defines = rf"\bdef[ \t]+{re.escape(method)}\b" if method else ""
    solves = bool(_SOLUTION.search(code) and re.search(defines, code))
    return Block(textwrap.dedent(code) if solves and code.lstrip("\n")[0] in " \t" else code, named, solves)


def _spoken(text: str) -> tuple[str, str]:
    """(what stands outside thoughts, what stands in a thought that is never closed)."""
    said: list[str] = []
    at, opened = 0, -1
    for tag in _THOUGHT.finditer(text):
        starts_line = tag.start() == 0 or text[tag.start() - 1] == "\n"
        ends_line = text[tag.end() : tag.end() + 1] in ("", "\n")
        if not tag[1]:
            if opened < 0 and starts_line:  # elsewhere it is a string of the code, or talk about the tag
                opened = tag.end()
                said.append(text[at : tag.start()])
        elif opened >= 0:
            at, opened = tag.end(), -1
        elif starts_line or ends_line:  # the prompt has opened it
            said, at = [], tag.end()
    return ("".join(said), text[opened:]) if opened >= 0 else ("".join(said) + text[at:], "")


def _fenced(text: str, within: bool = False) -> tuple[list[tuple[str, bool]], str]:
    """[(code, named Python)] of the fences that count, and all lines from the first of them to the last fence's end."""
    lines = text.split("\n")
    found: list[tuple[str, bool]] = []
    first = last = 0
    margin = fence = info = ""
    inside: list[str] = []

    def close() -> None:
        if not info.strip() or _PYTHON.match(info):
            found.append(("\n".join(inside), bool(info.strip())))
        elif _MARKDOWN.fullmatch(info) and not within:
            found.extend(_fenced("\n".join(inside), within=True)[0])

    for at, line in enumerate(lines):
        body = line.lstrip(" \t>" if ">" in margin else " \t")
        indent = len(line) - len(body)
        if not fence:
            margin, fence, info = _opened(line)
            inside = []
            first, last = (first, at) if found else (at + 1, 0)
        elif body.startswith(fence) and not body.strip(fence[0] + " \t") and indent <= len(margin) + 3:
            close()
            margin = fence = info = ""
            last = at
        else:
            inside.append(line[min(indent, len(margin)) :])
    if fence:
        ends = next((i for i, line in enumerate(inside) if line.rstrip().endswith(fence)), len(inside))
        inside[ends:] = [line.rstrip().removesuffix(fence) for line in inside[ends : ends + 1]]
        close()
    return found, "\n".join(lines[first:last]) if found else ""


def _opened(line: str) -> tuple[str, str, str]:
    """(margin, fence, info string) of a line that opens a fence, else three empty texts."""
    opened = _OPEN.match(line)
    if opened and not (opened[2][0] == "`" and "`" in opened[3]):  # that would be code inside a line
        return opened[1], opened[2], opened[3]
    head, mark, word = line.rpartition("```")
    if mark and "`" not in head and _PYTHON.fullmatch(word.strip()):
        return "", mark, word  # as in "Here it is: ```python"
    return "", "", ""
