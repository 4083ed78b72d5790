"""Who the two sides of a training are: compared by identity, since names alone can be wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from curate.dataset.faceset import Faceset
from curate.errors import UsageError, WorkError
from curate.scores.identity import SAME_PERSON
from curate.words import quoted
from train.run import Run

log = logging.getLogger(__name__)


def check_people(facesets: Mapping[str, Faceset], run: Run | None) -> None:
    """Raise UsageError if a faceset shows another person than the run to be resumed; warn where both sides are one.

    The nearest of their looks are compared; nothing is where a side has no identity vector, or one of another identity
    model.
    """
    looks = {name: _looks(faceset) for name, faceset in facesets.items()}
    for name, side in (("source", run.source), ("target", run.target)) if run is not None else ():
        alike = side.identifier == facesets[name].settings.identifier
        apart = _apart(looks[name], side.known if alike else ())
        if apart is not None and apart >= SAME_PERSON:
            raise UsageError(
                f"--resume: {facesets[name].folder} shows another person than the {name} of this run (identity "
                f"distance {apart:.2f}, limit {SAME_PERSON:g}): start a new run with --out, or name the subject with "
                f"faceset people {quoted(facesets[name].folder)}"
            )
    alike = facesets["source"].settings.identifier == facesets["target"].settings.identifier
    both = _apart(looks["source"], looks["target"]) if alike else None
    if both is not None and both < SAME_PERSON and facesets["source"].folder != facesets["target"].folder:
        log.warning(
            "source and target look like one person (identity distance %.2f, limit %g): check the subject of each with "
            "faceset people", both, SAME_PERSON,
        )  # fmt: skip


def _looks(faceset: Faceset) -> list[Sequence[float]]:
    """Vectors that stand for the subject: the means of its faces in each look, and the looks of its anchor."""
    try:
        means: list[Sequence[float]] = faceset.looks().tolist()
    except WorkError:
        return []
    return [*means, *(faceset.anchor.looks if faceset.anchor is not None else ())]


def _apart(some: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> float | None:
    """Least distance between vectors of two people; None where one has none."""
    return min((float(np.linalg.norm(np.subtract(a, b))) for a in some for b in others), default=None)
