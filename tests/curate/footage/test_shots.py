"""Shot cuts: what counts as one, and what does not."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from curate.footage import shots as shots_module
from curate.footage.shots import Cuts, Difference, Shots, content_change, difference, is_cut, thumbnail


def scenery(seed: int, shift: int = 0) -> np.ndarray:
    """A picture of soft shapes; every seed has the same brightness and colours."""
    noise = np.random.default_rng(seed).normal(0, 1, (60, 140)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 4)[:, shift : shift + 100]
    grey = 130 + 40 * cv2.resize(soft, (320, 180)) / soft.std()
    return np.clip(grey[..., None] * (1, 0.8, 0.6), 0, 255).astype(np.uint8)


def test_cuts() -> None:
    frames = [scenery(0), scenery(0), scenery(1), scenery(1, 1), scenery(0), scenery(0)]
    shots = Shots()
    assert [shots.cut(thumbnail(f)) for f in frames] == [False, False, True, False, True, False]
    assert is_cut(thumbnail(frames[1]), thumbnail(frames[2]))
    assert not is_cut(thumbnail(frames[0]), thumbnail(frames[1]))
    assert is_cut(thumbnail(frames[0]), thumbnail(frames[0][:120]))


def test_a_quiet_cut_stands_out_from_the_frames_before_it() -> None:
    pale = [(0.3 * np.array([130, 104, 78]) + 0.7 * scenery(seed)).astype(np.uint8) for seed in (0, 1)]
    assert shots_module.LEAST < content_change(*map(thumbnail, pale)) < shots_module.ALWAYS
    shots = Shots()
    assert [shots.cut(thumbnail(f)) for f in (*pale[:1] * 8, *pale[1:] * 2)] == [False] * 8 + [True, False]


def test_a_flash_and_a_pan_are_no_cuts() -> None:
    flash = np.clip(scenery(0).astype(int) + 60, 0, 255).astype(np.uint8)
    frames = [scenery(0), scenery(0), flash, *(scenery(0, i) for i in range(12))]
    assert content_change(*map(thumbnail, frames[1:3])) > 15
    shots = Shots()
    assert not any(shots.cut(thumbnail(f)) for f in frames)


def test_after_a_lively_stretch_a_change_must_be_larger() -> None:
    lively, larger = Difference(6.0, 0.5), Difference(12.0, 0.5)
    assert Cuts().cut(larger)
    cuts = Cuts()
    assert not any(cuts.cut(lively) for _ in range(6))
    assert not cuts.cut(larger)
    assert cuts.cut(Difference(27.0, 0.5))


def test_a_flash_is_a_cut_only_where_flashes_count() -> None:
    flash = Difference(40.0, 0.99)
    assert not Cuts().cut(flash)
    assert Cuts(flashes=True).cut(flash)


def test_frames_of_other_shapes_differ_most() -> None:
    whole, part = thumbnail(scenery(0)), thumbnail(scenery(0)[:120])
    assert difference(whole, part) == (shots_module.ALWAYS, -1.0)
    assert difference(whole, whole) == pytest.approx((0.0, 1.0))


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_a_steady_pan_is_one_shot(share: float) -> None:
    noise = np.random.default_rng(3).normal(0, 1, (90, 1000)).astype(np.float32)
    wide = np.clip(130 + 45 * cv2.GaussianBlur(noise, (0, 0), 1.5) * 5, 0, 255).astype(np.uint8)
    step = round(share * 160)
    frames = [np.repeat(wide[:, i * step : i * step + 160, None], 3, axis=2) for i in range(50)]
    assert min(content_change(*map(thumbnail, pair)) for pair in pairwise(frames)) > 8
    shots = Shots()
    assert not any(shots.cut(thumbnail(f)) for f in frames)
    assert shots.cut(thumbnail(scenery(1)[:90, :160]))
