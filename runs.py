"""Run directories, their archives, and what every script needs around one: atomic files, hashes, plain messages."""

from __future__ import annotations

import contextlib
import datetime
import errno
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent


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
    path = Path(path)
    h = hashlib.sha256()
    for f in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if f.is_file():
            h.update(f.name.encode())
            h.update(f.read_bytes())
    return h.hexdigest()[:16]


@contextlib.contextmanager
def atomic_path(path: str | Path):
    """Yield a sibling temporary path that becomes `path` when the block ends well: a file is whole or absent."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield tmp
        os.replace(tmp, path)
    finally:
        tmp.unlink(missing_ok=True)


def write_json(path: str | Path, data: object) -> None:
    with atomic_path(path) as tmp:
        tmp.write_text(json.dumps(data, indent=1, default=str), encoding="utf-8")


def lone_surrogate(data: object) -> str:
    r"""The first half of a surrogate pair in JSON-like data, as \udXXX ("" without any): no UTF-8 file can hold one."""
    found = re.search("[\ud800-\udfff]", json.dumps(data, ensure_ascii=False, default=str))
    return f"\\u{ord(found[0]):x}" if found else ""


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict]]:
    """(line number, object) of every non-blank line of a JSONL file, plain or gzip (told by its first bytes).

    Lines end at \\n alone, so any text survives; a byte order mark at the start is skipped. Raises FileNotFoundError,
    or ValueError that names file and line for what is no UTF-8, no JSON, no object, or holds a lone surrogate.
    """
    path = Path(path)
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
                    raise ValueError(f"{where}: not a JSON row ({e}); mend or remove this row") from None
                if not isinstance(row, dict):
                    raise ValueError(f"{where}: a row must be a JSON object, not {type(row).__name__}")
                if b"\\u" in line and (bad := lone_surrogate(row)):
                    raise ValueError(f"{where}: lone surrogate {bad} in the text; mend or remove this row")
                yield n, row
        except (EOFError, zlib.error, gzip.BadGzipFile) as e:
            raise ValueError(f"{path}: broken gzip file after line {n} ({e}); fetch it again") from None


# Exceptions that mean "the input or the machine", not "our code": they end in one line, without a traceback.
PLAIN = (ValueError, FloatingPointError, MemoryError)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def plain_message(e: BaseException) -> str:
    """The one line a user reads for an expected failure."""
    if isinstance(e, OSError) and e.errno in NO_SPACE:
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
        return ours or e.errno in NO_SPACE or bool(e.filename and e.strerror)
    return isinstance(e, PLAIN) or out_of_memory(e)


@contextlib.contextmanager
def plain_errors():
    """Turn an expected failure into `ERROR: message` on stderr and exit status 1; real bugs keep their traceback."""
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


class Run:
    """One run directory: rows, rollouts, evaluations, checkpoint, log, BLUF. Only the main process writes."""

    def __init__(self, main: bool, out_dir: str, name: str, resume: str | None = None):
        self.main = main
        if resume:
            self.dir = Path(resume)
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

    def append(self, name: str, rows: list[dict]) -> None:
        if self.main and rows:
            with open(self.dir / name, "a", encoding="utf-8") as f:
                f.write("".join(json.dumps(r, ensure_ascii=True) + "\n" for r in rows))

    def check(self, name: str, ok: bool, otherwise: str) -> None:
        """A SHOULD line: a predicate that a healthy run satisfies, with what is broken otherwise."""
        self.should = [s for s in self.should if s["name"] != name] + [
            {"name": name, "ok": bool(ok), "else": otherwise}
        ]

    def save_checkpoint(self, state: dict) -> None:
        import torch  # here, since results and plots need this module and not torch's start-up time

        if self.main:
            with atomic_path(self.dir / "checkpoint" / "state.pt") as tmp:
                torch.save(state, tmp)

    def load_checkpoint(self) -> dict | None:
        import torch

        path = self.dir / "checkpoint" / "state.pt"
        return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None

    def drop_checkpoint(self) -> None:
        """A finished run is not resumed: its optimizer state (1.3 GB for a 135M model) need not stay."""
        if self.main:
            (self.dir / "checkpoint" / "state.pt").unlink(missing_ok=True)

    def rewind(self, step: int, last: int) -> None:
        """Drop what a killed run wrote past its checkpoint at `step`: later rows, a torn last line, and evaluations of
        step `last`, which come after its checkpoint and are made again."""
        for name in ("rows.jsonl", "evals.jsonl", "rollouts.jsonl"):
            path, good = self.dir / name, []
            for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
                with contextlib.suppress(json.JSONDecodeError):  # the line a SIGKILL tore
                    row = json.loads(line)
                    evaluation = name == "evals.jsonl" or row.get("source") == "eval"
                    if row["step"] <= step and not (evaluation and row["step"] == last):
                        good.append(row)
            if name == "rows.jsonl":
                self.rows = good
            elif name == "evals.jsonl":
                self.evals = good
            if self.main:
                with atomic_path(path) as tmp:
                    tmp.write_text("".join(json.dumps(r, ensure_ascii=True) + "\n" for r in good), encoding="utf-8")


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
            if not bluf.is_file() or json.loads(bluf.read_text(encoding="utf-8"))["status"] != "finished":
                continue
            place = json.loads((d / "config.json").read_text(encoding="utf-8"))["config"]["out_dir"]
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
                raise ValueError(f"{archive}: {m.name!r} is no file of a run; not an archive of `study.py publish`")
        tar.extractall(tmp, filter="data")
        new = [d for d in sorted(Path(tmp).iterdir()) if not (runs_dir / d.name).exists()]
        for d in new:
            os.replace(d, runs_dir / d.name)
    return len(new)
