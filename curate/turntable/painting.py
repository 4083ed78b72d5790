"""Generated heads of nobody: face shapes and skins, different for every random seed."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import cv2
import numpy as np

from curate.errors import UsageError
from curate.face.mesh import LEFT_BROW, LEFT_EYE, LIPS, RIGHT_BROW, RIGHT_EYE
from curate.turntable.anatomy import Hair
from curate.turntable.atlas import Appearance, blended, surroundings, texels
from curate.turntable.brush import TEXELS, Colour, Picture, area, blob, darken, lay, line, linear, noise, uv_pixels
from curate.turntable.mesh import Array, smoothstep
from curate.turntable.model import Head, assemble, rest_shape
from curate.turntable.shaping import FIRST_SHAPE, random_shape, shaped


@dataclass(frozen=True)
class Paint:
    """Colours and marks of a painted skin."""

    appearance: Appearance
    lips: Colour
    brows: Colour
    freckles: int = 0
    beard: float = 0.0
    """0..1, shaved."""
    blush: float = 0.5
    brow_width: float = 1.0
    brow_lift: float = 0.0
    """Texels, up."""
    shadow: float = 0.17
    """How dark the eyelids are."""
    age: float = 0.3
    """0..1: folds beside nose and mouth, bags, lines on the forehead."""


_SKINS: tuple[Colour, ...] = (
    (0.64, 0.45, 0.34),
    (0.86, 0.69, 0.60),
    (0.47, 0.31, 0.23),
    (0.79, 0.60, 0.47),
    (0.72, 0.54, 0.42),
)
_HAIRS: tuple[Colour, ...] = (
    (0.11, 0.085, 0.07),
    (0.36, 0.22, 0.12),
    (0.07, 0.06, 0.06),
    (0.22, 0.13, 0.08),
    (0.48, 0.36, 0.22),
)
_IRISES: tuple[Colour, ...] = (
    (0.30, 0.17, 0.09),
    (0.35, 0.47, 0.53),
    (0.22, 0.13, 0.08),
    (0.36, 0.40, 0.24),
    (0.33, 0.24, 0.13),
)
_CLOTHS: tuple[Colour, ...] = (
    (0.30, 0.42, 0.40),
    (0.50, 0.22, 0.20),
    (0.75, 0.70, 0.60),
    (0.25, 0.28, 0.40),
    (0.38, 0.38, 0.40),
)


@functools.lru_cache(maxsize=8)
def painted(seed: int = 0) -> Head:
    """A painted head; each seed (0 or more) is another person, seed 0 the one of the demo."""
    if seed < 0:
        raise UsageError(f"seed {seed}: must be 0 or more")
    rng = np.random.default_rng(40_000 + seed)
    shape = FIRST_SHAPE if seed == 0 else random_shape(rng)
    kind = seed % len(_SKINS)
    skin, cloth, hair_colour = _SKINS[kind], _CLOTHS[kind], _HAIRS[kind]
    appearance = Appearance(
        skin, hair_colour, _IRISES[kind], cloth, (0.8 * cloth[0], 0.8 * cloth[1], 0.8 * cloth[2]), 0.18
    )
    paint = Paint(
        appearance,
        lips=(skin[0] * 0.88, skin[1] * 0.66, skin[2] * 0.68),
        brows=(0.75 * hair_colour[0], 0.75 * hair_colour[1], 0.75 * hair_colour[2]),
        freckles=(0, 260, 0, 60, 20)[kind],
        beard=(0.0, 0.0, 0.5, 0.0, 0.6)[kind],
    )
    hair = Hair(float(rng.uniform(0.8, 1.4)), float(kind in (0, 3)), float(rng.uniform(0.3, 1.2)))
    if seed:
        paint = _varied(paint, rng)
    atlas = surroundings(appearance, hair, rng)
    atlas[texels("face")] = blended(_skin(paint, rng), appearance, hair, rng, 46.0)
    return assemble(f"painted-{seed}", rest_shape(shaped(shape)), linear(atlas), hair)


def _varied(paint: Paint, rng: np.random.Generator) -> Paint:
    """The same colours on a face with other brows, lips, eyelids and folds."""
    red = float(rng.uniform(0.8, 1.15))
    return replace(
        paint,
        lips=(paint.lips[0] * red, paint.lips[1] * red * float(rng.uniform(0.7, 1.15)), paint.lips[2] * red),
        blush=float(rng.uniform(0.1, 1.0)),
        brow_width=float(rng.choice([0.55, 0.8, 1.5, 1.9])),
        brow_lift=float(rng.uniform(-14, 14)),
        shadow=float(rng.uniform(0.05, 0.45)),
        age=float(rng.choice([0.0, 0.2, 0.8, 1.0])),
    )


def _skin(paint: Paint, rng: np.random.Generator) -> Picture:
    """(1024, 1024, 3) sRGB face."""
    uv = uv_pixels()
    face = np.empty((TEXELS, TEXELS, 3), np.float32)
    face[:] = paint.appearance.skin
    for cells, amount in ((6, 0.018), (24, 0.016), (90, 0.018), (300, 0.02)):
        face *= 1 + amount * noise(rng, TEXELS, TEXELS, (cells, cells))[..., None]
    face[..., 0] *= 1 + 0.012 * noise(rng, TEXELS, TEXELS, (14, 14))
    _complexion(face, uv, paint)
    _freckles(face, uv, paint, rng)
    _around_eyes(face, uv, paint)
    _nose(face, uv)
    _mouth(face, uv, paint, rng)
    for brow in (RIGHT_BROW, LEFT_BROW):
        points = uv[list(brow)]
        middle = (points[:5] + points[5:][::-1]) / 2
        middle = np.concatenate([middle, middle[::-1]]) - np.array([0, paint.brow_lift])
        _brow(face, middle + paint.brow_width * (points - np.array([0, paint.brow_lift]) - middle), paint.brows, rng)
    _age(face, uv, paint.age)
    return np.clip(face, 0, 1)


def _complexion(face: Picture, uv: Array, paint: Paint) -> None:
    for point in (205, 425):
        darken(face, blob(uv[point], 95, 80), 0.16 * paint.blush, (0.0, 1.0, 0.9))
    darken(face, blob(uv[4], 45, 40), 0.14 * paint.blush, (0.1, 1.0, 0.9))
    darken(face, blob(uv[152], 130, 60), 0.08, (0.3, 1.0, 0.9))
    for chain in ((129, 203, 206, 216), (358, 423, 426, 436)):
        darken(face, line(uv[list(chain)], 8, 9.0), 0.35 + 0.5 * paint.age)
    if paint.beard:
        chin = smoothstep(0.60, 0.72, np.arange(TEXELS) / TEXELS)[:, None] * (1 - 0.6 * blob(uv[18], 150, 30))
        darken(face, np.asarray(chin, np.float32), 0.30 * paint.beard, (1.0, 0.9, 0.75))
        darken(face, blob(uv[164], 110, 26), 0.30 * paint.beard, (1.0, 0.9, 0.75))


def _freckles(face: Picture, uv: Array, paint: Paint, rng: np.random.Generator) -> None:
    spots = np.zeros(face.shape[:2], np.float32)
    for _ in range(paint.freckles):
        x, y = rng.normal(0.5, 0.17) * TEXELS, rng.normal(0.50, 0.07) * TEXELS
        cv2.circle(
            spots,
            (round(x * 16), round(y * 16)),
            round(rng.uniform(1.5, 4.0) * 16),
            float(rng.uniform(0.3, 1)),
            -1,
            cv2.LINE_AA,
            4,
        )
    darken(face, cv2.GaussianBlur(spots, (0, 0), 1.2).astype(np.float32), 0.28, (0.6, 1.0, 1.0))
    for _ in range(3):
        x, y = rng.uniform(0.25, 0.75, 2) * TEXELS
        darken(face, blob(np.array([x, y]), 4, 4), 0.5)


def _around_eyes(face: Picture, uv: Array, paint: Paint) -> None:
    for ring, crease, bag in (
        (RIGHT_EYE, (130, 247, 30, 29, 27, 28, 56, 190, 243), (110, 24, 23, 22, 26)),
        (LEFT_EYE, (359, 467, 260, 259, 257, 258, 286, 414, 463), (339, 254, 253, 252, 256)),
    ):
        points = uv[list(ring)]
        centre = points.mean(axis=0)
        inner = centre + (np.array([TEXELS / 2, centre[1]]) - centre) * 0.42
        darken(face, blob(centre + np.array([0, -22]), 100, 46), paint.shadow, (0.9, 1.0, 1.0))
        darken(face, blob(inner + np.array([0, -14]), 34, 48), 0.20)
        darken(face, line(uv[list(crease)], 4, 2.2), 0.42)
        darken(face, line(uv[list(bag)] + (0, 12), 8, 6.0), 0.1 + 0.33 * paint.age, (0.8, 1.0, 0.9))
        upper = np.concatenate([points[8:], points[:1]])
        lay(face, line(upper, 7, 1.6), (0.07, 0.05, 0.05))
        lay(face, 0.5 * line(points[:9], 4, 1.6), (0.25, 0.14, 0.12))


def _nose(face: Picture, uv: Array) -> None:
    for side in (-1, 1):
        nostril = (uv[79] + uv[20]) / 2 if side < 0 else (uv[309] + uv[250]) / 2
        lay(face, 0.92 * blob(nostril + np.array([side * 4, 4]), 17, 9), (0.09, 0.04, 0.035))
    for wing in ((64, 48, 115, 131), (294, 278, 344, 360)):
        darken(face, line(uv[list(wing)], 5, 5.0), 0.35)
    darken(face, blob(uv[2] + (0, 6), 75, 16), 0.26)
    for flank in ((193, 122, 196, 236, 198), (417, 351, 419, 456, 420)):
        darken(face, line(uv[list(flank)], 26, 14.0), 0.14)
    face += 0.035 * (blob(uv[4], 16, 20) + 0.7 * blob(uv[197], 10, 55))[..., None]


def _mouth(face: Picture, uv: Array, paint: Paint, rng: np.random.Generator) -> None:
    outline = uv[list(LIPS)]
    lips = area(outline, 3.0)
    wrinkles = noise(rng, TEXELS, TEXELS, (6, 220))
    body = np.array(paint.lips, np.float32) * (1 + 0.05 * wrinkles[..., None])
    face += (body - face) * (0.9 * lips)[..., None]
    darken(face, lips * area(uv[[61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 308, 13, 78]], 5.0), 0.14)
    face += 0.05 * (lips * blob(uv[16], 46, 9))[..., None]
    middle = uv[[61, 78, 80, 82, 13, 312, 310, 308, 291]]
    lay(face, 0.8 * line(middle, 5, 2.0), (paint.lips[0] * 0.3, paint.lips[1] * 0.25, paint.lips[2] * 0.25))
    for corner in (61, 291):
        darken(face, blob(uv[corner], 14, 12), 0.4)
    darken(face, blob(uv[18] + (0, -12), 70, 14), 0.22)
    darken(face, blob(uv[164] + (0, -4), 9, 22), 0.10)


def _age(face: Picture, uv: Array, age: float) -> None:
    """Lines across the forehead, between the brows, beside the eyes and under the mouth's corners."""
    for height in (0.35, 0.55, 0.75):
        row = uv[[103, 67, 109, 10, 338, 297, 332]] * (1 - height) + uv[[63, 105, 66, 9, 296, 334, 293]] * height
        darken(face, line(row, 3, 2.5), 0.33 * age)
    for pair in ((55, 107), (285, 336)):
        darken(face, line(uv[list(pair)] * (0.85, 1.0) + (77, 0), 3, 2.5), 0.4 * age)
    for outer, side in ((33, -1), (263, 1)):
        for rise in (-26, 0, 24):
            ends = np.stack([uv[outer] + (side * 22, rise * 0.4), uv[outer] + (side * 66, rise)])
            darken(face, line(ends, 3, 2.2), 0.35 * age)
    for chain in ((61, 202, 210), (291, 422, 430)):
        darken(face, line(uv[list(chain)], 5, 5.0), 0.5 * age)


def _brow(face: Picture, points: Array, colour: Colour, rng: np.random.Generator) -> None:
    """points (10, 2): the upper edge from outside in, then the lower edge from inside out."""
    upper, lower = points[:5], points[5:][::-1]
    lay(face, 0.55 * area(np.concatenate([upper, lower[::-1]]), 6.0), colour)
    hairs = np.zeros(face.shape[:2], np.float32)
    side = np.sign(upper[0, 0] - upper[-1, 0])
    for _ in range(420):
        t, s = rng.uniform(0.0, 1.0), rng.uniform(0.05, 0.95)
        edge = [np.array([np.interp(t * 4, np.arange(5), row[:, k]) for k in (0, 1)]) for row in (upper, lower)]
        root = edge[0] * (1 - s) + edge[1] * s
        way = np.array([side * rng.uniform(12, 24), (s - 0.55) * -16 * t - 14 * t + 3])
        line = np.stack([root, root - way * (-1, -0.6)])
        cv2.polylines(
            hairs, [np.round(line * 16).astype(np.int32)], False, float(rng.uniform(0.4, 0.9)), 2, cv2.LINE_AA, 4
        )
    lay(face, cv2.GaussianBlur(hairs, (0, 0), 1.0).astype(np.float32), colour)
