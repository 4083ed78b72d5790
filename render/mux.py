"""The footage's times and sound given to an encoded video, packet by packet, nothing encoded again.

The encoder numbers frames; here the k-th frame in order of presentation gets the k-th frame's timestamp of the footage,
in the footage's time base. Decode times follow from them: the same sorted times, held back by as many frames as the
encoder reorders, so that none comes after its presentation time.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from curate.errors import UsageError, WorkError

log = logging.getLogger(__name__)

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}


def video_stream(container: Any) -> Any:
    """The stream that is decoded: the first that is no cover picture."""
    return next(s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic)


def check_sound(footage: Path, out: Path, scratch: Path) -> int:
    """How many sound and subtitle streams of the footage `out` will hold.

    Writes a header to `scratch`. Raises UsageError if the container cannot hold the sound as it is.
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
                f"--out {out}: this container cannot hold the footage's sound as it is ({codecs}); "
                f"convert the sound first: ffmpeg -i {footage} -c:v copy -c:a aac {footage.stem}-aac.mp4"
            ) from None
        return len(streams)


def mux(encoded: Path, footage: Path, out: Path, suffix: str, times: Sequence[int], comment: str) -> None:
    """Write `out` from the encoded video and the footage's sound.

    `times` are the frames' presentation times in order, in the footage's time base; `suffix` (.mp4, .mov) says which
    container; `comment` goes into its metadata. Raises WorkError.
    """
    with av.open(str(encoded)) as video, av.open(str(footage), metadata_errors="replace") as source:
        base = Fraction(video_stream(source).time_base)
        # Edit lists count in the movie's time scale: with the video's own they are exact.
        options = {
            "movflags": "+faststart",
            "video_track_timescale": str(base.denominator),
            "movie_timescale": str(base.denominator),
        }
        with av.open(str(out), "w", format=FORMATS[suffix], container_options=options) as container:
            _describe(container, source, comment)
            track = container.add_stream_from_template(video.streams.video[0])
            track.time_base = Fraction(1, base.denominator)
            pairs = [(s, container.add_stream_from_template(s)) for s in _copied(source)]
            for old, new in pairs:
                new.metadata.update({k: v for k, v in old.metadata.items() if k in ("language", "title")})
            feeds: list[Iterable[Any]] = [_video_packets(video, track, times, _end(source, times), base)]
            if pairs:
                feeds.append(_copied_packets(source, dict(pairs)))
            for packet in heapq.merge(*feeds, key=lambda p: p.dts * p.time_base):
                container.mux_one(packet)


def _end(source: Any, times: Sequence[int]) -> int:
    """When the last frame stops: by the footage's own figure, else it lasts as long as most do."""
    stream = video_stream(source)
    end = (stream.start_time or 0) + int(stream.duration or 0)
    if end > times[-1]:
        return end
    steps = sorted(b - a for a, b in itertools.pairwise(times)) or [1]
    return times[-1] + steps[len(steps) // 2]


def _describe(container: Any, source: Any, comment: str) -> None:
    kept = ("title", "artist", "copyright", "date", "creation_time")
    container.metadata.update({k: v for k, v in source.metadata.items() if k in kept})
    container.metadata["comment"] = comment


def _copied(source: Any) -> list[Any]:
    """Sound, and subtitles that MP4 knows; others are left out and said so."""
    found = []
    for stream in source.streams:
        codec = stream.codec_context.name if stream.codec_context is not None else None
        if (stream.type == "audio" and codec is not None) or (stream.type == "subtitle" and codec == "mov_text"):
            found.append(stream)
        elif stream.type in ("audio", "subtitle"):
            log.warning("%s: the %s stream %s is left out (%s)", source.name, stream.type, stream.index, codec)
    return found


def _video_packets(video: Any, track: Any, times: Sequence[int], end: int, base: Fraction) -> Iterator[Any]:
    """The encoder's packets in its order, with the footage's times."""
    packets = [p for p in video.demux(video.streams.video[0]) if p.size]
    if len(packets) != len(times):
        raise WorkError(f"the encoder wrote {len(packets)} of {len(times)} frames: disk full?")
    ranks = {pts: k for k, pts in enumerate(sorted(p.pts for p in packets))}
    order = [ranks[p.pts] for p in packets]
    delay = max(place - rank for place, rank in enumerate(order))
    step = max(times[1] - times[0], 1) if len(times) > 1 else 1
    for place, (packet, rank) in enumerate(zip(packets, order, strict=True)):
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
