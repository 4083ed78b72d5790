"""Brushes for the textures of synthetic heads: 1024 x 1024 texels, float32, sRGB 0..1."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import FACE_OVAL, canonical
from curate.srgb import decoded
from curate.turntable.mesh import Array

TEXELS = 1024
Picture = NDArray[np.float32]
Colour = tuple[float, float, float]
"""sRGB, 0..1."""


def linear(srgb: NDArray[np.floating]) -> Picture:
    """sRGB 0..1 to linear light 0..1 (IEC 61966-2-1)."""
    return np.asarray(decoded(np.clip(srgb, 0.0, 1.0)), np.float32)


def noise(rng: np.random.Generator, height: int, width: int, cells: tuple[int, int]) -> Picture:
    """(height, width) smooth noise, mean 0, spread about 1, of cells[0] x cells[1] lumps."""
    coarse = rng.standard_normal((cells[0] + 1, cells[1] + 1)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def mix(a: NDArray[np.floating] | Colour, b: NDArray[np.floating] | Colour, share: NDArray[np.floating]) -> Picture:
    """a where share is 0, b where it is 1."""
    return np.asarray(np.asarray(a) + (np.asarray(b) - np.asarray(a)) * share[..., None], np.float32)


def uv_pixels() -> Array:
    """(468, 2) where the landmarks lie in the face's part of the atlas, texels."""
    return np.asarray(canonical().uv * TEXELS)


def inside() -> Picture:
    """(1024, 1024) distance in texels to the face's edge, 0 outside."""
    mask = np.zeros((TEXELS, TEXELS), np.uint8)
    cv2.fillPoly(mask, [np.round(uv_pixels()[list(FACE_OVAL)]).astype(np.int32)], 255)
    return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 5), np.float32)


def blob(centre: Array, wide: float, high: float) -> Picture:
    """(1024, 1024) 1 at the centre, a soft ellipse around it."""
    x = (np.arange(TEXELS)[None] - centre[0]) / wide
    y = (np.arange(TEXELS)[:, None] - centre[1]) / high
    return np.asarray(np.exp(-(x**2 + y**2)), np.float32)


def area(points: Array, soft: float) -> Picture:
    """(1024, 1024) 1 inside the polygon, its edge softened."""
    mask = np.zeros((TEXELS, TEXELS), np.float32)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32)


def line(points: Array, width: int, soft: float) -> Picture:
    """(1024, 1024) 1 on the line through the points, its edge softened."""
    mask = np.zeros((TEXELS, TEXELS), np.float32)
    cv2.polylines(mask, [np.round(points * 16).astype(np.int32)], False, 1.0, width, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32)


def darken(face: Picture, share: Picture, amount: float, tint: Colour = (1.0, 1.0, 1.0)) -> None:
    """Multiply in place; a tint below 1 in a channel darkens it more."""
    face *= 1 - amount * np.clip(share, 0, 1)[..., None] * np.array(tint, np.float32)


def lay(face: Picture, share: Picture, colour: Colour) -> None:
    """Cover in place."""
    face += (np.array(colour, np.float32) - face) * np.clip(share, 0, 1)[..., None]
