"""sandbox/answers.py: which text of a completion is its code, and that no text makes reading it slow."""

import ast
import itertools

import pytest
from adversarial import ANSWERS, BLOCK, CODE, DRAFT_BLOCK, HOSTILE_TEXT, NO_ANSWERS, F
from shared import cpu_seconds

from sandbox import jail
from sandbox.answers import extract_code, read_answer


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


@pytest.mark.parametrize("text", NO_ANSWERS)
def test_text_without_an_answer_has_no_code(text):
    assert read_answer(text).blocks == () and extract_code(text) == ""


def test_extracted_code_is_the_answer_with_what_runs_around_it():
    assert extract_code(f"a\n{F}python\nx = 1\n{F}\nb\n{F}\ny = 2\n{F}") == "x = 1\n\ny = 2"
    assert extract_code(f"{DRAFT_BLOCK}\n{BLOCK}") == CODE
    ast.parse(extract_code(ANSWERS["quotation"]))


def test_reading_long_hostile_text_costs_no_more_than_linear_work():
    """A quadratic step would cost thousands of times what plain lines cost."""
    size = 1 << 17
    plain = min(cpu_seconds(read_answer, "a line of prose\n" * (size // 16), "twice")[0] for _ in range(5))
    for unit in HOSTILE_TEXT + ["".join(pair) for pair in itertools.product(HOSTILE_TEXT[:3], HOSTILE_TEXT[3:])]:
        text = unit * (size // len(unit))
        for completion in (text, f"```python\n{text}\n```", f"<think>\n{text}"):
            tries = (cpu_seconds(read_answer, completion, "twice")[0] for _ in range(5))  # the least: load costs, too
            assert any(seconds < 100 * plain for seconds in tries), (unit, completion[:20])
