"""The swapped face alone, unmixed from its frame: laid over the footage with its matte it gives the render again.

In the frame the face is blended already. To give the blended pixels the matte as alpha would fade its edge twice; here
the footage's share is taken out of them first: F = (R - (1 - a) P) / a, for render R, footage P and matte a.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.types import Floats


@dataclass(frozen=True)
class Layers:
    """What a frame is made of, besides its finished picture."""

    plate: NDArray[Any]
    """(H, W, 3) uint8 or uint16: the footage."""
    unmarked: NDArray[Any]
    """The render before the watermark."""
    mask: Floats
    """(H, W) in 0..1, the face's matte; zeros where there is no face."""
    st: Floats
    """(H, W, 2) in 0..1: where in the network's crop a pixel comes from, (0, 0) at its lower left; 0 outside."""
    opacity: float
    """Blend value of the frame: less than 1 where the face fades in or out."""


def unmixed(layers: Layers, marked: NDArray[Any], levels: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The face (H, W, 3) in the type of `marked`, and its alpha (H, W) in 0..1 in steps of 1 / `levels`.

    Over the footage it gives the render within one level. The watermark lies in the face, with its alpha. Alpha is
    the matte, but for pixels whose difference to the footage needs more, as blending by a pyramid makes them. Outside,
    where alpha is 0, the colours are the frame's, so that filters find no dark edge.
    """
    most = float(np.iinfo(marked.dtype).max)
    plate, shown = layers.plate.astype(np.float64) / most, layers.unmarked.astype(np.float64) / most
    inside = layers.mask > 0
    change = shown - plate
    room = np.where(change > 0, 1 - plate, plate)
    needed = np.max(np.abs(change) / np.maximum(room, 1e-9), axis=2)
    alpha = np.where(inside, np.maximum(layers.mask.astype(np.float64), np.minimum(needed, 1)), 0)
    alpha = np.ceil(alpha * levels - 1e-6) / levels
    share = np.maximum(alpha, 1 / levels)[..., None]
    face = plate + change / share + (marked.astype(np.float64) - layers.unmarked.astype(np.float64)) / most
    shown_face = np.rint(np.clip(face, 0, 1) * most).astype(marked.dtype)
    return np.where(inside[..., None], shown_face, marked), alpha


def st_map(matrix: NDArray[np.floating], size: int, mask: Floats) -> Floats:
    """(H, W, 2) ST map for a crop of `size` pixels and its matrix (2, 3) from the frame; 0 where the mask is 0."""
    height, width = mask.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    across, down = (m[0] * x + m[1] * y + m[2] for m in np.asarray(matrix, np.float64))
    found = np.stack([(across + 0.5) / size, 1 - (down + 0.5) / size], axis=-1)
    return np.asarray(np.where(mask[..., None] > 0, found, 0), np.float32)
