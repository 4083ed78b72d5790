"""Several faces of one person in a frame (a mirror, a split screen): each is composited alone, then laid together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from curate.types import Frame
from render.compositing.compose import Composed


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
