"""Light direction, contrast, exposure and warmth of one face: one light plus ambient on the mesh.

Skin radiance in linear light at each mesh triangle is explained as a + d max(0, n . l), with n the canonical normals
turned by the head pose; l is searched on the half sphere before the face (a light behind it is not seen).
A single frame reads the direction to within 17-29 degrees; left and right far better than up and down.
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
DIRECTIONS = 400
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
    """log2 of the mean linear skin luminance over middle grey (0.18); stops."""
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
def half_sphere(count: int = DIRECTIONS) -> NDArray[np.float64]:
    """(count, 3) unit vectors with z >= 0, evenly spread (Fibonacci lattice)."""
    i = np.arange(count) + 0.5
    z, turn = i / count, np.pi * (1 + 5**0.5) * i
    radius = np.sqrt(1 - z**2)
    return np.column_stack([radius * np.cos(turn), radius * np.sin(turn), z])


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


def estimate(colours: NDArray[np.uint8], rotation: NDArray[np.floating]) -> Light | None:
    """Light on one face from one frame, or None if too little skin is visible.

    `colours` (T, 3) of `skin_colours`, `rotation` (3, 3) of the head in the crop.
    """
    seen = colours.any(1)
    if seen.sum() < MIN_TRIANGLES:
        return None
    colour = decoded8(colours[seen])
    normals = skin()[1][seen] @ np.asarray(rotation).T
    luminance = colour @ LUMA
    bright = np.clip(luminance, *np.quantile(luminance, (0.02, 0.98)))
    directions = half_sphere()
    shading = np.maximum(normals @ directions.T, 0)
    centred, level = shading - shading.mean(0), bright - bright.mean()
    key = np.maximum(centred.T @ level, 0) / np.maximum((centred**2).sum(0), 1e-9)
    explained = key * (centred.T @ level)
    best = int(np.argmax(explained))
    ambient = max(float(bright.mean() - key[best] * shading[:, best].mean()), 0.0)
    mean = np.maximum(colour.mean(0), 1e-4)
    return Light(
        direction=directions[best].astype(np.float32),
        contrast=float(key[best] / max(key[best] + ambient, 1e-6)),
        exposure=float(np.log2(max(luminance.mean(), 1e-4) / 0.18)),
        warmth=float(np.log2(mean[0] / mean[2])),
        tint=float(np.log2(mean[1] / np.sqrt(mean[0] * mean[2]))),
    )
