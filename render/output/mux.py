"""Muxer of encoded parts with the footage's timestamps and sound; packets are copied, nothing is encoded again.

The encoder numbers frames; here the k-th frame in presentation order gets the timestamp of the footage's k-th frame, in
the footage's time base. Decode timestamps are the same sorted times, delayed by as many frames as the encoder reorders,
so that none is later than its presentation timestamp.
"""

from __future__ import annotations

import errno
import heapq
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from curate.errors import UsageError, WorkError
from curate.footage.video import times_of
from curate.safe_io import one_line
from render.output.footage_format import video_stream
from render.output.packets import Joined, intervals, join

log = logging.getLogger(__name__)

INTERLEAVED = 10
"""Seconds by which one stream's packets may lag behind another's in a file."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
"""Errors of the disk, not of the program, while a render is written."""
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}


def check_sound(footage: Path, out: Path, scratch: Path) -> int:
    """Number of the footage's sound and subtitle streams that `out` will contain.

    Writes a header to `scratch`. Raises UsageError if the container does not support the sound's codec.
    """
    with av.open(str(footage), metadata_errors="replace") as source:
        streams = _copied(source)
        if not streams:
            return 0
        try:
            with av.open(str(scratch), "w", format=FORMATS[out.suffix.lower()]) as container:
                for stream in streams:
                    container.add_stream_from_template(stream)
                container.start_encoding()
        except (av.error.FFmpegError, ValueError):
            codecs = ", ".join(s.codec_context.name for s in streams)
            raise UsageError(
                f"--out {out}: {out.suffix} does not support the footage's sound ({codecs}); "
                f"convert the sound first: ffmpeg -i {footage} -c:v copy -c:a aac {footage.stem}-aac.mp4"
            ) from None
        return len(streams)


def mux(
    parts: Sequence[Path],
    footage: Path,
    out: Path,
    suffix: str,
    times: Sequence[int],
    comment: str,
    span: tuple[int, int] | None = None,
) -> None:
    """Write `out` from the encoded parts, in order, and the footage's sound.

    `times` are the frames' presentation timestamps in order, in the footage's time base; `suffix` (.mp4, .m4v, .mov)
    selects the container; `comment` goes into its metadata. `span` is the first and last frame number of the footage,
    both included, if only these are rendered: the first frame's timestamp becomes 0, and sound and subtitles are cut to
    match. Sound is cut between packets (AAC: 21 ms at 48 kHz): the last packet is kept whole; one packet before the
    start is kept so that the first audible one decodes correctly, and an edit list makes the player start at the exact
    sample. Raises WorkError.
    """
    with _told(footage, suffix):
        _mux(parts, footage, out, suffix, times, comment, span)


@contextmanager
def _told(footage: Path, suffix: str) -> Iterator[None]:
    """Turn the muxer's errors into WorkError; those of the disk pass."""
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and error.errno in DISK:
            raise
        other = ".mov" if suffix != ".mov" else ".mp4"
        raise WorkError(
            f"{footage}: its sound cannot be written to {suffix} with these pictures ({one_line(error)}): choose an "
            f"--out that ends in {other}, or remove the sound first: ffmpeg -i {footage} -c copy -an silent{suffix}"
        ) from None


def _mux(
    parts: Sequence[Path],
    footage: Path,
    out: Path,
    suffix: str,
    times: Sequence[int],
    comment: str,
    span: tuple[int, int] | None,
) -> None:
    joined = join(parts)
    if len(joined.order) != len(times):
        raise WorkError(
            f"the encoder wrote {len(joined.order)} of {len(times)} frames; check for free disk space and render again"
        )
    with av.open(str(parts[0])) as template, av.open(str(footage), metadata_errors="replace") as source:
        base = Fraction(video_stream(source).time_base)
        end = _end(source, times) if span is None else _end_of(span, source, footage, times)
        shift = 0 if span is None else times[0]
        with av.open(str(out), "w", format=FORMATS[suffix], container_options=_options(base)) as container:
            _describe(container, source, comment)
            track, pairs = _tracks(container, template, source, base)
            shown = [time - shift for time in times]
            feeds: list[Iterable[Any]] = [_video_packets(joined, track, shown, end - shift, base)]
            if pairs:
                copied = _copied_packets(source, pairs)
                feeds.append(copied if span is None else _cut(copied, shift * base, end * base))
            for packet in heapq.merge(*feeds, key=lambda p: p.dts * p.time_base):
                container.mux_one(packet)


def _options(base: Fraction) -> dict[str, str]:
    """Options of the container. Edit lists count in the movie's time scale: with the video's own they are exact."""
    scale = str(base.denominator)
    return {"movflags": "+faststart", "video_track_timescale": scale, "movie_timescale": scale}


