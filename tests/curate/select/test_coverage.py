import numpy as np
import pandas as pd
import pytest

from curate.select import facility_location
from curate.select.coverage import (
    coverage,
    curve,
    demand,
    distinct,
    frame_rate,
    nearest,
    pose_bins,
    redundancy,
    vendi,
)
from curate.select.space import Space
from curate.types import Clip


def film(count: int, seed: int, yaw: float = 0.0, swing: float = 30.0, noise: float = 0.3) -> pd.DataFrame:
    """A head that swings about `yaw` and opens its mouth at its own rhythm, with measurement noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(count) / 30
    shapes = 0.05 + rng.normal(0, 0.01, (count, 52))
    shapes[:, 25] += swing / 60 * (1 + np.sin(1.7 * t))
    return pd.DataFrame(
        {
            "face_id": [f"{seed:03d}-{i:06d}" for i in range(count)],
            "kept": True,
            "yaw": yaw + swing * np.sin(t) + rng.normal(0, noise, count),
            "pitch": swing / 2 * np.sin(0.6 * t) + rng.normal(0, noise, count),
            "roll": rng.normal(0, noise, count),
            "expression": list(shapes.astype(np.float32)),
            "gaze": list(rng.normal(0, 0.02, (count, 2)).astype(np.float32)),
            "lighting": list(rng.normal(0, 0.01, (count, 6)).astype(np.float32)),
        }
    )


def loop(faces: pd.DataFrame, times: int) -> pd.DataFrame:
    return pd.concat([faces.assign(face_id=faces["face_id"] + f"-{i}") for i in range(times)], ignore_index=True)


def clip(frames: int, fps: float) -> Clip:
    return Clip("c", "/c.mp4", "0" * 64, "video" if fps else "photos", 64, 64, frames, fps, frames / fps if fps else 0)


@pytest.fixture(scope="module")
def space_points():
    faces = film(400, 1)
    space = Space.fit(faces)
    return space, space.embed(faces)


def test_coverage_is_one_by_all_and_grows_with_more(space_points):
    space, points = space_points
    assert coverage(space, points, points) == pytest.approx(1, abs=1e-4)
    assert 0 < coverage(space, points, points[:1]) < coverage(space, points, points[::40]) < 1
    assert coverage(space, points, points[:0]) == 0 and coverage(space, points[:0], points) == 0


def test_curve_is_the_coverage_of_each_beginning(space_points):
    space, points = space_points
    chosen, weight = points[::50], np.linspace(1, 3, len(points))
    values = curve(space, points, chosen, weight)
    for k in (1, 4, len(chosen)):
        assert values[k - 1] == pytest.approx(coverage(space, points, chosen[:k], weight), abs=1e-5)


def test_blocks_change_nothing(space_points, monkeypatch):
    space, points = space_points
    whole, total = nearest(space, points, points[::9]), demand(space, points)
    monkeypatch.setattr(facility_location, "BLOCK_CELLS", 1000)
    assert np.allclose(nearest(space, points, points[::9]), whole, atol=1e-5)
    assert np.allclose(demand(space, points), total, rtol=1e-4)


def test_demand_counts_a_held_pose_once_and_leaves_its_neighbours_alone(space_points):
    space, points = space_points
    held = np.vstack([points, np.repeat(points[:1], 2000, axis=0)])
    plain, after = demand(space, points), demand(space, held)
    assert after.sum() == pytest.approx(plain.sum())
    assert 3 < plain.sum() < len(points) / 2
    changed = np.abs(after[: len(points)] - plain) > 1e-9
    assert changed.mean() < 0.2


def test_frame_rate_is_that_of_all_footage_together():
    assert frame_rate([clip(3000, 30), clip(6000, 60)]) == pytest.approx(45)
    assert frame_rate([clip(100, 0)]) is None and frame_rate([]) is None
    assert frame_rate([clip(100, 0), clip(50, 25)]) == pytest.approx(25)


def test_pose_bins_count_every_known_face_once():
    yaw = np.array([0.0, 9.9, -0.1, 200.0, np.nan, 90.0])
    bins = pose_bins(yaw, np.zeros(6))
    assert bins.counts.sum() == 5 and bins.occupied == 3
    assert bins.counts[6].tolist()[8:10] == [1, 2] and bins.counts[6][-1] == 2


def test_pose_entropy():
    assert pose_bins(np.zeros(50), np.zeros(50)).entropy == 0
    assert pose_bins(np.array([-45.0, -15, 15, 45]), np.zeros(4)).entropy == pytest.approx(2)
    assert pose_bins(np.zeros(0), np.zeros(0)).entropy == 0


def test_vendi_counts_kinds():
    assert vendi(np.eye(7)) == pytest.approx(7) and vendi(np.ones((9, 9))) == pytest.approx(1)
    assert vendi(np.kron(np.eye(3), np.ones((5, 5)))) == pytest.approx(3)
    assert vendi(np.zeros((0, 0))) == 0


def test_distinct_faces_grow_with_variety_and_not_with_repetition():
    still, lively = distinct(film(300, 1, swing=2.0)), distinct(film(300, 1))
    assert all(1 <= still[name] < lively[name] for name in ("pose", "expression", "joint"))
    assert still["lighting"] == pytest.approx(lively["lighting"], rel=0.2), "the light was the same"
    assert distinct(loop(film(300, 1), 5))["joint"] == pytest.approx(lively["joint"], rel=0.05)
    assert distinct(film(5, 1).assign(kept=False))["joint"] == 0


def test_redundancy_is_what_could_go():
    lively = redundancy(film(300, 1))
    looped = redundancy(loop(film(300, 1), 4))
    assert 0 <= lively < looped and looped == pytest.approx(1 - (1 - lively) / 4, abs=0.02)
    assert redundancy(film(500, 1, swing=0.0)) > 0.98
    thinned = film(300, 1)[::3].assign(stands_for=3)
    assert redundancy(thinned) >= 0.6, "frames that were skipped as still are redundant"
    assert redundancy(film(5, 1).assign(kept=False)) == 0
