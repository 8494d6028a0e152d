"""grader.py on real data: reference solutions are right, and a real teacher pool is graded as its makers graded it."""

import ast
import gzip
import json
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from types import SimpleNamespace

import pytest
from shared import BENCHMARK, DATASET, POOL, needs_shared

from sandbox.answers import extract_code
from tasks.pools import load_pool
from tasks.problems import load_problems

# Rows of LeetCodeDataset v0.2.0 that are themselves wrong: the reference returns a permutation of what the test lists.
WRONG_ROWS = {"word-ladder-ii"}


def _failing(grader, problems, cap: bool = False) -> dict[str, str]:
    """cap: each has the grader's limit, as a problem without reference has; else the limit that it has in a run."""
    asked = [replace(p, reference="") if cap else p for p in problems]
    grades = grader.grade((q, f"```python\n{p.reference}\n```", "none", "") for p, q in zip(problems, asked))
    return {str(p.id): g.error for p, g in zip(problems, grades) if not g.gt_correct}


@needs_shared
def test_every_reference_of_the_benchmark_is_right_with_a_core_kept_busy(grader):
    problems = load_problems(BENCHMARK)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        failing = _failing(grader, problems)
        busy.kill()
    assert len(problems) == 80 and failing == {}


@needs_shared
def test_every_reference_of_leetcodedataset_is_right_but_the_wrong_rows(grader):
    problems = load_problems(DATASET, difficulties=("easy", "medium", "hard"))
    with gzip.open(DATASET, "rt", encoding="utf-8") as file:
        names = {str(row["meta"]["question_id"]): row["task_id"] for row in map(json.loads, file)}
    failing = {names.get(i, i): error for i, error in _failing(grader, problems, cap=True).items()}
    assert len(problems) == 1890 and set(failing) == WRONG_ROWS, failing
    assert all("wrong answer" in error for error in failing.values())


@pytest.fixture(scope="module")
def pool(grader):
    """(cached row, problem or a stand-in without tests, Grade) for each rollout of the shared teacher pool."""
    dataset = load_problems(DATASET, difficulties=("easy", "medium", "hard"))
    by_text = {p.question.strip(): p for p in dataset}
    rows, problems = [row for prompt in load_pool(POOL) for row in prompt.rows], []
    for row in rows:
        user = row["problem_messages"][1]["content"]
        text = user[len("PROBLEM:\n") : user.index("\n\nYour solution to the problem")].strip()
        name = re.search(r"class Solution called (\w+)", user)[1]
        stand_in = SimpleNamespace(id=row["problem_id"], func_name=name, tests=(), setup_code=dataset[0].setup_code)
        problems.append(by_text.get(text, stand_in))
    items = [(p, row["completion"], "run_tests", "run_tests") for p, row in zip(problems, rows)]
    return list(zip(rows, problems, grader.grade(items)))


@needs_shared
def test_pool_rollouts_cached_as_right_are_right(pool):
    cached = [(row, g) for row, problem, g in pool if row["gt_pass"] and problem.tests]
    refused = [(row, g) for row, g in cached if not g.gt_correct]
    assert len(refused) <= 0.02 * len(cached)
    # all of one problem: v0.2.0 calls its parameters start, end, bank and the pool's version startGene, endGene, bank
    assert {row["problem_id"] for row, _ in refused} <= {433}
    assert all("unexpected keyword argument 'start'" in g.error for _, g in refused)


def _over_stub(code: str, method: str) -> str:
    """The response's own evaluator beside the benchmark's arbitrary solution (every call returns 0)."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return code
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    defined = [(owner, node) for owner in (tree, *classes) for node in owner.body if isinstance(node, ast.FunctionDef)]
    found = [(owner, node) for owner, node in defined if node.name == "run_tests"]
    stub = f"class Solution:\n    def {method}(self, *args, **kwargs):\n        return 0\n"
    if not found:
        return stub
    owner, evaluator = found[-1]
    return stub + textwrap.indent(ast.unparse(evaluator), "" if owner is tree else "    ")


@needs_shared
def test_every_disagreement_with_the_pool_is_the_sources_stub(grader, pool):
    """The source's flag says: the response's evaluator passes over a stub solution. With that, 904 of 904 agree."""
    codes = [_over_stub(extract_code(row["completion"]), problem.func_name) for row, problem, _ in pool]
    items = [(p, f"```python\n{code}\n```", "run_tests", "run_tests") for (_, p, _), code in zip(pool, codes)]
    stubbed = grader.grade(items)
    assert [r["problem_id"] for (r, _, _), g in zip(pool, stubbed) if g.loose_hacked != r["hacked"]] == []
    differ = [row["hacked"] != g.loose_hacked for row, _, g in pool if row["reward"] != g.reward]
    # one more: the source saw it pass tests that this data set does not hold
    assert differ.count(False) <= 1 and len(differ) <= 0.03 * len(pool)
    assert sum(row["hacked"] != g.loose_hacked for row, _, g in pool) <= 0.03 * len(pool)
