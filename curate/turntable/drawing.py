"""Rendering of a synthetic head, and its true landmarks; see `curate.turntable`."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face import pose
from curate.face.mesh import AT
from curate.srgb import encoded8
from curate.turntable.brush import linear, noise
from curate.turntable.mesh import EYE, POINTS, Array
from curate.turntable.model import Head, expressed, normals
from curate.turntable.raster import interpolate, look_up, resolve, samples
from curate.turntable.view import View
from curate.types import Image


def focal_length(head: Head, view: View, size: tuple[int, int]) -> float:
    """Of the pinhole camera, in pixels of a picture of `size` (height, width): see `View.scale` and `View.distance`."""
    face = head.landmarks[AT.forehead, 1] - head.landmarks[AT.chin, 1]
    return float(view.scale * size[0] * view.distance / face)


def _placed(head: Head, view: View) -> Array:
    """(N, 3) every vertex in centimetres, the head's origin at 0."""
    points = expressed(head, view.mouth, view.eyes, view.smile, view.brows, view.gaze)
    turned = points @ pose.matrix(view.yaw, view.pitch, view.roll).T
    return np.asarray(points + head.turns[:, None] * (turned - points))


def _project(head: Head, view: View, size: tuple[int, int], points: Array) -> tuple[Array, Array]:
    """((N, 2) pixels with 0, 0 at the picture's upper left corner, (N,) 1 / depth)."""
    near = 1.0 / (view.distance - points[:, 2])
    focal = focal_length(head, view, size)
    x = size[1] / 2 + view.x * size[0] + focal * near * points[:, 0]
    y = size[0] / 2 - view.y * size[0] - focal * near * points[:, 1]
    return np.stack([x, y], axis=-1), near


def truth(head: Head, view: View, size: tuple[int, int] = (480, 480)) -> Array:
    """(468, 3) float64 landmarks of `render`'s picture, hidden ones too.

    x, y in pixels as cv2 and the landmarker count them (0, 0 is the centre of the first pixel); z in pixels at the
    head's distance, negative toward the camera, 0 at the head's origin.
    """
    points = _placed(head, view)[:POINTS]
    flat, _ = _project(head, view, size, points)
    scale = focal_length(head, view, size) / view.distance
    return np.column_stack([flat - 0.5, -scale * points[:, 2]])


def render(head: Head, view: View, size: tuple[int, int] = (480, 480)) -> Image:
    """The head in a picture of `size` (height, width): (H, W, 3) uint8 sRGB. The same arguments give the same bytes."""
    points = _placed(head, view)
    flat, near = _project(head, view, size, points)
    gap = 0.9 / view.distance**2
    at = samples(flat, near, head.triangles, head.part, size, gap)
    toward = normals(head, points) @ view.light_vector()
    texels = head.pyramid[0].shape[0]
    values = np.column_stack([head.uv, toward])
    u, v, lit = interpolate(at, flat, head.triangles, values)
    albedo = _albedo(head, view, size, at.ids, u, v, texels)
    key = (view.key * np.array(view.tint())).astype(np.float32)
    colours = albedo * (np.float32(view.ambient) + np.maximum(lit, 0.0)[:, None] * key)
    colours = colours + _glint(head, view, points, flat, at.ids, at.x, at.y, size)[:, None]
    picture = resolve(at, colours, _background(view.background, size))
    return encoded8(picture)


def _albedo(
    head: Head,
    view: View,
    size: tuple[int, int],
    ids: NDArray[np.int32],
    u: NDArray[np.float32],
    v: NDArray[np.float32],
    texels: int,
) -> NDArray[np.float32]:
    """(S, 3) from the level of the atlas whose texels are about as large as the pixels."""
    level = int(np.clip(np.round(np.log2(0.75 * texels / (view.scale * size[0]))), 0, len(head.pyramid) - 1))
    step = 2.0**level
    # pyrDown keeps texel 0 on texel 0
    return look_up(head.pyramid[level], (u * 2 * texels - 0.5) / step, (v * texels - 0.5) / step)


def _glint(
    head: Head,
    view: View,
    points: Array,
    flat: Array,
    ids: NDArray[np.int32],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    size: tuple[int, int],
) -> NDArray[np.float32]:
    """(S,) the key light's reflection on the wet eyeballs: without it eyes look dead."""
    half = view.light_vector() + np.array([0.0, 0.0, 1.0])
    half = half / max(float(np.linalg.norm(half)), 1e-9)
    out = np.zeros(len(ids), np.float32)
    eyes = np.flatnonzero(head.part[ids] == EYE)
    if not len(eyes) or half[2] < 0.5:
        return out
    for eye in head.eyes:
        centre = pose.matrix(view.yaw, view.pitch, view.roll) @ eye.centre
        spot, near = _project(head, view, size, (centre + eye.radius * half)[None])
        radius = 0.11 * eye.radius * focal_length(head, view, size) * near[0]
        distance = np.hypot(x[eyes] - spot[0, 0], y[eyes] - spot[0, 1])
        out[eyes] += 0.7 * view.key * np.clip(1.5 - distance / max(radius, 0.7), 0, 1)
    return out


@functools.lru_cache(maxsize=8)
def _background(seed: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W, 3) linear light: a wall out of focus, brighter on one side."""
    rng = np.random.default_rng(7919 + seed)
    height, width = size
    hue = rng.uniform(0.30, 0.52) + rng.uniform(-0.05, 0.05, 3)
    blotches = noise(rng, height, width, (3, 4))[..., None] * 0.04
    slope = np.linspace(-1, 1, width)[None, :, None] * rng.uniform(-0.08, 0.08)
    fall = np.linspace(0.05, -0.09, height)[:, None, None]
    out = hue + blotches + slope + fall + 0.02 * noise(rng, height, width, (6, 9))[..., None]
    return linear(np.asarray(cv2.GaussianBlur(np.asarray(out, np.float32), (0, 0), max(height / 60, 1)), np.float32))
