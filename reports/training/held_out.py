"""Groups of held-out faces: which are reconstructed worst, and whether more training faces like them would help."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.page.curves import decimal

STANDS_OUT = 0.02
"""Smallest SSIM difference at which a group counts as worse than the rest of its side."""
ERRORS = 3.0
"""Smallest difference in standard errors; above 2, because neighbouring frames are not independent."""
FEW = 0.5
"""A group has few training faces if it has less than this share of its side's mean number."""
PICTURED = 4
"""Worst faces of a group that are shown."""


@dataclass(frozen=True)
class HeldOut:
    """One held-out face and how well it was reconstructed."""

    side: str
    """source or target."""
    face_id: str
    clip: str
    time: float
    """Seconds."""
    group: str
    """Name of its cluster in words; empty if there is none."""
    yaw: float
    """Degrees, NaN if unknown; above 0: turned to the subject's left."""
    pitch: float
    """Degrees, NaN if unknown; above 0: looking down."""
    ssim: float
    """Under the mask, -1..1."""
    in_set: int
    """Faces of the same group that are trained on."""
    crop: NDArray[np.uint8]
    """(S, S, 3) RGB."""
    reconstruction: NDArray[np.uint8]
    """(S, S, 3) RGB."""


@dataclass(frozen=True)
class Group:
    """The held-out faces of one group of one side."""

    side: str
    name: str
    ssim: float
    """Mean SSIM of its held-out faces."""
    others: float
    """Mean SSIM of the side's other held-out faces; NaN if there are none."""
    held_out: int
    """Held-out faces."""
    in_set: int
    """Training faces."""
    few: bool
    """Far fewer training faces than the side's groups have on average, or none."""
    stands_out: bool
    """Significantly worse than the side's other faces."""
    worst: tuple[HeldOut, ...]
    """Its worst faces, worst first."""

    @property
    def title(self) -> str:
        """Its name, or a stand-in where it has none."""
        return self.name or "ungrouped faces"

    @property
    def advice(self) -> str:
        """Recommendation: what training data would help."""
        if self.stands_out:
            if not self.in_set:
                return "There are no training faces like these: add some."
            if self.few:
                return f"There are only {self.in_set:,} training faces like these: add more."
            return f"There are {self.in_set:,} training faces already: add sharper, unoccluded ones instead of more."
        if math.isnan(self.others):
            return "This is the only group of its side."
        if self.held_out < 3:
            return "There are too few held-out faces to judge."
        return "Few training faces, but no worse than the rest." if self.few else "No worse than the rest."


def worst_groups(faces: Sequence[HeldOut]) -> list[Group]:
    """Groups of both sides by mean SSIM, worst first. Faces whose SSIM is NaN are left out."""
    sides: dict[str, dict[str, list[HeldOut]]] = defaultdict(lambda: defaultdict(list))
    for face in faces:
        if math.isfinite(face.ssim):
            sides[face.side][face.group].append(face)
    found = [_group(name, members, groups) for groups in sides.values() for name, members in groups.items()]
    return sorted(found, key=lambda g: (g.ssim, g.side, g.name))


def _group(name: str, members: list[HeldOut], groups: dict[str, list[HeldOut]]) -> Group:
    mine = np.array([f.ssim for f in members])
    rest = np.array([f.ssim for other, fs in groups.items() if other != name for f in fs])
    in_set = {other: max(f.in_set for f in fs) for other, fs in groups.items()}
    usual = sum(in_set.values()) / len(in_set)
    others = float(rest.mean()) if len(rest) else math.nan
    return Group(
        side=members[0].side,
        name=name,
        ssim=float(mine.mean()),
        others=others,
        held_out=len(members),
        in_set=in_set[name],
        few=in_set[name] == 0 or in_set[name] < FEW * usual,
        stands_out=bool(len(rest)) and others - float(mine.mean()) >= max(STANDS_OUT, ERRORS * _error(mine, rest)),
        worst=tuple(sorted(members, key=lambda f: f.ssim)[:PICTURED]),
    )


def _error(mine: NDArray[np.float64], rest: NDArray[np.float64]) -> float:
    """Standard error of the difference of two means; a group of fewer than three is given the spread of the others."""
    spread = float(np.var(mine, ddof=1)) if len(mine) > 2 else float(np.var(rest))
    return math.sqrt(spread / len(mine) + float(np.var(rest)) / len(rest))


def summary(groups: Sequence[Group]) -> str:
    """The finding about all groups in one to three sentences."""
    if not groups:
        return "Held-out faces have not been evaluated yet."
    if all(math.isnan(g.others) for g in groups):
        return "All held-out faces of a side are in one group, so groups cannot be compared; the weakest faces follow."
    out = [g for g in groups if g.stands_out]
    if not out:
        worst = next(g for g in groups if not math.isnan(g.others))
        return (
            f"No group stands out. The weakest is “{worst.title}” ({worst.side}), with SSIM {decimal(worst.ssim)} "
            f"against {decimal(worst.others)} for the rest of its side. Adding faces of one kind will not help."
        )
    worst = out[0]
    more = f" {len(out) - 1} more {'group stands' if len(out) == 2 else 'groups stand'} out." if len(out) > 1 else ""
    return (
        f"The weakest group is “{worst.title}” ({worst.side}), with SSIM {decimal(worst.ssim)} against "
        f"{decimal(worst.others)} for the rest of its side. {worst.advice}{more}"
    )
