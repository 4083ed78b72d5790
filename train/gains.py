"""Size of the target's movements as they are drawn, with which those of the swap are as large as the target's.

A network shows less than it is asked for where the source's faces hardly move: a gaze to the side arrives as half of
it, a smile as two thirds. After training, swaps of some training faces of the target are read again, as drawn and with
one movement enlarged at a time. One Gauss-Newton step on the readings gives the gains of all movements together
(Nocedal and Wright, Numerical Optimization, 10.3); it is only taken if the swaps then are nearer to the target's
performance. Held-out faces take no part.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from train.data import Side
from train.model import Swap
from train.outlines import Outlines
from train.performance import AXES, FLAT, FLAT_ELSE, MIN_FACES, Stage, axes
from train.retarget import NONE, Gains

Doubles = NDArray[np.float64]
FACES = 48
"""Training faces of the target that are read."""
STEP = 1.4
"""Gain with which the effect of a movement is measured."""
RANGE = (0.75, 2.0)
"""Gains beyond which a reading no longer grows with them: an iris leaves the eye."""
RIDGE = 0.03
"""Cost of a gain of 2, in shares of one score's variance: a movement that changes nothing stays as it is."""
LOSS = 0.02
"""Correlation that no movement may lose: an enlarged gaze can hide blinks."""
BETTER = 0.98
"""Largest error with the gains over the one without at which they are taken."""


def faces_for(side: Side) -> pd.DataFrame:
    """Rows of up to FACES training faces of the target, evenly spread."""
    train = side.split.train
    places = np.unique(np.linspace(0, len(train) - 1, min(FACES, len(train))).round().astype(int))
    rows: pd.DataFrame = side.rows.iloc[train[places]].reset_index(drop=True)
    return rows


def fitted(stage: Stage, outlines: Outlines, model: Swap, size: int, device: torch.device) -> Gains:
    """Gains with which the swaps of a stage perform most like the target; 1 where none is better.

    stage: training faces of the target, see `faces_for`.
    """
    marks = stage.marks
    if marks is None or outlines.source is None or outlines.target is None or len(stage.own) < MIN_FACES:
        return NONE
    there = axes(stage.own, stage.own)
    moving = [name for name in AXES if np.nanstd(there[name]) >= FLAT.get(name, FLAT_ELSE)]
    if not moving:
        return NONE

    def error(values: Doubles) -> Doubles:
        """(2 * faces * scores,) differences of the swaps to the target, see `_apart`."""
        inputs = replace(outlines, gains=Gains(*values.tolist())).carried(marks)
        here = axes(stage.own, stage.drawn(model, size, device, inputs))
        return np.concatenate([_apart(there[name], here[name]) for name in moving])

    names = [field.name for field in fields(Gains)]
    plain = np.ones(len(names))
    now = error(plain)
    effects = np.column_stack([(error(plain + (STEP - 1) * row) - now) / (STEP - 1) for row in np.eye(len(names))])
    ridge = np.sqrt(RIDGE) * np.eye(len(names))
    low, high = (edge - plain for edge in RANGE)
    step = lsq_linear(np.vstack([effects, ridge]), np.append(-now, np.zeros(len(names))), (low, high)).x
    for share in (1.0, 0.5, 0.25):
        found = np.round(plain + share * step, 2)
        then = error(found)
        kept = _follows(then, len(moving)) >= _follows(now, len(moving)) - LOSS
        if then @ then <= BETTER * (now @ now) and kept.all():
            return Gains(*found.tolist())
    return NONE


def _follows(error: Doubles, scores: int) -> Doubles:
    """(scores,) correlation of each score with the target's, from the second halves of `_apart`."""
    return np.asarray(1 - np.square(error.reshape(scores, 2, -1)[:, 1]).sum(1) / 2, np.float64)


def _apart(own: Doubles, drawn: Doubles) -> Doubles:
    """(2 N,) difference of a score of N swaps to that of their crops, about the means, over sqrt(N): in standard
    deviations of the latter, and with the former also in its own, which sees whether it follows at all."""
    known = np.isfinite(own) & np.isfinite(drawn)
    if known.sum() < MIN_FACES:
        return np.zeros(2 * len(own))
    a, b = own - own[known].mean(), drawn - drawn[known].mean()
    spread, shown = a[known].std(), max(float(b[known].std()), 1e-9)
    found = np.concatenate([np.where(known, b - a, 0.0) / spread, np.where(known, b / shown - a / spread, 0.0)])
    return np.asarray(found / np.sqrt(known.sum()), np.float64)
