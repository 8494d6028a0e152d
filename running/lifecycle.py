"""A run from its config to its tail: the grader opened and closed, every ending told, SIGTERM heard."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
import traceback
from collections.abc import Callable, Iterator

from loguru import logger

import runs
from command import errors, files, log, trackers
from running import beside


@contextlib.contextmanager
def stopped_by_sigterm() -> Iterator[dict[str, bool]]:
    """Inside, SIGTERM sets `asked`; before `stepping` there is nothing to keep, and it ends the run at once."""
    stop = {"asked": False, "stepping": False}

    def heard(*_) -> None:
        stop["asked"] = True
        if not stop["stepping"]:  # an extraction or a step-0 evaluation can take minutes
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, heard)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, previous)


def carry_out(cfg, run: runs.Run, acc, inputs: dict, open_grader: Callable, work: Callable[..., str]) -> int:
    """work(grader) -> 'finished' or 'stopped'; the same tail is left however it ends. Returns the exit status."""
    if acc.is_main_process:
        logger.add(run.dir / "log.txt", format="{time:YYYY-MM-DD HH:mm:ss} {level} {name}:{line} {message}")
    else:
        logger.remove()
    status, error, grader = "crashed", "", None
    try:
        grader = open_grader()
        if acc.is_main_process and not cfg.resume:
            versions = {m: __import__(m).__version__ for m in ("torch", "transformers")}
            meta = {"config": dataclasses.asdict(cfg), "argv": sys.argv, "git_commit": files.git_commit()}
            meta |= {"inputs": inputs, "grader_layers": grader.layers, "versions": versions}
            files.write_json(run.dir / "config.json", meta)
        trackers.start(cfg, run, acc)
        status = work(grader)
    except KeyboardInterrupt:
        status, error = "stopped", "interrupted"
    except Exception as e:
        error = f"{type(e).__name__}: {errors.plain_message(e)}"
        if not errors.is_plain(e):
            logger.error("{}", traceback.format_exc())
    finally:
        if grader is not None:
            grader.close()
    text, ok = log.bluf(run, cfg, status, error, grader.layers if grader else "not started", inputs)
    if acc.is_main_process and (run.dir / "config.json").exists():
        end = "valid" if ok else {"finished": "void"}.get(status, status)
        text = "\n".join([text, *beside.closing(run, cfg, sys.argv, end)])
    if acc.is_main_process:
        with contextlib.suppress(OSError) if error else contextlib.nullcontext():  # a full disk must not hide the tail
            log.write_tail(run, cfg, text, ok, status, error)
    if status == "finished":
        run.drop_checkpoint()
    if acc.trackers:
        trackers.told(acc.end_training)
    if acc.is_main_process:
        errors.tell(text)
    if ok or status == "stopped" and not error:
        return 0
    return 130 if error == "interrupted" else 3 if status == "finished" else 1
