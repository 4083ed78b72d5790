"""Software rasteriser in numpy and cv2, without loops over triangles or pixels.

Triangles are cut into horizontal spans, spans into pixels, all as flat arrays; the nearest sample wins (z-buffer).
Samples are taken on a grid of twice the output size. Only where depth or material changes inside an output pixel are
all four of its samples shaded (multisampling): outlines are smooth at little more than the price of one sample a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Array = NDArray[np.float64]

_ROW = 1024  # cv2.remap takes no list longer than 32767, so lists of samples are folded into rows


@dataclass(frozen=True)
class Samples:
    """Which triangle is seen where."""

    ids: Ints
    """(S,) triangle of each sample."""
    x: Floats
    y: Floats
    """(S,) place of each sample in pixels of the output; 0, 0 is the upper left corner."""
    whole: NDArray[np.intp]
    """(P,) flat output pixels that the first P samples colour alone."""
    split: NDArray[np.intp]
    """(Q,) flat output pixels that four slots each colour together."""
    slots: NDArray[np.intp]
    """(4 Q,) sample of each slot, -1 where the background is seen."""


def zbuffer(points: Array, near: Array, triangles: Ints, size: tuple[int, int]) -> tuple[Ints, Floats]:
    """The nearest triangle at each pixel centre.

    points (N, 2) pixels, near (N,) 1 / depth (which is affine on the picture plane), triangles (M, 3),
    counter-clockwise to the eye where they face the camera: the others are left out. Returns ids (H, W), -1 where
    there is nothing, and the 1 / depth there, 0 where there is nothing.
    """
    height, width = size
    corners = points[triangles]
    ax, ay = (corners[:, 1] - corners[:, 0]).T
    bx, by = (corners[:, 2] - corners[:, 0]).T
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
    first = base[triangle] + slope_x[triangle] * (left + 0.5) + slope_y[triangle] * (y + 0.5)
    start = np.cumsum(count) - count
    span = np.repeat(np.arange(len(count), dtype=np.int32), count)
    step = np.arange(len(span), dtype=np.int32) - np.take(start.astype(np.int32), span)
    pixel = np.take((y * width + left).astype(np.int32), span) + step
    value = np.take(slope_x[triangle].astype(np.float32), span) * step.astype(np.float32)
    value += np.take(first.astype(np.float32), span)
    winner = np.full(height * width, -1, np.int32)
    buffer = np.zeros(height * width, np.float32)
    winner[pixel], buffer[pixel] = span, value  # of repeated indices the last is kept
    better = np.flatnonzero(value > np.take(buffer, pixel))
    while len(better):
        winner[pixel[better]], buffer[pixel[better]] = span[better], value[better]
        better = better[value[better] > buffer[pixel[better]]]
    ids = np.append(front[triangle], -1).astype(np.int32)[winner]
    return ids.reshape(size), buffer.reshape(size)


def _spans(corners: Array, height: int, width: int) -> tuple[NDArray[np.intp], ...]:
    """(triangle, row, first column, length) of every span that covers a pixel centre."""
    order = np.argsort(corners[:, :, 1], axis=1)
    x0, x1, x2 = np.take_along_axis(corners[:, :, 0], order, axis=1).T
    y0, y1, y2 = np.take_along_axis(corners[:, :, 1], order, axis=1).T
    top = np.clip(np.ceil(y0 - 0.5), 0, height).astype(np.intp)
    rows = np.clip(np.ceil(y2 - 0.5), 0, height).astype(np.intp) - top
    long, upper, lower = (
        (b - a) / np.maximum(d - c, 1e-12) for a, b, c, d in ((x0, x2, y0, y2), (x0, x1, y0, y1), (x1, x2, y1, y2))
    )
    triangle = np.repeat(np.arange(len(corners)), rows)
    y = np.arange(len(triangle)) - np.repeat(np.cumsum(rows) - rows - top, rows)
    down, past = y + 0.5 - y0[triangle], y + 0.5 - y1[triangle]
    one = x0[triangle] + down * long[triangle]
    other = x1[triangle] + past * np.where(past < 0, upper[triangle], lower[triangle])
    first = np.clip(np.ceil(np.minimum(one, other) - 0.5), 0, width).astype(np.intp)
    last = np.clip(np.ceil(np.maximum(one, other) - 0.5), 0, width).astype(np.intp)
    keep = np.flatnonzero(last > first)
    return triangle[keep], y[keep], first[keep], (last - first)[keep]


def samples(points: Array, near: Array, triangles: Ints, part: Ints, size: tuple[int, int], gap: float) -> Samples:
    """Where to shade. part (M,) material of each triangle; a step of 1 / depth of more than `gap` is an outline."""
    height, width = size
    ids, buffer = zbuffer(points * 2.0, near, triangles, (2 * height, 2 * width))
    materials = np.append(part, -1).astype(np.int8)[ids]
    corners = [(slice(i, None, 2), slice(j, None, 2)) for i in (0, 1) for j in (0, 1)]
    depth, material = [buffer[c] for c in corners], [materials[c] for c in corners]
    step = np.maximum.reduce(depth) - np.minimum.reduce(depth)
    mixed = ((step > gap) | (np.maximum.reduce(material) != np.minimum.reduce(material))).ravel()
    whole = np.flatnonzero(~mixed & (material[0].ravel() >= 0))
    split = np.flatnonzero(mixed)
    flat = np.stack([ids[c].ravel()[split] for c in corners], axis=-1).ravel()
    seen = np.flatnonzero(flat >= 0)
    slots = np.full(len(flat), -1, np.intp)
    slots[seen] = len(whole) + np.arange(len(seen))
    corner, pixel = seen % 4, split[seen // 4]
    x = np.concatenate([whole % width + 0.5, pixel % width + 0.25 + 0.5 * (corner % 2)])
    y = np.concatenate([whole // width + 0.5, pixel // width + 0.25 + 0.5 * (corner // 2)])
    seen_ids = np.concatenate([ids[corners[0]].ravel()[whole], flat[seen]])
    return Samples(seen_ids, x.astype(np.float32), y.astype(np.float32), whole, split, slots)


def interpolate(at: Samples, points: Array, triangles: Ints, values: Array) -> Floats:
    """(K, S) values at the samples from (N, K) at the vertices, by barycentric coordinates held to the triangle."""
    corners = points[triangles]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    frame = [corners[:, 0, 0], corners[:, 0, 1], b[:, 1] / area, -b[:, 0] / area, -a[:, 1] / area, a[:, 0] / area]
    x0, y0, px, py, qx, qy = (np.take(column.astype(np.float32), at.ids) for column in frame)
    dx, dy = at.x - x0, at.y - y0
    p = np.clip(px * dx + py * dy, 0.0, 1.0)
    q = np.clip(qx * dx + qy * dy, 0.0, 1.0 - p)
    table = values[triangles].astype(np.float32)
    out = np.empty((values.shape[1], len(at.ids)), np.float32)
    for k in range(values.shape[1]):
        origin = np.ascontiguousarray(table[:, 0, k])
        first, second = table[:, 1, k] - origin, table[:, 2, k] - origin
        out[k] = np.take(origin, at.ids) + p * np.take(first, at.ids) + q * np.take(second, at.ids)
    return out


def look_up(texture: Floats, u: Floats, v: Floats) -> Floats:
    """(S, C) texture values at u, v in texels (0, 0 is the centre of the first), bilinear."""
    rows = max(-(-len(u) // _ROW), 1)
    fold = np.zeros((2, rows * _ROW), np.float32)
    fold[0, : len(u)], fold[1, : len(v)] = u, v
    maps = fold.reshape(2, rows, _ROW)
    found = cv2.remap(texture, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32).reshape(rows * _ROW, -1)[: len(u)]


def resolve(at: Samples, colours: Floats, background: Floats) -> Floats:
    """(H, W, 3) picture from (S, 3) sample colours over a background (H, W, 3)."""
    flat = background.reshape(-1, 3).copy()
    flat[at.whole] = colours[: len(at.whole)]
    mixed = np.repeat(flat[at.split], 4, axis=0)
    seen = np.flatnonzero(at.slots >= 0)
    mixed[seen] = colours[at.slots[seen]]
    flat[at.split] = mixed.reshape(-1, 4, 3).mean(axis=1)
    return flat.reshape(background.shape)
