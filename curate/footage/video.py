"""Footage: probe, key-frame segments, decoding with exact timestamps (PyAV).

A folder of photos is a clip too: each photo is a frame of its own shot, its timestamp is its index.
"""

from __future__ import annotations

import bisect
import errno
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from curate.errors import FootageError, UsageError
from curate.footage.chroma import siting
from curate.footage.depth import EXACT, Deep, to_rgb16, widen
from curate.footage.paths import PHOTO_SUFFIXES, photos
from curate.footage.source import footage_sha256, stamp
from curate.safe_io import DAMAGED, MOST_PIXELS, one_line, unreadable
from curate.types import Clip, Frame, Image, Segment

log = logging.getLogger(__name__)

PHOTOS_PER_SEGMENT = 200
PLANAR = frozenset("yuv420p yuvj420p yuv422p yuvj422p yuv444p yuvj444p nv12".split())
"""8-bit formats whose first plane is the luma."""
UNREADABLE = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENXIO, errno.ENODEV, errno.ECONNRESET}
"""Errors of the disk or network, not of the footage."""


def probe(path: Path, start: float | None = None, end: float | None = None, name: str | None = None) -> Clip:
    """Properties of a clip: size, rate, frames, hash. UsageError if it is missing, FootageError if unreadable."""
    if not path.exists():
        raise UsageError(f"{path}: no such file")
    if path.is_dir() or path.suffix.lower() in PHOTO_SUFFIXES:
        return _probe_photos(path, name)
    try:
        with av.open(os.path.abspath(path), metadata_errors="replace") as container:
            stream = _video_stream(container, path)
            times, _ = _index(container, stream)
            first = next(_frames(container, stream, times[0]), None)
            if first is None:
                raise FootageError(f"{path}: it contains no frame that can be decoded")
            height, width = first.height, first.width
            if round(first.rotation) % 180:
                height, width = width, height
            base = stream.time_base
            rate = float(stream.average_rate or 0)
            seconds = float((times[-1] - times[0]) * base)
            if len(times) > 1 and seconds > 0:
                rate = (len(times) - 1) / seconds
            return Clip(
                name=name or path.stem,
                path=str(path.resolve()),
                sha256=footage_sha256(path),
                kind="video",
                width=width,
                height=height,
                frames=len(times),
                fps=rate,
                duration=seconds + (1 / rate if rate else 0.0),
                start=start,
                end=end,
                audio=bool(container.streams.audio),
                size=stamp(path).size,
            )
    except DAMAGED as error:
        raise unreadable(path, error) from None


def _probe_photos(path: Path, name: str | None) -> Clip:
    files = photos(path) if path.is_dir() else [path]
    sizes = [image.shape[:2] for image in map(_read_photo, files) if image is not None]
    if not sizes:
        raise FootageError(f"{path}: it contains no readable photo")
    digest, length = footage_sha256(path), stamp(path).size
    height, width = max(s[0] for s in sizes), max(s[1] for s in sizes)
    here, label = str(path.resolve()), name or path.stem
    return Clip(label, here, digest, "photos", width, height, len(files), 0.0, 0.0, size=length)


def _read_photo(path: Path) -> Image | None:
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    except DAMAGED as error:
        log.warning("%s: cannot be read as a photo (%s)", path, one_line(error))
        return None
    return None if image is None else np.ascontiguousarray(image[:, :, ::-1]).astype(np.uint8, copy=False)


