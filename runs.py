"""Run directories, their archives, and what every script needs around one: atomic files, hashes, plain messages."""

from __future__ import annotations

import ast
import contextlib
import ctypes
import datetime
import errno
import fcntl
import functools
import gzip
import hashlib
import io
import json
import lzma
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import types
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Union, get_args, get_origin

from loguru import logger

ROOT = Path(__file__).resolve().parent
UMASK = os.umask(0o077)
os.umask(UMASK)


def find(path: str | Path) -> Path:
    """An input as the user names it: a relative path counts from the working directory, else from the repository."""
    path = Path(path)
    return path if path.is_absolute() or path.exists() or not (ROOT / path).exists() else ROOT / path


def git_commit() -> str:
    """Short commit of this checkout, + where the tree differs; an exported copy reads PROJECTED_GRPO_COMMIT."""

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *args], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=10", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return os.environ.get("PROJECTED_GRPO_COMMIT", "unknown")


def content_hash(path: str | Path) -> str:
    """sha256 (16 hex digits) of a file, or of the sorted names and contents of a folder."""
    path = find(path)
    h = hashlib.sha256()
    for f in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if f.is_file():
            h.update(f.name.encode())
            h.update(f.read_bytes())
    return h.hexdigest()[:16]


@contextlib.contextmanager
def atomic_path(path: str | Path):
    """Yield a sibling temporary path that becomes `path` when the block ends well: a file is whole or absent.

    OSError naming `path` where the disk does not take it, whatever the writing library calls that.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield tmp
        tmp.chmod(0o666 & ~UMASK)  # safetensors leaves a file that only its owner reads
        os.replace(tmp, path)
    except Exception as e:
        if refused := _refused_by_disk(tmp, e):
            raise OSError(refused.errno, refused.strerror, str(path)) from e
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.truncate(tmp, 0)  # torch may hold it open still, and its space with it
            tmp.unlink()


def _refused_by_disk(tmp: Path, error: Exception) -> OSError | None:
    """The file system's own error behind one of writing tmp; torch does not tell it, safetensors in a sentence."""
    if told := re.search(r"\(os error (\d+)\)", str(error)):
        return OSError(int(told[1]), os.strerror(int(told[1])))
    try:
        with open(tmp, "ab") as f:
            f.write(bytes(65536))
    except OSError as e:
        return e if e.errno in DISK else None
    return None


def check_writable(flag: str, path: str | Path) -> None:
    """Raise before long work what writing `path` after it would raise; ValueError names the flag."""
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        probe.touch()
        probe.unlink()
    except OSError as e:
        raise ValueError(f"{flag} {path}: cannot be written ({e.strerror}); name another file") from e


def write_json(path: str | Path, data: object) -> None:
    with atomic_path(path) as tmp:
        tmp.write_text(json.dumps(data, indent=1, default=str), encoding="utf-8")


def lone_surrogate(data: object) -> str:
    r"""The first half of a surrogate pair in JSON-like data, as \udXXX ("" without any): no UTF-8 file can hold one."""
    found = re.search("[\ud800-\udfff]", json.dumps(data, ensure_ascii=False, default=str))
    return f"\\u{ord(found[0]):x}" if found else ""


