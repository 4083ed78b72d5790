"""Textures of synthetic heads, and the head with the public-domain portrait of Grace Hopper that matplotlib ships."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import MissingError
from curate.mesh import FACE_OVAL, canonical
from curate.turntable_mesh import POINTS, REGIONS, Array, smoothstep
from curate.turntable_model import Head, assemble, rest_shape
from curate.turntable_parts import MERIDIANS, Hair, hairline
from curate.turntable_raster import interpolate, look_up, samples

TEXELS = 1024
Picture = NDArray[np.float32]
Colour = tuple[float, float, float]
"""sRGB, 0..1."""


def linear(srgb: NDArray[np.floating]) -> Picture:
    """sRGB 0..1 to linear light 0..1 (IEC 61966-2-1)."""
    c = np.clip(srgb, 0.0, 1.0)
    return np.asarray(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4), np.float32)


def noise(rng: np.random.Generator, height: int, width: int, cells: tuple[int, int]) -> Picture:
    """(height, width) smooth noise, mean 0, spread about 1, of cells[0] x cells[1] lumps."""
    coarse = rng.standard_normal((cells[0] + 1, cells[1] + 1)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


@dataclass(frozen=True)
class Look:
    """Colours around the face."""

    skin: Colour
    hair: Colour
    iris: Colour
    cloth: Colour
    collar: Colour
    streaks: float = 0.25
    """How much the strands of hair differ in brightness."""


def texels(name: str) -> tuple[slice, slice]:
    """Rows and columns of a region of the atlas."""
    r = REGIONS[name]
    rows = slice(round(r.top * TEXELS), round(r.bottom * TEXELS))
    return rows, slice(round(r.left * 2 * TEXELS), round(r.right * 2 * TEXELS))


def _grid(name: str) -> tuple[Array, Array]:
    """u, v of each texel of a region, 0..1 within its margin."""
    rows, columns = texels(name)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    u = ((np.arange(width) + 0.5) / width - 0.02) / 0.96
    v = ((np.arange(height) + 0.5) / height - 0.02) / 0.96
    return np.broadcast_to(u, (height, width)), np.broadcast_to(v[:, None], (height, width))


def _mix(a: NDArray[np.floating] | Colour, b: NDArray[np.floating] | Colour, share: NDArray[np.floating]) -> Picture:
    """a where share is 0, b where it is 1."""
    return np.asarray(np.asarray(a) + (np.asarray(b) - np.asarray(a)) * share[..., None], np.float32)


def surroundings(look: Look, hair: Hair, rng: np.random.Generator) -> Picture:
    """(1024, 2048, 3) sRGB atlas with everything but the face."""
    atlas = np.empty((TEXELS, 2 * TEXELS, 3), np.float32)
    atlas[:] = look.skin
    painters: dict[str, Callable[[Look, Hair, np.random.Generator], Picture]] = {
        "skull": _skull, "body": _body, "eye": _eye, "ear": _ear, "rim": _rim, "mouth": _mouth, "teeth": _teeth,
    }  # fmt: skip
    for name, paint in painters.items():
        atlas[texels(name)] = np.clip(paint(look, hair, rng), 0, 1)
    return atlas


def strands(look: Look, rng: np.random.Generator, height: int, width: int) -> Picture:
    """(height, width, 3) hair that runs from top to bottom."""
    shade = 0.6 * noise(rng, height, width, (3, width // 2)) + 0.4 * noise(rng, height, width, (4, width // 6))
    shade += 0.25 * noise(rng, height, width, (5, width // 30))
    return np.asarray(np.array(look.hair, np.float32) * (1 + look.streaks * shade[..., None]), np.float32)


def _skull(look: Look, hair: Hair, rng: np.random.Generator) -> Picture:
    u, v = _grid("skull")
    height, width = u.shape
    begin, end = (np.interp(u[0] * MERIDIANS, np.arange(MERIDIANS + 1), np.append(x, x[0])) for x in hairline(hair))
    rough = 0.02 * noise(rng, height, width, (4, width // 8))
    alpha = smoothstep(-0.01, 0.07, v - begin + rough) * (1 - smoothstep(-0.06, 0.06, v - end + rough))
    under = smoothstep(0.28, 0.40, 0.5 - np.abs(u - 0.5)) * smoothstep(0.02, 0.35, v)
    skin = np.array(look.skin) * (1 - 0.4 * under[..., None])
    hairs = strands(look, rng, height, width // 2)
    return _mix(skin, np.concatenate([hairs, hairs[:, ::-1]], axis=1), alpha)


def _body(look: Look, hair: Hair, rng: np.random.Generator) -> Picture:
    u, v = _grid("body")
    front = 1 - np.abs(u - 0.5) * 4
    neck = np.array(look.skin) * (1 - 0.45 * (1 - smoothstep(0.12, 0.34, v)))[..., None]
    weave = 1 + 0.05 * rng.standard_normal(u.shape)
    folds = 0.05 * noise(rng, u.shape[0], u.shape[1], (20, 20))
    cloth = np.array(look.cloth) * (weave + folds)[..., None]
    opening = 0.355 + 0.16 * np.clip(front, 0, 1) ** 1.5
    collar = smoothstep(-0.004, 0.004, v - opening) * (1 - smoothstep(0.045, 0.053, v - opening))
    out = _mix(neck, cloth, smoothstep(-0.004, 0.004, v - opening))
    return _mix(out, np.array(look.collar) * weave[..., None], collar)


def _eye(look: Look, hair: Hair, rng: np.random.Generator) -> Picture:
    u, v = _grid("eye")
    x, y = 2 * u - 1, 2 * v - 1
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    white = _mix((0.76, 0.74, 0.72), (0.60, 0.46, 0.43), smoothstep(0.45, 0.95, radius))
    fibres = 1 + 0.22 * np.cos(angle * 37 + 3 * np.sin(angle * 5)) * smoothstep(0.12, 0.25, radius)
    iris = np.array(look.iris) * fibres[..., None]
    iris = _mix(iris, np.array(look.iris) * 0.35, smoothstep(0.27, 0.345, radius))
    out = _mix(white, iris, 1 - smoothstep(0.335, 0.365, radius))
    out = _mix(out, (0.02, 0.02, 0.02), 1 - smoothstep(0.135, 0.165, radius))
    shade = 1 - 0.42 * (1 - smoothstep(-0.48, -0.1, y))
    return np.asarray(out * shade[..., None], np.float32)


def _ear(look: Look, hair: Hair, rng: np.random.Generator) -> Picture:
    u, v = _grid("ear")
    x, y = 2 * u - 1, 2 * v - 1
    fold = np.exp(-(((np.hypot(x / 0.62, (y + 0.12) / 0.66) - 0.9) / 0.18) ** 2)) * (1 - smoothstep(0.3, 0.6, y))
    hollow = 1 - smoothstep(0.2, 1.0, np.hypot(x / 0.45, (y - 0.05) / 0.4))
    warm = np.array(look.skin) * (1.0, 0.95, 0.94)
    return np.asarray(warm * (1 - 0.16 * fold - 0.38 * hollow)[..., None], np.float32)


def _rim(look: Look, hair: Hair, rng: np.random.Generator) -> Picture:
    _, v = _grid("rim")
    lash = _mix(np.array(look.skin) * 0.28, np.array(look.skin) * (0.80, 0.55, 0.52), smoothstep(0.25, 0.5, v))
    return lash


def _mouth(look: Look, hair: Hair, rng: np.random.Generator) -> Picture:
    _, v = _grid("mouth")
    return _mix((0.46, 0.20, 0.19), (0.10, 0.03, 0.03), smoothstep(0.0, 0.5, v))


def _teeth(look: Look, hair: Hair, rng: np.random.Generator) -> Picture:
    u, v = _grid("teeth")
    gaps = 1 - 0.35 * np.exp(-((((u * 11) % 1 - 0.5) / 0.07) ** 2))
    fade = 1 - 0.6 * smoothstep(0.3, 0.5, np.abs(u - 0.5))
    gum = np.where(v < 0.5, 1 - smoothstep(0.05, 0.14, v), smoothstep(0.80, 0.92, v))
    tooth = np.array((0.78, 0.75, 0.68)) * (gaps * fade)[..., None]
    return _mix(tooth, (0.55, 0.27, 0.27), gum)


def uv_pixels() -> Array:
    """(468, 2) where the landmarks lie in the face's part of the atlas, texels."""
    return np.asarray(canonical().uv * TEXELS)


