"""Lock of a run's folder: one training at a time writes into it.

The operating system releases the lock when its process ends, however it ends; where the disk has no such locks (some
network file systems), filelock makes one of a file that names its process.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
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
        lock.release()
        if out.is_dir() and not is_run(out):  # it was refused, or ended before it began
            (out / LOCK).unlink(missing_ok=True)
            if is_new and not any(out.iterdir()):
                out.rmdir()


def is_ours(path: Path) -> bool:
    """Whether a file in a run's folder belongs to its lock."""
    return path.name.startswith(".training.")


def _holder(out: Path) -> str:
    try:
        found = json.loads((out / HOLDER).read_text(encoding="utf-8"))
        return f"process {int(found['pid'])} on {str(found['machine'])[:80]}"
    except DAMAGED:
        return "another process"
