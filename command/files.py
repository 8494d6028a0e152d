"""Files as every script reads and writes them: whole or absent, and named in what goes wrong."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
import re
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

from loguru import logger

from command.errors import DISK

ROOT = Path(__file__).resolve().parent.parent
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


def nonhack_beside(pairs: str | Path) -> Path:
    """Where the pairs of two honest answers lie: STEM_nonhack.jsonl beside STEM.jsonl."""
    path = find(pairs)
    return path.with_name(f"{path.stem}_nonhack.jsonl")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]):
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


def read_jsonl(path: str | os.PathLike[str], growing: bool = False) -> Iterator[tuple[int, dict]]:
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


def read_json(path: str | Path) -> dict:
    """The object in a JSON file; ValueError naming the file where it holds anything else."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as e:  # of the decoder or of the encoding
        raise ValueError(f"{path}: not JSON ({e}); it was cut or edited: put it back, or delete the run") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: holds a {type(found).__name__}, not a JSON object: put it back, or delete the run")
    return found
