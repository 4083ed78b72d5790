"""Heads from photos, such as the public-domain portrait of Grace Hopper (1906-1992) that matplotlib ships."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import MissingError, WorkError
from curate.face.mesh import LEFT_EYE, RIGHT_EYE, canonical
from curate.face.track import region_of_detection
from curate.turntable.anatomy import Hair
from curate.turntable.atlas import Appearance, blended, surroundings, texels
from curate.turntable.brush import TEXELS, Picture, area, darken, inside, lay, line, linear, mix, uv_pixels
from curate.turntable.mesh import POINTS, Array, smoothstep
from curate.turntable.model import LEFT_FOLD, RIGHT_FOLD, Head, assemble, rest_shape
from curate.turntable.raster import interpolate, look_up, samples
from curate.types import Image


def portrait_path() -> Path:
    """Path of the portrait that matplotlib ships. Raises MissingError if matplotlib is not installed."""
    try:
        from matplotlib.cbook import get_sample_data
    except ImportError:
        raise MissingError(
            "the portrait for the demo comes with matplotlib, which is not installed: pip install matplotlib"
        ) from None
    return Path(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))


@functools.cache
def hopper() -> Head:
    """Grace Hopper's face on a mesh of its own shape. Raises MissingError (no matplotlib) or WeightsError."""
    stored = cv2.imread(str(portrait_path()))
    if stored is None:
        raise MissingError(f"{portrait_path()} cannot be read as a picture: reinstall matplotlib")
    portrait = np.ascontiguousarray(stored[..., ::-1], np.uint8)
    return photographed(portrait, np.array([266.0, 222.0, 270.0, 270.0, 0.0]), "hopper", 1906)


def photographed(image: Image, region: NDArray[np.float64] | None, name: str, seed: int = 0) -> Head:
    """A head with the face of a photo that shows it from the front, on a mesh of its own shape.

    `image` (H, W, 3) uint8 RGB; `region` (5,) as a landmarker takes it, or None: the largest face that is detected.
    Raises WorkError where no face is found.
    """
    from curate.face.backends.litert import LiteRTDetector, LiteRTLandmarker

    if region is None:
        found = LiteRTDetector().detect(image)
        if not found:
            raise WorkError(f"the photo of {name} shows no face")
        region = region_of_detection(max(found, key=lambda d: d.width))
    seen = LiteRTLandmarker().landmark(image, region)
    pixels = seen.points[:POINTS].astype(np.float64)
    own = rest_shape(pixels * (1, -1, -1))
    mirror = _mirror()
    own = (own + own[mirror] * (-1, 1, 1)) / 2
    mesh = canonical().vertices
    shape = rest_shape(mesh + 0.75 * (own - mesh))
    face = _without_sides(_evenly_lit(_unwrap(np.asarray(image / 255, np.float32), pixels[:, :2])))
    skin = np.median(face[680:860, 180:300].reshape(-1, 3), axis=0).astype(np.float64)
    _eyelids(face, skin)
    appearance = Appearance(
        (float(skin[0]), float(skin[1]), float(skin[2])),
        (0.66, 0.64, 0.61),
        (0.42, 0.46, 0.50),
        (0.10, 0.11, 0.17),
        (0.88, 0.88, 0.88),
        0.2,
    )
    rng = np.random.default_rng(seed)
    hair = Hair(thickness=1.0, sides=0.0, volume=0.6)
    atlas = surroundings(appearance, hair, rng)
    atlas[texels("face")] = blended(face, appearance, hair, rng, 60.0)
    return assemble(name, shape, linear(atlas), hair)


def _eyelids(face: Picture, skin: Array) -> None:
    """Skin and lashes where the portrait's open eyes are, in place: the eyeballs are bodies of their own."""
    uv = uv_pixels()
    colour = (float(skin[0]) * 0.94, float(skin[1]) * 0.90, float(skin[2]) * 0.90)
    for ring, fold in ((RIGHT_EYE, RIGHT_FOLD), (LEFT_EYE, LEFT_FOLD)):
        points, crease = uv[list(ring)], uv[[*fold[8:], fold[0]]]
        upper = np.concatenate([points[8:], points[:1]])
        lay(face, area(points, 3.0), colour)
        lay(face, 0.85 * area(np.concatenate([upper, crease[::-1]]), 3.0), colour)
        darken(face, line(crease, 4, 2.5), 0.45)
        lay(face, 0.9 * line(upper, 6, 1.8), (0.10, 0.07, 0.06))
        lay(face, 0.4 * line(points[:9], 4, 1.8), (0.25, 0.14, 0.12))


