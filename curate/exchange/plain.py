"""Plain exports for any program: crops and scores as a folder with tables, or as WebDataset tar shards."""

from __future__ import annotations

import csv
import io
import json
import math
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset
from curate.errors import WorkError
from curate.exchange.layout import ibug68
from curate.face.align import transform
from curate.types import Floats
from curate.words import quoted

PER_SHARD = 1000


@dataclass(frozen=True)
class Item:
    """One face."""

    name: str
    crop: Path
    """The JPEG of the crop; its bytes are taken over."""
    scores: dict[str, Any]
    """The table's row, vectors as lists, null for what is not a number."""
    points: Floats
    """(68, 2) iBUG's points in pixels of the crop."""


def item(faceset: Faceset, row: dict[Any, Any], landmarks: NDArray[np.floating]) -> Item:
    """One face of the table; WorkError if its crop is not there."""
    path = faceset.folder / str(row["crop"])
    if not row["crop"] or not path.is_file() or not path.resolve().is_relative_to(faceset.folder.resolve()):
        raise WorkError(f"its crop is missing; make it with faceset curate {quoted(faceset.folder)} --crop-size 256")
    points = transform(ibug68(landmarks), np.asarray(row["matrix"], np.float64).reshape(2, 3))
    return Item(row["face_id"], path, {k: _plain(v) for k, v in row.items() if k != "crop"}, points)


def _plain(value: Any) -> Any:
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_folder(out: Path, items: list[Item]) -> None:
    """FACE.jpg, faces.csv (the table's numbers and texts) and landmarks.csv (x_0 .. x_67, y_0 .. y_67, crop pixels)."""
    names = [k for k, v in items[0].scores.items() if not isinstance(v, list)]
    names = [k for k in names if not any(isinstance(i.scores[k], list) for i in items)]
    with (out / "faces.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["file", *names])
        table.writerows([f"{i.name}.jpg", *(i.scores[k] for k in names)] for i in items)
    with (out / "landmarks.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["file", *(f"{axis}_{n}" for axis in "xy" for n in range(68))])
        table.writerows([f"{i.name}.jpg", *np.round(i.points.T.reshape(-1).astype(float), 3).tolist()] for i in items)
    for i in items:
        (out / f"{i.name}.jpg").write_bytes(i.crop.read_bytes())


def write_shards(out: Path, items: list[Item]) -> None:
    """faces-000000.tar ...: FACE.jpg and FACE.json (the row, and `landmarks`, 68 x 2 in crop pixels) after one another.

    The same faces give the same bytes.
    """
    for first in range(0, len(items), PER_SHARD):
        path = out / f"faces-{first // PER_SHARD:06d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
            for i in items[first : first + PER_SHARD]:
                values = i.scores | {"landmarks": np.round(i.points.astype(float), 3).tolist()}
                _add(shard, f"{i.name}.jpg", i.crop.read_bytes())
                _add(shard, f"{i.name}.json", json.dumps(values, default=str).encode())


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    shard.addfile(entry, io.BytesIO(data))
