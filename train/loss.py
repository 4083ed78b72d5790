"""What is minimised: L1 and DSSIM, weighted by the face's mask, and the mask's own cross-entropy."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from train.config import TrainConfig

WINDOW = 11
SIGMA = 1.5
BORDER = WINDOW // 2


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity at every place where the window fits (Wang et al. 2004, doi:10.1109/TIP.2003.819861).

    a, b: (B, C, H, W) in 0..1 (data range 1), H and W at least 11. Window: 11x11 Gaussian, sigma 1.5, population
    (co)variances, K1 = .01, K2 = .03: `skimage.metrics.structural_similarity` with gaussian_weights=True,
    use_sample_covariance=False, its border of 5 pixels left out. Returns (B, C, H - 10, W - 10) float32, -1..1.
    """
    a, b = a.float(), b.float()
    mean_a, mean_b = _blur(a), _blur(b)
    square = _blur(a * a + b * b) - mean_a**2 - mean_b**2
    both = _blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mean_a * mean_b + c1) * (2 * both + c2)) / ((mean_a**2 + mean_b**2 + c1) * (square + c2))


def ssim(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B,) mean of `ssim_map` over channels and the whole crop, or weighted by mask (B, 1, H, W)."""
    full = ssim_map(a, b).mean(1, keepdim=True)
    if mask is None:
        return full.mean((1, 2, 3))
    return weighted_mean(full, _inner(mask.float()))


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """(B,) mean of values (B, C, H, W) under weight (B, 1, H, W), one for each face: no face depends on another."""
    return (values * weight).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) * values.shape[1] + 1e-6)


def losses(output: Tensor, truth: Tensor, mask: Tensor, config: TrainConfig) -> dict[str, Tensor]:
    """The terms of one side, each a mean over the batch.

    output: (B, 4, S, S) RGB and mask logit; truth: (B, 3, S, S) in 0..1; mask: (B, 1, S, S) in 0..1.
    Returns l1, dssim = (1 - SSIM) / 2, mask (binary cross-entropy in nats) and total, their weighted sum; float32.
    """
    output = output.float()
    colour = output[:, :3]
    weight = config.background + (1 - config.background) * mask
    l1 = weighted_mean((colour - truth).abs(), weight).mean()
    dssim = (0.5 - 0.5 * weighted_mean(ssim_map(colour, truth), _inner(weight))).mean()
    drawn = F.binary_cross_entropy_with_logits(output[:, 3:], mask)
    total = config.l1_weight * l1 + config.ssim_weight * dssim + config.mask_weight * drawn
    return {"l1": l1, "dssim": dssim, "mask": drawn, "total": total}


def _inner(x: Tensor) -> Tensor:
    return x[:, :, BORDER:-BORDER, BORDER:-BORDER]


def _blur(x: Tensor) -> Tensor:
    """Separable Gaussian where the window fits, as two products with a banded matrix: quicker than a convolution."""
    down = _band(x.shape[2], x.device)
    across = _band(x.shape[3], x.device)
    return down @ x @ across.T


@functools.lru_cache(maxsize=16)
def _band(size: int, device: torch.device) -> Tensor:
    """(size - 10, size): row i holds the window's weights at columns i to i + 10."""
    window = np.exp(-((np.arange(WINDOW) - BORDER) ** 2) / (2 * SIGMA**2))
    window /= window.sum()
    band = np.zeros((size - WINDOW + 1, size), np.float32)
    for i in range(size - WINDOW + 1):
        band[i, i : i + WINDOW] = window
    with torch.inference_mode(False):  # it outlives this call, and may be used under autograd next
        return torch.tensor(band, device=device)
