"""Held-out quality: how well the network reconstructs faces that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curate.types import Image
from train.data import Side
from train.loss import ssim, weighted_mean
from train.model import SIDES, Swap, picture

MOST = 256
"""Most held-out faces of a side that are evaluated, evenly spread."""


@dataclass(frozen=True)
class Face:
    """One held-out face and its reconstruction."""

    side: str
    index: int
    """Position in the side's order."""
    ssim: float
    """Under the mask."""
    crop: Image
    reconstruction: Image
    """(size, size, 3)."""


@dataclass(frozen=True)
class Evaluation:
    """Result of one evaluation on held-out faces."""

    figures: dict[str, float]
    """Means by name, see `measure`."""
    faces: tuple[Face, ...]


def measure(model: Swap, sides: Mapping[str, Side], size: int, batch: int, device: torch.device) -> Evaluation:
    """Held-out reconstruction quality of both sides.

    ssim_source, ssim_target: mean SSIM (see `train.loss.ssim_map`: 11x11 Gaussian, sigma 1.5, data range 1, mean over
    R, G, B) over the whole crop at the network's size; ssim: their mean. Under the face's mask: ssim_face_*, and
    l1_face_*, the mean absolute difference, 0..1. iou_*: intersection over union of the predicted mask and the face
    mask, both thresholded at 0.5, 0..1.
    """
    figures: dict[str, float] = {}
    faces: list[Face] = []
    for name in SIDES:
        found: dict[str, list[Tensor]] = {"ssim": [], "ssim_face": [], "l1_face": [], "iou": []}
        for indices, crops, masks in _batches(sides[name], size, batch, device):
            with torch.inference_mode():
                rgb, drawn = picture(model.through(crops, name, sides[name].performance(indices, device)))
                face = ssim(rgb, crops, masks)
                found["ssim"].append(ssim(rgb, crops))
                found["ssim_face"].append(face)
                found["l1_face"].append(weighted_mean((rgb - crops).abs(), masks))
                found["iou"].append(overlap(drawn, masks))
            shown = zip(indices.tolist(), face.tolist(), pixels(crops), pixels(rgb), strict=True)
            faces += [Face(name, *each) for each in shown]
        figures |= {f"{figure}_{name}": float(torch.cat(values).mean()) for figure, values in found.items()}
    figures["ssim"] = (figures["ssim_source"] + figures["ssim_target"]) / 2
    return Evaluation(figures, tuple(faces))


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """(B,) intersection over union of two masks (B, 1, H, W) thresholded at 0.5; 1 where both are empty."""
    a, b = one > 0.5, other > 0.5
    union = (a | b).sum((1, 2, 3))
    return torch.where(union > 0, (a & b).sum((1, 2, 3)) / union.clamp_min(1), 1.0)


def pixels(images: Tensor) -> NDArray[np.uint8]:
    """(B, H, W, 3) uint8 of images (B, 3, H, W) in 0..1."""
    return (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _batches(
    side: Side, size: int, batch: int, device: torch.device
) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]:
    held = side.split.held_out
    if len(held) > MOST:
        held = held[np.linspace(0, len(held) - 1, MOST).round().astype(int)]
    for first in range(0, len(held), batch):
        indices = held[first : first + batch]
        crops, masks = side.faces(indices, size)
        yield indices, crops.to(device), masks.to(device)
