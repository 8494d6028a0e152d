"""The handle of a sandbox: a Zygote runs one program at a time and says what the kernel says of its end.

    job --Zygote.run--> frames of the program, one by one, and an Outcome;  sandbox/jail.py is the other end

The program's limits are kept here: CPU time, sleep, what it writes. What its frames mean is the caller's business.
"""

from __future__ import annotations

import contextlib
import json
import marshal
import math
import os
import re
import resource
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from loguru import logger

from sandbox import jail
from sandbox.asserts import MAX_RESULT

ALL_LAYERS = ("landlock", "seccomp", "ns", "rlimits")
MAX_ANSWERS = 64 << 20  # bytes of all answers of a program
STDOUT_BYTES = 8 << 20  # a program that prints more is ended
BLOCKED_S = 5.0  # a program whose threads all sleep for so long, and use no CPU time, is ended
SLEEP_S = 60.0  # and one that sleeps for so long in all
PATIENCE_S = 600.0  # for what a sandbox does at once, on a machine that is full, or where millions of files must go
PACKAGES = ("sortedcontainers", "numpy", "numpy.libs", "tzdata")  # visible to programs, where installed here
ZYGOTE_TRIES = 4


class ZygoteDied(RuntimeError):
    """The sandbox process ended or did not answer; the caller starts another one."""


class SandboxUnavailable(RuntimeError):
    """This system lacks a layer that containment needs, and no flag accepted the weaker set."""


class SetUpFailed(SandboxUnavailable):
    """A program could not be started as the limits demand; the message says what the system refused."""


_HEAD = struct.Struct("<cI")


def _packages() -> dict[str, str]:
    """Folders of PACKAGES in this environment."""
    found = {}
    for name in PACKAGES:
        for folder in sys.path:
            path = os.path.realpath(os.path.join(folder or ".", name))
            if os.path.isdir(path) and ("." in name or os.path.isfile(os.path.join(path, "__init__.py"))):
                found[name] = path
                break
    return found


