from __future__ import annotations

import cv2
import numpy as np
import pytest

from curate.errors import UsageError
from curate.face.align import hull_mask
from curate.options import option_of
from render.compositing.mask import face_mask, feathered, join
from render.compositing.settings import MaskSettings

MODES = option_of(MaskSettings, "mode").choices


def disc(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.clip(radius - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)


def points(size: int, radius: float) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 478, endpoint=False)
    middle = (size - 1) / 2
    return np.stack([middle + radius * np.cos(angles), middle + radius * np.sin(angles), 0 * angles], 1).astype(
        np.float32
    )


@pytest.mark.parametrize("mode", MODES)
def test_stays_in_range_full_in_the_middle_and_nothing_outside(mode):
    model = disc(128, 40)
    mask = face_mask(model, points(128, 30), MaskSettings(mode))
    outline = join(model, hull_mask(points(128, 30), 128, 128), mode)
    assert mask.dtype == np.float32
    assert mask.min() == 0
    assert mask[62:66, 62:66] == pytest.approx(1, abs=1e-3)
    assert not mask[outline == 0].any()


def test_joining():
    a, b = np.float32([[1, 1, 0, 0.5]]), np.float32([[1, 0, 0, 0.5]])
    assert join(a, b, "both").tolist() == [[1, 0, 0, 0.25]]
    assert join(a, b, "union").tolist() == [[1, 1, 0, 0.75]]
    assert join(a, b, "model").tolist() == a.tolist()
    assert join(a, b, "hull").tolist() == b.tolist()


def width(size: int, settings: MaskSettings) -> float:
    """Pixels from 5 to 95 per cent along a row from the edge inward."""
    row = face_mask(np.ones((size, size), np.float32), points(size, size * 0.35), settings)[size // 2, : size // 2]
    return float(np.interp(0.95, row, np.arange(len(row))) - np.interp(0.05, row, np.arange(len(row))))


def test_the_feather_grows_with_the_face_and_the_setting():
    assert width(256, MaskSettings()) == pytest.approx(2 * width(128, MaskSettings()), rel=0.1)
    assert width(256, MaskSettings(feather=0.2)) > 1.6 * width(256, MaskSettings(feather=0.1))


def test_erosion_moves_the_edge_inward_in_proportion():
    areas = [float(feathered(disc(256, 90), 160, MaskSettings(erode=e)).sum()) for e in (0, 0.03, 0.06)]
    radii = [np.sqrt(a / np.pi) for a in areas]
    assert radii[0] > radii[1] > radii[2]
    assert radii[0] - radii[2] == pytest.approx(0.03 * 160, abs=4)


def test_the_mask_is_nothing_at_the_border_of_the_crop():
    mask = face_mask(np.ones((64, 64), np.float32), points(64, 200), MaskSettings())
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert border.max() < 0.02
    assert mask[32, 32] == pytest.approx(1, abs=1e-3)


def test_a_small_change_of_the_model_changes_the_mask_little():
    """No threshold that pops: a mask that moves by a tenth of a pixel moves the result by no more."""
    near = np.abs(feathered(disc(64, 20.0), 36, MaskSettings()) - feathered(disc(64, 20.1), 36, MaskSettings()))
    assert near.max() < 0.1


def test_a_weak_network_mask_hides_the_face_instead_of_tearing_it():
    assert face_mask(np.full((64, 64), 0.3, np.float32), points(64, 20), MaskSettings()).max() == 0


def test_a_face_outside_of_the_crop_gives_no_mask():
    assert not face_mask(np.ones((64, 64), np.float32), points(64, 10) + 500, MaskSettings()).any()


@pytest.mark.parametrize("wrong", [{"mode": "box"}, {"erode": -0.1}, {"feather": 0.9}])
def test_settings_name_the_flag(wrong):
    with pytest.raises(UsageError, match="--"):
        MaskSettings(**wrong)


def test_a_hole_in_the_model_stays_open():
    model = disc(128, 50)
    cv2.circle(model, (64, 64), 10, 0, -1)
    assert face_mask(model, points(128, 50), MaskSettings())[64, 64] == 0
