"""What an evaluation of a run needs: held-out faces, what reads their swaps, and the report that it writes."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from curate.dataset.faceset import Faceset
from curate.errors import WorkError
from curate.safe_io import one_line
from train import gains, page, performance, preview
from train.config import TrainConfig
from train.data import Side
from train.identity import Judge, judge_for
from train.measure import Face, measure
from train.model import Swap
from train.outlines import Outlines
from train.performance import Stage, stage_for
from train.retarget import NONE, Gains
from train.run import Run

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Most faces that are drawn together: a batch that fills the device leaves little room for an evaluation next to it."""


@dataclass
class Scene:
    """A run's evaluations, one after the other, in one process."""

    config: TrainConfig
    sides: dict[str, Side]
    facesets: dict[str, Faceset] | None
    """None: swaps are not evaluated."""
    device: torch.device
    out: Path
    """The run's folder."""
    facts: dict[str, object]
    """Of the machine, for the report."""
    step: int = 0
    faces: tuple[Face, ...] = ()
    """The last evaluation's step and held-out faces."""

    def __post_init__(self) -> None:
        self.judges = judges(self.facesets, self.sides["target"], self.config)

    def evaluate(self, model: Swap, step: int, last: bool) -> dict[str, float]:
        """Figures of a network on held-out faces; also writes a preview sheet. At the last step gains are fitted."""
        size = self.config.size
        fitted = self._fit_gains(model) if last else {}
        found = measure(model, self.sides, size, min(self.config.batch, AT_ONCE), self.device)
        preview.write(sheet_of(self.out, step), preview.sheet(model, self.sides, size, self.device))
        self.step, self.faces = step, found.faces
        figures = dict(found.figures) | fitted
        for judge in self.judges:
            figures |= judge.evaluate(model, size, self.device)
        return figures

    def _fit_gains(self, model: Swap) -> dict[str, float]:
        """Have the target's movements drawn as large as the network needs them; figures gain_*, see `train.gains`."""
        side = self.sides["target"]
        if self.facesets is None or side.outlines is None:
            return {}
        found = NONE if self.config.gains == "off" else self._gains(model, self.facesets["target"], side.outlines)
        drawn = replace(side.outlines, gains=found)
        self.sides = {name: replace(each, outlines=drawn) for name, each in self.sides.items()}
        self.judges = judges(self.facesets, self.sides["target"], self.config)
        return {f"gain_{name}": value for name, value in asdict(found).items()}

    def _gains(self, model: Swap, faceset: Faceset, outlines: Outlines) -> Gains:
        """Gains for the target's faceset; 1, which is said, if they cannot be fitted."""
        side, stages = self.sides["target"], [judge for judge in self.judges if isinstance(judge, Stage)]
        if not stages:
            log.info("movements are drawn as large as the target's, since the performance of swaps is not measured")
            return NONE
        try:
            stage = performance.stage_of(faceset, gains.faces_for(side), side, self.config, stages[0].reader)
            return gains.fitted(stage, outlines, model, self.config.size, self.device)
        except (WorkError, ValueError, np.linalg.LinAlgError) as error:
            log.warning("movements are drawn as large as the target's: %s", one_line(error))
            return NONE

    def report(self, run: Run, steps: int) -> None:
        """Write the training report anew, from log.csv and the last evaluation; `steps` are done."""
        page.write(run, self.config, self.sides, self.faces, steps, self.facts, pd.read_csv(self.out / "log.csv"))


def sheet_of(out: Path, step: int) -> Path:
    """The preview sheet of a step."""
    return out / "previews" / f"step-{step}.png"


def judges(facesets: dict[str, Faceset] | None, side: Side, config: TrainConfig) -> tuple[Judge | Stage, ...]:
    """What looks at held-out swaps: face recognition and the reader of performances, as far as they are there.

    side: the target's.
    """
    if facesets is None:
        return ()
    found = (judge_for(facesets, side, config), stage_for(facesets["target"], side, config))
    return tuple(each for each in found if each is not None)
