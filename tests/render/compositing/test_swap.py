from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from curate.types import Frame
from render import plan
from render.compositing.settings import MaskSettings
from render.compositing.swap import Place, places, stabilised, swap_frames
from tests.render.conftest import face_points
from train.drive import NAMES


def run(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[:, None, None], 3, axis=2).astype(np.float32) * np.ones((1, 478, 1), np.float32)


def test_steadying_takes_jitter_and_keeps_speed_and_acceleration():
    t = np.arange(60.0)
    path = 3 * t + 0.05 * t**2
    noise = np.random.default_rng(0).normal(0, 1, 60)
    assert np.allclose(stabilised(run(path)), run(path), atol=1e-3), "no lag, not even in a parabola"
    left = stabilised(run(path + noise))[:, 0, 0] - path
    assert np.std(left) < 0.7 * np.std(noise)
    assert abs(left.mean()) < 0.2


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 8])
def test_short_runs_keep_their_length_and_stay_near(count):
    points = run(np.arange(count) * 2.0)
    assert stabilised(points).shape == points.shape
    assert np.allclose(stabilised(points), points, atol=1e-3)


def test_smoothing_never_reaches_over_a_gap_or_a_cut():
    rows = pd.DataFrame(
        [{"frame": i, "shot": int(i >= 20), "landmarks": run(np.array([500.0 * (i >= 10) + 900.0 * (i >= 20)]))[0]}
         for i in range(30) if i != 10]
    )  # fmt: skip
    found = places(rows.sample(frac=1, random_state=1))
    assert sorted(found) == [i for i in range(30) if i != 10]
    for index, place in found.items():
        assert place.landmarks[0, 0] == pytest.approx(500 * (index >= 10) + 900 * (index >= 20), abs=1e-2)
        assert place.shot == int(index >= 20)


def test_a_few_lost_frames_are_bridged_and_profiles_fade():
    rows = pd.DataFrame(
        [{"frame": i, "shot": 0, "yaw": 4.0 * i, "landmarks": face_points(100 + 2 * i, 80, 4)}
         for i in range(23) if i not in (7, 8, 9)]
    )  # fmt: skip
    found = places(rows)
    assert sorted(found) == list(range(23))
    assert found[8].landmarks[1, 0] - found[0].landmarks[1, 0] == pytest.approx(16, abs=0.1)
    assert [found[i].opacity for i in (0, 17)] == [1, 1]
    assert 1 > found[18].opacity > found[20].opacity > found[21].opacity > 0 == found[22].opacity


def test_nobody_is_no_place():
    assert places(pd.DataFrame(columns=["frame", "shot", "landmarks"])) == {}


def test_scores_are_bridged_and_smoothed_with_the_landmarks():
    scores = np.tile(np.arange(20, dtype=np.float32)[:, None], (1, len(NAMES)))
    scores[5, 0], scores[:, 1] = np.nan, np.nan  # once unread, never read
    rows = pd.DataFrame(
        [{"frame": i, "shot": 0, "landmarks": face_points(100, 80, 4), "scores": scores[i]} for i in range(20)
         if i not in (9, 10)]
    )  # fmt: skip
    found = places(rows)
    assert np.allclose([found[i].scores[0] for i in range(20)], np.arange(20), atol=1e-3)
    assert np.isnan(found[3].scores[1])
    assert places(rows.drop(columns="scores"))[3].scores is None


class Listening:
    """Stands for a network driven by scores: paints with the first of them."""

    size = 64

    def swap(self, crops, scores=None, marks=None):
        painted = torch.from_numpy(scores[:, :1, None, None]).expand(-1, 3, 64, 64).clone()
        return painted, torch.ones(len(crops), 1, 64, 64)


def test_every_frame_is_swapped_with_its_own_scores():
    scores = {i: np.full(len(NAMES), i / 10, np.float32) for i in range(5)}
    where = {i: Place(face_points(48, 48, 3), 0, 1.0, own) for i, own in scores.items()}
    black = np.zeros((96, 96, 3), np.uint8)
    frames = [Frame(i, i, Fraction(i, 25), lambda: black, lambda: black[..., 0]) for i in range(7)]
    done = swap_frames(frames, where, Listening(), "full", MaskSettings(), 2)
    swapped = {frame.index: face for frame, face in done}
    assert [float(swapped[i].rgb.mean()) for i in range(5)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert swapped[5] is swapped[6] is None


def test_scores_survive_the_folder_of_a_render(tmp_path):
    scores = [np.full(len(NAMES), i, np.float32) for i in range(8)]
    rows = pd.DataFrame({"frame": range(8), "shot": 0, "yaw": 1.0, "landmarks": [face_points(40, 40, 3)] * 8})
    plan.save_face(tmp_path, rows.assign(scores=scores))
    assert np.allclose([place.scores[0] for place in plan.load_face(tmp_path).values()], np.arange(8), atol=1e-3)
    plan.save_face(tmp_path, rows)  # as faceset did before there were scores
    assert all(place.scores is None for place in plan.load_face(tmp_path).values())
