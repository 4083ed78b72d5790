"""What compositing computes in a quick way, against the same written plainly."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import cv2
import numpy as np
import pytest

from curate.types import Frame
from render.compositing import blend, colour, detail, relight
from render.compositing.settings import MaskSettings
from render.compositing.swap import Place, errors, swap_frames
from tests.render.conftest import Network, face_points, picture

SIDE = 72
ROUNDING = 2e-6


def crop(seed: int) -> np.ndarray:
    """A textured crop (SIDE, SIDE, 3) in 0..1."""
    noise = np.random.default_rng(seed).normal(0.5, 0.5, (SIDE, SIDE, 3)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 1.2), 0, 1)


def disc(share: float = 0.42) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.clip((SIDE * share - np.hypot(x, y * 0.9)) / 7, 0, 1).astype(np.float32)


def test_the_light_has_the_gain_of_the_polynomial_less_its_mean_under_the_mask() -> None:
    coefficients, mask = np.random.default_rng(3).normal(0, 0.4, (5, 3)).astype(np.float32), disc()
    at = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    x, y = np.meshgrid(at, at)
    change = np.stack([x, y, x * x, x * y, y * y], -1) @ coefficients.astype(np.float64)
    change -= (change * mask[..., None]).sum((0, 1)) / mask.sum()
    plain = np.clip(crop(0) * np.exp(relight.MOST * np.tanh(change / relight.MOST)), 0, 1)
    assert np.abs(relight.relit(crop(0), coefficients, mask) - plain).max() < ROUNDING


@pytest.mark.parametrize("method", ["reinhard", "mkl", "sot"])
def test_colours_are_moved_about_the_centre(method: str) -> None:
    change = colour.correction(crop(0), np.clip(0.7 * crop(1) + 0.2, 0, 1), disc(), method)
    assert change is not None
    apart = colour.to_lab(crop(0)).astype(np.float64) - change.centre
    x, y, z = np.moveaxis(np.clip(apart / colour.UNIT, -2, 2), -1, 0)
    bent = np.stack([x * x, y * y, z * z, x * y, x * z, y * z], -1) @ change.bend.T
    plain = colour.from_lab((change.centre + change.shift + apart @ change.matrix.T + bent).astype(np.float32))
    assert np.abs(colour.apply(crop(0), change) - plain).max() < 5e-5


def test_noise_is_that_of_the_flattest_quarter_of_whole_blocks() -> None:
    grey = crop(0).astype(np.float64) @ (0.299, 0.587, 0.114)
    wide = np.pad(grey, 1, mode="symmetric")
    response = np.abs(
        sum(
            detail.KERNEL[j, i] * wide[j : j + SIDE, i : i + SIDE]
            for j in range(3)
            for i in range(3)
        )
    )  # fmt: skip
    means = [
        response[top : top + 8, left : left + 8].mean()
        for top in range(0, SIDE, 8)
        for left in range(0, SIDE, 8)
        if disc()[top : top + 8, left : left + 8].min() > 0.5
    ]
    plain = np.percentile(means, 25) * np.sqrt(np.pi / 2) / 6
    assert len(means) > 8 and detail.noise(crop(0), disc()) == pytest.approx(plain, rel=1e-5)
    own, other = detail.noise(0.2 * crop(0), disc()), detail.noise(0.3 * crop(1), disc())
    lacking = np.sqrt(np.clip(other**2 - own**2, 0, detail.GRAIN**2))
    assert detail.grain(0.2 * crop(0), 0.3 * crop(1), disc()) == pytest.approx(lacking, rel=1e-5)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_face_is_laid_over_the_frame_in_the_share_of_the_mask(kind: type) -> None:
    most = np.iinfo(kind).max
    frame = np.random.default_rng(5).integers(0, most, (120, 160, 3), endpoint=True).astype(kind)
    matrix = np.array([[0.9, 0.1, -20.0], [-0.1, 0.9, -10.0]])
    output, alpha = blend.paste(frame, crop(0), disc(), matrix)
    face = blend._laid(crop(0), cv2.invertAffineTransform(matrix), (160, 120)).astype(np.float64)
    plain = frame / most + alpha[..., None] * (face - frame / most)
    plain = np.where(alpha[..., None] > 0, np.rint(most * np.clip(plain, 0, 1)), frame)
    assert np.abs(output.astype(np.float64) - plain).max() <= 1 and (output != plain).mean() < 1e-3 * (most / 255)
    assert alpha.max() == 1 and np.array_equal(output[alpha == 0], frame[alpha == 0])


def test_membranes_are_averaged_by_weight() -> None:
    some, weights = [crop(n) - crop(n + 1) for n in range(9)], np.linspace(0.1, 1, 9)
    plain = np.average(np.stack(some).astype(np.float64), axis=0, weights=weights)
    assert np.abs(blend.averaged(some, list(weights)) - plain).max() < ROUNDING


class Painting(Network):
    """A network whose reconstructions are darker."""

    def reconstruct(self, crops, scores=None, marks=None):
        return crops * 0.8, crops[:, :1]

    def swap_and_reconstruct(self, crops, scores=None, marks=None):
        return *self.swap(crops), self.reconstruct(crops)[0]


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_errors_are_those_of_the_swaps(batch: int) -> None:
    where = {i: Place(face_points(60 + i, 48, 3.5), 0, float(i != 4)) for i in range(2, 9)}
    shown = [partial(picture, i) for i in range(11)]
    frames = [Frame(i, i, Fraction(i, 25), image, lambda: picture(0)[..., 1]) for i, image in enumerate(shown)]
    swapped = swap_frames(frames, where, Painting(), "full", MaskSettings(), 4, reconstruct=True)
    wanted = [face.error for _, face in swapped if face is not None]
    found = list(errors(frames, where, Painting(), "full", batch))
    assert len(found) == 6 and all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
