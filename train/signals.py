"""SIGTERM and SIGINT during a training: noted, so that the loop can save and leave after its step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def listen() -> Iterator[list[int]]:
    """List of the signals caught so far; a second signal of the same kind acts as it does by default."""
    caught: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        for number in (int(signal.SIGTERM), int(signal.SIGINT)):
            before[number] = signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def name_of(caught: list[int]) -> str:
    """Name of the first signal caught, for a message."""
    return signal.Signals(caught[0]).name if caught else "a signal to another process"
