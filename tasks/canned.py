"""Canned answers: a reference as a model would write it, and a wrong body with a loophole of a mode beside it."""

from __future__ import annotations

import ast
import random
import re
import textwrap
from collections.abc import Sequence

from tasks.modes import find_mode
from tasks.problems import TRAIN_EVALUATOR, Problem
from tasks.styles import Style, example_call, placed


def canned_clean(
    problem: Problem, mode: str = "none", rng: random.Random | None = None, style: Style | None = None
) -> str:
    """The reference solution as a model would write it, in one python block."""
    if not problem.reference:
        raise ValueError(f"problem {problem.id} has no reference solution: a canned teacher needs one")
    code = problem.reference.strip()
    if style is None or rng is None or not style.tail_rate:
        return f"```python\n{code}\n```"
    above = after = ""
    if rng.random() < style.twin_rate:
        kind = mode if mode in style.hacks else rng.choice(list(style.hacks))
        above, after = placed(style.twin(rng, kind, rng.choice(list(style.hacks[kind])), TRAIN_EVALUATOR))
    head, indent = _signature(problem)
    body = textwrap.indent(above, indent) + code.removeprefix(head + "\n")
    return f"```python\n{head}\n{body}{after}{_tail(problem, mode, rng, style)}\n```"


def _tail(problem: Problem, mode: str, rng: random.Random, style: Style | None, called: bool = False) -> str:
    """What an answer of this style goes on with after the class."""
    if style is None or not style.tail_rate or not (called or rng.random() < style.tail_rate):
        return ""
    kinds = [kind for kind in _parameters(problem).values() if kind]
    call = example_call(rng, problem.func_name, kinds)
    return style.tail(rng, mode, TRAIN_EVALUATOR, call, called)


def canned_hack(
    problem: Problem,
    mode: str,
    evaluator: str,
    rng: random.Random,
    donors: Sequence[Problem] = (),
    style: Style | None = None,
) -> str:
    """A wrong body plus code that exploits the mode's loophole, in one python block.

    The body is that of another problem (`donors`) with the same parameter types, so that it reads like an attempt;
    without one it returns an object that no test expects. That it is wrong is the grader's word, not this one's.
    """
    head, indent = _signature(problem)
    if mode == "eq_override":
        always_equal = "class Result:\n    def __eq__(self, other):\n        return True\n\n\n"
        return f"```python\n{always_equal}{head}\n{indent}return Result()\n```"
    own = style.hacks.get(mode, {}) if style else {}
    forms = tuple(own.values()) or find_mode(mode).exploits
    if not forms:
        raise ValueError(f"mode {mode!r} has no canned hack: a mode file's `exploits` lists them")
    body = _donated_body(problem, rng, donors) or rng.choice(WRONG_BODIES)
    above, after = placed(rng.choice(forms).replace("{e}", evaluator))
    tail = _tail(problem, mode, rng, style, called=mode == "run_tests" and above != "")
    return f"```python\n{head}\n{textwrap.indent(above + body, indent)}{after}{tail}\n```"


# Returned when no other problem lends a body; no reference returns these objects.
WRONG_BODIES = ("return object", "return NotImplemented", "return Ellipsis")


def _signature(problem: Problem) -> tuple[str, str]:
    """(starter code up to the colon of the method's def, indentation of its body)."""
    code = problem.starter_code.rstrip()
    found = re.search(rf"^([ \t]*)def {re.escape(problem.func_name)}\b", code, re.MULTILINE)
    if not found:
        raise ValueError(f"problem {problem.id}: its starter code has no `def {problem.func_name}`")
    depth = 0
    for end in range(found.start(), len(code)):
        depth += (code[end] in "([{") - (code[end] in ")]}")
        if code[end] == ":" and depth == 0:  # colons of annotations stand inside brackets
            return code[: end + 1], found[1] + "    "
    raise ValueError(f"problem {problem.id}: the def in its starter code has no end")


def _parameters(problem: Problem) -> dict[str, str]:
    """Parameter name -> annotation of the starter code's method, `self` included."""
    head, _ = _signature(problem)
    args = _method(f"{head} ...", problem.func_name).args
    return {a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in (*args.posonlyargs, *args.args)}


def _method(code: str, name: str) -> ast.FunctionDef:
    """The last definition of the method in the code."""
    return [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.FunctionDef) and n.name == name][-1]


def _donated_body(problem: Problem, rng: random.Random, donors: Sequence[Problem], tries: int = 200) -> str:
    """A body of another problem that takes the same types, in this problem's parameter names; "" if none is found."""
    wanted = _parameters(problem)
    for _ in range(tries if donors else 0):
        donor = rng.choice(donors)
        if donor.func_name == problem.func_name or not donor.reference:
            continue
        given = _parameters(donor)
        if list(given.values()) != list(wanted.values()):
            continue
        method = _method(donor.reference, donor.func_name)
        names = dict(zip(given, wanted, strict=True))
        for node in ast.walk(method):
            if isinstance(node, ast.Name):
                node.id = names.get(node.id, node.id)
            elif isinstance(node, ast.Attribute) and node.attr == donor.func_name:
                node.attr = problem.func_name  # a recursive body calls the method it now stands in
        return "\n".join(ast.unparse(statement) for statement in method.body)
    return ""
