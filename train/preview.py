"""Preview sheets: held-out faces, their reconstructions and their swaps."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curate.runtime.files import atomic
from curate.types import Image
from train.data import Side
from train.measure import pixels
from train.model import SIDES, Swap, picture

CELL = 128
"""Smallest side of a picture on the sheet, pixels."""
HEADER = 22
GAP = 2
COLUMNS = ("source", "reconstruction", "target", "reconstruction", "swap", "swap mask")


def sheet(model: Swap, sides: dict[str, Side], size: int, device: torch.device, rows: int = 6) -> Image:
    """Sheet with six rows of held-out faces of both sides, spread over the footage; its columns are `COLUMNS`."""
    seen: dict[str, Tensor] = {}
    scores: dict[str, Tensor | None] = {}
    for name in SIDES:
        held = sides[name].split.held_out
        places = np.linspace(0, len(held) - 1, rows).round().astype(int)
        seen[name] = sides[name].faces(held[places], size)[0].to(device)
        scores[name] = sides[name].performance(held[places], device)
    swapped = sides["target"].performed(held[places], device)
    with torch.inference_mode():
        source, _ = picture(model.through(seen["source"], "source", scores["source"]))
        target, _ = picture(model.through(seen["target"], "target", scores["target"]))
        swap, mask = picture(model.through(seen["target"], "source", swapped))
    columns = (seen["source"], source, seen["target"], target, swap, mask.expand(-1, 3, -1, -1))
    return _tile([pixels(c) for c in columns], max(CELL, size))


def write(path: Path, image: Image) -> None:
    """Write a PNG atomically."""
    _, data = cv2.imencode(".png", np.ascontiguousarray(image[:, :, ::-1]))
    with atomic(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _tile(columns: list[NDArray[np.uint8]], cell: int) -> Image:
    rows = len(columns[0])
    page = np.full((HEADER + rows * (cell + GAP), len(columns) * (cell + GAP) - GAP, 3), 24, np.uint8)
    for x, (title, column) in enumerate(zip(COLUMNS, columns, strict=True)):
        left = x * (cell + GAP)
        cv2.putText(page, title, (left + 4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (230, 230, 230), 1, cv2.LINE_AA)
        for y, image in enumerate(column):
            top = HEADER + y * (cell + GAP)
            page[top : top + cell, left : left + cell] = cv2.resize(image, (cell, cell), interpolation=cv2.INTER_CUBIC)
    return page
