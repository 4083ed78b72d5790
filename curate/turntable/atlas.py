"""Texture of a synthetic head except its face: hair, ears, neck and clothes, eyes, mouth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curate.turntable.anatomy import MERIDIANS, Hair, hairline
from curate.turntable.brush import TEXELS, Colour, Picture, inside, mix, noise
from curate.turntable.mesh import REGIONS, Array, smoothstep


@dataclass(frozen=True)
class Appearance:
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


def surroundings(appearance: Appearance, hair: Hair, rng: np.random.Generator) -> Picture:
    """(1024, 2048, 3) sRGB atlas with everything but the face."""
    atlas = np.empty((TEXELS, 2 * TEXELS, 3), np.float32)
    atlas[:] = appearance.skin
    painters: dict[str, Callable[[Appearance, Hair, np.random.Generator], Picture]] = {
        "skull": _skull, "body": _body, "eye": _eye, "ear": _ear, "rim": _rim, "mouth": _mouth, "teeth": _teeth,
    }  # fmt: skip
    for name, paint in painters.items():
        atlas[texels(name)] = np.clip(paint(appearance, hair, rng), 0, 1)
    return atlas


def strands(appearance: Appearance, rng: np.random.Generator, height: int, width: int) -> Picture:
    """(height, width, 3) hair that runs from top to bottom."""
    shade = 0.6 * noise(rng, height, width, (3, width // 2)) + 0.4 * noise(rng, height, width, (4, width // 6))
    shade += 0.25 * noise(rng, height, width, (5, width // 30))
    return np.asarray(np.array(appearance.hair, np.float32) * (1 + appearance.streaks * shade[..., None]), np.float32)


def _skull(appearance: Appearance, hair: Hair, rng: np.random.Generator) -> Picture:
    u, v = _grid("skull")
    height, width = u.shape
    begin, end = (np.interp(u[0] * MERIDIANS, np.arange(MERIDIANS + 1), np.append(x, x[0])) for x in hairline(hair))
    rough = 0.02 * noise(rng, height, width, (4, width // 8))
    alpha = smoothstep(-0.01, 0.07, v - begin + rough) * (1 - smoothstep(-0.06, 0.06, v - end + rough))
    under = smoothstep(0.28, 0.40, 0.5 - np.abs(u - 0.5)) * smoothstep(0.02, 0.35, v)
    skin = np.array(appearance.skin) * (1 - 0.4 * under[..., None])
    hairs = strands(appearance, rng, height, width // 2)
    return mix(skin, np.concatenate([hairs, hairs[:, ::-1]], axis=1), alpha)


def _body(appearance: Appearance, hair: Hair, rng: np.random.Generator) -> Picture:
    u, v = _grid("body")
    front = 1 - np.abs(u - 0.5) * 4
    neck = np.array(appearance.skin) * (1 - 0.45 * (1 - smoothstep(0.12, 0.34, v)))[..., None]
    weave = 1 + 0.05 * rng.standard_normal(u.shape)
    folds = 0.05 * noise(rng, u.shape[0], u.shape[1], (20, 20))
    cloth = np.array(appearance.cloth) * (weave + folds)[..., None]
    opening = 0.355 + 0.16 * np.clip(front, 0, 1) ** 1.5
    collar = smoothstep(-0.004, 0.004, v - opening) * (1 - smoothstep(0.045, 0.053, v - opening))
    out = mix(neck, cloth, smoothstep(-0.004, 0.004, v - opening))
    return mix(out, np.array(appearance.collar) * weave[..., None], collar)


def _eye(appearance: Appearance, hair: Hair, rng: np.random.Generator) -> Picture:
    u, v = _grid("eye")
    x, y = 2 * u - 1, 2 * v - 1
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    white = mix((0.76, 0.74, 0.72), (0.60, 0.46, 0.43), smoothstep(0.45, 0.95, radius))
    fibres = 1 + 0.22 * np.cos(angle * 37 + 3 * np.sin(angle * 5)) * smoothstep(0.12, 0.25, radius)
    iris = np.array(appearance.iris) * fibres[..., None]
    iris = mix(iris, np.array(appearance.iris) * 0.35, smoothstep(0.27, 0.345, radius))
    out = mix(white, iris, 1 - smoothstep(0.335, 0.365, radius))
    out = mix(out, (0.02, 0.02, 0.02), 1 - smoothstep(0.135, 0.165, radius))
    shade = 1 - 0.42 * (1 - smoothstep(-0.48, -0.1, y))
    return np.asarray(out * shade[..., None], np.float32)


def _ear(appearance: Appearance, hair: Hair, rng: np.random.Generator) -> Picture:
    u, v = _grid("ear")
    x, y = 2 * u - 1, 2 * v - 1
    fold = np.exp(-(((np.hypot(x / 0.62, (y + 0.12) / 0.66) - 0.9) / 0.18) ** 2)) * (1 - smoothstep(0.3, 0.6, y))
    hollow = 1 - smoothstep(0.2, 1.0, np.hypot(x / 0.45, (y - 0.05) / 0.4))
    warm = np.array(appearance.skin) * (1.0, 0.95, 0.94)
    return np.asarray(warm * (1 - 0.16 * fold - 0.38 * hollow)[..., None], np.float32)


def _rim(appearance: Appearance, hair: Hair, rng: np.random.Generator) -> Picture:
    _, v = _grid("rim")
    lash = mix(
        np.array(appearance.skin) * 0.28, np.array(appearance.skin) * (0.95, 0.74, 0.70), smoothstep(0.25, 0.5, v)
    )
    return lash


def _mouth(appearance: Appearance, hair: Hair, rng: np.random.Generator) -> Picture:
    _, v = _grid("mouth")
    return mix((0.46, 0.20, 0.19), (0.10, 0.03, 0.03), smoothstep(0.0, 0.5, v))


def _teeth(appearance: Appearance, hair: Hair, rng: np.random.Generator) -> Picture:
    u, v = _grid("teeth")
    gaps = 1 - 0.35 * np.exp(-((((u * 11) % 1 - 0.5) / 0.07) ** 2))
    fade = 1 - 0.6 * smoothstep(0.3, 0.5, np.abs(u - 0.5))
    gum = np.where(v < 0.5, 1 - smoothstep(0.05, 0.14, v), smoothstep(0.80, 0.92, v))
    tooth = np.array((0.78, 0.75, 0.68)) * (gaps * fade)[..., None]
    return mix(tooth, (0.55, 0.27, 0.27), gum)


def blended(face: Picture, appearance: Appearance, hair: Hair, rng: np.random.Generator, feather: float) -> Picture:
    """The face's picture with its edge led over into the skin and the hair of the surroundings."""
    distance = inside()
    out = mix(appearance.skin, face, smoothstep(2.0, feather, distance))
    v = np.arange(TEXELS)[:, None] / TEXELS
    u = np.abs(np.arange(TEXELS)[None] / TEXELS - 0.5)
    fringe = noise(rng, TEXELS, TEXELS, (4, 200)) * 5 + noise(rng, TEXELS, TEXELS, (3, 40)) * 5
    upper = 1 - smoothstep(0.30 + 0.1 * hair.sides, 0.42 + 0.25 * hair.sides, v + 0 * u)
    alpha = (1 - smoothstep(12.0, 40.0, distance + fringe)) * upper
    return mix(out, strands(appearance, rng, TEXELS, TEXELS), alpha)
