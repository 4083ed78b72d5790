"""What an evaluation of a run needs: held-out faces, what reads their swaps, and the report that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from curate.dataset.faceset import Faceset
from train import page, preview
from train.config import TrainConfig
from train.data import Side
from train.identity import Judge, judge_for
from train.measure import Face, measure
from train.model import Swap
from train.performance import Stage, stage_for
from train.run import Run

AT_ONCE = 16
"""Most faces that are drawn together: a batch that fills the device leaves little room for an evaluation next to it."""


@dataclass
class Scene:
    """A run's evaluations, one after the other, in one process."""

    config: TrainConfig
    sides: dict[str, Side]
    judges: Sequence[Judge | Stage]
    device: torch.device
    out: Path
    """The run's folder."""
    facts: dict[str, object]
    """Of the machine, for the report."""
    step: int = 0
    faces: tuple[Face, ...] = ()
    """The last evaluation's step and held-out faces."""

    def evaluate(self, model: Swap, step: int) -> dict[str, float]:
        """Figures of a network on held-out faces; also writes a preview sheet."""
        size = self.config.size
        found = measure(model, self.sides, size, min(self.config.batch, AT_ONCE), self.device)
        preview.write(sheet_of(self.out, step), preview.sheet(model, self.sides, size, self.device))
        self.step, self.faces = step, found.faces
        figures = dict(found.figures)
        for judge in self.judges:
            figures |= judge.evaluate(model, size, self.device)
        return figures

    def report(self, run: Run, steps: int) -> None:
        """Write the training report anew, from log.csv and the last evaluation; `steps` are done."""
        page.write(run, self.config, self.sides, self.faces, steps, self.facts, pd.read_csv(self.out / "log.csv"))


def sheet_of(out: Path, step: int) -> Path:
    """The preview sheet of a step."""
    return out / "previews" / f"step-{step}.png"


def judges(facesets: dict[str, Faceset], side: Side, config: TrainConfig) -> tuple[Judge | Stage, ...]:
    """What looks at held-out swaps: face recognition and the reader of performances, as far as they are there.

    side: the target's.
    """
    found = (judge_for(facesets, side, config), stage_for(facesets["target"], side, config))
    return tuple(each for each in found if each is not None)
