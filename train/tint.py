"""Colours of the target on the source's training faces, so that less colour transfer is left for the render."""

from __future__ import annotations

import torch
from torch import Tensor

SOFTEN = 2.0
"""Largest factor, and its inverse, by which a channel's spread is changed."""


def tinted(source: Tensor, target: Tensor, chosen: Tensor) -> Tensor:
    """Source crops (B, C, H, W) uint8, RGB first and then the face mask, with the colours of target crops (B, ...).

    Where `chosen` (B,), each RGB channel gets the mean and the standard deviation that the face has in the target's
    crop of the same row (Reinhard et al. 2001, doi:10.1109/38.946629, in RGB); the spread changes by at most SOFTEN.
    """
    rows = chosen.nonzero()[:, 0]
    if not len(rows):
        return source
    own, wanted = source[rows].float(), target[rows].float()
    (mean, spread), (to, far) = _moments(own), _moments(wanted)
    gain = (far / spread.clamp_min(1.0)).clamp(1 / SOFTEN, SOFTEN)
    found = source.clone()
    colours = ((own[:, :3] - mean) * gain + to).round().clamp(0, 255)
    found[rows, :3] = colours.to(torch.uint8)
    return found


def _moments(crops: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3, 1, 1) mean and standard deviation of each channel under the mask, the fourth channel."""
    weight = crops[:, 3:4] / (crops[:, 3:4].sum((2, 3), keepdim=True) + 1e-6)
    mean = (crops[:, :3] * weight).sum((2, 3), keepdim=True)
    return mean, ((crops[:, :3] - mean).square() * weight).sum((2, 3), keepdim=True).sqrt()
