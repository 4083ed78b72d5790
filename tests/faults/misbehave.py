"""Work that goes wrong, for processes of their own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from curate.errors import WorkError
from curate.runtime.workers import beat

Task = tuple[str, str]
"""What to do, and the file that says how often it was tried."""


def work(task: Task) -> None:
    """Do what the task says; `once` is done right the second time."""
    kind, name = task
    path = Path(name)
    tried = len(path.read_text()) if path.exists() else 0
    path.write_text("x" * (tried + 1))
    how, _, once = kind.partition(" ")
    if once and tried:
        return
    if how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "leaves":
        os._exit(3)
    elif how == "hangs":
        time.sleep(600)
    elif how == "eats":
        held = bytearray(1)
        while True:
            held += bytes(100_000_000)
            beat()
            time.sleep(0.02)
    elif how == "fails":
        raise WorkError("it cannot be done")
    elif how == "full":
        raise OSError(28, "No space left on device", name)
    elif how == "wrong":
        raise ZeroDivisionError("a bug")
    elif how == "slow":
        for _ in range(15):
            beat()
            time.sleep(0.1)
