"""Pruning of crops that no selection uses, to save disk space, and restoring them from the footage.

The table and the parts keep every face; a face without its crop has a null in the table's column `crop`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.dataset import mirror
from curate.dataset.faceset import Faceset, without_crop
from curate.dataset.lock import lock
from curate.dataset.pins import read_pins
from curate.errors import WorkError
from curate.extract.engine import is_done
from curate.extract.parts import damage
from curate.extract.segment import crop_path, write_crop
from curate.face import align
from curate.footage import remote
from curate.footage.source import check_unchanged, verified
from curate.footage.video import decode, segments
from curate.runtime.files import atomic
from curate.safe_io import read_arrow
from curate.schema import part_schema
from curate.types import Clip, Progress, Segment, no_progress
from curate.words import many, quoted

SEGMENT, CROP = re.compile(r"\d{4,}"), re.compile(r"\d{7,}-\d+\.jpg")
"""Names that `curate.extract.segment` gives to the folder of a segment's crops, and to a crop."""
ROWS = 20_000
"""Rows of the table that are held at a time."""


@dataclass(frozen=True)
class Pruned:
    """What pruning removes or has removed."""

    crops: int
    bytes: int
    kept: int
    """Crops that stay: of the selected and the pinned faces."""
    pictures: int
    """Small pictures of other people in the parts, which no footage brings back."""
    done: bool


def prune(faceset: Faceset, yes: bool = False) -> Pruned:
    """Count the crops of faces that are neither selected nor pinned, and with `yes` remove them.

    With them go the small pictures of other people in the parts, by which their identity was read. They do not come
    back: later, degraded tracks of another person are not compared any more (`curate.extract.degraded`).
    The table is written before a file goes: stopped at any moment, it names no crop that is not there, and calling
    again takes the rest. Raises WorkError where there is no selection.
    """
    if not yes:
        return _pruned(faceset, sum(number for _, _, number in _of_others(faceset)), done=False)
    with lock(faceset):
        wanted = _wanted(faceset)
        pictures = _forget_others(faceset)
        _rewrite(faceset, lambda crop, _: crop if crop in wanted else None)
        found = _pruned(faceset, pictures, done=True)
        for path, _ in _others(faceset, wanted):
            path.unlink(missing_ok=True)
            mirror.removed(path)
        for folder in sorted(_segments(faceset), reverse=True):
            with suppress(OSError):  # not empty
                folder.rmdir()
    return found


def _of_others(faceset: Faceset) -> Iterator[tuple[Path, pa.Array, int]]:
    """Every part with chips of faces that are not the subject's: its path, which rows keep theirs, how many do not.

    Raises WorkError for a damaged part.
    """
    table = faceset.table(["face_id", "kept"])
    own = pa.array(table.loc[table["kept"], "face_id"], pa.string())
    for path in (path for paths in faceset.parts().values() for path in paths):
        with damage(path):
            faces = read_arrow(path, ["face_id"], part_schema())
            if "chip" not in pq.read_schema(path).names:  # of an older version
                continue
            faces = read_arrow(path, ["face_id", "chip"], part_schema())
        keep = pc.is_in(faces["face_id"], value_set=own)
        if number := pc.sum(pc.and_not(faces["chip"].is_valid(), keep)).as_py():
            yield path, keep, number


def _forget_others(faceset: Faceset) -> int:
    """Write the parts again without the chips of faces that are not the subject's; how many there were."""
    count = 0
    for path, keep, number in _of_others(faceset):
        with damage(path):
            part = read_arrow(path, None, part_schema())
        at = part.schema.get_field_index("chip")
        chips = pc.if_else(keep, part["chip"], pa.scalar(None, pa.binary()))
        with atomic(path) as temporary:
            pq.write_table(part.set_column(at, part.schema.field(at), chips), temporary, compression="zstd")
        count += number
    return count


def dropped(faceset: Faceset) -> set[str]:
    """Paths in the faceset of the crops that pruning removes. Raises WorkError where there is no selection."""
    return {path.relative_to(faceset.folder).as_posix() for path, _ in _others(faceset, _wanted(faceset))}


def _pruned(faceset: Faceset, pictures: int, done: bool) -> Pruned:
    wanted = _wanted(faceset)
    sizes = [size for _, size in _others(faceset, wanted)]
    kept = sum((faceset.folder / crop).is_file() for crop in wanted)
    return Pruned(len(sizes), sum(sizes), kept, pictures, done)


def _wanted(faceset: Faceset) -> set[str]:
    """Paths of the crops of selected and pinned faces."""
    faces = {*faceset.selection()["face_id"], *read_pins(faceset).pinned}
    table = faceset.table(["face_id", "crop"])
    return set(table.loc[table["face_id"].isin(faces), "crop"].dropna())


