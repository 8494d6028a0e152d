"""Run the cells of a study here, or hand them to a queue: the same command lines either way."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import tyro
from loguru import logger

from command import files, flags
from study import pueue, slurm
from study.arms import load_study
from study.registered import RULE
from study.runner import Runner, Todo, make, prepare, troubled_cells, visible_gpus
from study.spec import Cell, Spec, plan
from study.verdict import futility
from study.words import wait_words

TRAIN = (sys.executable, "train.py")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Cells(flags.Checked):
    """Which cells of a study, and where they run."""

    file: tyro.conf.Positional[Path]  # the study, e.g. studies/screen-organism.toml
    arms: tuple[str, ...] = ()  # only these arms (labels as --dry-run shows them)
    seeds: int | None = None  # at most this many seeds an arm; with --arms, this many for every one of them
    only_seeds: tuple[int, ...] = ()  # of those only these: two calls can share a study, one on a CPU, one on a GPU
    device: str | None = None  # cpu or cuda, passed on to train.py; None: the preset's own
    out: Path | None = None  # folder of the study; None: out/studies/<its name>
    model: str | None = None  # of every run and of what is prepared, a folder or hub name; None: the study's own
    problems: str | None = None  # file to train on, a tenth of it held out (problems.parts); None: the study's own

    def read(self) -> tuple[Spec, list[Cell], Path]:
        """(study, cells, folder); ValueError where no cell is asked for."""
        spec = Spec.read(self.file).on(self.model, self.problems)
        cells = [c for c in plan(spec, self.arms, self.seeds) if not self.only_seeds or c.seed in self.only_seeds]
        if not cells:
            raise ValueError(f"--only-seeds {self.only_seeds}: study {spec.name} has no such seed, see --dry-run")
        return spec, cells, (self.out or files.ROOT / "out" / "studies" / spec.name).resolve()


@dataclass(frozen=True)
class RunFlags(Cells):
    """Flags of `run`."""

    jobs: int = CORES  # processes side by side, one thread each; on a GPU they share it
    gpus: int | None = None  # with --device cuda, so many of the GPUs in sight take the runs in turn; None: all
    time_limit_s: float | None = None  # stop, resumable, after this many seconds
    stop_for_futility: bool = False  # after 4 pairs leave out a treatment, and its controls, with Delta above -5 pp
    rerun_invalid: bool = False  # run cells again that ended invalid (same seed; for after the fault is mended)
    dry_run: bool = False  # print what would run


@dataclass(frozen=True)
class QueueFlags(Cells):
    """Flags of `queue`; QUEUE in the environment says where to: pueue, slurm, or local, which runs the cells here."""

    group: str = "projected_grpo"  # pueue group
    parallel: int = 1  # cells at a time, in a new group of pueue or in SLURM's array


@contextmanager
def stoppable(runner: Runner, time_limit_s: float | None) -> Iterator[None]:
    """Within it SIGTERM, SIGINT and the time limit stop the runner, which leaves every cell resumable."""
    handlers = {s: signal.signal(s, lambda *_: runner.stop()) for s in (signal.SIGTERM, signal.SIGINT)}
    timer = threading.Timer(time_limit_s, runner.stop) if time_limit_s else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer:
            timer.cancel()
        for s, handler in handlers.items():
            signal.signal(s, handler)


def without_futile(out: Path, late: Todo) -> Todo:
    """Of the cells that follow the look after four seeds, those of treatments that are not futile."""
    study = load_study(out)
    for t, controls in study.controls.items():
        futile, words = futility(study, t)
        logger.info(f"futility look: {words}")
        if futile:
            late = [(c, half) for c, half in late if c.label not in (t, *controls)]
    return late


def run(cfg: RunFlags) -> int:
    """Run arms x seeds, resuming what is half done and skipping what is finished; exit code 0 when all are there."""
    spec, cells, out = cfg.read()
    runner = Runner(out, TRAIN, cfg.jobs, cfg.device, cfg.rerun_invalid)
    todo = runner.todo(cells)
    half, done = sum(h is not None for _, h in todo), len(cells) - len(todo)
    logger.info(f"study {spec.name}: {len(cells)} cells, {done} done, {half} to resume, {cfg.jobs} at a time -> {out}")
    if cfg.dry_run:
        for _, command in prepare(spec):
            print("prepare:", shlex.join(command))
        for cell, h in todo:
            print(shlex.join(runner.command(cell, h)))
        return 0
    spec.write(out)
    names = visible_gpus(cfg.device, cfg.gpus)  # here: a dry run need not wait for torch, nor be where the GPUs are
    if todo:
        make(spec)
    t0, first = time.monotonic(), spec.seeds[: RULE.futility_seeds if cfg.stop_for_futility else None]
    early, late = [t for t in todo if t[0].seed in first], [t for t in todo if t[0].seed not in first]
    with stoppable(runner, cfg.time_limit_s):
        runner.run(early, names)
        if cfg.stop_for_futility and (late := without_futile(out, late)) and not runner.stopping:
            runner.run(late, names)
    left = len(runner.todo(cells))
    words = "stopped, resumable" if runner.stopping else "done"
    logger.info(
        f"study {spec.name} {words} after {wait_words(time.monotonic() - t0)}: "
        f"{len(cells) - left}/{len(cells)} cells finished, "
        f"{len(runner.failed)} failed {runner.failed or ''}, {len(runner.invalid)} invalid {runner.invalid or ''}"
    )
    for name, how in troubled_cells(out).items():
        logger.warning(f"{name} {how}")
    if not cfg.stop_for_futility:
        for t in spec.controls:
            logger.info(f"look after {RULE.futility_seeds} seeds: {futility(load_study(out), t)[1]}")
    return (130 if runner.stopping else 1) if left and not cfg.stop_for_futility else 0


def queue(cfg: QueueFlags) -> int:
    """Add the cells that are still to run to pueue, write them down for SLURM, or run them here, as QUEUE says."""
    where = os.environ.get("QUEUE", "pueue")
    if where == "local":
        return run(RunFlags(**{f.name: getattr(cfg, f.name) for f in fields(Cells)}, jobs=cfg.parallel))
    if where not in ("pueue", "slurm"):
        raise ValueError(f"QUEUE={where}: choose pueue (the default), slurm or local")
    spec, cells, out = cfg.read()
    runner = Runner(out, TRAIN, cfg.parallel, cfg.device)
    if where == "slurm":
        print(slurm.write(spec, runner, runner.todo(cells), cfg.file))
    else:
        pueue.submit(spec, runner, runner.todo(cells), cfg.group)
    return 0
