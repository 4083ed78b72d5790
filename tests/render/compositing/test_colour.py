from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from render.compositing import blend, colour


def skin(seed: int, mean: tuple, spread: float, size: int = 64) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, spread, (size, size, 3))
    return np.clip(np.array(mean) + noise, 0, 1).astype(np.float32)


def disc(size: int = 64) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return (np.hypot(x, y) < size / 3).astype(np.float32)


def lab_under(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return colour.to_lab(rgb)[mask > 0].astype(np.float64)


@pytest.mark.parametrize("method", ["reinhard", "mkl", "sot"])
def test_mean_and_spread_under_the_mask_become_the_footages(method):
    mine, theirs, mask = skin(0, (0.4, 0.5, 0.6), 0.05), skin(1, (0.6, 0.45, 0.4), 0.06), disc()
    mine[mask == 0] = 0
    theirs[mask == 0] = 1
    after = lab_under(colour.apply(mine, colour.correction(mine, theirs, mask, method)), mask)
    wanted, before = lab_under(theirs, mask), lab_under(mine, mask)
    assert np.abs(before.mean(0) - wanted.mean(0)).max() > 10
    assert after.mean(0) == pytest.approx(wanted.mean(0), abs=0.6)
    assert after.std(0) == pytest.approx(wanted.std(0), rel=0.1)


def test_mkl_takes_the_correlation_of_the_colours_and_reinhard_does_not():
    rng = np.random.default_rng(0)
    light = rng.normal(0, 0.035, (64, 64, 1)) * np.array([1.0, 0.9, 0.8])
    theirs = np.clip(0.5 + light + rng.normal(0, 0.035, (64, 64, 3)), 0, 1).astype(np.float32)
    mine, mask = skin(1, (0.5, 0.45, 0.4), 0.05), disc()
    wanted = np.cov(lab_under(theirs, mask).T)

    def off(method: str) -> float:
        after = lab_under(colour.apply(mine, colour.correction(mine, theirs, mask, method)), mask)
        return float(np.linalg.norm(np.cov(after.T) - wanted))

    assert off("mkl") < 0.6 * off("reinhard")


def test_sliced_transport_follows_a_curve_that_a_matrix_cannot():
    grey = np.random.default_rng(0).uniform(0.2, 0.8, (64, 64, 1)).astype(np.float32)
    mine, mask = np.repeat(grey, 3, axis=2), disc()
    theirs = np.repeat(grey[::-1] ** 2.5, 3, axis=2)

    def off(method: str) -> float:
        after = lab_under(colour.apply(mine, colour.correction(mine, theirs, mask, method)), mask)[:, 0]
        return float(np.abs(np.sort(after) - np.sort(lab_under(theirs, mask)[:, 0])).mean())

    assert off("sot") < 0.6 * off("mkl")


@pytest.mark.parametrize("method", ["reinhard", "mkl", "sot"])
def test_equal_colours_are_left_alone(method):
    mine = skin(0, (0.5, 0.4, 0.35), 0.05)
    change = np.abs(colour.apply(mine, colour.correction(mine, mine, disc(), method)) - mine)
    assert change[disc() > 0].mean() < (0.01 if method == "sot" else 1e-3)


@pytest.mark.parametrize("method", ["reinhard", "mkl"])
def test_a_blurred_face_is_not_turned_into_noise(method):
    mine, theirs = np.full((64, 64, 3), 0.5, np.float32), skin(1, (0.5, 0.5, 0.5), 0.2)
    change = colour.correction(mine, theirs, disc(), method)
    assert np.linalg.eigvalsh(change.matrix).max() <= 1.4 + 1e-5


def test_nothing_under_the_mask_or_no_method_is_no_correction():
    mine = skin(0, (0.5, 0.4, 0.35), 0.05)
    assert colour.correction(mine, mine, np.zeros((64, 64), np.float32)) is None
    assert colour.correction(mine, mine, disc(), "none") is None
    assert colour.apply(mine, None) is mine


@pytest.mark.parametrize("apart, left", [(0.01, 0.0), (0.2, 1.0)])
def test_small_departures_from_the_shots_colours_are_followed_great_ones_are_not(apart, left):
    mine = skin(0, (0.5, 0.4, 0.35), 0.05)
    shot, own = (colour.correction(mine, skin(2, (0.5 + d, 0.4 + d, 0.35 + d), 0.05), disc()) for d in (0.0, apart))
    mean = colour.averaged(own, [shot] * 20 + [own], [1.0] * 21)
    assert np.array_equal(mean.centre, own.centre)
    rest = (own.shift - mean.shift)[0] / (own.shift - shot.shift)[0]
    assert rest == pytest.approx(left, abs=0.15)


def test_a_method_is_one_function_in_the_dict(monkeypatch):
    zero, lift = np.zeros((3, 6)), np.array([5.0, 0, 0])
    monkeypatch.setitem(colour.METHODS, "lift", lambda mine, theirs, weights: (lift, np.eye(3), zero))
    mine = skin(0, (0.5, 0.4, 0.35), 0.05)
    change = colour.correction(mine, mine, disc(), "lift")
    assert change.shift == pytest.approx(lift, abs=1e-5)


@pytest.mark.parametrize("module, name", [(colour, "METHODS"), (blend, "MODES")])
def test_names_can_be_read_without_importing(module, name):
    """The command line reads the keys from the source, so that --help loads no OpenCV."""
    body = ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body
    (assigned,) = [n for n in body if isinstance(n, ast.AnnAssign) and getattr(n.target, "id", "") == name]
    assert [ast.literal_eval(key) for key in assigned.value.keys] == list(getattr(module, name))


def test_lab_and_back_changes_nothing():
    """OpenCV's own conversion moves colours by up to 0.7 levels."""
    rgb = np.random.default_rng(0).uniform(0, 1, (64, 64, 3)).astype(np.float32)
    assert np.abs(colour.from_lab(colour.to_lab(rgb)) - rgb).max() * 255 < 0.1
