"""Remedies for findings: what would likely help, with flags and figures where the settings of the render are known."""

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
from reports.artifacts.kinds import by_name
from reports.page.page import clock, count

FEW = 0.05
"""Below this fraction of the source's faces, a range of poses has too few to learn from."""
BEYOND = {"yaw": (15.0, 30.0, 45.0, 60.0), "pitch": (10.0, 20.0, 30.0)}
"""Degrees from which a head counts as turned this far; below the first it is frontal."""
WIDER, WIDEST = 1.5, 0.4
"""Suggested feather: this many times the present one, up to this fraction of the face."""
SHARPER, SHARPEST = 0.3, 2.0
"""Suggested increase of --sharpen, and its maximum."""
SHARPENED = frozenset({"checkerboard", "false_detail"})
"""Kinds that more --sharpen makes worse."""

_TYPED = re.compile(
    r"(faceset report SOURCE --for TARGET|--[a-z]+(?: (?:[\d.:-]*\d|mkl|sot|hull|union|pyramid|mouth|eyes)\b)?)"
)


@dataclass(frozen=True)
class SourcePoses:
    """Head poses of the source faces that the model of a render was trained on."""

    yaw: NDArray[np.float64]
    """(N,) degrees, > 0 turned to the subject's left."""
    pitch: NDArray[np.float64]
    """(N,) degrees, > 0 looks down."""

    def advice(self, pose: tuple[float, float]) -> str:
        """Advice for a (yaw, pitch) in degrees of which the source has few faces; empty where it has enough.

        Faces count that are turned at least as far, on the axis on which the pose is furthest out.
        """
        ranges = [r for r in (self._beyond("yaw", pose[0]), self._beyond("pitch", pose[1])) if r is not None]
        if not ranges or not len(self.yaw):
            return ""
        words, number = min(ranges, key=lambda r: r[1])
        if number >= FEW * len(self.yaw):
            return ""
        return f"add source faces that {words} (the source has {count(number)} of {count(len(self.yaw))})"

    def _beyond(self, axis: str, angle: float) -> tuple[str, int] | None:
        least = max((edge for edge in BEYOND[axis] if abs(angle) >= edge), default=None)
        if least is None:
            return None
        side = 1 if angle > 0 else -1
        words = READABLE[axis].high if side > 0 else READABLE[axis].low
        return f"are {words} beyond {least:.0f}°", int((side * getattr(self, axis) >= least).sum())


def source_poses(faceset: Faceset) -> SourcePoses | None:
    """Poses of the selected faces; None if the faceset has no table or no selection, or cannot be read."""
    try:
        chosen = faceset.selected(["yaw", "pitch"]).dropna(subset=["yaw", "pitch"])
    except (FacesetError, OSError, ValueError):
        return None
    return SourcePoses(chosen["yaw"].to_numpy(np.float64), chosen["pitch"].to_numpy(np.float64))


@dataclass(frozen=True)
class Context:
    """Facts about how a video was made; empty for one that another program made."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the render by the names of their flags (mask, erode, feather, colour, relight, blend, sharpen, keep),
    and `size`, the side in pixels of the crops that the model draws."""
    source: SourcePoses | None = None
    sizes: Mapping[int, float] = field(default_factory=dict)
    """Frame to the face's size in it in pixels: the root of its hull's area, to which lengths in the settings refer."""
    offset: float = 0.0
    """Seconds by which the time stamps of the footage are ahead of the video's."""
    kinds: frozenset[str] = frozenset()
    """Kinds of all findings of the report: the remedy of one must not make another worse."""

    @property
    def own(self) -> bool:
        """Whether this program rendered the video, so that its flags apply."""
        return bool(self.settings) or self.source is not None

    def number(self, flag: str) -> float | None:
        """A setting as a number; None where it is not known."""
        value = self.settings.get(flag)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    def now(self, flag: str) -> str:
        """The present setting as ` (now mkl)`; empty where it is not known."""
        value = self.settings.get(flag)
        return "" if value is None else f" (now {_short(value) if isinstance(value, float) else value})"


def remedy(finding: Finding, context: Context | None = None) -> str:
    """Likely remedy in a sentence or two; empty for an unknown kind."""
    known, kind = context or Context(), by_name().get(finding.kind)
    if kind is None:
        return ""
    advice = [kind.advice]
    if known.own:
        computed = COMPUTED.get(kind.name)
        advice = [computed(finding, known) if computed else kind.own_advice or kind.advice]
    pose = finding.pose
    if kind.more_faces and known.source is not None and pose is not None and all(map(math.isfinite, pose)):
        advice.append(known.source.advice(pose))
    return ". ".join(a[0].upper() + a[1:] for a in advice if a) + "."


def typed(text: str) -> tuple[tuple[str, bool], ...]:
    """Pieces of the text, each with whether it is something to type: a flag with its value, or a command."""
    return tuple((piece, bool(i % 2)) for i, piece in enumerate(_TYPED.split(text)) if piece)


