from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from render.compositing.swap import places, stabilised
from tests.render.conftest import face_points


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
