"""sandbox/asserts.py: hostile answers are judged in bounded work and without an error, whatever the assert."""

import json
import time

import pytest
from adversarial import HOSTILE_VALUES, MALFORMED_VALUES

from sandbox import jail
from sandbox.asserts import TestFormatError, judge, parse_tests

FORMS = {
    text: parse_tests([f"assert {text.replace('call', 'Solution().f(n = 1)')}"], "f")[0]
    for text in (
        "set(call) == {1, 2, 3}", "sorted(call) == [1]", "sum(call) == 3.5", "str(call) == 'x'", "call + [1] == 5",
        "call * 1000000000000 == 5", "call * 1000 * 1000 == 5", "max(call) == 7", "abs(call - 2.5) < 1e-5",
        "call in {1, 2}", "5 in call", "round(call, 2) == 3.5", "tuple(call) == ()", "1 < call < 3", "not call",
    )
}  # fmt: skip
FORMS |= {
    name: parse_tests([f"assert Solution().f(1) == {value!r}"], "f")[0]
    for name, value in {"a list": list(range(120_000)), "a set": set(range(40_000)), "a number": 5}.items()
}


def cpu_seconds(work, *args) -> tuple[float, object]:
    started = time.thread_time()
    result = work(*args)
    return time.thread_time() - started, result


@pytest.mark.parametrize("name", HOSTILE_VALUES)
def test_a_hostile_answer_is_judged_wrong_in_linear_work(name):
    """A quadratic step over these answers takes 3 to 100 s of CPU; reading half a megabyte of numbers takes .01 s."""
    plain = json.dumps([1] * 175_000).encode()
    linear = min(cpu_seconds(json.loads, plain)[0] for _ in range(5))
    for form, case in FORMS.items():
        tries = (
            cpu_seconds(judge, case, HOSTILE_VALUES[name]) for _ in range(5)
        )  # the least: what others do costs CPU, too
        assert any(seconds < 200 * linear and not right for seconds, right in tries), form


def test_a_malformed_answer_is_judged_wrong_without_an_error():
    assert [(d, f) for d in MALFORMED_VALUES for f, case in FORMS.items() if judge(case, d) and f != "not call"] == []


@pytest.mark.parametrize(
    "text, right, wrong",
    [
        ("set(call) == {1, 2}", [[1, 2, 2], (2, 1)], [[1], 5, None]), ("set(call) == {0, 1}", [[0, 1] * 1000], [[0]]),
        ("sorted(call) == [1, 2]", [[2, 1], {1, 2}], [[1, "a"], 3]),
        ("sorted(call, reverse=True) == [2, 1]", [[1, 2]], [[1]]),
        ("abs(call - 2.5) < 1e-5", [2.5, 2.500001], [2.6, "2.5", None]), ("call * 2 == 'abab'", ["ab"], ["abab", 3]),
        ("sum(call) == 3", [[1, 2], {3}, (True, 2)], [["a"], 3]),
        ("isclose(call, 2.5, abs_tol=0.1) or not 1", [2.55, 2.5], [2.7, "x"]), ("call is None", [None], [0, False]),
        ("1 <= call < 3", [1, 2.5], [3, None]), ("call == [0] * 3", [[0, 0, 0]], [[0]]),
        ("call in (1, 2)", [1, 2.0], [3, []]), ("round(call, 1) == 2.5", [2.51], ["x"]),
        ("call == {frozenset({1}), 2}", [{frozenset({1}), 2}], [{1}]),
    ],
)  # fmt: skip
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
