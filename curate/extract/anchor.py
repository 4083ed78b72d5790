"""The anchor of a faceset: who the subject is, as it was decided once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset
from curate.errors import NobodyError, UsageError
from curate.extract.tracks import Track
from curate.scores import identity
from curate.types import Anchor, Floats

NAMED = 20
"""Tracks of the anchor that are named."""
SHARE = 0.1
"""Least share of a person's frames that a part of it has after a split."""
STEP, LOWEST = 0.02, 0.2
"""Limits that are tried: in steps, down to the lowest."""
COLUMNS = ["face_id", "stands_for", "track", "person", "identity", "kept"]


def elect(faceset: Faceset, centres: NDArray[np.float64], tracks: Sequence[Sequence[Track]]) -> Anchor:
    """The anchor of a faceset that has none: of --reference photos, --person, or the person with the most faces.

    `centres` (P, 128) and `tracks` of the people, 0 the one with the most faces. Raises UsageError for a person that is
    not there.
    """
    name = faceset.settings.identifier
    if faceset.references:
        return Anchor("reference", faceset.references, name)
    for chosen in faceset.persons:
        _check_person(chosen, len(centres), "--person")
    people = faceset.persons or (0,)
    longest = _longest((t.frames, t.face) for p in people for t in tracks[p])
    return Anchor("person" if faceset.persons else "majority", _looks(centres[p] for p in people), name, longest)


def _check_person(person: int, count: int, flag: str) -> None:
    if not 0 <= person < count:
        shown = f"people 0 to {count - 1}" if count > 1 else "one person, 0" if count else "nobody"
        raise UsageError(f"{flag} {person}: the footage shows {shown}")


def _longest(tracks: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    """Ids of the first faces of the longest tracks, from their lengths and those ids."""
    return tuple(sorted(face for _, face in sorted(tracks, key=lambda t: (-t[0], t[1]))[:NAMED]))


def _looks(vectors: Iterable[NDArray[np.floating]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(v) for v in look) for look in vectors)


def named(faceset: Faceset, persons: Sequence[int]) -> Anchor:
    """The anchor of these people of the faceset's table, a look each. Raises UsageError for one that is not there."""
    table = faceset.table(COLUMNS)
    for person in persons:
        _check_person(person, int(table["person"].max()) + 1 if len(table) else 0, "--person")
    some = [table[table["person"] == person] for person in persons]
    return _from_rows("person", some, faceset.settings.identifier)


def parted(faceset: Faceset, person: int) -> tuple[float, Anchor]:
    """The largest limit of one person at which this one comes apart, and the anchor of its larger half.

    For a subject of several looks, who may have been joined by name, it is the present limit, if that is enough.

    Both halves have at least SHARE of its frames. Raises UsageError where it does not come apart.
    """
    table = faceset.table(COLUMNS)
    _check_person(person, int(table["person"].max()) + 1 if len(table) else 0, "--split")
    rows = table[table["person"] == person].dropna(subset=["identity"])
    tracks = rows.groupby("track", sort=True)
    vectors, frames = np.stack(tracks["identity"].first().to_list()), tracks["stands_for"].sum().to_numpy(np.float64)
    same = faceset.grouping.same_person
    joined = faceset.anchor is not None and len(faceset.anchor.looks) > 1 and bool(rows["kept"].any())
    lower = np.arange(round(same - STEP, 2), LOWEST, -STEP).round(2).tolist()
    for limit in [same, *lower] if joined else lower:
        labels = identity.people(vectors, frames, limit)
        shares = np.sort(np.bincount(labels, weights=frames) / frames.sum())
        if len(shares) > 1 and shares[-2] >= SHARE:
            larger = rows[rows["track"].isin(np.array(list(tracks.groups))[labels == 0])]
            return limit, _from_rows("person", [larger], faceset.settings.identifier)
    raise UsageError(f"--split {person}: this person's tracks are all alike and cannot be told apart")


def kept(faceset: Faceset) -> Anchor | None:
    """The anchor of a faceset that was made before there were anchors: of its kept faces; None if it has none."""
    if not faceset.table_path.is_file():
        return None
    table = faceset.table(COLUMNS)
    rows = table[table["kept"]].dropna(subset=["identity"])
    how = "person" if faceset.persons else "reference" if faceset.references else "majority"
    return _from_rows(how, [rows], faceset.settings.identifier) if len(rows) else None


def _from_rows(how: str, people: Sequence[pd.DataFrame], identifier: str) -> Anchor:
    looks, longest = [], list[tuple[int, str]]()
    for rows in people:
        tracks = rows.groupby("track", sort=True)
        frames = tracks["stands_for"].sum().to_numpy(np.float64)
        vectors = np.stack(tracks["identity"].first().to_list())
        looks.append(identity.centre(vectors, frames))
        longest += zip(frames.astype(int).tolist(), tracks["face_id"].first(), strict=True)
    return Anchor(how, _looks(looks), identifier, _longest(longest))  # type: ignore[arg-type]  # one of three


def translated(anchor: Anchor, identifier: str, tracks: Sequence[Track]) -> Anchor:
    """The same anchor in the vectors of another identity model, by its tracks. Raises NobodyError without them."""
    if anchor.identifier == identifier:
        return anchor
    own = [t for t in tracks if t.face in anchor.tracks and t.vector is not None]
    if not own:
        raise NobodyError(
            f"the subject was set with --identifier {anchor.identifier}, and its tracks are not in the footage: name "
            "the subject again with --person or --reference"
        )
    vectors = np.stack([_vector(t) for t in own]).astype(np.float64)
    weights = np.array([t.frames for t in own], np.float64)
    labels = identity.people(vectors, weights)
    looks = [identity.centre(vectors[labels == k], weights[labels == k]) for k in range(labels.max() + 1)]
    return replace(anchor, looks=_looks(looks), identifier=identifier)


def with_tracks(anchor: Anchor, tracks: Iterable[Track]) -> Anchor:
    """The anchor with the longest of these tracks, where it names none."""
    return anchor if anchor.tracks else replace(anchor, tracks=_longest((t.frames, t.face) for t in tracks))


def _vector(track: Track) -> Floats:
    if track.vector is None:
        raise ValueError(f"track {track.face} has no vector")
    return track.vector
