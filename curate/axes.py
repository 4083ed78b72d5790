"""Readable axes of pose, expression and lighting: one table of their words, titles, thresholds and blendshapes.

The columns of the schema, the names of clusters, the gaps of a target and the charts of the reports are made from it.
Signs and sides as in `curate.types`; sides are the subject's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Block = Literal["pose", "expression", "lighting"]


@dataclass(frozen=True)
class Axis:
    """One readable axis."""

    name: str
    """Column of the table, or a component of its columns gaze and lighting."""
    block: Block
    """Block of the diversity space to which it belongs."""
    title: str
    """Heading of a chart."""
    low: str
    """Words for values far below 0; empty where that side has no meaning."""
    high: str
    """Words for values far above 0."""
    starts: float
    """Distance from 0 at which the words begin to apply."""
    margin: float
    """Distance from a bound at which a face lies outside it."""
    unit: str = ""
    brief: tuple[str, str] = ("", "")
    """The words in front of an angle, low and high."""
    doc: str = ""
    """Description of a face that is far along the axis."""
    blendshapes: tuple[str, ...] = ()
    """Blendshapes of which an axis of expression is the mean."""

    @property
    def scale(self) -> str:
        """Title of a chart's axis: with its unit and the meaning of values above 0, where it has a unit."""
        return f"{self.title}, {self.unit} (above 0: {self.high})" if self.unit else self.title

    def beyond(self, side: int, bound: float | None = None) -> str:
        """Words for faces far along a side (1 or -1), as `faces` goes on; farther than `bound` where it is given."""
        words = self.high if side > 0 else self.low
        if bound is not None:
            return f"{words} by more than {max(bound, 0):.0f} {self.unit}"
        return words if words.split()[0].endswith(("ing", "ed")) else f"with {words}"


def _expression(name: str, title: str, high: str, starts: float, margin: float, doc: str, *shapes: str) -> Axis:
    return Axis(name, "expression", title, "", high, starts, margin, doc=doc, blendshapes=shapes or (name,))


def _both(name: str) -> tuple[str, str]:
    return f"{name}Left", f"{name}Right"


POSE = (
    Axis("yaw", "pose", "Yaw", "turned right", "turned left", 7.5, 4.0, "deg", ("right", "left")),
    Axis("pitch", "pose", "Pitch", "tilted up", "tilted down", 7.5, 4.0, "deg", ("up", "down")),
    Axis("roll", "pose", "Roll", "leaning left", "leaning right", 12.5, 4.0, "deg", ("leaning left", "leaning right")),
)
EXPRESSION = (
    _expression("jawOpen", "Mouth open", "mouth open", 0.2, 0.1, "Jaw open"),
    _expression("smile", "Smile", "smiling", 0.25, 0.1, "Corners of the mouth up and out", *_both("mouthSmile")),
    _expression("pucker", "Lips pursed", "lips pursed", 0.2, 0.1, "Lips forward", "mouthPucker", "mouthFunnel"),
    _expression(
        "frown", "Mouth corners down", "mouth corners down", 0.2, 0.1, "Corners of the mouth down", *_both("mouthFrown")
    ),
    _expression("blink", "Eyes closed", "eyes closed", 0.3, 0.15, "Eyes shut", *_both("eyeBlink")),
    _expression("eyeWide", "Eyes wide", "eyes wide", 0.2, 0.1, "Eyes wide open", *_both("eyeWide")),
    _expression("browUp", "Brows up", "brows up", 0.2, 0.1, "Brows up", "browInnerUp", *_both("browOuterUp")),
    _expression("browDown", "Brows down", "brows down", 0.2, 0.1, "Brows down", *_both("browDown")),
)
GAZE = (
    Axis("gaze_left", "expression", "Gaze to the side", "looking right", "looking left", 0.35, 0.2),
    Axis("gaze_up", "expression", "Gaze up and down", "looking down", "looking up", 0.35, 0.2),
)
LIGHTING = (
    Axis("light_left", "lighting", "Light from the side", "lit from the right", "lit from the left", 0.2, 0.15),
    Axis("light_up", "lighting", "Light from above", "lit from below", "lit from above", 0.45, 0.15),
    Axis("exposure", "lighting", "Exposure", "dark", "bright", 0.7, 0.5, "stops"),
    Axis("warmth", "lighting", "Warmth", "cold light", "warm light", 0.3, 0.3),
)
READABLE: dict[str, Axis] = {axis.name: axis for axis in (*POSE, *EXPRESSION, *GAZE, *LIGHTING)}
"""All axes by name."""
