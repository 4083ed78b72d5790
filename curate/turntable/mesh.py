"""Geometry of a synthetic head: a smooth face with skull, ears, neck, shoulders, eyes and mouth around it.

All in the canonical mesh's axes and centimetres (x image right, y up, z to the camera). The first 468 vertices of a
head are the face's landmarks. Texture coordinates are 0..1 in an atlas twice as wide as high, its left half the face.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import FACE_OVAL, INNER_LIPS, LEFT_EYE, RIGHT_EYE, canonical

Array = NDArray[np.float64]
Ints = NDArray[np.int32]

FACE, SKULL, EAR, BODY, EYE, RIM, MOUTH, TEETH = range(8)
"""Parts (materials) of a head."""
POINTS = 468
HINGE = np.array([0.0, 0.5, -1.5])
"""The jaw turns about the x axis through this point."""


@dataclass(frozen=True)
class Region:
    """A rectangle of the atlas: left, top, right, bottom in 0..1."""

    left: float
    top: float
    right: float
    bottom: float

    def at(self, u: Array, v: Array) -> Array:
        """(..., 2) atlas coordinates from 0..1 in the region, kept off its edges."""
        m = 0.02
        x = self.left + (self.right - self.left) * (m + (1 - 2 * m) * u)
        return np.stack([x, self.top + (self.bottom - self.top) * (m + (1 - 2 * m) * v)], axis=-1)


REGIONS: dict[str, Region] = {
    "face": Region(0.0, 0.0, 0.5, 1.0),
    "skull": Region(0.5, 0.0, 1.0, 0.5),
    "body": Region(0.5, 0.5, 0.75, 1.0),
    "eye": Region(0.75, 0.5, 0.875, 0.75),
    "ear": Region(0.75, 0.75, 0.875, 1.0),
    "rim": Region(0.875, 0.5, 0.9375, 0.75),
    "mouth": Region(0.9375, 0.5, 1.0, 0.75),
    "teeth": Region(0.875, 0.75, 0.9375, 1.0),
}


@dataclass
class Build:
    """Vertices and triangles while a head is put together."""

    vertices: list[Array] = field(default_factory=list)
    uv: list[Array] = field(default_factory=list)
    jaw: list[Array] = field(default_factory=list)
    weld: list[NDArray[np.intp]] = field(default_factory=list)
    triangles: list[Ints] = field(default_factory=list)
    part: list[Ints] = field(default_factory=list)
    count: int = 0

    def points(
        self, vertices: Array, uv: Array, jaw: Array | float = 0.0, weld: NDArray[np.intp] | None = None
    ) -> NDArray[np.intp]:
        """Adds vertices, gives their indices; `weld` names, per vertex, the new one whose normal it shares."""
        index = np.arange(self.count, self.count + len(vertices))
        self.vertices.append(vertices)
        self.uv.append(uv)
        self.jaw.append(np.broadcast_to(np.asarray(jaw, float), len(vertices)))
        self.weld.append(index if weld is None else index[weld])
        self.count += len(vertices)
        return index

    def faces(self, triangles: NDArray[np.integer], part: int) -> None:
        """Adds triangles over indices that `points` gave."""
        self.triangles.append(triangles.astype(np.int32))
        self.part.append(np.full(len(triangles), part, np.int32))

    def sheet(
        self, grid: Array, uv: Array, part: int, jaw: Array | float = 0.0, closed: bool = True
    ) -> NDArray[np.intp]:
        """Adds a grid (A, B, 3) of points; closed: column B - 1 lies on column 0. Outside is where A x B points."""
        rows, columns = grid.shape[:2]
        weld = np.arange(rows * columns).reshape(rows, columns)
        if closed:
            weld[:, -1] = weld[:, 0]
        flat = np.broadcast_to(np.asarray(jaw, float), (rows, columns)).ravel()
        index = self.points(grid.reshape(-1, 3), uv.reshape(-1, 2), flat, weld.ravel()).reshape(rows, columns)
        self.faces(quads(index), part)
        return index


def quads(index: NDArray[np.integer]) -> NDArray[np.integer]:
    """(T, 3) triangles of a grid of indices."""
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def smoothstep(low: float, high: float, x: NDArray[np.floating] | float) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((np.asarray(x, float) - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


@dataclass(frozen=True)
class Face:
    """The canonical mesh, eyes and mouth cut out, every triangle split in four on a smooth surface."""

    sources: NDArray[np.intp]
    shares: Array
    """(F - 468, K) twice: the points added are these landmarks, weighed so and summed."""
    triangles: Ints
    uv: Array
    """(F, 2) in 0..1 of the canonical mesh."""
    rings: dict[str, NDArray[np.intp]]
    """Vertices around "oval", "mouth", "right" and "left" eye, in order; clockwise on the picture."""

    def refined(self, landmarks: Array) -> Array:
        """(F, D) values at all points from (468, D) at the landmarks, which come first."""
        added = np.einsum("ek,ekd->ed", self.shares, landmarks[self.sources])
        return np.concatenate([landmarks, added])


@functools.cache
def subdivided() -> Face:
    """Modified butterfly subdivision (Zorin, Schroeder, Sweldens 1996), once; holes and rim by the four-point rule."""
    mesh = canonical()
    holes = [frozenset(ring) for ring in (INNER_LIPS, RIGHT_EYE, LEFT_EYE)]
    triangles = np.array([t for t in mesh.triangles.tolist() if not any(h.issuperset(t) for h in holes)])
    opposite: dict[tuple[int, int], list[int]] = {}
    for a, b, c in triangles.tolist():
        for i, j, k in ((a, b, c), (b, c, a), (c, a, b)):
            opposite.setdefault((min(i, j), max(i, j)), []).append(k)
    edges = {edge: POINTS + n for n, edge in enumerate(sorted(opposite))}
    loops = {"oval": FACE_OVAL, "mouth": INNER_LIPS[::-1], "right": RIGHT_EYE[::-1], "left": LEFT_EYE}
    weights = np.zeros((len(edges), POINTS))
    for edge, index in edges.items():
        weights[index - POINTS] = _stencil(edge, opposite)
    rings = {}
    for name, loop in loops.items():
        n = len(loop)
        ring: list[int] = []
        for i in range(n):
            a, b = loop[i], loop[(i + 1) % n]
            index = edges[min(a, b), max(a, b)]
            weights[index - POINTS] = 0.0
            weights[index - POINTS, [loop[i - 1], a, b, loop[(i + 2) % n]]] = (-1 / 16, 9 / 16, 9 / 16, -1 / 16)
            ring += [a, index]
        rings[name] = np.array(ring)
    finer = []
    for a, b, c in triangles.tolist():
        ab, bc, ca = (edges[min(i, j), max(i, j)] for i, j in ((a, b), (b, c), (c, a)))
        finer += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    half = np.array([(mesh.uv[a] + mesh.uv[b]) / 2 for a, b in edges])
    most = int((weights != 0).sum(axis=1).max())
    sources = np.argsort(weights == 0, axis=1, kind="stable")[:, :most]
    shares = np.take_along_axis(weights, sources, axis=1)
    return Face(sources, shares, np.array(finer, np.int32), np.concatenate([mesh.uv, half]), rings)


def _stencil(edge: tuple[int, int], opposite: dict[tuple[int, int], list[int]]) -> Array:
    """(468,) weights of an edge's midpoint; a wing that is missing is mirrored from inside."""
    row = np.zeros(POINTS)
    a, b = edge
    row[[a, b]] += 0.5
    if len(opposite[edge]) < 2:
        return row
    for c in opposite[edge]:
        row[c] += 1 / 8
        for end, other in ((a, b), (b, a)):
            wings = [w for w in opposite[min(end, c), max(end, c)] if w != other]
            if wings:
                row[wings[0]] -= 1 / 16
            else:
                row[[end, c]] -= 1 / 16
                row[other] += 1 / 16
    return row


