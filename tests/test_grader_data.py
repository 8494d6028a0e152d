"""grader.py on real data: reference solutions are right, and a real teacher pool is graded as its makers graded it."""

import ast
import glob
import gzip
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from shared import BENCHMARK, DATASET, POOL, needs_shared

from sandbox.answers import extract_code
from tasks.problems import load_problems

# Rows of LeetCodeDataset v0.2.0 that are themselves wrong: the reference returns a permutation of what the test lists.
WRONG_ROWS = {"wrong answer": {"word-ladder-ii"}}


def _failing(grader, problems) -> dict[str, str]:
    grades = grader.grade((p, f"```python\n{p.reference}\n```", "none", "run_tests") for p in problems)
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
    failing = {names.get(i, i): error for i, error in _failing(grader, problems).items()}
    assert len(problems) == 1890
    assert set(failing) == WRONG_ROWS["wrong answer"], failing
    assert all("wrong answer" in error for error in failing.values())


@pytest.fixture(scope="module")
def pool(grader):
    """(cached row, problem or a stand-in without tests, Grade) for each rollout of the shared teacher pool."""
    dataset = load_problems(DATASET, difficulties=("easy", "medium", "hard"))
    by_text = {p.question.strip(): p for p in dataset}
    rows, items = [], []
    for path in sorted(glob.glob(str(POOL / "*.jsonl.gz"))):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                user = row["problem_messages"][1]["content"]
                text = user[len("PROBLEM:\n") : user.index("\n\nYour solution to the problem")].strip()
                name = re.search(r"class Solution called (\w+)", user)
                assert name
                stand_in = SimpleNamespace(
                    id=row["problem_id"], func_name=name[1], tests=(), setup_code=dataset[0].setup_code
                )
                rows.append(row)
                items.append((by_text.get(text, stand_in), row["completion"], "run_tests", "run_tests"))
    return list(zip(rows, [item[0] for item in items], grader.grade(items)))


@needs_shared
def test_pool_rollouts_cached_as_right_are_right(pool):
    cached = [(row, g) for row, problem, g in pool if row["gt_pass"] and problem.tests]
    refused = {(row["problem_id"], g.error.split(": ", 1)[1]) for row, g in cached if not g.gt_correct}
    assert len(cached) - sum(not g.gt_correct for _, g in cached) >= 0.98 * len(cached)
    # all of one problem: v0.2.0 calls its parameters start, end, bank and the pool's version startGene, endGene, bank
    assert {number for number, _ in refused} <= {433}
    assert all("unexpected keyword argument 'start'" in error for _, error in refused)


def _over_stub(code: str, method: str) -> str:
    """The response's own evaluator beside the benchmark's arbitrary solution (every call returns 0)."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return code
    owner, found = None, None
    for node in tree.body:
        for inner in [node, *(node.body if isinstance(node, ast.ClassDef) else [])]:
            if isinstance(inner, ast.FunctionDef) and inner.name == "run_tests":
                owner, found = node is not inner, inner
    stub = f"class Solution:\n    def {method}(self, *args, **kwargs):\n        return 0\n"
    if found is None:
        return stub
    text = ast.unparse(found)
    return stub + "\n".join(f"    {line}" if owner else line for line in text.splitlines())


@needs_shared
def test_every_disagreement_with_the_pool_is_the_sources_stub(grader, pool):
    """The source's flag says: the response's evaluator passes over a stub solution. With that, 904 of 904 agree."""
    items = []
    for row, problem, _ in pool:
        code = _over_stub(extract_code(row["completion"]), problem.func_name)
        items.append((problem, f"```python\n{code}\n```", "run_tests", "run_tests"))
    stubbed = grader.grade(items)
    assert [r["problem_id"] for (r, _, _), g in zip(pool, stubbed) if g.loose_hacked != r["hacked"]] == []
    differ = [(row, g) for row, _, g in pool if row["reward"] != g.reward]
    by_stub = [(row, g) for row, g in differ if row["hacked"] != g.loose_hacked]
    # one more: the source saw it pass tests that this data set does not hold
    assert len(differ) - len(by_stub) <= 1 and len(differ) <= 0.03 * len(pool)
    assert sum(row["hacked"] != g.loose_hacked for row, _, g in pool) <= 0.03 * len(pool)
