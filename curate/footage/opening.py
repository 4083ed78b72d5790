"""Opening of video files by PyAV: names that look like protocols, and the stream that is the picture."""

from __future__ import annotations

import errno
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from curate.errors import FootageError
from curate.safe_io import MOST_PIXELS

UNREADABLE = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENXIO, errno.ENODEV, errno.ECONNRESET}
"""Errors of the disk or network, not of the footage."""
RAW_RATE = Fraction(25)
"""Frames per second of a raw stream that does not say."""


def plain_name(path: Path | str) -> str:
    """The path for libav and ffmpeg: absolute, since `take:2.mp4` would be a protocol and `-a.mp4` a flag."""
    return os.path.abspath(path)


def opened(path: Path | str) -> Any:
    """An av container of a local file; a context manager."""
    return av.open(plain_name(path), metadata_errors="replace")


def video_stream(container: Any, path: Path | str) -> Any:
    """The video stream to decode: the first that is not a cover picture. Raises FootageError."""
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams or streams[0].codec_context is None or streams[0].codec_context.name == "ansi":
        raise FootageError(f"{path}: has no video stream")
    stream = streams[0]
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    return stream


def check_disk(path: Path | str, error: Exception) -> None:
    """Raise FootageError for a fault of the disk or the network: the frames are there, and may be read next time."""
    if isinstance(error, OSError) and error.errno in UNREADABLE:
        raise FootageError(
            f"{path}: cannot be read to its end ({error.strerror}): check the disk, then run the command again"
        ) from None
