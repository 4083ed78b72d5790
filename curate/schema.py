"""THE schema: every column once, with its unit, range and direction.

The Arrow schemas, the FiftyOne fields, the labels of the reports and `docs/formats.md` come from `COLUMNS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

IDENTITY = 128
"""Length of an identity vector."""
Level = Literal["part", "table", "both"]
"""part: only in parts; table: what only the whole faceset can know; both: written to parts, carried to the table."""


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    type: pa.DataType
    doc: str
    level: Level = "both"
    group: str = "face"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    higher_is_better: bool | None = None


def Score(
    name: str,
    unit: str,
    low: float | None,
    high: float | None,
    higher_is_better: bool | None,
    doc: str,
    group: str = "quality",
    level: Level = "both",
) -> Column:
    """A number about a face: float32, null where it could not be computed."""
    return Column(name, pa.float32(), doc, level, group, unit, low, high, higher_is_better)


def _vector(size: int) -> pa.DataType:
    return pa.list_(pa.float32(), size)


STATUS_OK = "ok"

AXIS_DOCS = {
    "jawOpen": "Jaw open",
    "smile": "Corners of the mouth up and out",
    "pucker": "Lips forward",
    "frown": "Corners of the mouth down",
    "blink": "Eyes shut",
    "eyeWide": "Eyes wide open",
    "browUp": "Brows up",
    "browDown": "Brows down",
}
"""The named axes of expression and what is far along each."""

COLUMNS: tuple[Column, ...] = (
    Column("face_id", pa.string(), "Stable name: 12 digits of the clip's hash, frame, index"),
    Column("clip", pa.string(), "Unique name of the clip"),
    Column("segment", pa.int32(), "Index of the segment in the clip"),
    Column("frame", pa.int64(), "0-based presentation index in the clip"),
    Column("stands_for", pa.int32(), "Frames of the footage, from this one on, for which this face stands", low=1),
    Column("time", pa.float64(), "Presentation time", unit="s", low=0),
    Column("shot", pa.int32(), "Index of the shot (in parts: within the segment; in the table: within the clip)"),
    Column("track", pa.int32(), "Index of the track (in parts: within the segment; in the table: within the faceset)"),
    Column("x", pa.float32(), "Left edge of the face's box", unit="px"),
    Column("y", pa.float32(), "Top edge of the face's box", unit="px"),
    Column("width", pa.float32(), "Width of the face's box", unit="px", low=0),
    Column("height", pa.float32(), "Height of the face's box", unit="px", low=0),
    Score("detection_score", "", 0, 1, True, "Confidence that this is a face", "face"),
    Column("crop", pa.string(), "Path of the aligned crop inside the faceset"),
    Column("matrix", _vector(6), "2x3 row-major similarity from frame pixels to crop pixels"),
    Score("yaw", "deg", -180, 180, None, "Turn of the head, > 0 to the subject's own left (ISO/IEC 39794-5)", "pose"),
    Score(
        "pitch",
        "deg",
        -90,
        90,
        None,
        "Tilt of the head, > 0 looks down (ISO/IEC 39794-5); in the table about the subject's own zero",
        "pose",
    ),
    Score(
        "roll", "deg", -180, 180, None, "Lean of the head, > 0 toward its own right shoulder (ISO/IEC 39794-5)", "pose"
    ),
    Score("pose_confidence", "", 0, 1, True, "Confidence of yaw, pitch and roll; falls past 60 degrees of yaw", "pose"),
    Score("landmark_confidence", "", 0, 1, True, "Presence of the face times the fit of its mesh", "pose"),
    Column(
        "expression",
        _vector(52),
        "Blendshapes in MediaPipe's order: in parts 0..1 as read; in the table above the "
        "subject's neutral and without what pose explains, null for others",
        group="expression",
        low=-1,
        high=1,
    ),
    Column(
        "gaze",
        _vector(2),
        "Gaze in the head: to its own left, up; in the table above the subject's usual one",
        group="expression",
        low=-2,
        high=2,
    ),
    Column(
        "distances", pa.list_(pa.float32()), "Pose-free mesh distances (curate.scores.expression.DISTANCES)", "part"
    ),
    *(
        Score(name, "", -1, 2, None, f"{doc}; 0 is the subject's neutral, 1 about as far as it goes", "axis", "table")
        for name, doc in AXIS_DOCS.items()
    ),
    Column(
        "lighting",
        _vector(6),
        "Light direction times contrast (3), log2 exposure, warmth, tint",
        "table",
        "lighting",
    ),
    Column(
        "light_from",
        pa.string(),
        "albedo: light read with the subject's own albedo; one light: from this frame alone",
        "table",
        "lighting",
    ),
    Column(
        "skin", pa.binary(), "T x 3 uint8 sRGB of the skin's triangles (curate.scores.lighting.skin), 0 unseen", "part"
    ),
    Score("light_x", "", -1, 1, None, "Unit vector to the light: to image right", "lighting", "table"),
    Score("light_y", "", -1, 1, None, "Unit vector to the light: up", "lighting", "table"),
    Score("light_z", "", -1, 1, None, "Unit vector to the light: to the camera", "lighting", "table"),
    Score(
        "Sharpness", "", None, 0, True, "Log energy of fine over coarse gradients on the face, in their best direction"
    ),
    Score("MotionBlur", "", 0, None, False, "The same in the best direction minus the worst: a streak"),
    Score("CompressionArtifacts", "", 0, None, False, "Luma step at 8-pixel block borders over the steps beside them"),
    Score(
        "FaceOcclusionPrevention",
        "",
        0,
        1,
        True,
        "Share of the seen skin that looks as the subject's skin does there",
        level="table",
    ),
    Score(
        "UnderExposurePrevention", "", 0, 1, True, "Share of the skin that is not darker than luma 25, softly counted"
    ),
    Score(
        "OverExposurePrevention", "", 0, 1, True, "Share of the skin that is not brighter than luma 247, softly counted"
    ),
    Score("DynamicRange", "bit", 0, 8, True, "Entropy of the face's luma histogram"),
    Score("IlluminationUniformity", "", 0, 1, True, "Overlap of the luma histograms of left and right cheek"),
    Score(
        "NaturalColour", "", 0, None, False, "Distance of the mean skin colour from the natural range in CIELAB a*, b*"
    ),
    Score("InterEyeDistance", "px", 0, None, True, "Distance of the eye centres, corrected for yaw"),
    Score("HeadSize", "", 0, 1, None, "Height of the head over height of the frame"),
    Score("EyesOpen", "", 0, 1, True, "Smaller eye's opening over the eye-to-chin distance"),
    Score("MouthClosed", "", 0, 1, True, "1 minus the mouth's opening over the eye-to-chin distance"),
    Column(
        "landmarks",
        pa.list_(pa.float32()),
        "N x 3, row-major: x, y in frame pixels, z in pixels, negative to camera",
        "part",
    ),
    Column("identity", _vector(IDENTITY), "Identity vector of the face's track (dlib ResNet)", group="identity"),
    Score(
        "identity_distance", "", 0, 2, False, "Distance of `identity` from the subject's centre", "identity", "table"
    ),
    Column("person", pa.int32(), "Identity cluster, 0 the one with the most faces", "table", "identity"),
    Column("status", pa.string(), "ok, or why this face is not kept or a score is missing"),
    Column("kept", pa.bool_(), "This is the subject's face; at most one a frame", "table"),
)

QUALITY: tuple[Column, ...] = tuple(c for c in COLUMNS if c.group == "quality")


def scalar_name(name: str) -> str:
    """Column of a quality measure's 0..100 value."""
    return f"{name}_scalar"


