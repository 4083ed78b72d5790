"""Features out of place, on the canonical face and on rows of its frames."""

from __future__ import annotations

import numpy as np
import pytest

from curate.face.mesh import canonical
from curate.face.pose import matrix
from reports.artifacts import coding, geometry, landmarks
from reports.artifacts.patch import REGIONS


def head(yaw: float = 0, pitch: float = 0, roll: float = 0, **moved: tuple[float, float]) -> np.ndarray:
    """(478, 3) landmarks of the turned canonical head; `moved` parts are shifted in the head by (x, y) cm, y up."""
    own = np.array(canonical().vertices, np.float64)
    parts = {"nose": (1, 2, 4, 5, 6, 98, 195, 327), "eye": (33, 133, 159, 145), "mouth": (61, 291, 0, 17, 13, 14)}
    for name, by in moved.items():
        own[list(parts[name]), :2] += by
    irises = [own[[33, 133]].mean(0)] * 5 + [own[[362, 263]].mean(0)] * 5
    turned = np.vstack([own, irises]) @ matrix(yaw, pitch, roll).T
    return (turned * (8, -8, -8) + (120, 130, 0)).astype(np.float32)


def rows(*heads: np.ndarray) -> np.ndarray:
    return np.stack([landmarks.read(h) for h in heads]).astype(np.float64)


@pytest.mark.parametrize("turn", [(0, 0, 0), (25, -10, 15)])
def test_the_shape_is_that_of_the_head_however_it_turns(turn):
    assert rows(head(*turn))[0, landmarks.FIRST :] == pytest.approx(rows(head())[0, landmarks.FIRST :], abs=0.02)


@pytest.mark.parametrize(
    ("moved", "region"),
    [({"nose": (0.5, 0)}, "nose"), ({"eye": (0, -0.6)}, "right eye"), ({"mouth": (0.7, 0)}, "mouth")],
)
def test_a_feature_out_of_place_is_found_where_it_is(moved, region):
    usual = rows(*[head(y) for y in np.linspace(-20, 20, 60)])
    broken = rows(*[head(y, **moved) for y in np.linspace(-5, 5, 8)])
    both = np.vstack([usual[:30], broken, usual[30:]])
    size, where = geometry.out_of_place(geometry.unusual(both))
    assert size[31:37].min() > 4 > 4 * np.delete(size, slice(29, 39)).max()
    assert {REGIONS[int(i)] for i in where[31:37]} == {region}


def test_readings_in_every_third_frame_are_interpolated_and_long_gaps_are_not():
    values = np.full((20, 2), np.nan)
    values[[1, 4, 7, 16]] = [[1, 0], [4, 0], [7, 0], [16, 0]]
    found = geometry.between(values)
    assert found[:8, 0].tolist() == [1, 1, 2, 3, 4, 5, 6, 7]
    assert np.isnan(found[8:16]).all() and found[16:19, 0].tolist() == [16, 16, 16] and np.isnan(found[19]).all()


def test_noise_of_the_codec_is_that_outside_the_face():
    rng = np.random.default_rng(0)
    reference = rng.integers(60, 180, (240, 320)).astype(np.uint8)
    noisy = np.clip(reference + rng.normal(0, 5, reference.shape), 0, 255).round().astype(np.uint8)
    swapped = reference.copy()
    swapped[80:160, 100:200] = 255 - swapped[80:160, 100:200]
    box = (100, 80, 100, 80)
    assert coding.noise(swapped, reference, box) == 0
    assert coding.noise(noisy, reference, box) == pytest.approx(5, rel=0.1)
    assert coding.noise(np.minimum(reference + 9, 255).astype(np.uint8), reference, box) < 0.01  # a grade is no noise
    assert coding.noise(noisy, reference, (0, 0, 320, 240)) == 0
