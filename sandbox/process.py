"""A grader in a process of its own: GraderProcess is the owner's end of the socket, `serve` the other one."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from sandbox.client import PATIENCE_S, SandboxUnavailable, ZygoteDied


class Service:
    """What both graders are to a caller: a context manager, `submit`, and `grade` over it."""

    submit: Callable[..., Future]
    close: Callable[[], None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def grade(self, items: Iterable[tuple[Any, str, str, str]]) -> list:
        """Grade (problem, completion, mode, evaluator) items; the order is kept."""
        futures = [self.submit(*item) for item in items]
        return [future.result() for future in futures]


class GraderProcess(Service):
    """A Grader in a process of its own, with its interface: the caller's interpreter neither parses nor compares.

    Arguments and errors are Grader's; unlike there, tests that cannot be judged raise from the future. Problems are
    sent once, gradings and grades in batches. The process ends with its owner (end of the stream); when it is killed,
    what waits and what is submitted later raises one RuntimeError.
    """

    def __init__(self, workers: int | None = None, **options: Any):
        ours, theirs = socket.socketpair()
        here = str(Path(__file__).resolve().parent.parent)
        code = "import sys; sys.path.insert(0, sys.argv[2]); import grader as g; g.serve(int(sys.argv[1]), g.Grader)"
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, str(theirs.fileno()), here],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt from the keyboard is the owner's to handle
            )
        finally:
            theirs.close()
        self._sock, self._link = ours, Connection(os.dup(ours.fileno()))
        self._lock = threading.Lock()
        self._waiting: dict[int, Future] = {}
        self._problems: dict[int, Any] = {}  # id -> problem, kept so that the id stays its own
        self._serial = 0
        self._ended = ""  # why no grading can be submitted any more
        self._closed = False
        try:
            self._link.send({"workers": workers, **options})
            answer = self._link.recv()
            if isinstance(answer, BaseException):
                raise answer
        except (EOFError, OSError):
            raise RuntimeError(f"the grading process did not start (exit status {self._reaped()})") from None
        except BaseException:
            self._reaped()
            raise
        self.layers, self.workers = answer
        self._outbox: queue.SimpleQueue = queue.SimpleQueue()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def submit(self, problem: Any, completion: str, mode: str, evaluator: str = "run_tests") -> Future:
        """Grade one completion in the background; RuntimeError where the process has ended."""
        future: Future = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._ended:
                raise RuntimeError(self._ended)
            known = id(problem) in self._problems
            self._problems[id(problem)] = problem
            self._serial += 1
            self._waiting[self._serial] = future
            job = (self._serial, id(problem), None if known else problem, completion, mode, evaluator)
            self._outbox.put(job)  # inside the lock: the process must see a problem before the second use of its id
        return future

    def close(self) -> None:
        """End the process and its sandboxes; gradings that have not ended get a RuntimeError."""
        if self._closed:
            return
        self._closed = True
        self._fail("this grader is closed")
        self._outbox.put(None)
        self._threads[0].join()
        with contextlib.suppress(OSError):  # the reader's recv ends, and so does the process's
            self._sock.shutdown(socket.SHUT_RDWR)
        self._threads[1].join()
        self._link.close()
        self._sock.close()
        self._reaped()

    def _reaped(self) -> int:
        """The exit status of the process, which ends by itself; one that does not is killed."""
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def _fail(self, why: str) -> None:
        with self._lock:
            self._ended = self._ended or why
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(RuntimeError(f"{why}; this grading had not ended"))

    def _send(self) -> None:
        for batch in _batches(self._outbox):
            try:
                self._link.send(batch)
            except OSError:
                return  # the reader says why

    def _receive(self) -> None:
        while True:
            try:
                batch = self._link.recv()
            except (EOFError, OSError):
                if not self._closed:
                    status = self.process.wait()
                    self._fail(f"the grading process ended (exit status {status}); start the run again with --resume")
                return
            for serial, grade in batch:
                with self._lock:
                    future = self._waiting.pop(serial, None)
                if future is None:
                    continue  # closed meanwhile
                if isinstance(grade, BaseException):
                    future.set_exception(grade)
                else:
                    future.set_result(grade)


def _batches(box: queue.SimpleQueue) -> Iterable[list]:
    """What the queue holds at once, as lists, until a None."""
    while (first := box.get()) is not None:
        batch = [first]
        while not box.empty():
            item = box.get()
            if item is None:
                yield batch
                return
            batch.append(item)
        yield batch


def serve(fd: int, make_grader: Callable[..., Any]) -> None:
    """The other end of GraderProcess: grade what comes over the socket fd until it ends."""
    link = Connection(fd)
    os.nice(10)  # the owner's sampler launches kernels from one thread: on full cores grading must not take its turns
    try:
        grader = make_grader(**link.recv())
    except (SandboxUnavailable, ZygoteDied, ValueError, OSError) as error:
        link.send(_portable(error))
        return
    link.send((grader.layers, grader.workers))
    outbox: queue.SimpleQueue = queue.SimpleQueue()

    def send() -> None:
        for batch in _batches(outbox):
            try:
                link.send(batch)
            except OSError:
                return  # the owner is gone; the reader below sees it too

    threading.Thread(target=send, daemon=True).start()

    def ended(serial: int, future: Future) -> None:
        error = future.exception()
        outbox.put((serial, future.result() if error is None else _portable(error)))

    problems: dict[int, Any] = {}
    with grader:
        while True:
            try:
                batch = link.recv()
            except (EOFError, OSError):
                return
            for serial, name, problem, completion, mode, evaluator in batch:
                if problem is not None:
                    problems[name] = problem
                try:
                    future = grader.submit(problems[name], completion, mode, evaluator)
                except (ValueError, RuntimeError) as error:
                    outbox.put((serial, _portable(error)))
                    continue
                future.add_done_callback(lambda f, serial=serial: ended(serial, f))


def _portable(error: BaseException) -> BaseException:
    """The error itself where it survives the way to another process, else its words."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class does when it is rebuilt
        return RuntimeError(f"{type(error).__name__}: {error}")
