"""Asserts of a problem -> calls for the sandbox and checks of their answers, in bounded work whatever comes back.

    assert Solution().f(a = 1) == 3 --parse_tests--> Case: the call for the sandbox; holds and exact for this process
    bytes of an answer --judge(case)--> whether the assert holds

form                                              judged by
call == literal                                   Python's == on the decoded answer
is_same_list(call, ...), is_same_tree(call, ...)  == on the values of the nodes
compare, and, or, not, + - * /, CHECKS on a call  the expression's value, the decoded answer in the call's place

Answers are hostile bytes. So an answer longer than its expected value allows is wrong unread, a set or dict of
colliding keys is refused, long integers and products have a bound: no step takes more than linear time and memory.
"""

from __future__ import annotations

import ast
import functools
import json
import marshal
import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sandbox import jail

MAX_RESULT = 4 << 20  # bytes of one answer; one with more bytes than the expected value can need is wrong anyway
MAX_CHECKED = 1 << 20  # bytes of an answer that a check around the call reads
MAX_DIGITS = 1 << 14  # hexadecimal digits of an integer in such an answer
MAX_RATIO = 1 << 10  # hexadecimal digits of a fraction's numerator and denominator
MAX_PRODUCT = 1 << 20  # items of a product of a sequence and a number
SAME_HASH = 16  # keys of one set or dict that may share a hash


class TestFormatError(ValueError):
    """An assert of a problem's tests that the oracle cannot judge; the message names it."""

    __test__ = False


@dataclass
class Case:
    """One assert: what the sandbox is told (call, kind) and what only this process knows (holds, exact)."""

    call: bytes  # marshalled (owner, method, form, payload)
    kind: str  # how the answer is encoded: value, list, tree
    holds: Callable[[Any], bool]  # decoded answer -> whether the assert holds
    exact: bytes | None  # an answer with these very bytes is right
    max_bytes: int  # an answer with more bytes cannot be right
    max_digits: int = MAX_RESULT


# what hostile data, or an answer of the wrong type, makes of a decoder, a comparison or a check
_MISFITS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)


def judge(case: Case, data: bytes) -> bool:
    """Whether the answer (bytes of jail.encode_value, or hostile ones) makes the assert hold. Never raises."""
    if len(data) > case.max_bytes:
        return False
    if data == case.exact:
        return True
    try:
        return case.holds(decode_value(data, case.max_digits))
    except _MISFITS:
        return False


# --------------------------------------------------------------------------- typed JSON -> values
def decode_value(data: bytes, max_digits: int = MAX_RESULT) -> Any:
    """Bytes of jail.encode_value -> value. ValueError for anything else, however hostile the bytes."""
    try:
        value = json.loads(data, object_pairs_hook=functools.partial(_untag, max_digits))
        return set(value) if isinstance(value, frozenset) else value
    except _MISFITS as error:
        raise ValueError(f"answer cannot be decoded: {type(error).__name__}") from None


def _untag(max_digits: int, pairs: list[tuple[str, Any]]) -> Any:
    ((tag, body),) = pairs
    if tag == "i":
        if len(body) > max_digits:
            raise ValueError("an integer of too many digits")
        return int(body, 16)
    if tag == "q":
        numerator, denominator = body
        if len(numerator) + len(denominator) > 2 * MAX_RATIO:
            raise ValueError("a fraction of too many digits")
        return Fraction(int(numerator, 16), int(denominator, 16))
    if tag == "b":
        return bytes.fromhex(body)
    if tag == "c":
        real, imaginary = body
        return complex(float(real), float(imaginary))
    if not isinstance(body, list):
        raise ValueError("answer has an unknown form")
    if tag in ("L", "T"):
        return body
    if tag == "t":
        return tuple(body)
    if tag == "s":
        return frozenset(_scattered(body))
    if tag == "d":
        _scattered([key for key, _ in body])
        return dict(body)
    raise ValueError("answer has an unknown form")


