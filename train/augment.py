"""Augmentation: random changes of a batch of crops, applied together on the device.

The network's input is warped, the picture that it has to draw is not (as in deepfakes/faceswap and DeepFaceLab: the
network has to undo the warp, so it learns the face and not the picture). Rotation, zoom, shift and light change both
alike. Some inputs are then blurred and compressed, as the footage to be swapped may be.

Random numbers are drawn on the CPU for the whole batch of all processes, so that they depend neither on the device nor
on how many processes share the batch.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from train.config import TrainConfig

GRID = 5
BLOCK = 8
"""Side of the blocks that JPEG transforms, pixels."""
UNIT = 16
"""Side of the units that JPEG codes together, with the colour at half the size (4:2:0, as nearly all video has it)."""
LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantisation of luminance, ITU-T T.81 table K.1; row: vertical frequency."""
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Quantisation of chrominance, ITU-T T.81 table K.2."""
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""RGB to Y, Cb, Cr without their offsets (ITU-T T.871)."""


@dataclass(frozen=True)
class Limits:
    """Largest degradation of inputs; units as in `TrainConfig`."""

    blur: float
    compress: float


@dataclass(frozen=True)
class Degraded:
    """Which M of N pictures are blurred or compressed, and how."""

    rows: Tensor
    """(M,) int64."""
    blur: Tensor
    """(M, K), as in `Changes`."""
    compress: Tensor
    """(M,), as in `Changes`."""
    compressing: bool
    """Whether any is compressed."""


@dataclass(frozen=True)
class Changes:
    """Random changes of N crops, as drawn on the CPU or, after `planned`, on any device."""

    affine: Tensor
    """(N, 2, 3) from positions in the result to positions in the crop; both run from -1 to 1, x right, y down."""
    warp: Tensor
    """(N, 2, 5, 5) shifts of the warp grid's nodes in the same units."""
    gain: Tensor
    """(N, 3, 1, 1) factor of each channel."""
    contrast: Tensor
    """(N, 1, 1, 1) factor of the distance from the crop's mean."""
    blur: Tensor
    """(N, K) weights of 2K - 1 pixels in a row, from the middle outwards: a Gaussian, or 1 0 0 ... for none."""
    compress: Tensor
    """(N,) strength of the compression, 0 (none) to 1."""
    corner: tuple[int, int]
    """Rows and columns of the first 16-pixel unit that lie outside the picture, since crops of footage are not aligned
    with its blocks. The same for all N."""
    degraded: Degraded | None = None
    """What `blur` and `compress` say, without the pictures that stay as they are; None: not planned."""
    warped: bool = True
    """Whether any crop is warped."""

    def part(self, rows: slice) -> Changes:
        """The changes of some rows; on the CPU, and not planned."""
        affine, warp, gain, contrast = (x[rows] for x in (self.affine, self.warp, self.gain, self.contrast))
        return Changes(affine, warp, gain, contrast, self.blur[rows], self.compress[rows], self.corner)

    def planned(self) -> Changes:
        """The changes with all that depends on their values decided on the CPU, so that no device is asked later."""
        chosen = ((self.blur[:, 0] < 1) | (self.compress > 0)).nonzero()[:, 0]
        strength = self.compress[chosen]
        degraded = Degraded(chosen, self.blur[chosen], strength, bool(strength.any()))
        return replace(self, degraded=degraded, warped=bool(self.warp.any()))


