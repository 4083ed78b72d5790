"""Lighting of every frame of one subject, estimated with the subject's own albedo.

One frame cannot tell a bright cheek from a lit one. Footage shows the same skin again and again, so two steps
alternate: (1) every frame's light, ambient a plus one Lambertian direction d max(0, n . l), searched over a grid on
skin triangles of luminance / albedo; (2) the albedo of every triangle, the log-median over the frames of
luminance / shading. Triangles whose albedo does not stay the same (hair, shadows, glasses) weigh less, and in each
frame those that the light does not explain (gloss, a hand), by Huber's weights (1964) of the error over the square root
of the shading, which is how errors of a product grow. Albedo and mean light can trade off, so each round takes a small
share of the albedo's pattern away (SHRINK): it then settles. SHRINK, HUBER and the power were chosen on calibration
heads (benchmarks/accuracy_heads.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.scores.lighting import LUMA, MIN_TRIANGLES, skin, sphere
from curate.srgb import decoded8
from curate.types import Floats

Doubles = NDArray[np.float64]

LEAST_FRAMES = 10
"""Fewer frames do not show the same skin in lights enough: single frames are then read by `lighting.estimate`."""
ROUNDS, SETTLED = 40, 0.002
"""Rounds at most, and the mean change of the logarithm below which no more follow."""
SHRINK = 0.02
"""Share of the albedo's pattern (its logarithm) that each round gives back."""
DIRECTIONS, ROUGHLY = 1500, 250
"""On the whole sphere about the head: 5 degrees apart; 13 where only the large errors are looked for."""
NOISE = 0.15
"""Scatter of log luminance / shading that every triangle has anyway."""
LEAST_SEEN = 4
"""Frames in which a triangle must be seen."""
HUBER = 1.0
"""Scatters of a frame's errors beyond which a triangle weighs less."""
DARKEST = 0.15
"""Shading below which errors no longer shrink with it."""
BLOCK = 512


@dataclass(frozen=True, eq=False)
class Albedo:
    """Of one subject's skin, up to a factor."""

    log: Doubles
    """(T,) natural logarithm of each triangle's reflectance over the median one's."""
    weight: Doubles
    """(T,) weight of each triangle, mean 1; 0 where it was hardly ever visible."""


@dataclass(frozen=True, eq=False)
class Lights:
    """Lighting of N faces; NaN where too little skin is visible."""

    direction: Floats
    """(N, 3) unit vectors to the light: x image right, y up, z to the camera. Where contrast is near 0, chance."""
    contrast: Floats
    """(N,) 0..1: share of the key light in skin that faces it, d / (a + d)."""
    exposure: Floats
    """(N,) log2 of the mean linear luminance of skin of median albedo over 0.18; stops."""
    warmth: Floats
    """(N,) log2 of red over blue of the mean linear skin colour."""
    tint: Floats
    """(N,) log2 of green over the geometric mean of red and blue."""
    shading: Floats
    """(N, T) what this light gives each triangle, over the mean level; seen or not."""

    def vectors(self) -> Floats:
        """(N, 6): direction times contrast, exposure, warmth, tint, as `lighting.Light.vector`."""
        scalars = np.column_stack([self.exposure, self.warmth, self.tint])
        return np.hstack([self.direction * self.contrast[:, None], scalars])


def fit(colours: NDArray[np.uint8], rotations: NDArray[np.floating]) -> Albedo | None:
    """The albedo from N frames; None if fewer than LEAST_FRAMES show enough skin.

    `colours` (N, T, 3) of `lighting.skin_colours`, `rotations` (N, 3, 3) of the heads in their crops.
    """
    enough = colours.any(2).sum(1) >= MIN_TRIANGLES
    if enough.sum() < LEAST_FRAMES:
        return None
    luminance, seen = _luminance(colours[enough], rotations[enough])
    often = (seen > 0).sum(0) >= LEAST_SEEN
    albedo = Albedo(np.zeros(colours.shape[1]), often.astype(np.float64))
    for _ in range(ROUNDS):
        before, albedo = albedo, _round(albedo, luminance, seen, rotations[enough], often)
        if np.abs(albedo.log - before.log)[often].mean() < SETTLED:
            break
    return albedo