def _scattered(keys: Iterable) -> list:
    """The keys, if few different ones share a hash: n that share it cost n * n comparisons in a set or dict."""
    keys = list(keys)
    found: dict[int, list] = {}
    for key in keys:
        same = found.setdefault(hash(key), [])
        if key not in same:
            same.append(key)
            if len(same) > SAME_HASH:
                raise ValueError("too many keys share a hash")
    return keys


# --------------------------------------------------------------------------- literals
def _literal(node: ast.AST) -> Any:
    """Value of a literal expression (with inf and nan by name); ValueError for anything else."""
    if isinstance(node, ast.Constant) and node.value is not Ellipsis:
        return node.value
    if isinstance(node, ast.List):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_literal(item) for item in node.elts)
    if isinstance(node, ast.Set):
        return set(_scattered(map(_literal, node.elts)))
    if isinstance(node, ast.Dict) and all(node.keys):
        keys = _scattered(_literal(key) for key in node.keys if key)
        return dict(zip(keys, map(_literal, node.values), strict=True))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _literal(node.operand)
        if isinstance(value, int | float | complex):
            return -value if isinstance(node.op, ast.USub) else +value
    if isinstance(node, ast.Name) and node.id in ("inf", "nan"):
        return float(node.id)
    if isinstance(node, ast.Attribute) and ast.unparse(node) in ("math.inf", "math.nan"):
        return float(node.attr)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords and len(node.args) <= 1:
        args = [_literal(arg) for arg in node.args]
        if node.func.id == "float":
            return float(*args)
        if node.func.id in ("set", "frozenset"):
            return (set if node.func.id == "set" else frozenset)(_scattered(*args) if args else ())
    raise ValueError(f"not a literal: {ast.unparse(node)[:80]}")


# --------------------------------------------------------------------------- checks around a call
def _times(a: Any, b: Any) -> Any:
    for items, times in ((a, b), (b, a)):
        repeats = isinstance(items, str | bytes | list | tuple) and isinstance(times, int)
        if repeats and len(items) * times > MAX_PRODUCT:
            raise ValueError("a product of too many items")
    return a * b


def _sum(items: Iterable, start: Any = 0) -> Any:
    numbers = [float(item) if isinstance(item, Fraction) else item for item in (start, *items)]
    for number in numbers:
        if not isinstance(number, int | float | complex) or isinstance(number, int) and number.bit_length() > 4096:
            raise ValueError("a sum of other things than numbers, or of long ones")
    return sum(numbers)


def _round(number: Any, ndigits: Any = None) -> Any:
    if ndigits is not None and abs(ndigits) > 1000:
        raise ValueError("rounded to too many digits")
    return round(number, ndigits)


# name -> (function, keywords that it takes)
CHECKS: dict[str, tuple[Callable, tuple[str, ...]]] = {
    **{f.__name__: (f, ()) for f in (len, abs, list, tuple, max, min, str, any, all, float)},
    "sum": (_sum, ("start",)),
    "set": (lambda *items: set(_scattered(*items)), ()),
    "sorted": (sorted, ("reverse",)),
    "round": (_round, ("ndigits",)),
    "isclose": (math.isclose, ("rel_tol", "abs_tol")),
    "math.isclose": (math.isclose, ("rel_tol", "abs_tol")),
}
_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not, ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: _times, ast.Div: operator.truediv,
}  # fmt: skip


