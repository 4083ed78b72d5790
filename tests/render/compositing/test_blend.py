from __future__ import annotations

import cv2
import numpy as np
import pytest

from render.compositing import blend
from render.compositing.blend import paste
from reports.artifacts.spectrum import checkerboard, power

FRAME = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


def matrix(zoom: float, degrees: float, x: float, y: float, size: int) -> np.ndarray:
    """Frame to crop, so that frame point (x, y) is the crop's middle."""
    a = np.radians(degrees)
    turn = zoom * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return np.column_stack([turn, (size - 1) / 2 - turn @ (x, y)])


def disc(size: int, share: float = 0.35) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.clip((size * share - np.hypot(x, y)) / (size * 0.1), 0, 1).astype(np.float32)


@pytest.mark.parametrize("zoom", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("degrees", [0, 33])
@pytest.mark.parametrize("where", [(80, 60), (5, 5), (159, 119), (-40, 60), (900, 900)])
def test_outside_of_the_mask_every_byte_is_the_same(zoom, degrees, where):
    before = FRAME.copy()
    crop = np.random.default_rng(1).random((64, 64, 3)).astype(np.float32)
    output, mask = paste(FRAME, crop, disc(64), matrix(zoom, degrees, *where, 64))
    assert np.array_equal(FRAME, before), "the input is not changed"
    assert output.shape == FRAME.shape
    assert output.dtype == np.uint8
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert np.array_equal(output[mask == 0], FRAME[mask == 0])


def test_inside_of_the_mask_it_is_the_crop():
    crop = np.full((64, 64, 3), (0.2, 0.4, 0.6), np.float32)
    output, mask = paste(FRAME, crop, disc(64), matrix(1.0, 20, 80, 60, 64))
    assert (mask == 1).sum() > 500
    assert np.abs(output[mask == 1].astype(int) - (51, 102, 153)).max() <= 1


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.5])
def test_it_lands_where_it_was_taken_from(zoom):
    """A crop of a smooth frame, pasted back, changes nothing: no shift, no rounding drift."""
    import cv2

    y, x = np.mgrid[:120, :160]
    frame = np.stack([x, y, (x + y) / 2], -1).astype(np.uint8)
    m = matrix(zoom, 15, 80, 60, 64)
    crop = cv2.warpAffine(frame, m, (64, 64), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    output, mask = paste(frame, crop.astype(np.float32) / 255, disc(64), m)
    off = output.astype(int) - frame
    assert mask.sum() > 100
    assert np.abs(off).max() <= 2
    assert abs(off[mask > 0.5].mean()) < 0.3


def test_an_empty_mask_changes_nothing():
    output, mask = paste(
        FRAME, np.ones((64, 64, 3), np.float32), np.zeros((64, 64), np.float32), matrix(1, 0, 80, 60, 64)
    )
    assert np.array_equal(output, FRAME)
    assert not mask.any()


def test_a_crop_that_shrinks_is_averaged():
    """A fine checkerboard three times as large as its place becomes grey instead of moire."""
    board = (np.indices((192, 192)).sum(0) % 2).astype(np.float32)
    output, mask = paste(FRAME, np.repeat(board[..., None], 3, 2), disc(192), matrix(3.0, 0, 80, 60, 192))
    assert np.abs(output[mask == 1].astype(int) - 128).max() < 12


def test_a_mode_is_one_entry_in_the_dict(monkeypatch):
    monkeypatch.setitem(
        blend.MODES, "hard", blend.Blend(lambda under, face, alpha: face, membrane=lambda step, mask: step)
    )
    crop = np.full((64, 64, 3), (0.2, 0.4, 0.6), np.float32)
    output, mask = paste(FRAME, crop, disc(64), matrix(1.0, 0, 80, 60, 64), "hard")
    assert np.abs(output[mask > 0].astype(int) - (51, 102, 153)).max() <= 1
    assert blend.membrane(crop, disc(64), "hard") is crop
    assert blend.membrane(crop, disc(64), "feather") is None


def test_the_grid_of_the_networks_pixels_does_not_show_in_a_face_that_is_enlarged():
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 1.8, (64, 64)).astype(np.float32), (0, 0), 2)
    crop = np.repeat(np.clip(0.5 + noise, 0, 1)[..., None], 3, axis=2)
    matrix = np.array([[0.16, 0, -1.3], [0, 0.16, -1.3]])
    shown, _ = paste(np.full((420, 420, 3), 128, np.uint8), crop, np.ones((64, 64), np.float32), matrix)
    middle = shown[130:290, 130:290, 1].astype(np.float32)
    assert checkerboard(power(middle), None) < 13, "bicubic interpolation has 17 to 20"
