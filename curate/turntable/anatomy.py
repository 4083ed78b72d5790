"""Anatomy around the face of a synthetic head: skull with hair, ears, neck, shoulders, eyes, teeth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.turntable.mesh import BODY, EAR, EYE, REGIONS, RIM, SKULL, TEETH, Array, Build, quads, smoothstep

Rows = tuple[tuple[float, float, float], ...]
EYE_BAG: Rows = ((0.0, 0.0, 0.0), (0.12, 0.0, 0.0), (0.9, 0.3, 0.3))
MOUTH_BAG: Rows = ((0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (2.2, 0.1, 0.0), (2.9, 1.0, 1.0))
ON_THE_EDGE: Rows = ((0.0, 0.0, 0.0),)
MERIDIANS = 72
SKULL_ROWS = 16


@dataclass(frozen=True)
class Hair:
    """The hair's shape."""

    thickness: float = 0.9
    """Centimetres."""
    sides: float = 0.0
    """0: ears free; 1: falls over the ears to the jaw."""
    volume: float = 0.0
    """More at the top, centimetres."""


def hairline(hair: Hair) -> tuple[Array, Array]:
    """(start, end) along each of 72 meridians (0 at the face's edge, 1 at the back) between which there is hair.

    Meridian 0 is the middle of the forehead, they run over the subject's left ear, chin (36) and right ear.
    """
    around = np.abs((np.arange(MERIDIANS) + MERIDIANS // 2) % MERIDIANS - MERIDIANS // 2) / (MERIDIANS / 2)
    start = -0.12 + 0.34 * smoothstep(0.30, 0.42, around) * (1 - hair.sides)
    end = 1.1 - 0.4 * smoothstep(0.5, 0.62, around) * (1 - hair.sides)
    none = smoothstep(0.5 + 0.2 * hair.sides, 0.56 + 0.2 * hair.sides, around)
    return start + 1.2 * none, end


def add_skull(
    build: Build, ring: NDArray[np.intp], edge: Array, jaw: Array, hair: Hair
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of points from the face's edge (72, 3) over an ellipsoid to the back of the head.

    Gives the points of the face's edge and, for each, the skull's point that lies on it.
    """
    centre = np.array([0.0, 1.2, -2.6])
    half = float(np.abs(edge[:, 0]).max())
    above, below = np.array([half + 0.1, 9.6, 10.0]), np.array([half - 0.4, 7.4, 9.4])
    pole = np.array([0.0, 0.05, -1.0]) / np.hypot(1.0, 0.05)
    away = edge - centre
    length = np.linalg.norm(away, axis=1)
    start = away / length[:, None]
    angle = np.arccos(np.clip(start @ pole, -1, 1))
    begin, end = hairline(hair)
    along = np.linspace(0, 1, SKULL_ROWS) ** 1.25
    rows = [edge]
    for s in along[1:]:
        way = (np.sin((1 - s) * angle)[:, None] * start + np.sin(s * angle)[:, None] * pole) / np.sin(angle)[:, None]
        shell = 1 / np.linalg.norm(way / np.where(way[:, 1:2] > 0, above, below), axis=1)
        blend = smoothstep(0.0, 0.55, s)
        cover = smoothstep(0.0, 0.12, s - begin) * (1 - smoothstep(-0.1, 0.05, s - end))
        grown = hair.thickness + hair.volume * np.clip(way[:, 1], 0, 1)
        rows.append(centre + way * (length * (1 - blend) + shell * blend + grown * cover)[:, None])
    grid = np.stack(rows)
    follow = jaw[None] * (1 - smoothstep(0.05, 0.4, along))[:, None]
    u, v = np.meshgrid(np.linspace(0, 1, MERIDIANS + 1), along)
    uv = REGIONS["skull"].at(u, v)
    closed = np.concatenate([grid, grid[:, :1]], axis=1)[:, ::-1]
    index = build.sheet(closed, uv[:, ::-1], SKULL, np.concatenate([follow, follow[:, :1]], axis=1)[:, ::-1])
    # The first row lies on the face's edge and shares its normals, so that light runs on over the join.
    around = np.append(ring, ring[0])[::-1]
    build.weld[-1][: MERIDIANS + 1] = around
    return around, index[0]


def add_ears(build: Build, edge: Array, hidden: bool) -> None:
    """Two flattened shells behind the face's edge."""
    if hidden:
        return
    half = float(np.abs(edge[:, 0]).max())
    theta, phi = np.meshgrid(np.linspace(0, np.pi, 9), np.linspace(0, 2 * np.pi, 17), indexing="ij")
    profile = 1.0 - 0.18 * np.sin(theta) * np.clip(-np.cos(phi), 0, 1)
    for side in (-1.0, 1.0):
        flat = np.stack(
            [0.45 * np.sin(theta) * np.cos(phi), 2.7 * np.cos(theta), 1.6 * np.sin(theta) * np.sin(phi) * profile],
            axis=-1,
        )
        flat[..., 2] += 0.25 * flat[..., 1]
        flat[..., 2] *= 1 + 0.12 * flat[..., 1] / 3
        flare = np.deg2rad(28.0)
        x = flat[..., 0] * np.cos(flare) - flat[..., 2] * np.sin(flare)
        z = flat[..., 0] * np.sin(flare) + flat[..., 2] * np.cos(flare)
        placed = np.stack([side * (x + half + 0.15), flat[..., 1] + 0.9, z - 3.8], axis=-1)
        u = 0.5 + 0.5 * np.sin(theta) * np.sin(phi)
        v = 0.5 - 0.5 * np.cos(theta)
        grid, uv = placed, REGIONS["ear"].at(u, v)
        build.sheet(grid[:, ::-1] if side > 0 else grid, uv[:, ::-1] if side > 0 else uv, EAR)


NECK: tuple[tuple[float, float, float, float], ...] = (
    # y, half width, half depth, z of the middle
    (-3.0, 3.0, 2.2, -4.0),
    (-6.5, 4.7, 3.6, -3.6),
    (-9.0, 5.0, 4.9, -3.5),
    (-11.5, 5.2, 4.9, -3.8),
    (-13.0, 6.2, 5.3, -4.2),
    (-14.2, 9.0, 6.2, -4.6),
    (-15.2, 12.6, 7.0, -4.8),
    (-16.6, 16.0, 7.8, -4.9),
    (-18.5, 18.6, 8.6, -4.8),
    (-21.5, 20.2, 9.6, -4.4),
    (-26.0, 20.8, 10.6, -4.0),
    (-34.0, 20.8, 11.0, -4.0),
    (-48.0, 20.8, 11.0, -4.0),
)


def add_body(build: Build, chin: float, width: float) -> None:
    """Neck and shoulders, `chin` its height at rest."""
    shape = np.array(NECK)
    shape[:, 0] += chin + 9.4
    shape[:4, 1] *= width
    fine = np.linspace(0, len(shape) - 1, 33)
    y, wide, deep, z = (np.interp(fine, np.arange(len(shape)), column) for column in shape.T)
    for column in (wide, deep, z):
        column[1:-1] = (column[:-2] + 2 * column[1:-1] + column[2:]) / 4
    turn = np.linspace(-np.pi, np.pi, 41)
    power = np.where(wide > 8, 0.85, 1.0)[:, None]
    s, c = np.sin(turn), np.cos(turn)
    x = wide[:, None] * np.sign(s) * np.abs(s) ** power
    grid = np.stack([x, np.broadcast_to(y[:, None], x.shape), z[:, None] + deep[:, None] * c], axis=-1)
    u, v = np.meshgrid((turn + np.pi) / (2 * np.pi), fine / (len(shape) - 1))
    build.sheet(grid, REGIONS["body"].at(u, v), BODY)


@dataclass(frozen=True)
class Eye:
    """One eyeball: its centre, radius, and which vertices turn with the gaze."""

    centre: Array
    radius: float
    index: NDArray[np.intp]


def eyeball(ring: Array, radius: float) -> tuple[Array, float]:
    """(centre, radius) of a ball that lies just under the lids (K, 3)."""
    middle = (ring[:, :2].min(axis=0) + ring[:, :2].max(axis=0)) / 2
    reach = np.linalg.norm(ring[:, :2] - middle, axis=1)
    near = reach < 0.75 * radius
    depth = float((ring[near, 2] - np.sqrt(radius**2 - reach[near] ** 2)).min()) - 0.04
    return np.array([middle[0], middle[1], depth]), radius


def add_eye(build: Build, centre: Array, radius: float) -> Eye:
    """The front of an eyeball; the texture lies flat on it as seen from the front."""
    tilt, turn = np.meshgrid(np.linspace(0, 1.45, 10), np.linspace(0, 2 * np.pi, 25), indexing="ij")
    flat = np.stack([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)], axis=-1)
    uv = REGIONS["eye"].at(0.5 + 0.5 * tilt / 1.45 * np.cos(turn), 0.5 - 0.5 * tilt / 1.45 * np.sin(turn))
    index = build.sheet(centre + radius * flat, uv, EYE)
    return Eye(centre, radius, index.ravel())


def add_funnel(build: Build, ring: NDArray[np.intp], points: Array, rows: Rows, part: int) -> NDArray[np.intp]:
    """A bag behind a hole of the face, so that no gap opens; its indices (A, K). rows: see `funnel`."""
    region = REGIONS["rim" if part == RIM else "mouth"]
    u, v = np.meshgrid(np.linspace(0, 1, len(ring)), np.linspace(0, 1, len(rows)))
    index = build.points(funnel(points[ring], rows).reshape(-1, 3), region.at(u, v).reshape(-1, 2))
    index = index.reshape(len(rows), -1)
    build.faces(quads(np.concatenate([index, index[:, :1]], axis=1)), part)
    return index


def funnel(ring: Array, rows: Rows) -> Array:
    """(A, K, 3) rows of points behind a ring (K, 3).

    rows: depth behind the ring in centimetres, and shares of the way to its middle, across and along y.
    """
    inward = ring.mean(axis=0) - ring
    return np.stack([ring + inward * (across, along, 0.0) - (0.0, 0.0, depth) for depth, across, along in rows])


def add_teeth(build: Build, lips: Array) -> None:
    """An upper and a lower row of teeth, and a tongue, behind the lips (20, 3)."""
    wide = float(np.abs(lips[:, 0]).max())
    y, z = float(lips[:, 1].mean()), float(lips[:, 2].max())
    across = np.linspace(-1, 1, 21)
    arc = z - 0.95 - 1.5 * across**2
    for jaw, top, bottom, v0 in ((0.0, 0.35, -0.45, 0.0), (1.0, -0.45, -1.15, 0.55)):
        grid = np.stack(
            [
                np.stack([across * wide * 0.9, np.full(21, y + height), arc - 0.15 * jaw], -1)
                for height in (top, (top + bottom) / 2, bottom)
            ]
        )
        u, v = np.meshgrid((across + 1) / 2, v0 + np.array([0.0, 0.2, 0.4]))
        build.sheet(grid, REGIONS["teeth"].at(u, v), TEETH, jaw, closed=False)
