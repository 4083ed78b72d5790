"""Held-out faces in groups: which kinds are reconstructed worst, and whether more faces of that kind would help."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.page.curves import decimal

STANDS_OUT = 0.02
"""SSIM that a group lies below the others of its side at least, before it is told from them."""
ERRORS = 3.0
"""And so many standard errors of the difference: neighbouring frames are not independent."""
FEW = 0.5
"""A group with less than this share of its side's mean number of faces in the set has few."""
PICTURED = 4
"""Worst faces that a group keeps."""


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
    """Degrees, NaN if unknown; above 0 turned to the subject's left."""
    pitch: float
    """Degrees, NaN if unknown; above 0 looks down."""
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
    """Mean."""
    others: float
    """Mean of the side's other faces; NaN if there are none."""
    held_out: int
    in_set: int
    few: bool
    """Far fewer faces in the set than the side's groups have on average, or none."""
    stands_out: bool
    """Worse than the side's other faces by more than chance."""
    worst: tuple[HeldOut, ...]
    """Worst first."""

    @property
    def title(self) -> str:
        """Its name, also where it has none."""
        return self.name or "faces without a group"

    @property
    def advice(self) -> str:
        """What data would help."""
        if self.stands_out:
            if not self.in_set:
                return "None in the set: add some."
            if self.few:
                return f"Only {self.in_set:,} in the set: more of them would help."
            return f"{self.in_set:,} in the set already: look for better ones, sharper and uncovered, before more."
        if math.isnan(self.others):
            return "The only group of its side."
        if self.held_out < 3:
            return "Too few held out to tell."
        return "Few in the set, and yet like the others." if self.few else "Like the others."


def worst_groups(faces: Sequence[HeldOut]) -> list[Group]:
    """Groups of either side by their mean SSIM, worst first. Faces whose SSIM is not a number are left out."""
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
    """Standard error of the difference of two means; a group of less than three spreads as the others do."""
    spread = float(np.var(mine, ddof=1)) if len(mine) > 2 else float(np.var(rest))
    return math.sqrt(spread / len(mine) + float(np.var(rest)) / len(rest))


def summary(groups: Sequence[Group]) -> str:
    """What the groups say as a whole, in one or two sentences."""
    if not groups:
        return "No held-out face was measured."
    if all(math.isnan(g.others) for g in groups):
        return "The held-out faces of a side are all in one group, so none can be told from the others."
    out = [g for g in groups if g.stands_out]
    if not out:
        worst = next(g for g in groups if not math.isnan(g.others))
        return (
            f"No group stands out: the worst, the {worst.side}'s “{worst.title}”, has SSIM {decimal(worst.ssim)} "
            f"against {decimal(worst.others)} of its others. More faces of one kind are not the remedy."
        )
    worst = out[0]
    more = f" {len(out) - 1} more {'group stands' if len(out) == 2 else 'groups stand'} out." if len(out) > 1 else ""
    return (
        f"The worst are the {worst.side}'s faces “{worst.title}”: SSIM {decimal(worst.ssim)} against "
        f"{decimal(worst.others)} of its others. {worst.advice}{more}"
    )
