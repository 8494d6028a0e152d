"""How a script ends: in one line where the input or the machine is at fault, with its traceback where we are."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import signal
import sys

from loguru import logger

# Errors of a disk that takes no more, and exceptions that mean "the input or the machine", not "our code": they end in
# one line, without a traceback.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
PLAIN = (ValueError, FloatingPointError, MemoryError)


def plain_message(e: BaseException) -> str:
    """The one line a user reads for an expected failure."""
    if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"disk full while writing {e.filename or 'the run'}: free space, then start again with --resume"
    if isinstance(e, OSError) and e.filename and e.strerror:
        return f"{e.filename}: {e.strerror}"
    if out_of_memory(e):
        first = (str(e) or "no room for what was asked").splitlines()[0]
        return f"out of memory ({first}): lower --prompts-per-step, --group, --max-new-tokens or --tokens-per-micro"
    return str(e)


def out_of_memory(e: BaseException) -> bool:
    """Python's MemoryError, or torch's of a GPU or of the CPU, which is a RuntimeError without a class of its own."""
    return (
        isinstance(e, MemoryError)
        or isinstance(e, RuntimeError)
        and (type(e).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(e))
    )


def is_plain(e: BaseException) -> bool:
    """Whether e tells of the user's input or machine: it names a file or a flag, or there is no space or memory."""
    if isinstance(e, OSError):
        ours = e.errno is None and type(e) in (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError)
        return ours or e.errno in DISK or bool(e.filename and e.strerror)
    return isinstance(e, PLAIN) or out_of_memory(e)


class _Heard(io.FileIO):
    """A standard stream that outlives its reader: what `| head` no longer reads is dropped, the program goes on."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def _bear_any_terminal() -> None:
    """Let no letter that the terminal lacks and no closed pipe end a program: stdout and stderr escape and drop."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream is getattr(sys, f"__{name}__"):
            stream.flush()
            raw = io.BufferedWriter(_Heard(stream.fileno(), "w", closefd=False))
            live = {"line_buffering": name == "stderr" or stream.line_buffering, "write_through": stream.write_through}
            setattr(sys, name, io.TextIOWrapper(raw, stream.encoding, "backslashreplace", **live))
            if name == "stderr":
                logger.remove()
                logger.add(sys.stderr)


def tell(text: str) -> None:
    """Print the end of finished work: nothing about where it is printed may turn it into an error."""
    if sys.stdout is None:
        return
    letters = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(letters, "backslashreplace").decode(letters), flush=True)
    except OSError:  # a closed pipe, a full disk: the rest goes nowhere, so that the exit status stays the work's
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


PARENT = "PROJECTED_GRPO_PARENT"  # process that a script ends with, see child_env


def child_env() -> dict[str, str]:
    """Environment of a script that is to end with this process, however this one ends."""
    return {PARENT: str(os.getpid())}


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the runner that started this script dies, by SIGKILL too (Linux)."""
    parent = os.environ.pop(PARENT, "")  # not handed on: a script's own children end with the script
    if parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != int(parent):  # it was gone before
            raise SystemExit(143)


@contextlib.contextmanager
def plain_errors():
    """Around a script: an expected failure becomes `ERROR: message` on stderr and exit status 1; real bugs keep their
    traceback. The script bears any terminal, logs plain lines, and ends with the runner that started it."""
    _bear_any_terminal()
    logger.remove()
    logger.add(lambda line: sys.stderr.write(line), format="{level.name[0]} {message}")  # what stderr is at that moment
    if os.environ.get("NO_COLOR"):  # rich and loguru read it themselves
        getattr(sys.modules.get("tyro"), "_experimental_options", {})["ansi_codes"] = False
    _end_with_parent()
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as e:  # re-raised unless expected
        if not is_plain(e):
            raise
        print(f"ERROR: {plain_message(e)}", file=sys.stderr)
        raise SystemExit(1) from None
