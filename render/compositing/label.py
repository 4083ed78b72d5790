"""Visible label of a render (--label): a line of text at the bottom left of every frame."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

TEXT = "Synthetic: face replaced"
HEIGHT = 0.022
"""Height of a capital letter, as a fraction of the frame's shorter side."""
LEAST = 8
"""Minimum height of a capital letter, pixels: smaller ones are unreadable."""
BACKGROUND = 0.35
"""Brightness of the image behind the text, as a fraction: white letters are readable on anything."""
FONT = cv2.FONT_HERSHEY_SIMPLEX
Picture = TypeVar("Picture", NDArray[np.uint8], NDArray[np.uint16])


def draw(image: Picture, text: str = TEXT) -> Picture:
    """A copy of (H, W, 3) uint8 or uint16 RGB with white text on a darkened box, bottom left; same dtype.

    A text that would not fit is drawn smaller. Raises ValueError for characters outside ASCII, which the font lacks.
    """
    if not (text.isascii() and text.isprintable() and text.strip()):
        raise ValueError(f"label {text!r}: must be printable ASCII")
    height, width = image.shape[:2]
    ink = _ink(text, width, height)
    top, left = max(height - ink.shape[0], 0), 0
    out = image.copy()
    region = out[top : top + ink.shape[0], left : left + ink.shape[1]]
    cover = ink[: region.shape[0], : region.shape[1], None]
    full = np.float32(np.iinfo(image.dtype).max)
    region[...] = np.rint(region * np.float32(BACKGROUND) * (1 - cover) + full * cover).astype(image.dtype)
    return out


@lru_cache(maxsize=8)
def _ink(text: str, width: int, height: int) -> NDArray[np.float32]:
    """Coverage (h, w) float32 in 0..1 of each pixel of the box by letters."""
    capital = max(HEIGHT * min(width, height), LEAST)
    scale = capital / cv2.getTextSize("H", FONT, 1.0, 1)[0][1]
    room = width - 2 * capital
    wide = cv2.getTextSize(text, FONT, scale, 1)[0][0]
    scale *= min(1.0, max(room, 1) / wide)
    thickness = max(round(capital / 9), 1)
    (wide, high), below = cv2.getTextSize(text, FONT, scale, thickness)
    margin = max(round(high / 2), 2)
    box = np.zeros((high + below + 2 * margin, wide + 2 * margin), np.uint8)
    cv2.putText(box, text, (margin, margin + high), FONT, scale, 255, thickness, cv2.LINE_AA)
    return box.astype(np.float32) / np.float32(255)
