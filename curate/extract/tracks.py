"""The tracks of a faceset, from its parts: joined across segments, and split where they show more than one person.

A shot goes on from one segment to the next where the frames at the border are alike, and with it the tracks whose boxes
overlap there. A track ends at a dissolve or fade, and where its chips begin to disagree.
Memory: the boxes of one clip at a time, and one vector per track.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset
from curate.extract.parts import BOX, Part, damage, read
from curate.extract.segment import PartInfo, part_info
from curate.face.track import SAME_FACE, overlap
from curate.footage import dissolves
from curate.footage.shots import is_cut
from curate.scores.identity import SAME_PERSON
from curate.types import Clip, Floats

DISSOLVE = "dissolve or fade"
TURNS = "the track changes to another face here"
LONE = 0.6
"""Distance of a single chip at the end of a track from the others above which the track is split there."""
BRIEF = 5
"""Frames of a video below which a track is too short, as in a whip pan or between two dissolves."""
NEAR = 3
"""Chips to either side that are compared."""
TOGETHER = 3
"""Frames in which two tracks are seen at once that make them two people."""
MARGIN = 2 * dissolves.REACHES[-1]
"""Frames of the neighbouring segments that tell what is blended in one."""


@dataclass(frozen=True, eq=False)
class Track:
    """One face followed through one shot."""

    face: str
    """Id of its first face."""
    clip: str
    shot: int
    first: int
    last: int
    """First and last frame."""
    frames: int
    """Frames of the footage for which it stands."""
    area: float
    """Sum of its boxes, square pixels times those frames."""
    vector: Floats | None
    """(128,) mean of its chips; None where it has none that counts."""
    reason: str | None = None
    """Why its faces are nobody's; None: they are somebody's."""
    brief: bool = False
    """Whether it is too short to be somebody of its own: it may only join people who are seen longer."""
    chips: tuple[tuple[Path, str], ...] = ()
    """Part and id of the faces from which its identity was read, in order."""


@dataclass(eq=False)
class Tracks:
    """All tracks of a faceset by number."""

    tracks: list[Track] = field(default_factory=list)
    together: set[tuple[int, int]] = field(default_factory=set)
    """Pairs that are seen in the same frames."""


@dataclass(eq=False)
class _Clip:
    """The rows of one clip while its tracks are found."""

    rows: list[pd.DataFrame] = field(default_factory=list)
    """face_id, frame, stands_for, shot, track (its own number in the clip) and area, of each part."""
    chips: dict[int, list[tuple[int, Floats]]] = field(default_factory=dict)
    """Frame and vector of each chip, by track."""
    read: dict[str, Path] = field(default_factory=dict)
    """Part of each face from which a vector was read, by the face's id."""
    infos: list[PartInfo] = field(default_factory=list)
    parts: list[tuple[Path, int, dict[int, int]]] = field(default_factory=list)
    """Path, what is added to its shots, and its tracks' numbers in the clip."""


def joined(faceset: Faceset) -> tuple[list[Part], Tracks]:
    """The current parts, by name of the clip and in order, and the tracks."""
    parts: list[Part] = []
    tracks = Tracks()
    listed = faceset.parts()
    for clip in sorted(faceset.clips, key=lambda c: c.name):
        found = _clip(faceset, clip, listed.get(clip.name, ()))
        parts += _split(clip, found, tracks)
    return parts, tracks


