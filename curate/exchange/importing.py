"""Import of another program's faceset: its pictures are the footage, its metadata is kept next to our scores."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from curate.dataset.consent import make_subject
from curate.dataset.faceset import Faceset, create, is_faceset, write_table
from curate.errors import FacesetError, UsageError, WorkError
from curate.exchange.layout import ibug68
from curate.exchange.pictures import PROGRAMS, Picture, Program, about, pictures, program_of
from curate.exchange.record import BASIS, PICTURES, Record, to_table
from curate.extract.parts import IMPORTED
from curate.extract.pipeline import Curated, Request, curate
from curate.extract.table import build
from curate.face.backends import weights
from curate.footage.paths import photos
from curate.safe_io import read_parquet
from curate.settings import Settings
from curate.types import Failure, Floats, Progress, Subject, no_progress
from curate.words import quoted

log = logging.getLogger(__name__)

TABLE = IMPORTED
SAME_PLACE = 0.5
"""Mean distance of two faces' points below which they are one, in widths of the face."""
TIGHT = {"half_face", "midfull_face"}
"""DeepFaceLab's face types that show too little around it: of 43 such crops each, the face was found in 34 and 40."""


@dataclass(frozen=True)
class Imported:
    """What an import gave."""

    curated: Curated
    program: Program
    pictures: int
    """Pictures that were imported."""
    recognised: int
    """Faces of the other program that were found here too."""
    failed: tuple[Failure, ...]
    """Pictures that were left out."""

    def summary(self) -> dict[str, Any]:
        """The JSON object of the command, as far as the import knows it."""
        found = self.curated.summary()
        failed = [{"path": f.path, "reason": f.reason} for f in self.failed]
        return found | {
            "format": self.program,
            "pictures": self.pictures,
            "recognised": self.recognised,
            "failed": failed + found["failed"],
        }


def import_faceset(
    path: Path,
    out: Path,
    subject: str,
    basis: str,
    evidence: Path | None = None,
    program: str | None = None,
    workers: int = 1,
    progress: Progress = no_progress,
) -> Imported:
    """Copy the pictures into the faceset `out`, score them, and keep what their program knew as imported.parquet.

    A killed import goes on when it is called again. Raises UsageError, and WorkError when no picture is usable.
    """
    named = make_subject(subject, basis, evidence)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if is_faceset(path):
        raise UsageError(
            f"{path}: is a faceset of this program already: use it as it is, add footage with faceset curate "
            f"{quoted(path)}, "
            "or join two facesets with faceset merge"
        )
    if program is not None and program not in get_args(Program):
        raise UsageError(f"--format {program}: must be one of {', '.join(PROGRAMS)}")
    chosen: Program = program or program_of(path)  # type: ignore[assignment]  # checked
    if out.resolve().is_relative_to(path.resolve()):
        raise UsageError(f"--out {out}: is inside {path}, the folder to import; name a folder outside it")
    _check_basis(path, named)
    begun = _begun(out, path)
    if not begun:
        create(out, named, Settings(models=weights(Settings())))
    try:
        taken, records, failed = _take_over(path, chosen, out / PICTURES / (path.stem or "faces"), progress)
        request = Request((str(out / PICTURES),), out, subject, basis, evidence, workers=workers)
        done = curate(request, progress)
    except FacesetError:
        if not begun:
            shutil.rmtree(out, ignore_errors=True)
        raise
    matched = _match(done.faceset, records)
    write_table(out / TABLE, to_table(matched))
    build(done.faceset, workers, again=True)  # the roll in the frame follows from what was kept
    recognised = sum(face is not None for face, _ in matched)
    return Imported(done, chosen, taken, recognised, tuple(failed))


def _check_basis(path: Path, named: Subject) -> None:
    """UsageError if the faces came from an export that names another subject."""
    statement = (path if path.is_dir() else path.parent) / BASIS
    try:
        found = json.loads(statement.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    subject = found.get("subject") if isinstance(found, dict) else None
    if isinstance(subject, str) and subject != named.name:
        raise UsageError(f"--subject {named.name}: {statement} says that these are faces of {subject[:200]}")


def _begun(out: Path, path: Path) -> bool:
    """Whether `out` is an import that was killed; UsageError if it is another faceset."""
    if not is_faceset(out):
        return False
    if (out / TABLE).exists() or not (out / PICTURES).is_dir():
        raise UsageError(f"--out {out}: is already a faceset; name a new folder for the pictures in {path}")
    return True


def _take_over(
    path: Path, program: Program, folder: Path, progress: Progress
) -> tuple[int, list[Record], list[Failure]]:
    """Copy the usable pictures: their number, their records, and what was left out."""
    taken, records, total = 0, list[Record](), about(path)
    failed: list[Failure] = []
    for done, picture in enumerate(pictures(path, program)):
        progress("reading pictures", done, max(total, done + 1))
        if picture.failure is not None:
            failed.append(Failure(picture.path, picture.failure))
            continue
        _write(folder, picture)
        records += picture.records
        taken += 1
    tight = sum(record.face_type in TIGHT for record in records)
    if tight:
        log.warning(
            "%s: %d faces are cropped so tightly that many may not be detected; extract them again as whole_face",
            path,
            tight,
        )
    if not taken:
        first = f"{failed[0].path}: {failed[0].reason}" if failed else "it contains no pictures"
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise WorkError(f"no picture in {path} can be used: {first}{more}")
    return taken, records, failed


def _write(folder: Path, picture: Picture) -> None:
    target = folder / picture.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture.data)
    except FileExistsError:
        raise WorkError(f"{picture.path}: a folder and a file have the same name; rename one of them") from None


def _match(faceset: Faceset, records: list[Record]) -> list[tuple[str | None, Record]]:
    """Each record with the face id of the nearest face in its picture, or None."""
    table = faceset.table(["face_id", "clip", "frame", "x", "y", "width", "height"])
    by_file: dict[str, pd.DataFrame] = {}
    root = faceset.folder / PICTURES
    for clip in faceset.clips:
        names = photos(Path(clip.path))
        for frame, rows in table[table["clip"] == clip.name].groupby("frame"):
            file = names[int(str(frame))].relative_to(root.resolve())
            by_file[Path(*file.parts[1:]).as_posix()] = rows
    points = faceset.landmarks(table["face_id"])
    taken: set[str] = set()
    return [(_nearest(record, by_file.get(record.file), points, taken), record) for record in records]


def _nearest(record: Record, rows: pd.DataFrame | None, points: dict[str, Floats], taken: set[str]) -> str | None:
    """The face at the record's points, or the largest one if it has none; each face once."""
    best, least = None, np.inf
    for row in rows.to_dict("records") if rows is not None else ():
        face, width = row["face_id"], max(row["width"], 1.0)
        if record.landmarks is None:
            distance = -width * row["height"]
        else:
            distance = np.linalg.norm(ibug68(points[face]) - record.landmarks, axis=1).mean() / width
        if distance < min(least, SAME_PLACE) and face not in taken:
            best, least = face, distance
    if best is not None:
        taken.add(best)
    return best


def records_of(faceset: Faceset) -> pd.DataFrame | None:
    """imported.parquet of a faceset by face id, without the faces that were not found here; None if it is no import."""
    path = faceset.folder / TABLE
    if not path.is_file():
        return None
    rows = read_parquet(path).dropna(subset=["face_id"])
    return rows.set_index("face_id")
