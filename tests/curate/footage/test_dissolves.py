"""Dissolves and fades are found; cuts, pans, light and motion are none."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curate.errors import WorkError
from curate.footage import moved
from curate.footage.dissolves import MOVED, blended, packed, trace, unpacked


def scene(seed: int, frames: int = 60, light: float = 0.0) -> NDArray[np.float64]:
    """Frames (N, 90, 160) of soft shapes, with a disc that moves about as a head does."""
    noise = np.random.default_rng(seed).normal(0, 1, (90, 160)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 6)
    base = np.clip(110 + 45 * soft / soft.std(), 0, 255)
    out = []
    for i in range(frames):
        picture = base.copy()
        centre = (80 + round(9 * np.sin(i / 6 + seed)), 45 + round(4 * np.cos(i / 5)))
        cv2.circle(picture, centre, 22, 190.0, -1)
        out.append(picture * (1 + light * i / frames))
    return np.array(out)


def traces(frames: NDArray[np.float64]) -> NDArray[np.uint8]:
    whole = np.clip(frames, 0, 255).round().astype(np.uint8)
    return np.stack([trace(np.repeat(f[..., None], 3, axis=2)) for f in whole])


@pytest.mark.parametrize("length", [10, 24, 40])
@pytest.mark.parametrize("fade", [False, True])
def test_a_dissolve_is_found_from_end_to_end(length: int, fade: bool) -> None:
    a, b = scene(1, 40 + length), scene(2, 40 + length) * (not fade)
    share = ((np.arange(length) + 1) / (length + 1))[:, None, None]
    film = np.concatenate([a[:40], (1 - share) * a[40:] + share * b[:length], b[length:]])
    found = blended(traces(film))
    middle = np.flatnonzero((share.ravel() > 0.06) & (share.ravel() < 0.94)) + 40
    assert found[middle].all()
    assert not found[:38].any() and not found[42 + length :].any()


@pytest.mark.parametrize("length", [10, 17, 40])
def test_the_ends_are_exact_where_little_moves(length: int) -> None:
    still, talk = (np.repeat(scene(seed, 1), 90, axis=0) for seed in (1, 2))
    talk[:, 40:50, 70:90] += 60 * np.random.default_rng(0).random((90, 1, 1))
    share = np.clip((np.arange(90) - 29) / (length + 1), 0, 1)[:, None, None]
    found = np.flatnonzero(blended(traces((1 - share) * still + share * talk)))
    assert found.tolist() == list(range(30, 30 + length))


def test_a_dissolve_goes_on_across_a_cut_of_the_shot_that_it_leaves() -> None:
    one, two, later = (np.repeat(scene(seed, 1), 90, axis=0) for seed in (1, 2, 3))
    share = np.clip((np.arange(90) - 29) / 25, 0, 1)[:, None, None]
    leaving = np.where(np.arange(90)[:, None, None] < 35, one, two)
    found = np.flatnonzero(blended(traces((1 - share) * leaving + share * later)))
    assert found.tolist() == list(range(30, 54))


@pytest.mark.parametrize("length", [5, 6])
def test_frames_that_were_not_looked_at_are_not_blended(length: int) -> None:
    """A shot that looks like the mean of its neighbours, between two dissolves: a line through all would be endless."""
    one, other = (scene(seed, 1)[0] for seed in (1, 2))
    rise = np.arange(1, length + 1) / (length + 1) / 2
    share = np.concatenate([np.zeros(150), rise, np.full(51 - 2 * length, 0.5), 0.5 + rise, np.ones(150)])
    found = np.flatnonzero(blended(traces((1 - share[:, None, None]) * one + share[:, None, None] * other)))
    assert found.tolist() == [*range(150, 150 + length), *range(201 - length, 201)]


def test_what_is_no_dissolve() -> None:
    cut = np.concatenate([scene(1), scene(2)])
    wide = np.repeat(scene(3, 1), 60, axis=0)
    pan = np.stack([np.roll(f, 2 * i, axis=1) for i, f in enumerate(wide)])
    for film in (cut, pan, scene(4, light=0.4), scene(5)[:5]):
        assert not blended(traces(film)).any()


@pytest.mark.parametrize(("softness", "step"), [(4, 0.6), (8, 1.2), (16, 2.5)])
def test_a_slow_pan_over_soft_shapes_is_no_dissolve(softness: int, step: float) -> None:
    noise = np.random.default_rng(softness).normal(0, 1, (72, 400)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), softness)
    wide = np.clip(128 + 45 * soft / soft.std(), 0, 255)
    moves = (np.array([[1, 0, -step * i], [0, 1, 0]], np.float64) for i in range(90))
    pan = np.stack([cv2.warpAffine(wide, move, (128, 72)) for move in moves])
    assert not blended(traces(pan)).any()


def test_traces_are_kept_in_few_bytes() -> None:
    some = traces(scene(6))
    assert (unpacked(packed(some), len(some)) == some).all() and len(packed(some)) < some.nbytes / 2
    assert len(unpacked(b"", 0)) == 0
    for data, count in ((packed(some)[:-9], len(some)), (b"nothing", 2), (packed(some), 1)):
        with pytest.raises(WorkError, match="traces"):
            unpacked(data, count)


@pytest.mark.parametrize("length", [16, 24])
def test_a_dissolve_between_hand_held_shots_is_found(length: int) -> None:
    def held(seed: int) -> NDArray[np.float64]:
        moves = (round(6 * np.sin(i / 5 + seed)) for i in range(40 + length))
        return np.stack([np.roll(f, x, axis=1) for f, x in zip(scene(seed, 40 + length), moves, strict=True)])

    a, b = held(1), held(2)
    share = ((np.arange(length) + 1) / (length + 1))[:, None, None]
    found = blended(traces(np.concatenate([a[:40], (1 - share) * a[40:] + share * b[:length], b[length:]])))
    assert found[40 : 40 + length].mean() > 0.7
    assert not found[:37].any() and not found[43 + length :].any()
    assert not blended(traces(a)).any()


def test_shots_of_like_shapes_and_other_light_are_two() -> None:
    noise = np.random.default_rng(5).normal(0, 1, (72, 400)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 12)
    soft = soft / soft.std()
    dark, light = 50 + 18 * soft[:, :128], 170 + 18 * soft[:, 16:144]
    assert moved.likeness(*(p.astype(np.float32).reshape(18, 32) for p in traces(np.stack([dark, light])))) > MOVED
    share = np.concatenate([np.zeros(40), np.arange(1, 21) / 21, np.ones(40)])[:, None, None]
    assert np.flatnonzero(blended(traces((1 - share) * dark + share * light))).tolist() == [*range(40, 60)]
