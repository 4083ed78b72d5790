"""Changes of the picture's size in the middle of a file, as broadcasts and screen shares have them.

Only key frames are decoded, since the size can change only there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from curate.footage.opening import opened, video_stream
from curate.footage.timeline import timeline
from curate.safe_io import DAMAGED, unreadable

APART = 1.0
"""Seconds between the frames that are looked at where every frame is a key frame."""


@dataclass(frozen=True)
class Change:
    """A size, and the time in seconds from the first frame at which it begins."""

    seconds: float
    width: int
    height: int


def sizes(path: Path) -> list[Change]:
    """The sizes of a video in order, one where it never changes. Raises FootageError."""
    found: list[Change] = []
    line = timeline(path)
    places = {entry.number: time for entry, time in zip(line.entries, line.keys, strict=True)}
    try:
        with opened(path) as container:
            stream = video_stream(container, path)
            stream.codec_context.skip_frame = "NONKEY"
            stream.thread_type = "NONE"
            apart = round((APART if stream.codec_context.codec.intra_only else 0.0) / line.base)
            looked = line.times[0] - apart
            packets = (packet for packet in container.demux(stream) if packet.size)
            for number, packet in enumerate(packets):
                time = places.get(number)
                if time is None or time - looked < apart:
                    continue
                looked = time
                for width, height in _sizes_of(stream, packet):
                    if not found or (found[-1].width, found[-1].height) != (width, height):
                        found.append(Change(float((time - line.times[0]) * line.base), width, height))
    except DAMAGED as error:
        raise unreadable(path, error) from None
    return found


def _sizes_of(stream: Any, packet: Any) -> list[tuple[int, int]]:
    """Size of a key frame's picture, decoded alone; nothing if it cannot be."""
    try:
        frames = [*packet.decode(), *stream.decode(None)]
    except av.error.FFmpegError:
        frames = []
    stream.codec_context.flush_buffers()
    return [(frame.width, frame.height) for frame in frames]
