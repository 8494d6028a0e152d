"""Run directories, written by train.py: found, read and resumed."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import datetime
import fcntl
import functools
import hashlib
import io
import json
import os
import pickle
import re
import socket
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from loguru import logger

from command import files


def read_log(path: str | Path, fields: Sequence[str] = ()) -> Iterator[dict]:
    """Rows of a log of a run, which may still be written; ValueError where one lacks a field."""
    for n, row in files.read_jsonl(path, growing=True):
        if lacks := [k for k in fields if k not in row]:
            raise ValueError(f"{path}, line {n}: no field {lacks[0]!r}; put the file back, or delete the run")
        yield row


# ------------------------------------------------------------------------------------------------- a run's own config


@functools.cache
def default_config() -> dict[str, Any]:
    """{flag: default} of train.py, read off its source: importing it would load torch for a table of runs."""
    tree = ast.parse((files.ROOT / "train.py").read_text(encoding="utf-8"))
    (config,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Config")
    fields = [n for n in config.body if isinstance(n, ast.AnnAssign)]
    return {n.target.id: ast.literal_eval(n.value) for n in fields if isinstance(n.target, ast.Name) and n.value}


def read_config(run: str | Path) -> dict:
    """RUN/config.json; in its `config` a flag that the run's version did not have reads as its default, so that a flag
    added later makes no older run differ.

    FileNotFoundError: no run directory. ValueError: no config of a run in it.
    """
    path = files.find(run) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not a run directory (train.py writes out/runs/<utc>_<name>/)")
    meta = files.read_json(path)
    config = meta.get("config")
    if not isinstance(config, dict) or not isinstance(meta.get("inputs") or {}, dict):
        raise ValueError(f"{path}: no config of a run in it; it was cut or edited: put it back, or delete the run")
    for flag in ("arm", "seed", "steps"):
        if flag in config and type(config[flag]) is not type(default_config()[flag]):
            raise ValueError(f"{path}: {flag} is {config[flag]!r}; it was edited: put it back, or delete the run")
    return meta | {"config": default_config() | config}


RUNS = Path("out")  # where run directories lie, one to three folders down


def run_dirs(root: Path = RUNS) -> list[Path]:
    """Run directories in root, root/runs, root/*/runs (out/runs) or root/*/*/runs (of a study, a demo); oldest first:
    names begin with the UTC start. FileNotFoundError where there is none."""
    root = files.find(root)
    places = [root, *(p for deep in ("runs", "*/runs", "*/*/runs") for p in root.glob(deep))]
    every = {path.parent for place in places for path in place.glob("*/config.json")}
    found = [d for d in every if re.match(r"\d{8}T\d{6}", d.name)]  # <utc>_<name>: models have a config.json too
    if not found:
        raise FileNotFoundError(f"no run under {root}: none has been made yet (try `just smoke-projected`)")
    return sorted(found, key=lambda d: d.name)


def find_run(name: str, root: Path = RUNS) -> Path:
    """A run directory by its path, by a folder that holds no other, by a unique part of its name, or `last`."""
    path = files.find(name)
    if (path / "config.json").is_file():
        return path
    if path.is_dir():
        inside = run_dirs(path)
        if len(inside) == 1:
            return inside[0]
        raise FileNotFoundError(f"{path} is no run directory: it holds no config.json and {len(inside)} runs, not one")
    try:
        found = run_dirs(root)
    except FileNotFoundError as e:
        raise FileNotFoundError(f"no run directory called {name!r}: {e}") from None
    if name == "last":
        found = found[-1:]
    else:
        found = [p for p in found if p.name == name] or [p for p in found if name in p.name]
    if len(found) == 1:
        return found[0]
    if not found:
        raise FileNotFoundError(f"no run directory called {name!r} under {root}: `just results` lists them")
    raise ValueError(f"{name!r} fits {len(found)} runs ({', '.join(p.name for p in found[:6])}, ...): give more of it")


# Flags that --resume may change, since no result depends on them beyond the order in which a GPU sums.
MAY_CHANGE = ("ckpt_every", "log_with", "grader_workers", "grader_level", "memory_gb")


def same_inputs(run: str | Path, stored: dict[str, str], now: dict[str, str], paths: dict[str, str]) -> None:
    """ValueError naming the input whose hash is not the one that the run was started with."""
    for name, old in stored.items():
        if now.get(name) != old:
            raise ValueError(
                f"--resume {run}: {name} {paths.get(name, '')} has changed since the run began (hash {old} then, "
                f"{now.get(name, 'none: it is gone')} now): put it back, or start a new run"
            )


CHECKPOINT = 2  # format of checkpoint/state.pt
KEEP_BYTES = 256e6  # a finished run keeps a checkpoint of at most so many, for `--resume RUN --steps N`
LOGS = ("rows.jsonl", "evals.jsonl", "rollouts.jsonl")


class Run:
    """One run directory: rows, rollouts, evaluations, checkpoint, log, BLUF. Only the main process writes, and holds
    the directory's lock while it does."""

    def __init__(self, main: bool, out_dir: str, name: str, resume: str | None = None):
        self.main = main
        if resume:
            self.dir = files.find(resume)
        else:
            stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
            self.dir = Path(out_dir) / f"{stamp}_{name}"
            if main:
                if self.dir.exists():
                    raise FileExistsError(
                        f"run directory {self.dir} exists: choose another --name or continue it with --resume"
                    )
                self.dir.mkdir(parents=True)
        self.should: list[dict] = []
        self.rows: list[dict] = []
        self.evals: list[dict] = []
        self.sample = ""
        self.started = time.time()
        self.written = {log: (0, hashlib.sha256()) for log in LOGS}  # bytes, and their digest
        self.lock = self._only_writer() if main else None
        for tmp in self.dir.rglob(".*.tmp") if main else ():  # what a kill left of a file
            tmp.unlink(missing_ok=True)

    def _only_writer(self) -> io.TextIOWrapper:
        """The open file RUN/lock with this process's OS lock, which the kernel frees however the process ends.

        ValueError naming the process that holds it, or that held it on another host, whose processes nobody here sees.
        """
        path = self.dir / "lock"
        while True:
            file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (stays open as long as the run)
            file.seek(0)
            pid, _, host = file.read().strip().partition(" ")
            who = f"process {pid or '?'} on {host or 'this host'}"
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise ValueError(
                    f"{self.dir}: {who} is writing this run; wait for it to end, or end it with `kill {pid}`"
                ) from None
            except OSError as e:
                logger.warning("{}: no lock to be had here ({}): nothing keeps a second process out", path, e.strerror)
            if host and host != socket.gethostname():
                file.close()
                raise ValueError(f"{self.dir}: {who} may be writing this run; if it has ended, delete {path}")
            if os.fstat(file.fileno()).st_nlink:  # else its holder ended, and took it away, while this process waited
                break
        file.truncate(0)
        file.write(f"{os.getpid()} {socket.gethostname()}\n")
        file.flush()
        return file

    def close(self) -> None:
        """Let another process write here."""
        if self.lock:
            (self.dir / "lock").unlink(missing_ok=True)
            self.lock.close()
            self.lock = None

    def settle(self, identities: dict[str, str], unseen_modes: list[str], cfg) -> None:
        """Add to config.json the hashes of what no path names, which a resumed run must find as they were, the modes
        that the teacher never shows, and the flags that its --resume changed."""
        meta = files.read_json(self.dir / "config.json")
        before = json.dumps(meta)
        inputs = meta.setdefault("inputs", {})
        same_inputs(self.dir, {k: v for k, v in inputs.items() if k in identities}, identities, {})
        inputs |= identities
        meta["unseen_modes"] = unseen_modes
        if cfg.resume:
            meta["config"] = dataclasses.asdict(cfg) | {"resume": None}
        if json.dumps(meta, default=str) != before:
            files.write_json(self.dir / "config.json", meta)

    def append(self, name: str, rows: list[dict]) -> None:
        if self.main and rows:
            data = "".join(json.dumps(r, ensure_ascii=True) + "\n" for r in rows).encode()
            try:
                with open(self.dir / name, "ab") as f:
                    f.write(data)
            except OSError as e:
                raise OSError(e.errno, e.strerror, str(self.dir / name)) from None
            size, digest = self.written[name]
            digest.update(data)
            self.written[name] = (size + len(data), digest)

    def check(self, name: str, ok: bool, otherwise: str) -> None:
        """A SHOULD line: a predicate that a healthy run satisfies, with what is broken otherwise."""
        self.should = [s for s in self.should if s["name"] != name] + [
            {"name": name, "ok": bool(ok), "else": otherwise}
        ]

    @property
    def checkpoint(self) -> Path:
        return self.dir / "checkpoint" / "state.pt"

    def save_checkpoint(self, state: dict) -> None:
        """Write the state, with how long each log is and its digest: the run resumes from these bytes or not at all."""
        import torch  # here, since results and plots need this module and not torch's start-up time

        if self.main:
            logs = {log: [size, digest.hexdigest()] for log, (size, digest) in self.written.items()}
            try:
                with files.atomic_path(self.checkpoint) as tmp:
                    torch.save(state | {"format": CHECKPOINT, "logs": logs}, tmp)
            finally:
                self._drop_empty()

    def load_checkpoint(self) -> dict | None:
        """The checkpoint, None where there is none; ValueError naming what does not fit: it, or a log cut or edited."""
        import torch

        path = self.checkpoint
        if not path.exists():
            return None
        mend = f"put it back, or delete {path}: the run then starts over from its first step"
        try:
            with zipfile.ZipFile(path) as parts:
                if bad := parts.testzip():
                    raise zipfile.BadZipFile(f"checksum of {bad}")
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, pickle.UnpicklingError, EOFError, LookupError) as e:
            why = (str(e).splitlines() or [type(e).__name__])[0]
            raise ValueError(f"{path}: cut, or not a checkpoint ({why}): {mend}") from None
        if not isinstance(state, dict) or state.get("format") != CHECKPOINT:
            found = state.get("format", "none") if isinstance(state, dict) else "none"
            raise ValueError(
                f"{path}: format {found}, this version of train.py reads {CHECKPOINT}: check out the commit in "
                f"{self.dir / 'config.json'}, or delete it: the run then starts over from its first step"
            )
        for log, (size, digest) in state["logs"].items():
            h, left = hashlib.sha256(), size
            with open(self.dir / log, "rb") if (self.dir / log).exists() else io.BytesIO() as file:
                while left and (part := file.read(min(left, 1 << 20))):
                    h.update(part)
                    left -= len(part)
            if left or h.hexdigest() != digest:
                raise ValueError(
                    f"{self.dir / log}: not what it was at the checkpoint of step {state['step']} (its first {size} "
                    f"bytes were cut, edited, or are another run's): {mend}"
                )
            self.written[log] = (size, h)
        return state

    def drop_checkpoint(self) -> None:
        """A finished run keeps a small checkpoint, from which --steps extends it; moments of full weights go."""
        if self.main and self.checkpoint.exists() and self.checkpoint.stat().st_size > KEEP_BYTES:
            self.checkpoint.unlink()
            self._drop_empty()

    def _drop_empty(self) -> None:
        with contextlib.suppress(OSError):  # it is not empty, or not there
            self.checkpoint.parent.rmdir()

    def rewind(self) -> None:
        """Cut the logs back to the checkpoint that was loaded, or to nothing; what came later is made again."""
        for log, (size, _) in self.written.items():
            path = self.dir / log
            if path.exists():
                if log != "rollouts.jsonl":
                    kept = [json.loads(line) for line in path.read_bytes()[:size].splitlines()]
                    self.rows, self.evals = (kept, self.evals) if log == "rows.jsonl" else (self.rows, kept)
                if self.main:
                    os.truncate(path, size)
        for ended in ("bluf.json", "bluf.txt") if self.main else ():  # the run goes on
            (self.dir / ended).unlink(missing_ok=True)
