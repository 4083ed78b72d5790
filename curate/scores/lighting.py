"""Light direction, contrast, exposure and warmth of one face: one light plus ambient on the mesh.

Skin radiance in linear light at each mesh triangle is explained as a + d max(0, n . l), with n the canonical normals
turned by the head pose; l is searched in front of the camera (a light behind the face is not seen). Faces are not
evenly bright: forehead and cheeks are brighter than chins and eye sockets, so that every light seems to come from
higher than it does. BIAS, the mean of that over many people, is undone. Single frames of real people under known lights
are then read to within 9 degrees on average, left and right better than up and down (docs/accuracy.md).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import INNER_LIPS, LEFT_BROW, LEFT_EYE, LIPS, RIGHT_BROW, RIGHT_EYE, canonical
from curate.srgb import decoded8, encoded8
from curate.types import Floats, Image

MIN_TRIANGLES = 60
DIRECTIONS = 1500
BLACK, BLACK_SHARE = 0.05, 0.1
"""A triangle is black below this share of the luminance that a tenth of the face exceeds; the light is hard where more
than this share of the visible skin is black."""
BRIGHTEST = 0.98
"""Quantile of the luminance above which skin counts as if it were at it: gloss."""
Bias = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
NO_BIAS: Bias = ((0.0,) * 3, (0.0,) * 6, (0.0,) * 6)
BIAS: Bias = (
    (-0.051, 0.103, 0.041),
    (-0.073, 0.168, -0.034, -0.019, -0.113, -0.201),
    (0.017, 0.059, -0.03, -0.075, 0.054, 0.111),
)
"""What is added to a direction's x, y and z, times `terms`: fitted by `benchmarks/calibrate.py --real` on 20 people of
the Extended Yale Face Database B in all frontal lights, at two folds of people in docs/accuracy.md."""
FACING = 0.15
"""Cosine to the camera above which a triangle is seen."""
CLIPPED = 253
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True)
class Light:
    """The light on one face."""

    direction: Floats
    """(3,) unit vector to the light: x image right, y up, z to the camera."""
    contrast: float
    """0..1: share of the key light in the brightest skin, d / (a + d)."""
    exposure: float
    """log2 of the mean linear skin luminance over middle grey (.18); stops."""
    warmth: float
    """log2 of red over blue of the mean linear skin colour."""
    tint: float
    """log2 of green over the geometric mean of red and blue."""

    def vector(self) -> Floats:
        """(6,): direction times contrast, exposure, warmth, tint."""
        return np.array([*(self.direction * self.contrast), self.exposure, self.warmth, self.tint], np.float32)


@functools.cache
def skin() -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Triangles of bare skin (T, 3) and their canonical unit normals (T, 3): no eyes, brows, lips or mouth."""
    mesh = canonical()
    features = set(RIGHT_EYE) | set(LEFT_EYE) | set(LIPS) | set(INNER_LIPS) | set(RIGHT_BROW) | set(LEFT_BROW)
    bare = ~np.isin(mesh.triangles, list(features)).any(1)
    triangles = mesh.triangles[bare]
    a, b, c = (mesh.vertices[triangles[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    outward = np.sign((normals * ((a + b + c) / 3 - (0, 0, -5))).sum(1))
    return triangles, normals * outward[:, None]


@functools.cache
def sphere(count: int = DIRECTIONS) -> tuple[NDArray[np.float64], Floats]:
    """(G, 3) directions in the head's axes, evenly spread (Fibonacci lattice), and (T, G) the shading of each."""
    i = np.arange(count) + 0.5
    z, turn = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    radius = np.sqrt(1 - z**2)
    directions = np.column_stack([radius * np.cos(turn), radius * np.sin(turn), z])
    return directions, np.maximum(skin()[1] @ directions.T, 0).astype(np.float32)


def skin_colours(crop: Image, points: NDArray[np.floating], rotation: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Mean colours (T, 3) uint8 sRGB of the triangles of `skin()`; 0 where not visible or clipped.

    `crop` (S, S, 3) uint8 sRGB, `points` (478, 2+) landmarks in its pixels, `rotation` (3, 3) of the head in the crop.
    Means are taken in linear light over 3 x 3 pixels.
    """
    triangles, normals = skin()
    facing = normals @ np.asarray(rotation, np.float64)[2]
    column, row = np.round(np.asarray(points)[triangles, :2].mean(1)).astype(int).T
    height, width = crop.shape[:2]
    seen = (facing > FACING) & (column >= 1) & (row >= 1) & (column < width - 1) & (row < height - 1)
    column, row = np.clip(column, 0, width - 1), np.clip(row, 0, height - 1)
    linear = np.asarray(cv2.blur(decoded8(crop), (3, 3)))[row, column]
    colours = encoded8(linear)
    return np.where((seen & (crop[row, column].max(1) < CLIPPED))[:, None], np.maximum(colours, 1), 0).astype(np.uint8)


def estimate(colours: NDArray[np.uint8], rotation: NDArray[np.floating], bias: Bias | None = None) -> Light | None:
    """Light on one face from one frame, or None if too little skin is visible.

    `colours` (T, 3) of `skin_colours`, `rotation` (3, 3) of the head in the crop.
    """
    seen = colours.any(1)
    if seen.sum() < MIN_TRIANGLES:
        return None
    colour = decoded8(colours[seen])
    luminance = colour @ LUMA
    direction, ambient, key = _search(luminance, seen, np.asarray(rotation, np.float64))
    mean = np.maximum(colour.mean(0), 1e-4)
    return Light(
        direction=(rotation @ unbiased(direction[None], bias)[0]).astype(np.float32),
        contrast=float(key / max(key + ambient, 1e-6)),
        exposure=float(np.log2(max(luminance.mean(), 1e-4) / 0.18)),
        warmth=float(np.log2(mean[0] / mean[2])),
        tint=float(np.log2(mean[1] / np.sqrt(mean[0] * mean[2]))),
    )


def _search(
    luminance: Floats, seen: NDArray[np.bool_], rotation: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, float]:
    """Direction in the head's axes, ambient and key light: least squares, weighted by how squarely skin is seen."""
    directions, shading = sphere()
    shading = shading[seen]
    weight = np.clip(skin()[1][seen] @ rotation[2], 1e-6, 1)
    weight = (weight / weight.sum()).astype(np.float32)
    bright = np.minimum(luminance, np.quantile(luminance, BRIGHTEST)).astype(np.float32)
    bright = bright / max(float(bright.mean()), 1e-6)
    mean, square, product = weight @ shading, weight @ shading**2, (weight * bright) @ shading
    level = float(weight @ bright)
    covariance = np.maximum(product - level * mean, 0)
    key = covariance / np.maximum(square - mean**2, 1e-4)
    ambient, alone = level - key * mean, product / np.maximum(square, 1e-6)  # alone: the key without ambient light
    explained = np.where(ambient < 0, alone * product - level**2, key * covariance)
    explained[directions @ rotation[2] <= 0] = -np.inf
    best = int(explained.argmax())
    strength = key[best] if ambient[best] >= 0 else alone[best]
    return directions[best], float(max(ambient[best], 0.0)), float(strength)


def terms(directions: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 3) what BIAS says of x, and (N, 6) of y and z, for unit vectors (N, 3): left and right are alike."""
    x, y, z = np.asarray(directions, np.float64).T
    return np.column_stack([x, x * y, x * z]), np.column_stack([np.ones_like(x), y, z, x * x, y * y, y * z])


def unbiased(directions: NDArray[np.floating], bias: Bias | None = None) -> NDArray[np.float64]:
    """(N, 3) directions in the head's axes as they are on average where (N, 3) were read."""
    odd, even = terms(directions)
    side, up, front = BIAS if bias is None else bias
    moved = directions + np.column_stack([odd @ side, even @ up, even @ front])
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9))


def black(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N,) share of the visible skin that is black beside the rest, of `colours` (N, T, 3); 0 where none is visible."""
    seen: NDArray[np.bool_] = np.asarray((colours > 0).any(2))
    luminance = np.where(seen, decoded8(colours) @ LUMA, np.nan)
    luminance[~seen.any(1)] = 1.0
    dark = luminance < BLACK * np.nanquantile(luminance, 0.9, axis=1, keepdims=True)
    return np.asarray(dark.sum(1) / np.maximum(seen.sum(1), 1))
