"""Working folder of a render: lock, resuming, progress and clean-up.

It is the hidden folder `.OUT.render` next to the output OUT; `render.plan` lists its files.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from curate.errors import UsageError, WorkError
from curate.types import Progress
from render import network, part, plan
from render.output.mux import DISK
from render.plan import Plan, RenderPart

if TYPE_CHECKING:
    from curate.extract.follow import Followed

LOCK = "lock"


def folder_of(out: Path) -> Path:
    """The working folder of a render to `out`."""
    return out.parent / f".{out.name}.render"


@contextmanager
def working_folder(out: Path) -> Iterator[Path]:
    """The working folder, locked by this process; removed at the end, kept for resuming if the render was interrupted.

    Raises UsageError if another process renders to `out`, WorkError if the disk cannot be written.
    """
    folder = folder_of(out)
    lock = _locked(folder, out)
    finished = False
    try:
        yield folder
        finished = True
    except OSError as error:
        if error.errno not in DISK:
            raise
        raise WorkError(
            f"--out {out}: cannot be written ({error.strerror}); free disk space or choose another disk"
        ) from None
    finally:
        lock.release()
        if finished or not (folder / "face.parquet").is_file():
            shutil.rmtree(folder, ignore_errors=True)


def _locked(folder: Path, out: Path) -> FileLock:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"--out {out}: another render is writing this file; wait for it, or choose another file"
        ) from None
    except OSError as error:
        raise WorkError(f"--out {out}: cannot be written ({error.strerror}); choose another folder") from None
    return lock


def resumable(folder: Path, wanted: Plan, ended: bool = True, mend: bool = False) -> Plan | None:
    """The plan of an interrupted render with the wanted pixels; None if there is none.

    A run that has not `ended` has newer weights by now; the render continues with those that it began with. One that
    is to `mend` continues with the settings that it found.
    """
    found = plan.load(folder)
    if found is None or not all(_filled(plan.folder_of(folder, number)) for number in range(found.people)):
        return None
    like = wanted
    if not ended and wanted.people == found.people:
        others = zip(wanted.others, found.others, strict=True)
        kept = tuple(replace(own, weights_sha256=old.weights_sha256) for own, old in others)
        like = replace(wanted, weights_sha256=found.weights_sha256, others=kept)
    like = replace(like, stretches=found.stretches) if mend else like
    return found if found.same(like) else None


def _filled(folder: Path) -> bool:
    return (folder / "face.parquet").is_file() and (folder / network.FOLDER).is_dir()


def fill(folder: Path, made: Plan, faces: Sequence[Followed]) -> None:
    """Write the plan and the files that all parts read; `faces` has each person's."""
    for number, face in enumerate(faces):
        own = plan.folder_of(folder, number)
        plan.save_face(own, face.rows)
        plan.save_cuts(own, face.cuts)
        if made.occlusion:
            plan.save_typical(own, part.learn(made.person(number), own))
    made.save(folder)  # last: a plan means that the other files are complete


def clear(folder: Path) -> None:
    """Delete what another plan left in the folder."""
    for path in folder.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def open_parts(folder: Path, made: Plan) -> list[RenderPart]:
    """Parts of the plan that are not finished."""
    return [each for each in made.parts if not part.finished(made, folder, each)]


@contextmanager
def progress_shown(folder: Path, made: Plan, progress: Progress) -> Iterator[None]:
    """Report twice a second how many frames are rendered, in whatever process."""
    stop, frames = threading.Event(), made.end - made.first

    def watch() -> None:
        while not stop.wait(0.5):
            progress("rendering", min(plan.total(folder, made.parts), frames), frames)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
        progress("rendering", frames, frames)
    finally:
        stop.set()
        thread.join()
