"""The network that a render was planned with, kept in its folder: training may continue and replace its checkpoints.

The working folder's `run/` holds run.json and the weights, as hard links where the disk allows. Every process checks
their hash against the plan's before it renders.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from curate.errors import WorkError
from curate.runtime.files import file_sha256

FOLDER = "run"


def weights_of(run: Path) -> Path:
    """The weights that a run is rendered with: the finished run's, or its last checkpoint's. Raises WorkError."""
    path = run / "model.safetensors"
    if path.is_file():
        return path
    checkpoints = sorted((run / "checkpoints").glob("step-*.safetensors"), key=lambda p: int(p.stem.partition("-")[2]))
    if not checkpoints:
        raise WorkError(f"{run} has no trained network yet: wait for its training, or continue it with --resume")
    return checkpoints[-1]


def ended(run: Path) -> bool:
    """Whether the run has its final weights."""
    return (run / "model.safetensors").is_file()


def keep(run: Path, folder: Path, sha256: str = "") -> str:
    """Keep the run's weights in the working folder; their hex SHA-256. Raises WorkError if a finished run has
    others than `sha256`."""
    kept = folder / FOLDER
    shutil.rmtree(kept, ignore_errors=True)
    weights = weights_of(run)
    for path in (weights, weights.with_suffix(".json"), run / "run.json"):
        target = kept / path.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            _link(path, target)
    found = file_sha256(weights_of(kept))
    if ended(run) and sha256 not in ("", found):
        shutil.rmtree(kept)
        raise WorkError(
            f"{weights} is damaged (its hash differs from the one in run.json): faceset train --resume writes it again"
        )
    return found


def kept(folder: Path, sha256: str) -> Path:
    """The run in the working folder, its weights checked. Raises WorkError if they are not the plan's."""
    run = folder / FOLDER
    if not run.is_dir() or file_sha256(weights_of(run)) != sha256:
        raise WorkError(f"{run}: the weights are not those that this render began with; delete {folder}, render again")
    return run


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
