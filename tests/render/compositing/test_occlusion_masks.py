"""The benchmark of occluders: its hand-made masks are well-formed, and its counts add up."""

from __future__ import annotations

import numpy as np

from benchmarks.occlusion import MASKS, Counts, counted, filled, masks


def test_the_masks_are_polygons_within_their_frames_and_some_frames_have_none():
    frames = [polygons for clip in masks().values() for polygons in clip.values()]
    assert len(frames) >= 30
    assert MASKS.stat().st_size < 20_000
    assert 5 <= sum(not polygons for polygons in frames) < 20
    for polygon in (p for polygons in frames for p in polygons):
        assert polygon.ndim == 2 and polygon.shape[1] == 2 and len(polygon) >= 3
        assert polygon.min() >= 0 and polygon[:, 0].max() < 640 and polygon[:, 1].max() < 480


def test_counts_tell_kept_hands_from_lost_face():
    drawn = filled([np.array([[0.0, 0], [4, 0], [4, 9], [0, 9]])], 10, 10)
    assert drawn.sum() == 50
    without = np.ones((10, 10), np.float32)
    without[0] = 0  # the soft edge
    ours = without.copy()
    ours[:5, :6] = 0  # what was found: most of it hand
    found = counted(ours, without, np.ones((10, 10), bool), drawn)
    assert found == Counts(1, 50, 25, 5, 45, 4)
    assert found.iou == 20 / 49
    assert (found + found).hand == 100
