"""Decoded faces of a training that has no run.json yet: a note in its folder says whose they are and where they lie.

OUT/.training.faces.json    the names of the people, the folders of the caches; gone once run.json says it

Without it, what a training leaves that was refused or killed while it decoded could not be forgotten. What earlier
attempts noted is kept, and goes into run.json.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from curate.errors import FacesetError
from curate.records import record
from curate.runtime.files import write_whole
from curate.safe_io import DAMAGED
from train.folder_lock import HOLDER, LOCK
from train.run import Run, is_run, open_run

FILE = ".training.faces.json"


@dataclass(frozen=True)
class Decoded:
    """What the note says."""

    people: tuple[str, ...] = ()
    """Names of the subjects."""
    caches: tuple[str, ...] = ()
    """Folders of the decoded faces, absolute."""


def earlier(out: Path) -> Decoded:
    """What is known of decoded faces before a run in `out` is resumed or replaced."""
    found = read(out) or Decoded()
    with suppress(FacesetError):
        if is_run(out):
            run = open_run(out)
            names = {side.subject.name for side in (run.source, run.target, *run.people)}
            here = [place for machine, place in run.caches or () if machine == socket.gethostname()]
            return Decoded(tuple(sorted({*found.people, *names})), tuple(dict.fromkeys([*found.caches, *here])))
    return found


def note(out: Path, before: Decoded, people: Iterable[str], cache: Path) -> None:
    """Write the note into the folder of the run, with what was known `before`."""
    caches = tuple(dict.fromkeys([*before.caches, str(cache.resolve())]))
    found = Decoded(tuple(sorted({*before.people, *people})), caches)
    write_whole(out / FILE, json.dumps(asdict(found)).encode())


def noted(run: Run) -> Run:
    """The run with the caches of the note, besides its own folder for them."""
    found, own = read(run.path) or Decoded(), str((run.path / "cache").resolve())
    here = socket.gethostname()
    more = [(here, place) for place in found.caches if place != own]
    return replace(run, caches=tuple(dict.fromkeys([*run.caches, *more]))) if more and run.caches is not None else run


def saved(run: Run) -> Run:
    """Write run.json, with the caches of the note, which is removed."""
    run = noted(run)
    run.save()
    (run.path / FILE).unlink(missing_ok=True)
    return run


def read(out: Path) -> Decoded | None:
    """The note in a folder; None where there is none, or a damaged one."""
    try:
        return record(Decoded, json.loads((out / FILE).read_text(encoding="utf-8")))
    except DAMAGED:
        return None


def forget(out: Path) -> None:
    """Remove the note and what its training left besides the cache, and the folder if nothing else is in it."""
    (out / FILE).unlink(missing_ok=True)
    if is_run(out):
        return
    for name in (HOLDER, LOCK):
        (out / name).unlink(missing_ok=True)
    for folder in (out / "cache", out):
        with suppress(OSError):  # not empty, not there, or the folder that we are in
            folder.rmdir()
