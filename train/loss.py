"""Training loss: L1 and DSSIM, weighted by the face mask, and the cross-entropy of the predicted mask.

Optionally also the L1 between Laplacian pyramids, which compares edges and texture apart from brightness without a
pretrained network.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from train.config import TrainConfig
from train.emphasis import FULL

WINDOW = 11
SIGMA = 1.5
TAPS = (0.0625, 0.25, 0.375, 0.25, 0.0625)
"""Burt and Adelson's generating kernel with a = 0.375, the binomial one."""
LEVELS = 5
"""Levels of a Laplacian pyramid; the last is the remaining picture, a sixteenth of the crop's side."""


def ssim_map(a: Tensor, b: Tensor, window: int = WINDOW) -> Tensor:
    """Structural similarity at every position where the window fits (Wang et al. 2004, doi:10.1109/TIP.2003.819861).

    a, b: (B, C, H, W) in 0..1 (data range 1), H and W at least the window's side. Window: 11x11 Gaussian, sigma 1.5, or
    one of the same shape with another odd side; population (co)variances, K1 = 0.01, K2 = 0.03:
    `skimage.metrics.structural_similarity` with gaussian_weights=True, use_sample_covariance=False, without its border
    of 5 pixels. Returns (B, C, H - window + 1, W - window + 1) float32, -1..1.
    """
    a, b = a.float(), b.float()
    mean_a, mean_b = _blur(a, window), _blur(b, window)
    square = _blur(a * a + b * b, window) - mean_a**2 - mean_b**2
    both = _blur(a * b, window) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mean_a * mean_b + c1) * (2 * both + c2)) / ((mean_a**2 + mean_b**2 + c1) * (square + c2))


def ssim(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B,) mean of `ssim_map` over channels and the whole crop, or weighted by mask (B, 1, H, W)."""
    full = ssim_map(a, b).mean(1, keepdim=True)
    if mask is None:
        return full.mean((1, 2, 3))
    return weighted_mean(full, _inner(mask.float()))


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """(B,) mean of values (B, C, H, W) under weight (B, 1, H, W), separately for each face."""
    return (values * weight).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) * values.shape[1] + 1e-6)


def pyramid(x: Tensor, levels: int = LEVELS) -> list[Tensor]:
    """The Laplacian pyramid of x (Burt and Adelson 1983, doi:10.1109/TCOM.1983.1095851), as many tensors as `levels`.

    x: (B, C, H, W). Level i: (B, C, H / 2^i, W / 2^i), rounded up, minus the next level's picture expanded; the
    last level is the last picture itself. Edges are replicated.
    """
    bands = []
    for _ in range(levels - 1):
        smaller = _reduce(x)
        bands.append(x - _expand(smaller, x.shape[2], x.shape[3]))
        x = smaller
    return [*bands, x]


def pyramid_l1(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """(B,) L1 between the pyramids of a and b (B, C, H, W) under weight (B, 1, H, W): sum of 2^i times level i's mean.

    As a loss in Bojanowski et al. 2018 (arXiv:1707.05776), with the levels weighted as in Hou and Liu 2019
    (arXiv:1909.09725). The weight is downscaled with the same filter as the pictures.
    """
    total = a.new_zeros(len(a))
    for level, band in enumerate(pyramid(a - b)):  # building a pyramid is linear
        total = total + 2**level * weighted_mean(band.abs(), weight)
        weight = _reduce(weight)
    return total


def losses(output: Tensor, truth: Tensor, masks: Tensor, config: TrainConfig) -> dict[str, Tensor]:
    """Loss terms of one side, each a mean over the batch.

    output: (B, 4, S, S) RGB and mask logit; truth: (B, 3, S, S) in 0..1; masks: (B, 1 or 2, S, S) in 0..1, the face
    mask and the emphasis of eyes and mouth (train/emphasis.py).
    Returns l1, dssim = (1 - SSIM) / 2, mask (binary cross-entropy in nats), perceptual (`pyramid_l1`) if it has a
    weight, and total, their weighted sum; float32.
    """
    output = output.float()
    colour = output[:, :3]
    mask = masks[:, :1]
    weight = config.background + (1 - config.background) * mask
    if masks.shape[1] > 1:
        weight = weight * (1 + FULL * masks[:, 1:2])
    l1 = weighted_mean((colour - truth).abs(), weight).mean()
    dssim = torch.stack([_dssim(colour, truth, weight, side) for side in windows(config)]).mean()
    drawn = F.binary_cross_entropy_with_logits(output[:, 3:], mask)
    total = config.l1_weight * l1 + config.ssim_weight * dssim + config.mask_weight * drawn
    terms = {"l1": l1, "dssim": dssim, "mask": drawn}
    if config.perceptual_weight:
        terms["perceptual"] = pyramid_l1(colour, truth, weight).mean()
        total = total + config.perceptual_weight * terms["perceptual"]
    return {**terms, "total": total}


def windows(config: TrainConfig) -> tuple[int, ...]:
    """Sides of the DSSIM loss's windows in pixels, odd: 11, or about 1/11.6 and 1/23.2 of the size (DeepFaceLab's)."""
    if config.ssim_windows == "one":
        return (WINDOW,)
    return tuple(max(3, 2 * int(config.size / share / 2) + 1) for share in (11.6, 23.2))


def _dssim(colour: Tensor, truth: Tensor, weight: Tensor, window: int) -> Tensor:
    return (0.5 - 0.5 * weighted_mean(ssim_map(colour, truth, window), _inner(weight, window))).mean()


def _inner(x: Tensor, window: int = WINDOW) -> Tensor:
    border = window // 2
    return x[:, :, border:-border, border:-border]


def _blur(x: Tensor, window: int) -> Tensor:
    """Separable Gaussian where the window fits, as two products with a banded matrix: quicker than a convolution."""
    return _band(x.shape[2], window, x.device) @ x @ _band(x.shape[3], window, x.device).T


def _reduce(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, H / 2, W / 2), rounded up: blurred, then every other row and column."""
    return _shrinking(x.shape[2], x.device) @ x @ _shrinking(x.shape[3], x.device).T


