"""Settings of compositing that change over time: other ones in some stretches of the footage."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

from render.compositing.settings import RenderSettings

RAMP = 6
"""Frames before and after a stretch over which numbers go from one value to the other, so that nothing jumps."""


@dataclass(frozen=True)
class Stretch:
    """Settings for the frames [first, end) of the footage."""

    first: int
    end: int
    settings: RenderSettings


@dataclass(frozen=True)
class Schedule:
    """Settings of every frame."""

    base: RenderSettings
    stretches: tuple[Stretch, ...] = ()
    """They do not overlap."""

    @functools.lru_cache(4096)  # noqa: B019 - both are small
    def at(self, frame: int) -> RenderSettings:
        """Settings of a frame: in a stretch its own; near one, numbers between both; elsewhere the base."""
        shares = [(_share(stretch, frame), stretch.settings) for stretch in self.stretches]
        share, own = max(shares, key=lambda pair: pair[0], default=(0.0, self.base))
        if share in (0.0, 1.0):
            return own if share else self.base
        mask = replace(
            self.base.mask,
            erode=_between(self.base.mask.erode, own.mask.erode, share),
            feather=_between(self.base.mask.feather, own.mask.feather, share),
        )
        numbers: dict[str, Any] = {
            name: _between(getattr(self.base, name), getattr(own, name), share)
            for name in ("relight", "sharpen", "opacity")
        }
        return replace(self.base, mask=mask, **numbers)


def _share(stretch: Stretch, frame: int) -> float:
    """How far a frame has the settings of a stretch, 0..1."""
    away = max(stretch.first - frame, frame - (stretch.end - 1), 0)
    return max(1 - away / RAMP, 0.0)


def _between(base: float, own: float, share: float) -> float:
    return base + share * (own - base)
