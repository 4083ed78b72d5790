"""Artifact kinds: one row each, with its measure, thresholds, wording and remedies. Every list of kinds is read here.

To add a kind, add a row to KINDS. If it needs a number per frame, write it in `inspector.py` under the name of the
measure; if it needs neighbouring frames, compute it in `series_measures.py`.

Thresholds lie above the worst value that lasted for the minimum number of frames in clean footage: four clips and two
turntable heads unchanged, and the four clips as clean swaps, before and after H.264 at CRF 23, all in one run of
`python -m benchmarks.artifacts --calibrate`. The margin is a factor of 1.2 or more with a reference and of 1.1 or more
without one: a weak artifact is rather missed than clean footage accused. Without a reference the heads set `hole` and
`checkerboard`: they turn far and fast. `soft`, `edge`, `jitter` and `light` without one lie above what lasts in the
clean clips named in docs/evidence.md; the highest were one small face (`soft`, `edge`) and footage with repeated frames
(`jitter`, `light`), apart from the shadow of a hand, which `light` reports. The threshold of `identity` is the distance
at which 0.6 % of strangers pass for the same person; it does not depend on any video.

`jitter` and `soft` with a reference, and the allowances for fast movement FAST_LIGHT and FAST_COLOUR
(`series_measures`) were raised once more after the TEST clips had been seen: the benchmark's rate of false alarms is no
longer a figure of unseen footage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["low", "medium", "high"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high")


@dataclass(frozen=True)
class Limit:
    """The measure of a kind and its thresholds. Every measure is higher where it is worse."""

    measure: str
    """Column of the measures."""
    unit: str
    low: float
    """A frame is flagged above this value."""
    medium: float
    """A finding whose worst value reaches this is of medium severity."""
    high: float
    """A finding whose worst value reaches this is of high severity."""
    frames: int
    """Minimum number of flagged frames; shorter events are ignored."""
    doc: str
    """What the measure is, as a noun phrase."""
    region: str = ""
    """Part of the face that the measure is about, one of `patch.REGIONS`; empty: it is computed, or the whole face."""

    def severity(self, value: float) -> Severity:
        """Severity of a finding with this worst value."""
        return "high" if value >= self.high else "medium" if value >= self.medium else "low"


@dataclass(frozen=True)
class Kind:
    """One kind of artifact."""

    name: str
    """Stable name, in JSON."""
    title: str
    """The kind in a few words, without an article: timeline, tables, docs."""
    phrase: str
    """What one sees, as a clause that a region can follow: "the face jitters" ("at the left cheek")."""
    advice: str
    """What would likely help with any renderer, as the beginning of a sentence in lower case, without a full stop."""
    full_reference: Limit | None = None
    """How it is measured against the target footage; None: not at all."""
    no_reference: Limit | None = None
    """How it is measured in a video on its own; None: not at all."""
    explains: tuple[str, ...] = ()
    """Kinds that this one causes as well: over the same time they are not findings of their own."""
    certain_from: Severity | None = None
    """From this severity on nothing else moves the measure: it explains however weak it is. None: never."""
    overrides_all: bool = False
    """It also explains medium and high findings of kinds that are `independent`."""
    independent: bool = False
    """From medium severity on it is a finding of its own unless an `overrides_all` kind explains it."""
    own_advice: str = ""
    """Advice for renders of this program, with its flags; empty: `remedies.COMPUTED`, or else `advice`."""
    more_faces: bool = False
    """More source faces of the same head pose would help."""

    def limit(self, has_reference: bool) -> Limit | None:
        """Its measure and thresholds, with or without a reference; None: it is not looked for."""
        return self.full_reference if has_reference else self.no_reference


_IDENTITY = Limit(
    "identity", "distance", 0.5, 0.6, 0.75, 5, "Distance of the face's embedding from the usual one in this video"
)
KINDS: tuple[Kind, ...] = (
    Kind("missed", "face not swapped", "the face is not swapped",
         "check whether the face is detected in these frames, and render them again",
         Limit("missed", "%", 70, 70, 70, 1,
               "Share of the usual difference between output and reference that the face of this frame lacks"),
         explains=("popped", "flicker", "edge", "colour", "light", "soft", "false_detail", "checkerboard",
                   "misaligned", "ghost", "jitter", "hole", "expression", "gaze", "pose", "lips", "identity"),
         certain_from="low", overrides_all=True),
    Kind("frozen", "face frozen", "the face is frozen",
         "these frames repeat earlier ones: render them again",
         Limit("frozen", "%", 75, 85, 95, 3,
               "Share of the reference's movement inside the face that is missing from the output"),
         Limit("frozen", "%", 88, 94, 98, 3, "How much less the face changes than its surroundings"),
         explains=("popped", "flicker", "edge", "colour", "light", "soft", "false_detail", "misaligned", "ghost",
                   "jitter", "hole", "lips", "expression", "gaze", "pose"),
         certain_from="low", overrides_all=True),
    Kind("popped", "face jumps briefly", "the face jumps briefly",
         "these frames do not match their neighbours: render them again",
         Limit("popped", "CIELAB", 0.6, 3.0, 8.0, 1,
               "Distance of a face that returns within four frames from both neighbours, beyond the reference's"),
         Limit("popped", "CIELAB", 0.6, 3.0, 8.0, 1,
               "Distance of a face that returns within four frames from both neighbours: in colour, or in 5 % of its "
               "width out of place"),
         explains=("flicker", "edge", "colour", "light", "soft", "false_detail", "misaligned", "ghost", "jitter",
                   "hole", "expression", "gaze", "pose", "identity", "checkerboard"),
         certain_from="low", overrides_all=True),
    Kind("hole", "hole or object over the face", "part of the face is missing or covered",
         "fill the hole in the mask, unless an object really passes in front of the face",
         Limit("hole", "%", 32.0, 60.0, 90.0, 3,
               "How much a patch stands out from the rest of the face, by its colour or because it is not swapped"),
         Limit("hole", "%", 135.0, 180.0, 210.0, 8,
               "How much the colour of a patch stands out from the rest of the face and from its usual colour"),
         explains=("edge", "colour", "light", "false_detail", "soft", "ghost", "misaligned", "jitter", "flicker",
                   "expression", "gaze", "checkerboard"),
         certain_from="medium", more_faces=True),
    Kind("flicker", "brightness flickers", "the brightness flickers",
         "the colour correction changes from frame to frame: smooth it over time",
         Limit("flicker", "%", 0.4, 2.5, 6.0, 3,
               "Change of the face's brightness relative to its surroundings per frame, beyond the reference's"),
         Limit("flicker", "%", 1.2, 4.0, 10.0, 3,
               "Abrupt change of the face's brightness relative to its surroundings per frame"),
         explains=("colour", "edge", "light", "jitter", "misaligned", "hole", "soft", "false_detail"),
         more_faces=True),
    Kind("colour", "colour of the face is off", "the colour of the face is off",
         "match the colours of the face to the footage, in the swap or in the grade",
         Limit("colour", "CIEDE2000", 3.2, 5.5, 10.0, 3,
               "Difference of the face's colours from the reference's without fine detail, median over the face"),
         Limit("colour_jump", "CIELAB", 3.0, 6.0, 12.0, 3,
               "Distance of the face's colour from its usual one that came about by jumps between frames"),
         explains=("edge", "light", "flicker", "soft", "false_detail", "misaligned", "jitter", "ghost", "hole"),
         independent=True),
    Kind("light", "light direction differs", "the light direction differs",
         "use source faces in the same light, or relight the face in the grade",
         Limit("light", "L* across the face", 7.0, 12.0, 20.0, 3,
               "Slope of the brightness difference between output and reference across the face"),
         Limit("light_jump", "L* across the face", 10.0, 15.0, 22.0, 8,
               "Distance of the brightness's slope across the face from its usual one; slow changes count 40 %"),
         explains=("edge", "colour", "flicker", "misaligned", "jitter"),
         independent=True),
    Kind("checkerboard", "checkerboard pattern", "a checkerboard pattern is visible",
         "the network produces this pattern: train longer, or sharpen less",
         Limit("checkerboard", "dB", 8.4, 14.0, 20.0, 3,
               "Height of the highest peak in the spectrum of the face over a smooth one, beyond the reference's"),
         Limit("checkerboard", "dB", 13.0, 18.0, 24.0, 3,
               "Height of the highest peak in the spectrum of the face over a smooth one"),
         explains=("false_detail", "ghost", "edge", "soft", "misaligned", "jitter"),
         certain_from="low"),
    Kind("false_detail", "added grain or detail", "there is grain or detail that the footage does not have",
         "sharpen less, or add less grain to the face",
         Limit("false_detail", "octaves", 0.25, 0.8, 1.5, 3,
               "How much stronger the fine detail of the face is than the reference's: grain, ringing"),
         explains=("misaligned", "jitter", "ghost", "hole"),
         more_faces=True),
    Kind("ghost", "double contours (ghosting)", "the contours are doubled",
         "the original face shows through: use a mask with a harder edge",
         Limit("ghost", "%", 8.2, 20.0, 40.0, 3,
               "Strength of a shifted, faint copy of the face that the reference does not have"),
         explains=("soft", "misaligned", "jitter", "edge", "colour", "expression"),
         certain_from="low", more_faces=True),
    Kind("jitter", "face jitters", "the face jitters",
         "smooth the landmarks or the alignment over time",
         Limit("jitter", "% of face width", 0.25, 0.5, 1.2, 3,
               "Movement of the face back and forth per frame, beyond the reference's"),
         Limit("jitter", "% of face width", 0.28, 0.5, 1.2, 3,
               "Distance by which the face shakes from frame to frame, beyond that of its surroundings"),
         explains=("misaligned", "flicker", "edge", "hole"),
         own_advice="train longer; landmarks jitter where the face is small or blurred", more_faces=True),
    Kind("geometry", "face distorted", "the face is distorted",
         "the swap tears or slips here: render these frames again, or show the original face in them",
         Limit("geometry", "times the scatter", 2.5, 4.0, 7.0, 5,
               "Distance of nose, eyes or mouth from their place in the reference's face, beyond the usual one"),
         Limit("geometry", "times the scatter", 4.6, 6.0, 9.0, 5,
               "Distance of nose, eyes or mouth from their usual place in this face"),
         explains=("pose", "expression", "gaze", "lips", "misaligned", "jitter", "ghost", "soft", "false_detail",
                   "hole", "edge", "colour", "light", "checkerboard", "identity"),
         certain_from="low", more_faces=True,
         own_advice="show the footage's face here with --mend, or train longer on faces with this head pose"),
    Kind("pose", "head pose differs", "the head pose differs",
         "add source faces with this head pose",
         Limit("pose", "degrees", 4.0, 8.0, 15.0, 5,
               "Difference in yaw, pitch and roll between output and reference, beyond the usual one"),
         explains=("misaligned", "jitter", "soft", "false_detail", "ghost", "checkerboard", "expression", "gaze",
                   "edge", "colour", "hole", "light"),
         certain_from="low", more_faces=True,
         own_advice="add source faces with this head pose: faceset report SOURCE --for TARGET lists what is missing"),
    Kind("misaligned", "face misaligned", "the face is misaligned",
         "the face is pasted in the wrong place: check the landmarks that it was aligned by",
         Limit("misalignment", "% of face width", 0.34, 0.8, 2.0, 3,
               "Shift of the facial features against the reference's, beyond the usual shift"),
         explains=("edge", "colour", "light", "jitter", "hole", "ghost", "soft"),
         own_advice="train longer: the network does not place the features where the footage has them yet",
         more_faces=True),
    Kind("lips", "lips out of sync", "the lips are out of sync",
         "keep the mouth of the footage, or shift the frames of the face relative to the sound",
         Limit("lips", "frames", 1.5, 3.0, 5.0, 5, "Lag between the mouth movements of output and reference",
               region="mouth"),
         explains=("expression", "hole", "misaligned", "jitter"),
         certain_from="low", more_faces=True),
    Kind("expression", "expression differs", "the expression differs",
         "add source faces with this expression",
         Limit("expression", "cm", 0.45, 0.8, 1.3, 5,
               "Difference from the reference in mouth opening, mouth width or eye opening, on an average head"),
         explains=("hole", "misaligned", "jitter", "colour", "lips", "soft"),
         certain_from="low", more_faces=True,
         own_advice="add source faces with this expression: faceset report SOURCE --for TARGET lists what is missing"),
    Kind("gaze", "gaze direction differs", "the gaze direction differs",
         "keep the eyes of the footage, or add source faces that look in the same direction",
         Limit("gaze", "% of eye width", 5.0, 9.0, 15.0, 5,
               "Difference from the reference in the position of the irises within the eyes"),
         explains=("misaligned", "soft"),
         certain_from="low", more_faces=True),
    Kind("soft", "fine detail lost", "fine detail is lost",
         "use a larger model, train longer, or sharpen the face slightly",
         Limit("detail_lost", "octaves", 0.23, 0.8, 1.5, 3,
               "How much weaker the face's fine detail is than the reference's or than usual, beyond the surroundings"),
         Limit("detail_lost", "octaves", 0.75, 1.0, 1.5, 3,
               "How much weaker the finest detail of the face is than usual around this time, beyond the surroundings"),
         explains=("edge", "misaligned", "jitter"),
         more_faces=True),
    Kind("match", "face unlike its surroundings", "the face does not match the picture around it",
         "the face is too soft for the picture: use a larger model, train longer, or add the footage's grain",
         None,
         Limit("unlike", "log-odds", 3.3, 4.5, 7.0, 12,
               "Log-odds that the detail of eyes, nose, mouth and cheeks does not belong with that around the face"),
         explains=("soft", "false_detail"),
         more_faces=True),
    Kind("edge", "visible edge around the face", "the edge of the swap is visible",
         "use a wider feather, or a mask that is eroded further",
         Limit("edge", "L*", 1.1, 3.0, 6.0, 3,
               "Sharp step in brightness along the outline of the face that the reference does not have",
               region="edge"),
         Limit("edge_line", "L*", 0.6, 1.0, 1.6, 5,
               "Sharp step in brightness along a line around the upper face where there usually is none",
               region="edge"),
         explains=("colour", "false_detail", "soft", "light", "hole", "misaligned", "jitter"),
         independent=True, more_faces=True),
    Kind("identity", "identity changes", "the face looks like someone else",
         "train longer, or add source faces with this head pose and light",
         _IDENTITY, _IDENTITY,
         own_advice="train longer: the swap still resembles the original face; see the training report",
         more_faces=True),
)  # fmt: skip
"""Every kind of artifact, in the order in which they explain each other."""

GAP_SECONDS = 0.2
"""Flagged stretches of one kind that are no further apart than this are one event."""
FULL_REFERENCE_MOTION = 0.35
NO_REFERENCE_MOTION = 0.35
"""Luma levels: where less movement is expected, with or without a reference, a still face is not an artifact."""
SWAP = 2.5
"""CIELAB units: a video whose faces differ less than this from the reference's is no swap, so no face is missed."""


def limits(has_reference: bool) -> list[tuple[Kind, Limit]]:
    """The kinds that are looked for with or without a reference, each with its measure and thresholds."""
    return [(kind, limit) for kind in KINDS if (limit := kind.limit(has_reference)) is not None]


def by_name() -> dict[str, Kind]:
    """Every kind by its name."""
    return {kind.name: kind for kind in KINDS}
