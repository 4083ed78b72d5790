"""The schema: every column of parts, table and selection, with its unit, range and direction.

The Arrow schemas, the FiftyOne fields, the labels of the reports and `docs/formats.md` come from `COLUMNS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from curate.axes import EXPRESSION

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

COLUMNS: tuple[Column, ...] = (
    Column("face_id", pa.string(), "Stable identifier: 12 digits of the clip's hash, frame number, index in the frame"),
    Column("clip", pa.string(), "Unique name of the clip"),
    Column("segment", pa.int32(), "Index of the segment in the clip"),
    Column("frame", pa.int64(), "0-based presentation index in the clip"),
    Column("stands_for", pa.int32(), "Number of frames, from this one on, that this row represents", low=1),
    Column("time", pa.float64(), "Presentation time", unit="s", low=0),
    Column("shot", pa.int32(), "Index of the shot (in parts: within the segment; in the table: within the clip)"),
    Column("track", pa.int32(), "Index of the track (in parts: within the segment; in the table: within the faceset)"),
    Column("x", pa.float32(), "Left edge of the face's box", unit="px"),
    Column("y", pa.float32(), "Top edge of the face's box", unit="px"),
    Column("width", pa.float32(), "Width of the face's box", unit="px", low=0),
    Column("height", pa.float32(), "Height of the face's box", unit="px", low=0),
    Score("detection_score", "", 0, 1, True, "Confidence that this is a face, from the detector", "face"),
    Column("crop", pa.string(), "Path of the aligned crop inside the faceset"),
    Column("matrix", _vector(6), "Similarity transform (2x3, row-major) from frame pixels to crop pixels"),
    Score(
        "yaw", "deg", -180, 180, None, "Yaw of the head, > 0 turned to the subject's own left (ISO/IEC 39794-5)", "pose"
    ),
    Score(
        "pitch",
        "deg",
        -90,
        90,
        None,
        "Pitch of the head, > 0 looking down (ISO/IEC 39794-5); in the table relative to the subject's own zero",
        "pose",
    ),
    Score(
        "roll", "deg", -180, 180, None, "Roll of the head, > 0 toward its own right shoulder (ISO/IEC 39794-5)", "pose"
    ),
    Score(
        "pose_confidence",
        "",
        0,
        1,
        True,
        "Confidence of yaw, pitch and roll; decreases beyond 60 degrees of yaw",
        "pose",
    ),
    Score(
        "landmark_confidence", "", 0, 1, True, "Landmarker's face presence times the quality of the mesh fit", "pose"
    ),
    Column(
        "expression",
        _vector(52),
        "Blendshapes in MediaPipe's order: in parts 0..1 as measured; in the table relative to the "
        "subject's neutral and corrected for pose, null for other people",
        group="expression",
        low=-1,
        high=1,
    ),
    Column(
        "gaze",
        _vector(2),
        "Gaze relative to the head: to its own left, up; in the table relative to the subject's usual gaze",
        group="expression",
        low=-2,
        high=2,
    ),
    Column(
        "distances",
        pa.list_(pa.float32()),
        "Mesh distances, independent of pose (curate.scores.expression.DISTANCES)",
        "part",
    ),
    *(
        Score(a.name, "", -1, 2, None, f"{a.doc}; 0 is the subject's neutral, about 1 its extreme", "axis", "table")
        for a in EXPRESSION
    ),
    Column(
        "lighting",
        _vector(6),
        "Light direction times contrast (3 values), log2 exposure, warmth, tint",
        "table",
        "lighting",
    ),
    Column(
        "light_from",
        pa.string(),
        "albedo: lighting estimated with the subject's own albedo; one light: from this frame alone, as in hard light",
        "table",
        "lighting",
    ),
    Column(
        "skin",
        pa.binary(),
        "Mean colours of the skin's triangles (curate.scores.lighting.skin), T x 3 uint8 sRGB, 0 where not visible",
        "part",
    ),
    Score("light_x", "", -1, 1, None, "Unit vector to the light: x, to image right", "lighting", "table"),
    Score("light_y", "", -1, 1, None, "Unit vector to the light: y, up", "lighting", "table"),
    Score("light_z", "", -1, 1, None, "Unit vector to the light: z, to the camera", "lighting", "table"),
    Score(
        "Sharpness",
        "",
        None,
        0,
        True,
        "Log ratio of fine to coarse gradient energy on the face, in the sharpest direction",
    ),
    Score(
        "MotionBlur",
        "",
        0,
        None,
        False,
        "Log ratio of fine to coarse gradients across a streak minus along it; defocus leaves it",
    ),
    Score(
        "LandmarkJump",
        "cm",
        0,
        None,
        False,
        "Distance of the rigid landmarks from their mean in the frames before and after, in the head's own axes; null "
        "without both frames",
    ),
    Score(
        "CompressionArtifacts", "", 0, None, False, "Luma steps at 8-pixel block borders relative to neighbouring steps"
    ),
    Score(
        "FaceOcclusionPrevention",
        "",
        0,
        1,
        True,
        "Fraction of the visible skin that looks like the subject's skin",
        level="table",
    ),
    Score(
        "UnderExposurePrevention",
        "",
        0,
        1,
        True,
        "Fraction of the skin that is not darker than luma 25 (soft threshold)",
    ),
    Score(
        "OverExposurePrevention",
        "",
        0,
        1,
        True,
        "Fraction of the skin that is not brighter than luma 247 (soft threshold)",
    ),
    Score("DynamicRange", "bit", 0, 8, True, "Entropy of the face's luma histogram"),
    Score("IlluminationUniformity", "", 0, 1, True, "Overlap of the luma histograms of left and right cheek"),
    Score(
        "NaturalColour", "", 0, None, False, "Distance of the mean skin colour from the natural range in CIELAB a*, b*"
    ),
    Score("InterEyeDistance", "px", 0, None, True, "Distance between the eye centres, corrected for yaw"),
    Score("HeadSize", "", 0, 1, None, "Height of the head relative to the height of the frame"),
    Score("EyesOpen", "", 0, 1, True, "Opening of the less open eye relative to the eye-to-chin distance"),
    Score("MouthClosed", "", 0, 1, True, "1 minus the mouth opening relative to the eye-to-chin distance"),
    Column(
        "landmarks",
        pa.list_(pa.float32()),
        "Landmarks (N x 3, row-major): x, y in frame pixels, z in pixels, negative toward the camera",
        "part",
    ),
    Column(
        "identity",
        _vector(IDENTITY),
        "Identity vector of the face's track; in parts only of the faces it was read from",
        group="identity",
    ),
    Column(
        "chip",
        pa.binary(),
        "JPEG of the aligned picture from which `identity` was read; null in parts of older versions",
        "part",
        "identity",
    ),
    Score(
        "identity_distance",
        "",
        0,
        2,
        False,
        "Distance of `identity` from the subject's mean identity, of several looks the nearest",
        "identity",
        "table",
    ),
    Column("person", pa.int32(), "Person by identity: 0 has the most faces, -1 is nobody", "table", "identity"),
    Column("status", pa.string(), "ok, or the reason why this face is not kept or a score is missing"),
    Column("kept", pa.bool_(), "True if this is the subject's face; at most one per frame", "table"),
)

QUALITY: tuple[Column, ...] = tuple(c for c in COLUMNS if c.group == "quality")


def scalar_name(name: str) -> str:
    """Column of a quality measure's 0..100 value."""
    return f"{name}_scalar"


COLUMNS += tuple(
    Score(scalar_name(c.name), "", 0, 100, True, f"{c.name} scaled to 0..100, more is better", "scalar", "table")
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
