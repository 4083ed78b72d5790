"""Two people in one frame, followed in one pass."""

from __future__ import annotations

import numpy as np

from curate.dataset.faceset import open_faceset
from curate.extract.follow import follow_people
from curate.footage.video import decode, probe


def test_two_heads_in_one_frame_are_told_apart(head_clips, head_facesets, write_video, tmp_path):
    sides = [[frame.image for frame in decode(probe(head_clips[side]))] for side in ("source", "target")]
    film = write_video(tmp_path / "film.mp4", [np.hstack(pair) for pair in zip(*sides, strict=True)])
    people = [open_faceset(head_facesets[side]).identity() for side in ("source", "target")]
    left, right = (found.rows for found in follow_people(film, people, calibrated=[None, None], again=True))
    for rows in (left, right):
        assert len(rows) >= 0.98 * 40 and not rows["frame"].duplicated().any()
        assert all(len(points) == 478 for points in rows["landmarks"])
    width = sides[0][0].shape[1]
    assert (left["x"] + left["width"] / 2 < width).all() and (right["x"] + right["width"] / 2 > width).all()
    other, same = (found.rows for found in follow_people(film, people[::-1], calibrated=[None, None], again=True))
    assert np.allclose(other["x"], right["x"]) and np.allclose(same["x"], left["x"])
    both = follow_people(film, [people[0], -people[1]], calibrated=[None, None])
    alone, nobody = (found.rows for found in both)
    assert np.allclose(alone["x"], left["x"]) and nobody.empty
    (one,) = (found.rows for found in follow_people(film, [np.stack(people)], again=True))
    assert one.groupby("layer").size().ge(0.98 * 40).all() and set(one["layer"]) == {0, 1}, "two looks of one person"
