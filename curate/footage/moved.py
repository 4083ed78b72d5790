"""One shot, moved: whether a picture shows what another one shows, shifted and zoomed, in whatever light.

The pictures at the ends of a dissolve show different scenes; at the ends of a pan or a zoom one is the other, moved.
Pictures are traces, see `curate.footage.dissolves`.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats

HEIGHT, WIDTH = 18, 32
DOWN, ACROSS = 6, 14
"""Largest shifts, pixels."""
ZOOM = 1.2
"""Zoom of either picture that is tried besides none: it may change by twice as much before likeness is lost."""
SHARED = 0.4
"""Least share of the picture that both show."""
SOFT = 0.7
"""Standard deviation of the blur before pictures are compared, pixels."""
PADDED = (HEIGHT + DOWN, WIDTH + ACROSS)


def likeness(first: Floats, last: Floats) -> float:
    """Largest correlation (-1..1) of two pictures (18, 32) over the shifts and zooms that are tried."""
    one, other = _softened(first), _softened(last)
    before, after = np.stack([one, _zoomed(one), one]), np.stack([other, other, _zoomed(other)])
    return float(_correlations(before - before.mean(), after - after.mean()).max())


def _softened(picture: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(np.asarray(picture, np.float32), (0, 0), SOFT), np.float32)


def _zoomed(picture: Floats) -> Floats:
    """The middle of a picture, enlarged."""
    x, y = (1 - ZOOM) * (WIDTH - 1) / 2, (1 - ZOOM) * (HEIGHT - 1) / 2
    return np.asarray(cv2.warpAffine(picture, np.array([[ZOOM, 0, x], [0, ZOOM, y]]), (WIDTH, HEIGHT)), np.float32)


def _correlations(before: Floats, after: Floats) -> NDArray[np.float64]:
    """Correlations (K, shifts) of pictures (K, 18, 32) where both are seen, for every shift."""
    rows, columns, seen = _shifts()
    spectra = np.fft.rfft2(before, PADDED) * np.conj(np.fft.rfft2(after, PADDED))
    product = np.fft.irfft2(spectra, PADDED)[:, rows, columns]
    a, b = before.reshape(len(before), -1), after.reshape(len(after), -1)
    count = seen.sum(axis=1)
    mean, other = a @ seen.T / count, b @ seen[::-1].T / count
    spread = np.square(a) @ seen.T / count - mean**2, np.square(b) @ seen[::-1].T / count - other**2
    return np.asarray((product / count - mean * other) / np.sqrt(np.maximum(spread[0], 1) * np.maximum(spread[1], 1)))


@cache
def _shifts() -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Rows and columns of the shifts that are tried; (shifts, 576) 1 where both pictures are seen, in the first one.

    In the second one these are the ones of the opposite shift, which is as far from the end of the list.
    """
    rows, columns, seen = list[int](), list[int](), []
    for down in range(-DOWN, DOWN + 1):
        for across in range(-ACROSS, ACROSS + 1):
            mask = np.zeros((HEIGHT, WIDTH), np.float32)
            mask[max(down, 0) : HEIGHT + min(down, 0), max(across, 0) : WIDTH + min(across, 0)] = 1
            if mask.mean() >= SHARED:
                rows.append(down % PADDED[0])
                columns.append(across % PADDED[1])
                seen.append(mask.ravel())
    return np.array(rows), np.array(columns), np.stack(seen)
