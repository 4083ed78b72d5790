"""Swap network: one encoder for both faces, and decoders that draw each face and its mask.

Two architectures of DeepFaceLab (Perov et al. 2020, arXiv:2005.05535). "df", as in the first face-swap autoencoders
(deepfakes/faceswap "original"): one decoder per face; the target's crop through the source's decoder is the swap.
"liae": one decoder for both, which reads two codes: `ab` from layers trained on both faces, `b` from layers trained on
the target alone. The source is drawn from (ab, ab), the target from (b, ab); the target's crop drawn from (ab, ab) is
the swap. The decoder has then been trained on the target's light and expression, while its identity stays in b.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.config import TrainConfig
from train.layers import SLOPE, Upsample, bottleneck, convolutions, he, layout, widths

SIDES = ("source", "target")


class Trunk(nn.Module):
    """Convolutional encoder from (B, 3, S, S) in 0..1 to (B, N), the flattened smallest feature map."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.body = convolutions(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, N)."""
        return cast(Tensor, self.body(x * 2 - 1).flatten(1))


class Encoder(Trunk):
    """Encoder with a bottleneck, from (B, 3, S, S) in 0..1 to (B, C, base, base)."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        self.base = layout(config.size)[0]
        self.squeeze, self.expand = bottleneck(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, C, base, base)."""
        return _map(self.expand(self.squeeze(super().forward(x))), self.base)


class Intermediate(nn.Module):
    """Bottleneck from the trunk's (B, N) to a code (B, C, base, base)."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.base = layout(config.size)[0]
        self.squeeze, self.expand = bottleneck(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N) to (B, C, base, base)."""
        return _map(self.expand(self.squeeze(x)), self.base)


class Decoder(nn.Module):
    """Decoder from (B, codes * C, base, base) to (B, 4, S, S): RGB, not clamped, and the mask's logit."""

    def __init__(self, config: TrainConfig, codes: int = 1) -> None:
        super().__init__()
        first, *others = reversed(widths(config.decoder_width, config.size))
        channels = first * codes
        blocks: list[nn.Module] = []
        for out in others:
            blocks.append(Upsample(channels, out, config.residuals))
            channels = out
        last = max(config.decoder_width // 2, 4)
        blocks.append(Upsample(channels, last, 0))
        self.body = nn.Sequential(*blocks)
        self.head = nn.Conv2d(last, 4, 3, padding=1)
        he(self.head, 0.1)
        nn.init.constant_(cast(nn.Parameter, self.head.bias)[:3], 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, codes * C, base, base) to (B, 4, S, S)."""
        return cast(Tensor, self.head(self.body(x)))


class Swap(nn.Module, ABC):
    """Network of both sides; another training can start from its `encoder`."""

    encoder: Trunk

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstructions of each side's crops (B, 3, S, S), 0..1: (B, 4, S, S) RGB and mask logit, for both sides."""
        shared = self.encoder(torch.cat([source, target]))
        return self.draw(shared[: len(source)], "source"), self.draw(shared[len(source) :], "target")

    def through(self, crops: Tensor, side: str) -> Tensor:
        """Any crops (B, 3, S, S) drawn as `side` ("source" or "target"): (B, 4, S, S)."""
        return self.draw(self.encoder(crops), side)

    @abstractmethod
    def draw(self, encoded: Tensor, side: str) -> Tensor:
        """Encoded crops drawn as `side`: (B, 4, S, S)."""

    @abstractmethod
    def parts(self, side: str) -> tuple[nn.Module, ...]:
        """Modules that `draw` uses for a side."""


class Df(Swap):
    """Architecture df: both sides share the encoder with its bottleneck, and nothing else."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.source = Decoder(config)
        self.target = Decoder(config)

    def draw(self, encoded: Tensor, side: str) -> Tensor:
        """(B, C, base, base) to (B, 4, S, S)."""
        return cast(Tensor, self.parts(side)[0](encoded))

    def parts(self, side: str) -> tuple[nn.Module, ...]:
        """The side's decoder."""
        return (self.source if side == "source" else self.target,)


class Liae(Swap):
    """Architecture liae: both sides share all but `inter_b`, the target's own code; the encoder has no bottleneck."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.encoder = Trunk(config)
        self.inter_ab = Intermediate(config)
        self.inter_b = Intermediate(config)
        self.decoder = Decoder(config, codes=2)

    def draw(self, encoded: Tensor, side: str) -> Tensor:
        """(B, N) to (B, 4, S, S): from the codes (ab, ab) as the source, from (b, ab) as the target."""
        shared = self.inter_ab(encoded)
        own = shared if side == "source" else self.inter_b(encoded)
        return cast(Tensor, self.decoder(torch.cat([own, shared], 1)))

    def parts(self, side: str) -> tuple[nn.Module, ...]:
        """The intermediates that a side uses, and the decoder."""
        return (self.inter_ab, self.decoder) if side == "source" else (self.inter_ab, self.inter_b, self.decoder)


def build(config: TrainConfig) -> Swap:
    """New network, the same for the same seed; its weights are channels-last, which is faster on CPUs and GPUs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Df(config) if config.arch == "df" else Liae(config)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs forget this form
        return model


def picture(output: Tensor) -> tuple[Tensor, Tensor]:
    """RGB (B, 3, S, S) clamped to 0..1 and mask (B, 1, S, S) in 0..1 from a decoder's output, float32."""
    output = output.float()
    return output[:, :3].clamp(0, 1), output[:, 3:].sigmoid()


def parameter_counts(model: Swap) -> dict[str, int]:
    """Number of parameters of the encoder, of the modules that draw each side, and in total.

    Modules that draw both sides (liae's inter_ab and decoder) count for each side, and once in the total.
    """
    counts = {side: sum(map(_count, model.parts(side))) for side in SIDES}
    return {"encoder": _count(model.encoder), **counts, "all": _count(model)}


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _map(values: Tensor, base: int) -> Tensor:
    """(B, C * base * base) to (B, C, base, base)."""
    return F.leaky_relu(values, SLOPE).view(len(values), -1, base, base)