class Zygote:
    """A sandbox process and the socket to it; used by one thread at a time."""

    def __init__(self, without: Iterable[str] = ()):
        ours, theirs = socket.socketpair()
        python = Path(sys.executable).resolve()
        script = Path(jail.__file__).resolve()
        # -P -s -E would be -I, but then the hash seed could not be fixed: set order must not depend on the worker
        command = [str(python), "-P", "-s", "-S", "-X", "utf8", str(script), str(theirs.fileno()), str(os.getpid())]
        box = ""
        with contextlib.suppress(FileNotFoundError):  # no folder for temporary files is needed with a private root
            box = os.path.join(tempfile.gettempdir(), f"grader-{secrets.token_hex(8)}")
        command.append(json.dumps({"without": list(without), "packages": _packages(), "box": box}))
        try:
            self.process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            theirs.close()
        self.sock = ours
        self.usable = True  # no run is in progress
        self._link = ours  # to the program that runs
        self.sock.settimeout(PATIENCE_S)
        kind, hello = self._receive()
        if kind != b"H":
            self.close()
            raise ZygoteDied(f"the sandbox did not start: {hello.decode('utf-8', 'replace')}")
        self.layers, _, missing = hello.decode().partition("\n")
        self.missing = missing

    def _receive(self) -> tuple[bytes, bytes]:
        try:
            kind, size = _HEAD.unpack(self._exactly(_HEAD.size))
            return kind, self._exactly(size)
        except (OSError, TimeoutError) as error:
            raise ZygoteDied(f"no answer from the sandbox: {error}") from None

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self.sock.recv(min(size, 1 << 20))
            if not part:
                raise ZygoteDied("the sandbox process ended")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _send(self, kind: bytes, payload: bytes) -> None:
        try:
            (self._link if kind == b"P" else self.sock).sendall(_HEAD.pack(kind, len(payload)) + payload)
        except OSError as error:
            raise ZygoteDied(f"the sandbox process ended: {error}") from None

    def run(self, job: dict[str, Any], on_frame: Callable[[bytes], object]) -> Outcome:
        """Run one program; `on_frame` sees each of its frames. Its socket is its own: no frame is another program's.

        Raises SetUpFailed where the sandbox, not the program, is at fault, and ZygoteDied. A run that raised leaves the
        sandbox unusable.
        """
        if not self.usable:
            raise ZygoteDied("the last program's run did not end")
        self.usable = False
        with contextlib.ExitStack() as stack:
            ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
            given = [theirs.fileno()]
            printed = written = None
            if job["kind"] == "stdout_marker":
                read, write = os.pipe()
                printed = stack.enter_context(open(read, "rb", buffering=0))
                written = stack.enter_context(open(write, "wb", buffering=0))
                given.append(write)
            self.sock.settimeout(PATIENCE_S)
            # the zygote reads the first part, the program's own process the second
            control = {name: job[name] for name in ("kind", "setup", "limits", "file") if name in job}
            self._send(b"J", marshal.dumps(control))
            try:
                socket.send_fds(self.sock, [b"+"], given)
            except OSError as error:
                raise ZygoteDied(f"the sandbox process ended: {error}") from None
            theirs.close()
            if written is not None:
                written.close()
            self._link = ours
            ours.settimeout(PATIENCE_S)
            with contextlib.suppress(ZygoteDied):  # a program that ended in its set-up has said why
                self._send(b"P", marshal.dumps({name: value for name, value in job.items() if name not in control}))
            run = _Run(self, job["limits"], ours, printed, job.get("marker", b""), on_frame)
            outcome = run.follow()
        self.usable = True
        return outcome

    def close(self) -> None:
        self.sock.close()
        if self.process.poll() is None:
            self.process.terminate()  # the supervisor kills the zygote, and with it the pid namespace
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class _Run:
    """One program from its start to the facts of its end, within its limits."""

    def __init__(self, zygote: Zygote, limits: dict, link: socket.socket, printed: Any, marker: bytes, on_frame: Any):
        self.zygote, self.limits, self.link, self.printed, self.on_frame = zygote, limits, link, printed, on_frame
        self.line = re.compile(rb"^[ \t\r\v\f]*" + re.escape(marker) + rb"[ \t\r\v\f]*$", re.MULTILINE)
        self.pending = b""
        self.ready = self.marker_seen = False
        self.bytes_left = min(limits["bytes"], MAX_ANSWERS)
        self.frames_left = limits.get("frames", 1000)
        self.print_left, self.tail = STDOUT_BYTES, b""
        self.reason = b"-"
        self.handle = self.pid = -1  # of the program: descriptor, number here
        self.content: bytes | None = None

    def follow(self) -> Outcome:
        sock, poller = self.zygote.sock, select.poll()
        streams = {end.fileno(): end for end in (self.link, self.printed) if end is not None}
        for fd in (sock.fileno(), *streams):
            poller.register(fd, select.POLLIN)
        started = looked = alive = time.monotonic()
        still, slept, last_cpu = 0.0, 0.0, -1.0
        cpu = 0.0
        try:
            while True:
                wait = max(0.01, min(1.0, self.limits["cpu"] - cpu))
                events = poller.poll(1000 * wait)
                for fd, _ in events:
                    if fd != sock.fileno() and not self._read(streams[fd]):
                        poller.unregister(fd)
                if any(fd == sock.fileno() for fd, _ in events):
                    status, *times = jail.FACTS.unpack_from(end) if (end := self._control()) else (None,)
                    if status is not None:
                        break
                now = time.monotonic()
                if now - alive > PATIENCE_S:
                    raise ZygoteDied("a program's end was not reported")
                if self.reason != b"-" or self.handle < 0 or now - looked < min(1.0, wait):
                    continue
                cpu, asleep = self._look()
                if cpu < 0:
                    continue
                alive = now
                passed = min(now - looked, 1.0)  # a harness that did not run in between has seen no more than this
                still = still + passed if asleep and cpu == last_cpu else 0.0
                slept += passed * asleep
                looked, last_cpu = now, cpu
                if cpu > self.limits["cpu"]:
                    self._end(b"C")
                elif still >= BLOCKED_S or slept >= SLEEP_S:
                    self._end(b"S")
                elif now - started > self.limits["wall"]:
                    self._end(b"W")
            for stream in streams.values():  # what is left: the program is gone, so each has an end
                while self.bytes_left >= 0 and self.print_left >= 0 and self._read(stream):
                    pass
            self.marker_seen = self.marker_seen or bool(self.line.search(self.tail))
        finally:
            if self.handle >= 0:
                os.close(self.handle)
        cpu = times[0] + times[2] + (times[1] + times[3]) / 1e6
        outcome = Outcome(self.reason, status, cpu, self.marker_seen, self.content, self.limits["cpu"])
        if not self.ready and not outcome.again:
            raise SetUpFailed(f"a program could not be started: {outcome.text()}")
        return outcome

    def _control(self) -> bytes | None:
        """One message of the zygote: the facts of the end, or None for those before it."""
        try:
            head, fds, _, _ = socket.recv_fds(self.zygote.sock, _HEAD.size, 1)
        except OSError as error:
            raise ZygoteDied(f"the sandbox process ended: {error}") from None
        if len(head) < _HEAD.size:
            raise ZygoteDied("the sandbox process ended")
        kind, size = _HEAD.unpack(head)
        payload = self.zygote._exactly(size)
        if kind == b"E":
            return payload
        if kind == b"F":
            self.content = payload[1:] if payload else None
        elif kind == b"S":
            self.handle = fds[0]
            with open(f"/proc/self/fdinfo/{self.handle}") as file:
                self.pid = next(int(line.split()[1]) for line in file if line.startswith("Pid:"))
            if self.reason != b"-":
                self._end(self.reason)
        else:
            raise ZygoteDied(payload.decode("utf-8", "replace"))
        return None

    def _end(self, reason: bytes) -> None:
        try:
            if self.handle >= 0:
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        except ProcessLookupError:  # it has ended by itself
            if reason != b"B":
                return
        self.reason = reason

    def _look(self) -> tuple[float, bool]:
        """CPU seconds of the program (-1: it is gone), and whether it waits for more than a processor or a disk."""
        try:
            cpu = time.clock_gettime(~self.pid << 3 | 2)
            states = set()
            for task in os.listdir(f"/proc/{self.pid}/task"):
                with open(f"/proc/{self.pid}/task/{task}/stat", "rb") as file:
                    states.add(file.read().rpartition(b")")[2].split()[0])
        except OSError:  # it ends just now
            return -1.0, False
        return cpu, states <= {b"S", b"T", b"t", b"Z", b"X"}

    def _read(self, end: Any) -> bool:
        """Take what the program wrote there; False at the end of the stream."""
        if end is self.printed:
            data = end.read(1 << 16)
            self.print_left -= len(data)
            if not self.marker_seen:
                text = self.tail + data
                self.marker_seen = self.line.search(text, 0, text.rfind(b"\n") + 1) is not None
                self.tail = text[text.rfind(b"\n") + 1 :][:4096]  # a line with the marker is short
            if self.print_left < 0 and self.reason == b"-":
                self._end(b"B")
            return bool(data)
        try:
            data = end.recv(1 << 16)
        except ConnectionResetError:  # ended before it had read its job
            data = b""
        self.bytes_left -= len(data)
        if self.reason == b"-":
            self.pending += data
            if self.bytes_left < 0 or not self._take_frames():
                self._end(b"B")
        return bool(data)

    def _take_frames(self) -> bool:
        at = 0
        while len(self.pending) - at >= 4:
            size = int.from_bytes(self.pending[at : at + 4], "little")
            if size > MAX_RESULT + 64:
                return False
            if len(self.pending) - at - 4 < size:
                break
            frame = self.pending[at + 4 : at + 4 + size]
            at += 4 + size
            if not self.ready:
                if frame[:1] != b"+":
                    raise SetUpFailed(f"a program could not be started: {clean(frame[1:])}")
                self.ready = True
                continue
            self.frames_left -= 1
            if self.frames_left < 0:
                return False
            self.on_frame(frame)
        self.pending = self.pending[at:]
        return True


