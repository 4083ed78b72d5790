"""Footage: probe, key-frame segments, decoding with exact timestamps (PyAV).

A folder of photos is a clip too: each photo is a frame of its own shot, its timestamp is its index.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from curate.errors import FootageError, UsageError
from curate.footage import photos
from curate.footage.aperture import odd_size
from curate.footage.deinterlace import progressive
from curate.footage.flat import NOTE as LOOKS_LOG
from curate.footage.flat import looks_log
from curate.footage.opening import opened, video_stream
from curate.footage.paths import PHOTO_SUFFIXES
from curate.footage.picture import Look, View, hdr_kind, orientation, pixel_aspect, squared, to_rgb
from curate.footage.reader import Account, Reader, Size
from curate.footage.source import footage_sha256, stamp
from curate.footage.timeline import Timeline, timeline
from curate.safe_io import DAMAGED, MOST_PIXELS, unreadable
from curate.types import Clip, Frame, Segment

LOOKED_AT = 12
"""Frames at the start that tell whether the footage is interlaced."""


def probe(path: Path, start: float | None = None, end: float | None = None, name: str | None = None) -> Clip:
    """Properties of a clip: size, rate, frames, hash.

    Raises UsageError if it is missing or the range contains no frame, FootageError if it is unreadable.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file")
    ranged = start is not None or end is not None
    if path.is_dir() or path.suffix.lower() in PHOTO_SUFFIXES:
        if ranged:
            raise UsageError(f"{path}: photos have no times, so no range can be taken from them")
        return photos.probe(path, name)
    line = timeline(path)
    if ranged and not line.between(start, end):
        last = float((line.times[-1] - line.times[0]) * line.base)
        raise UsageError(f"{path}: the range contains no frame; the clip's last frame is at {last:.2f} s")
    try:
        return replace(_looked_at(path, line), name=name or path.stem, start=start, end=end)
    except DAMAGED as error:
        raise unreadable(path, error) from None


def _looked_at(path: Path, line: Timeline) -> Clip:
    """The clip of a file, from its header and its first frames. Raises FootageError or what libraries raise."""
    with opened(path) as container:
        stream = video_stream(container, path)
        reader = Reader(path, _whole(line, ""), Account())
        frames = [frame for _, frame in itertools.islice(reader.frames(), LOOKED_AT)]
        if not frames:
            raise FootageError(f"{path}: it contains no frame that can be decoded")
        if frames[0].width * frames[0].height > MOST_PIXELS:
            raise FootageError(f"{path}: its frames have more than {MOST_PIXELS} pixels; scale it down first")
        upright = orientation(frames[0])
        width, height = odd_size(path, frames[0].width, frames[0].height)
        if upright.turns % 2:
            height, width = width, height
        aspect = pixel_aspect(stream, upright)
        size = squared(width, height, aspect)
        rate = float(stream.average_rate or 0)
        seconds = float((line.times[-1] - line.times[0]) * line.base)
        if len(line.times) > 1 and seconds > 0:
            rate = (len(line.times) - 1) / seconds
        return Clip(
            name=path.stem,
            path=str(path.resolve()),
            sha256=footage_sha256(path),
            kind="video",
            width=size[0],
            height=size[1],
            frames=len(line.times),
            fps=rate,
            duration=seconds + (1 / rate if rate else 0.0),
            audio=bool(container.streams.audio),
            size=stamp(path).size,
            announced=line.announced,
            notes=(*line.notes, *_notes(stream, frames, (width, height), size)),
        )


def _notes(stream: Any, frames: list[Any], stored: tuple[int, int], shown: tuple[int, int]) -> Iterator[str]:
    """What reading does to the pictures of this footage."""
    if any(frame.interlaced_frame for frame in frames):
        yield "interlaced; its pictures are deinterlaced on reading"
    kind = hdr_kind(stream, frames[0])
    if kind in ("PQ", "HLG"):
        yield f"HDR ({kind}); its pictures are mapped to SDR on reading (ITU-R BT.2446, method A)"
    elif kind:
        yield f"HDR ({kind}) without a PQ or HLG picture; its colours are read as they are, and may be wrong"
    if not kind and looks_log(to_rgb(frames[-1])):
        yield LOOKS_LOG
    if stored != shown:
        yield f"its pixels are not square; {stored[0]}x{stored[1]} is read as {shown[0]}x{shown[1]}"
    if stream.metadata.get("alpha_mode") == "1" or any("alpha" in c for c in _components(frames[0])):
        yield "its alpha channel is not read: transparent parts show the colours that are stored beneath them"