def read_jsonl(path: str | Path, growing: bool = False) -> Iterator[tuple[int, dict]]:
    """(line number, object) of every non-blank line of a JSONL file, plain or gzip (told by its first bytes).

    Lines end at \\n alone, so any text survives; a byte order mark at the start is skipped. growing: a last line
    without its end is being written, or was torn by a kill, and is left out with a warning. Raises FileNotFoundError,
    or ValueError that names file and line for what is no UTF-8, no JSON, no object, or holds a lone surrogate.
    """
    path = find(path)
    if not path.exists() or path.is_dir():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"file {path} {what}")
    n = 0
    with path.open("rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        try:
            for n, line in enumerate(gzip.GzipFile(fileobj=raw) if packed else raw, 1):  # noqa: B007
                line = line.removeprefix(b"\xef\xbb\xbf") if n == 1 else line
                if not line.strip():
                    continue
                where = f"{path}, line {n}"
                try:
                    row = json.loads(line.decode("utf-8"))
                except (ValueError, RecursionError) as e:
                    if growing and not line.endswith(b"\n"):
                        logger.warning("{}: torn last line left out", where)
                        return
                    raise ValueError(f"{where}: not a JSON row ({e}); mend or remove this row") from None
                if not isinstance(row, dict):
                    raise ValueError(f"{where}: a row must be a JSON object, not {type(row).__name__}; mend it")
                if b"\\u" in line and (bad := lone_surrogate(row)):
                    raise ValueError(f"{where}: lone surrogate {bad} in the text; mend or remove this row")
                yield n, row
        except (EOFError, zlib.error, gzip.BadGzipFile) as e:
            raise ValueError(f"{path}: broken gzip file after line {n} ({e}); fetch it again") from None


def read_log(path: str | Path, fields: Sequence[str] = ()) -> Iterator[dict]:
    """Rows of a log of a run, which may still be written; ValueError where one lacks a field."""
    for n, row in read_jsonl(path, growing=True):
        if lacks := [k for k in fields if k not in row]:
            raise ValueError(f"{path}, line {n}: no field {lacks[0]!r}; put the file back, or delete the run")
        yield row


def read_json(path: str | Path) -> dict:
    """The object in a JSON file; ValueError naming the file where it holds anything else."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as e:  # of the decoder or of the encoding
        raise ValueError(f"{path}: not JSON ({e}); it was cut or edited: put it back, or delete the run") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: holds a {type(found).__name__}, not a JSON object: put it back, or delete the run")
    return found


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
    return isinstance(e, MemoryError) or isinstance(e, RuntimeError) and (
        type(e).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(e)
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
    traceback. The script bears any terminal, and ends with the runner that started it."""
    _bear_any_terminal()
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


# ------------------------------------------------------------------------------------------------- a run's own config


@functools.cache
def default_config() -> dict[str, Any]:
    """{flag: default} of train.py, read off its source: importing it would load torch for a table of runs."""
    tree = ast.parse((ROOT / "train.py").read_text(encoding="utf-8"))
    (config,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Config")
    return {n.target.id: ast.literal_eval(n.value) for n in config.body if isinstance(n, ast.AnnAssign)}


def read_config(run: str | Path) -> dict:
    """RUN/config.json; in its `config` a flag that the run's version did not have reads as its default, so that a flag
    added later makes no older run differ.

    FileNotFoundError: no run directory. ValueError: no config of a run in it.
    """
    path = find(run) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not a run directory (train.py writes out/runs/<utc>_<name>/)")
    meta = read_json(path)
    config = meta.get("config")
    if not isinstance(config, dict):
        raise ValueError(f"{path}: no config of a run in it; it was cut or edited: put it back, or delete the run")
    for flag in ("arm", "seed", "steps"):
        if flag in config and type(config[flag]) is not type(default_config()[flag]):
            raise ValueError(f"{path}: {flag} is {config[flag]!r}; it was edited: put it back, or delete the run")
    return meta | {"config": default_config() | config}


RUNS = Path("out")  # where run directories lie, one to three folders down


def run_dirs(root: Path = RUNS) -> list[Path]:
    """Run directories in root, root/runs, root/*/runs (out/runs) or root/*/*/runs (of a study, a demo); oldest first:
    names begin with the UTC start. FileNotFoundError where there is none."""
    root = find(root)
    places = [root, *(p for deep in ("runs", "*/runs", "*/*/runs") for p in root.glob(deep))]
    found = {path.parent for place in places for path in place.glob("*/config.json")}
    found = [d for d in found if re.match(r"\d{8}T\d{6}", d.name)]  # <utc>_<name>: models have a config.json too
    if not found:
        raise FileNotFoundError(f"no run under {root}: none has been made yet (try `just smoke-projected`)")
    return sorted(found, key=lambda d: d.name)


def find_run(name: str, root: Path = RUNS) -> Path:
    """A run directory by its path, by a folder that holds no other, by a unique part of its name, or `last`."""
    path = find(name)
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


def fits(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON is one of a type such as `tuple[float, float] | None`."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in args
    if origin in (Union, types.UnionType):
        return any(fits(value, a) for a in args)
    if origin is tuple:
        return (
            isinstance(value, list)
            and (args[-1] is Ellipsis or len(value) == len(args))
            and all(fits(v, args[0]) for v in value)
        )
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return isinstance(value, hint)


# Flags that --resume may change, since no result depends on them beyond the order in which a GPU sums.
MAY_CHANGE = ("ckpt_every", "log_with", "grader_workers", "grader_level", "gpu_wait", "memory_gb")


def typed_flags(argv: Sequence[str], fields: Sequence[str]) -> list[str]:
    """Names of the flags that a command line holds, in its order."""
    names = [w[2:].partition("=")[0].replace("-", "_") for w in argv if w.startswith("--")]
    return [n if n in fields else n.removeprefix("no_") for n in names]


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
            self.dir = find(resume)
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

    def settle(self, identities: dict[str, str], config: dict | None) -> None:
        """Add to config.json the hashes of what no path names, which a resumed run must find as they were, and the
        flags that its --resume changed."""
        meta = read_json(self.dir / "config.json")
        before = json.dumps(meta)
        inputs = meta.setdefault("inputs", {})
        same_inputs(self.dir, {k: v for k, v in inputs.items() if k in identities}, identities, {})
        inputs |= identities
        if config:
            meta["config"] = config | {"resume": None}
        if json.dumps(meta, default=str) != before:
            write_json(self.dir / "config.json", meta)

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
                with atomic_path(self.checkpoint) as tmp:
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


# ------------------------------------------------------------------------------- archives of a study's finished runs

EVIDENCE = ("config.json", "bluf.json", "evals.jsonl", "rows.jsonl")  # all that tables, plots and verdicts read


def pack_runs(runs_dir: Path, archive: Path) -> int:
    """The finished runs of a study -> one .tar.xz of their EVIDENCE; returns how many.

    The same runs give the same bytes. Weights, rollouts and logs stay behind; the path of the machine's folder is
    replaced by out/studies/<study>/runs. ValueError: no finished run.
    """
    packed, home = 0, f"out/studies/{runs_dir.resolve().parent.name}/runs"
    with atomic_path(archive) as tmp, tarfile.open(tmp, "w:xz") as tar:
        for d in sorted(p.parent for p in runs_dir.glob("*/config.json")):
            bluf = d / "bluf.json"
            if not bluf.is_file() or read_json(bluf).get("status") != "finished":
                continue
            place = read_config(d)["config"]["out_dir"]
            for name in EVIDENCE:
                data = (d / name).read_bytes().replace(json.dumps(place)[1:-1].encode(), home.encode())
                member = tarfile.TarInfo(f"{d.name}/{name}")  # no owner, no time: the bytes are the runs' alone
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
            packed += 1
        if not packed:
            raise ValueError(f"{runs_dir}: no finished run to pack")
    return packed


def unpack_runs(archive: Path, runs_dir: Path) -> int:
    """Put back what `pack_runs` packed; returns how many runs are new. A run that is there already stays as it is.

    ValueError: the file is cut, or holds anything but runs; then nothing is written.
    """
    runs_dir.mkdir(parents=True, exist_ok=True)
    try:  # the whole of it first: a reader of the tar alone would not miss a lost end
        data = lzma.decompress(archive.read_bytes())
    except lzma.LZMAError as e:
        raise ValueError(f"{archive}: cut or not a .tar.xz ({e}); `git checkout {archive}` restores it") from e
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as tar,
        tempfile.TemporaryDirectory(dir=runs_dir, prefix=".unpack-") as tmp,
    ):
        for m in tar.getmembers():
            at = PurePosixPath(m.name)
            if not m.isfile() or len(at.parts) != 2 or at.parts[0] in ("..", "/") or at.name not in EVIDENCE:
                raise ValueError(f"{archive}: {m.name!r} is no file of a run; not an archive of `study publish`")
        tar.extractall(tmp, filter="data")
        new = [d for d in sorted(Path(tmp).iterdir()) if not (runs_dir / d.name).exists()]
        for d in new:
            os.replace(d, runs_dir / d.name)
    return len(new)
