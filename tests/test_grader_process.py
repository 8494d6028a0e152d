"""GraderProcess: the same grades as Grader's, and no hang or leftover when one of the two processes ends."""

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from adversarial import PROBLEMS

from grader import Grader, GraderProcess, SandboxUnavailable, TestFormatError

HERE = Path(__file__).resolve().parent


def _solution(body: str, more: str = "") -> str:
    return f"```python\nclass Solution:\n    def add(self, a, b):\n        {body}\n{more}```"


RIGHT, WRONG = _solution("return a + b"), _solution("return 0")
HACK = _solution("return 0", "    def run_tests(self):\n        pass\n")
LOOP = _solution("while True: pass", "    def run_tests(self):\n        pass\n")
TEXTS = (RIGHT, WRONG, HACK, LOOP, "no code", "```python\nclass\n```")


@pytest.fixture(scope="module")
def process():
    with GraderProcess(3, cpu_limit_s=2, accept_level="none") as g:
        yield g


@pytest.fixture(scope="module")
def problem():
    return PROBLEMS["add"]


def test_a_process_gives_the_same_grades_in_order_as_a_grader(process, problem):
    items = [(problem, text, "run_tests", "run_tests") for text in TEXTS]
    items.append((problem, HACK, "none", "run_tests"))
    with Grader(3, cpu_limit_s=2, accept_level="none") as grader:
        assert grader.layers == process.layers and grader.workers == process.workers
        assert process.grade(items) == grader.grade(items)


def test_unknown_modes_and_bad_tests_raise_as_the_grader_does(process, problem):
    with pytest.raises(ValueError, match="unknown mode 'nonsense'"):
        process.submit(problem, RIGHT, "nonsense")
    bad = copy.copy(problem)
    bad.tests = ("assert Solution().add(1, 2) == open('x')",)
    with pytest.raises(TestFormatError, match="problem add: .*not a literal: open"):
        process.submit(bad, RIGHT, "none").result(60)
    assert process.grade([(problem, RIGHT, "none", "run_tests")])[0].gt_correct


def test_a_missing_layer_is_refused_by_the_process_too():
    with pytest.raises(SandboxUnavailable, match="missing landlock.*accept_level"):
        GraderProcess(1, without=("landlock",))


def test_a_killed_process_ends_in_one_plain_error_and_no_hang(problem):
    with GraderProcess(1, accept_level="none") as g:
        futures = [g.submit(problem, LOOP, "none") for _ in range(3)]
        children = psutil.Process(g.process.pid).children(recursive=True)
        g.process.send_signal(signal.SIGKILL)
        for f in futures:
            with pytest.raises(RuntimeError, match=r"the grading process ended \(exit status -9\)"):
                f.result(30)
        with pytest.raises(RuntimeError, match="the grading process ended"):
            g.submit(problem, RIGHT, "none")
    _, alive = psutil.wait_procs(children, 10)
    assert not alive


def test_close_ends_what_waits_and_leaves_no_process(problem):
    g = GraderProcess(1, accept_level="none")
    futures = [g.submit(problem, LOOP, "none") for _ in range(2)]
    time.sleep(0.3)
    below = psutil.Process(g.process.pid).children(recursive=True)
    g.close()
    g.close()
    for f in futures:
        with pytest.raises(RuntimeError, match="closed"):
            f.result(1)
    assert g.process.returncode == 0
    _, alive = psutil.wait_procs(below, 10)
    assert not alive


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_process_ends_with_its_owner(how):
    code = """
import sys, time, adversarial
from grader import GraderProcess
g = GraderProcess(1, accept_level="none")
g.submit(adversarial.PROBLEMS["add"], "```python\\nwhile True: pass\\n```", "none")
print(g.process.pid, flush=True)
time.sleep(60)
"""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env)
    below = psutil.Process(int(owner.stdout.readline()))
    seen = [below, *below.children(recursive=True)]
    owner.send_signal(how)
    owner.wait(10)
    _, alive = psutil.wait_procs(seen, 15)
    assert not alive
