"""What would likely help against a finding: words for people, with the flags and figures where they are known."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.axes import READABLE
from curate.dataset.faceset import Faceset
from curate.errors import FacesetError
from reports.artifacts.events import Finding
from reports.page.page import clock, count

FEW = 0.05
"""Less than this share of the source's faces in a region of poses is little to learn from."""
BEYOND = {"yaw": (15.0, 30.0, 45.0, 60.0), "pitch": (10.0, 20.0, 30.0)}
"""Degrees from which on a head is said to be turned so far; below the first it is frontal."""
LEARNT = frozenset(
    "edge soft false_detail misaligned ghost jitter flicker hole lips expression gaze pose identity".split()
)
"""Kinds that more faces of the same pose would help."""
WIDER, WIDEST = 1.5, 0.4
"""Advice on the feather: so many times the present one, to at most this share of the face."""

_TYPED = re.compile(
    r"(faceset report SOURCE --for TARGET|--[a-z]+(?: (?:[\d.:-]*\d|mkl|sot|hull|union|pyramid|eyes|mouth)\b)?)"
)


@dataclass(frozen=True)
class Told:
    """What a finding may say beyond what every finding says."""

    region_name: str
    """Part of the face, as "left cheek"; empty where it is not known."""
    pose: tuple[float, float] | None
    """Mean yaw and pitch, degrees; None where they are not known."""
    also: tuple[str, ...]
    """Other kinds that this finding explains."""


def told(finding: Finding) -> Told:
    """The same for every finding, whoever made it."""
    pose = getattr(finding, "pose", None)
    known = pose is not None and all(math.isfinite(angle) for angle in pose)
    name, also = getattr(finding, "region_name", ""), getattr(finding, "also", ())
    return Told(str(name or ""), (float(pose[0]), float(pose[1])) if pose is not None and known else None, tuple(also))


@dataclass(frozen=True)
class Coverage:
    """The poses of the faces a render's model learnt the source from."""

    yaw: NDArray[np.float64]
    """(N,) degrees, > 0 turned to the subject's left."""
    pitch: NDArray[np.float64]
    """(N,) degrees, > 0 looks down."""

    def few(self, pose: tuple[float, float]) -> str:
        """What is wanted for a pose that the source has few faces of; empty where it has enough.

        The region is everything turned at least as far, on the axis on which the pose lies furthest out.
        """
        poor = [r for r in (self._region("yaw", pose[0]), self._region("pitch", pose[1])) if r is not None]
        if not poor or not len(self.yaw):
            return ""
        words, number = min(poor, key=lambda r: r[1])
        if number >= FEW * len(self.yaw):
            return ""
        return f"more source faces that {words}: the source has {count(number)} of {count(len(self.yaw))}"

    def _region(self, axis: str, angle: float) -> tuple[str, int] | None:
        beyond = max((edge for edge in BEYOND[axis] if abs(angle) >= edge), default=None)
        if beyond is None:
            return None
        side = 1 if angle > 0 else -1
        words = READABLE[axis].high if side > 0 else READABLE[axis].low
        return f"are {words} beyond {beyond:.0f}°", int((side * getattr(self, axis) >= beyond).sum())


def coverage_of(faceset: Faceset) -> Coverage | None:
    """The selected faces' poses; None where the faceset has no table or no selection, or it cannot be read."""
    try:
        chosen = faceset.selected(["yaw", "pitch"]).dropna(subset=["yaw", "pitch"])
    except (FacesetError, OSError, ValueError):
        return None
    return Coverage(chosen["yaw"].to_numpy(np.float64), chosen["pitch"].to_numpy(np.float64))


