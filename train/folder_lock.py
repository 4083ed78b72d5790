"""Lock of a run's folder: one training at a time writes into it.

The operating system releases the lock when its process ends, however it ends; where the disk has no such locks (some
network file systems), filelock makes one of a file that names its process.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from curate.errors import UsageError
from curate.safe_io import DAMAGED
from train.run import is_run

LOCK, HOLDER = ".training.lock", ".training.json"
"""Files in the run's folder: the lock, and which process has it."""


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, which is made. Raises UsageError that names the process that holds it.

    A folder that cannot be made or written is left to those who use it: they have the message for it.
    """
    lock, is_new = FileLock(out / LOCK), not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"--out {out}: {_holder(out)} trains into it: wait until it ends, or give another folder"
        ) from None
    except OSError:
        yield
        return
    try:
        (out / HOLDER).write_text(json.dumps({"pid": os.getpid(), "machine": socket.gethostname()}), encoding="utf-8")
        yield
    finally:
        (out / HOLDER).unlink(missing_ok=True)
        refused = out.is_dir() and not is_run(out)  # or it ended before it began
        if refused:
            with suppress(OSError):  # Windows keeps open files
                (out / LOCK).unlink(missing_ok=True)
        lock.release()
        if refused and is_new:
            with suppress(OSError):  # not empty
                out.rmdir()


def is_ours(path: Path) -> bool:
    """Whether a file in a run's folder belongs to its lock."""
    return path.name.lstrip(".").startswith("training.") and path.name.startswith(".")


def check_idle(out: Path) -> None:
    """Raise UsageError while a training writes into the folder."""
    if not (out / LOCK).is_file():
        return
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{out}: {_holder(out)} trains into it: wait until it ends, or stop it") from None
    except OSError:
        return
    lock.release()


def _holder(out: Path) -> str:
    try:
        found = json.loads((out / HOLDER).read_text(encoding="utf-8"))
        return f"process {int(found['pid'])} on {str(found['machine'])[:80]}"
    except DAMAGED:
        return "another process"
