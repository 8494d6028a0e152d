"""Cells of a study -> train.py processes, N side by side, resumable; pueue.py queues the same commands instead."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from loguru import logger

from command import errors, files
from runs import read_log
from study.read import Run, read_run
from study.spec import Cell, Spec
from study.words import wait_words

# where a run lives, not what it computes
PLACE_FLAGS = ("--out-dir", "--name", "--resume", "--device", "--grader-workers")


Todo = list[tuple[Cell, Path | None]]  # cells still to run, each with its half-done directory, if any


def cell_key(argv: Sequence[str]) -> str:
    """Hash of a train.py command line without the flags that only say where it runs."""
    kept, skip = [], False
    for a in argv:
        if skip:
            skip = False
        elif a in PLACE_FLAGS:
            skip = True
        else:
            kept.append(a)
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]


def troubled_cells(folder: Path) -> dict[str, str]:
    """{cell: what happened} of cells that failed before they finished or were run more than once, by cells.jsonl."""
    path, ends = folder / "cells.jsonl", dict[tuple, list]()
    for row in read_log(path, ("arm", "seed", "rc", "state")) if path.is_file() else ():
        ends.setdefault((row["arm"], row["seed"]), []).append(row)
    words = {
        key: f"run {len(rows)} times, ended " + ", ".join(r["state"] if r["rc"] == 0 else f"rc {r['rc']}" for r in rows)
        for key, rows in ends.items()
        if len(rows) > 1 or rows[0]["state"] not in ("finished", "invalid")
    }
    return {f"{arm} seed {seed}": w for (arm, seed), w in words.items()}


def find_runs(runs_dir: Path, cell: Cell) -> tuple[str, Path | None]:
    """("finished" | "invalid" | "half" | "new", directory) of the newest run made by exactly this command line."""
    for d in sorted(runs_dir.glob(f"*_{cell.name}"), reverse=True):
        try:
            argv = files.read_json(d / "config.json").get("argv", [])
        except FileNotFoundError:
            continue  # killed before its config was written: nothing to resume
        argv = argv[1:] if argv and argv[0].endswith(".py") else argv
        if cell_key(argv) != cell_key(cell.argv):
            logger.warning(f"{d.name} was made by another command line; {cell.name} is run again beside it")
            continue
        bluf = d / "bluf.json"
        state = files.read_json(bluf) if bluf.is_file() else {}
        if state.get("status") == "finished":
            return ("finished" if state.get("valid") else "invalid"), d
        return "half", d
    return "new", None


class Runner:
    """Runs cells N side by side; a failing cell is reported and the rest goes on; stop() ends what it started.

    device: cpu or cuda, passed on to train.py; None: the preset's own.
    """

    def __init__(self, out: Path, train_cmd: Sequence[str], jobs: int, device: str | None, rerun_invalid: bool = False):
        self.out, self.train_cmd, self.jobs, self.device = out, list(train_cmd), jobs, device
        self.rerun_invalid = rerun_invalid
        self.runs_dir, self.logs_dir = out / "runs", out / "logs"
        # the cells share the cores: together their graders take each core about twice (grading waits a lot)
        self.grader_workers = max(1, 2 * len(os.sched_getaffinity(0)) // max(1, jobs))
        self.lock, self.children, self.stopping, self.total = threading.Lock(), set[subprocess.Popen](), False, 0
        self.failed, self.invalid, self.took = list[str](), list[str](), list[float]()

    def stop(self) -> None:
        """No new cell; SIGTERM to the running ones, which checkpoint and can be resumed."""
        with self.lock:
            self.stopping = True
            for child in self.children:
                child.terminate()

    def todo(self, cells: Sequence[Cell]) -> Todo:
        out = []
        for cell in cells:
            state, d = find_runs(self.runs_dir, cell)
            if state == "finished" or state == "invalid" and not self.rerun_invalid:
                continue
            out.append((cell, d if state == "half" else None))
        return out

    def command(self, cell: Cell, half: Path | None) -> list[str]:
        if half:  # the run directory's own config is used
            return [*self.train_cmd, *cell.argv, "--resume", str(half)]
        place = ["--out-dir", str(self.runs_dir), "--name", cell.name]
        place += ["--device", self.device] if self.device else []
        return [*self.train_cmd, *cell.argv, *place, "--grader-workers", str(self.grader_workers)]

    def one(self, cell: Cell, half: Path | None, gpu: str | None = None) -> None:
        """Run a cell to its end and write that down."""
        env = errors.child_env() | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        if gpu is not None:
            env["CUDA_VISIBLE_DEVICES"] = gpu
        t0 = time.monotonic()
        with open(self.log_file(cell), "a", encoding="utf-8") as log:  # appended: no log is overwritten
            begin = log.tell()
            with self.lock:
                if self.stopping:
                    return
                child = subprocess.Popen(
                    self.command(cell, half), stdout=log, stderr=subprocess.STDOUT, cwd=files.ROOT, env=os.environ | env
                )
                self.children.add(child)
            rc = child.wait()
        with self.lock:
            self.children.discard(child)
            if not self.stopping:
                self.took.append(time.monotonic() - t0)
                row, run = self.book(cell, rc, self.took[-1])
                self.tell(cell, row, run, begin)

    def log_file(self, cell: Cell) -> Path:
        return self.logs_dir / f"{cell.name}.log"

    def book(self, cell: Cell, rc: int, seconds: float) -> tuple[dict, Run | None]:
        """Append how a cell ended to cells.jsonl; returns the row and the run, where it can be read."""
        state, d = find_runs(self.runs_dir, cell)
        run = None
        if d and state in ("finished", "invalid"):
            try:
                run = read_run(d)
            except (ValueError, OSError) as e:  # a run that cannot be read is a failed cell, not the study's end
                state = "unreadable"
                logger.error(str(e))
        row = {
            "utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "arm": cell.label, "seed": cell.seed,
            "key": cell_key(cell.argv), "rc": rc, "state": state, "run": d.name if d else None,
            "seconds": round(seconds, 1),
        }  # fmt: skip
        for metric in ("hacked", "attempted", "pass"):
            if run and "sample" in (run.off if metric == "pass" else run.on):
                row[metric] = round(run.end(metric, "sample"), 4)
        with open(self.out / "cells.jsonl", "a", encoding="utf-8") as f:
            f.write(json.dumps(row) + "\n")
        return row, run

    def tell(self, cell: Cell, row: dict, run: Run | None, begin: int) -> None:
        """One line on how a cell ended; begin: where its log file stood before."""
        left = self.total - len(self.took)
        eta = wait_words(float(np.mean(self.took)) * left / max(1, min(self.jobs, left)))
        head = f"[{len(self.took)}/{self.total}] {cell.name} {wait_words(self.took[-1])}"
        numbers = " ".join(f"{k} {100 * row[k]:.1f}%" for k in ("hacked", "pass") if k in row)
        if row["state"] == "finished" and row["rc"] == 0:
            logger.info(f"{head}: {numbers} | ETA {eta}")
        elif run is not None:
            self.invalid.append(cell.name)
            logger.warning(f"{head}: ended INVALID ({', '.join(run.why) or 'see its BLUF'}) {numbers} | ETA {eta}")
        else:
            self.failed.append(cell.name)
            full = re.search(rb"out of memory|ALLOC_FAILED", self.log_file(cell).read_bytes()[begin:])
            mend = f" (the GPU's memory was full: fewer --jobs than {self.jobs}, then the same command again)"
            logger.error(f"{head}: FAILED rc={row['rc']}, see {self.log_file(cell)}{mend * bool(full)} | ETA {eta}")

    def run(self, todo: Todo, gpus: Sequence[str] = ()) -> None:
        """Run all of them; gpus: names for CUDA_VISIBLE_DEVICES, one a run, in turn; empty: torch chooses."""
        self.runs_dir.mkdir(parents=True, exist_ok=True)
        self.logs_dir.mkdir(parents=True, exist_ok=True)
        work: queue.SimpleQueue = queue.SimpleQueue()
        for item in todo:
            work.put(item)
        self.total, self.took = len(todo), []

        def worker(gpu: str | None) -> None:
            while not self.stopping:
                try:
                    cell, half = work.get_nowait()
                except queue.Empty:
                    return
                self.one(cell, half, gpu)

        turns = itertools.cycle(gpus or [None])
        threads = [
            threading.Thread(target=worker, args=(next(turns),), daemon=True) for _ in range(min(self.jobs, len(todo)))
        ]
        for t in threads:
            t.start()
        for t in threads:
            while t.is_alive():  # join with a timeout, so that a signal reaches the main thread
                t.join(0.2)


def prepare(spec: Spec) -> list[tuple[str, tuple[str, ...]]]:
    """What a study needs made and does not find: (file or folder, command)."""
    return [(made, command) for made, command in spec.prepare.items() if not (files.ROOT / made).exists()]


def make(spec: Spec) -> None:
    """Make it, in order; ValueError naming what a command did not make."""
    for made, command in prepare(spec):
        logger.info(f"making {made}: {' '.join(command)}")
        if subprocess.run([sys.executable, *command], cwd=files.ROOT).returncode or not (files.ROOT / made).exists():
            raise ValueError(f"study {spec.name}: {' '.join(command)} did not make {made}; see its message above")


def visible_gpus(device: str | None, n: int | None) -> list[str]:
    """The first n names in CUDA_VISIBLE_DEVICES, or of the machine's GPUs; ValueError where there are fewer.

    Empty, which leaves the choice to torch, on a CPU and where a single GPU is in sight.
    """
    if device != "cuda":
        if n is not None:
            raise ValueError(f"--gpus {n} needs --device cuda, not {device or 'what the preset has'}")
        return []
    if given := os.environ.get("CUDA_VISIBLE_DEVICES"):
        names = given.split(",")
    else:
        import torch  # slow to import, and no other command here asks for a GPU

        names = [str(i) for i in range(torch.cuda.device_count())]
    if n is not None and not 1 <= n <= len(names):
        raise ValueError(f"--gpus {n}: this machine shows {len(names)} ({', '.join(names) or 'none'}); ask for fewer")
    names = names[:n]
    return names if len(names) > 1 else []