def _mirror() -> NDArray[np.intp]:
    """(468,) the landmark on the other side of the face."""
    v = canonical().vertices
    return np.asarray(np.linalg.norm(v[:, None] * (-1, 1, 1) - v[None], axis=2).argmin(axis=1))


def _unwrap(portrait: Picture, pixels: Array) -> Picture:
    """(1024, 1024, 3) the portrait drawn onto the canonical texture."""
    mesh = canonical()
    uv = uv_pixels()
    at = samples(uv, np.ones(len(uv)), mesh.triangles, np.zeros(len(mesh.triangles), np.int32), (TEXELS, TEXELS), 1e9)
    x, y = interpolate(at, uv, mesh.triangles, pixels)
    out = np.zeros((TEXELS * TEXELS, 3), np.float32)
    smooth = np.asarray(cv2.resize(portrait, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), np.float32)
    found = look_up(smooth, 4 * x + 1.5, 4 * y + 1.5)
    out[at.whole] = found[: len(at.whole)]
    return np.clip(out, 0, 1).reshape(TEXELS, TEXELS, 3)


def _without_sides(face: Picture) -> Picture:
    """The portrait shows the face's sides in a few columns only: there the front's skin is led on, with its grain."""
    u, v = np.meshgrid((np.arange(TEXELS) + 0.5) / TEXELS, (np.arange(TEXELS) + 0.5) / TEXELS)
    side = np.abs(u - 0.5) + 0.10 * smoothstep(0.55, 0.85, v) + 0.04 * (1 - smoothstep(0.15, 0.3, v))
    good = (1 - smoothstep(0.27, 0.36, side)) * (inside() > 8) * (1 - smoothstep(0.90, 0.93, v))
    skin = good * smoothstep(0.25, 0.45, face.mean(axis=2)) * (1 - _band(v, 0.28, 0.42))
    fill = _spread(face, skin) + _grain(face)
    arm = 1 - smoothstep(6.0, 10.0, np.abs(v * TEXELS - 312 - 150 * np.maximum(np.abs(u - 0.5) - 0.3, 0)))
    fill = mix(fill, (0.10, 0.08, 0.09), arm * smoothstep(0.28, 0.30, np.abs(u - 0.5)))
    return mix(fill, face, good)


def _evenly_lit(face: Picture) -> Picture:
    """Takes out what the portrait's light did: its left-right difference, too much warmth, too much white."""
    grey = face.mean(axis=2, keepdims=True)
    out = 0.86 * (grey + 0.78 * (face - grey))
    broad = cv2.GaussianBlur(cv2.resize(face.mean(axis=2), (128, 128), interpolation=cv2.INTER_AREA), (0, 0), 6) + 0.02
    even = cv2.resize((broad + broad[:, ::-1]) / 2 / broad, (TEXELS, TEXELS), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(out * np.clip(even, 0.7, 1.4)[..., None], 0, 1), np.float32)


def _spread(face: Picture, weight: Array) -> Picture:
    """The colours where weight is 1, led on smoothly everywhere; worked out at an eighth of the size."""
    small = (TEXELS // 8, TEXELS // 8)
    colour = cv2.resize((face * weight[..., None]).astype(np.float32), small, interpolation=cv2.INTER_AREA)
    share = cv2.resize(weight.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    total, sums = np.zeros_like(colour), np.full(share.shape, 1e-6, np.float32)
    for sigma in (2.5, 7.5, 20.0):
        gain = (2.5 / sigma) ** 3
        total += np.asarray(gain * cv2.GaussianBlur(colour, (0, 0), sigma), np.float32)
        sums += np.asarray(gain * cv2.GaussianBlur(share, (0, 0), sigma), np.float32)
    return np.asarray(cv2.resize(total / sums[..., None], (TEXELS, TEXELS), interpolation=cv2.INTER_CUBIC), np.float32)


def _grain(face: Picture) -> Picture:
    """(1024, 1024, 3) the texture of the cheek, mirrored on and on."""
    patch = face[540:680, 225:345]
    patch = patch - cv2.GaussianBlur(patch, (0, 0), 12)
    tile = np.concatenate([patch, patch[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    return np.asarray(np.tile(tile, (4, 5, 1))[:TEXELS, :TEXELS], np.float32)


def _band(v: NDArray[np.floating], low: float, high: float) -> Array:
    """1 between low and high, 0 outside, soft."""
    return smoothstep(low - 0.02, low + 0.02, v) * (1 - smoothstep(high - 0.02, high + 0.02, v))
