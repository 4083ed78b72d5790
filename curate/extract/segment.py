"""Extraction of one segment into one part: decode, track the faces, score them, write the crops, then the part."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.extract.chips import Chips
from curate.face import align
from curate.face.backends import DETECTORS, IDENTIFIERS, LANDMARKERS, Identifier, Landmarker, make
from curate.face.pose import head_pose, matrix
from curate.face.pose68 import head_pose68
from curate.face.track import Seen, Tracker
from curate.footage.dissolves import blended, packed, trace
from curate.footage.reader import Account
from curate.footage.reader import packed as account_text
from curate.footage.shots import Shots, thumbnail
from curate.footage.skip import Parts, Watch
from curate.footage.video import decode
from curate.runtime.files import atomic
from curate.safe_io import DAMAGED
from curate.schema import STATUS_OK, part_schema
from curate.scores import expression, lighting, quality, steadiness
from curate.settings import AUTO, Settings
from curate.types import Clip, Floats, Frame, Image, Segment

log = logging.getLogger(__name__)

SCORING_SIZE = 256
"""Pixels of the full-framing crop on which quality and light are measured, whatever crop is written."""
JPEG_QUALITY = 95
PROFILE = "profile: pose and expression are uncertain"
Row = dict[str, Any]


@dataclass
class Backends:
    """The networks of one worker."""

    detector: Any
    landmarker: Landmarker
    identifier: Identifier

    @classmethod
    def of(cls, settings: Settings) -> Backends:
        """The networks named in the settings. Raises UsageError or WeightsError."""
        return cls(
            make(DETECTORS, settings.detector, "--detector"),
            make(LANDMARKERS, settings.landmarker, "--landmarker"),
            make(IDENTIFIERS, settings.identifier, "--identifier"),
        )


@dataclass
class _Reader:
    """One pass over the frames of a segment: the faces in each, followed from frame to frame."""

    tracker: Tracker
    watch: Watch | None
    """None: no frame is skipped."""
    photos: bool
    """Every frame is a shot of its own."""
    shots: Shots = field(default_factory=Shots)
    shot: int = 0
    read: list[int] = field(default_factory=list)
    """Indexes of the frames that were not skipped."""
    cuts: list[int] = field(default_factory=list)
    """Indexes of those that begin a shot, apart from the first frame."""
    thumbs: list[Image] = field(default_factory=list)
    """Of the first and the last of them."""
    traces: list[Image] = field(default_factory=list)
    """Of all of them, see `curate.footage.dissolves`."""

    @classmethod
    def of(cls, clip: Clip, settings: Settings, backends: Backends) -> _Reader:
        """A reader at the start of a segment of the clip."""
        tracker = Tracker(backends.detector, backends.landmarker, settings.detect_every)
        watch = Watch() if settings.every == AUTO and clip.kind == "video" else None
        return cls(tracker, watch, clip.kind == "photos")

    def faces(self, frame: Frame) -> list[Seen]:
        """The faces in the next frame; none where it is skipped because nothing has changed."""
        if self.watch is not None and self.watch.still(frame.luma):
            return []
        thumb = thumbnail(frame.image)
        self.thumbs = [*self.thumbs[:1], thumb]
        self.traces.append(trace(thumb))
        if self.shots.cut(thumb) or (self.photos and self.read):
            self.shot += 1
            self.cuts.append(frame.index)
            self.tracker.cut()
        passed = frame.index - self.read[-1] if self.watch is not None and self.read else 1
        self.read.append(frame.index)
        faces = self.tracker.step(frame.image, passed)
        if self.watch is not None:
            self.watch.remember(frame.luma, [Parts(seen.box, seen.details) for seen in faces])
        return faces


def extract_segment(
    folder: Path,
    clip: Clip,
    segment: Segment,
    settings: Settings,
    backends: Backends,
    beat: Callable[[], None] = lambda: None,
    check: Callable[[], None] = lambda: None,
) -> int:
    """The number of frames decoded. The segment's crops and then its part are written into the faceset `folder`.

    The part is renamed into place last: it exists if and only if the segment is done. `beat` is called for every frame,
    `check` before the part is written: if it raises, no part is left.
    """
    rows: list[Row] = []
    chips: dict[int, Chips] = {}
    reader, account = _Reader.of(clip, settings, backends), Account()
    frames, end = 0, segment.first_frame
    crops = folder / "crops" / clip.name / f"{segment.index:04d}"
    shutil.rmtree(crops, ignore_errors=True)  # of an interrupted or stale extraction
    if settings.crop_size:
        crops.mkdir(parents=True, exist_ok=True)
    for frame in _every(decode(clip, segment, account=account), settings.every):
        beat()
        frames, end = frames + 1, frame.index + max(settings.every, 1)
        for index, seen in enumerate(reader.faces(frame)):
            row = _row(clip, segment, frame, index, reader.shot, seen)
            _score(row, frame, seen, settings, crops)
            rows.append(row)
            _remember(chips.setdefault(seen.track, Chips()), len(rows) - 1, row, frame, seen, backends.identifier)
    account.looks, account.inverted = reader.tracker.looks, reader.tracker.inverted
    _identify(rows, chips, reader, backends.identifier)
    _stand_for(rows, reader.read, end)
    _steady(rows, clip)
    check()
    _write(folder, clip, segment, settings, rows, frames, reader, account_text(account))
    return frames


def _every(frames: Iterator[Frame], step: int) -> Iterator[Frame]:
    """Every Nth frame by its index in the clip, so that segments agree on which; all of them with AUTO."""
    return (f for f in frames if step == AUTO or f.index % step == 0)


def _stand_for(rows: list[Row], read: list[int], end: int) -> None:
    """How many frames of the footage each row stands for: to the next frame that was read."""
    lasts = {a: b - a for a, b in itertools.pairwise([*read, end])}
    for row in rows:
        row["stands_for"] = lasts[row["frame"]]


def _steady(rows: list[Row], clip: Clip) -> None:
    """How far the landmarks of each face jump; photos and other landmarkers have no such score."""
    tracks: dict[tuple[int, int], list[Row]] = {}
    for row in rows if clip.kind == "video" else []:
        if len(row["landmarks"]) >= 3 * 468:
            tracks.setdefault((row["shot"], row["track"]), []).append(row)
    for own in tracks.values():
        points = np.stack([row["landmarks"].reshape(-1, 3) for row in own])
        found = steadiness.jumps(points, np.array([row["time"] for row in own]))
        for row, jump in zip(own, found, strict=True):
            row["LandmarkJump"] = jump if np.isfinite(jump) else None


def _row(clip: Clip, segment: Segment, frame: Frame, index: int, shot: int, seen: Seen) -> Row:
    x, y, width, height = seen.box
    return {
        "face_id": f"{clip.sha256[:12]}-{frame.index:07d}-{index}",
        "clip": clip.name,
        "segment": segment.index,
        "frame": frame.index,
        "time": float(frame.time),
        "shot": shot,
        "track": seen.track,
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "detection_score": seen.detection_score,
        "landmarks": seen.landmarks.points.reshape(-1),
        "status": PROFILE if seen.profile else STATUS_OK,
    }


def _score(row: Row, frame: Frame, seen: Seen, settings: Settings, crops: Path) -> None:
    points = seen.landmarks.points
    to_crop = align.crop_matrix(points, settings.framing, settings.crop_size or SCORING_SIZE)
    row["matrix"] = to_crop.reshape(-1)
    mesh = len(points) >= 468
    pose = head_pose(points[None]) if mesh else head_pose68(points[None])
    yaw = float(pose.yaw[0])
    row |= {"yaw": yaw, "pitch": pose.pitch[0], "roll": pose.roll[0], "pose_confidence": pose.confidence[0]}
    row["landmark_confidence"] = seen.landmarks.score * pose.fits[0]
    if seen.landmarks.blendshapes is not None:
        row["expression"] = seen.landmarks.blendshapes
        row["gaze"] = expression.gaze(seen.landmarks.blendshapes)
        row["distances"] = expression.distances(points)
    if not settings.crop_size:
        return
    crop = align.warp(frame.image, to_crop, settings.crop_size)
    row["crop"] = crop_path(row["clip"], row["segment"], row["frame"], row["face_id"])
    write_crop(crops / Path(row["crop"]).name, crop)
    if settings.framing != "full" or settings.crop_size != SCORING_SIZE:
        to_crop = align.crop_matrix(points, "full", SCORING_SIZE)
        crop = align.warp(frame.image, to_crop, SCORING_SIZE)
    inside = align.transform(points, to_crop)
    row |= quality.measure(crop, inside, points, yaw, frame.image)
    if mesh:
        _score_skin(row, crop, inside)


def _score_skin(row: Row, crop: Image, points: Floats) -> None:
    """The skin's colours, from which `curate.extract.normalise` reads light and occlusion once the whole footage is
    known."""
    half = cast(Image, cv2.resize(crop, (SCORING_SIZE // 2, SCORING_SIZE // 2), interpolation=cv2.INTER_AREA))
    row["skin"] = lighting.skin_colours(half, points / 2, matrix(row["yaw"], row["pitch"], 0.0)).tobytes()


def _remember(chips: Chips, number: int, row: Row, frame: Frame, seen: Seen, identifier: Identifier) -> None:
    """Keep the chip of a large, frontal, sharp face for its track's identity."""
    facing = float(np.cos(np.radians(row.get("yaw", 0.0))) * np.cos(np.radians(row.get("pitch", 0.0) / 2)))
    score = facing * seen.landmarks.score * min(1.0, float(seen.box[2]) / 150)
    if chips.wants(score, frame.index):
        chips.add(score, frame.index, number, identifier.chip(frame.image, seen.landmarks.points))


