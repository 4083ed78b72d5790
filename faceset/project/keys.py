"""Hashes of the input of steps: cheap ones, from names, sizes and times of files, so that an idle run takes seconds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curate.errors import UsageError, WorkError
from curate.footage.paths import parse_footage
from curate.records import checked
from curate.safe_io import DAMAGED, one_line
from curate.settings import Settings
from faceset.project.file import Project


@dataclass(frozen=True)
class RunFacts:
    """What a step needs to know of a training run."""

    steps: int = 0
    """Steps that were asked for."""
    done: int = 0
    ended: str = ""
    weights_sha256: str = ""
    ssim: float | None = None
    shape: str = ""
    """What decides how long a step takes: network, size and batch."""
    gains: tuple[str, ...] = ()
    """Gains of the outlines that are not 1, which change a render without changing the weights."""


def digest(values: Any) -> str:
    """Hex SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of change of a file; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def files(text: str) -> Any:
    """Name, range and stamps of footage; of a folder, those of everything in it. Raises UsageError if it is missing."""
    if "://" in text:
        return text
    footage = parse_footage(text)
    if not footage.path.exists():
        raise UsageError(f"{footage.path}: no such file or folder")
    inside = sorted(footage.path.rglob("*")) if footage.path.is_dir() else [footage.path]
    return [footage.start, footage.end, [(p.name, stamp(p)) for p in inside if p.is_file()]]


def settings_digest(project: Project) -> str:
    """Hash of the settings of extraction, the version of the scores included."""
    return Settings(**project.settings()).digest()


def selected(folder: Path) -> str:
    """Hash of the ids of a faceset's selected faces, in order of choice."""
    path = folder / "selection.parquet"
    try:
        table = pq.read_table(path, columns=["rank", "face_id"]).sort_by("rank")
        return digest(table["face_id"].to_pylist())
    except DAMAGED as error:
        raise WorkError(f"{path} is damaged ({one_line(error)}): delete it and run the project again") from None


def run_facts(folder: Path) -> RunFacts:
    """Facts of the run in a folder, without loading torch; those of no run if there is none or it is damaged."""
    try:
        values = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        config = values["config"]
        ssim = values.get("results", {}).get("ssim")
        gains = ((values.get("outlines") or {}).get("gains") or {}).items()
        return RunFacts(
            checked(config["steps"], int, "steps"), checked(values["step"], int, "step"),
            checked(values.get("ended", ""), str, "ended"), checked(values["weights_sha256"], str, "weights_sha256"),
            checked(ssim, float | None, "ssim"), shape_of(config),
            tuple(f"{name} {value}" for name, value in sorted(gains) if value != 1),
        )  # fmt: skip
    except DAMAGED:
        return RunFacts()


def shape_of(config: dict[str, Any]) -> str:
    """What of a training's options decides how long a step takes."""
    names = ("arch", "size", "encoder_width", "decoder_width", "latent", "residuals", "batch", "adversarial_weight")
    return json.dumps([config.get(name) for name in names])
