"""Local worker processes and their watchdog: one that dies, hangs or runs out of memory costs only its task.

A worker gets its next task when it has done the one before: nothing piles up. Progress is a number in shared memory
that the work raises by `beat`; time is monotonic, so a clock that is set does not matter.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import psutil

from curate.errors import FacesetError, WorkError

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[T], None]
Outcome = tuple[T, FacesetError | None]
Answer = tuple[Exception | None, str]
"""A task's error, and where it was raised."""

LOOK_EVERY = 0.5
"""Seconds between two checks of the workers' progress and memory."""
START = 120.0
"""Minimum number of seconds that a process has for its imports before its first task."""
OF_MEMORY = 0.85
"""Fraction of the machine's memory that all workers together may use."""
STALLED = 75
"""Exit code of a process that ended itself because it made no progress."""
CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class Limits:
    """Limits of a worker; one that exceeds them is stopped, and its task is retried once, on its own."""

    stall: float | None = None
    """Maximum number of seconds without a `beat`; None: no limit."""
    memory: int | None = None
    """Maximum resident memory in bytes; None: no limit."""


class WorkerLostError(WorkError):
    """A task whose worker was lost twice."""


_beats: Any = None


def beat() -> None:
    """Report that the task makes progress; costs nothing, and does nothing outside a worker."""
    if _beats is not None:
        _beats.value += 1


def guarded(work: Work[T], task: T, stall: float | None) -> None:
    """Run a task in a process of Ray, which has no watchdog here: it ends itself after `stall` seconds without a beat.

    Not where a library keeps Python's lock while it stands still. Ray then gives the task to another process.
    """
    global _beats
    if stall is None:
        work(task)
        return
    _beats, over = RawValue("Q", 0), threading.Event()
    watcher = threading.Thread(target=_end_when_stalled, args=(stall, over), daemon=True)
    watcher.start()
    try:
        work(task)
    finally:
        over.set()
        watcher.join()


def _end_when_stalled(stall: float, over: threading.Event) -> None:
    seen, since = _beats.value, time.monotonic()
    while not over.wait(min(LOOK_EVERY, stall)):
        if _beats.value != seen:
            seen, since = _beats.value, time.monotonic()
        elif time.monotonic() - since > stall:
            os._exit(STALLED)


def memory_limit(workers: int) -> int:
    """Bytes that each of N workers may use: its share of the memory of the machine or container."""
    total = psutil.virtual_memory().total
    for path in CGROUPS:
        with suppress(OSError, ValueError):
            total = min(total, int(path.read_text()))
    return int(OF_MEMORY * total / workers)


def run(work: Work[T], tasks: Iterable[T], workers: int, limits: Limits | None = None) -> Iterator[Outcome[T]]:
    """Every task with its error, in order of completion; see `curate.runtime.jobs.run`."""
    limits = limits or Limits()
    lost: list[tuple[T, str]] = []
    yield from _shift(work, iter(tasks), workers, limits, lost)
    alone = Limits(limits.stall, None if limits.memory is None else max(memory_limit(1), limits.memory))
    for task, reason in lost:
        log.warning("%s: %s; retrying once, on its own", task, reason)
        again: list[tuple[T, str]] = []
        yield from _shift(work, iter([task]), 1, alone, again)
        for _, second in again:
            yield (
                task,
                WorkerLostError(f"{second}, twice (the first time, {reason}): is the footage damaged or very large?"),
            )


