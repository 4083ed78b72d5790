"""How much of the face is hidden by hands, hair or a microphone: ISO/IEC 29794-5 FaceOcclusionPrevention.

Works on the colours of the skin's triangles (`curate.lighting.skin_colours`). One frame shows what is unlike the rest
of the face's skin; the footage of a subject shows what is unlike this very patch of skin in all other frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.albedo import DARKEST
from curate.lighting import srgb_to_linear
from curate.types import Floats

CHROMA, LUMINANCE = 0.35, 1.3
"""Differences (log2) beyond which skin is taken to be hidden: of colour ratios, and of luminance, which light moves."""
USUAL_CHROMA, USUAL_LUMINANCE = 0.3, 0.7
"""The same against the subject's usual colours of the patch."""
SOFT = 0.25
"""Share of those limits over which the judgement turns."""


def visible(colours: NDArray[np.uint8]) -> float:
    """0..1: share of the seen skin that looks like the face's skin, from one frame's `colours` (T, 3); 0 for none.

    Beards and brows' shadows count in part: luminance may differ by LUMINANCE, colour ratios by CHROMA.
    """
    seen = colours.any(1)
    if not seen.any():
        return 0.0
    logs = _logs(colours[seen][None])[0]
    return float(_fits(logs - np.median(logs, axis=0), CHROMA, LUMINANCE).mean())


def usual(colours: NDArray[np.uint8], shading: Floats) -> Floats:
    """(T, 3) the subject's usual log colours without the light, relative to the face's own level, from N frames
    (N, T, 3) and the shading (N, T) of their lights (`curate.albedo.read`); NaN where too rarely seen."""
    logs = _relative(colours, shading)
    out = np.full(logs.shape[1:], np.nan, np.float32)
    often = np.isfinite(logs[..., 0]).sum(0) >= 3
    out[often] = np.nanmedian(logs[:, often], axis=0)
    return out


def against_usual(colours: NDArray[np.uint8], shading: Floats, expected: Floats) -> Floats:
    """(N,) 0..1: share of the seen skin that looks as it usually does in such light; `expected` (T, 3) of `usual`.

    Patches whose usual look is not known do not count; NaN where none is left.
    """
    difference = _relative(colours, shading) - expected
    known = np.isfinite(difference).all(2)
    fits = _fits(np.where(known[..., None], difference, 0), USUAL_CHROMA, USUAL_LUMINANCE) * known
    count = known.sum(1)
    return np.where(count > 0, fits.sum(1) / np.maximum(count, 1), np.nan).astype(np.float32)


def _logs(colours: NDArray[np.uint8]) -> Floats:
    """(..., 3): log2 of luminance, red over green, blue over green."""
    red, green, blue = np.moveaxis(np.log2(np.maximum(srgb_to_linear(colours), 2e-3)), -1, 0)
    return np.stack([0.25 * red + 0.65 * green + 0.1 * blue, red - green, blue - green], axis=-1)


def _relative(colours: NDArray[np.uint8], shading: Floats) -> Floats:
    """(N, T, 3) log colours without the shading, minus the face's median; NaN where not seen."""
    seen = colours.any(2) & np.isfinite(shading)
    logs = _logs(colours)
    logs[..., 0] -= np.log2(np.maximum(np.where(seen, shading, 1), DARKEST))
    logs[~seen] = np.nan
    middle = np.zeros((len(logs), 1, 3), np.float32)
    some = seen.any(1)
    middle[some, 0] = np.nanmedian(logs[some], axis=1)
    return np.asarray(logs - middle, np.float32)


def _fits(difference: Floats, chroma: float, luminance: float) -> Floats:
    """(...,) 1 where a patch is like its model, 0 where it is not."""
    scaled = np.maximum(np.abs(difference[..., 1:]).max(-1) / chroma, np.abs(difference[..., 0]) / luminance)
    return np.asarray(np.clip((1 + SOFT - scaled) / (2 * SOFT), 0, 1), np.float32)
