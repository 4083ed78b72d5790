"""The footage in the App: one video per clip, with the boxes of the faces on every frame, by track.

A separate dataset, made on request (`faceset app DIR --clips`), since it needs the footage.
"""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd

from curate.dataset.faceset import Faceset
from curate.errors import WorkError
from curate.types import Clip

log = logging.getLogger(__name__)

COLUMNS = ("clip", "frame", "face_id", "x", "y", "width", "height", "track", "person", "kept", "status")
SCORES = ("yaw", "pitch", "roll")
FIELD = "faces"
INFO = "faceset clips"
SUBJECT, NOBODY = "subject", "unknown"


def load_clips(fo: Any, faceset: Faceset, name: str, fingerprint: dict[str, str]) -> Any:
    """The dataset `name` of the faceset's videos, made anew unless it was made of the same files.

    Every frame with a face has `faces`: detections with label "subject" or "person N", the track as index, confidence,
    status, head pose, and whether the face was selected. Clips whose file is gone are left out with a warning. Raises
    WorkError where no clip is left.
    """
    if fo.dataset_exists(name):
        dataset = fo.load_dataset(name)
        if dataset.info.get(INFO) == fingerprint:
            return dataset
        dataset.delete()
    clips = [clip for clip in faceset.clips if _is_there(clip)]
    if not clips:
        raise WorkError(
            f"{faceset.folder}: none of its videos is at its path any more: move the footage back to show it"
        )
    table = faceset.table([*COLUMNS, "detection_score", *SCORES])
    chosen = set(faceset.selection()["face_id"]) if faceset.selection_path.is_file() else set()
    table["selected"] = table["face_id"].isin(chosen)
    dataset = fo.Dataset(name, persistent=True)
    try:
        for clip in clips:
            dataset.add_sample(_sample(fo, clip, table[table["clip"] == clip.name]), validate=False)
        dataset.info[INFO] = fingerprint
        dataset.save()
    except BaseException:
        dataset.delete()
        raise
    return dataset


def _is_there(clip: Clip) -> bool:
    if clip.kind == "video" and not Path(clip.path).is_file():
        log.warning("%s: %s does not exist any more, so the clip is not shown", clip.name, clip.path)
    return clip.kind == "video" and Path(clip.path).is_file()


def _sample(fo: Any, clip: Clip, rows: pd.DataFrame) -> Any:
    """A video with its faces frame by frame."""
    metadata = fo.VideoMetadata(
        size_bytes=Path(clip.path).stat().st_size,
        mime_type=mimetypes.guess_type(clip.path)[0],
        frame_width=clip.width,
        frame_height=clip.height,
        frame_rate=clip.fps,
        total_frame_count=clip.frames,
        duration=clip.duration,
    )
    sample = fo.Sample(filepath=clip.path, clip=clip.name, metadata=metadata, media_type="video")
    sample["kept"] = int(rows["kept"].sum())
    sample["selected"] = int(rows["selected"].sum())
    for frame, found in rows.groupby("frame"):
        detections = [fo.Detection(**fields) for fields in _boxes(clip, found)]
        sample.frames[cast(int, frame) + 1] = fo.Frame(**{FIELD: fo.Detections(detections=detections)})  # counts from 1
    return sample


def _boxes(clip: Clip, rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The faces of one frame in the terms of `fiftyone.Detection`: the box in shares of the frame."""
    for row in rows.to_dict("records"):
        known = {name: row[name] for name in ("track", "person", *SCORES) if not pd.isna(row[name])}
        label = SUBJECT if row["kept"] else f"person {int(known['person'])}" if "person" in known else NOBODY
        box = [row["x"] / clip.width, row["y"] / clip.height, row["width"] / clip.width, row["height"] / clip.height]
        fields: dict[str, Any] = {name: float(known[name]) for name in SCORES if name in known}
        if "track" in known:
            fields["index"] = int(known["track"])
        if not pd.isna(row["detection_score"]):
            fields["confidence"] = float(row["detection_score"])
        yield fields | {
            "label": label,
            "bounding_box": [float(v) for v in box],
            "face_id": row["face_id"],
            "status": row["status"],
            "selected": bool(row["selected"]),
        }
