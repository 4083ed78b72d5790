"""Two facesets of one subject as one: clips that both have are taken once, nothing is extracted again."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curate.dataset import consent, corrections
from curate.dataset.faceset import Faceset, check_new, create, open_faceset, write_table
from curate.dataset.links import check_links
from curate.dataset.lock import lock
from curate.dataset.pins import Pins, read_pins, write_pins
from curate.errors import UsageError, WorkError
from curate.extract.anchor import kept
from curate.extract.intake import free_name, overlaps
from curate.extract.segment import part_info
from curate.extract.table import build
from curate.safe_io import DAMAGED, one_line
from curate.scores.identity import distances
from curate.types import Progress, Subject, no_progress
from curate.words import quoted

log = logging.getLogger(__name__)


def merge(first: Path, second: Path, out: Path, workers: int = 1, progress: Progress = no_progress) -> Faceset:
    """The new faceset `out` with the clips, parts and crops of both, its subject that of the first; nothing selected.

    Bases and evidence of both are kept. Raises UsageError where they differ in subject, identity or settings, or `out`
    is something; ConsentError where one of them may not be used.
    """
    facesets = open_faceset(first), open_faceset(second)
    if facesets[0].folder.resolve() == facesets[1].folder.resolve():
        raise UsageError(f"{second}: is the first faceset again: name two facesets")
    subjects = tuple(consent.require(f.subject, str(f.folder)) for f in facesets)
    _check(facesets, subjects)
    check_new(out)
    for faceset in facesets:
        check_links(faceset.folder)
    for faceset in facesets:
        if out.resolve().is_relative_to(faceset.folder.resolve()):
            raise UsageError(f"--out {out}: is inside {faceset.folder}; name a folder of its own")
    made = create(out, subjects[0], facesets[0].settings)
    try:
        with lock(made), _undamaged():
            names = _names(facesets)
            clips = []
            for faceset, own in zip(facesets, names, strict=True):
                for clip in faceset.clips:
                    if clip.name in own:
                        _copy(faceset, clip.name, made, own[clip.name])
                        clips.append(replace(clip, name=own[clip.name]))
            others = dict.fromkeys(s for f, s in zip(facesets, subjects, strict=True) for s in (s, *f.merged))
            made = made.changed(
                clips=tuple(clips),
                anchor=facesets[0].anchor or kept(facesets[0]),
                grouping=facesets[0].grouping,
                references=facesets[0].references,
                merged=tuple(s for s in others if s != subjects[0]),
            )
            _merge_corrections(facesets, made)
            build(made, workers, progress)
            _merge_pins(facesets, made)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return open_faceset(out)


def _check(facesets: tuple[Faceset, Faceset], subjects: tuple[Subject, ...]) -> None:
    one, other = facesets
    if subjects[0].name != subjects[1].name:
        raise UsageError(
            f"{other.folder} contains the face of {subjects[1].name}, {one.folder} that of {subjects[0].name}: only "
            "facesets of one subject can be merged"
        )
    if one.settings.digest() != other.settings.digest():
        raise UsageError(
            f"{other.folder} was made with other settings or an older version: run faceset curate "
            f"{quoted(other.folder)} with "
            f"the settings of {one.folder} first"
        )
    apart = float(distances(one.looks(), other.looks()).min())
    if apart >= one.grouping.same_person:
        raise UsageError(
            f"{other.folder} shows another person than {one.folder} (identity distance {apart:.2f}, limit "
            f"{one.grouping.same_person:g}): check the subject of each with faceset people"
        )


def _names(facesets: tuple[Faceset, Faceset]) -> tuple[dict[str, str], dict[str, str]]:
    """Of each faceset the clips that are taken, and their names in the new one."""
    first, second = facesets
    known = {(c.sha256, c.start, c.end): c for c in first.clips}
    taken = {c.name for c in first.clips}
    names: dict[str, str] = {}
    for clip in second.clips:
        if (clip.sha256, clip.start, clip.end) in known:
            log.info("%s is in both facesets and is taken once", clip.name)
            continue
        double = next((c for c in first.clips if c.sha256 == clip.sha256 and overlaps(c, clip)), None)
        if double is not None:
            raise UsageError(
                f"{second.folder}: its range of {clip.name} overlaps one of {first.folder}: remove one of them with "
                "faceset remove"
            )
        names[clip.name] = free_name(clip.name, taken)
        taken.add(names[clip.name])
    return {c.name: c.name for c in first.clips}, names


def _copy(faceset: Faceset, name: str, made: Faceset, new: str) -> None:
    """Copy the current parts and all crops of a clip, under its new name."""
    (made.folder / "parts").mkdir(exist_ok=True)
    digest = faceset.settings.digest()
    for path in faceset.parts().get(name, ()):
        info = part_info(path)
        if info is None or info.settings != digest:
            continue
        target = made.folder / "parts" / f"{new}{path.name.removeprefix(name)}"
        if new == name:
            shutil.copyfile(path, target)
        else:
            write_table(target, _renamed(pq.read_table(path), name, new))
    crops = faceset.folder / "crops" / name
    if crops.is_dir():
        shutil.copytree(crops, made.folder / "crops" / new, ignore=_links_out)


def _links_out(folder: str, names: list[str]) -> list[str]:
    """Links among the files of a clip's crops that lead to folders or out of the crops: nothing of those is copied."""
    links = [Path(folder, name) for name in names if Path(folder, name).is_symlink()]
    crops = next(p for p in (Path(folder), *Path(folder).parents) if p.name == "crops").resolve()
    return [link.name for link in links if link.is_dir() or not link.resolve().is_relative_to(crops)]


def _renamed(part: pa.Table, old: str, new: str) -> pa.Table:
    """A part with another name of its clip."""
    before = f"crops/{old}/"
    crops = [c if c is None else f"crops/{new}/{c.removeprefix(before)}" for c in part["crop"].to_pylist()]
    for column, values in (("clip", [new] * len(part)), ("crop", crops)):
        at = part.column_names.index(column)
        part = part.set_column(at, part.schema.field(column), pa.array(values, pa.string()))
    return part


def _merge_corrections(facesets: tuple[Faceset, Faceset], made: Faceset) -> None:
    first, second = (corrections.read(faceset.folder) for faceset in facesets)
    if first or second:
        corrections.write(made.folder, second | first)


def _merge_pins(facesets: tuple[Faceset, Faceset], made: Faceset) -> None:
    faces = set(made.table(["face_id"])["face_id"])
    pinned, banned = set[str](), set[str]()
    for pins in map(read_pins, facesets):
        pinned |= faces & set(pins.pinned)
        banned |= faces & set(pins.banned)
    write_pins(made, Pins(tuple(sorted(pinned - banned)), tuple(sorted(banned))))


@contextmanager
def _undamaged() -> Iterator[None]:
    """Files that cannot be read or written become a message."""
    try:
        yield
    except DAMAGED as error:
        raise WorkError(f"the facesets cannot be merged ({one_line(error)}): check both with faceset select") from None
