"""Preview sheets of a training as small JPEGs: the newest one large, earlier ones as thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curate.types import Image
from reports.page.pictures import data_uri, jpeg

MOST = 24
LARGE = (1280, 700_000)
"""Largest height in pixels and size in bytes of the newest sheet."""
SMALL = (560, 62_000)
"""Largest height in pixels and size in bytes of the other sheets."""


@dataclass(frozen=True)
class Shot:
    """One preview sheet."""

    step: int
    picture: str
    """Data URI."""


@dataclass(frozen=True)
class Lapse:
    """At most MOST evenly spread sheets, the newest last, and the newest again, larger."""

    shots: tuple[Shot, ...]
    newest: str
    size: tuple[int, int]
    """Width and height in pixels at which a sheet is shown large."""
    of: int
    """Number of sheets in the run."""


def lapse(previews: Sequence[tuple[int, Path]]) -> Lapse | None:
    """Lapse of (step, PNG) pairs in order; unreadable files are left out. None if there is nothing to show."""
    picked = np.unique(np.linspace(0, len(previews) - 1, min(len(previews), MOST)).round().astype(int))
    sheets = [(previews[i][0], image) for i in picked if (image := _read(previews[i][1])) is not None]
    if not sheets:
        return None
    shots = tuple(Shot(step, data_uri(within(image, *SMALL))) for step, image in sheets)
    high, wide = sheets[-1][1].shape[:2]
    share = min(1.0, LARGE[0] / high)
    size = round(share * wide), round(share * high)
    return Lapse(shots, data_uri(within(sheets[-1][1], *LARGE)), size, len(previews))


def within(image: Image, height: int, most: int) -> bytes:
    """JPEG of (H, W, 3) uint8 RGB within a height in pixels and `most` bytes: first coarser, then smaller."""
    while True:
        for quality in (88, 80, 70, 60, 45):
            data = jpeg(image, height, quality)
            if len(data) <= most or height <= 32:
                return data
        height = int(0.8 * min(height, image.shape[0]))


def _read(path: Path) -> Image | None:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError:
        return None
    found = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    return None if found is None else np.ascontiguousarray(found[:, :, ::-1], np.uint8)
