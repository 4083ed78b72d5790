"""Removal of clips from a faceset: their parts, crops, rows, pins and corrections, and the pages, which show their
faces. The footage itself is not touched.

The table is made again without the clips before anything is deleted: where that fails, nothing is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from curate.dataset import corrections, mirror, selection_file
from curate.dataset.faceset import Faceset, open_faceset
from curate.dataset.lock import lock
from curate.dataset.pins import Pins, read_pins, write_pins
from curate.errors import FacesetError, NobodyError, UsageError
from curate.extract.table import build
from curate.types import Clip, Progress, no_progress
from curate.upkeep.forget import remove, weigh
from curate.words import same_text


@dataclass(frozen=True)
class RemovedClip:
    """What goes with one clip."""

    name: str
    path: str
    faces: int
    kept: int
    selected: int
    files: int
    """Parts and crops."""
    bytes: int


@dataclass(frozen=True)
class Removed:
    """Result of a removal, or its preview."""

    faceset: str
    clips: tuple[RemovedClip, ...]
    done: bool


def remove_clips(faceset: Faceset, names: Sequence[str], yes: bool, progress: Progress = no_progress) -> Removed:
    """Count what belongs to these clips (names or paths), and with `yes` remove it; then the selection is void.

    Raises UsageError for a clip that is not there and for all clips at once, NobodyError where the rest does not show
    the subject.
    """
    with lock(faceset):
        clips = [_named(faceset, name) for name in dict.fromkeys(names)]
        going = {clip.name for clip in clips}
        rest = tuple(clip for clip in faceset.clips if clip.name not in going)
        if not rest:
            raise UsageError(f"{faceset.folder}: these are all of its clips: faceset forget removes a whole faceset")
        table = faceset.table(["face_id", "clip", "kept"])
        _check_subject(faceset, table, going)
        chosen = set(faceset.selection()["face_id"]) if faceset.selection_path.is_file() else set[str]()
        told = []
        for name in sorted(going):
            rows = table[table["clip"] == name]
            piece = weigh("clip", faceset.folder, _files(faceset, name))
            path = next(clip.path for clip in clips if clip.name == name)
            selected = int(rows["face_id"].isin(chosen).sum())
            told.append(RemovedClip(name, path, len(rows), int(rows["kept"].sum()), selected, piece.files, piece.bytes))
        if yes:
            _remove(faceset, going, rest, set(table.loc[table["clip"].isin(going), "face_id"]), progress)
    return Removed(str(faceset.folder), tuple(told), yes)


def _check_subject(faceset: Faceset, table: pd.DataFrame, going: set[str]) -> None:
    """Refuse a removal that leaves no face of the subject, in the preview as well."""
    if table["kept"].any() and not (table["kept"] & ~table["clip"].isin(going)).any():
        raise NobodyError(
            f"{faceset.folder}: the subject is seen only in {', '.join(sorted(going))}: choose another person first "
            "(faceset people), or remove the whole faceset (faceset forget)"
        )


def _named(faceset: Faceset, text: str) -> Clip:
    """The clip of this name or path."""
    place = str(Path(text).resolve())
    for clip in faceset.clips:
        if same_text(text, clip.name) or same_text(place, clip.path):
            return clip
    names = ", ".join(clip.name for clip in faceset.clips)
    raise UsageError(f"{text}: is no clip of {faceset.folder}, which has {names}")


def _files(faceset: Faceset, name: str) -> list[Path]:
    """Parts and crops of a clip."""
    crops = faceset.folder / "crops" / name
    return [*faceset.parts().get(name, ()), *([crops] if crops.exists() else [])]


def _remove(faceset: Faceset, going: set[str], rest: tuple[Clip, ...], faces: set[str], progress: Progress) -> None:
    try:
        build(faceset.changed(clips=rest), progress=progress)
    except FacesetError:
        faceset.save()
        raise
    faceset = open_faceset(faceset.folder)
    pins = read_pins(faceset)
    left = (tuple(face for face in some if face not in faces) for some in (pins.pinned, pins.banned))
    write_pins(faceset, Pins(*left))
    corrected = corrections.read(faceset.folder)
    if not faces.isdisjoint(corrected):
        corrections.write(faceset.folder, {face: row for face, row in corrected.items() if face not in faces})
    selection_file.void(faceset.selection_path)
    mirror.removed(faceset.selection_path)
    for name in sorted(going):
        remove(_files(faceset, name))
    if faceset.reports.exists():
        remove([faceset.reports])
