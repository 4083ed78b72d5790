"""Faces that a network cannot do yet: held-out errors of a training run, spread over the kinds of faces.

A run writes HELD_OUT with the SSIM of every held-out face. Faces of the faceset that look like those with a large error
then count more in a selection. It is read from the file, so any program can write it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError, WorkError
from curate.records import record
from curate.safe_io import DAMAGED, one_line
from curate.select.similarity import Kernel
from curate.types import Floats

HELD_OUT = Path("reports", "held-out.json")
"""Where a run's folder has them."""
PRIOR = 1.0
"""Held-out faces of the mean error that every kind is given: without others like it a kind counts as usual."""
MOST = 4.0
"""A kind counts MOST times as much as usual at most, and a MOST-th at least."""
_BLOCK = 1000


@dataclass(frozen=True)
class Reconstruction:
    """One held-out face of a run."""

    face_id: str
    ssim: float
    """Of its reconstruction, under the face's mask, -1..1."""


@dataclass(frozen=True)
class HeldOut:
    """The file HELD_OUT: a run's last evaluation."""

    step: int
    faces: tuple[Reconstruction, ...]
    """Of both sides."""


def write(run: Path, found: HeldOut) -> None:
    """Write the file of a run; its folder exists."""
    faces = [{"face_id": face.face_id, "ssim": round(face.ssim, 6)} for face in found.faces]
    path = run / HELD_OUT
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"step": found.step, "faces": faces}) + "\n", encoding="utf-8")


def check(run: Path) -> None:
    """Raise UsageError where a run has no held-out errors yet."""
    if not (run / HELD_OUT).is_file():
        raise UsageError(
            f"--learn {run}: has no {HELD_OUT}; name the folder of a run that has finished an evaluation "
            "(faceset train evaluates every --preview-every steps, and at the end)"
        )


def errors_of(run: Path) -> dict[str, float]:
    """Face id to the error of its reconstruction, 1 - SSIM, of the run's held-out faces.

    Raises UsageError where there is no file, WorkError where it is damaged.
    """
    check(run)
    path = run / HELD_OUT
    try:
        found = record(HeldOut, json.loads(path.read_text(encoding="utf-8")), strict=False)
    except DAMAGED as error:
        raise WorkError(
            f"{path} is damaged ({one_line(error)}): continue the run with faceset train --resume"
        ) from None
    return {face.face_id: 1 - face.ssim for face in found.faces if math.isfinite(face.ssim)}


def factors(demand: Floats, points: Floats, errors: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """(M,) how much more than usual each of the faces `demand` (M, D) counts: its expected error over the mean one.

    Expected is the mean error of the held-out faces `points` (H, D), H >= 1, with `errors` (H,), weighted by their
    similarity, and of PRIOR faces of the mean error. 1 / MOST to MOST.
    """
    mean = float(errors.mean())
    if mean <= 0:
        return np.ones(len(demand))
    kernel, found = Kernel(points, width), np.empty(len(demand))
    for start in range(0, len(demand), _BLOCK):
        like = kernel(demand[start : start + _BLOCK]).astype(np.float64)
        found[start : start + _BLOCK] = (like @ errors + PRIOR * mean) / (like.sum(1) + PRIOR)
    return np.clip(found / mean, 1 / MOST, MOST)


def known(ids: NDArray[np.str_], errors: Mapping[str, float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Places of the held-out faces among the face ids (N,), and their errors."""
    rows = np.flatnonzero(np.isin(ids, list(errors)))
    return rows, np.array([errors[name] for name in ids[rows].tolist()], np.float64)
