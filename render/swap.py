"""The network over the footage's face: landmarks steadied, crops made from the frame, batches of them swapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.align import crop_matrix, transform, warp
from curate.types import Floats, Frame, Framing, Image
from render.mask import MaskSettings, face_mask

if TYPE_CHECKING:
    import torch

BATCH = 16
"""Frames a network pass."""
WINDOW = 7
"""Frames of the Savitzky-Golay filter over landmarks."""
ORDER = 2


class Swapper(Protocol):
    """What swapping needs of a trained run (`train.run.load_swapper`)."""

    @property
    def size(self) -> int:
        """Side of the crops in pixels."""

    def swap(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, S, S) float32 RGB in 0..1 to the same and masks (B, 1, S, S), on the device of the crops."""


@dataclass(frozen=True)
class Place:
    """Where the face is in one frame."""

    landmarks: Floats
    """(478, 3) frame pixels, steadied."""
    shot: int


@dataclass(frozen=True)
class Swapped:
    """One frame's face through the network, in crop space."""

    place: Place
    matrix: NDArray[np.float64]
    """(2, 3) from the frame to the crop."""
    footage: Floats
    """(S, S, 3) RGB in 0..1, what was there."""
    rgb: Floats
    """(S, S, 3) RGB in 0..1, what the network drew."""
    mask: Floats
    """(S, S) in 0..1, feathered."""


def places(rows: pd.DataFrame) -> dict[int, Place]:
    """Frame index to place, of the rows that `curate.follow.follow` gave; landmarks steadied within a shot."""
    found: dict[int, Place] = {}
    ordered = rows.sort_values("frame")
    frames = ordered["frame"].to_numpy(np.int64)
    shots = ordered["shot"].to_numpy(np.int64)
    breaks = np.flatnonzero((np.diff(frames) != 1) | (np.diff(shots) != 0)) + 1
    landmarks = list(ordered["landmarks"])
    for run in np.split(np.arange(len(frames)), breaks):
        if not len(run):
            continue
        points = steadied(np.stack([landmarks[i] for i in run]).astype(np.float32))
        found |= {int(frames[i]): Place(p, int(shots[i])) for i, p in zip(run, points, strict=True)}
    return found


def steadied(points: Floats) -> Floats:
    """Landmarks (N, K, 3) of consecutive frames, smoothed in time without lag.

    A local parabola over seven frames (Savitzky and Golay 1964): it takes the detector's jitter and keeps speed and
    acceleration. Runs shorter than five frames stay as they are; uneven frame times count as even.
    """
    from scipy.signal import savgol_filter

    window = min(WINDOW, len(points) - (1 - len(points) % 2))
    if window <= ORDER + 1:
        return points
    return np.asarray(savgol_filter(points.astype(np.float64), window, ORDER, axis=0, mode="interp"), np.float32)


def swap_frames(
    frames: Iterable[Frame],
    where: Mapping[int, Place],
    swapper: Swapper,
    framing: Framing,
    mask: MaskSettings,
    batch: int = BATCH,
) -> Iterator[tuple[Frame, Swapped | None]]:
    """Every frame in order, with its swapped face or None where there is none. Holds `batch` frames at a time."""
    waiting: list[Frame] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == batch:
            yield from _swap_batch(waiting, where, swapper, framing, mask)
            waiting = []
    if waiting:
        yield from _swap_batch(waiting, where, swapper, framing, mask)


def _swap_batch(
    frames: list[Frame],
    where: Mapping[int, Place],
    swapper: Swapper,
    framing: Framing,
    settings: MaskSettings,
) -> list[tuple[Frame, Swapped | None]]:
    faces = [f for f in frames if f.index in where]
    size = swapper.size
    matrices = [crop_matrix(where[f.index].landmarks, framing, size) for f in faces]
    crops = [_unit(warp(f.image, m, size)) for f, m in zip(faces, matrices, strict=True)]
    done: dict[int, Swapped] = {}
    for frame, matrix, crop, (rgb, model) in zip(faces, matrices, crops, _pass(swapper, crops), strict=True):
        place = where[frame.index]
        alpha = face_mask(model, transform(place.landmarks, matrix), settings)
        done[frame.index] = Swapped(place, matrix, crop, rgb, alpha)
    return [(f, done.get(f.index)) for f in frames]


def _unit(image: Image) -> Floats:
    return np.asarray(image, np.float32) / np.float32(255)


def _pass(swapper: Swapper, crops: list[Floats]) -> list[tuple[Floats, Floats]]:
    """Crops (S, S, 3) through the network: RGB (S, S, 3) and mask (S, S) each, in 0..1."""
    import torch

    if not crops:
        return []
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2)))
    rgb, mask = swapper.swap(stacked)
    pictures = rgb.float().clamp(0, 1).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    masks = mask.float().clamp(0, 1)[:, 0].contiguous().cpu().numpy()
    return list(zip(pictures, masks, strict=True))