def _check(node: ast.AST, target: ast.AST) -> Callable[[Any], Any]:
    """An assert's expression as a function of the answer of its one call. ValueError for a form that is not known."""
    if node is target:
        return lambda answer: answer
    if isinstance(node, ast.Compare):
        first = _check(node.left, target)
        links = [
            (_COMPARE[type(op)], _check(right, target)) for op, right in zip(node.ops, node.comparators, strict=True)
        ]
        return lambda answer: _chain(first(answer), links, answer)
    if isinstance(node, ast.BoolOp):
        parts = [_check(value, target) for value in node.values]
        join = all if isinstance(node.op, ast.And) else any
        return lambda answer: join(part(answer) for part in parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        operand = _check(node.operand, target)
        return lambda answer: not operand(answer)
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return _apply(_ARITHMETIC[type(node.op)], [node.left, node.right], [], target)
    if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in CHECKS and name not in ("float", "set"):
        return _apply(CHECKS[name][0], node.args, _keywords(name, node), target)
    try:
        value = _literal(node)
    except ValueError:
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in CHECKS:  # float or set of the answer
            return _apply(CHECKS[name][0], node.args, _keywords(name, node), target)
        raise
    return lambda _answer: value


def _keywords(name: str, node: ast.Call) -> list[tuple[str, ast.AST]]:
    for keyword in node.keywords:
        if keyword.arg not in CHECKS[name][1]:
            raise ValueError(f"{name}(... {keyword.arg}=...) is not known")
    return [(str(keyword.arg), keyword.value) for keyword in node.keywords]


def _apply(function: Callable, args: list, keywords: list, target: ast.AST) -> Callable[[Any], Any]:
    """function(*args, **keywords); where none of them holds the call, its value now, so that a failure is named now."""
    values = [_check(arg, target) for arg in args]
    named = {name: _check(value, target) for name, value in keywords}

    def call(answer: Any) -> Any:
        return function(*(value(answer) for value in values), **{name: value(answer) for name, value in named.items()})

    if any(node is target for arg in (*args, *(value for _, value in keywords)) for node in ast.walk(arg)):
        return call
    value = call(None)
    return lambda _answer: value


def _chain(left: Any, links: list, answer: Any) -> bool:
    for compare, right in links:
        value = right(answer)
        if not compare(left, value):
            return False
        left = value
    return True


# --------------------------------------------------------------------------- asserts -> cases
def _is_target(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    func = node.func
    if isinstance(func, ast.Name):
        return func.id == "candidate"
    owner = func.value if isinstance(func, ast.Attribute) else None
    return (
        isinstance(owner, ast.Call)
        and isinstance(owner.func, ast.Name)
        and owner.func.id == "Solution"
        and not (owner.args or owner.keywords)
    )


def _tree_preorder(values: list) -> list:
    """What encode_value(tree) gives for the data set's tree_node(values): preorder, [value] or None."""
    if not values:
        return [None]
    nodes: list[list] = [[values[0], None, None]]
    at, i = 0, 1
    while at < len(nodes):
        for side in (1, 2):
            if i < len(values) and values[i] is not None:
                nodes[at][side] = node = [values[i], None, None]
                nodes.append(node)
            i += 1
        at += 1
    out: list = []
    stack: list = [nodes[0]]
    while stack:
        node = stack.pop()
        if node is None:
            out.append(None)
        else:
            out.append([node[0]])
            stack += [node[2], node[1]]
    return out


def _equals(expected: Any) -> Callable[[Any], bool]:
    return lambda answer: bool(answer == expected)


def _room(size: int) -> int:
    """Bytes that a value equal to one of `size` bytes may have: 1 is True, 1.0 and Fraction(1) too."""
    return 8 * size + 4096


def _call(target: ast.Call, func_name: str) -> bytes:
    method = target.func.attr if isinstance(target.func, ast.Attribute) else func_name
    try:
        if any(keyword.arg is None for keyword in target.keywords):
            raise ValueError("** arguments")
        args, kwargs = [_literal(a) for a in target.args], {str(k.arg): _literal(k.value) for k in target.keywords}
        return marshal.dumps(("Solution", method, "values", (args, kwargs)))
    except ValueError:  # arguments that the set-up code's helpers build, as list_node([1, 2])
        if any(_is_target(node) for node in ast.walk(target) if node is not target):
            raise ValueError("it calls the solution in the solution's arguments") from None
        call = ast.Call(func=ast.Name("_f", ast.Load()), args=target.args, keywords=target.keywords)
        return marshal.dumps(("Solution", method, "source", f"lambda _f: {ast.unparse(call)}"))


def _equality(target: ast.Call, other: ast.AST, func_name: str) -> Case:
    expected = _literal(other)
    exact = jail.encode_value(expected)
    if len(exact) > MAX_RESULT:
        raise ValueError(f"the expected value has more than {MAX_RESULT >> 20} MB")
    return Case(
        _call(target, func_name),
        "value",
        _equals(expected),
        exact if b"NaN" not in exact else None,  # equal to nothing; a text with these letters is compared as a value
        min(MAX_RESULT, _room(len(exact))),
    )


def _nodes(expression: ast.Call, target: ast.Call, func_name: str) -> Case:
    """is_same_list(call, list_node([...])) and is_same_tree(call, tree_node([...])), with None for an empty one."""
    kind, maker = ("list", "list_node") if ast.unparse(expression.func) == "is_same_list" else ("tree", "tree_node")
    (other,) = (arg for arg in expression.args if arg is not target)
    if isinstance(other, ast.Constant) and other.value is None:
        values = []
    elif isinstance(other, ast.Call) and ast.unparse(other.func) == maker and len(other.args) == 1:
        values = _literal(other.args[0])
    else:
        raise ValueError(f"the expected side is no {maker}([...])")
    expected = values if kind == "list" else _tree_preorder(values)
    room = min(MAX_RESULT, _room(len(jail.encode_value(expected))))
    return Case(_call(target, func_name), kind, _equals(expected), None, room)


def _case(text: str, func_name: str) -> Case:
    statement = ast.parse(text.strip()).body[0]
    if not isinstance(statement, ast.Assert):
        raise ValueError("it is no assert")
    expression = statement.test
    if isinstance(expression, ast.Compare) and len(expression.ops) == 1 and isinstance(expression.ops[0], ast.Eq):
        sides = [expression.left, expression.comparators[0]]
        for side, other in (sides, sides[::-1]):
            if _is_target(side) and isinstance(side, ast.Call) and not isinstance(other, ast.BinOp):
                return _equality(side, other, func_name)
    targets = [node for node in ast.walk(expression) if _is_target(node)]
    if len(targets) != 1:
        raise ValueError(f"it has {len(targets)} calls of the solution, not one")
    target = targets[0]
    assert isinstance(target, ast.Call)
    if isinstance(expression, ast.Call) and ast.unparse(expression.func) in ("is_same_list", "is_same_tree"):
        return _nodes(expression, target, func_name)
    check = _check(expression, target)
    return Case(_call(target, func_name), "value", lambda answer: bool(check(answer)), None, MAX_CHECKED, MAX_DIGITS)


@functools.lru_cache(256)
def check_setup(code: str) -> None:
    """Raises TestFormatError for set-up code that does not compile; most problems of a file share theirs."""
    try:
        compile(code, "<setup>", "exec", dont_inherit=True)
    except (*_MISFITS, SyntaxError) as error:
        raise TestFormatError(f"the setup_code does not compile ({error})") from None


def parse_tests(tests: Iterable[str], func_name: str) -> list[Case]:
    """Asserts -> cases; a whole `def check(candidate): ...` of LeetCodeDataset is taken too.

    Raises TestFormatError that names the assert which the oracle cannot judge.
    """
    cases = []
    for text in tests:
        try:
            lines = [text]
            if re.match(r"\s*def check\(candidate\)", text):
                body = ast.parse(text.strip()).body[0]
                assert isinstance(body, ast.FunctionDef)
                lines = [ast.unparse(line) for line in body.body if not isinstance(line, ast.Pass)]
            for text in lines:  # noqa: B020 (the message below names the line)
                cases.append(_case(text, func_name))
        except (*_MISFITS, SyntaxError, jail.NotPlain) as error:
            words = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
            raise TestFormatError(f"the oracle cannot judge this test ({words}): {text[:120]}") from None
    return cases