def _identify(rows: list[Row], chips: dict[int, Chips], reader: _Reader, identifier: Identifier) -> None:
    mask = blended(np.stack(reader.traces)) if reader.traces and not reader.photos else np.zeros(len(reader.read), bool)
    marked = {frame for frame, inside in zip(reader.read, mask, strict=True) if inside}
    for own in chips.values():
        for row, vector in own.read(identifier, marked).items():
            rows[row]["identity"] = np.asarray(vector, np.float32)
            rows[row]["chip"] = jpeg(own.chip(row))


def crop_path(clip: str, segment: int, frame: int, face_id: str) -> str:
    """Path of a face's crop inside the faceset."""
    return f"crops/{clip}/{segment:04d}/{frame:07d}-{face_id.rsplit('-', 1)[1]}.jpg"


def write_crop(path: Path, crop: Image) -> None:
    """Write a crop (S, S, 3) uint8 RGB as JPEG, whatever the path's suffix. Raises RuntimeError."""
    path.write_bytes(jpeg(crop))


def jpeg(picture: Image) -> bytes:
    """A picture (S, S, 3) uint8 RGB as JPEG. Raises RuntimeError where it cannot be encoded."""
    flags = [
        cv2.IMWRITE_JPEG_QUALITY,
        JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[:, :, ::-1]), flags)
    if not done:
        raise RuntimeError(f"a picture of {picture.shape} cannot be encoded")
    return data.tobytes()


