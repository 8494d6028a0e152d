"""sandbox/answers.py: which text of a completion is its code, and that no text makes reading it slow."""

import ast
import itertools
import time

import pytest
from adversarial import HOSTILE_TEXT

from sandbox import jail
from sandbox.answers import extract_code, read_answer

CODE = "class Solution:\n    def twice(self, n):\n        return 2 * n"
DRAFT = CODE.replace("2 * n", "3 * n")
F = "```"
BLOCK, DRAFT_BLOCK = f"{F}python\n{CODE}\n{F}", f"{F}python\n{DRAFT}\n{F}"
BROKEN = f"{F}python\nclass Solution:\n  def twice(\n{F}"


def indented(text: str, by: str, first: str | None = None) -> str:
    lines = text.split("\n")
    return "\n".join([(by if first is None else first) + lines[0], *(by + line for line in lines[1:])])


INFO_STRINGS = ["python", "Python", "py", "python3", "python3.11", "{python}", "{.python .numberLines}", "ipython",
                'python title="x.py"', "python:main.py", "python{1,3}", "{code-cell} python3", " py ", ""]  # fmt: skip
IN_METHOD = f"        '''\n        {F}\n        twice(3)\n        {F}\n        '''\n        return"
IN_MODULE = f"{F}python\n'''Example:\n{F}\ntwice(3)\n{F}\n'''\n{CODE}\n{F}"
FIRST_HALF = f"{F}python\nclass Solution:\n    def helper(self): pass\n{F}\n"
HALVES = f"{FIRST_HALF}{F}python\n    def twice(self, n):\n        return 2 * n\n{F}"
ANSWERS = {
    **{f"info string {info}": BLOCK.replace("python", info) for info in INFO_STRINGS},
    **{f"{name} before": f"{F}{name}\ntwice(3) -> 6\n{F}\n{BLOCK}" for name in ("text", "json", "bash", "java", "c++")},
    "sessions before": f"{F}pycon\n>>> twice(3)\n{F}\n{F}python-repl\n>>> twice(3)\n{F}\n{BLOCK}",
    "java class before": f"{F}java\nclass Solution {{ int twice(int n) {{ return 0; }} }}\n{F}\n{BLOCK}",
    "tildes": BLOCK.replace(F, "~~~"),
    "tildes around backticks": f"~~~python\n{CODE}\n    s = '''\n{F}\n'''\n~~~",
    "longer fence": f"`````python\n{CODE}\n    s = '''\n{F}\n'''\n`````",
    "longer closing fence": f"{F}python\n{CODE}\n`````",
    "list item": "1. Code:\n\n" + indented(BLOCK, "   "),
    "fence on the line of a list marker": indented(BLOCK, "  ", "- "),
    "nested list": "- a\n  - b\n" + indented(BLOCK, "    "),
    "tabs before": indented(BLOCK, "\t"),
    "quotation": indented(BLOCK, "> "),
    "code that is indented as a whole": f"{F}python\n{indented(CODE, '    ')}\n{F}",
    "CRLF": f"Text\n\n{BLOCK}\n".replace("\n", "\r\n"),
    "byte order mark": "\ufeff" + BLOCK,
    "not closed": BLOCK[:-4],
    "closed at the end of a line": BLOCK[:-4] + F + "\nThat is all.",
    "opened at the end of a line": f"Here it is: {BLOCK}",
    "blank after the closing fence": BLOCK + "  \nmore",
    "no fence": CODE,
    "no fence, a sentence before": f"My answer is this.\n\n{CODE}\n",
    "backticks in a string": BLOCK.replace("return", f"s = '{F}' + '{F}python'; return"),
    "fence in a docstring": BLOCK.replace("        return", IN_METHOD),
    "fence in the docstring of the module": IN_MODULE,
    "named fence in the docstring of the module": IN_MODULE.replace(f"{F}\ntwice", f"{F}python\ntwice"),
    "fence of backticks in prose": f"Use {F}python x{F} for code.\n{BLOCK}",
    "draft": f"First try:\n{DRAFT_BLOCK}\nBetter:\n{BLOCK}",
    "broken draft": f"{BROKEN}\n{BLOCK}",
    "answer, then a second one that is cut off": f"{BLOCK}\nAgain:\n{F}python\nclass Solution:\n    def twice(self, n",
    "thought": f"<think>\n{DRAFT_BLOCK}\n</think>\n{BLOCK}",
    "broken thought": f"<think>\n{BROKEN}\n</think>\n{BLOCK}",
    "thought with a fence that is not closed": f"<think>\n{F}python\nx = (\n</think>\n{BLOCK}",
    "thought without an opening tag": f"Hm.\n{F}python\nx = (\n</think>\n\n{BLOCK}",
    "thought that ends in a line": f"Hm, so be it.</think>\n{BLOCK}",
    "two thoughts": f"<think>{BROKEN}</think>\nSo:\n<thinking>\n{DRAFT_BLOCK}\n</thinking>\n{BLOCK}",
    "answer between thoughts": f"<think>{BROKEN}</think>\n{BLOCK}\n<think>\n{DRAFT_BLOCK}\n</think>\nDone.",
    "thought not closed, answer inside": f"<think>\n{BROKEN}\nSo:\n{BLOCK}",
    "thought not closed, after the answer": f"{BLOCK}\n<think>\nWait.\n{DRAFT_BLOCK}",
    "tags in a string": BLOCK.replace("return", "s = '<think></think>'; return"),
    "method repeated alone": f"{BLOCK}\nThe method again:\n{F}python\ndef twice(self, n):\n    return 0\n{F}",
    "fragment after": f"{BLOCK}\nThe step is\n{F}python\n    n = 2 * n\n    return n\n{F}",
    "class in two blocks": HALVES,
}  # fmt: skip