def _tracks(container: Any, template: Any, source: Any, base: Fraction) -> tuple[Any, dict[Any, Any]]:
    """The output's video stream, and its sound and subtitle streams by the footage's."""
    encoded = template.streams.video[0]
    track = container.add_stream_from_template(encoded)
    track.codec_context.codec_tag = encoded.codec_context.codec_tag  # hvc1, ap4h: PyAV forgets it
    track.time_base = Fraction(1, base.denominator)
    pairs = {stream: container.add_stream_from_template(stream) for stream in _copied(source)}
    for old, new in pairs.items():
        new.metadata.update({k: v for k, v in old.metadata.items() if k in ("language", "title")})
    return track, pairs


def _cut(packets: Iterable[Any], start: Fraction, end: Fraction) -> Iterator[Any]:
    """Packets that play between two times in seconds, shifted so that `start` is 0.

    One packet of sound before the first is kept, as the decoder's run-up; subtitles are shortened to the span.
    """
    before: dict[int, Any] = {}
    for packet in packets:
        base = packet.time_base
        pts = packet.dts if packet.pts is None else packet.pts
        if pts * base >= end + INTERLEAVED:
            return
        if pts * base >= end:
            continue
        sound = packet.stream.type == "audio"
        heard = (pts + max(packet.duration or 0, 1)) * base > start
        if sound and not heard:
            before[packet.stream.index] = packet
            continue
        if not heard:
            continue
        run_up = before.pop(packet.stream.index, None)
        for kept in [packet] if run_up is None else [run_up, packet]:
            yield _moved(kept, round(start / base), None if sound else round((end - start) / base))


def _moved(packet: Any, shift: int, length: int | None) -> Any:
    """The packet, earlier by `shift`; with a `length`, shortened to 0 .. length."""
    pts = (packet.dts if packet.pts is None else packet.pts) - shift
    if length is None:
        packet.dts -= shift
        packet.pts = pts
        return packet
    stop = min(pts + (packet.duration or 0), length)
    packet.pts = packet.dts = max(pts, 0)
    packet.duration = max(stop - max(pts, 0), 0)
    return packet


def _end_of(span: tuple[int, int], source: Any, footage: Path, times: Sequence[int]) -> int:
    """Timestamp of the frame after the span, or the end of the footage."""
    following = times_of(footage)[0][span[1] + 1 :]
    return following[0] if following and following[0] > times[-1] else _end(source, times)


def _end(source: Any, times: Sequence[int]) -> int:
    """End of the last frame: from the stream's duration, else one median frame duration after its start."""
    stream = video_stream(source)
    end = (stream.start_time or 0) + int(stream.duration or 0)
    if end > times[-1]:
        return end
    between = intervals(times)
    return times[-1] + between[len(between) // 2]


def _describe(container: Any, source: Any, comment: str) -> None:
    kept = ("title", "artist", "copyright", "date", "creation_time")
    container.metadata.update({k: v for k, v in source.metadata.items() if k in kept})
    container.metadata["comment"] = comment


def _copied(source: Any) -> list[Any]:
    """Sound streams, and subtitles that MP4 supports; others are skipped with a warning."""
    found = []
    for stream in source.streams:
        codec = stream.codec_context.name if stream.codec_context is not None else None
        if (stream.type == "audio" and codec is not None) or (stream.type == "subtitle" and codec == "mov_text"):
            found.append(stream)
        elif stream.type in ("audio", "subtitle"):
            log.warning("%s: the %s stream %s is not copied (codec %s)", source.name, stream.type, stream.index, codec)
    return found


def _video_packets(joined: Joined, track: Any, times: Sequence[int], end: int, base: Fraction) -> Iterator[Any]:
    """The encoder's packets in its order, with the footage's timestamps."""
    delay = joined.delay
    step = max(times[1] - times[0], 1) if len(times) > 1 else 1
    for place, (packet, rank) in enumerate(zip(joined.packets(), joined.order, strict=True)):
        packet.stream = track
        packet.time_base = base
        packet.pts = times[rank]
        packet.dts = times[place - delay] if place >= delay else times[0] - (delay - place) * step
        packet.duration = (times[rank + 1] if rank + 1 < len(times) else end) - times[rank]
        yield packet


def _copied_packets(source: Any, streams: dict[Any, Any]) -> Iterator[Any]:
    for packet in source.demux(*streams):
        if packet.dts is None:  # the flush at the end
            continue
        packet.stream = streams[packet.stream]
        yield packet
