"""Speed of grader.py beside a plain subprocess, and what each layer costs.

    just bench-grader                       # or: python -m bench.grader [--n 300] [--problems FILE] [--floor 100]

A program is one forked process: set-up code, a completion that defines the method and answers wrongly, the first calls.
A rollout is a whole grade (oracle and loophole pass). Per-core figures divide by the CPU time of harness, sandboxes and
programs together, so that a busy machine changes them less than wall time; both are printed. Best of --repeat.
"""

import contextlib
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import tyro

from command import errors
from command.flags import Checked
from grader import Grader, Zygote
from tasks.problems import Problem, load_problems

LAYERS = ("landlock", "ns")  # a grader runs without one of these, where that is accepted


@dataclass(frozen=True)
class Config(Checked):
    """Speed of the grader and cost of its layers."""

    n: int = 100  # programs per measurement
    repeat: int = 5  # measurements, the best one counts
    problems: str = "data/problems.jsonl"  # as tasks/problems.py reads it; the benchmark has ~100 asserts each
    rollouts: int = 256  # whole rollouts of the last measurement
    loops: float = 0.08  # share of them that loop for ever, in one more measurement
    floor: float = 0.0  # exit 1 below this many programs/s a core with all layers on
    accept_level: str | None = None  # as for grader.py, on a system that lacks layers


def _cpu_seconds() -> float:
    """CPU time of this process and all below it, ended ones too."""
    me = psutil.Process()
    total = sum(me.cpu_times()[:4])
    for child in me.children(recursive=True):
        total += sum(child.cpu_times()[:4])
    return total


def _measure(work, repeat: int) -> tuple[float, float]:
    """Best (CPU seconds, wall seconds) of `work()`."""
    results = []
    for _ in range(repeat):
        cpu, wall = _cpu_seconds(), time.perf_counter()
        work()
        results.append((_cpu_seconds() - cpu, time.perf_counter() - wall))
    return min(results)


def _wrong(problem: Problem) -> str:
    body = f"    def {problem.func_name}(self, *args, **kwargs):\n        return None if args is None else ...\n"
    return f"```python\nclass Solution:\n{body}```"


def _loop(problem: Problem) -> str:
    method = f"    def {problem.func_name}(self, *args, **kwargs):\n        while True: pass\n"
    return f"```python\nclass Solution:\n{method}    def run_tests(self): self.{problem.func_name}()\n```"


def _plain(problem: Problem, flags: list[str]) -> None:
    """What a plain evaluator does: one interpreter a program, exit status as the verdict."""
    code = _wrong(problem)[len("```python\n") : -3]
    text = "\n".join([problem.setup_code, code, *problem.tests])
    subprocess.run([sys.executable, *flags, "-c", text], capture_output=True)


def whole_rollouts(cfg: Config, problems: list[Problem]) -> None:
    """Half reference solutions, half wrong ones with an own evaluator, over all problems; then with loops."""
    right = [(p, f"```python\n{p.reference}\n```", "run_tests", "run_tests") for p in problems if p.reference]
    wrong = [(p, f"{_wrong(p)[:-3]}    def run_tests(self): pass\n```", "run_tests", "run_tests") for p in problems]
    rollouts = [(right if i % 2 else wrong)[(i // 2) % len(right)] for i in range(cfg.rollouts)]
    every = round(1 / cfg.loops) if cfg.loops else cfg.rollouts + 1
    loops = [(p, _loop(p), mode, name) for p, _, mode, name in rollouts[every - 1 :: every]]
    looping = [loops[i // every] if i % every == every - 1 else rollout for i, rollout in enumerate(rollouts)]
    with Grader(1, accept_level=cfg.accept_level) as grader:
        grader.grade(wrong)  # parses the tests, as the first rollout of a group does
        each = sorted(_measure(lambda item=item: grader.grade([item] * 4), 1)[0] / 4 for item in right)
        hacks, _ = _measure(lambda: grader.grade(wrong), 1)
    with Grader(accept_level=cfg.accept_level) as grader:
        grader.grade(wrong)
        tests = sum(len(grader.cases(p)) for p in problems) / len(problems)
        cpu, wall = _measure(lambda: grader.grade(rollouts), 1)
        loop_cpu, loop_wall = _measure(lambda: grader.grade(looping), 1)
    median = each[len(each) // 2]
    print(f"whole rollouts, {tests:.0f} asserts a problem on average:")
    print(f"  wrong with an own evaluator: {len(wrong) / hacks:.0f} rollouts/s a core")
    print(f"  right, the median problem: {1 / median:.0f} rollouts/s a core ({1000 * median:.0f} ms)")
    print(f"  {cfg.rollouts}, half of them right: {wall:.1f} s on {grader.workers} workers, {cpu:.1f} CPU s")
    print(f"  {len(loops)} of them loops: {loop_wall:.1f} s, {loop_cpu:.1f} CPU s")


def main(cfg: Config) -> None:
    problems = load_problems(cfg.problems)
    problem = problems[0]
    rows: list[tuple[str, float, float]] = []  # name, CPU ms a program, wall ms a program

    few = max(5, cfg.n // 20)
    for name, flags in (("subprocess python -c", []), ("subprocess python -I -S -c", ["-I", "-S"])):
        cpu, wall = _measure(lambda flags=flags: [_plain(problem, flags) for _ in range(few)], cfg.repeat)
        rows.append((name, 1000 * cpu / few, 1000 * wall / few))

    sets = [("zygote, all layers", ()), *((f"zygote, all without {layer}", (layer,)) for layer in LAYERS)]
    items = [(problem, _wrong(problem), "none", "run_tests")] * cfg.n
    best = {name: (float("inf"), float("inf")) for name, _ in sets}
    with contextlib.ExitStack() as stack:
        graders = {
            name: stack.enter_context(Grader(1, without=off, accept_level="none" if off else cfg.accept_level))
            for name, off in sets
        }
        for _ in range(cfg.repeat):  # in turn, so that what else the machine does hits all of them alike
            for name, grader in graders.items():
                grader.grade(items[:10])
                cpu, wall = _measure(lambda grader=grader: grader.grade(items), 1)
                best[name] = min(best[name], (1000 * cpu / cfg.n, 1000 * wall / cfg.n))
        layers = graders["zygote, all layers"].layers
    rows += [(name, cpu, wall) for name, (cpu, wall) in best.items()]

    base = rows[0][1]
    full = next(cpu for name, cpu, _ in rows if name == "zygote, all layers")
    print(f"{'way':<32}{'CPU ms':>8}{'wall ms':>9}{'programs/s a core':>19}{'ratio':>8}{'layer ms':>10}")
    for name, cpu, wall in rows:
        cost = f"{full - cpu:+10.2f}" if "without" in name else f"{'':>10}"
        print(f"{name:<32}{cpu:>8.2f}{wall:>9.2f}{1000 / cpu:>19.0f}{base / cpu:>8.1f}{cost}")

    start_cpu, start_wall = _measure(lambda: Zygote().close(), 1)
    print(f"start of a sandbox: {1000 * start_wall:.0f} ms wall ({1000 * start_cpu:.0f} ms CPU of the harness)")

    whole_rollouts(cfg, problems)
    print(f"problems: {Path(cfg.problems).name}; layers: {layers}")
    speed = 1000 / full
    if speed < cfg.floor:
        raise SystemExit(f"{speed:.0f} programs/s a core with all layers on: below --floor {cfg.floor:.0f}")


if __name__ == "__main__":
    with errors.plain_errors():
        main(tyro.cli(Config, description=__doc__))
