"""The table faces.parquet, made from the parts alone: it adds what only the whole faceset can tell, in a fixed order.

Memory does not grow with the faces: the parts are read one at a time, three times over. First their tracks, which say
who is who; then an even sample of the subject's faces, which says what is its own
(`curate.extract.normalise.learn`); then every part is refined with that and written.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from curate.dataset import corrections
from curate.dataset.faceset import Faceset, write_faces
from curate.errors import NobodyError, WorkError
from curate.extract.normalise import ALBEDO_FACES, NEUTRAL_FACES, POSE, Own, Sample, learn, refine
from curate.extract.parts import (
    VECTORS,
    Part,
    Vectors,
    as_in_their_frames,
    rows_of,
    skins,
    spread,
    without_lost_crops,
)  # fmt: skip
from curate.extract.subject import People, find_people, mark
from curate.extract.tracks import joined
from curate.runtime import jobs
from curate.runtime.files import atomic
from curate.safe_io import read_groups
from curate.schema import COLUMNS, table_schema
from curate.scores.expression import never_rests
from curate.scores.lighting import skin
from curate.types import Progress, no_progress
from curate.words import quoted

log = logging.getLogger(__name__)

A_WORKER = 10_000
"""Faces that are worth a worker's start."""
PIECES = ".table-"
"""How the folder begins in which the table's pieces are."""
WHO = ["track", "status"]
"""Columns that `curate.extract.subject.mark` needs."""


@dataclass(frozen=True)
class Count:
    """Of one clip."""

    faces: int = 0
    kept: int = 0


@dataclass(frozen=True, eq=False)
class _Task:
    """One part to be refined."""

    folder: Path
    part: Part
    people: People
    own: Own
    out: Path


def build(
    faceset: Faceset,
    workers: int = 1,
    progress: Progress = no_progress,
    engine: str = "local",
    calibrated: Own | None = None,
    again: bool = False,
) -> dict[str, Count]:
    """Make and write faces.parquet; what each clip gave. `workers` and `engine` as in `curate.runtime.jobs.run`.

    `calibrated`: the subject's neutral and zero from other footage, which then count; its skin is not read. `again`:
    what the footage lacks was said before. A faceset that has no anchor yet has one afterwards, in its manifest. Raises
    NobodyError where no frame holds a face, or none one like the reference; the old table stays.
    """
    parts, tracks = joined(faceset)
    if not tracks.tracks:
        raise NobodyError(
            f"{faceset.folder}: no face was found in the footage: "
            "check that it shows a person whose face is at least 40 px wide and not covered"
        )
    people = find_people(tracks, faceset)
    with threadpool_limits(1):  # sums are taken in the same order everywhere
        own = learn(_sample(parts, people))
    if not again:
        _tell_own(faceset, own)
    own = own if calibrated is None else replace(calibrated, skin=own.skin)
    for left in faceset.folder.glob(f"{PIECES}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=PIECES, dir=faceset.folder) as name:
        pieces = [Path(name) / part.path.name for part in parts]
        tasks = [
            _Task(faceset.folder, part, people.of(part.numbers), own, piece)
            for part, piece in zip(parts, pieces, strict=True)
        ]
        _refine_all(tasks, workers, progress, engine)
        counts: dict[str, Count] = {}
        write_faces(faceset, _counted(parts, pieces, counts))
    if faceset.anchor != people.anchor:
        faceset.changed(anchor=people.anchor, persons=())
    return counts


def _refine_all(tasks: Sequence[_Task], workers: int, progress: Progress, engine: str) -> None:
    done, total = 0, sum(task.part.rows for task in tasks)
    many = min(workers, 1 + total // A_WORKER)
    for task, problem in jobs.run(_refine, tasks, many, engine if many > 1 else "local"):
        if problem is not None:
            raise problem
        done += task.part.rows
        progress("scores", done, total)


def _tell_own(faceset: Faceset, own: Own) -> None:
    """Say what the footage lacks to measure the subject; not of a video that is only followed, without more footage."""
    if faceset.subject is None:
        return
    if own.skin is None:
        log.info("there are too few faces to measure the subject's albedo: light is estimated from each frame alone")
    if does := never_rests(own.neutral):
        log.warning(
            "%s: the subject is never at rest in this footage: its calmest faces, which count as neutral, show %s. "
            "Add footage with a resting face",
            faceset.folder,
            " and ".join(does),
        )


def calibration(faceset: Faceset) -> Own:
    """The subject's neutral, zero and skin, as `build` learns them from the parts; WorkError without any face."""
    parts, tracks = joined(faceset)
    if not tracks.tracks:
        raise WorkError(f"{faceset.folder} has no parts with faces: run faceset curate {quoted(faceset.folder)} again")
    people = find_people(tracks, faceset)
    with threadpool_limits(1):
        return learn(_sample(parts, people))


def _counted(parts: Sequence[Part], pieces: Sequence[Path], counts: dict[str, Count]) -> Iterator[pa.Table]:
    """The pieces of the table; what they hold is added to `counts`."""
    for part, path in zip(parts, pieces, strict=True):
        piece = pq.read_table(path)
        path.unlink()
        had, kept = counts.get(part.clip, Count()), sum(piece["kept"].to_pylist())
        counts[part.clip] = Count(had.faces + len(piece), had.kept + kept)
        yield piece


def _refine(task: _Task) -> None:
    """Write one part's piece of the table."""
    names = [*(c.name for c in COLUMNS if c.level == "both" and c.name != "identity"), "distances", "skin"]
    rows, vectors = rows_of(task.part, names)
    corrections.lay_over(task.folder, rows, vectors)
    without_lost_crops(task.folder, rows)
    as_in_their_frames(task.folder, rows)
    mark(rows, task.people)
    refine(rows, vectors, *skins(task.part, rows), task.own)
    with atomic(task.out) as temporary:  # on a cluster a worker that was given up may still be writing it
        pq.write_table(_piece(rows, vectors), temporary, compression="lz4")


def renew(faceset: Faceset, part: Path, face_id: str) -> None:
    """Make one face's row of faces.parquet anew, as `build` would: the subject's neutral and skin come from the parts,
    which a correction leaves as they are, so that no other row changes.
    """
    parts, tracks = joined(faceset)
    people = find_people(tracks, faceset)
    own_part = next(p for p in parts if p.path == part)
    with threadpool_limits(1):
        own = learn(_sample(parts, people))
    with tempfile.TemporaryDirectory(prefix=PIECES, dir=faceset.folder) as name:
        piece = Path(name) / part.name
        _refine(_Task(faceset.folder, own_part, people.of(own_part.numbers), own, piece))
        made = pq.read_table(piece)
    new = made.filter(pc.equal(made["face_id"], face_id))
    write_faces(faceset, _replaced(faceset.table_path, new, face_id))


def _replaced(path: Path, new: pa.Table, face_id: str) -> Iterator[pa.Table]:
    """The table at `path` in pieces, with the row of one face replaced."""
    for rows in read_groups(path, schema=table_schema()):
        at = pc.index(rows["face_id"], face_id).as_py()
        yield rows if at < 0 else pa.concat_tables([rows[:at], new.select(rows.column_names), rows[at + 1 :]])


def _piece(rows: pd.DataFrame, vectors: Vectors) -> pa.Table:
    """Rows of the table, of its schema."""

    def column(field: pa.Field) -> pa.Array:
        if field.name not in vectors:
            return pa.array(rows[field.name], field.type, from_pandas=True)
        values = vectors[field.name]
        null = pa.array(np.isnan(values).all(1))
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1], mask=null).cast(field.type)

    schema = table_schema()
    return pa.Table.from_arrays([column(field) for field in schema], schema=schema)