def _others(faceset: Faceset, wanted: set[str]) -> Iterator[tuple[Path, int]]:
    """Every other crop on the disk, with its size; files of other names and links are none."""
    for folder in _segments(faceset):
        with os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                is_crop = CROP.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
                if is_crop and path.relative_to(faceset.folder).as_posix() not in wanted:
                    yield path, entry.stat().st_size


def _segments(faceset: Faceset) -> list[Path]:
    """Folders with the crops of one segment, also of clips that are no longer there; links are not followed."""
    crops = faceset.folder / "crops"
    clips = () if crops.is_symlink() else crops.glob("*")
    found = (folder for clip in clips if not clip.is_symlink() for folder in clip.glob("*"))
    return [
        folder for folder in found if SEGMENT.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink()
    ]


def _rewrite(faceset: Faceset, crop_of: Callable[[str | None, str], str | None]) -> None:
    """Write the table again with other crops, a piece at a time; `crop_of` is given the crop and the face's id."""
    old = pq.ParquetFile(faceset.table_path)
    at = old.schema_arrow.get_field_index("crop")
    with (
        atomic(faceset.table_path) as temporary,
        pq.ParquetWriter(temporary, old.schema_arrow, compression="zstd") as writer,
    ):
        for batch in old.iter_batches(ROWS):
            pairs = zip(batch["crop"].to_pylist(), batch["face_id"].to_pylist(), strict=True)
            crops = pa.array([crop_of(*pair) for pair in pairs], pa.string())
            writer.write_batch(batch.set_column(at, "crop", crops))


def restore(faceset: Faceset, progress: Progress = no_progress, allow_remote: bool = False) -> int:
    """Restore the crops of selected faces from the footage, with the same bytes; returns their number.

    Footage at a URL is opened only with `allow_remote`. Raises WorkError where the footage is gone or is another, or a
    frame can no longer be decoded.
    """
    with lock(faceset):
        missing = without_crop(faceset)
        clips = {clip.name: clip for clip in faceset.clips}
        made: dict[str, str] = {}
        progress("crops", 0, len(missing))
        for name, rows in missing.groupby("clip", sort=True):
            remote.check_named(clips[str(name)], None if allow_remote else ())
            with remote.held(clips[str(name)]) as clip:
                for crop, face in _of_clip(faceset, clip, rows):
                    made[face] = crop
                    progress("crops", len(made), len(missing))
            remote.release(clips[str(name)])
        if made:
            _rewrite(faceset, lambda crop, face: made.get(face, crop))
    if len(made) < len(missing):
        raise WorkError(
            f"{faceset.folder}: {many(len(missing) - len(made), 'crop')} cannot be restored: the frames are damaged"
        )
    return len(made)


def _of_clip(faceset: Faceset, clip: Clip, rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Write the crops of rows of one clip; the path in the faceset and the face of each."""
    if not Path(clip.path).exists():
        raise WorkError(
            f"{clip.path}: no such file; if it was moved, give its new place once, then restore again: "
            f"faceset curate NEW_PLACE --out {quoted(faceset.folder)}"
        )
    before = verified(clip)
    plan = {s.index: s for s in segments(clip, faceset.settings.segment_seconds)}
    for index, some in rows.groupby("segment", sort=True):
        segment = plan.get(int(str(index)))
        if segment is None or not is_done(faceset, clip, segment.key):
            raise WorkError(
                f"{faceset.folder}: part {clip.name}-{index} is stale: "
                f"extract it again with faceset curate {quoted(faceset.folder)}"
            )
        yield from _of_segment(faceset, clip, segment, some)
    check_unchanged(Path(clip.path), before)


def _of_segment(faceset: Faceset, clip: Clip, segment: Segment, rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    s = faceset.settings
    part = read_arrow(faceset.part_path(segment.key), ["face_id", "landmarks"], part_schema(), ("face_id",))
    faces = dict(zip(part["face_id"].to_pylist(), part["landmarks"], strict=True))
    wanted = {int(str(frame)): some["face_id"].tolist() for frame, some in rows.groupby("frame")}
    for frame in decode(clip, segment):
        for face in wanted.get(frame.index, []):
            points = faces[face].values.to_numpy(zero_copy_only=False).reshape(-1, 3)
            path = crop_path(clip.name, segment.index, frame.index, face)
            (faceset.folder / path).parent.mkdir(parents=True, exist_ok=True)
            with atomic(faceset.folder / path) as temporary:
                matrix = align.crop_matrix(points, s.framing, s.crop_size)
                write_crop(temporary, align.warp(frame.image, matrix, s.crop_size))
            yield path, face
        if frame.index >= max(wanted):
            return