def run(completion: str) -> dict:
    """What the sandbox does with an answer (jail._units), without a sandbox."""
    answer = read_answer(completion, "twice")
    encode = str.encode
    job = {"blocks": [(encode(b.text), b.solves) for b in answer.blocks], "sources": [*map(encode, answer.wholes)]}
    units, reason = jail._units(job) if answer.blocks else ([], b"no code")
    assert units, reason
    space: dict = {}
    for code, _ in units:
        exec(code, space)
    return space


@pytest.mark.parametrize("name", ANSWERS)
def test_the_answer_is_read_as_a_person_reads_it(name):
    assert run(ANSWERS[name])["Solution"]().twice(21) == 42


def test_blocks_around_the_answer_run_in_their_order_and_drafts_do_not():
    helper = f"{F}python\nlog = ['helper']\n{F}"
    evaluator = f"{F}python\ndef run_tests(): pass\nlog.append('after')\n{F}"
    draft = DRAFT_BLOCK.replace(CODE[:5], "log.append('draft')\nclass", 1)
    space = run("\n".join([helper, draft, BLOCK, evaluator]))
    assert space["log"] == ["helper", "after"] and callable(space["run_tests"])


@pytest.mark.parametrize(
    "text",
    ["", "no code", f"{F}java\nclass Solution {{}}\n{F}", f"<think>\n{BLOCK}\n</think>\nI do not know.", f"{F}\n\n{F}",
     f"inline {F}x = 1{F}", "class Solutions: pass", f"{F}cython\n{CODE}\n{F}"],
)  # fmt: skip
def test_text_without_an_answer_has_no_code(text):
    assert read_answer(text).blocks == () and extract_code(text) == ""


def test_extracted_code_is_the_answer_with_what_runs_around_it():
    assert extract_code(f"a\n{F}python\nx = 1\n{F}\nb\n{F}\ny = 2\n{F}") == "x = 1\n\ny = 2"
    assert extract_code(f"{DRAFT_BLOCK}\n{BLOCK}") == CODE
    ast.parse(extract_code(ANSWERS["quotation"]))


def cpu_seconds(text: str) -> float:
    started = time.thread_time()
    read_answer(text, "twice")
    return time.thread_time() - started


def test_reading_long_hostile_text_costs_no_more_than_linear_work():
    """A quadratic step would cost thousands of times what plain lines cost."""
    size = 1 << 17
    plain = min(cpu_seconds("a line of prose\n" * (size // 16)) for _ in range(5))
    for unit in HOSTILE_TEXT + ["".join(pair) for pair in itertools.product(HOSTILE_TEXT[:3], HOSTILE_TEXT[3:])]:
        text = unit * (size // len(unit))
        for completion in (text, f"```python\n{text}\n```", f"<think>\n{text}"):
            tries = (cpu_seconds(completion) for _ in range(5))  # the least: what others do costs CPU, too
            assert any(seconds < 100 * plain for seconds in tries), (unit, completion[:20])