def _components(frame: Any) -> list[str]:
    form = frame.format
    return ["alpha"] if len(form.components) in (2, 4) and form.name not in ("nv12", "nv21") else []


def segments(clip: Clip, seconds: float) -> list[Segment]:
    """Segments of a clip: spans of about `seconds`, cut at key frames where there are any, limited to its range."""
    if clip.kind == "photos":
        return photos.segments(clip)
    line = timeline(Path(clip.path))
    times = line.times
    cuts = [times[0]]
    for key in line.keys:
        if float((key - cuts[-1]) * line.base) >= seconds:
            cuts.append(key)
    if len(cuts) > 1 and float((times[-1] - cuts[-1]) * line.base) < seconds / 2:
        cuts.pop()  # a short rest joins the segment before it
    asked, found = line.between(clip.start, clip.end), []
    for index, (cut, following) in enumerate(zip(cuts, [*cuts[1:], times[-1] + 1], strict=True)):
        left = max(bisect.bisect_left(times, cut), asked.start)
        right = min(bisect.bisect_left(times, following), asked.stop)
        if left < right:
            found.append(_segment(clip.name, index, line, left, right))
    return found


def span(clip: Clip, line: Timeline, first: int, end: int) -> Segment:
    """Frames [first, end) of a video, for `decode`."""
    return _segment(clip.name, first, line, first, end)


def _segment(clip: str, index: int, line: Timeline, first: int, end: int) -> Segment:
    times = line.times
    stop = times[end] if end < len(times) else times[-1] + 1
    return Segment(clip, index, times[first], stop, first, times[first:end], line.access(first), times[0])


def _whole(line: Timeline, name: str) -> Segment:
    return _segment(name, 0, line, 0, len(line.times))


def decode(
    clip: Clip, segment: Segment | None = None, depth: int = 8, view: View | None = None, account: Account | None = None
) -> Iterator[Frame]:
    """Frames in order of presentation, of one segment or the whole clip; damaged ones are left out.

    Images are upright (display matrix applied), full range RGB; 10-bit input is rounded to 8 bits. With a `depth` of
    16 the frames also have `deep`, made when it is first asked for. `view` says what else is done to them (default:
    square pixels, SDR, deinterlaced). `account` records what became of the segment's frames. Raises FootageError.
    """
    if depth not in (8, 16):
        raise ValueError(f"depth {depth}: must be 8 or 16")
    if clip.kind == "photos":
        yield from photos.decode(clip, segment, depth, account or Account())
        return
    path, view, account = Path(clip.path), view or View(), account or Account()
    try:
        segment = segment or _whole(timeline(path), clip.name)
        yield from _decoded(path, clip, segment, depth, view, account)
    except DAMAGED as error:
        raise unreadable(clip.path, error) from None


def _decoded(path: Path, clip: Clip, segment: Segment, depth: int, view: View, account: Account) -> Iterator[Frame]:
    reader = Reader(path, segment, account)
    look, seen, shape = None, set[int](), (0, 0)
    frames = reader.frames()
    for time, frame in progressive(frames) if view.progressive else frames:
        if time < segment.start or time in seen:
            continue
        if time >= segment.end:
            break
        seen.add(time)
        if shape != (frame.width, frame.height):
            look, shape = None, (frame.width, frame.height)
            since = float((time - segment.origin) * reader.base)
            account.sizes.append(Size(since, *shape))
        look = look or Look.of(reader.stream, frame, clip, view)
        index = segment.first_frame + bisect.bisect_left(segment.pts, time)
        account.decoded += 1
        yield _frame(clip.path, index, time, time * reader.base, frame, look, depth)
    account.close(segment, seen, reader.base)


def _frame(path: str, index: int, pts: int, time: Fraction, frame: Any, look: Look, depth: int) -> Frame:
    def checked(convert: Callable[[Any], Any]) -> Callable[[], Any]:
        """Pictures are converted when they are first used, and may turn out damaged only then."""

        def run() -> Any:
            try:
                return convert(frame)
            except av.error.FFmpegError as error:
                raise unreadable(path, error) from None

        return run

    deep = checked(look.deep) if depth == 16 else None
    return Frame(index, pts, time, checked(look.image), checked(look.luma), deep, look.square)
