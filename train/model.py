"""Swap network: one encoder for both faces, and decoders that draw each face and its mask.

Two architectures of DeepFaceLab (Perov et al. 2020, arXiv:2005.05535). "df", as in the first face-swap autoencoders
(deepfakes/faceswap "original"): one decoder per face; the target's crop through the source's decoder is the swap.
"liae": one decoder for both, which reads two codes: `ab` from layers trained on both faces, `b` from layers trained on
the target alone. The source is drawn from (ab, ab), the target from (b, ab); the target's crop drawn from (ab, ab) is
the swap. The decoder has then been trained on the target's light and expression, while its identity stays in b.

With `--drive scores` a performance, `train.drive`'s scores through two layers, fills most of the bottleneck that both
faces share; the crop fills the rest, and only of some faces, so that the decoders learn to follow the scores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from train.config import TrainConfig
from train.drive import NAMES
from train.growth import finer_draws, finer_reads, read_finer, shuffled
from train.layers import SLOPE, Performance, Upsample, bottleneck, convolutions, he, icnr, layout, picture_code, widths

SIDES = ("source", "target")


class Encoded(NamedTuple):
    """Encoded crops and, if the run is driven by scores, what modulates the decoders."""

    code: Tensor
    """df: (B, C, base, base); liae: (B, N) of the trunk, and then `performed` and `seen` are not None."""
    hidden: Tensor | None = None
    """(B, HIDDEN) of `train.layers.Performance`."""
    performed: Tensor | None = None
    """(B, N) code of the performance."""
    seen: Tensor | None = None
    """(B, 1) 0 where the crop's own code is dropped, else 1."""
    maps: Tensor | None = None
    """(B, M, S, S) outlines in 0..1, if they drive the run."""

    def part(self, rows: slice) -> Encoded:
        """Some rows."""
        return Encoded(*(None if x is None else x[rows] for x in self))  # type: ignore[arg-type]  # code is never None

    def with_maps(self, outlines: Tensor | None) -> Encoded:
        """The same crops with other outlines (B, M, S, S), uint8 or in 0..1; its code does not depend on them."""
        return self._replace(maps=shares(outlines))


class Trunk(nn.Module):
    """Convolutional encoder from (B, 3, S, S) in 0..1 to (B, N), the flattened smallest feature map."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.body = convolutions(config)
        self.finer = finer_reads(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, N)."""
        return read_finer(self.finer, self.body, x * 2 - 1).flatten(1)


