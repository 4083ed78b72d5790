"""A small software rasteriser: numpy and cv2, no loop over triangles or pixels.

Triangles are cut into horizontal spans, spans into pixels, all as flat arrays; the nearest sample wins (z-buffer).
Samples are taken on a grid of twice the output size; only where depth or material changes inside an output pixel are all four
of its samples shaded (multisampling), so that outlines are smooth at little more than the price of one sample a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_ROW = 1024  # cv2.remap takes no list longer than 32767, so lists of samples are folded into rows


@dataclass(frozen=True)
class Samples:
    """Which triangle is seen where."""

    ids: Ints
    """(S,) triangle of each sample."""
    x: Floats
    y: Floats
    """(S,) place of each sample in pixels of the output."""
    whole: NDArray[np.intp]
    """(P,) flat output pixels that the first P samples colour alone."""
    split: NDArray[np.intp]
    """(Q,) flat output pixels that the other 4 Q slots colour together."""
    slots: NDArray[np.intp]
    """(4 Q,) sample of each slot, -1 where the background is seen."""


def zbuffer(
    points: NDArray[np.float64], near: NDArray[np.float64], triangles: Ints, size: tuple[int, int]
) -> tuple[Ints, Floats]:
    """The nearest triangle at each pixel centre.

    points (N, 2) pixels, near (N,) 1 / depth (which is affine on the picture plane), triangles (M, 3) clockwise on the
    picture (y down) where they face the camera: the others are left out. Returns ids (H, W), -1 where there is nothing, and the
    1 / depth there, 0 where there is nothing.
    """
    height, width = size
    corners = points[triangles]
    ax, ay = corners[:, 1].T - corners[:, 0].T
    bx, by = corners[:, 2].T - corners[:, 0].T
    area = ax * by - ay * bx
    front = np.flatnonzero(area < -1e-9)
    front = front[np.argsort(near[triangles[front]].sum(axis=1), kind="stable")]  # far to near: nearly the right order
    corners, area = corners[front], area[front]
    depth = near[triangles[front]]
    d1, d2 = depth[:, 1] - depth[:, 0], depth[:, 2] - depth[:, 0]
    slope_x = (d1 * by[front] - d2 * ay[front]) / area
    slope_y = (d2 * ax[front] - d1 * bx[front]) / area
    base = depth[:, 0] - slope_x * corners[:, 0, 0] - slope_y * corners[:, 0, 1]

    triangle, y, left, count = _spans(corners, height, width)
    start = np.cumsum(count) - count
    step = np.arange(count.sum(), dtype=np.int32) - np.repeat(start, count).astype(np.int32)
    pixel = np.repeat((y * width + left).astype(np.int32), count) + step
    first = base[triangle] + slope_x[triangle] * (left + 0.5) + slope_y[triangle] * (y + 0.5)
    value = np.repeat(first.astype(np.float32), count) + np.repeat(slope_x[triangle].astype(np.float32), count) * step
    ids = np.full(height * width, -1, np.int32)
    buffer = np.zeros(height * width, np.float32)
    label = np.repeat(front[triangle].astype(np.int32), count)
    ids[pixel], buffer[pixel] = label, value  # of repeated indices the last is kept
    for _ in range(16):
        better = np.flatnonzero(value > buffer[pixel])
        if not len(better):
            break
        ids[pixel[better]], buffer[pixel[better]] = label[better], value[better]
    return ids.reshape(size), buffer.reshape(size)


def _spans(corners: NDArray[np.float64], height: int, width: int) -> tuple[NDArray[np.intp], ...]:
    """(triangle, row, first column, length) of every span that covers a pixel centre."""
    low, high = corners[:, :, 1].min(axis=1), corners[:, :, 1].max(axis=1)
    top = np.clip(np.ceil(low - 0.5), 0, height).astype(np.intp)
    rows = np.clip(np.ceil(high - 0.5), 0, height).astype(np.intp) - top
    triangle = np.repeat(np.arange(len(corners)), rows)
    y = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows) + top[triangle]
    centre = y + 0.5
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        xa, ya = corners[triangle, a].T
        xb, yb = corners[triangle, b].T
        crossed = (ya <= centre) != (yb <= centre)
        x = xa + (centre - ya) * (xb - xa) / np.where(crossed, yb - ya, 1.0)
        left = np.where(crossed, np.minimum(left, x), left)
        right = np.where(crossed, np.maximum(right, x), right)
    empty = ~(left <= right)
    first = np.clip(np.ceil(np.where(empty, 0.0, left) - 0.5), 0, width).astype(np.intp)
    last = np.clip(np.ceil(np.where(empty, 0.0, right) - 0.5), 0, width).astype(np.intp)
    keep = np.flatnonzero(last > first)
    return triangle[keep], y[keep], first[keep], (last - first)[keep]


def samples(
    points: NDArray[np.float64],
    near: NDArray[np.float64],
    triangles: Ints,
    part: Ints,
    size: tuple[int, int],
    gap: float,
) -> Samples:
    """Where to shade. part (M,) material of each triangle; a step of 1 / depth of more than `gap` is an outline."""
    height, width = size
    ids, buffer = zbuffer(points * 2.0, near, triangles, (2 * height, 2 * width))
    four = ids.reshape(height, 2, width, 2).transpose(0, 2, 1, 3).reshape(-1, 4)
    depth = [buffer[i::2, j::2].ravel() for i in (0, 1) for j in (0, 1)]
    materials = np.append(part, -1)
    material = [materials[ids[i::2, j::2].ravel()] for i in (0, 1) for j in (0, 1)]
    step = np.maximum.reduce(depth) - np.minimum.reduce(depth)
    mixed = (step > gap) | (material[0] != material[1]) | (material[0] != material[2]) | (material[0] != material[3])
    whole = np.flatnonzero(~mixed & (four[:, 0] >= 0))
    split = np.flatnonzero(mixed)
    flat = four[split].ravel()
    seen = np.flatnonzero(flat >= 0)
    slots = np.full(len(flat), -1, np.intp)
    slots[seen] = len(whole) + np.arange(len(seen))
    corner = seen % 4
    pixel = split[seen // 4]
    x = np.concatenate([whole % width + 0.5, pixel % width + 0.25 + 0.5 * (corner % 2)])
    y = np.concatenate([whole // width + 0.5, pixel // width + 0.25 + 0.5 * (corner // 2)])
    return Samples(
        np.concatenate([four[whole, 0], flat[seen]]), x.astype(np.float32), y.astype(np.float32), whole, split, slots
    )


def interpolate(at: Samples, points: NDArray[np.float64], triangles: Ints, values: NDArray[np.float64]) -> Floats:
    """(K, S) values at the samples from (N, K) values at the vertices, by barycentric coordinates held to the triangle."""
    corners = points[triangles]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    frame = np.stack([b[:, 1], -b[:, 0], -a[:, 1], a[:, 0]]) / area
    frame = np.concatenate([corners[:, 0].T, frame]).astype(np.float32)
    x0, y0, px, py, qx, qy = np.take(frame, at.ids, axis=1)
    dx, dy = at.x - x0, at.y - y0
    p = np.clip(px * dx + py * dy, 0.0, 1.0)
    q = np.clip(qx * dx + qy * dy, 0.0, 1.0 - p)
    table = values[triangles]
    steps = np.stack([table[:, 0], table[:, 1] - table[:, 0], table[:, 2] - table[:, 0]]).astype(np.float32)
    out = np.empty((values.shape[1], len(at.ids)), np.float32)
    for k in range(values.shape[1]):
        origin, first, second = np.take(np.ascontiguousarray(steps[:, :, k]), at.ids, axis=1)
        out[k] = origin + p * first + q * second
    return out


def look_up(texture: Floats, u: Floats, v: Floats) -> Floats:
    """(S, C) texture values at u, v in texels (0, 0 is the centre of the first), bilinear."""
    rows = -(-len(u) // _ROW)
    fold = np.zeros((2, rows * _ROW), np.float32)
    fold[0, : len(u)], fold[1, : len(v)] = u, v
    maps = fold.reshape(2, rows, _ROW)
    found = cv2.remap(texture, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32).reshape(rows * _ROW, -1)[: len(u)]


def resolve(at: Samples, colours: Floats, background: Floats) -> Floats:
    """(H, W, 3) picture from (S, 3) sample colours over a background (H, W, 3)."""
    flat = background.reshape(-1, 3).copy()
    flat[at.whole] = colours[: len(at.whole)]
    behind = np.repeat(flat[at.split], 4, axis=0)
    mixed = np.where(at.slots[:, None] >= 0, colours[at.slots], behind) if len(colours) else behind
    flat[at.split] = mixed.reshape(-1, 4, 3).mean(axis=1)
    return flat.reshape(background.shape)
