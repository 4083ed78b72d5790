"""Swapping of the footage's face: landmarks are stabilised, crops cut from frames and swapped in batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.face.align import crop_matrix, in_crop, transform, warp
from curate.settings import Framing
from curate.types import Floats, Frame, Image
from render.compositing import occlusion
from render.compositing.mask import face_mask
from render.compositing.settings import MaskSettings

if TYPE_CHECKING:
    import torch

BATCH = 12
"""Batch size of the network, frames; divides `compose.RADIUS`, so that parts of a render share whole batches only."""
WINDOW = 7
"""Window of the Savitzky-Golay filter over landmarks, frames."""
ORDER = 2
"""Its degree."""
GAP = 5
"""Longest gap without a detected face that is interpolated, frames."""
PROFILE = (70.0, 85.0)
"""Yaw in degrees over which the face fades out: beyond, landmarks are guesses."""


class Swapper(Protocol):
    """Trained network as `train.run.load_swapper` gives it."""

    @property
    def size(self) -> int:
        """Side of the crops in pixels."""

    def swap(
        self, crops: torch.Tensor, scores: Floats | None = None, marks: Floats | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Swapped crops (B, 3, S, S) and masks (B, 1, S, S) of crops (B, 3, S, S), float32 in 0..1, on their device.

        scores: (B, K) of the faces, see train/drive.py; None: unknown. marks: (B, P, 3) their landmarks in units of the
        crop's side.
        """

    def swap_and_reconstruct(
        self, crops: torch.Tensor, scores: Floats | None = None, marks: Floats | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `swap`, and the crops reconstructed by the target's decoder (B, 3, S, S)."""

    def reconstruct(
        self, crops: torch.Tensor, scores: Floats | None = None, marks: Floats | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The crops reconstructed by the target's decoder (B, 3, S, S), and their masks (B, 1, S, S)."""


@dataclass(frozen=True)
class Place:
    """Position of the face in one frame."""

    landmarks: Floats
    """(478, 3) square pixels of the frame, stabilised."""
    shot: int
    opacity: float = 1.0
    """0..1, less in profile."""
    scores: Floats | None = None
    """(K,) scores that may drive the network, counted from rest and smoothed in time; NaN where unknown."""


@dataclass(frozen=True)
class Swapped:
    """Swapped face of one frame, in crop space."""

    place: Place
    matrix: NDArray[np.float64]
    """(2, 3) from the frame to the crop."""
    footage: Floats
    """(S, S, 3) RGB in 0..1, the footage's crop."""
    rgb: Floats
    """(S, S, 3) RGB in 0..1, the network's output."""
    mask: Floats
    """(S, S) in 0..1, feathered."""
    error: Floats | None = None
    """(S, S) reconstruction error of the target's decoder; None if it was not computed."""


def places(rows: pd.DataFrame, window: int = WINDOW) -> dict[int, Place]:
    """Position of the face by frame index, from the rows of `curate.extract.follow.Followed`.

    Landmarks are stabilised over `window` frames within a shot; short gaps in the middle of a shot are interpolated.
    """
    found: dict[int, Place] = {}
    for number in sorted(int(n) for n in rows["shot"].unique()):
        group = rows[rows["shot"] == number].sort_values("frame")
        frames = group["frame"].to_numpy(np.int64)
        points = np.stack(list(group["landmarks"])).astype(np.float32)
        yaws = group["yaw"].to_numpy(np.float64) if "yaw" in group else np.zeros(len(group))
        scores = np.stack(list(group["scores"])) if "scores" in group else None
        lost = (np.diff(frames) > GAP + 1) | ((np.diff(frames) > 1) & _far(points))
        for run in np.split(np.arange(len(frames)), np.flatnonzero(lost) + 1):
            whole = np.arange(frames[run[0]], frames[run[-1]] + 1)
            turned = np.interp(whole, frames[run], yaws[run])
            steady = stabilised(_bridged(points[run], frames[run], whole), window)
            acted = [None] * len(whole) if scores is None else steadied(scores[run], frames[run], whole)
            for frame, marks, yaw, own in zip(whole, steady, turned, acted, strict=True):
                found[int(frame)] = Place(marks, number, _opacity(float(yaw)), own)
    return found


def steadied(scores: Floats, known: NDArray[np.int64], whole: NDArray[np.int64]) -> Floats:
    """Scores (N, K) of all frames: interpolated between the known ones, and smoothed as landmarks are."""
    columns = []
    for own in scores.T:
        there = np.isfinite(own)
        if not there.any():
            columns.append(np.full(len(whole), np.nan))
            continue
        columns.append(np.interp(whole, known[there], own[there]))
    found = np.asarray(np.stack(columns, 1), np.float32)
    return stabilised(found[:, :, None])[:, :, 0]


def _far(points: Floats) -> NDArray[np.bool_]:
    """(N - 1,) whether the face moved by more than half its width from one row to the next."""
    centres, widths = points[..., :2].mean(axis=1), np.ptp(points[..., 0], axis=1)
    return np.asarray(np.linalg.norm(np.diff(centres, axis=0), axis=1) > 0.5 * widths[1:])


def _bridged(points: Floats, known: NDArray[np.int64], whole: NDArray[np.int64]) -> Floats:
    """Landmarks (N, K, 3) of all frames, interpolated linearly between the known ones."""
    if len(known) == len(whole):
        return points
    right = np.clip(np.searchsorted(known, whole), 1, len(known) - 1)
    share = (whole - known[right - 1]) / (known[right] - known[right - 1])
    share = np.clip(share, 0, 1)[:, None, None]
    return np.asarray(points[right - 1] * (1 - share) + points[right] * share, np.float32)


def _opacity(yaw: float) -> float:
    if not np.isfinite(yaw):
        return 1.0
    return float(np.clip((PROFILE[1] - abs(yaw)) / (PROFILE[1] - PROFILE[0]), 0, 1))


def stabilised(points: Floats, most: int = WINDOW) -> Floats:
    """Landmarks (N, K, 3) of consecutive frames, smoothed in time without lag.

    A local parabola over `most` frames, or one less if that is even (Savitzky and Golay 1964), removes the
    detector's jitter and keeps speed and acceleration. Runs shorter than five frames stay unchanged; uneven frame times
    count as even.
    """
    window = min(most - (1 - most % 2), len(points) - (1 - len(points) % 2))
    if window <= ORDER + 1:
        return points
    half = window // 2
    terms = np.vander(np.arange(-half, half + 1, dtype=np.float64), ORDER + 1)
    fit = terms @ np.linalg.pinv(terms)  # each row: the parabola's value there, of all values of the window
    values = points.astype(np.float64)
    smooth = np.zeros_like(values)
    for place, weight in enumerate(fit[half]):
        smooth[half : len(values) - half] += weight * values[place : len(values) - 2 * half + place]
    smooth[:half] = np.tensordot(fit[:half], values[:window], 1)
    smooth[-half:] = np.tensordot(fit[-half:], values[-window:], 1)
    return smooth.astype(np.float32)


def swap_frames(
    frames: Iterable[Frame],
    where: Mapping[int, Place],
    swapper: Swapper,
    framing: Framing,
    mask: MaskSettings | Callable[[int], MaskSettings],
    batch: int = BATCH,
    reconstruct: bool = False,
) -> Iterator[tuple[Frame, Swapped | None]]:
    """Every frame in order, with its swapped face or None. Keeps `batch` frames in memory.

    Batches begin at frames whose number is a multiple of `batch`: a frame is swapped together with the same frames
    wherever decoding began, since a network may round differently in another batch.
    `mask` are the settings of all frames, or a function that gives those of a frame's number. `reconstruct` also
    computes `Swapped.error`, which costs a pass of the target's decoder.
    """
    for _, some in itertools.groupby(frames, lambda frame: frame.index // batch):
        yield from _swap_batch(list(some), where, swapper, framing, mask, reconstruct)


def errors(
    frames: Iterable[Frame], where: Mapping[int, Place], swapper: Swapper, framing: Framing, batch: int = BATCH
) -> Iterator[Floats]:
    """`Swapped.error` (S, S) of every frame that shows the face, in order; nothing is swapped."""
    left = iter(frames)
    while some := list(itertools.islice(left, batch)):
        crops = _Crops.of(some, where, framing, swapper.size)
        if crops.frames:
            back, _ = swapper.reconstruct(*crops.inputs())
            for given, footage in zip(_pictures(back), crops.images, strict=True):
                yield occlusion.error(given, footage)


@dataclass(frozen=True)
class _Crops:
    """The faces of a batch, as the network reads them."""

    frames: list[Frame]
    """Those that show the face, in order; the other lists have one item for each."""
    places: list[Place]
    squares: list[NDArray[np.float64]]
    """(2, 3) matrices from square pixels to the crop."""
    matrices: list[NDArray[np.float64]]
    """(2, 3) matrices from the frame to the crop."""
    images: list[Floats]
    """(S, S, 3) RGB in 0..1."""

    @classmethod
    def of(cls, frames: list[Frame], where: Mapping[int, Place], framing: Framing, size: int) -> _Crops:
        """The crops of frames, with sides of `size` pixels."""
        faces = [f for f in frames if f.index in where and where[f.index].opacity > 0]
        found = [where[f.index] for f in faces]
        squares = [crop_matrix(place.landmarks, framing, size) for place in found]
        matrices = [_from_stored(m, f.square) for f, m in zip(faces, squares, strict=True)]
        images = [_unit(warp(f.image, m, size)) for f, m in zip(faces, matrices, strict=True)]
        return cls(faces, found, squares, matrices, images)

    def inputs(self) -> tuple[torch.Tensor, Floats | None, Floats]:
        """Crops (B, 3, S, S), scores (B, K) or None, and landmarks (B, P, 3), as `Swapper` takes them."""
        import torch

        crops = torch.from_numpy(np.ascontiguousarray(np.stack(self.images).transpose(0, 3, 1, 2)))
        known = [place.scores for place in self.places if place.scores is not None]
        scores = np.stack(known) if len(known) == len(self.places) else None
        size = len(self.images[0])
        marks = [in_crop(place.landmarks, m, size) for place, m in zip(self.places, self.squares, strict=True)]
        return crops, scores, np.stack(marks)


def _swap_batch(
    frames: list[Frame],
    where: Mapping[int, Place],
    swapper: Swapper,
    framing: Framing,
    settings: MaskSettings | Callable[[int], MaskSettings],
    reconstruct: bool,
) -> list[tuple[Frame, Swapped | None]]:
    crops = _Crops.of(frames, where, framing, swapper.size)
    done: dict[int, Swapped] = {}
    for number, (rgb, model, given) in enumerate(_pass(swapper, crops, reconstruct)):
        index, place, footage = crops.frames[number].index, crops.places[number], crops.images[number]
        own = settings(index) if callable(settings) else settings
        alpha = face_mask(model, transform(place.landmarks, crops.squares[number]), own)
        error = None if given is None else occlusion.error(given, footage)
        done[index] = Swapped(place, crops.matrices[number], footage, rgb, alpha, error)
    return [(f, done.get(f.index)) for f in frames]


def _from_stored(matrix: NDArray[np.float64], square: tuple[float, float]) -> NDArray[np.float64]:
    """The matrix (2, 3) from square pixels, as one from the frame's own; pixel centres lie at whole numbers."""
    x, y = square
    stretch = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    return np.asarray(matrix @ stretch, np.float64) if square != (1.0, 1.0) else matrix


def stored_points(points: Floats, square: tuple[float, float]) -> Floats:
    """Landmarks (N, 3) in square pixels as those of the frame's own pixels; depth follows x."""
    if square == (1.0, 1.0):
        return points
    x, y = square
    factors = np.array([x, y, x], np.float32)
    return np.asarray((points - [(x - 1) / 2, (y - 1) / 2, 0]) / factors, np.float32)


def _unit(image: Image) -> Floats:
    return np.asarray(image, np.float32) / np.float32(255)


def _pass(swapper: Swapper, crops: _Crops, reconstruct: bool) -> list[tuple[Floats, Floats, Floats | None]]:
    """RGB (S, S, 3), mask (S, S) and reconstructed target of each crop (S, S, 3); all in 0..1."""
    if not crops.frames:
        return []
    given: list[Floats | None] = [None] * len(crops.frames)
    if reconstruct:
        rgb, mask, back = swapper.swap_and_reconstruct(*crops.inputs())
        given = list(_pictures(back))
    else:
        rgb, mask = swapper.swap(*crops.inputs())
    masks = mask.float().clamp(0, 1)[:, 0].contiguous().cpu().numpy()
    return list(zip(_pictures(rgb), masks, given, strict=True))


def _pictures(values: torch.Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = values.float().clamp(0, 1).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return found