@dataclass
class Outcome:
    """What the kernel says of one program: why it was ended, wait status, CPU seconds."""

    reason: bytes  # - by itself or the kernel, C CPU limit, S it slept, B output limit, W wall limit
    status: int
    cpu: float
    marker_seen: bool
    result_file: bytes | None
    cpu_limit: float

    @property
    def killed(self) -> bool:
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL

    @property
    def timed_out(self) -> bool:
        # the kernel's own limit counts in ticks, which are not the precise time reported here
        by_kernel = self.killed and self.cpu > 0.8 * self.cpu_limit
        return self.reason in (b"C", b"S") or self.cpu > self.cpu_limit or by_kernel

    @property
    def again(self) -> bool:
        """Whether this says nothing of the program: a machine too slow, or a kill from outside (out of memory)."""
        return self.reason == b"W" or self.reason == b"-" and self.killed and not self.timed_out

    def text(self) -> str:
        """Short reason for a program that did not answer everything."""
        if self.reason == b"S":
            return "waited for nothing"
        if self.reason in (b"B", b"W"):
            return "output limit" if self.reason == b"B" else "wall limit"
        if self.timed_out:
            return f"CPU limit ({self.cpu_limit:g} s)"
        if os.WIFSIGNALED(self.status):
            return f"signal {os.WTERMSIG(self.status)}" + (" from outside (out of memory?)" if self.killed else "")
        if os.waitstatus_to_exitcode(self.status) != jail.END_OF_PROGRAM:
            return f"exit status {os.waitstatus_to_exitcode(self.status)}"
        return "no answer"


