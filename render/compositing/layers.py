"""Several faces in a frame, of one person (a mirror, a split screen) or of several: each is composited alone, then laid
together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
from scipy.ndimage import median_filter

from curate.types import Floats, Frame
from render.compositing.compose import RADIUS, Composed
from render.compositing.swap import Place, stored_points

Layer = Callable[[Iterable[Frame]], Iterator[Composed]]


def in_layers(
    frames: Iterable[Frame], layers: Sequence[Callable[[Iterable[Frame]], Iterator[Composed]]]
) -> Iterator[Composed]:
    """Every frame with the faces of all layers, at least one; each layer composites the same frames on its own."""
    copies = itertools.tee(frames, len(layers))
    for group in zip(*(layer(copy) for layer, copy in zip(layers, copies, strict=True)), strict=True):
        yield laid(group)


def laid(group: Sequence[Composed]) -> Composed:
    """One frame with the faces of all layers; of two that overlap the later one is on top."""
    whole = group[0]
    for other in group[1:]:
        if other.mask is None:
            continue
        if whole.mask is None:
            whole = other
            continue
        image = np.where(other.mask[..., None] > 0, other.image, whole.image)
        whole = replace(whole, image=image, mask=np.maximum(whole.mask, other.mask), more=whole.more + 1)
    return whole


def of_people(
    frames: Iterable[Frame], people: Sequence[Layer], near: Sequence[Mapping[int, float]]
) -> Iterator[Composed]:
    """Every frame with the faces of all people; `near` has the size of each one's face by frame."""
    copies = itertools.tee(frames, len(people))
    for group in zip(*(one(copy) for one, copy in zip(people, copies, strict=True)), strict=True):
        yield together(group, [sizes.get(group[0].frame.index, 0.0) for sizes in near])


def sizes(where: Mapping[int, Place]) -> dict[int, float]:
    """Size of the face in pixels by frame, the median over neighbours: two that cross change places once."""
    frames = sorted(where)
    found = [float(np.ptp(where[frame].landmarks[:, :2], axis=0).max()) for frame in frames]
    return (
        dict(zip(frames, median_filter(found, 2 * RADIUS + 1, mode="nearest").tolist(), strict=True)) if found else {}
    )


def together(group: Sequence[Composed], near: Sequence[float]) -> Composed:
    """One frame with the faces of several people; where two overlap the larger face, which is nearer, is on top.

    The whole of the nearer face, not only what is swapped of it, covers the one behind.
    """
    shown = [own for _, own in sorted(zip(near, group, strict=True), key=lambda pair: pair[0]) if own.mask is not None]
    if not shown:
        return replace(group[0], people=tuple(group))
    whole = shown[0]
    for own in shown[1:]:
        whole = _over(own, whole)
    first = next(own for own in group if own.mask is not None)
    several = sum(own.more + 1 for own in shown) - 1
    return replace(first, image=whole.image, mask=whole.mask, more=several, people=tuple(group))


def _over(front: Composed, back: Composed) -> Composed:
    """Two people in one frame. Alpha compositing: front + (1 - cover) * (back - footage)."""
    assert front.mask is not None and back.mask is not None
    if not _meet(front, back.mask):
        image = np.where(front.mask[..., None] > 0, front.image, back.image)
        return replace(back, image=image, mask=np.maximum(front.mask, back.mask))
    open_ = (1 - _cover(front)) * (back.mask > 0)
    plate = (front.frame.deep if front.image.dtype == np.uint16 else front.frame.image).astype(np.float32)
    mixed = front.image.astype(np.float32) + open_[..., None] * (back.image.astype(np.float32) - plate)
    image = np.clip(np.rint(mixed), 0, np.iinfo(front.image.dtype).max).astype(front.image.dtype)
    return replace(back, image=image, mask=np.maximum(front.mask, back.mask * open_))


def _meet(front: Composed, behind: Floats) -> bool:
    """Whether the nearer face, or the box around its outline, lies over a mask (H, W)."""
    assert front.mask is not None
    if front.face is not None:
        points = stored_points(front.face.place.landmarks, front.frame.square)[:, :2]
        (left, top), (right, bottom) = np.maximum(points.min(0) - 6, 0).astype(int), np.maximum(points.max(0) + 7, 0)
        if behind[top : int(bottom), left : int(right)].any():
            return True
    return bool(np.any((front.mask > 0) & (behind > 0)))


def _cover(front: Composed) -> Floats:
    """(H, W) in 0..1: how much the nearer face hides of what is behind, its whole outline included."""
    assert front.mask is not None
    if front.face is None:
        return front.mask
    points = stored_points(front.face.place.landmarks, front.frame.square)[:, :2]
    outline = np.zeros(front.mask.shape, np.float32)
    cv2.fillConvexPoly(outline, cv2.convexHull(np.rint(points).astype(np.int32)), 1.0)
    return np.maximum(front.mask, cv2.GaussianBlur(outline, (0, 0), 1.5))