@dataclass
class _Worker:
    """One process, and what it is at."""

    process: Any
    connection: Connection
    beats: Any
    task: Any = None
    busy: bool = False
    seen: int = 0
    since: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, calls_main: bool) -> _Worker:
        """A new process, which waits for a task; it imports the caller's main program only if that is what it runs."""
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        beats = RawValue("Q", 0)
        process = context.Process(target=_serve, args=(theirs, beats, os.getpid()), daemon=True)
        with nullcontext() if calls_main else _without_main():
            process.start()
        theirs.close()
        return cls(process, ours, beats)

    def give(self, work: Work[T], task: T) -> None:
        self.task, self.busy, self.since = task, True, time.monotonic()
        with suppress(OSError):  # it died; that is noticed as it is for a busy one
            self.connection.send((work, task))

    def trouble(self, limits: Limits) -> str | None:
        """Why it is to be ended, if it is."""
        if limits.stall is not None:
            now = time.monotonic()
            if self.beats.value != self.seen:
                self.seen, self.since = self.beats.value, now
            elif now - self.since > (limits.stall if self.seen else max(limits.stall, START)):
                return f"its worker made no progress for {limits.stall:.0f} s and was stopped"
        if limits.memory is not None:
            with suppress(psutil.Error):
                held = psutil.Process(self.process.pid).memory_info().rss
                if held > limits.memory:
                    used, limit = f"{held / 1e9:.2f} GB", f"{limits.memory / 1e9:.2f} GB"
                    return f"its worker used {used} of memory, limit {limit}, and was stopped"
        return None

    def end(self, kill: bool = False) -> None:
        self.connection.close()
        if kill:
            self.process.kill()
        self.process.join()
        self.process.close()


@contextmanager
def _without_main() -> Iterator[None]:
    """The spawned process does not run the caller's program: a script needs no guard, and it may come from stdin."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _shift(
    work: Work[T], tasks: Iterator[T], workers: int, limits: Limits, lost: list[tuple[T, str]]
) -> Iterator[Outcome[T]]:
    """Do the tasks; those whose worker was lost go to `lost`, with the reason."""
    crew: list[_Worker] = []
    more, calls_main = True, b"__main__" in bytes(ForkingPickler.dumps(work))
    try:
        while True:
            while more and (len(crew) < workers or not all(w.busy for w in crew)):
                task = next(tasks, None)
                if task is None:
                    more = False
                    break
                idle = next((w for w in crew if not w.busy), None)
                if idle is None:
                    idle = _Worker.start(calls_main)
                    crew.append(idle)
                idle.give(work, task)
            busy = [w for w in crew if w.busy]
            if not busy:
                return
            wait([c for w in busy for c in (w.connection, w.process.sentinel)], LOOK_EVERY)
            for worker in busy:
                answer, reason = _look(worker, limits)
                if answer is not None:
                    worker.busy = False
                    yield worker.task, _opened(answer)
                elif reason is not None:
                    crew.remove(worker)
                    lost.append((worker.task, reason))
                    worker.end(kill=True)
    finally:
        for worker in crew:
            worker.end(kill=worker.busy)


def _look(worker: _Worker, limits: Limits) -> tuple[Answer | None, str | None]:
    """Its answer, or the reason why it is lost; both None while it works."""
    try:
        if worker.connection.poll():
            return worker.connection.recv(), None
    except (EOFError, OSError):
        worker.process.join()
    code = worker.process.exitcode
    if code is None:
        return None, worker.trouble(limits)
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return None, f"its worker process died ({how}), because of a crash or a lack of memory"


def _opened(answer: Answer) -> FacesetError | None:
    """The task's user error; None: it is done. Any other error raises, with the worker's traceback as its cause."""
    error, text = answer
    if error is None or isinstance(error, FacesetError):
        return error
    raise error from RuntimeError(f"in a worker:\n{text}")


def _serve(connection: Connection, beats: Any, parent: int) -> None:
    """What a worker's process does until the connection is closed."""
    global _beats
    _beats = beats
    _start_worker(parent)
    while True:
        try:
            work, task = connection.recv()
        except (EOFError, OSError):
            return
        beat()
        answer = _answer(work, task)
        try:
            connection.send(answer)
        except OSError:  # the process that gave the task is gone
            return


def _answer(work: Work[T], task: T) -> Answer:
    try:
        work(task)
    except FacesetError as error:
        return error, ""
    except OSError as error:
        return OSError(error.errno, error.strerror, error.filename), traceback.format_exc()
    except Exception as error:  # noqa: BLE001  # raised again in the process that gave the task
        return RuntimeError(f"{type(error).__name__}: {error}"), traceback.format_exc()
    return None, ""


def _start_worker(parent: int) -> None:
    """A worker uses one core, leaves Ctrl-C to its parent, and does not outlive it."""
    import cv2

    from curate.runtime.progress import set_up_logging

    set_up_logging(quiet=True)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
