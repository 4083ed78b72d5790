"""From which value on a measure is a finding: the only place where these numbers stand.

First values: above the worst that H.264 at CRF 18 and 28 did to any frame of nine clean clips of 480 to 1280 lines
(frozen 37 %, flicker .4 %, edge 2.5, colour .6, detail .14 octaves, misalignment .2 %), with a margin of 1.2 to 4.
Without a reference: above the worst of seven clips as they are (edge 3.6, detail 1.1 octaves; flicker 5.9 %, but never
in three frames close together).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """One kind of finding and the measure it rests on. Every measure is higher where it is worse."""

    kind: str
    """Stable name, in JSON."""
    title: str
    """The same in words."""
    measure: str
    """Column of the measures."""
    unit: str
    threshold: float
    """A frame is flagged above this value."""
    medium: float
    """From this worst value on the finding is of medium severity."""
    high: float
    """From this worst value on it is of high severity."""
    frames: int
    """So many flagged frames make an event; fewer are ignored."""
    doc: str
    """What the measure is, one sentence."""


REFERENCE: tuple[Limit, ...] = (
    Limit("missed", "face not swapped", "missed", "%", 70, 70, 70, 1,
          "How much of the usual difference between output and reference is missing from this frame's face"),
    Limit("frozen", "face stands still", "frozen", "%", 75, 85, 95, 3,
          "How much of the reference's movement inside the face is missing from the output"),
    Limit("flicker", "brightness flickers", "flicker", "%", 1.0, 2.5, 6.0, 2,
          "Change of the face's brightness against its surroundings from frame to frame, beyond the reference's"),
    Limit("edge", "visible edge around the face", "edge", "CIELAB", 3.0, 6.0, 12.0, 3,
          "Colour step across the outline of the face that the reference does not have"),
    Limit("colour", "colour or light does not match", "colour", "CIEDE2000", 2.5, 5.0, 10.0, 3,
          "Difference of the face's colours from the reference's, fine detail left out"),
    Limit("soft", "detail lost", "detail_lost", "octaves", 0.2, 0.8, 1.5, 3,
          "How much weaker the face's fine detail is than the reference's, beyond the surroundings"),
    Limit("false_detail", "detail that is not in the footage", "false_detail", "octaves", 0.2, 0.8, 1.5, 3,
          "How much stronger the face's fine detail is than the reference's: grain, ringing, checkerboard"),
    Limit("misaligned", "face out of place", "misalignment", "% of face width", 0.3, 0.8, 2.0, 3,
          "Shift of the face's features against the reference's"),
)  # fmt: skip
"""Kinds that are looked for with the target footage as reference."""

ALONE: tuple[Limit, ...] = (
    Limit("frozen", "face stands still", "frozen", "%", 90, 95, 98, 3,
          "How much less the face changes than its surroundings do"),
    Limit("flicker", "brightness flickers", "flicker", "%", 4.0, 7.0, 14.0, 3,
          "How abruptly the face's brightness changes against its surroundings"),
    Limit("edge", "visible edge around the face", "edge_line", "x", 4.2, 5.0, 7.0, 3,
          "Gradient along the outline of the face over the gradient beside it"),
    Limit("soft", "detail lost", "detail_lost", "octaves", 1.5, 2.0, 2.5, 3,
          "How much weaker the face's fine detail is than usual in this video, beyond the surroundings"),
)  # fmt: skip
"""Kinds that are looked for in a video on its own."""

GAP_SECONDS = 0.2
"""Flagged stretches of one kind that are no further apart than this are one event."""
MOTION = 1.2
"""Luma levels: below this movement of the reference (or of the surroundings) a still face says nothing."""
SWAP = 3.0
"""CIELAB units: a video whose faces differ less than this from the reference's is no swap, so no face is missed."""
CUT = 24.0
"""Luma levels of a small version of the frame: a greater change from one frame to the next is a cut."""


def limits(has_reference: bool) -> tuple[Limit, ...]:
    """The kinds of finding that are looked for."""
    return REFERENCE if has_reference else ALONE
