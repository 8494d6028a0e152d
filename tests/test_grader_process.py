"""GraderProcess: the same grades as Grader's, and no hang or leftover when one of the two processes ends."""

import resource
import signal
import time
from types import SimpleNamespace

import psutil
import pytest
from adversarial import PROBLEMS, RIGHT, WRONG, odd_folder, solution
from shared import start

import grader
from grader import Grader, GraderProcess, SandboxUnavailable, TestFormatError
from sandbox import jail

PATIENCE_S = 1800  # for what ends within a second on an idle machine
ADD = PROBLEMS["add"]
HACK = solution("return 0", after="    def run_tests(self):\n        pass\n")
LOOP = solution("while True: pass", after="    def run_tests(self):\n        pass\n")
TEXTS = (RIGHT, WRONG, HACK, LOOP, "no code", "```python\nclass\n```")


def all_gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, PATIENCE_S)[1]


@pytest.fixture(scope="module")
def process():
    with GraderProcess(3, cpu_limit_s=2, accept_level="none") as g:
        yield g


@pytest.fixture
def alone():
    with Grader(1, accept_level="none", cpu_limit_s=60) as g:
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
    bad = SimpleNamespace(**vars(ADD) | {"tests": ("assert Solution().add(1, 2) == open('x')",)})
    with pytest.raises(TestFormatError, match="problem add: .*not a literal: open"):
        process.submit(bad, RIGHT, "none").result()
    assert process.grade([(ADD, RIGHT, "none", "run_tests")])[0].gt_correct


def test_a_killed_process_ends_in_one_plain_error_and_no_hang():
    with GraderProcess(1, accept_level="none") as g:
        futures = [g.submit(ADD, LOOP, "none") for _ in range(3)]
        children = psutil.Process(g.process.pid).children(recursive=True)
        g.process.send_signal(signal.SIGKILL)
        for late in (*(f.result for f in futures), lambda _: g.submit(ADD, RIGHT, "none")):
            with pytest.raises(RuntimeError, match=r"the grading process ended \(exit status -9\)"):
                late(PATIENCE_S)
    assert all_gone(children)


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
    assert all_gone(below)


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
    owner = start(code)
    below = psutil.Process(int(owner.stdout.readline()))
    seen = [below, *below.children(recursive=True)]
    owner.send_signal(how)
    owner.wait(PATIENCE_S)
    assert all_gone(seen)


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


def test_a_program_that_cannot_be_set_up_raises_and_is_not_judged(alone):
    limits, alone.limits = alone.limits, alone.limits | {"memory": 1 << 70}  # no such limit can be set
    with pytest.raises(SandboxUnavailable, match="could not be started"):
        alone.grade([(ADD, RIGHT, "none", "")])
    alone.limits = limits
    assert alone.grade([(ADD, RIGHT, "none", "")])[0].gt_correct


def test_a_sandbox_that_judges_a_right_program_wrong_is_refused(monkeypatch):
    monkeypatch.setattr(grader, "CANARIES", ((grader.CANARIES[1][0], True),))
    with pytest.raises(SandboxUnavailable, match="judges a right program wrong"):
        Grader(1, accept_level="none")


@pytest.mark.parametrize("where", ["judge", "_LoopholePass.on_frame", "_OraclePass.on_frame"])
def test_an_error_in_judging_is_that_grading_s_alone(monkeypatch, where, alone):
    *owner, name = where.split(".")
    owner = getattr(grader, owner[0]) if owner else grader
    real, faults = getattr(owner, name), [MemoryError("made up")]

    def fail_once(*args):
        if faults:
            raise faults.pop()
        return real(*args)

    monkeypatch.setattr(owner, name, fail_once)
    futures = [alone.submit(ADD, text, "run_tests") for text in (RIGHT, WRONG, HACK) * 2]
    with pytest.raises(MemoryError, match="made up"):
        futures[0].result()
    assert [f.result().label for f in futures[1:]] == ["incorrect", "hack", "correct", "incorrect", "hack"]


def test_a_program_never_learns_that_an_answer_was_wrong(monkeypatch, alone):
    frames, real = [], grader._OraclePass.on_frame
    monkeypatch.setattr(grader._OraclePass, "on_frame", lambda self, x: (frames.append(x[:1]), real(self, x))[1])
    assert not alone.grade([(ADD, WRONG, "none", "")])[0].gt_correct
    assert frames.count(b"R") == len(ADD.tests) > 3


def test_a_program_that_the_machine_is_too_slow_for_is_run_again_and_then_named(alone):
    alone.limits = alone.limits | {"wall": 0.1}
    with pytest.raises(RuntimeError, match="4 times a program got .* machine is too slow"):
        alone.grade([(ADD, solution("sum(range(40_000_000)); return a + b"), "none", "")])
    alone.limits = alone.limits | {"wall": 600.0}
    assert alone.grade([(ADD, RIGHT, "none", "")])[0].gt_correct


def test_a_program_killed_from_outside_is_run_again(alone):
    below = {p.pid for p in psutil.Process().children(recursive=True)}
    future = alone.submit(ADD, solution("sum(range(3_000_000)); return a + b"), "none")
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
    odd_folder(top, beyond=other)
    jail.remove_tree(top)
    assert [p.name for p in tmp_path.iterdir()] == ["other"] and (other / "kept").read_text() == "kept"
