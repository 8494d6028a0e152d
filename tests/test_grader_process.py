"""GraderProcess: the same grades as Grader's, and no hang or leftover when one of the two processes ends."""

import copy
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from adversarial import PROBLEMS

import grader
from grader import Grader, GraderProcess, SandboxUnavailable, TestFormatError
from sandbox import jail

HERE = Path(__file__).resolve().parent
PATIENCE_S = 300  # for what ends within a second on an idle machine


def _solution(body: str, more: str = "") -> str:
    return f"```python\nclass Solution:\n    def add(self, a, b):\n        {body}\n{more}```"


ADD = PROBLEMS["add"]
RIGHT, WRONG = _solution("return a + b"), _solution("return 0")
HACK = _solution("return 0", "    def run_tests(self):\n        pass\n")
LOOP = _solution("while True: pass", "    def run_tests(self):\n        pass\n")
TEXTS = (RIGHT, WRONG, HACK, LOOP, "no code", "```python\nclass\n```")


@pytest.fixture(scope="module")
def process():
    with GraderProcess(3, cpu_limit_s=2, accept_level="none") as g:
        yield g


def test_a_process_gives_the_same_grades_in_order_as_a_grader(process):
    items = [(ADD, text, "run_tests", "run_tests") for text in TEXTS]
    items.append((ADD, HACK, "none", "run_tests"))
    with Grader(3, cpu_limit_s=2, accept_level="none") as grader:
        assert grader.layers == process.layers and grader.workers == process.workers
        assert process.grade(items) == grader.grade(items)


def test_unknown_modes_bad_tests_and_a_missing_layer_raise_as_the_grader_does(process):
    with pytest.raises(SandboxUnavailable, match="missing landlock.*accept_level"):
        GraderProcess(1, without=("landlock",))
    with pytest.raises(ValueError, match="unknown mode 'nonsense'"):
        process.submit(ADD, RIGHT, "nonsense")
    bad = copy.copy(ADD)
    bad.tests = ("assert Solution().add(1, 2) == open('x')",)
    with pytest.raises(TestFormatError, match="problem add: .*not a literal: open"):
        process.submit(bad, RIGHT, "none").result()
    assert process.grade([(ADD, RIGHT, "none", "run_tests")])[0].gt_correct


def test_a_killed_process_ends_in_one_plain_error_and_no_hang():
    with GraderProcess(1, accept_level="none") as g:
        futures = [g.submit(ADD, LOOP, "none") for _ in range(3)]
        children = psutil.Process(g.process.pid).children(recursive=True)
        g.process.send_signal(signal.SIGKILL)
        for f in futures:
            with pytest.raises(RuntimeError, match=r"the grading process ended \(exit status -9\)"):
                f.result(PATIENCE_S)
        with pytest.raises(RuntimeError, match="the grading process ended"):
            g.submit(ADD, RIGHT, "none")
    _, alive = psutil.wait_procs(children, PATIENCE_S)
    assert not alive


def test_close_ends_what_waits_and_leaves_no_process():
    g = GraderProcess(1, accept_level="none")
    futures = [g.submit(ADD, LOOP, "none") for _ in range(2)]
    while len(below := psutil.Process(g.process.pid).children(recursive=True)) < 3:  # supervisor, zygote, program
        time.sleep(0.01)
    g.close()
    g.close()
    for f in futures:
        with pytest.raises(RuntimeError, match="closed"):
            f.result(1)
    assert g.process.returncode == 0
    _, alive = psutil.wait_procs(below, PATIENCE_S)
    assert not alive


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_process_ends_with_its_owner(how):
    code = """
import sys, time, adversarial
from grader import GraderProcess
g = GraderProcess(1, accept_level="none")
g.submit(adversarial.PROBLEMS["add"], "```python\\nwhile True: pass\\n```", "none")
print(g.process.pid, flush=True)
time.sleep(10**6)
"""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env)
    below = psutil.Process(int(owner.stdout.readline()))
    seen = [below, *below.children(recursive=True)]
    owner.send_signal(how)
    owner.wait(PATIENCE_S)
    _, alive = psutil.wait_procs(seen, PATIENCE_S)
    assert not alive


@pytest.mark.parametrize("name, flag", [("CPU", "-t"), ("AS", "-v"), ("FSIZE", "-f"), ("NOFILE", "-n"), ("NPROC", "-u"),
                                        ("STACK", "-s")])  # fmt: skip
def test_a_hard_limit_below_a_program_s_is_named_at_the_start(monkeypatch, name, flag):
    real, number = resource.getrlimit, getattr(resource, f"RLIMIT_{name}")
    monkeypatch.setattr(resource, "getrlimit", lambda n: (8, 8) if n == number else real(n))
    with pytest.raises(SandboxUnavailable, match=rf"hard limit RLIMIT_{name} .*ulimit {flag}.* is 8"):
        Grader(1)


