"""Muxer of encoded parts with the footage's timestamps and sound; packets are copied, nothing is encoded again.

The encoder numbers frames; here the k-th frame in presentation order gets the timestamp of the footage's k-th frame, in
the footage's time base. Decode timestamps are the same sorted times, delayed by as many frames as the encoder reorders,
so that none is later than its presentation timestamp.
"""

from __future__ import annotations

import errno
import heapq
import logging
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from curate.errors import UsageError, WorkError
from curate.footage.opening import opened, plain_name, video_stream
from curate.footage.timeline import Timeline, timeline
from curate.safe_io import one_line
from curate.words import quoted
from render.output import streams, tags
from render.output.crop import crop
from render.output.packets import Joined, intervals, join

log = logging.getLogger(__name__)

INTERLEAVED = 10
"""Seconds by which one stream's packets may lag behind another's in a file."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
"""Errors of the disk, not of the program, while a render is written."""
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}
CLOCKS = ("mpegts", "mpeg")
"""Containers whose times are a transmitter's clock: they start anywhere."""


def check_sound(footage: Path, out: Path, scratch: Path) -> int:
    """Number of the footage's sound and subtitle streams that `out` will contain.

    Writes a first packet of each to `scratch`. Raises UsageError if the container does not support the sound's codec.
    """
    with opened(footage) as source:
        found = streams.copied(source).streams
        if not found:
            return 0
        problem = _trial(source, found, scratch, out.suffix.lower())
    if problem:
        codecs = ", ".join(s.codec_context.name for s in found)
        converted = plain_name(footage.with_name(f"{footage.stem}-aac.mkv"))
        command = shlex.join(["ffmpeg", "-i", plain_name(footage), "-c:v", "copy", "-c:a", "aac", converted])
        raise UsageError(
            f"--out {out}: {out.suffix} does not support the footage's sound ({codecs}: {problem}); "
            f"convert the sound first: {command}"
        )
    return len(found)


def _trial(source: Any, found: Sequence[Any], scratch: Path, suffix: str) -> str:
    """Why the first packets of the streams cannot be written to such a file; empty if they can."""
    first = streams.sample(source, found)
    try:
        with av.open(plain_name(scratch), "w", format=FORMATS[suffix]) as container:
            pairs = {stream: streams.add(container, stream) for stream in found}
            for stream in found:
                packet = first.get(stream.index)
                if packet is not None and stream.type == "audio":
                    packet.stream = pairs[stream]
                    packet.pts = packet.dts = 0
                    container.mux_one(packet)
            container.start_encoding()
    except (av.error.FFmpegError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error).splitlines()[0]
    return ""


def mux(
    parts: Sequence[Path],
    footage: Path,
    out: Path,
    suffix: str,
    times: Sequence[int],
    comment: str,
    span: tuple[int, int] | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[str, ...]:
    """Write `out` from the encoded parts, in order, and the footage's sound; sentences about what could not be kept.

    `times` are the frames' presentation timestamps in order, in the footage's time base; `suffix` (.mp4, .m4v, .mov)
    selects the container; `comment` goes into its metadata. `span` is the first and last frame number of the footage,
    both included, if only these are rendered: the first frame's timestamp becomes 0, and sound and subtitles are cut to
    match. Sound is cut between packets (AAC: 21 ms at 48 kHz): the last packet is kept whole; one packet before the
    start is kept so that the first audible one decodes correctly, and an edit list makes the player start at the exact
    sample. `size` is that of the pictures, where it is odd and they were padded. Names and roles of streams, tags,
    chapters and the timecode are the footage's. Raises WorkError.
    """
    with _told(footage, suffix):
        return _mux(parts, footage, out, suffix, times, comment, span, size)


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
            f"--out that ends in {other}, or remove the sound first: "
            f"ffmpeg -i {quoted(footage)} -c copy -an silent{suffix}"
        ) from None