class Intermediate(nn.Module):
    """Bottleneck from the trunk's (B, N) to a code (B, C, base, base); `driven`: it also reads a performance."""

    def __init__(self, config: TrainConfig, driven: bool) -> None:
        super().__init__()
        self.base = layout(config.core, config.base)[0]
        self.squeeze, self.expand = bottleneck(config, picture_code(config) if driven else config.latent)

    def forward(self, x: Tensor, performed: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        """(B, N) and the code of a performance to (B, C, base, base); `seen` (B, 1) multiplies the crop's own code."""
        return squeezed(self, x, performed, seen)


class Encoder(Trunk):
    """Encoder with a bottleneck, from (B, 3, S, S) in 0..1 to (B, C, base, base)."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        self.base = layout(config.core, config.base)[0]
        self.squeeze, self.expand = bottleneck(config, picture_code(config))

    def forward(self, x: Tensor, performed: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        """(B, 3, S, S) and the code of a performance to (B, C, base, base); see `Intermediate`."""
        return squeezed(self, super().forward(x), performed, seen)


class Decoder(nn.Module):
    """Decoder from (B, codes * C, base, base) to (B, 4, S, S): RGB, not clamped, and the mask's logit."""

    def __init__(self, config: TrainConfig, codes: int = 1) -> None:
        super().__init__()
        first, *others = reversed(widths(config.decoder_width, config.core, config.base))
        channels = first * codes
        blocks: list[nn.Module] = []
        more = {"modulated": config.drive == "scores" and config.modulation, "outlined": config.drive == "outlines"}
        for out in others:
            blocks.append(Upsample(channels, out, config.residuals, **more))
            channels = out
        self.factor = 2 if config.head == "shuffle" else 1
        if self.factor == 1:
            last = max(config.decoder_width // 2, 4)
            blocks.append(Upsample(channels, last, 0, **more))
            channels = last
        self.body = nn.Sequential(*blocks)
        self.head = nn.Conv2d(channels, 4 * self.factor**2, 3, padding=1)
        if self.factor == 1:
            he(self.head, 0.1)
        else:
            icnr(self.head, 0.1)
        nn.init.constant_(cast(nn.Parameter, self.head.bias)[: 3 * self.factor**2], 0.5)
        self.finer = finer_draws(config, channels, self.factor, **more)

    def forward(self, x: Tensor, hidden: Tensor | None = None, maps: Tensor | None = None) -> Tensor:
        """(B, codes * C, base, base) to (B, 4, S, S); `hidden` (B, HIDDEN), `maps` (B, M, S, S) enter every level."""
        for block in self.body:
            x = block(x, hidden, maps)
        drawn = shuffled(self.head(x), self.factor)
        for level in self.finer:
            x, drawn = level(x, drawn, hidden, maps)
        return drawn


class Swap(nn.Module, ABC):
    """Network of both sides; another training can start from its `encoder` and `performance`."""

    encoder: Trunk
    performance: Performance | None
    """None: not driven by scores."""
    outlined: bool
    """Whether outlines drive it."""

    def forward(
        self, source: Tensor, target: Tensor, scores: Tensor | None = None, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Reconstructions of each side's crops (B, 3, S, S), 0..1: (B, 4, S, S) RGB and mask logit, for both sides.

        scores, seen: as in `encode`, the source's rows before the target's.
        """
        shared = self.encode(torch.cat([source, target]), scores, seen)
        count = len(source)
        return self.draw(shared.part(slice(count)), "source"), self.draw(shared.part(slice(count, None)), "target")

    def through(self, crops: Tensor, side: str, scores: Tensor | None = None) -> Tensor:
        """Any crops (B, 3, S, S) drawn as `side` ("source" or "target"): (B, 4, S, S)."""
        return self.draw(self.encode(crops, scores), side)

    def encode(self, crops: Tensor, scores: Tensor | None = None, seen: Tensor | None = None) -> Encoded:
        """Crops (B, 3, S, S) encoded.

        scores: (B, K) inputs of `train.drive.Drive`, or outlines (B, M, S, S), uint8 or in 0..1; None: unknown, each
        counts as 0. seen: (B, 1) factor of the crop's own part of the bottleneck, None: 1. Neither is read by a network
        that the picture drives.
        """
        if self.outlined:
            return self.combine(crops, Encoded(crops, seen=seen, maps=shares(scores)))
        if self.performance is None:
            return self.combine(crops, Encoded(crops))
        known = crops.new_zeros(len(crops), len(NAMES)) if scores is None else scores
        performed, hidden = self.performance(known)
        return self.combine(crops, Encoded(crops, hidden, performed, seen))

    @abstractmethod
    def combine(self, crops: Tensor, performance: Encoded) -> Encoded:
        """Crops encoded together with the performance in `performance`, whose own `code` is not read."""

    @abstractmethod
    def draw(self, encoded: Encoded, side: str) -> Tensor:
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
        self.performance = Performance(config) if config.drive == "scores" else None
        self.outlined = config.drive == "outlines"

    def combine(self, crops: Tensor, performance: Encoded) -> Encoded:
        """The code is what the decoders read, (B, C, base, base)."""
        code = self.encoder(crops, performance.performed, performance.seen)
        return performance._replace(code=code)

    def draw(self, encoded: Encoded, side: str) -> Tensor:
        """(B, C, base, base) to (B, 4, S, S)."""
        return cast(Tensor, self.parts(side)[0](encoded.code, encoded.hidden, encoded.maps))

    def parts(self, side: str) -> tuple[nn.Module, ...]:
        """The side's decoder."""
        return (self.source if side == "source" else self.target,)


class Liae(Swap):
    """Architecture liae: both sides share all but `inter_b`, the target's own code; the encoder has no bottleneck."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.encoder = Trunk(config)
        self.inter_ab = Intermediate(config, driven=True)
        self.inter_b = Intermediate(config, driven=False)
        self.decoder = Decoder(config, codes=2)
        self.performance = Performance(config) if config.drive == "scores" else None
        self.outlined = config.drive == "outlines"

    def combine(self, crops: Tensor, performance: Encoded) -> Encoded:
        """The code is the trunk's, (B, N)."""
        return performance._replace(code=self.encoder(crops))

    def draw(self, encoded: Encoded, side: str) -> Tensor:
        """(B, N) to (B, 4, S, S): from the codes (ab, ab) as the source, from (b, ab) as the target."""
        shared = self.inter_ab(encoded.code, encoded.performed, encoded.seen)
        own = shared if side == "source" else self.inter_b(encoded.code)
        return cast(Tensor, self.decoder(torch.cat([own, shared], 1), encoded.hidden, encoded.maps))

    def parts(self, side: str) -> tuple[nn.Module, ...]:
        """The intermediates that a side uses, and the decoder."""
        return (self.inter_ab, self.decoder) if side == "source" else (self.inter_ab, self.inter_b, self.decoder)


def shares(outlines: Tensor | None) -> Tensor | None:
    """Outlines (B, M, S, S), uint8 or in 0..1, as shares of each pixel in 0..1."""
    return outlines if outlines is None or outlines.is_floating_point() else outlines.float() / 255


def build(config: TrainConfig) -> Swap:
    """New network, the same for the same seed; its weights are channels-last, which is faster on CPUs and GPUs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Df(config) if config.arch == "df" else Liae(config)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs forget this form
        return model


class _Unset(TorchFunctionMode):
    """Leaves tensors as they are: to fill those of the meta device imports torch's compiler, which takes seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        fills = func in (nn.init.normal_, nn.init.uniform_, Tensor.normal_, Tensor.uniform_)
        return next(iter((*args, *(kwargs or {}).values()))) if fills else func(*args, **(kwargs or {}))


def blank(config: TrainConfig) -> Swap:
    """The network on torch's meta device: its shapes, without values and without memory."""
    with torch.device("meta"), _Unset():
        return build(config)


def share_decoder(model: Swap) -> None:
    """Give both sides one decoder, which then draws everyone; those of liae share it already."""
    if isinstance(model, Df):
        model.target = model.source


def picture(output: Tensor) -> tuple[Tensor, Tensor]:
    """RGB (B, 3, S, S) clamped to 0..1 and mask (B, 1, S, S) in 0..1 from a decoder's output, float32."""
    output = output.float()
    return output[:, :3].clamp(0, 1), output[:, 3:].sigmoid()


def parameter_counts(model: Swap) -> dict[str, int]:
    """Number of parameters of the encoder, of the modules that draw each side, and in total.

    What reads the scores counts with the encoder.
    Modules that draw both sides (liae's inter_ab and decoder) count for each side, and once in the total.
    """
    counts = {side: sum(map(_count, model.parts(side))) for side in SIDES}
    performance = 0 if model.performance is None else _count(model.performance)
    return {"encoder": _count(model.encoder) + performance, **counts, "all": _count(model)}


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def squeezed(layers: Encoder | Intermediate, x: Tensor, performed: Tensor | None, seen: Tensor | None) -> Tensor:
    """(B, N) through a bottleneck to (B, C, base, base); see `Intermediate`."""
    code = layers.squeeze(x)
    if seen is not None:
        code = code * seen
    if performed is not None:
        code = torch.cat([code, performed], 1)
    values = F.leaky_relu(layers.expand(code), SLOPE)
    return values.view(values.shape[0], -1, layers.base, layers.base)
