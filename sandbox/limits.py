"""CPU seconds that a program of a problem may use, from what the problem's own reference takes on this machine.

    reference --run once a machine--> CPU seconds --x 20, rounded up to .5 s * 4**n--> limit, at most the cap

Twenty times the reference's own time is so generous that the noise of that one run refuses no honest program. What was
measured stays in a file for this kind of machine, so that every run, resumed or new, has the same limits here. The file
may be deleted: it is made again. A reference that is missing or wrong stands in no file, and its problem has the cap.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import platform
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO

FLOOR_S, TIMES, STEP = 0.5, 20, 4
FOLDER = Path(__file__).resolve().parent.parent / "out" / "reference_times"


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _machine() -> str:
    """What a measured time holds for: the model of the processor and the version of Python."""
    model = ""
    if (info := Path("/proc/cpuinfo")).exists():
        model = next((line for line in info.read_text("utf-8").splitlines() if line.startswith("model name")), "")
    return _digest(model or platform.machine(), platform.python_version())


class CpuLimits:
    """The limits of one grader; thread-safe. cap: CPU seconds; folder: of the measured times (default FOLDER)."""

    def __init__(self, cap: float, folder: Path | None = None):
        self.cap = cap
        self.path = (folder or FOLDER) / f"{_machine()}.jsonl"
        self._limits: dict[tuple[str, ...], Future[float]] = {}
        self._lock = threading.Lock()
        self._times: dict[str, float] = {}  # what the file says, up to _read bytes
        self._read = 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                pass
        except OSError as error:
            why = f"reference times cannot be kept here: {error.strerror}"
            raise OSError(error.errno, why, str(self.path)) from None

    def of(self, problem: tuple[str, ...], measure: Callable[[], float | None]) -> float:
        """CPU seconds for this problem's programs; `measure` runs its reference, None where that is not right."""
        with self._lock:
            known = self._limits.get(problem)
            if known is None:
                mine = self._limits[problem] = Future()
        if known is not None:
            return known.result()
        try:
            name = _digest(*problem)
            seconds = self._times.get(name)
            if seconds is None and (measured := measure()) is not None:
                seconds = self._kept(name, measured)
            mine.set_result(self.cap if seconds is None else self.limit(seconds))
        except BaseException as error:  # whoever comes next measures
            with self._lock:
                del self._limits[problem]
            mine.set_exception(error)
            raise
        return mine.result()

    def limit(self, seconds: float) -> float:
        """The limit where the reference takes so many CPU seconds."""
        steps = math.ceil(math.log(max(1.0, TIMES * seconds / FLOOR_S), STEP))
        return min(self.cap, FLOOR_S * STEP**steps)

    def _kept(self, name: str, measured: float) -> float:
        """The time that the file holds for this problem: an earlier process's, or now this one."""
        with self._lock, self._locked() as file:
            if name not in self._times:
                self._times[name] = round(measured, 4)
                file.write(json.dumps([name, self._times[name]]).encode() + b"\n")
            return self._times[name]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        """The file, for this process alone, when what others added to it has been taken in."""
        with open(self.path, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(self._read if file.tell() >= self._read else 0)
            for line in file.read().splitlines():
                try:
                    name, seconds = json.loads(line)
                    good = isinstance(name, str) and 0 <= float(seconds) < math.inf
                except (ValueError, TypeError):
                    good = False
                if not good:
                    raise ValueError(f"{self.path}: {line[:60]!r} is no measured time; delete it, it is made again")
                self._times.setdefault(name, float(seconds))
            self._read = file.tell()
            yield file
