"""Sound and subtitles of the footage in the output: which streams are copied, with their names and roles, and how.

Packets are copied; text subtitles of other containers become MP4's timed text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from curate.footage.timeline import Timeline

TEXT = frozenset("subrip srt text webvtt ass ssa".split())
"""Subtitle codecs that are text."""
ASS_FIELDS = 8
"""Commas before the text of an ASS packet, as Matroska stores it."""
NAMES = {"title": "title", "name": "title", "language": "language", "handler_name": "handler_name"}
"""A stream's metadata by demuxer to the muxer's name for it."""
PLAIN_NAMES = ("VideoHandler", "SoundHandler", "SubtitleHandler", "DataHandler")
BACK = 0.5
"""Seconds by which timestamps must go back to be a restart."""


@dataclass(frozen=True)
class Copied:
    """Streams of the footage that the output will have."""

    streams: tuple[Any, ...]
    notes: tuple[str, ...]
    """Sentences about streams that it will not have, or that MP4 marks otherwise."""


def copied(source: Any) -> Copied:
    """Sound and text subtitles of an open container; the others are named."""
    found, notes = [], []
    video = [s for s in source.streams.video if not s.disposition & av.stream.Disposition.attached_pic][:1]
    for stream in source.streams:
        codec = stream.codec_context.name if stream.codec_context is not None else None
        text = stream.type == "subtitle" and (codec == "mov_text" or codec in TEXT)
        if (stream.type == "audio" and codec is not None) or text:
            found.append(stream)
        elif stream not in video and not _remade(stream):
            notes.append(f"stream {stream.index} of the footage ({stream.type}, {codec or 'no codec'}) is not copied")
    subtitles = [stream for stream in found if stream.type == "subtitle"]
    if subtitles and not any(stream.disposition & av.stream.Disposition.default for stream in subtitles):
        notes.append("no subtitles are on by default in the footage, but players may show the first of an MP4 file")
    return Copied(tuple(found), tuple(notes))


def _remade(stream: Any) -> bool:
    """Whether it is the timecode or the chapters, which the muxer writes itself, or an attached font."""
    return stream.type == "data" and stream.codec_context is None


def add(container: Any, stream: Any) -> Any:
    """The output's stream for one of the footage."""
    if stream.type == "subtitle" and stream.codec_context.name in TEXT:
        made = container.add_mux_stream("mov_text")
        made.time_base = stream.time_base
    else:
        made = container.add_stream_from_template(stream)
    if stream.type == "audio":
        channels = stream.codec_context.layout.nb_channels
        if "channel" in stream.codec_context.layout.name:  # its order is not said: take the usual one
            made.codec_context.layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}.get(channels, "stereo")
    name(stream, made)
    return made


def name(stream: Any, made: Any) -> None:
    """Give a stream of the output the names and the disposition of one of the footage."""
    for key, value in stream.metadata.items():
        if key.lower() in NAMES and value not in PLAIN_NAMES:
            made.metadata[NAMES[key.lower()]] = value
    made.disposition = stream.disposition


def packets(source: Any, pairs: dict[Any, Any], line: Timeline) -> Iterator[Any]:
    """Packets of the copied streams, for the output; their times continue where the footage's start again."""
    last: dict[int, float] = {}
    epoch: dict[int, int] = {}
    written: dict[int, Fraction] = {}
    for packet in source.demux(*pairs):
        if packet.dts is None:  # the flush at the end
            continue
        stream = packet.stream
        now = float(packet.dts * packet.time_base)
        if now < last.get(stream.index, now) - BACK:
            epoch[stream.index] = min(epoch.get(stream.index, 0) + 1, len(line.epochs) - 1)
        last[stream.index] = now
        shift = line.epochs[epoch.get(stream.index, 0)][1] * line.base
        ready = packet if stream.type == "audio" or stream.codec_context.name == "mov_text" else _timed_text(packet)
        if ready is None:
            continue
        moved = round(shift / ready.time_base)
        ready.dts += moved
        if epoch.get(stream.index) and ready.dts * ready.time_base <= written[stream.index]:
            continue  # sound of before the restart lasts longer than the pictures: the overlap is left out
        written[stream.index] = ready.dts * ready.time_base
        ready.pts = None if ready.pts is None else ready.pts + moved
        ready.stream = pairs[stream]
        yield ready


def _timed_text(packet: Any) -> Any:
    """A text subtitle as a packet of MP4's timed text (ETSI TS 126 245): its length, then the text; None if empty."""
    text = bytes(packet).decode("utf-8", "replace")
    if packet.stream.codec_context.name in ("ass", "ssa"):
        text = text.split(",", ASS_FIELDS)[-1].replace("\\N", "\n").replace("\\n", "\n")
    text = html.unescape(re.sub(r"<[^>]*>|\{\\[^}]*\}", "", text)).strip()
    if not text:
        return None
    data = text.encode()[:65535]
    made = av.Packet(len(data).to_bytes(2, "big") + data)
    made.time_base, made.dts, made.duration = packet.time_base, packet.dts, packet.duration
    made.pts = packet.pts if packet.pts is not None else packet.dts
    return made


def sample(source: Any, streams: Sequence[Any]) -> dict[int, Any]:
    """The first packet of each stream, by its index."""
    found: dict[int, Any] = {}
    for packet in source.demux(*streams):
        if packet.dts is not None and packet.size:
            found.setdefault(packet.stream.index, packet)
        if len(found) == len(streams):
            break
    return found


def cut(source: Iterator[Any], start: Fraction, end: Fraction, interleaved: int) -> Iterator[Any]:
    """Packets that play between two times in seconds, shifted so that `start` is 0.

    One packet of sound before the first is kept, as the decoder's run-up; subtitles are shortened to the span.
    """
    before: dict[int, Any] = {}
    for packet in source:
        base = packet.time_base
        pts = packet.dts if packet.pts is None else packet.pts
        if pts * base >= end + interleaved:
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
            yield moved(kept, round(start / base), None if sound else round((end - start) / base))


def moved(packet: Any, shift: int, length: int | None) -> Any:
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