def _expand(x: Tensor, height: int, width: int) -> Tensor:
    """The way back of `_reduce`, to a picture of that size: rows and columns between, interpolated with the kernel."""
    return _growing(height, x.device) @ x @ _growing(width, x.device).T


@functools.lru_cache(maxsize=16)
def _band(size: int, side: int, device: torch.device) -> Tensor:
    """(size - side + 1, size): row i holds the weights of a window of that side at columns i to i + side - 1."""
    sigma = SIGMA * side / WINDOW
    window = np.exp(-((np.arange(side) - side // 2) ** 2) / (2 * sigma**2))
    window /= window.sum()
    band = np.zeros((size - side + 1, size), np.float32)
    for i in range(size - side + 1):
        band[i, i : i + side] = window
    with torch.inference_mode(False):  # it outlives this call, and may be used under autograd next
        return torch.tensor(band, device=device)


@functools.lru_cache(maxsize=32)
def _shrinking(size: int, device: torch.device) -> Tensor:
    """(size / 2, size): row i holds the kernel at columns 2i - 2 to 2i + 2; what falls beyond counts at the edge."""
    matrix = np.zeros(((size + 1) // 2, size), np.float32)
    for i in range(len(matrix)):
        for tap, weight in enumerate(TAPS):
            matrix[i, np.clip(2 * i + tap - 2, 0, size - 1)] += weight
    with torch.inference_mode(False):  # as above
        return torch.tensor(matrix, device=device)


@functools.lru_cache(maxsize=32)
def _growing(size: int, device: torch.device) -> Tensor:
    """(size, size / 2): row i holds twice the kernel's weights of those places i - 2 to i + 2 that are even."""
    matrix = np.zeros((size, (size + 1) // 2), np.float32)
    for i in range(size):
        for tap, weight in enumerate(TAPS):
            if (i + tap) % 2 == 0:
                matrix[i, np.clip((i + tap - 2) // 2, 0, matrix.shape[1] - 1)] += 2 * weight
    with torch.inference_mode(False):
        return torch.tensor(matrix, device=device)
