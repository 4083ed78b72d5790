"""Data for the training report RUN/reports/training.html, from the run's log, last evaluation and previews."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import pandas as pd
import torch
from accelerate import Accelerator

from curate.select import learned
from curate.types import Image
from reports.training.held_out import HeldOut
from reports.training.page import Training as Figures
from reports.training.page import write as write_page
from train.config import TrainConfig
from train.data import Side
from train.measure import Face
from train.run import Run
from train.state import precision_name
from train.trend import quality, tidy, trend

LARGEST = 128
"""Largest side of the pictures of held-out faces on the page, pixels."""
NAME = re.compile(r"step-(\d+)\.png")


def write(
    run: Run,
    config: TrainConfig,
    sides: Mapping[str, Side],
    faces: Sequence[Face],
    steps: int,
    facts: Mapping[str, object],
    log: pd.DataFrame,
) -> Path:
    """Write the report anew: `faces` of the last evaluation, `steps` done, `facts` of the machine, the run's log."""
    log = tidy(log)
    counts = {name: _in_set(side) for name, side in sides.items()}
    figures = Figures(
        name=run.path.resolve().name,
        subjects={
            n: f"{s.subject.name} ({s.subject.basis})" for n, s in (("source", run.source), ("target", run.target))
        },
        config=config.to_json(),
        steps=steps,
        asked=config.steps,
        ended=run.ended,
        parameters=run.parameters,
        log=log,
        quality=quality(log),
        trend=trend(log),
        faces=[_held_out(face, sides[face.side], counts[face.side]) for face in faces],
        previews=_previews(run.path / "previews"),
        facts={**facts, **_facts(run)},
        currency="",
    )
    (run.path / "reports").mkdir(exist_ok=True)
    learned.write(run.path, _reconstructions(sides, faces, steps))
    return write_page(figures, run.path / "reports" / "training.html")


def _in_set(side: Side) -> Counter[str]:
    """Number of training faces of each group."""
    return Counter(side.rows["group"].iloc[side.split.train])


def _reconstructions(sides: Mapping[str, Side], faces: Sequence[Face], steps: int) -> learned.HeldOut:
    """The last evaluation for `faceset select --learn`."""
    names = {name: side.rows["face_id"].to_numpy() for name, side in sides.items()}
    found = [learned.Reconstruction(str(names[face.side][face.index]), face.ssim) for face in faces]
    return learned.HeldOut(steps, tuple(found))


def _held_out(face: Face, side: Side, counts: Counter[str]) -> HeldOut:
    row = side.rows.iloc[face.index]
    return HeldOut(
        side=face.side,
        face_id=row["face_id"],
        clip=row["clip"],
        time=float(row["time"]),
        group=row["group"],
        yaw=float(row["yaw"]),
        pitch=float(row["pitch"]),
        ssim=face.ssim,
        in_set=counts[row["group"]],
        crop=_small(face.crop),
        reconstruction=_small(face.reconstruction),
    )


def _small(image: Image) -> Image:
    if len(image) <= LARGEST:
        return image
    return cv2.resize(image, (LARGEST, LARGEST), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _previews(folder: Path) -> list[tuple[int, Path]]:
    found = [(int(m[1]), p) for p in folder.glob("*.png") if (m := NAME.fullmatch(p.name))]
    return sorted(found)


def facts_of(accelerator: Accelerator) -> dict[str, object]:
    """What a report says of the machine."""
    return {
        "device": str(accelerator.device),
        "processes": accelerator.num_processes,
        "precision": precision_name(accelerator),
        "torch": str(torch.__version__),
    }


def _facts(run: Run) -> dict[str, object]:
    return {
        "source faceset": run.source.faceset_sha256,
        "target faceset": run.target.faceset_sha256,
        "initialised from": run.init or "random weights",
    }
