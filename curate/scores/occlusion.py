"""Occlusion of the face by hands, hair or a microphone: ISO/IEC 29794-5 FaceOcclusionPrevention.

Works on the colours of the skin's triangles (`curate.scores.lighting.skin_colours`). One frame shows what is unlike
the rest of the face's skin; the footage of a subject shows what is unlike this very patch of skin in all other
frames. What covers more than half of the face must not become its skin: a colour that neither skin in general (one
frame) nor this subject's (footage) has had is the face's own only where nearly all of the face agrees on it, as in
coloured light.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.scores.albedo import DARKEST
from curate.srgb import decoded8
from curate.types import Floats

CHROMA, LUMINANCE = 0.5, 1.6
"""Differences (log2) beyond which skin is taken to be hidden: of colour ratios, and of luminance, which light moves."""
USUAL_CHROMA, USUAL_LUMINANCE = 0.3, 0.7
"""The same against the subject's usual colours of the patch."""
SOFT = 0.25
"""Share of those limits over which the judgement turns."""
SKIN = np.array([[0.2, -1.8], [1.9, 0.4]], np.float32)
"""Least and greatest log2 of red over green and blue over green of skin, in lights from candle to shade."""
AGREED, USUALLY_AGREED = 0.93, 0.8
"""Share of the face that must agree on a colour that skin has not had: in one frame, against the usual look."""
RARE, ROOM = 0.01, 0.2
"""The subject's own range: these quantiles over the footage, and so much more on either side."""


@dataclass(frozen=True, eq=False)
class Usual:
    """What one subject's skin looks like without the light's shading."""

    patches: Floats
    """(T, 3) log2 of luminance, red over green, blue over green, less the whole face's; NaN: hardly ever seen."""
    limits: Floats
    """(3, 2) least, greatest and middle colour ratios of the whole face."""


def visible(colours: NDArray[np.uint8]) -> float:
    """0..1: share of the seen skin that looks like the face's skin, from one frame's `colours` (T, 3); 0 for none.

    Beards and brows' shadows count in part: luminance may differ by LUMINANCE, colour ratios by CHROMA.
    """
    seen = colours.any(1)
    if not seen.any():
        return 0.0
    logs = _logs(colours[seen])[None]
    return float(_shares(logs, np.zeros(3, np.float32), np.vstack([SKIN, SKIN.mean(0)]), CHROMA, LUMINANCE, AGREED)[0])


def usual(colours: NDArray[np.uint8], shading: Floats) -> Usual:
    """The subject's usual look, from N frames (N, T, 3) and their lights' shading (N, T), of
    `curate.scores.albedo.read`."""
    logs = _unshaded(colours, shading)
    level = _levels(logs)
    out = np.full(logs.shape[1:], np.nan, np.float32)
    often = np.isfinite(logs[..., 0]).sum(0) >= 3
    out[often] = np.nanmedian((logs - level[:, None])[:, often], axis=0)
    low, middle, high = np.quantile(level[:, 1:], (RARE, 0.5, 1 - RARE), axis=0)
    return Usual(out, np.stack([low - ROOM, high + ROOM, middle]).astype(np.float32))


def against_usual(colours: NDArray[np.uint8], shading: Floats, expected: Usual) -> Floats:
    """(N,) 0..1: share of the seen skin that looks as it usually does in such light; `colours` and `shading` as above.

    Patches whose usual look is not known do not count; NaN where none is left.
    """
    return _shares(
        _unshaded(colours, shading), expected.patches, expected.limits, USUAL_CHROMA, USUAL_LUMINANCE, USUALLY_AGREED
    )


def _shares(logs: Floats, patches: Floats, limits: Floats, chroma: float, luminance: float, agreed: float) -> Floats:
    """(N,) share of the patches (N, T, 3) that fit the model's `patches` (T, 3) about the face's own level, held to
    `limits` (3, 2) where fewer than `agreed` do; NaN where none is known."""
    level = _levels(logs)
    ratios = level[:, 1:]
    inside = ((ratios >= limits[0]) & (ratios <= limits[1])).all(1)
    own = _share(logs - level[:, None] - patches, chroma, luminance)
    level[:, 1:] = limits[2]
    held = _share(logs - level[:, None] - patches, chroma, luminance)
    return np.where(inside | (own >= agreed), own, held).astype(np.float32)


def _share(difference: Floats, chroma: float, luminance: float) -> Floats:
    """(N,) share of patches (N, T, 3) that are like their model; NaN where none is known."""
    known: NDArray[np.bool_] = np.all(np.isfinite(difference), axis=2)
    plain = np.where(known[..., None], difference, 0)
    scaled = np.maximum(np.abs(plain[..., 1:]).max(-1) / chroma, np.abs(plain[..., 0]) / luminance)
    fits = np.clip((1 + SOFT - scaled) / (2 * SOFT), 0, 1) * known
    count = known.sum(1)
    return np.where(count > 0, fits.sum(1) / np.maximum(count, 1), np.nan).astype(np.float32)


def _logs(colours: NDArray[np.uint8]) -> Floats:
    """(..., 3): log2 of luminance, red over green, blue over green."""
    red, green, blue = np.moveaxis(np.log2(np.maximum(decoded8(colours), 2e-3)), -1, 0)
    return np.stack([0.25 * red + 0.65 * green + 0.1 * blue, red - green, blue - green], axis=-1)


def _unshaded(colours: NDArray[np.uint8], shading: Floats) -> Floats:
    """(N, T, 3) log colours without the shading; NaN where not seen."""
    seen: NDArray[np.bool_] = np.any(colours, axis=2) & np.isfinite(shading)
    logs = _logs(colours)
    logs[..., 0] -= np.log2(np.maximum(np.where(seen, shading, 1), DARKEST))
    logs[~seen] = np.nan
    return np.asarray(logs, np.float32)


def _levels(logs: Floats) -> Floats:
    """(N, 3) each face's median; 0 where nothing is seen."""
    level = np.zeros((len(logs), 3), np.float32)
    some = np.isfinite(logs[..., 0]).any(1)
    level[some] = np.nanmedian(logs[some], axis=1)
    return level
