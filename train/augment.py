"""Random changes of a batch of crops, done at once on the device.

What the network reads is warped, what it shall give is not (the recipe of deepfakes/faceswap and DeepFaceLab: it has to
put the face right, so it learns the face and not the picture). Turn, zoom, shift and light change both alike.

The random numbers are drawn on the CPU for the whole batch over all processes, so that they depend neither on the
device nor on how many processes share the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from train.config import TrainConfig

GRID = 5


@dataclass(frozen=True)
class Changes:
    """What happens to each of N crops."""

    affine: Tensor
    """(N, 2, 3) from places in the result to places in the crop; both run from -1 to 1, x right, y down."""
    warp: Tensor
    """(N, 2, 5, 5) shift of the grid's nodes in the same units."""
    gain: Tensor
    """(N, 3, 1, 1) factor of each channel."""
    contrast: Tensor
    """(N, 1, 1, 1) factor of the distance from the crop's mean."""

    def part(self, rows: slice, device: torch.device) -> Changes:
        """Those of some rows, on a device."""
        return Changes(*(x[rows].to(device) for x in (self.affine, self.warp, self.gain, self.contrast)))


def draw(random: np.random.Generator, count: int, config: TrainConfig) -> Changes:
    """Random changes for `count` crops in the ranges that the configuration names."""

    def between(limit: float, *shape: int) -> np.ndarray:
        return random.uniform(-limit, limit, (count, *shape))

    angle = np.radians(between(config.rotate))
    scale = 1 + between(config.zoom)
    mirror = np.where(random.random(count) < (0.5 if config.flip else 0), -1.0, 1.0)
    turn = np.stack([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    turn = turn * scale[:, None, None] * np.stack([mirror, np.ones(count)], 1)[:, None, :]
    affine = np.concatenate([turn, 2 * between(config.shift, 2)[:, :, None]], 2)
    warp = 2 * config.warp * random.standard_normal((count, 2, GRID, GRID))
    gain = (1 + between(config.light, 1, 1, 1)) * (1 + between(config.colour, 3, 1, 1))
    contrast = 1 + between(config.light, 1, 1, 1)
    return Changes(*(torch.from_numpy(np.asarray(x, np.float32)) for x in (affine, warp, gain, contrast)))


def apply(crops: Tensor, changes: Changes, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the network reads, what it shall give, and the face's mask.

    crops: (B, 4, H, W) uint8, RGB and mask, at least as large as `size`; they are sampled bilinearly, which at twice
    the size is the area mean, so nothing is lost to interpolation. Returns read (B, 3, size, size), truth (B, 3, size,
    size) and mask (B, 1, size, size), float32 in 0..1. Beyond the crop's edge it is mirrored.
    """
    images = crops.float().div_(255)
    images[:, :3] = _relight(images[:, :3], changes)
    shape = [len(crops), 1, size, size]
    still = F.affine_grid(changes.affine, shape, align_corners=False)
    truth = _sample(images, still)
    if not changes.warp.any():
        return truth[:, :3], truth[:, :3], truth[:, 3:]
    bent = F.interpolate(changes.warp, size=(size, size), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    # The warp happens in the result's frame: carried through the affine's linear part into the crop's.
    moved = still + bent @ changes.affine[:, None, :, :2].transpose(2, 3)
    return _sample(images[:, :3], moved), truth[:, :3], truth[:, 3:]


def _sample(images: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _relight(images: Tensor, changes: Changes) -> Tensor:
    mean = images.mean((1, 2, 3), keepdim=True)
    return (((images - mean) * changes.contrast + mean) * changes.gain).clamp_(0, 1)