@dataclass(frozen=True)
class Context:
    """What is known about the making of a video; nothing for a foreign one."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """The render's settings by the names of their flags: mask, erode, feather, colour, blend, sharpen, keep; and size,
    the pixels that the model draws a crop in."""
    coverage: Coverage | None = None
    """Of the source."""
    sizes: Mapping[int, float] = field(default_factory=dict)
    """Frame to the face's size in it, pixels: the root of its hull's area, which lengths in the settings refer to."""

    @property
    def own(self) -> bool:
        """Whether this program rendered the video, so that its flags mean something."""
        return bool(self.settings) or self.coverage is not None

    def number(self, flag: str) -> float | None:
        """A setting as a number; None where it is not known."""
        value = self.settings.get(flag)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    def now(self, flag: str) -> str:
        """` (now mkl)`, or nothing where it is not known."""
        value = self.settings.get(flag)
        return "" if value is None else f" (now {_short(value) if isinstance(value, float) else value})"


def remedy(finding: Finding, context: Context | None = None) -> str:
    """The likely remedy as a sentence or two; empty for a kind that none is known for."""
    known = context or Context()
    if finding.kind not in _OWN:
        return ""
    advice = [_OWN[finding.kind](finding, known) if known.own else _FOREIGN[finding.kind]]
    pose = told(finding).pose
    if finding.kind in LEARNT and pose is not None and known.coverage is not None:
        advice.append(known.coverage.few(pose))
    return ". ".join(a[0].upper() + a[1:] for a in advice if a) + "."


def typed(text: str) -> tuple[tuple[str, bool], ...]:
    """The text in pieces, each with whether it is something to type: a flag with its value, a command."""
    return tuple((piece, bool(i % 2)) for i, piece in enumerate(_TYPED.split(text)) if piece)


def _edge(finding: Finding, context: Context) -> str:
    feather, size = context.number("feather"), context.sizes.get(finding.worst_frame)
    if feather is None:
        return "a wider --feather, or --blend pyramid"
    wider = round(min(feather * WIDER, WIDEST), 2)
    other = "" if context.settings.get("blend") == "pyramid" else ", or --blend pyramid"
    if wider <= feather:
        return f"the feather is as wide as it helps{context.now('feather')}: --blend pyramid, or more --erode"
    if size is None:
        return f"a wider feather: --feather {_short(wider)}{context.now('feather')}{other}"
    return f"feather {wider * size:.0f} px (now {feather * size:.0f}): --feather {_short(wider)}{other}"


def _colour(finding: Finding, context: Context) -> str:
    other = "sot" if context.settings.get("colour") == "mkl" else "mkl"
    return f"--colour {other}{context.now('colour')}"


def _light(finding: Finding, context: Context) -> str:
    return f"{_colour(finding, context)}; if it stays, source faces lit from the same side"


def _flicker(finding: Finding, context: Context) -> str:
    if context.settings.get("colour") == "none":
        return "--colour mkl (now none) ties the face's brightness to the footage's; else train longer"
    return "train longer, on more faces of this pose and light"


def _soft(finding: Finding, context: Context) -> str:
    drawn, size = context.number("size"), context.sizes.get(finding.worst_frame)
    sharpen = context.number("sharpen") or 0.0
    sharper = f"--sharpen {_short(sharpen + 0.3)}{context.now('sharpen')} at render"
    if drawn is not None and size is not None and size > drawn:
        return f"the face is {size:.0f} px here and the model draws {drawn:.0f}: train a larger size, or {sharper}"
    return f"train longer, or a larger size; {sharper}"


def _false_detail(finding: Finding, context: Context) -> str:
    sharpen = context.number("sharpen")
    if sharpen:
        return f"--sharpen {_short(round(sharpen / 2, 2))}{context.now('sharpen')}"
    return "train longer; the footage is softer than the source: render without --sharpen"


def _checkerboard(finding: Finding, context: Context) -> str:
    if context.number("sharpen"):
        return f"--sharpen 0{context.now('sharpen')}, which makes the network's grid stand out; else train longer"
    return "the network's own grid: train longer; it fades last in faces of rare poses"


def _again(finding: Finding, context: Context) -> str:
    return f"render these seconds again: --range {_range(finding)}"


def _missed(finding: Finding, context: Context) -> str:
    return (
        "the face was not found here, or taken for somebody else's: see these seconds in faceset app on the target; "
        f"then --range {_range(finding)}"
    )


def _popped(finding: Finding, context: Context) -> str:
    return f"{_again(finding, context)}; if it is there again, the face is lost or badly found in these frames"


def _ghost(finding: Finding, context: Context) -> str:
    feather = context.number("feather")
    less = "" if feather is None else f"--feather {_short(round(feather / WIDER, 2))}{context.now('feather')} or "
    return f"the footage's own face shows through: {less}--mask union{context.now('mask')}"


def _hole(finding: Finding, context: Context) -> str:
    other = "union" if context.settings.get("mask") == "hull" else "hull"
    return f"--mask {other}{context.now('mask')}; leave it if something does pass before the face here"


def _kept(part: str, more: str) -> Callable[[Finding, Context], str]:
    def advise(finding: Finding, context: Context) -> str:
        if part in str(context.settings.get("keep") or ""):
            return more
        return f"--keep {part} shows the footage's own {part}; else {more}"

    return advise


def _same(text: str) -> Callable[[Finding, Context], str]:
    return lambda finding, context: text


def _short(value: float) -> str:
    """.15 for 0.15."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return text.removeprefix("0") if text.startswith("0.") else text


