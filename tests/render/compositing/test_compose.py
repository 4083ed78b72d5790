"""Smoothing over the shot, fades, occlusion, detail: one frame after the other, with faces made by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from curate.types import Frame
from render.compositing import detail, occlusion
from render.compositing.compose import RADIUS, compose
from render.compositing.settings import RenderSettings
from render.compositing.swap import Place, Swapped
from tests.render.conftest import face_points, picture

SIZE = 64
MATRIX = np.array([[1.0, 0, -32], [0, 1.0, -16]])


def disc(share: float = 0.4) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return np.clip((SIZE * share - np.hypot(x, y)) / 6, 0, 1).astype(np.float32)


def frame(index: int, image: np.ndarray) -> Frame:
    return Frame(index, index, Fraction(index, 25), lambda: image, lambda: image[..., 1])


def item(index: int, image: np.ndarray, lighter: float = 0.0, face: bool = True, error: np.ndarray | None = None):
    footage = (image[16 : 16 + SIZE, 32 : 32 + SIZE] / 255).astype(np.float32)
    drawn = np.clip(footage + lighter, 0, 1).astype(np.float32)
    place = Place(face_points(64, 48, 3.5), 0)
    swapped = Swapped(place, MATRIX, footage, drawn, disc(), error)
    return frame(index, image), swapped if face else None


PLAIN = RenderSettings(blend="feather", sharpen=0, grain=False)


def level(shown) -> np.ndarray:
    """How much lighter each frame's face is than the footage's."""
    return np.array([(s.image[40:56, 56:72].astype(float) - s.frame.image[40:56, 56:72]).mean() for s in shown])


def test_what_flickers_in_the_network_is_not_smoothed_away_but_the_correction_does_not_flicker():
    image = picture(0)
    items = [item(i, image, 0.08 * (-1) ** i) for i in range(60)]
    shown = level(compose(items, PLAIN))
    # Each correction alone would undo its frame's cast; steady, they leave it, and add none of their own.
    assert np.abs(shown[8:-8] - shown[8:-8].mean()).max() == pytest.approx(0.08 * 255, rel=0.25)
    assert abs(shown.mean()) < 2


def test_a_steady_cast_is_taken_away():
    shown = level(compose([item(i, picture(0), 0.1) for i in range(10)], PLAIN))
    assert np.abs(shown).max() < 2.5
    raw = level(compose([item(i, picture(0), 0.1) for i in range(10)], RenderSettings(colour="none", blend="feather")))
    assert raw.min() > 20


def test_nothing_is_smoothed_over_a_cut_and_a_face_that_begins_with_a_shot_does_not_fade():
    first, second = picture(0), 255 - picture(9)
    items = [item(i, first, 0.1, face=False) for i in range(20)] + [item(i, second, 0.1) for i in range(20, 40)]
    shown = list(compose(items, PLAIN, cuts={20}))
    assert shown[19].face is None
    assert shown[20].mask is not None and shown[20].mask.max() == pytest.approx(1)
    same_shot = [item(i, first, 0.1, face=i >= 20) for i in range(40)]
    assert list(compose(same_shot, PLAIN))[20].mask.max() < 0.3


def test_wanted_frames_come_out_as_in_the_whole():
    items = [item(i, picture(i), 0.1 * np.sin(i)) for i in range(60)]
    whole = list(compose(items, PLAIN))
    part = list(compose(items[20 - RADIUS : 30 + RADIUS], PLAIN, wanted=range(20, 30)))
    assert [p.frame.index for p in part] == list(range(20, 30))
    assert all(np.array_equal(p.image, whole[p.frame.index].image) for p in part)


@pytest.mark.parametrize("count", [0, 1, 5, 12, 13, 25, 26])
def test_short_shots_come_through_whole(count):
    assert len(list(compose([item(i, picture(0)) for i in range(count)], PLAIN))) == count


def test_what_lies_before_the_face_stays():
    rng = np.random.default_rng(0)
    errors = [np.abs(rng.normal(0.02, 0.005, (SIZE, SIZE))).astype(np.float32) for _ in range(20)]
    typical = occlusion.learn(errors)
    hidden = errors[0].copy()
    hidden[20:40, 32:40] = 0.3
    items = [item(0, picture(0), 0.2, error=hidden)]
    shown = next(compose(items, RenderSettings(colour="none", blend="feather", sharpen=0), typical))
    change = np.abs(shown.image.astype(float) - shown.frame.image).mean(2)
    assert change[16 + 22 : 16 + 38, 32 + 34 : 32 + 38].max() < 1
    assert change[16 + 22 : 16 + 38, 32 + 16 : 32 + 24].min() > 30


def test_a_network_that_fails_everywhere_hides_nothing():
    typical = occlusion.learn([np.full((SIZE, SIZE), 0.02, np.float32)] * 10)
    assert np.array_equal(
        occlusion.visible(np.full((SIZE, SIZE), 0.5, np.float32), typical, disc()), np.ones((SIZE, SIZE))
    )
    assert occlusion.learn([np.zeros((SIZE, SIZE), np.float32)] * 7) is None


def test_detail_and_grain_become_the_footages():
    rng = np.random.default_rng(0)
    base = np.repeat(np.kron(rng.random((16, 16)), np.ones((4, 4)))[..., None], 3, 2).astype(np.float32)
    import cv2

    soft = cv2.GaussianBlur(base, (0, 0), 0.7)
    change = detail.octaves(soft, base, disc())
    assert change > 0.3
    assert abs(detail.octaves(detail.matched(soft, change), base, disc())) < 0.5 * change
    assert detail.octaves(base, soft, disc()) < -0.3
    flat = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    noisy = np.clip(flat + rng.normal(0, 0.012, (SIZE, SIZE, 1)), 0, 1).astype(np.float32)
    sigma = detail.grain(flat, noisy, disc())
    assert sigma == pytest.approx(0.012, rel=0.25)
    assert detail.noise(detail.grained(flat, sigma, 1), disc()) == pytest.approx(0.012, rel=0.45)
    assert np.array_equal(detail.grained(flat, sigma, 1), detail.grained(flat, sigma, 1))
    assert detail.grain(noisy, flat, disc()) == 0
