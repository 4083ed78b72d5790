"""Scores that drive the decoders: the target's performance as numbers, relative to each subject's own neutral.

With `--drive scores` the network is given, next to the crop, what curation measured on it: expression, gaze, head pose
and light. The same numbers have to mean the same performance in both faces. So expressions are relative to each
subject's own neutral, and what only moves one way from rest (a lid closes, a jaw opens) is counted from the subject's
own rest: a neutral is a mean, and the mean of a face that grimaces has its mouth open. Scales are fixed and not fitted
to a faceset: one network serves many people. A score that the source never shows is held at the edge of its range, and
a combination that it never shows becomes the nearest one that it does (train/span.py), since the source's decoder was
never taught what lies beyond.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.extract.normalise import Own
from curate.face.mesh import BLENDSHAPES
from curate.scores.expression import DISTANCES, Neutral, apply
from curate.types import Floats
from train.span import Span, span_of

log = logging.getLogger(__name__)

AXES = {"mouth_open": "jawOpen", "eyes_closed": "blink"}
"""Named axes that join blendshapes with distances of the mesh, which are steadier: their columns of the table."""
EXPRESSION = (*BLENDSHAPES, *AXES, "gaze_left", "gaze_up")
"""Scores that a faceset with 68 landmarks does not have."""
NAMES = (*EXPRESSION, "yaw", "pitch", "light_x", "light_y", "light_z")
"""All scores, in the order in which the network reads them."""
PLAIN = {**AXES, **{name: name for name in ("yaw", "pitch", "light_x", "light_y", "light_z")}}
"""Scores with a column of their own."""
COLUMNS = ("expression", "gaze", *PLAIN.values())
"""Columns of the table from which they come."""
SCALES = np.array([0.2] * len(BLENDSHAPES) + [0.3] * len(AXES) + [0.3] * 2 + [15.0] * 2 + [0.3] * 3, np.float32)
"""What counts as 1: about the standard deviation in lively footage (blendshapes, axes, gaze; degrees; unit vector)."""
CENTRES = np.array([0.0] * (len(NAMES) - 1) + [0.7], np.float32)
"""What counts as 0: the neutral, a frontal head, light from the front."""
ANCHORED = np.array([n in AXES or (n in BLENDSHAPES and not n.startswith("eyeLook")) for n in NAMES])
"""(K,) scores that move one way from rest."""
REST = 0.05
"""Quantile of a subject's faces at which such a score counts as at rest."""
MIN_FACES = 20
"""Faces below which the neutral counts as rest."""
TOGETHER = np.flatnonzero(ANCHORED)
"""Places of the scores that move together, muscles of one face: their combinations are held in the source's span. Gaze,
pose and light are free of them, and are held one by one."""
EDGE = 0.005
"""Share of the source's faces at either end that do not count for its range."""
TOLD = 0.02
"""Share of frames beyond the range from which a score is reported."""
UNTOLD = ("light_x", "light_y", "light_z")
"""Scores that are not reported: the light of two films differs as a rule, and colour transfer answers it."""


@dataclass(frozen=True)
class Drive:
    """Scores that a run reads, and the source's range in them; stored in run.json."""

    names: tuple[str, ...]
    """Those of NAMES that both facesets have; the others are always 0."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    """Range of the source's training faces, in the scores' own units, in order of `names`."""
    rest: tuple[float, ...]
    """What counts as rest in the target, in order of `names`; see `rest_of`."""
    zero: float = 0.0
    """Pitch in degrees that counts as 0 in the target."""
    neutral: Mapping[str, Any] = field(default_factory=dict)
    """The target's neutral (`curate.scores.expression.Neutral`) as plain values, so that footage of any length can be
    read with it; {}: unknown."""
    span: Span | None = None
    """Span of the source's inputs TOGETHER; None: unknown, or not read."""

    def __post_init__(self) -> None:
        if not set(self.names) <= set(NAMES) or not {*map(len, (self.low, self.high, self.rest))} == {len(self.names)}:
            raise ValueError(f"scores {self.names!r:.60}")
        if not np.isfinite([*self.low, *self.high, *self.rest, self.zero]).all():
            raise ValueError("a score's range is not finite")
        if self.span is not None and len(self.span.mean) != len(TOGETHER):
            raise ValueError(f"a span of {len(self.span.mean)} scores")

    def inputs(self, scores: NDArray[np.floating]) -> Floats:
        """(N, K) inputs of the network from scores counted from rest: scaled, 0 where unknown or not read."""
        read = np.isin(NAMES, self.names)
        scaled = (np.asarray(scores, np.float32) - CENTRES) / SCALES
        return np.asarray(np.where(read & np.isfinite(scaled), scaled, 0), np.float32)

    def performed(self, scores: NDArray[np.floating]) -> Floats:
        """(N, K) inputs of the network for the source to perform the scores of a target: held in its range and span."""
        read = self.inputs(self.held(scores))
        if self.span is not None:
            read[:, TOGETHER] = self.span.nearest(read[:, TOGETHER])
        return read

    def held(self, scores: NDArray[np.floating]) -> Floats:
        """Scores counted from rest, each held at the edge of the source's range; NaN stays NaN."""
        low, high = self._limits()
        return np.clip(np.asarray(scores, np.float32), low, high)

    def calibrated(self) -> Own | None:
        """The target's own neutral and zero; None if they are not known, or not what this version can apply."""
        if not self.neutral:
            return None
        try:
            values: dict[str, Any] = {
                name: value if isinstance(value, float) else np.asarray(value, np.float64)
                for name, value in self.neutral.items()
            }
            neutral = Neutral(**values)
            apply(neutral, *(np.zeros((1, n)) for n in (len(BLENDSHAPES), 2, len(DISTANCES), 2)))
        except (TypeError, ValueError):
            log.warning("the run's neutral cannot be read by this version: expressions are read from the footage alone")
            return None
        return Own(neutral, self.zero, None)

    def counted(self, scores: NDArray[np.floating]) -> Floats:
        """The target's `scores_of` its faces (N, K), counted from its rest."""
        rest = np.zeros(len(NAMES), np.float32)
        rest[[NAMES.index(name) for name in self.names]] = self.rest
        return np.asarray(scores - rest, np.float32)

    def beyond(self, scores: NDArray[np.floating]) -> dict[str, float]:
        """Share of faces whose score lies beyond the source's range, 0..1, for scores with at least TOLD; most first.

        A score counts from a quarter of its scale outside the range.
        """
        low, high = self._limits()
        with np.errstate(invalid="ignore"):
            far = (scores < low - SCALES / 4) | (scores > high + SCALES / 4)
        shares = dict(zip(NAMES, far.mean(0).tolist() if len(far) else [0.0] * len(NAMES), strict=True))
        told = {name: share for name, share in shares.items() if share >= TOLD and name not in UNTOLD}
        return dict(sorted(told.items(), key=lambda item: -item[1]))

    def _limits(self) -> tuple[Floats, Floats]:
        low, high = np.full(len(NAMES), -np.inf, np.float32), np.full(len(NAMES), np.inf, np.float32)
        at = [NAMES.index(name) for name in self.names]
        low[at], high[at] = self.low, self.high
        return low, high


