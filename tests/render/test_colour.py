from __future__ import annotations

import numpy as np
import pytest

from render import colour
from render.colour import Correction


def skin(seed: int, mean: tuple, spread: float, size: int = 64) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, spread, (size, size, 3))
    return np.clip(np.array(mean) + noise, 0, 1).astype(np.float32)


def disc(size: int = 64) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return (np.hypot(x, y) < size / 3).astype(np.float32)


def test_mean_and_spread_under_the_mask_become_the_footages():
    mine, theirs, mask = skin(0, (0.4, 0.5, 0.6), 0.05), skin(1, (0.6, 0.45, 0.4), 0.06), disc()
    mine[mask == 0] = 0
    theirs[mask == 0] = 1
    after = colour.statistics(colour.apply(mine, colour.correction(mine, theirs, mask)), mask)
    wanted, before = colour.statistics(theirs, mask), colour.statistics(mine, mask)
    assert np.abs(before.mean - wanted.mean).max() > 10
    assert after.mean == pytest.approx(wanted.mean, abs=0.3)
    assert after.spread == pytest.approx(wanted.spread, rel=0.08)


def test_equal_colours_are_left_alone():
    mine = skin(0, (0.5, 0.4, 0.35), 0.05)
    assert np.abs(colour.apply(mine, colour.correction(mine, mine, disc())) - mine).max() < 2e-3


def test_a_blurred_face_is_not_turned_into_noise():
    mine, theirs = np.full((64, 64, 3), 0.5, np.float32), skin(1, (0.5, 0.5, 0.5), 0.2)
    assert colour.correction(mine, theirs, disc()).gain.max() <= 1.4


def test_nothing_under_the_mask_is_no_correction():
    mine = skin(0, (0.5, 0.4, 0.35), 0.05)
    assert colour.correction(mine, mine, np.zeros((64, 64), np.float32)) is None
    assert colour.apply(mine, None) is mine


def change(value: float) -> Correction:
    one = np.ones(3, np.float32)
    return Correction(one * value, one * value, one)


def run(items: list) -> list:
    return list(colour.steady(items, lambda i: i[0], lambda i: i[1]))


def test_smoothing_takes_flicker_and_keeps_every_item_in_order():
    items = [(0, change(10 + (-1) ** i)) for i in range(60)]
    found = run(items)
    assert [a for a, _ in found] == items
    shifts = np.array([c.shift[0] for _, c in found])
    assert np.abs(shifts[6:-6] - 10).max() < 0.1
    assert all(c.centre[0] == i[1].centre[0] for (i, c) in found), "the light of the frame itself stays"


def test_smoothing_stops_at_a_cut_and_skips_frames_without_a_face():
    items = [(int(i >= 20), change(0.0 if i < 20 else 50.0)) for i in range(40)]
    items[5] = (None, None)
    found = run(items)
    assert found[5][1] is None
    shifts = [c.shift[0] for _, c in found if c is not None]
    assert shifts == pytest.approx([0.0] * 19 + [50.0] * 20)


@pytest.mark.parametrize("count", [0, 1, 5, 12, 13, 25, 26])
def test_short_shots_come_through_whole(count):
    assert len(run([(0, change(1.0)) for _ in range(count)])) == count