def jaw_weights(points: Array) -> Array:
    """(N,) how far each of the face's points follows the jaw, 0..1; the first 468 are the landmarks at rest."""
    upper = np.array(INNER_LIPS[10:] + INNER_LIPS[:1])
    corners = points[[INNER_LIPS[0], INNER_LIPS[10]]]
    wide = float(np.abs(corners[:, 0]).mean())
    below = corners[:, 1].mean() - points[:, 1]
    side = np.abs(points[:, 0]) / wide
    rim = 1.0 - 0.6 * np.clip(side, 0, 1) ** 3
    beside = smoothstep(0.9, 1.7, side)
    lower = rim + (1.0 - rim) * smoothstep(0.0, 3.0, below)
    lower = lower * (1 - beside) + beside * (
        0.4 * (1 - smoothstep(1.0, 2.6, side)) + 0.6 * smoothstep(-1.0, 4.0, below)
    )
    above = (
        0.4
        * np.clip(side, 0, 1) ** 3
        * np.exp(-((np.minimum(below, 0.0) / 1.3) ** 2))
        * (1 - smoothstep(1.0, 2.6, side))
    )
    weights = np.where(below > 0, lower, np.maximum(above, beside * 0.6 * smoothstep(-1.0, 4.0, below)))
    weights[upper] = 0.4 * np.clip(side[upper], 0, 1) ** 3
    weights[list(INNER_LIPS[:11])] = rim[list(INNER_LIPS[:11])]
    return weights


def turn_jaw(points: Array, weights: Array, degrees: float) -> Array:
    """Points after the jaw has opened by `degrees`."""
    angle = np.deg2rad(degrees) * weights
    y, z = (points - HINGE).T[1:]
    out = points.copy()
    out[:, 1] = HINGE[1] + y * np.cos(angle) - z * np.sin(angle)
    out[:, 2] = HINGE[2] + y * np.sin(angle) + z * np.cos(angle)
    return out