COLUMNS += tuple(
    Score(scalar_name(c.name), "", 0, 100, True, f"{c.name} as 0..100, more is better", "scalar", "table")
    for c in QUALITY
)
BY_NAME: dict[str, Column] = {c.name: c for c in COLUMNS}
SCORES: tuple[Column, ...] = tuple(c for c in COLUMNS if c.type == pa.float32() and c.group != "face")


def part_schema() -> pa.Schema:
    """Arrow schema of a part."""
    return pa.schema([pa.field(c.name, c.type) for c in COLUMNS if c.level != "table"])


def table_schema() -> pa.Schema:
    """Arrow schema of faces.parquet."""
    return pa.schema([pa.field(c.name, c.type) for c in COLUMNS if c.level != "part"])


SELECTION_COLUMNS: tuple[Column, ...] = (
    Column("face_id", pa.string(), BY_NAME["face_id"].doc, "table", "selection"),
    Column("rank", pa.int32(), "Order of choice, 0 first", "table", "selection"),
    Column("gain", pa.float32(), "Share of the coverage that this face added when it was chosen", "table", "selection"),
    Column("cluster", pa.int32(), "Group of faces that are alike in the diversity space", "table", "selection"),
    Column("reason", pa.string(), "Why the face was selected, as a phrase for people", "table", "selection"),
    Column("group", pa.string(), "Name of the face's group, such as `left 35, smiling`", "table", "selection"),
    Column(
        "reason_kind",
        pa.string(),
        "Why the face was selected: pinned, new (the first of its group), more (of its group) or near-duplicate",
        "table",
        "selection",
    ),
    Column(
        "coverage",
        pa.float32(),
        "Coverage of the footage by this face and those selected before it",
        "table",
        "selection",
        low=0,
        high=1,
    ),
)
"""Columns of selection.parquet."""

SELECTION_SCHEMA = pa.schema([pa.field(c.name, c.type) for c in SELECTION_COLUMNS])