def _clip(faceset: Faceset, clip: Clip, paths: Sequence[Path]) -> _Clip:
    found, shot, count = _Clip(), 0, 0
    before: tuple[PartInfo, pd.DataFrame] | None = None
    for path in paths:
        info = part_info(path)
        if info is None or info.settings != faceset.settings.digest() or info.clip_sha256 != clip.sha256:
            continue  # stale: made from other bytes or with other settings
        rows = read(path, ["face_id", "frame", "stands_for", "shot", "track", *BOX, "identity"]).to_pandas()
        rows = rows.sort_values(["frame", "face_id"], ignore_index=True)
        goes_on = before is not None and _goes_on(before[0], info)
        first = shot if before is None or goes_on else shot + 1
        names = _same_tracks(before[1], rows) if before is not None and goes_on else {}
        for track in np.unique(rows["track"]).tolist():
            if track not in names:
                names[track], count = count, count + 1
        shot = first + int(rows["shot"].max() if len(rows) else 0)
        rows = rows.assign(track=rows["track"].map(names), shot=rows["shot"] + first)
        for row in rows[rows["identity"].notna()].itertuples():
            found.chips.setdefault(int(str(row.track)), []).append((int(str(row.frame)), np.asarray(row.identity)))
            found.read[str(row.face_id)] = path
        before = info, rows.loc[rows["frame"] == rows["frame"].max(), ["frame", "track", *BOX]]
        area = rows["width"] * rows["height"] * rows["stands_for"]
        found.rows.append(rows[["face_id", "frame", "stands_for", "shot", "track"]].assign(area=area))
        found.infos.append(info)
        found.parts.append((path, first, names))
    return found


def cuts(faceset: Faceset, clip: Clip) -> tuple[int, ...]:
    """Indexes of the frames at which the shots of a clip begin, in order, apart from its first frame."""
    found: list[int] = []
    before: PartInfo | None = None
    for path in faceset.parts().get(clip.name, ()):
        info = part_info(path)
        if info is None or not info.read:
            continue
        if before is not None and not _goes_on(before, info):
            found.append(info.read[0])
        found += info.cuts
        before = info
    return tuple(found)


def _goes_on(before: PartInfo, after: PartInfo) -> bool:
    """Whether the shot at the end of one segment goes on in the next."""
    if before.last_thumb is None or after.first_thumb is None:
        return False
    return not is_cut(before.last_thumb, after.first_thumb)


def _same_tracks(last: pd.DataFrame, after: pd.DataFrame) -> dict[int, int]:
    """Tracks of the new segment that go on from the last frame of the one before: their numbers there."""
    if last.empty or after.empty:
        return {}
    first = after[after["frame"] == after["frame"].min()]
    same: dict[int, int] = {}
    for new, box in _boxes(first):
        for old, before in _boxes(last):
            if old not in same.values() and overlap(box, before) > SAME_FACE:
                same[new] = old
                break
    return same


def _boxes(rows: pd.DataFrame) -> list[tuple[int, NDArray[np.float64]]]:
    """Track and box of every row."""
    return list(zip(rows["track"].astype(int).tolist(), rows[BOX].to_numpy(np.float64), strict=True))


def _split(clip: Clip, found: _Clip, tracks: Tracks) -> list[Part]:
    """The parts of a clip with the numbers of their tracks; the tracks are added to `tracks`."""
    if not found.rows:
        return []
    marked = _blended(found)
    rows = pd.concat(found.rows, ignore_index=True)
    starts: dict[int, list[tuple[int, int]]] = {}
    final = np.zeros(len(rows), np.int64)
    for number, own in rows.groupby("track", sort=True):
        frames = own["frame"].to_numpy(np.int64)
        chips = found.chips.get(int(str(number)), [])
        for begin, end, reason, vectors in pieces(frames, np.isin(frames, marked), chips):
            some = own.iloc[begin:end]
            final[some.index] = len(tracks.tracks)
            starts.setdefault(int(str(number)), []).append((int(frames[begin]), len(tracks.tracks)))
            tracks.tracks.append(_track(clip, some, reason, vectors, found.read))
    tracks.together |= _together(rows["frame"].to_numpy(np.int64), final)
    return [
        Part(path, clip.name, len(own), first, {local: tuple(starts[number]) for local, number in names.items()})
        for (path, first, names), own in zip(found.parts, found.rows, strict=True)
    ]


def _track(
    clip: Clip, rows: pd.DataFrame, reason: str | None, vectors: Sequence[Floats], read_in: Mapping[str, Path]
) -> Track:
    vector = np.mean(vectors, axis=0).astype(np.float32) if len(vectors) and reason is None else None
    frames, shown = rows["frame"], int(rows["stands_for"].sum())
    return Track(
        str(rows["face_id"].iloc[0]), clip.name, int(rows["shot"].iloc[0]), int(frames.iloc[0]), int(frames.iloc[-1]),
        shown, float(rows["area"].sum()), vector, reason, brief=clip.kind == "video" and shown < BRIEF,
        chips=tuple((read_in[face], face) for face in rows["face_id"] if face in read_in),
    )  # fmt: skip


