"""Write lock of a faceset: one process at a time.

The lock is the operating system's (`flock`): it is gone with the process that held it, however that ended. Beside it
lies a note of who holds it, for the message to the second one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from curate.dataset.faceset import Faceset
from curate.dataset.links import check_links
from curate.errors import WorkError
from curate.records import record
from curate.runtime.files import atomic
from curate.safe_io import DAMAGED

LOCK, HOLDER = ".lock", ".lock.json"
SHORT = 1.0
"""Seconds that a second process waits before it fails."""


@dataclass(frozen=True)
class Holder:
    """The process that writes a faceset."""

    pid: int
    host: str
    command: str
    since: str
    """Local time, for people."""

    def here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.host == socket.gethostname()

    def alive(self) -> bool:
        """Whether it may still run; one of another machine counts as alive."""
        return not self.here() or psutil.pid_exists(self.pid)

    def __str__(self) -> str:
        where = "" if self.here() else f" on {self.host}"
        return f"process {self.pid}{where} ({self.command}) since {self.since}"


@contextlib.contextmanager
def lock(faceset: Faceset, wait: float = SHORT, links: bool = False) -> Iterator[None]:
    """Write lock on the faceset; the lock of a dead process is taken over.

    `wait` is the seconds to wait for another process. `links`: links may lead out of the folder, since nothing follows
    them. Raises WorkError that says who holds it, or that the folder cannot be written or has such a link.
    """
    folder = faceset.folder
    if not links:
        check_links(folder)
    held = FileLock(folder / LOCK)
    try:
        held.acquire(timeout=wait)
    except Timeout:
        found = holder(folder)
        who = f"{found}" if found is not None and found.alive() else "another faceset process"
        raise WorkError(f"{folder} is being written by {who}: wait until it ends, or stop it") from None
    except OSError as error:
        raise WorkError(f"{folder} cannot be written ({error.strerror}): check its permissions and the disk") from None
    try:
        _note(folder)
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / HOLDER).unlink(missing_ok=True)
        held.release()


def holder(folder: Path) -> Holder | None:
    """The process that noted that it holds the lock; None if there is none."""
    try:
        return record(Holder, json.loads((folder / HOLDER).read_text(encoding="utf-8")))
    except DAMAGED:
        return None


def _note(folder: Path) -> None:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:120]
    mine = Holder(os.getpid(), socket.gethostname(), command, time.strftime("%Y-%m-%d %H:%M:%S"))
    with contextlib.suppress(OSError), atomic(folder / HOLDER) as temporary:  # a full disk: the lock holds without it
        temporary.write_text(json.dumps(asdict(mine)), encoding="utf-8")
