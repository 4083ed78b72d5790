"""The network: one encoder for both faces, one decoder each, which also draws the face's mask.

Shared encoder and two decoders as in the first face-swap autoencoders (deepfakes/faceswap "original", DeepFaceLab "df",
Perov et al. 2020, arXiv:2005.05535). Upsampling is pixel shuffle (Shi et al. 2016, arXiv:1609.05158) whose weights
start as nearest-neighbour upsampling (ICNR, Aitken et al. 2017, arXiv:1707.02937), so that no checkerboard is there to
unlearn. There is no normalisation over the batch: what comes out for a face does not depend on its neighbours.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.config import TrainConfig

SLOPE = 0.1
SIDES = ("source", "target")


class Residual(nn.Module):
    """x + two 3x3 convolutions of it; the second starts small, so the block starts near the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        _he(self.first)
        _he(self.second, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        change = self.second(F.leaky_relu(self.first(x), SLOPE))
        return F.leaky_relu(x + change, SLOPE)


class Upsample(nn.Module):
    """(B, C, H, W) to (B, out, 2H, 2W): 3x3 convolution, pixel shuffle, residual blocks."""

    def __init__(self, channels: int, out: int, residuals: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, out * 4, 3, padding=1)
        self.refine = nn.Sequential(*(Residual(out) for _ in range(residuals)))
        _icnr(self.expand)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out, 2H, 2W)."""
        shuffled = F.leaky_relu(F.pixel_shuffle(self.expand(x), 2), SLOPE)
        return cast(Tensor, self.refine(shuffled))


class Encoder(nn.Module):
    """(B, 3, S, S) in 0..1 to (B, C, base, base) through the bottleneck."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        base, halvings = layout(config.size)
        layers: list[nn.Module] = []
        channels = 3
        for level in range(halvings):
            out = config.encoder_width * min(2**level, 8)
            kernel = 5 if level == 0 else 3
            layers += [nn.Conv2d(channels, out, kernel, 2, kernel // 2), nn.LeakyReLU(SLOPE)]
            channels = out
        self.body = nn.Sequential(*layers)
        for layer in self.body:
            if isinstance(layer, nn.Conv2d):
                _he(layer)
        self.base = base
        self.out_channels = config.decoder_width * min(2 ** (halvings - 1), 8)
        self.squeeze = nn.Linear(channels * base * base, config.latent)
        self.expand = nn.Linear(config.latent, self.out_channels * base * base)
        # torch's default would shrink what passes each of the two by a factor of three.
        nn.init.normal_(self.squeeze.weight, std=self.squeeze.in_features**-0.5)
        nn.init.kaiming_normal_(self.expand.weight, a=SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, C, base, base)."""
        latent = self.squeeze(self.body(x * 2 - 1).flatten(1))
        return F.leaky_relu(self.expand(latent), SLOPE).view(-1, self.out_channels, self.base, self.base)


class Decoder(nn.Module):
    """(B, C, base, base) to (B, 4, S, S): RGB, not clamped, and the mask's logit."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        _, doublings = layout(config.size)
        widths = [config.decoder_width * min(2**level, 8) for level in reversed(range(doublings))]
        channels = widths[0]
        blocks: list[nn.Module] = []
        for out in widths[1:]:
            blocks.append(Upsample(channels, out, config.residuals))
            channels = out
        last = max(config.decoder_width // 2, 4)
        blocks.append(Upsample(channels, last, 0))
        self.body = nn.Sequential(*blocks)
        self.head = nn.Conv2d(last, 4, 3, padding=1)
        _he(self.head, 0.1)
        nn.init.constant_(cast(nn.Parameter, self.head.bias)[:3], 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, base, base) to (B, 4, S, S)."""
        return cast(Tensor, self.head(self.body(x)))


class Swap(nn.Module):
    """Both sides of one training."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.source = Decoder(config)
        self.target = Decoder(config)

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Each side's crops (B, 3, S, S), 0..1, through its own decoder: (B, 4, S, S) RGB and mask logit, twice."""
        shared = self.encoder(torch.cat([source, target]))
        return self.source(shared[: len(source)]), self.target(shared[len(source) :])

    def through(self, crops: Tensor, side: str) -> Tensor:
        """Any crops (B, 3, S, S) through the decoder of `side` ("source" or "target"): (B, 4, S, S)."""
        decoder = self.source if side == "source" else self.target
        return cast(Tensor, decoder(self.encoder(crops)))


def build(config: TrainConfig) -> Swap:
    """A fresh network; the same for the same seed. Weights lie channels-last, which is faster on CPUs and GPUs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Swap(config)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs forget this form
        return model


def picture(output: Tensor) -> tuple[Tensor, Tensor]:
    """RGB (B, 3, S, S) clamped to 0..1 and mask (B, 1, S, S) in 0..1 of a decoder's output, float32."""
    output = output.float()
    return output[:, :3].clamp(0, 1), output[:, 3:].sigmoid()


def layout(size: int) -> tuple[int, int]:
    """Side of the smallest feature map, and how often the crop is halved to it."""
    base = max(4, size // 32)
    return base, int(math.log2(size // base))


def parameter_counts(model: Swap) -> dict[str, int]:
    """Parameters of the encoder, of each decoder, and of all."""
    counts = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in (("encoder", model.encoder), ("source", model.source), ("target", model.target))
    }
    return {**counts, "all": sum(counts.values())}


def _he(layer: nn.Conv2d, gain: float = 1.0) -> None:
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    with torch.no_grad():
        layer.weight.mul_(gain)
    nn.init.zeros_(cast(nn.Parameter, layer.bias))


def _icnr(layer: nn.Conv2d) -> None:
    """Give the four outputs that pixel shuffle puts into one 2x2 block the same weights."""
    quarter = torch.empty(layer.out_channels // 4, *layer.weight.shape[1:])
    nn.init.kaiming_normal_(quarter, a=SLOPE)
    with torch.no_grad():
        layer.weight.copy_(quarter.repeat_interleave(4, dim=0))
    nn.init.zeros_(cast(nn.Parameter, layer.bias))