def _write(
    folder: Path,
    clip: Clip,
    segment: Segment,
    settings: Settings,
    rows: list[Row],
    frames: int,
    reader: _Reader,
    account: str,
) -> None:
    schema, thumbs = part_schema(), reader.thumbs
    columns = {f.name: [_plain(row.get(f.name)) for row in rows] for f in schema}
    metadata = {
        "settings": settings.digest(),
        "clip_sha256": clip.sha256,
        "frames": str(frames),
        "skipped": str(frames - len(reader.read)),
        "planned": str(len(segment.pts)),
        "account": account,
        "thumb_shape": "x".join(map(str, thumbs[0].shape)) if thumbs else "",
    }
    extra = {k.encode(): v.encode() for k, v in metadata.items()}
    if thumbs and not reader.photos:
        extra |= {b"traces": packed(np.stack(reader.traces)), b"read": np.asarray(reader.read, "<i8").tobytes()}
        extra |= {b"cuts": np.asarray(reader.cuts, "<i8").tobytes()}
    if thumbs:
        extra |= {b"first_thumb": thumbs[0].tobytes(), b"last_thumb": thumbs[-1].tobytes()}
    table = pa.table(columns, schema=schema.with_metadata(extra))
    with atomic(folder / "parts" / f"{segment.key}.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


@dataclass(frozen=True)
class PartInfo:
    """Metadata of a part."""

    settings: str
    clip_sha256: str
    frames: int
    """Frames decoded."""
    skipped: int
    """Of these, frames skipped because nothing had changed."""
    planned: int | None
    """Frames that the segment has in the footage; None in parts of older versions."""
    rows: int
    account: str
    """What became of the segment's frames, see `packed`; empty in parts of older versions."""
    first_thumb: Image | None
    last_thumb: Image | None
    traces: bytes = b""
    """Of the frames that were read, as `curate.footage.dissolves.packed` gives them; empty for photos."""
    read: tuple[int, ...] = ()
    """Indexes of these frames."""
    cuts: tuple[int, ...] = ()
    """Those of them that begin a shot, apart from the first one; none in parts of older versions."""


def part_info(path: Path) -> PartInfo | None:
    """Metadata of a part; None if the file does not exist or is not a part."""
    try:
        meta = pq.read_metadata(path)
        extra = meta.schema.to_arrow_schema().metadata or {}
        return _info(meta.num_rows, extra) if b"settings" in extra else None
    except DAMAGED:
        return None


def _info(rows: int, extra: dict[bytes, bytes]) -> PartInfo:
    shape = tuple(int(n) for n in extra[b"thumb_shape"].decode().split("x")) if extra[b"thumb_shape"] else None
    if shape is not None and (len(shape) != 3 or shape[2] != 3):
        raise ValueError(f"a thumbnail of {shape}")

    def thumb(key: bytes) -> Image | None:
        return np.frombuffer(extra[key], np.uint8).reshape(shape) if shape else None

    return PartInfo(
        extra[b"settings"].decode(),
        extra[b"clip_sha256"].decode(),
        int(extra[b"frames"]),
        int(extra.get(b"skipped", b"0")),
        int(extra[b"planned"]) if b"planned" in extra else None,
        rows,
        extra.get(b"account", b"").decode(),
        thumb(b"first_thumb"),
        thumb(b"last_thumb"),
        extra.get(b"traces", b""),
        tuple(np.frombuffer(extra.get(b"read", b""), "<i8").tolist()),
        tuple(np.frombuffer(extra.get(b"cuts", b""), "<i8").tolist()),
    )
