"""Settings of compositing: how a swapped face is masked, coloured and blended. Light, so that `--help` is quick."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from curate.options import check, option

Mode = Literal["both", "model", "hull", "union"]


def parse_keep(text: str) -> tuple[str, ...]:
    """`--keep eyes,mouth` as its parts."""
    return tuple(part for part in text.split(",") if part)


@dataclass(frozen=True)
class MaskSettings:
    """How the mask is made; raises UsageError that names the flag."""

    mode: Mode = option("both", "Mask source; both: where the model and the mesh hull agree.",
                        choices=("both", "model", "hull", "union"), flag="--mask")  # fmt: skip
    """both: where network and hull agree; model or hull: one alone; union: where either is."""
    erode: float = option(0.03, "Mask erosion, as a fraction of the face's size.", low=0, high=0.5)
    feather: float = option(0.10, "Width of the mask's soft edge, as a fraction of the face's size.", low=0, high=0.5)
    """The face's size is the root of its hull's area."""
    keep: tuple[str, ...] = option((), "Parts that stay the target's: eyes, mouth or eyes,mouth.",
                                   choices="render.compositing.mask:OUTLINES", metavar="PARTS",
                                   suggestions=("eyes", "mouth", "eyes,mouth"), parse=parse_keep)  # fmt: skip

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class RenderSettings:
    """Everything that changes a render's pixels; raises UsageError that names the flag."""

    mask: MaskSettings = field(default_factory=MaskSettings)
    colour: str = option("reinhard", "Colour transfer.", choices="render.compositing.colour:METHODS")
    relight: float = option(1.0, "Smooth light of the footage on the face: 1 all of it, 0 none.", low=0, high=1)
    """See render/compositing/relight.py."""
    blend: str = option("poisson", "Blending method.", choices="render.compositing.blend:MODES")
    sharpen: float = option(1.0, "Detail to restore: 1 matches the footage, 0 none, at most 2.", low=0, high=2)
    """A face that has too much detail is softened by the same share."""
    grain: bool = option(True, "Add the footage's grain to the face.")
    occlusion: bool = option(True, "Keep hands and objects in front of the face visible.")
    smooth: int = option(7, "Frames over which landmarks are smoothed; more is steadier.", low=1, high=31)
    opacity: float = option(1.0, "Opacity of the swapped face; 0 shows the footage's face.", low=0, high=1)
    faces: Literal["all", "one"] = option("all", "If the person is visible twice at once (a mirror): swap all, or one.",
                                          choices=("all", "one"))  # fmt: skip
    label: bool = option(False, "Add a visible line that says a face was replaced.")

    def __post_init__(self) -> None:
        check(self)

    def digest(self) -> str:
        """Hex SHA-256; equal for equal settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