def _edge(finding: Finding, context: Context) -> str:
    feather, size = context.number("feather"), context.sizes.get(finding.worst_frame)
    pyramid = "" if context.settings.get("blend") == "pyramid" else "--blend pyramid"
    if feather is None:
        return f"use a wider --feather, or {pyramid or 'more --erode'}"
    wider = round(min(feather * WIDER, WIDEST), 2)
    other = f", or use {pyramid}" if pyramid else ""
    if wider <= feather:
        more = f"{pyramid} or more --erode" if pyramid else "more --erode"
        return f"use {more}; a feather wider than the present one{context.now('feather')} does not help"
    if size is None:
        return f"widen the feather: --feather {_short(wider)}{context.now('feather')}{other}"
    return f"widen the feather to {wider * size:.0f} px (now {feather * size:.0f} px): --feather {_short(wider)}{other}"


def _colour(finding: Finding, context: Context) -> str:
    other = "sot" if context.settings.get("colour") == "mkl" else "mkl"
    return f"use --colour {other}{context.now('colour')}"


def _light(finding: Finding, context: Context) -> str:
    relight = context.number("relight")
    first = _colour(finding, context) if relight is None or relight == 1 else f"use --relight 1{context.now('relight')}"
    return f"{first}; if that is not enough, add source faces lit from the same side"


def _flicker(finding: Finding, context: Context) -> str:
    if context.settings.get("colour") == "none":
        return "use --colour mkl (now none), which matches the brightness to the footage; otherwise train longer"
    return "train longer, on more faces with this head pose and light"


def _soft(finding: Finding, context: Context) -> str:
    drawn, size = context.number("size"), context.sizes.get(finding.worst_frame)
    sharpen = context.number("sharpen") or 0.0
    more = _short(min(sharpen + SHARPER, SHARPEST))
    no_help = sharpen >= SHARPEST or context.kinds & SHARPENED
    sharper = "" if no_help else f", or render with --sharpen {more}{context.now('sharpen')}"
    if drawn is not None and size is not None and size > drawn:
        return (
            f"train a model with a larger --size (the face is {size:.0f} px here, the model draws {drawn:.0f}){sharper}"
        )
    return f"train longer or with a larger --size{sharper}"


def _false_detail(finding: Finding, context: Context) -> str:
    sharpen = context.number("sharpen")
    if sharpen:
        return f"sharpen less: --sharpen {_short(round(sharpen / 2, 2))}{context.now('sharpen')}"
    less = ", and render without --sharpen" if sharpen is None else ""
    return f"train longer{less}; the footage is softer than the source faces"


def _checkerboard(finding: Finding, context: Context) -> str:
    if context.number("sharpen"):
        return f"use --sharpen 0{context.now('sharpen')}, as sharpening amplifies this pattern; otherwise train longer"
    return "train longer: the network produces this pattern, which fades last in faces with rare poses"


def _render_again(finding: Finding, context: Context) -> str:
    start, end = (clock(second + context.offset) for second in (finding.start, finding.end))
    return f"render this passage again with --range {start}-{end}"


def _missed(finding: Finding, context: Context) -> str:
    cause = "the face was not detected here, or was taken for another person: check the target in the App"
    return f"{cause}, then r{_render_again(finding, context)[1:]}"


def _popped(finding: Finding, context: Context) -> str:
    return f"{_render_again(finding, context)}. If it recurs, the face is not tracked reliably in these frames"


def _ghost(finding: Finding, context: Context) -> str:
    feather = context.number("feather")
    ways = [] if feather is None else [f"--feather {_short(round(feather / WIDER, 2))}{context.now('feather')}"]
    ways += [] if context.settings.get("mask") == "union" else [f"--mask union{context.now('mask')}"]
    return f"the original face shows through: use {' or '.join(ways) or 'a narrower --feather'}"


def _hole(finding: Finding, context: Context) -> str:
    other = "union" if context.settings.get("mask") == "hull" else "hull"
    return f"use --mask {other}{context.now('mask')}, unless an object really passes in front of the face here"


def _kept(part: str, more: str) -> Callable[[Finding, Context], str]:
    def advise(finding: Finding, context: Context) -> str:
        if part in str(context.settings.get("keep") or ""):
            return more
        return f"use --keep {part} to keep the {part} of the footage, or {more}"

    return advise


def _short(value: float) -> str:
    """The number with two decimals at most: 0.15, 0.4, 1."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


COMPUTED: Mapping[str, Callable[[Finding, Context], str]] = {
    "missed": _missed,
    "frozen": _render_again,
    "popped": _popped,
    "flicker": _flicker,
    "edge": _edge,
    "colour": _colour,
    "light": _light,
    "soft": _soft,
    "false_detail": _false_detail,
    "checkerboard": _checkerboard,
    "ghost": _ghost,
    "hole": _hole,
    "lips": _kept("mouth", "add source faces that speak, and train longer"),
    "gaze": _kept("eyes", "add source faces that look in the same direction, and train longer"),
}
"""Kinds whose advice depends on the settings of the render; the others have `Kind.own_advice`."""