def segments(clip: Clip, seconds: float) -> list[Segment]:
    """Segments of a clip: spans of about `seconds`, cut at key frames where there are any, limited to its range."""
    if clip.kind == "photos":
        starts = range(0, clip.frames, PHOTOS_PER_SEGMENT)
        ends = [min(s + PHOTOS_PER_SEGMENT, clip.frames) for s in starts]
        return [
            Segment(clip.name, i, s, s, e, s, tuple(range(s, e)))
            for i, (s, e) in enumerate(zip(starts, ends, strict=True))
        ]
    times, keys, base = _times(Path(clip.path))
    cuts = [times[0]]
    for key in keys:
        if float((key - cuts[-1]) * base) >= seconds:
            cuts.append(key)
    if len(cuts) > 1 and float((times[-1] - cuts[-1]) * base) < seconds / 2:
        cuts.pop()  # a short rest joins the segment before it
    low = -(1 << 62) if clip.start is None else times[0] + round(clip.start / base)
    high = 1 << 62 if clip.end is None else times[0] + round(clip.end / base)
    found = []
    for index, (cut, following) in enumerate(zip(cuts, [*cuts[1:], times[-1] + 1], strict=True)):
        start, end = max(cut, low), min(following, high)
        left, right = bisect.bisect_left(times, start), bisect.bisect_left(times, end)
        if left < right:
            found.append(Segment(clip.name, index, cut, start, end, left, tuple(times[left:right])))
    return found


def times_of(path: Path) -> tuple[list[int], list[int]]:
    """Presentation timestamps of a video's frames, and of its key frames, sorted, in its time base; nothing is decoded.

    Raises FootageError.
    """
    times, keys, _ = _times(path)
    return times, keys


def span(clip: Clip, times: Sequence[int], keys: Sequence[int], first: int, end: int) -> Segment:
    """Frames [first, end) of a video, for `decode`; `times` and `keys` as `times_of` gives them."""
    seek = keys[max(bisect.bisect_right(keys, times[first]) - 1, 0)] if keys else times[0]
    stop = times[end] if end < len(times) else times[-1] + 1
    return Segment(clip.name, first, min(seek, times[first]), times[first], stop, first, tuple(times[first:end]))


def decode(clip: Clip, segment: Segment | None = None, depth: int = 8) -> Iterator[Frame]:
    """Frames in order of presentation, of one segment or the whole clip; damaged ones are left out.

    Images are upright (rotation metadata applied), full range RGB; 10-bit input is rounded to 8 bits. With a `depth` of
    16 the frames also have `deep`, made when it is first asked for. Raises FootageError.
    """
    if depth not in (8, 16):
        raise ValueError(f"depth {depth}: must be 8 or 16")
    if clip.kind == "photos":
        yield from _decode_photos(clip, segment, depth)
        return
    path = Path(clip.path)
    try:
        with av.open(os.path.abspath(path), metadata_errors="replace") as container:
            stream = _video_stream(container, path)
            if segment is None:
                times, _ = _index(container, stream)
                segment = Segment(clip.name, 0, times[0], times[0], times[-1] + 1, 0, tuple(times))
            last = segment.start - 1
            place: Callable[[Any], Any] | None = None
            for frame in _frames(container, stream, segment.seek):
                pts = _time(frame)
                if pts is None or pts <= last or frame.is_corrupt:
                    continue
                if pts >= segment.end:
                    break
                last = pts
                index = segment.first_frame + bisect.bisect_left(segment.pts, pts)
                place = place or siting(stream, frame)
                yield _frame(clip.path, index, pts, pts * stream.time_base, frame, place, depth)
    except DAMAGED as error:
        raise unreadable(clip.path, error) from None


def _decode_photos(clip: Clip, segment: Segment | None, depth: int) -> Iterator[Frame]:
    path = Path(clip.path)
    files = photos(path) if path.is_dir() else [path]
    for index in segment.pts if segment else range(len(files)):
        image = _read_photo(files[index])
        if image is not None:
            yield _photo(index, image, depth)


def _frame(
    path: str, index: int, pts: int, time: Fraction, frame: Any, place: Callable[[Any], Any], depth: int
) -> Frame:
    def checked(convert: Callable[[], Any]) -> Callable[[], Any]:
        """Pictures are converted when they are first used, and may turn out damaged only then."""

        def run() -> Any:
            try:
                return convert()
            except av.error.FFmpegError as error:
                raise unreadable(path, error) from None

        return run

    deep = checked(lambda: to_deep(place(frame))) if depth == 16 else None
    return Frame(index, pts, time, checked(lambda: to_rgb(place(frame))), checked(lambda: luma_of(frame)), deep)


def _photo(index: int, image: Image, depth: int) -> Frame:
    def luma() -> NDArray[np.uint8]:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)

    deep = (lambda: widen(image)) if depth == 16 else None
    return Frame(index, index, Fraction(index), lambda: image, luma, deep)