def _mux(
    parts: Sequence[Path],
    footage: Path,
    out: Path,
    suffix: str,
    times: Sequence[int],
    comment: str,
    span: tuple[int, int] | None,
    size: tuple[int, int] | None,
) -> tuple[str, ...]:
    joined = join(parts)
    if len(joined.order) != len(times):
        raise WorkError(
            f"the encoder wrote {len(joined.order)} of {len(times)} frames; check for free disk space and render again"
        )
    line = timeline(footage)
    with av.open(plain_name(parts[0])) as template, opened(footage) as source:
        found = streams.copied(source)
        coded = template.streams.video[0].width, template.streams.video[0].height
        with av.open(plain_name(out), "w", format=FORMATS[suffix], container_options=_options(line.base)) as container:
            _write(container, template, source, found.streams, joined, line, times, comment, span)
    if size is not None and size != coded:
        crop(out, *size, coded)
    with opened(footage) as source, opened(out) as made:
        notes = (*found.notes, *tags.lost(tags.wanted(source), made.metadata))
    for note in notes:
        log.warning("%s: %s", footage, note)
    return notes


def _write(
    container: Any,
    template: Any,
    source: Any,
    found: Sequence[Any],
    joined: Joined,
    line: Timeline,
    times: Sequence[int],
    comment: str,
    span: tuple[int, int] | None,
) -> None:
    base = line.base
    end = _end(source, times) if span is None else _end_of(span, source, line, times)
    shift = _start(source, base, times[0]) if span is None else times[0]
    container.metadata.update({**tags.wanted(source), "comment": comment})
    chapters = tags.chapters(source, shift * base, None if span is None else end * base)
    if chapters:
        container.set_chapters(chapters)
    track, pairs = _tracks(container, template, source, found, base)
    rate = Fraction(video_stream(source, "").average_rate or 25)
    code = tags.timecode(source, video_stream(source, ""), 0 if span is None else span[0], rate)
    if code:
        track.metadata["timecode"] = code
    shown = [time - shift for time in times]
    feeds: list[Iterable[Any]] = [_video_packets(joined, track, shown, end - shift, base)]
    if pairs:
        copied = streams.packets(source, pairs, line)
        start, until = shift * base, end * base
        whole = (streams.moved(p, round(start / p.time_base), None) for p in copied)
        feeds.append(whole if span is None else streams.cut(copied, start, until, INTERLEAVED))
    for packet in heapq.merge(*feeds, key=lambda p: p.dts * p.time_base):
        container.mux_one(packet)


def _options(base: Fraction) -> dict[str, str]:
    """Options of the container. Edit lists count in the movie's time scale: with the video's own they are exact."""
    scale = str(base.denominator)
    return {"movflags": "+faststart", "video_track_timescale": scale, "movie_timescale": scale}


def _tracks(
    container: Any, template: Any, source: Any, found: Sequence[Any], base: Fraction
) -> tuple[Any, dict[Any, Any]]:
    """The output's video stream, and its sound and subtitle streams by the footage's."""
    encoded = template.streams.video[0]
    track = container.add_stream_from_template(encoded)
    track.codec_context.codec_tag = encoded.codec_context.codec_tag  # hvc1, ap4h: PyAV forgets it
    track.time_base = Fraction(1, base.denominator)
    streams.name(video_stream(source, ""), track)
    return track, {stream: streams.add(container, stream) for stream in found}


def _start(source: Any, base: Fraction, first: int) -> int:
    """Time of the footage that becomes 0: the start of a transmitter's clock, otherwise 0; never after a frame."""
    if source.format.name.split(",")[0] not in CLOCKS or source.start_time is None:
        return min(first, 0)
    return min(first, round(Fraction(source.start_time, av.time_base) / base))


def _end_of(span: tuple[int, int], source: Any, line: Timeline, times: Sequence[int]) -> int:
    """Timestamp of the frame after the span, or the end of the footage."""
    following = line.times[span[1] + 1 :]
    return following[0] if following and following[0] > times[-1] else _end(source, times)


def _end(source: Any, times: Sequence[int]) -> int:
    """End of the last frame: from the stream's duration, else one median frame duration after its start."""
    stream = video_stream(source, "")
    end = (stream.start_time or 0) + int(stream.duration or 0)
    if end > times[-1]:
        return end
    between = intervals(times)
    return times[-1] + between[len(between) // 2]


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
