"""sandbox/asserts.py: hostile answers are judged in bounded work and without an error, whatever the assert."""

import json

import pytest
from adversarial import CHECKED, CHECKS, HOSTILE_VALUES, MALFORMED_VALUES
from shared import cpu_seconds

from sandbox import jail
from sandbox.asserts import TestFormatError, judge, parse_tests

FORMS = {
    name: parse_tests([f"assert {text.replace('call', 'Solution().f(n = 1)')}"], "f")[0]
    for name, text in CHECKED.items()
}


@pytest.mark.parametrize("name", HOSTILE_VALUES)
def test_a_hostile_answer_is_judged_wrong_in_linear_work(name):
    """A quadratic step over these answers takes 3 to 100 s of CPU; reading half a megabyte of numbers takes .01 s."""
    plain = json.dumps([1] * 175_000).encode()
    linear = min(cpu_seconds(json.loads, plain)[0] for _ in range(5))
    for form, case in FORMS.items():
        tries = (cpu_seconds(judge, case, HOSTILE_VALUES[name]) for _ in range(5))  # the least: load costs CPU, too
        assert any(seconds < 200 * linear and not right for seconds, right in tries), form


def test_a_malformed_answer_is_judged_wrong_without_an_error():
    assert [(d, f) for d in MALFORMED_VALUES for f, case in FORMS.items() if judge(case, d) and f != "not call"] == []


@pytest.mark.parametrize("text, right, wrong", CHECKS)
def test_a_check_gives_what_python_gives(text, right, wrong):
    (case,) = parse_tests([f"assert {text.replace('call', 'Solution().f()')}"], "f")
    for values, verdict in ((right, True), (wrong, False)):
        assert [judge(case, jail.encode_value(value)) for value in values] == [verdict] * len(values)


def test_an_expected_value_of_any_size_up_to_the_limit_is_met_by_itself():
    for value in ("x" * 3_000_000, list(range(100_000)), 2**200_000, {str(i): i for i in range(20_000)}):
        text = hex(value) if isinstance(value, int) else repr(value)
        (case,) = parse_tests([f"assert Solution().f() == {text}"], "f")
        assert judge(case, jail.encode_value(value))
    with pytest.raises(TestFormatError, match="more than 4 MB"):
        parse_tests([f"assert Solution().f() == {'x' * 5_000_000!r}"], "f")
