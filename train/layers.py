"""Layers of the networks: residual block, upsampling, bottleneck, and their initial weights.

Upsampling is pixel shuffle (Shi et al. 2016, arXiv:1609.05158) whose weights start as nearest-neighbour upsampling
(ICNR, Aitken et al. 2017, arXiv:1707.02937), so that there is no checkerboard pattern to unlearn. There is no
batch normalisation: the output for a face does not depend on the rest of its batch.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.config import TrainConfig
from train.drive import NAMES
from train.outlines import MAPS

SLOPE = 0.1
HIDDEN = 128
"""Width of the layer that reads the scores."""


class Residual(nn.Module):
    """Residual block: x + two 3x3 convolutions of x; the second starts small, so the block starts near identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        he(self.first)
        he(self.second, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        change = self.second(F.leaky_relu(self.first(x), SLOPE, inplace=True))
        return F.leaky_relu(x + change, SLOPE, inplace=True)


class Upsample(nn.Module):
    """Upsampling from (B, C, H, W) to (B, out, 2H, 2W): 3x3 convolution, pixel shuffle, residual blocks."""

    def __init__(
        self, channels: int, out: int, residuals: int, modulated: bool = False, outlined: bool = False
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, out * 4, 3, padding=1)
        self.refine = nn.Sequential(*(Residual(out) for _ in range(residuals)))
        self.modulate = nn.Linear(HIDDEN, 2 * out) if modulated else None
        self.outline = nn.Conv2d(len(MAPS), out, 3, padding=1, bias=False) if outlined else None
        icnr(self.expand)
        if self.outline is not None:
            nn.init.zeros_(self.outline.weight)
        if self.modulate is not None:
            nn.init.zeros_(self.modulate.weight)
            nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, hidden: Tensor | None = None, maps: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, out, 2H, 2W), scaled and shifted by a performance's hidden layer (B, HIDDEN).

        maps: (B, M, S, S) outlines in 0..1, which are averaged to this size and added through a convolution.
        """
        shuffled = F.pixel_shuffle(self.expand(x), 2)
        if self.outline is not None and maps is not None:
            factor = maps.shape[-1] // shuffled.shape[-1]
            shuffled = shuffled + self.outline(F.avg_pool2d(maps, factor) if factor > 1 else maps)
        shuffled = F.leaky_relu(shuffled, SLOPE, inplace=True)
        if self.modulate is not None and hidden is not None:
            scale, shift = self.modulate(hidden)[:, :, None, None].chunk(2, 1)
            shuffled = shuffled * (1 + scale) + shift
        return cast(Tensor, self.refine(shuffled))


def layout(size: int, base: int = 0) -> tuple[int, int]:
    """Side of the smallest feature map, `base` or by the size, and the number of halvings from the crop to it."""
    base = base or max(4, size // 32)
    return base, int(math.log2(size // base))


def widths(width: int, size: int, base: int = 0) -> list[int]:
    """Channels after each halving of a crop: they double with every one, up to eight times."""
    return [width * min(2**level, 8) for level in range(layout(size, base)[1])]


def convolutions(config: TrainConfig) -> nn.Sequential:
    """Convolutions from (B, 3, S, S) to (B, C, base, base), each halving the size."""
    layers: list[nn.Module] = []
    channels = 3
    for level, out in enumerate(widths(config.encoder_width, config.core, config.base)):
        kernel = 5 if level == 0 else 3
        layers += [nn.Conv2d(channels, out, kernel, 2, kernel // 2), nn.LeakyReLU(SLOPE)]
        channels = out
    body = nn.Sequential(*layers)
    for layer in body:
        if isinstance(layer, nn.Conv2d):
            he(layer)
    return body


class Performance(nn.Module):
    """Code of a performance, (B, N) from inputs (B, K); see `train.drive`."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.read = nn.Linear(len(NAMES), HIDDEN)
        self.code = nn.Linear(HIDDEN, config.latent - picture_code(config))
        for layer in (self.read, self.code):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)

    def forward(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K) to the code (B, N), and the hidden layer (B, HIDDEN) that modulates the decoders."""
        hidden = F.leaky_relu(self.read(scores), SLOPE)
        return self.code(hidden), hidden


def picture_code(config: TrainConfig) -> int:
    """Number of values in the bottleneck that are read from the crop."""
    if config.drive != "scores":
        return config.latent
    return min(max(1, round(config.picture_share * config.latent)), config.latent - 1)


def bottleneck(config: TrainConfig, values: int | None = None) -> tuple[nn.Linear, nn.Linear]:
    """Linear layers from the smallest feature map to `values` numbers, and from `latent` to a decoder's input."""
    cells = layout(config.core, config.base)[0] ** 2
    squeeze = nn.Linear(widths(config.encoder_width, config.core, config.base)[-1] * cells, values or config.latent)
    expand = nn.Linear(config.latent, widths(config.decoder_width, config.core, config.base)[-1] * cells)
    # torch's default would shrink what passes each of the two by a factor of three.
    nn.init.normal_(squeeze.weight, std=squeeze.in_features**-0.5)
    nn.init.kaiming_normal_(expand.weight, a=SLOPE)
    return squeeze, expand


def he(layer: nn.Conv2d, gain: float = 1.0) -> None:
    """Initialise a convolution for leaky ReLU as in He et al. 2015 (arXiv:1502.01852), times a gain; zero bias."""
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    with torch.no_grad():
        layer.weight.mul_(gain)
    nn.init.zeros_(cast(nn.Parameter, layer.bias))


def icnr(layer: nn.Conv2d, gain: float = 1.0) -> None:
    """Initialise a convolution, times a gain, so that pixel shuffle starts as nearest-neighbour upsampling."""
    quarter = torch.empty(layer.out_channels // 4, *layer.weight.shape[1:])
    nn.init.kaiming_normal_(quarter, a=SLOPE)
    with torch.no_grad():
        layer.weight.copy_(quarter.repeat_interleave(4, dim=0)).mul_(gain)
    nn.init.zeros_(cast(nn.Parameter, layer.bias))