def draw(
    random: np.random.Generator,
    count: int,
    config: TrainConfig,
    limits: Limits | None = None,
    may_flip: NDArray[np.bool_] | None = None,
) -> Changes:
    """Random changes for `count` crops in the ranges of the configuration.

    `limits` replace those of the configuration; `may_flip` (count,): faces that `flip` auto may mirror, None: none.
    """

    def between(limit: float, *shape: int) -> np.ndarray:
        return random.uniform(-limit, limit, (count, *shape))

    angle = np.radians(between(config.rotate))
    scale = 1 + between(config.zoom)
    mirror = np.where((random.random(count) < 0.5) & _mirrored(config.flip, count, may_flip), -1.0, 1.0)
    turn = np.stack([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    turn = turn * scale[:, None, None] * np.stack([mirror, np.ones(count)], 1)[:, None, :]
    affine = np.concatenate([turn, 2 * between(config.shift, 2)[:, :, None]], 2)
    warp = 2 * config.warp * random.standard_normal((count, 2, GRID, GRID))
    gain = (1 + between(config.light, 1, 1, 1)) * (1 + between(config.colour, 3, 1, 1))
    contrast = 1 + between(config.light, 1, 1, 1)
    limits = limits or Limits(config.blur, config.compress)
    chosen = random.random(count) < config.degrade
    sigma, strength = (chosen * limit * random.random(count) for limit in (limits.blur * config.size, limits.compress))
    row, column = random.integers(0, UNIT, 2).tolist()
    return Changes(
        affine=_tensor(affine),
        warp=_tensor(warp),
        gain=_tensor(gain),
        contrast=_tensor(contrast),
        blur=_tensor(gaussian(sigma)),
        compress=_tensor(strength),
        corner=(row, column),
    )


def is_mirrored(changes: Changes) -> Tensor:
    """(N,) whether a crop is mirrored."""
    turn = changes.affine[:, :, :2]
    return turn[:, 0, 0] * turn[:, 1, 1] - turn[:, 0, 1] * turn[:, 1, 0] < 0


def gaussian(sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, K) weights from the middle outwards for standard deviations (N,) in pixels, up to three of the largest;
    with their mirror image they sum to 1."""
    away = np.arange(1 + int(np.ceil(3 * sigma.max(initial=0.0))))
    weights = np.exp(-0.5 * (away / np.maximum(sigma, 1e-3)[:, None]) ** 2)
    return np.asarray(weights / (2 * weights.sum(1, keepdims=True) - 1), np.float64)


def apply(crops: Tensor, changes: Changes, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Network input, the picture that it has to draw, and the face mask with what may follow it.

    crops: (B, 3 + M, H, W) uint8, RGB, mask and emphasis, at least as large as `size`; they are sampled bilinearly,
    which at twice the size is the area mean, so interpolation loses nothing. Returns read (B, 3, size, size), truth
    (B, 3, size, size) and masks (B, M, size, size), float32 in 0..1. Outside the crop, its content is mirrored.
    """
    changes = changes if changes.degraded is not None else changes.planned()
    images = crops.float().div_(255)
    images[:, :3] = _relight(images[:, :3], changes)
    shape = [len(crops), 1, size, size]
    still = F.affine_grid(changes.affine, shape, align_corners=False)
    truth = _sample(images, still)
    if not changes.warped:
        return degrade(truth[:, :3].clone(), changes), truth[:, :3], truth[:, 3:]
    bent = F.interpolate(changes.warp, size=(size, size), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    # The warp happens in the result's frame: carried through the affine's linear part into the crop's.
    moved = still + bent @ changes.affine[:, None, :, :2].transpose(2, 3)
    return degrade(_sample(images[:, :3], moved), changes), truth[:, :3], truth[:, 3:]


def degrade(pictures: Tensor, changes: Changes) -> Tensor:
    """Pictures (B, 3, H, W) in 0..1, blurred and compressed in place where `changes` call for it."""
    degraded = changes.degraded or changes.planned().degraded
    if degraded is None or not len(degraded.rows):
        return pictures
    found = soften(pictures[degraded.rows], degraded.blur)
    if degraded.compressing:
        found = compress(found, degraded.compress, changes.corner)
    return pictures.index_copy_(0, degraded.rows, found)


def soften(pictures: Tensor, weights: Tensor) -> Tensor:
    """Pictures (B, C, H, W) blurred along both axes with weights (B, K) from the middle outwards; edges repeat."""
    reach = weights.shape[1] - 1
    for axis, edges in ((2, (0, 0, reach, reach)), (3, (reach, reach, 0, 0))):
        length, whole = pictures.shape[axis], F.pad(pictures, edges, mode="replicate")
        pictures = pictures * weights[:, :1, None, None]
        for away in range(1, reach + 1):
            both = whole.narrow(axis, reach - away, length) + whole.narrow(axis, reach + away, length)
            pictures.addcmul_(both, weights[:, away, None, None, None])
    return pictures


def compress(pictures: Tensor, strength: Tensor, corner: tuple[int, int] = (0, 0)) -> Tensor:
    """Pictures (B, 3, H, W) in 0..1 after baseline JPEG (ITU-T T.81) with 4:2:0, but not rounded to bytes.

    The quality is 100 (1 - strength (B,)), at least 1, with libjpeg's scaling of the tables. `corner`: see `Changes`.
    """
    height, width = pictures.shape[2:]
    top, left = corner
    edges = (left, -(left + width) % UNIT, top, -(top + height) % UNIT)
    whole = F.pad(pictures, edges, mode="replicate")
    to_ycc, to_rgb, dct, halved = _constants(pictures.device)
    luma = (to_ycc[:1] @ whole.flatten(2)).view_as(whole[:, :1]) - 128
    luma = _coded(luma, _table(LUMA, strength), dct, dct).add_(128)
    chroma = (to_ycc[1:] @ whole.flatten(2)).view_as(whole[:, 1:])
    chroma = _coded(chroma, _table(CHROMA, strength), halved, dct)
    # libjpeg's upsampling: 3/4 of the nearer pixel, 1/4 of the further one.
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    found = (to_rgb[:, 1:] @ chroma.flatten(2)).view_as(whole).add_(luma / 255)
    return found[:, :, top : top + height, left : left + width].clamp_(0, 1)


def _mirrored(flip: str, count: int, may_flip: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """(count,) whether each face may be mirrored."""
    if flip == "auto" and may_flip is not None:
        return may_flip
    return np.full(count, flip == "all")


def _table(base: tuple[tuple[int, ...], ...], strength: Tensor) -> Tensor:
    """(B, 1, 1, 8, 1, 8) steps of quantisation; libjpeg: 200 - 2 quality percent, below quality 50 5000 / quality."""
    quality = (100 * (1 - strength)).clamp(1, 100)
    percent = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    steps = _base(base, strength.device) * percent[:, None, None]
    return ((steps + 50) / 100).floor().clamp_(1, 255)[:, None, None, :, None, :]


@functools.cache
def _base(base: tuple[tuple[int, ...], ...], device: torch.device) -> Tensor:
    """(8, 8) a table of quantisation on a device."""
    return torch.tensor(base, dtype=torch.float32, device=device)


def _coded(planes: Tensor, table: Tensor, forth: Tensor, back: Tensor) -> Tensor:
    """Planes (B, C, H, W) around 0 through the DCT of their blocks, quantised, and back.

    `forth` (8, 8) or (8, 16), which halves the size, and the inverse of `back` (8, 8) are applied to rows and columns.
    """
    count, channels, height, width = planes.shape
    size = forth.shape[1]
    rows = forth @ planes.view(count, channels, height // size, size, width)
    found = rows.view(count, channels, -1, BLOCK, width // size, size) @ forth.T
    found = found.div_(table).round_().mul_(table) @ back
    return (back.T @ found.flatten(4)).flatten(2, 3)


@functools.cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """RGB in 0..1 to Y, Cb, Cr in 0..255 without offsets (3, 3); its inverse; the orthonormal DCT-II of 8 pixels (8, 8)
    and of the means of 8 pairs (8, 16), row: frequency."""

    to_ycc = 255 * np.array(TO_YCC)
    frequency, place = np.arange(BLOCK)[:, None], np.arange(BLOCK)[None]
    dct = np.cos(np.pi * (2 * place + 1) * frequency / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    dct[0] /= np.sqrt(2)
    numbers = (to_ycc, np.linalg.inv(to_ycc), dct, dct.repeat(2, 1) / 2)
    colours, back, whole, halved = (_tensor(x).to(device) for x in numbers)
    return colours, back, whole, halved


def _tensor(numbers: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.asarray(numbers, np.float32))


def _sample(images: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _relight(images: Tensor, changes: Changes) -> Tensor:
    mean = images.mean((1, 2, 3), keepdim=True)
    return (((images - mean) * changes.contrast + mean) * changes.gain).clamp_(0, 1)