def inside() -> Picture:
    """(1024, 1024) distance in texels to the face's edge, 0 outside."""
    mask = np.zeros((TEXELS, TEXELS), np.uint8)
    cv2.fillPoly(mask, [np.round(uv_pixels()[list(FACE_OVAL)]).astype(np.int32)], 255)
    return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 5), np.float32)


def blended(face: Picture, look: Look, hair: Hair, rng: np.random.Generator, feather: float) -> Picture:
    """The face's picture with its edge led over into the skin and the hair of the surroundings."""
    distance = inside()
    out = _mix(look.skin, face, smoothstep(2.0, feather, distance))
    v = np.arange(TEXELS)[:, None] / TEXELS
    u = np.abs(np.arange(TEXELS)[None] / TEXELS - 0.5)
    fringe = noise(rng, TEXELS, TEXELS, (4, 200)) * 5 + noise(rng, TEXELS, TEXELS, (3, 40)) * 5
    upper = 1 - smoothstep(0.30 + 0.1 * hair.sides, 0.42 + 0.25 * hair.sides, v + 0 * u)
    alpha = (1 - smoothstep(12.0, 40.0, distance + fringe)) * upper
    return _mix(out, strands(look, rng, TEXELS, TEXELS), alpha)


def portrait_path() -> Path:
    """The portrait that matplotlib ships. Raises MissingError where matplotlib is not installed."""
    try:
        from matplotlib.cbook import get_sample_data
    except ImportError:
        raise MissingError(
            "the portrait of the demo comes with matplotlib, which is not installed: pip install 'faceset[demo]'"
        ) from None
    return Path(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))