class Watch(Protocol):
    """Reads the frames of a program; `begin` forgets those of an earlier run of it."""

    def begin(self) -> None: ...

    def on_frame(self, frame: bytes) -> object: ...


def run_settled(zygote: Zygote, job: dict[str, Any], watch: Watch) -> Outcome:
    """Run a program, and again where it met a slow machine or a kill from outside; a machine too slow raises."""
    for _ in range(ZYGOTE_TRIES):
        watch.begin()
        outcome = zygote.run(job, watch.on_frame)
        if not outcome.again:
            return outcome
        logger.warning(f"a program is run again: {'its wall limit' if outcome.reason == b'W' else outcome.text()}")
    if outcome.reason == b"W":
        raise RuntimeError(
            f"{ZYGOTE_TRIES} times a program got {outcome.cpu:.1f} s of CPU time in {job['limits']['wall']:.0f} s: "
            "this machine is too slow or too full for grading; use fewer workers"
        )
    return outcome


def clean(text: bytes) -> str:
    """Untrusted words for a message: printable, one line, short."""
    return re.sub(r"[^\x20-\x7e]+", " ", text[:160].decode("ascii", "replace")).strip()


# --------------------------------------------------------------------------- does this system contain a program
def check_level(level: str | None) -> None:
    """ValueError for a level that names no layer."""
    unknown = set() if level is None else set(level.split("+")) - {*ALL_LAYERS, "none"}
    if unknown:
        choices = "landlock+seccomp+ns+rlimits, landlock+seccomp+rlimits, seccomp+ns+rlimits or none (any that is safe)"
        raise ValueError(f"unknown layer {sorted(unknown)} in accept_level {level!r}; choose {choices}")


def check_own_limits(limits: dict[str, Any], workers: int) -> None:
    """SandboxUnavailable where a limit of this process is below what a program must have, or leaves no descriptors."""
    needed = {
        "CPU": (math.ceil(limits["cpu"]) + 1, "-t"), "AS": (limits["memory"], "-v"), "FSIZE": (jail.WORK_BYTES, "-f"),
        "NOFILE": (jail.OPEN_FILES, "-n"), "NPROC": (jail.THREADS, "-u"), "STACK": (jail.STACK_BYTES, "-s"),
    }  # fmt: skip
    for name, (need, flag) in needed.items():
        hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
        if hard != resource.RLIM_INFINITY and hard < need:
            raise SandboxUnavailable(
                f"the hard limit RLIMIT_{name} of this process (ulimit {flag}) is {hard}, and a graded program needs "
                f"{need}: raise it, or right programs would be graded as wrong"
            )
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    used = len(os.listdir("/proc/self/fd"))
    if soft != resource.RLIM_INFINITY and soft < used + 16 * workers + 16:
        raise SandboxUnavailable(
            f"this process may open {soft} files (RLIMIT_NOFILE, ulimit -n) and has {used} open: {workers} sandboxes "
            f"need {16 * workers + 16} more; raise the limit or use fewer workers"
        )


def accept(layers: str, missing: str, accept_level: str | None) -> str:
    """The layers to print, where they are enough for accept_level; SandboxUnavailable says what is missing."""
    present = {name for name in ALL_LAYERS if re.search(rf"\b{name}", layers)}
    if not missing:
        return layers
    if "seccomp" not in present or "landlock" not in present and "mnt" not in layers:
        raise SandboxUnavailable(
            f"this system cannot contain untrusted code: active {layers or 'nothing'}, missing {missing}. Without "
            "seccomp (x86_64) a program could signal this process and leave messages for later ones, without a "
            "private root or landlock 3 (Linux 6.2) it could change this system's files: no level accepts that"
        )
    if accept_level is None:
        raise SandboxUnavailable(
            f"this system cannot contain untrusted code fully: active {layers}, missing {missing}. "
            f"To run with less, say so: accept_level (--accept-level) {'+'.join(sorted(present))}"
        )
    wanted = {name for name in accept_level.split("+") if name != "none"}
    if lacking := wanted - present:
        raise SandboxUnavailable(f"accept_level {accept_level} needs {sorted(lacking)}, which this system lacks")
    return f"{layers} (accepted without: {missing})"