def pieces(
    frames: NDArray[np.int64], blended: NDArray[np.bool_], chips: Sequence[tuple[int, Floats]]
) -> Iterator[tuple[int, int, str | None, list[Floats]]]:
    """Stretches of one track that show one person: [begin, end) in its rows, why it is nobody, its vectors.

    `frames` (N,) of its rows, `blended` (N,) whether a frame is part of a dissolve, `chips` frames and vectors.
    """
    edges = [0, *(np.flatnonzero(np.diff(blended)) + 1).tolist(), len(frames)]
    for begin, end in itertools.pairwise(edges):
        if blended[begin]:
            yield begin, end, DISSOLVE, []
            continue
        own = sorted((c for c in chips if frames[begin] <= c[0] <= frames[end - 1]), key=lambda c: c[0])
        turns = changes(np.stack([v for _, v in own])) if len(own) > 1 else []
        at = begin
        for low, high in zip([0, *turns], [*turns, len(own)], strict=True):
            if high < len(own):
                ends = int(np.searchsorted(frames, own[high - 1][0])) + 1
                begins = int(np.searchsorted(frames, own[high][0]))
            else:
                ends = begins = end
            yield at, ends, None, [v for _, v in own[low:high]]
            if begins > ends:
                yield ends, begins, TURNS, []
            at = begins


def changes(vectors: NDArray[np.floating]) -> list[int]:
    """Chips (N, 128) of a track at which it begins to show somebody else, in order."""
    count = len(vectors)
    best, at = 0.0, 0
    for i in range(1, count):
        before, after = vectors[max(i - NEAR, 0) : i], vectors[i : i + NEAR]
        apart = float(np.linalg.norm(before.mean(axis=0) - after.mean(axis=0)))
        beside = float(np.linalg.norm(vectors[i - 1] - vectors[i]))
        limit = LONE if min(i, count - i) == 1 else SAME_PERSON
        if apart > max(limit, best) and beside > SAME_PERSON:
            best, at = apart, i
    if not at:
        return []
    return [*changes(vectors[:at]), at, *(at + i for i in changes(vectors[at:]))]


def _blended(found: _Clip) -> NDArray[np.int64]:
    """Frames of the clip that are part of a dissolve or fade."""
    marked = [np.zeros(0, np.int64)]
    seen = [_traces(path, info) for (path, _, _), info in zip(found.parts, found.infos, strict=True)]
    for i, (frames, traces) in enumerate(seen):
        before, after = (seen[j][1] if 0 <= j < len(seen) else traces[:0] for j in (i - 1, i + 1))
        before, after = before[-MARGIN:], after[:MARGIN]
        mask = dissolves.blended(np.concatenate([before, traces, after]))
        marked.append(frames[mask[len(before) : len(before) + len(frames)]])
    return np.concatenate(marked)


def _traces(path: Path, info: PartInfo) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    with damage(path):
        return np.array(info.read, np.int64), dissolves.unpacked(info.traces, len(info.read))


def _together(frames: NDArray[np.int64], tracks: NDArray[np.int64]) -> set[tuple[int, int]]:
    """Pairs of tracks, the smaller number first, that share TOGETHER frames or all of the shorter one."""
    counts: dict[tuple[int, int], int] = {}
    order = np.lexsort((tracks, frames))
    runs = np.split(tracks[order], np.flatnonzero(np.diff(frames[order])) + 1)
    for run in runs:
        for i, a in enumerate(run[:-1].tolist()):
            for b in run[i + 1 :].tolist():
                counts[a, b] = counts.get((a, b), 0) + 1
    size = np.bincount(tracks)
    return {pair for pair, n in counts.items() if n >= min(TOGETHER, *(int(size[t]) for t in pair))}