def _ours(part: Part, people: People, more: Sequence[str]) -> tuple[pd.DataFrame, Vectors]:
    """The subject's faces of a part that have a pose, with more columns."""
    rows, vectors = rows_of(part, [*WHO, *POSE, *more])
    mark(rows, people)
    ours = rows["kept"].to_numpy(bool) & np.isfinite(rows[POSE[:3]].to_numpy(np.float64)).all(1)
    return rows[ours].reset_index(drop=True), {name: values[ours] for name, values in vectors.items()}


def _sample(parts: Sequence[Part], people: People) -> Sample:
    """Faces of the subject, evenly over the footage."""
    counts = [len(_ours(part, people, ())[0]) for part in parts]
    poses = [np.zeros((0, len(POSE)))]
    vectors: dict[str, list[NDArray[np.float32]]] = {
        name: [np.zeros((0, VECTORS[name]), np.float32)] for name in ("expression", "gaze", "distances")
    }
    for part, at in spread(parts, counts, NEUTRAL_FACES):
        rows, own = _ours(part, people, [*vectors])
        poses.append(rows.iloc[at][POSE].to_numpy(np.float64))
        for name, some in vectors.items():
            some.append(own[name][at])
    shown, turned = [np.zeros((0, len(skin()[0]), 3), np.uint8)], [np.zeros((0, 2))]
    for part, at in spread(parts, counts, ALBEDO_FACES):
        rows = _ours(part, people, ["skin"])[0].iloc[at].reset_index(drop=True)
        known, colours = skins(part, rows)
        shown.append(colours[known])
        turned.append(rows.loc[known, POSE[:2]].to_numpy(np.float64))
    return Sample(
        np.concatenate(poses),
        {name: np.concatenate(some) for name, some in vectors.items()},
        np.concatenate(turned),
        np.concatenate(shown),
    )
