"""A training that has decoded faces and no run.json yet: a note in its folder says whose they are and where they lie.

OUT/.training.faces.json    the names of the people, the folder of the cache; gone once run.json says it

Without it, what a training leaves that was refused or killed while it decoded could not be forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from curate.records import record
from curate.runtime.files import write_whole
from curate.safe_io import DAMAGED
from train.folder_lock import HOLDER, LOCK

FILE = ".training.faces.json"


@dataclass(frozen=True)
class Decoded:
    """What the note says."""

    people: tuple[str, ...]
    """Names of the subjects."""
    cache: str
    """Folder of the decoded faces, absolute."""


def note(out: Path, people: Iterable[str], cache: Path) -> None:
    """Write the note into the folder of the run."""
    found = Decoded(tuple(sorted(set(people))), str(cache.resolve()))
    write_whole(out / FILE, json.dumps(asdict(found)).encode())


def done(out: Path) -> None:
    """Remove the note: run.json is written."""
    (out / FILE).unlink(missing_ok=True)


def read(out: Path) -> Decoded | None:
    """The note in a folder; None where there is none, or a damaged one."""
    try:
        return record(Decoded, json.loads((out / FILE).read_text(encoding="utf-8")))
    except DAMAGED:
        return None


def forget(out: Path) -> None:
    """Remove the note and what its training left besides the cache, and the folder if nothing else is in it."""
    done(out)
    for name in (HOLDER, LOCK):
        (out / name).unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        (out / "cache").rmdir()
    if not any(out.iterdir()):
        out.rmdir()