def _range(finding: Finding) -> str:
    return f"{clock(finding.start)}-{clock(finding.end)}"


_OWN: Mapping[str, Callable[[Finding, Context], str]] = {
    "missed": _missed,
    "frozen": _again,
    "popped": _popped,
    "flicker": _flicker,
    "edge": _edge,
    "colour": _colour,
    "light": _light,
    "soft": _soft,
    "false_detail": _false_detail,
    "checkerboard": _checkerboard,
    "misaligned": _same("train longer: the network does not yet draw the features where the footage has them"),
    "ghost": _ghost,
    "jitter": _same("train longer; the landmarks tremble where the face is small or blurred"),
    "hole": _hole,
    "lips": _kept("mouth", "more source faces that speak, and train longer"),
    "expression": _same("source faces with this expression: faceset report SOURCE --for TARGET names what is missing"),
    "gaze": _kept("eyes", "source faces that look the same way, and train longer"),
    "pose": _same("source faces of this pose: faceset report SOURCE --for TARGET names what is missing"),
    "identity": _same("train longer: the swap still resembles the footage's face; see the training page"),
}
_FOREIGN: Mapping[str, str] = {
    "missed": "the swap is missing: see whether the face is found in these frames, and render them again",
    "frozen": "repeated frames: render them again",
    "popped": "a frame or a few do not follow their neighbours: render them again",
    "flicker": "the colour correction changes from frame to frame: steady it over time",
    "edge": "the mask's edge shows: a wider feather, or a mask that is drawn in further",
    "colour": "match the face's colours to the footage's, in the swap or in the grade",
    "light": "source faces in the same light, or a relighting in the grade",
    "soft": "a larger model or longer training; a mild sharpening of the face",
    "false_detail": "less sharpening or less added grain on the face",
    "checkerboard": "the network's own grid: longer training, less sharpening",
    "misaligned": "the face is pasted off its place: see the alignment's landmarks",
    "ghost": "the footage's own face shows through: a tighter or a harder mask",
    "jitter": "smooth the landmarks or the alignment over time",
    "hole": "the mask has a hole: fill it, unless something does pass before the face",
    "lips": "keep the footage's own mouth, or shift the face's frames against the sound",
    "expression": "more source faces with this expression",
    "gaze": "keep the footage's own eyes, or add source faces that look the same way",
    "pose": "more source faces of this pose",
    "identity": "longer training, or more source faces of this pose and light",
}
