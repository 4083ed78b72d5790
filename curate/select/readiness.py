"""Readiness: whether a source has what a target's performance needs, in one sentence with its reasons."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset
from curate.select.gaps import GAP_COLUMNS, THROUGHOUT, gaps_for, missed_by
from curate.select.options import Weights
from curate.select.similarity import net
from curate.select.space import posed

READY, PARTLY = 0.9, 0.5
"""Shares of the target from which on the footage is enough, and enough for a part."""
TURNED, TILTED = 25.0, 15.0
"""Degrees of yaw and pitch beyond which a face is not frontal."""
KIND = math.sqrt(-2 * math.log(0.75))
"""Faces nearer than this, in widths of the space, are of one kind (similarity 0.75)."""
A_KIND = 1.0
"""Seconds of footage that show one kind of face; the unit of the minutes worth keeping."""
ROUND = 5
MOST_KINDS = 600


@dataclass(frozen=True)
class Region:
    """Faces of the target that are turned alike."""

    words: str
    share: float
    """Of the target's faces, 0..1."""
    had: float
    """Share of these that the source has a counterpart for."""


@dataclass(frozen=True)
class Readiness:
    """Whether the footage of a source is enough for a target."""

    verdict: str
    had: float
    """Share of the target's faces that the source has a counterpart for, 0..1; differences throughout do not count."""
    regions: tuple[Region, ...]
    film: float
    """Seconds to film of what is missing; 0 if nothing is."""
    reasons: tuple[str, ...]
    """The gaps, a sentence each, the largest first."""


def readiness(source: Faceset, target: Faceset, weights: Weights | None = None) -> Readiness:
    """Whether the source's kept faces are enough for the target's; see `curate.select.gaps` for what is missed.

    Raises WorkError where a table is missing or has no face with a head pose.
    """
    have, want = posed(source.table(GAP_COLUMNS)), posed(target.table(GAP_COLUMNS))
    found = gaps_for(source, target, weights)
    throughout = [gap for gap in found if gap.axis is not None and gap.share >= THROUGHOUT]
    others = [gap for gap in found if gap not in throughout]
    points, missed = missed_by(have, want, weights, [gap.axis for gap in throughout if gap.axis])
    had, film, regions = float(1 - missed.mean()), _seconds(points[missed]), _regions(want, missed)
    words = _verdict(had, regions, others[0].words if others else "", film)
    if throughout:
        words += f" Throughout, the target differs from the footage: {'; '.join(g.words for g in throughout)}."
    return Readiness(words, had, regions, film, tuple(gap.sentence() for gap in found[:3]))


def _seconds(points: NDArray[np.float32]) -> float:
    """Seconds of footage that show every kind of face among the points, rounded up."""
    if not len(points):
        return 0.0
    kinds, _ = net(points, KIND, MOST_KINDS)
    return float(math.ceil(len(kinds) * A_KIND / ROUND) * ROUND)


def _regions(want: pd.DataFrame, missed: NDArray[np.bool_]) -> tuple[Region, ...]:
    """Frontal, turned and tilted faces, the largest share first."""
    yaw, pitch = (want[name].to_numpy(np.float64) for name in ("yaw", "pitch"))
    turned = np.abs(yaw) > TURNED
    rows = {
        "frontal": ~turned & (np.abs(pitch) <= TILTED),
        "turned left": yaw > TURNED,
        "turned right": yaw < -TURNED,
        "looking down": ~turned & (pitch > TILTED),
        "looking up": ~turned & (pitch < -TILTED),
    }
    found = [Region(w, float(r.mean()), float(1 - missed[r].mean())) for w, r in rows.items() if r.any()]
    return tuple(sorted(found, key=lambda region: -region.share))


def _verdict(had: float, regions: tuple[Region, ...], lacks: str, film: float) -> str:
    share = f"{100 * had:.0f} %"
    more = (
        f"film about {film:.0f} s, beginning with faces that are {lacks}"
        if lacks
        else f"film about {film:.0f} s like the target's"
    )
    if had >= READY:
        return f"Ready: the footage has faces like {share} of the target's."
    good = [r for r in regions if r.had >= READY and r.share >= 0.05]
    if had >= PARTLY and 2 * sum(r.share for r in good[:2]) > had:
        listed = " and ".join(f"{r.words} faces ({100 * r.share:.0f} % of it)" for r in good[:2])
        return f"Enough for the target's {listed}, {share} of it in all; for the rest, {more}."
    if had >= PARTLY:
        return f"Enough for {share} of the target; for the rest, {more}."
    return f"Not ready: the footage has faces like only {share} of the target's; {more}."