def read(albedo: Albedo, colours: NDArray[np.uint8], rotations: NDArray[np.floating]) -> Lights:
    """The light on N frames: `colours` (N, T, 3) and `rotations` (N, 3, 3) as for `fit`."""
    out = np.full((len(colours), 7), np.nan, np.float32)
    shading = np.full(colours.shape[:2], np.nan, np.float32)
    enough = np.flatnonzero(colours.any(2).sum(1) >= MIN_TRIANGLES)
    for rows in _blocks(enough):
        luminance, seen = _luminance(colours[rows], rotations[rows])
        found = _search(albedo, luminance, seen, rotations[rows])
        out[rows, :3] = np.einsum("fij,fj->fi", rotations[rows], found.direction)
        out[rows, 3] = found.key / np.maximum(found.key + found.ambient, 1e-6)
        out[rows, 4] = np.log2(np.maximum(found.level, 1e-4) / 0.18)
        shading[rows] = found.shading()
        mean = (decoded8(colours[rows]) * (seen > 0)[..., None]).sum(1) / (seen > 0).sum(1)[:, None]
        red, green, blue = np.log2(np.maximum(mean, 1e-4)).T
        out[rows, 5], out[rows, 6] = red - blue, green - (red + blue) / 2
    return Lights(out[:, :3], out[:, 3], out[:, 4], out[:, 5], out[:, 6], shading)


def _blocks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    return (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))


def _luminance(colours: NDArray[np.uint8], rotations: NDArray[np.floating]) -> tuple[Doubles, Doubles]:
    """(N, T) linear luminance, and how squarely each triangle is seen (0: not at all)."""
    facing = np.einsum("fj,tj->ft", np.asarray(rotations, np.float64)[:, 2], skin()[1])
    luminance = np.maximum((decoded8(colours) @ LUMA).astype(np.float64), 1e-4)
    return luminance, np.clip(facing, 0, 1) * colours.any(2)


@dataclass(frozen=True, eq=False)
class _Found:
    """The light on N faces in the heads' axes."""

    ambient: Doubles
    key: Doubles
    """(N,) both over the level, 0 or more."""
    direction: Doubles
    """(N, 3)."""
    level: Doubles
    """(N,) mean luminance of skin of median albedo."""

    def shading(self) -> Doubles:
        """(N, T) over the level."""
        lit = np.maximum(self.direction @ skin()[1].T, 0)
        return np.asarray(self.ambient[:, None] + self.key[:, None] * lit)


def _search(albedo: Albedo, luminance: Doubles, seen: Doubles, rotations: NDArray[np.floating]) -> _Found:
    """The light on each frame, twice: the second time what the first does not explain weighs less."""
    even = luminance / np.exp(albedo.log)
    weight = seen * albedo.weight
    first = _least_squares(even, weight, rotations, ROUGHLY)
    shading = np.maximum(first.shading(), DARKEST)
    error = np.abs(even / np.maximum(first.level, 1e-6)[:, None] - shading) / np.sqrt(shading)
    known = np.where(weight > 0, error, np.nan)
    scatter = 1.4826 * np.nan_to_num(np.nanmedian(known, axis=1, keepdims=True))
    huber = 1 / np.maximum(error / (HUBER * scatter + 1e-6), 1)
    return _least_squares(even, weight * huber / shading, rotations, DIRECTIONS)


def _least_squares(even: Doubles, weight: Doubles, rotations: NDArray[np.floating], count: int) -> _Found:
    """Weighted least squares of `even` (N, T), luminance over albedo, for every one of `count` directions that lies
    in front of the camera; ambient is not negative."""
    directions, shading = sphere(count)
    weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-9)
    level = (weight * even).sum(1)
    ratio = np.minimum(even / np.maximum(level, 1e-6)[:, None], 3.0)
    light = weight.astype(np.float32)
    mean, mean_shading, squares = (weight * ratio).sum(1, keepdims=True), light @ shading, light @ shading**2
    product = (weight * ratio).astype(np.float32) @ shading
    covariance, variance = product - mean * mean_shading, squares - mean_shading**2
    key = np.maximum(covariance, 0) / np.maximum(variance, 1e-4)
    ambient = mean - key * mean_shading
    alone = product / np.maximum(squares, 1e-6)  # the key where there is no ambient light
    explained = np.where(ambient < 0, alone * product - mean**2, key * covariance)
    explained[rotations[:, 2] @ directions.T <= 0] = -np.inf  # a light behind the face is not seen
    best, row = explained.argmax(1), np.arange(len(ratio))
    found = ambient[row, best]
    strength = np.where(found < 0, alone[row, best], key[row, best])
    return _Found(np.maximum(found, 0), strength, directions[best], level)


def _round(
    albedo: Albedo, luminance: Doubles, seen: Doubles, rotations: NDArray[np.floating], often: NDArray[np.bool_]
) -> Albedo:
    found = _search(albedo, luminance, seen, rotations)
    shading = found.shading() * found.level[:, None]
    logs = np.where(seen > 0, np.log(luminance / np.maximum(shading, 1e-4)), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # triangles that are never seen are left out below
        middle = np.nanmedian(logs, axis=0)
        scatter = 1.4826 * np.nanmedian(np.abs(logs - middle), axis=0)
    middle = np.where(often, middle - np.median(middle[often]), 0.0)
    weight = np.where(often, 1 / (np.where(often, scatter, 0.0) ** 2 + NOISE**2), 0.0)
    return Albedo((1 - SHRINK) * middle, weight / weight.mean())