def matrix_of(colorspace: int, height: int) -> Colorspace:
    """The YUV matrix of a stream by its tag; untagged: BT.709 from 720 lines up, BT.601 below (as players do)."""
    tagged = {1: Colorspace.ITU709, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 4: Colorspace.FCC}
    tagged |= {7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}
    return tagged.get(int(colorspace), Colorspace.ITU709 if height >= 720 else Colorspace.ITU601)


def to_rgb(frame: Any) -> Image:
    """An av.VideoFrame as upright (H, W, 3) uint8 RGB."""
    matrix = matrix_of(frame.colorspace, frame.height)
    rgb = frame.reformat(format="rgb24", src_colorspace=matrix, interpolation=EXACT, threads=1).to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def to_deep(frame: Any) -> Deep:
    """An av.VideoFrame as upright (H, W, 3) uint16 RGB, 0..65535, with all the bits that it has."""
    rgb = to_rgb16(frame, matrix_of(frame.colorspace, frame.height))
    if rgb is None:
        return widen(to_rgb(frame))
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def luma_of(frame: Any) -> NDArray[np.uint8]:
    """(H, W) uint8 brightness of an av.VideoFrame, upright; of 8-bit YUV the plane itself, without conversion."""
    if frame.format.name in PLANAR:
        plane = frame.planes[0]
        luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    else:
        luma = frame.reformat(format="gray", threads=1).to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.rot90(luma, turns) if turns else luma


def _video_stream(container: Any, path: Path) -> Any:
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams or streams[0].codec_context is None or streams[0].codec_context.name == "ansi":
        raise FootageError(f"{path}: has no video stream")
    stream = streams[0]
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    return stream


def _times(path: Path) -> tuple[list[int], list[int], Fraction]:
    """`_index` of a video, and its time base. Raises FootageError."""
    try:
        with av.open(os.path.abspath(path), metadata_errors="replace") as container:
            stream = _video_stream(container, path)
            times, keys = _index(container, stream)
            return times, keys, Fraction(stream.time_base)
    except DAMAGED as error:
        raise unreadable(path, error) from None


def _index(container: Any, stream: Any) -> tuple[list[int], list[int]]:
    """Sorted presentation timestamps of all frames and of the key frames, without decoding."""
    times: set[int] = set()
    keys: set[int] = set()
    try:
        for packet in container.demux(stream):
            pts = packet.pts if packet.pts is not None else packet.dts
            if pts is None or packet.is_discard or not packet.size:
                continue
            times.add(pts)
            if packet.is_keyframe:
                keys.add(pts)
    except av.error.FFmpegError as error:
        _check_disk(container, error)
        log.warning("%s: reading stops early (%s)", container.name, error.strerror)
    if not times:
        raise FootageError(f"{container.name}: has no frames")
    return sorted(times), sorted(keys)


def _frames(container: Any, stream: Any, seek: int) -> Iterator[Any]:
    """Decoded frames from the key frame at `seek` on; a packet that cannot be decoded costs only its own frames."""
    container.seek(seek, stream=stream, backward=True)
    stream.codec_context.flush_buffers()
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.EOFError):
            return
        except av.error.FFmpegError as error:
            _check_disk(container, error)
            log.warning("%s: reading stops early (%s)", container.name, error.strerror)
            return
        try:
            yield from packet.decode()
        except av.error.FFmpegError as error:
            log.warning(
                "%s: the packet at timestamp %s cannot be decoded (%s)", container.name, packet.pts, error.strerror
            )


def _check_disk(container: Any, error: Exception) -> None:
    """Raise FootageError for a fault of the disk or the network: the frames are there, and may be read next time."""
    if isinstance(error, OSError) and error.errno in UNREADABLE:
        raise FootageError(
            f"{container.name}: cannot be read to its end ({error.strerror}): "
            "check the disk, then run the command again"
        ) from None


def _time(frame: Any) -> int | None:
    time: int | None = frame.pts if frame.pts is not None else frame.dts
    return time