@functools.cache
def hopper() -> Head:
    """Grace Hopper's face on a mesh of its own shape. Raises MissingError (no matplotlib) or WeightsError."""
    from curate.backends.litert import LiteRTLandmarker

    stored = cv2.imread(str(portrait_path()))
    if stored is None:
        raise MissingError(f"{portrait_path()} cannot be read as a picture: reinstall matplotlib")
    portrait = np.ascontiguousarray(stored[..., ::-1], np.uint8)
    seen = LiteRTLandmarker().landmark(portrait, np.array([266.0, 222.0, 270.0, 270.0, 0.0]))
    pixels = seen.points[:POINTS].astype(np.float64)
    own = rest_shape(pixels * (1, -1, -1))
    mirror = _mirror()
    own = (own + own[mirror] * (-1, 1, 1)) / 2
    mesh = canonical().vertices
    shape = rest_shape(mesh + 0.75 * (own - mesh))
    face = _without_sides(_evenly_lit(_unwrap(np.asarray(portrait / 255, np.float32), pixels[:, :2])))
    skin = np.median(face[680:860, 180:300].reshape(-1, 3), axis=0)
    look = Look(
        (float(skin[0]), float(skin[1]), float(skin[2])),
        (0.66, 0.64, 0.61),
        (0.42, 0.46, 0.50),
        (0.10, 0.11, 0.17),
        (0.88, 0.88, 0.88),
        0.2,
    )
    rng = np.random.default_rng(1906)
    hair = Hair(thickness=1.0, sides=0.0, volume=0.6)
    atlas = surroundings(look, hair, rng)
    atlas[texels("face")] = blended(face, look, hair, rng, 60.0)
    return assemble("hopper", shape, linear(atlas), hair)


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
    fill = _mix(fill, (0.10, 0.08, 0.09), arm * smoothstep(0.28, 0.30, np.abs(u - 0.5)))
    return _mix(fill, face, good)


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
