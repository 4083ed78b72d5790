"""Crops in another program's alignment, from the footage if it is still there, otherwise from our crops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset
from curate.errors import FootageError, WorkError
from curate.exchange.record import PICTURES
from curate.face import align
from curate.footage.paths import photos
from curate.footage.source import footage_sha256
from curate.footage.video import decode, segments
from curate.types import Clip, Image

log = logging.getLogger(__name__)

Row = dict[str, Any]


def clips_of(faceset: Faceset) -> dict[str, Clip]:
    """Clips by name; the paths of imported pictures follow the faceset's current folder."""
    found = {}
    for clip in faceset.clips:
        parts = Path(clip.path).parts
        if PICTURES in parts and not Path(clip.path).exists():
            last = len(parts) - 1 - parts[::-1].index(PICTURES)
            clip = replace(clip, path=str(faceset.folder.resolve().joinpath(*parts[last:])))
        found[clip.name] = clip
    return found


def photos_of(clip: Clip) -> list[Path]:
    """The photos of a clip in order of their frame numbers; empty for a video or where they are gone."""
    path = Path(clip.path)
    if clip.kind != "photos" or not path.exists():
        return []
    return photos(path) if path.is_dir() else [path]


def frame_name(clip: Clip, frame: int, names: str = "clip") -> str:
    """File name of a frame: of a video, its name and number from 1 (`clip`), or the number alone (`number`); of photos
    the photo's.

    `number` is what DeepFaceLab's extractor writes, and its merger looks for: 00001.png.
    """
    listed = photos_of(clip)
    if frame < len(listed):
        return listed[frame].name
    if names == "number" and clip.kind == "video":
        return f"{frame + 1:05d}.png"
    return f"{clip.name}_{frame + 1:06d}{Path(clip.path).suffix if clip.kind == 'video' else '.png'}"


def with_frames(faceset: Faceset, rows: pd.DataFrame) -> Iterator[tuple[Row, Image | None]]:
    """Rows, clip by clip and in order of time, each with its frame, or None if it is no longer available."""
    for clip in clips_of(faceset).values():
        mine = rows[rows["clip"] == clip.name].sort_values(["segment", "frame", "face_id"])
        if mine.empty:
            continue
        listed: list[Row] = mine.to_dict("records")  # type: ignore[assignment]  # the columns are named by text
        if not _there(clip):
            log.warning("%s: the footage is missing or has changed; its faces are cut from the crops", clip.path)
            yield from ((row, None) for row in listed)
            continue
        yield from _of_clip(clip, listed, faceset.settings.segment_seconds)


def _there(clip: Clip) -> bool:
    """Whether the clip's footage is still in place, unchanged."""
    try:
        return footage_sha256(Path(clip.path)) == clip.sha256
    except FootageError:
        return False


def _of_clip(clip: Clip, rows: list[Row], seconds: float) -> Iterator[tuple[Row, Image | None]]:
    spans = {s.index: s for s in segments(clip, seconds)}
    for index in sorted({row["segment"] for row in rows}):
        wanted: dict[int, list[Row]] = {}
        for row in rows:
            if row["segment"] == index:
                wanted.setdefault(row["frame"], []).append(row)
        try:
            for frame in decode(clip, spans[index]) if index in spans else ():
                yield from ((row, frame.image) for row in wanted.pop(frame.index, ()))
                if not wanted:
                    break
        except FootageError as error:
            log.warning("%s", error)
        yield from ((row, None) for left in wanted.values() for row in left)


def cut(faceset: Faceset, row: Row, frame: Image | None, matrix: NDArray[np.float64], size: int) -> Image:
    """(size, size, 3) uint8 RGB by the matrix (2, 3) from frame pixels; from the crop where there is no frame."""
    if frame is not None:
        return align.warp(frame, matrix, size)
    if not row["crop"]:
        raise WorkError(f"face {row['face_id']}: neither its footage nor its crop can be found")
    to_crop = np.vstack([np.asarray(row["matrix"], np.float64).reshape(2, 3), (0, 0, 1)])
    return align.warp(faceset.crop(row["crop"]), (np.vstack([matrix, (0, 0, 1)]) @ np.linalg.inv(to_crop))[:2], size)


def jpeg(image: Image) -> bytes:
    """The picture as a JPEG of the best quality, colours in full resolution."""
    full = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return _encoded(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100, *full])


def png(image: Image) -> bytes:
    """The picture as a PNG."""
    return _encoded(".png", image, [])


def _encoded(suffix: str, image: Image, flags: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, np.ascontiguousarray(image[:, :, ::-1]), flags)
    if not done:
        raise RuntimeError(f"encoding a picture of shape {image.shape} as {suffix} failed")
    return data.tobytes()
