from __future__ import annotations

import cv2
import numpy as np
import pytest

from curate.face.mesh import canonical
from curate.face.pose import matrix
from reports.artifacts import geometry, look
from reports.artifacts.patch import REGIONS

SKIN = cv2.GaussianBlur(np.random.default_rng(2).integers(0, 255, (60, 60)).astype(np.uint8), (0, 0), 1.2)
NOSE = REGIONS.index("nose")


def picture(
    x: float = 200, y: float = 200, scale: float = 12, light: float = 1.0, slip: float = 0.0, roll: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """A head with detailed skin at a place of a grey picture, and its landmarks; its nose slips by centimetres."""
    turned = np.concatenate([canonical().vertices, np.zeros((10, 3))]) @ matrix(0.0, 0.0, roll).T
    points = turned * (1, -1, -1) * scale + (x, y, 0)
    own, angle = turned[[1, 2, 4, 5, 6, 98, 129, 195, 197, 327, 358]].mean(0) * (1, -1, -1), np.radians(roll)
    to = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    grey = np.full((400, 400), 120, np.uint8)
    for width, move in ((60, 0.0), (16, slip)):
        part = SKIN[30 - width // 2 : 30 + width // 2, 30 - width // 2 : 30 + width // 2]
        at = (x, y) + own[:2] * scale + to @ (move, 0.0)
        warp = np.column_stack([to * 0.3, at - 0.3 * to @ np.full(2, (width - 1) / 2)])
        inside = cv2.warpAffine(np.ones_like(part), warp, (400, 400), flags=cv2.INTER_NEAREST) > 0
        grey[inside] = cv2.warpAffine(part, warp, (400, 400))[inside]
    return np.clip(grey * light, 0, 255).astype(np.uint8), points


def nose(**change: float) -> np.ndarray:
    """(22, 22) detail of the nose."""
    found = look.features(*picture(**change))
    assert found is not None
    return found[: look.SIDE**2].reshape(look.SIDE, look.SIDE).astype(np.float32)


@pytest.mark.parametrize(
    "change", [{"x": 170.0, "y": 230.0}, {"scale": 9.0}, {"light": 0.6}, {"roll": 15.0}, {"x": 200.4, "light": 1.2}]
)
def test_the_same_nose_looks_the_same_wherever_it_is(change: dict[str, float]) -> None:
    assert np.corrcoef(nose().ravel(), nose(**change).ravel())[0, 1] > 0.9
    assert np.corrcoef(nose().ravel(), nose(**change, slip=1.2).ravel())[0, 1] < 0.8


def test_other_landmarks_and_heads_of_no_size_have_no_features() -> None:
    grey, points = picture()
    assert look.features(grey, points[:68]) is None and look.features(grey, points[:, :2]) is None
    assert look.features(grey, np.zeros((478, 3))) is None and look.features(grey, points * np.nan) is None
    assert look.features(grey, points * 1e3) is not None  # beyond the picture


def film(torn: slice, count: int = 60, hand: slice = slice(0)) -> list[np.ndarray | None]:
    """Features of a head that moves; its nose is torn or hidden in some frames."""
    random, found = np.random.default_rng(0), []
    for number in range(count):
        slip = 1.2 if number in range(count)[torn] else 0.0
        grey, points = picture(*random.uniform(190, 210, 2), slip=slip)
        if number in range(count)[hand]:
            grey[150:260, 150:260] = random.integers(0, 255, (110, 110))
        found.append(look.features(grey, points))
    return found


def test_a_torn_nose_is_found_elsewhere_and_a_hidden_one_nowhere() -> None:
    elsewhere, unlike = look.slipped(film(slice(20, 40), hand=slice(50, 60)), np.zeros((60, 2)))
    assert elsewhere[20:40, 0].min() > 0.15 and np.delete(elsewhere[:, 0], slice(20, 40)).max() < 0.02
    assert unlike[50:].min() > 0.4 and unlike[:20].max() < 0.2
    nothing = np.zeros(60)
    size, region = geometry.with_look(nothing + 1, nothing + REGIONS.index("mouth"), elsewhere, unlike)
    assert size[21:39].min() > 6 and np.delete(size, slice(18, 42)).max() < 4.6 and region[30] == NOSE
    assert region[0] == region[55] == REGIONS.index("mouth")


def test_landmarks_alone_count_in_full_where_the_look_is_not_known() -> None:
    size, mouth, unknown = np.linspace(0, 9, 10), np.full(10, REGIONS.index("mouth"), float), np.full((10, 3), np.nan)
    alone, region = geometry.with_look(size, mouth, unknown, unknown[:, 0])
    assert (alone == size).all() and (region == mouth).all()
    seen, region = geometry.with_look(size, mouth, np.zeros((10, 3)), np.zeros(10))
    assert (seen <= np.maximum(1.3 * size, 0)).all() and (np.diff(seen) >= 0).all() and (region == mouth).all()
    assert seen[7] < 4.6 < seen[9]


def test_features_are_only_compared_in_a_similar_pose() -> None:
    seen, pose = film(slice(20, 40)), np.zeros((60, 2))
    pose[50:] = (look.TURNED + 1, 0)
    pose[40:50] = (0, look.ALIKE + look.STEP)
    elsewhere, unlike = look.slipped(seen, pose)
    assert np.isnan(elsewhere[40:]).all() and np.isnan(unlike[40:]).all() and np.isfinite(unlike[:40]).all()
    few = look.slipped(seen[: look.LEAST - 1], pose[: look.LEAST - 1])
    assert all(np.isnan(each).all() for each in few)
    gone = look.slipped([None, *seen[1:50]], pose[:50])
    assert np.isnan(gone[0][0]).all() and np.isfinite(gone[0][1:40]).all()
    many = seen[:20] * 30  # more than make a usual look
    assert np.nanmax(look.slipped(many, np.zeros((len(many), 2)))[0][:, 0]) < 0.02
