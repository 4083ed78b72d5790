"""Ctrl-C while the App runs: heard wherever it comes, and an end within seconds with no process left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import psutil

AGAIN = 1.0
"""Seconds after which a Ctrl-C that did not end the block is raised once more."""
APP = "FACESET_APP"
"""Environment variable of the server: the process that shows the App."""
PATIENCE, KILLED = 2.0, 0.5
"""Seconds in which a service ends by itself, and after it was killed."""


@contextmanager
def heard() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block on Ctrl-C, and every second again until the block is left.

    FiftyOne and its libraries have `except:` clauses in which a single one gets lost. Only in the main thread, and not
    where Ctrl-C is ignored (a background job of a shell).
    """
    can = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not can or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield
        return

    def interrupt(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
        raise KeyboardInterrupt

    kinds = (signal.SIGINT, signal.SIGALRM)
    before = [signal.signal(kind, interrupt) for kind in kinds]

    def leave() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)

    try:
        try:
            yield
        finally:
            leave()
    finally:
        leave()  # an alarm may have come during the first


def own_group(arguments: Any, **options: Any) -> psutil.Popen:
    """A process that the terminal's Ctrl-C does not reach from its first moment: its parent ends it."""
    return psutil.Popen(arguments, **options, **({"process_group": 0} if os.name == "posix" else {}))


def end_with(app: int, every: float = AGAIN) -> None:
    """End this process when the process `app` has ended, however it ended: killed, it can end nobody."""
    try:
        process = psutil.Process(app)
    except psutil.NoSuchProcess:
        os._exit(0)

    def watch() -> None:
        with suppress(psutil.Error):
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:  # a reused number is another
                time.sleep(every)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def end(process: psutil.Popen | None, patience: float = PATIENCE) -> None:
    """Ask a service of FiftyOne to end, by closing its input, and kill what is left of it and its children."""
    if process is None:
        return
    alive = _family(process)
    with suppress(OSError, AttributeError):  # it has ended, or is somebody else's
        process.stdin.close()
    _, left = psutil.wait_procs(alive, patience)
    left = list(dict.fromkeys([*left, *(_family(process) if process in left else ())]))
    for one in left:
        with suppress(psutil.Error):
            one.kill()
    psutil.wait_procs(left, KILLED)


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return [process]