def scores_of(rows: pd.DataFrame) -> Floats:
    """(N, len(NAMES)) float32 scores of rows of the table; NaN where unknown, or where rows lack the column."""
    found = np.full((len(rows), len(NAMES)), np.nan, np.float32)
    vectors = {"expression": BLENDSHAPES, "gaze": ("gaze_left", "gaze_up")}
    for column, names in vectors.items():
        if column in rows:
            at = NAMES.index(names[0])
            for place, value in enumerate(rows[column]):
                if value is not None and np.size(value) == len(names):
                    found[place, at : at + len(names)] = value
    for name, column in PLAIN.items():
        if column in rows:
            found[:, NAMES.index(name)] = rows[column].to_numpy(np.float32, na_value=np.nan)
    return found


def rest_of(scores: Floats) -> Floats:
    """(K,) what counts as rest in one subject's `scores_of` its faces (N, K); 0 for scores that move both ways."""
    rest = np.zeros(len(NAMES), np.float32)
    known = ANCHORED & (np.isfinite(scores).sum(0) >= MIN_FACES)
    if known.any():
        rest[known] = np.nanquantile(scores[:, known], REST, axis=0)
    return rest


def drive_of(source: Floats, target: Floats, rest: Floats, own: Own | None = None) -> Drive:
    """Drive of a training from the scores, counted from rest, of the source's and the target's training faces.

    rest: (K,) the target's, and `own` its calibration. A score is read if most faces of both sides have it.
    """
    both = [n for n, *known in zip(NAMES, *map(_known, (source, target)), strict=True) if min(known) > 0.5]
    names = tuple(both)
    seen = source[:, [NAMES.index(name) for name in names]]
    low, high = np.nanquantile(seen, (EDGE, 1 - EDGE), axis=0) if names else (np.zeros(0), np.zeros(0))
    kept = tuple(float(rest[NAMES.index(name)]) for name in names)
    values = {} if own is None else {k: np.asarray(v).tolist() for k, v in vars(own.neutral).items()}
    zero = 0.0 if own is None else own.zero
    drive = Drive(names, tuple(low.tolist()), tuple(high.tolist()), kept, zero, values)
    expressive = set(EXPRESSION) & set(names)
    return replace(drive, span=span_of(drive.inputs(source)[:, TOGETHER])) if expressive else drive


def mirrored(inputs: Floats, which: NDArray[np.bool_]) -> Floats:
    """Inputs (N, K) with those of mirrored faces as they are in the mirror: left and right change places."""
    if not which.any():
        return inputs
    order, signs = _mirror()
    return np.asarray(np.where(which[:, None], inputs[:, order] * signs, inputs), np.float32)


def _known(scores: Floats) -> Sequence[float]:
    return np.isfinite(scores).mean(0).tolist() if len(scores) else [0.0] * len(NAMES)


def _mirror() -> tuple[NDArray[np.int64], Floats]:
    """Where each score's mirror image is found, and its sign."""
    order = []
    for name in NAMES:
        other = name.replace("Left", "#").replace("Right", "Left").replace("#", "Right")
        order.append(NAMES.index(other if other in NAMES else name))
    signs = [-1.0 if name in ("gaze_left", "yaw", "light_x") else 1.0 for name in NAMES]
    return np.array(order), np.array(signs, np.float32)
