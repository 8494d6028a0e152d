"""sandbox/asserts.py: hostile answers are judged in bounded work and without an error, whatever the assert."""

import json
import time

import pytest

from sandbox import jail
from sandbox.asserts import MAX_CHECKED, TestFormatError, judge, parse_tests

PRIME = (1 << 61) - 1  # multiples of it, as numbers, all hash to 0
COLLIDING = [{"i": hex(i * PRIME)} for i in range(1, 25_000)]
LONG = "0x" + "f" * 16_000

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


def tagged(tag: str, body: object) -> bytes:
    return json.dumps({tag: body}).encode()


HOSTILE = {
    "colliding integers": json.dumps(COLLIDING).encode(),
    "set of colliding integers": tagged("s", COLLIDING),
    "dict of colliding integers": tagged("d", [[key, 1] for key in COLLIDING]),
    "set of colliding tuples": tagged("s", [{"t": [key, 1]} for key in COLLIDING]),
    "set of colliding fractions": tagged("s", [{"q": [key["i"], "0x1"]} for key in COLLIDING[:12_000]]),
    "set of colliding complex numbers": tagged("s", [{"c": [-1000003.0 * i, float(i)]} for i in range(12_000)]),
    "set of integers with equal low bits": tagged("s", [i << 44 for i in range(1 << 15)]),
    "sets in sets": b'{"s":[' * 2000 + b"1" + b"]}" * 2000,
    "a long set in sets": b'{"s":[' * 90 + json.dumps(list(range(75_000))).encode()[1:-1] + b"]}" * 90,
    "sums of long and short integers": json.dumps([{"i": LONG}] + [1] * 150_000).encode(),
    "fractions of many denominators": json.dumps([{"q": ["0x3", hex(2**63 + i)]} for i in range(10_000)]).encode(),
    "long fraction": tagged("q", [LONG, LONG]),
    "fraction over zero": tagged("q", ["0x1", "0x0"]),
    "one long integer": tagged("i", "0x" + "f" * 1_000_000),
    "many digits": b"9" * 1_000_000,
    "integers of as many digits as are read": b"[" + b",".join([b"9" * 4300] * 100) + b"]",
    "long decimal fraction": b"0." + b"1" * 1_000_000,
    "long text as a complex number": tagged("c", ["1" * 1_000_000, 1]),
    "long text": json.dumps("x" * 900_000).encode(),
    "many lists": json.dumps([[]] * 150_000).encode(),
    "many numbers": json.dumps([1] * 200_000).encode(),
    "deep lists": b"[" * 400_000 + b"]" * 400_000,
    "deep tuples": b'{"t":[' * 100_000 + b"]}" * 100_000,
    "open brackets": b"[" * 1_000_000,
    "many keys": b"{" + b",".join(b'"%d":1' % i for i in range(50_000)) + b"}",
    "blanks": b" " * 1_000_000,
    "too long": b"[" + b"1," * MAX_CHECKED + b"1]",
}
MALFORMED = [b"", b"\0", b'"\xff"', b"NaN", b"{}", b'{"d":[[1]]}', b'{"d":["ab"]}', b'{"i":null}', b'{"t":null}',
             b'{"s":[[]]}', b'{"b":"zz"}', b'{"c":[1]}', b'{"x":1}', b'{"L":3}', b'{"t":[],"s":[]}']  # fmt: skip


def cpu_seconds(work, *args) -> tuple[float, object]:
    started = time.thread_time()
    result = work(*args)
    return time.thread_time() - started, result


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_is_judged_wrong_in_linear_work(name):
    """A quadratic step over these answers takes 3 to 100 s of CPU; reading half a megabyte of numbers takes .01 s."""
    plain = json.dumps([1] * 175_000).encode()
    linear = min(cpu_seconds(json.loads, plain)[0] for _ in range(5))
    for form, case in FORMS.items():
        seconds, right = cpu_seconds(judge, case, HOSTILE[name])
        assert seconds < 200 * linear and not right, form


def test_a_malformed_answer_is_judged_wrong_without_an_error():
    assert [(d, f) for d in MALFORMED for f, case in FORMS.items() if judge(case, d) and f != "not call"] == []


@pytest.mark.parametrize(
    "text, right, wrong",
    [
        ("set(call) == {1, 2}", [[1, 2, 2], (2, 1)], [[1], 5, None]),
        ("set(call) == {0, 1}", [[0, 1] * 1000], [[0]]),
        ("sorted(call) == [1, 2]", [[2, 1], {1, 2}], [[1, "a"], 3]),
        ("sorted(call, reverse=True) == [2, 1]", [[1, 2]], [[1]]),
        ("abs(call - 2.5) < 1e-5", [2.5, 2.500001], [2.6, "2.5", None]),
        ("call * 2 == 'abab'", ["ab"], ["abab", 3]),
        ("sum(call) == 3", [[1, 2], {3}, (True, 2)], [["a"], 3]),
        ("isclose(call, 2.5, abs_tol=0.1) or not 1", [2.55, 2.5], [2.7, "x"]),
        ("call is None", [None], [0, False]),
        ("1 <= call < 3", [1, 2.5], [3, None]),
        ("call == [0] * 3", [[0, 0, 0]], [[0]]),
        ("call in (1, 2)", [1, 2.0], [3, []]),
        ("round(call, 1) == 2.5", [2.51], ["x"]),
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
