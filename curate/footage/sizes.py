"""Changes of the picture's size in the middle of a file, as broadcasts and screen shares have them.

Only key frames are decoded, since the size can change only there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av

from curate.footage.opening import opened, video_stream
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
    try:
        with opened(path) as container:
            stream = video_stream(container, path)
            stream.codec_context.skip_frame = "NONKEY"
            apart = APART if stream.codec_context.codec.intra_only else 0.0
            first: int | None = None
            looked = -apart
            for packet in container.demux(stream):
                stamp = packet.pts if packet.pts is not None else packet.dts
                first = stamp if first is None else first
                at = float(((stamp or 0) - (first or 0)) * stream.time_base)
                if packet.size and (not packet.is_keyframe or at - looked < apart):
                    continue
                looked = at
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    continue
                for frame in frames:
                    if not found or (found[-1].width, found[-1].height) != (frame.width, frame.height):
                        began = float(((frame.pts or 0) - (first or 0)) * stream.time_base)
                        found.append(Change(began, frame.width, frame.height))
    except DAMAGED as error:
        raise unreadable(path, error) from None
    return found