def test_too_few_descriptors_for_the_workers_are_named_at_the_start():
    with pytest.raises(SandboxUnavailable, match="100000 sandboxes need .* use fewer workers"):
        Grader(100_000)


def test_a_program_that_cannot_be_set_up_raises_and_is_not_judged():
    with Grader(1, accept_level="none") as g:
        g.limits = {**g.limits, "memory": 1 << 70}  # no such limit can be set
        with pytest.raises(SandboxUnavailable, match="could not be started"):
            g.grade([(ADD, RIGHT, "none", "")])
        g.limits = {**g.limits, "memory": 1 << 30}
        assert g.grade([(ADD, RIGHT, "none", ""), (ADD, WRONG, "none", "")])[0].gt_correct


def test_a_sandbox_that_judges_a_right_program_wrong_is_refused(monkeypatch):
    monkeypatch.setattr(grader, "CANARIES", ((grader.CANARIES[1][0], True),))
    with pytest.raises(SandboxUnavailable, match="judges a right program wrong"):
        Grader(1, accept_level="none")


@pytest.mark.parametrize("where", ["judge", "_LoopholePass.on_frame", "_OraclePass.on_frame"])
def test_an_error_in_judging_is_that_grading_s_alone(monkeypatch, where):
    owner, _, name = where.rpartition(".")
    owner = getattr(grader, owner) if owner else grader
    real, bad = getattr(owner, name), []
    with Grader(1, accept_level="none") as g:

        def fail_once(*args):
            if not bad:
                bad.append(args)
                raise MemoryError("made up")
            return real(*args)

        monkeypatch.setattr(owner, name, fail_once)
        texts = (RIGHT, WRONG, HACK, RIGHT, WRONG, HACK)
        futures = [g.submit(ADD, text, "run_tests") for text in texts]
        with pytest.raises(MemoryError, match="made up"):
            futures[0].result()
        assert [f.result().label for f in futures[1:]] == ["incorrect", "hack", "correct", "incorrect", "hack"]


def test_a_program_never_learns_that_an_answer_was_wrong(monkeypatch):
    frames, real = [], grader._OraclePass.on_frame
    monkeypatch.setattr(
        grader._OraclePass, "on_frame", lambda self, frame: (frames.append(frame[:1]), real(self, frame))
    )
    with Grader(1, accept_level="none") as g:
        frames.clear()
        assert not g.grade([(ADD, WRONG, "none", "")])[0].gt_correct
    assert frames.count(b"R") == len(ADD.tests) > 3


def test_a_program_that_the_machine_is_too_slow_for_is_run_again_and_then_named():
    burn = _solution("sum(range(40_000_000)); return a + b")
    with Grader(1, accept_level="none", cpu_limit_s=60, wall_limit_s=0.1) as g:
        with pytest.raises(RuntimeError, match="4 times a program got .* machine is too slow"):
            g.grade([(ADD, burn, "none", "")])
        g.limits = {**g.limits, "wall": 600.0}
        assert g.grade([(ADD, RIGHT, "none", "")])[0].gt_correct


def test_a_program_killed_from_outside_is_run_again():
    with Grader(1, accept_level="none", cpu_limit_s=60) as g:
        below = {p.pid for p in psutil.Process().children(recursive=True)}
        future = g.submit(ADD, _solution("sum(range(3_000_000)); return a + b"), "none")
        killed = False
        while not killed and not future.done():
            for child in psutil.Process().children(recursive=True):
                if child.pid not in below:
                    child.kill()
                    killed = True
        assert killed and future.result().gt_correct


def test_a_folder_of_any_shape_is_removed_and_nothing_beyond_it(tmp_path):
    top, other = tmp_path / "top", tmp_path / "other"
    top.mkdir()
    other.mkdir()
    (other / "kept").write_text("kept")
    here = os.open(top, os.O_RDONLY)
    for depth in range(40):  # far beyond PATH_MAX
        os.mkfifo("fifo", dir_fd=here)
        os.symlink(other, "link", dir_fd=here)
        os.symlink(".", os.fsencode("odd \udcff\n'"), dir_fd=here)
        os.mkdir("d" * 200, dir_fd=here)
        os.mkdir(f"closed{depth}", 0, dir_fd=here)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    for i in range(3000):
        os.close(os.open(f"file{i}", os.O_CREAT, 0, dir_fd=here))
    os.close(here)
    jail.remove_tree(top)
    assert [p.name for p in tmp_path.iterdir()] == ["other"] and (other / "kept").read_text() == "kept"
