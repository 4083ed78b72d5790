"""Tracks hold one person: they are split at dissolves and where their chips disagree."""

import numpy as np
from numpy.typing import NDArray

from curate.extract.tracks import DISSOLVE, TURNS, changes, pieces


def chips(*people: int) -> NDArray[np.float32]:
    """Vectors of these people in order, 0.28 from one chip to the next of one person, 0.85 between people."""
    rng = np.random.default_rng(len(people))
    middle = rng.normal(0, 0.6 / np.sqrt(128), (9, 128))
    return (middle[list(people)] + rng.normal(0, 0.2 / np.sqrt(128), (len(people), 128))).astype(np.float32)


def test_a_track_is_split_where_its_chips_disagree() -> None:
    assert changes(chips(1, 1, 1, 1)) == []
    assert changes(chips(1, 1, 2, 2, 2)) == [2]
    assert changes(chips(1, 2)) == [1]
    assert changes(chips(1, 1, 2, 2, 1, 1)) == [2, 4]
    odd = chips(1, 1, 1, 1)
    odd[3] += 0.4 / np.sqrt(128)  # a blurred last chip
    assert changes(odd) == []


def test_faces_between_two_people_are_nobodys() -> None:
    frames = np.arange(100, 160)
    vectors = chips(1, 1, 2, 2)
    own = list(zip((105, 120, 131, 150), vectors, strict=True))
    found = list(pieces(frames, np.zeros(60, bool), own))
    assert [(b, e, r, len(v)) for b, e, r, v in found] == [(0, 21, None, 2), (21, 31, TURNS, 0), (31, 60, None, 2)]


def test_a_track_ends_at_a_dissolve() -> None:
    frames, blended = np.arange(30), np.zeros(30, bool)
    blended[10:20] = True
    own = list(zip((3, 14, 25), chips(1, 1, 1), strict=True))
    found = list(pieces(frames, blended, own))
    assert [(b, e, r, len(v)) for b, e, r, v in found] == [(0, 10, None, 1), (10, 20, DISSOLVE, 0), (20, 30, None, 1)]
