"""Growth of a network: finest levels that are added to a trained one, for crops of twice the side (`--grow`).

The trained levels stay at the resolutions at which they were trained. The enlarged picture that they draw is the base
of the new one, to which each new level adds what it draws (output skips, Karras et al. 2020, arXiv:1912.04958); the
encoder's new levels add to what its first layer reads in the shrunk crop. What is added starts at zero, so that at
first the grown network draws the small network's picture, enlarged. Unlike in Karras et al. 2018 (arXiv:1710.10196)
nothing is blended over time, so that a step depends on the weights alone and a render needs no further state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from curate.errors import UsageError
from train.config import FIXED_ON_RESUME, PRESETS, SIZES, TrainConfig, config_of, flag
from train.layers import SLOPE, Residual, Upsample, he

LEAST = 4
"""Fewest channels of a level."""
OWN = tuple(name for name in FIXED_ON_RESUME if name not in ("size", "grown", "seed"))
"""Options that a grown run has from the small one."""
PRESET_OF = {128: "small", 256: "full", 512: "film"}
"""Preset of what does not come from the small run, by the grown run's size."""


class Read(nn.Module):
    """New level of the encoder: from crops (B, 3, 2R, 2R) to what it adds to the next level, (B, out, R / 2, R / 2)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.read = nn.Conv2d(3, channels, 5, 2, 2)
        self.join = nn.Conv2d(channels, out, 3, 2, 1)
        he(self.read)
        _zero(self.join)

    def forward(self, crops: Tensor, finer: Tensor | None) -> Tensor:
        """`finer`: what the level above adds, (B, channels, R, R); None for the finest."""
        seen = self.read(crops)
        return cast(Tensor, self.join(F.leaky_relu(seen if finer is None else seen + finer, SLOPE)))


class Draw(nn.Module):
    """New level of a decoder: features (B, C, R, R) and a picture to features and a picture of twice the side."""

    def __init__(self, channels: int, out: int, factor: int, residuals: int, **more: bool) -> None:
        super().__init__()
        self.refine = nn.Sequential(*(Residual(channels) for _ in range(residuals)))
        self.enlarge = Upsample(channels, out, 0, **more)
        self.head = nn.Conv2d(out, 4 * factor**2, 3, padding=1)
        self.factor = factor
        _zero(self.head)

    def forward(self, x: Tensor, drawn: Tensor, hidden: Tensor | None, maps: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features (B, out, 2R, 2R), and the picture (B, 4, S, S) enlarged, with what this level draws added."""
        x = self.enlarge(self.refine(x), hidden, maps)
        larger = F.interpolate(drawn, scale_factor=2, mode="bilinear", align_corners=False)
        return x, larger + shuffled(self.head(x), self.factor)


def finer_reads(config: TrainConfig) -> nn.ModuleList:
    """The encoder's levels that were added, the coarsest first: a further growth only appends."""
    wide = [config.encoder_width, *(max(config.encoder_width >> n, LEAST) for n in range(1, config.grown + 1))]
    return nn.ModuleList(Read(own, coarser) for coarser, own in pairwise(wide))


def finer_draws(config: TrainConfig, channels: int, factor: int, **more: bool) -> nn.ModuleList:
    """A decoder's levels that were added, the coarsest first; the trained ones end with so many channels."""
    levels = []
    for _ in range(config.grown):
        out = max(channels // 2, LEAST)
        levels.append(Draw(channels, out, factor, config.residuals, **more))
        channels = out
    return nn.ModuleList(levels)


def read_finer(finer: nn.ModuleList, body: nn.Sequential, x: Tensor) -> Tensor:
    """Crops (B, 3, S, S) in -1..1 through an encoder's layers, to whose first one the added levels add theirs."""
    added: Tensor | None = None
    for number in reversed(range(len(finer))):
        added = finer[number](_shrunk(x, len(finer) - 1 - number), added)
    if added is None:
        return cast(Tensor, body(x))
    first, *others = body
    values = first(_shrunk(x, len(finer))) + added
    for layer in others:
        values = layer(values)
    return cast(Tensor, values)


def shuffled(drawn: Tensor, factor: int) -> Tensor:
    """(B, 4 f², R, R) to (B, 4, f R, f R)."""
    return drawn if factor == 1 else F.pixel_shuffle(drawn, factor)


def grows(small: TrainConfig, large: TrainConfig) -> bool:
    """Whether a network is another one with levels added."""
    same = replace(large, **{name: getattr(small, name) for name in OWN}) == large
    return same and small.core == large.core and small.grown < large.grown


def grown_config(place: str, small: TrainConfig, preset: str | None, given: Mapping[str, Any]) -> TrainConfig:
    """Configuration of a run that is grown from the run `place`, with the given fields; the rest is the preset's.

    Without a preset and a size the side is doubled. Raises UsageError for a size that it cannot grow to, or for an
    option of the network that differs from the small run's.
    """
    size = int(given.get("size") or (PRESETS[preset].size if preset else 2 * small.size))
    sizes = [small.size << times for times in (1, 2, 3) if small.size << times in SIZES]
    if size not in sizes:
        wanted = f"give --size {' or '.join(map(str, sizes))}" if sizes else "there is no larger size"
        raise UsageError(f"--grow {place}: its crops have {small.size} px, which cannot grow to {size} px: {wanted}")
    own = {name: getattr(small, name) for name in OWN}
    for name in own:
        if name in given and given[name] != own[name]:
            raise UsageError(f"{flag(name)} {given[name]}: --grow takes {own[name]} from {place}: leave the option out")
    grown = small.grown + (size // small.size).bit_length() - 1
    return config_of(preset or PRESET_OF[size], **{**given, **own, "size": size, "grown": grown})


def _zero(layer: nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(cast(nn.Parameter, layer.bias))


def _shrunk(x: Tensor, times: int) -> Tensor:
    """Halved so many times, by the mean."""
    return F.avg_pool2d(x, 2**times) if times else x
