"""Expression out of blendshapes: gaze as its own pair, and the axes that people read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.mesh import BLENDSHAPES
from curate.types import Floats

INDEX = {name: i for i, name in enumerate(BLENDSHAPES)}
GAZE = tuple(i for i, name in enumerate(BLENDSHAPES) if name.startswith("eyeLook"))
# Named axes: the mean of these blendshapes, 0..1.
AXES: dict[str, tuple[str, ...]] = {
    "jawOpen": ("jawOpen",),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "pucker": ("mouthPucker", "mouthFunnel"),
    "frown": ("mouthFrownLeft", "mouthFrownRight"),
    "blink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "eyeWide": ("eyeWideLeft", "eyeWideRight"),
    "browUp": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "browDown": ("browDownLeft", "browDownRight"),
}


def axis(expression: NDArray[np.floating], name: str) -> NDArray[np.float64]:
    """(N,) values of one of AXES from blendshapes (N, 52)."""
    return np.asarray(np.asarray(expression, np.float64)[:, [INDEX[n] for n in AXES[name]]].mean(1))


def gaze(blendshapes: Floats) -> Floats:
    """(2,) gaze in the head from (52,) blendshapes: toward the subject's own left, and up; each -1..1."""
    b = {name: float(blendshapes[INDEX[name]]) for name in BLENDSHAPES if name.startswith("eyeLook")}
    left = b["eyeLookOutLeft"] - b["eyeLookInLeft"] + b["eyeLookInRight"] - b["eyeLookOutRight"]
    up = b["eyeLookUpLeft"] + b["eyeLookUpRight"] - b["eyeLookDownLeft"] - b["eyeLookDownRight"]
    return np.clip(np.array([left / 2, up / 2], np.float32), -1, 1)
