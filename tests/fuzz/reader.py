"""One way in for files of others, and the canary: a reader with every fault, to see that the fuzzer sees them."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """One way in."""

    read: Callable[[Path], None]
    seeds: str
    """Folder of the seeds."""
    damaged: str
    """Pattern of the files in it that are damaged, one at a time."""
    whole: bool = True
    """Read the folder; else the damaged file."""


def pick(reader: Reader, seeds: Path, rng: random.Random) -> Path:
    """The file that is damaged, relative to the reader's seeds."""
    folder = seeds / reader.seeds
    return rng.choice(sorted(p for p in folder.glob(reader.damaged) if p.is_file())).relative_to(folder)


def canary(path: Path) -> None:
    """A crash, a hang (asleep or at work), a traceback or nothing, by the file's bytes."""
    match hashlib.sha256(path.read_bytes()).digest()[0] % 5:
        case 0:
            os.abort()
        case 1:
            time.sleep(3600)
        case 2:
            raise KeyError("fault")
        case 3:
            while True:
                pass


CANARY = Reader(canary, "clips", "photo.bmp", False)
