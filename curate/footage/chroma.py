"""Chroma siting of footage that does not declare it.

H.264 and MPEG-2 chroma lies at the left of its two luma pixels, and that is what players assume wherever nothing is
said (ITU-T H.273, 8.7, type 0); swscale takes the middle instead, half a pixel off. VP9, AV1, FFV1, ProRes, DNxHR and
HEVC 4:2:2 say nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import av
import numpy as np

CENTRED = frozenset("mjpeg mpeg1video h261 h263 theora".split())
"""Codecs whose chroma is centred between luma pixels."""


def siting(stream: Any, frame: Any) -> Callable[[Any], Any]:
    """Function that sets the chroma location of a frame of the stream before it is converted.

    `frame` is one of the stream's. The function returns frames as they are where the footage says the place, and where
    the middle is right.
    """
    if stream.codec_context.name in CENTRED or not taken_as_centred(frame):
        return lambda picture: picture
    return lambda picture: _through(picture, "setparams", "chroma_location=left")


def _through(frame: Any, name: str, arguments: str | None = None) -> Any:
    """Output of one of ffmpeg's filters for a frame: a reference to the same picture. A graph costs 0.2 ms."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add(name, arguments), graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()


def taken_as_centred(frame: Any) -> bool:
    """Whether swscale would place the chroma of two luma pixels between them, measured with a ramp."""
    parts = frame.format.components
    if len(parts) < 3 or frame.format.is_rgb or round(parts[0].width / parts[1].width) != 2 or parts[1].width < 16:
        return False
    if len(frame.planes) < 3 or frame.format.name.endswith("be"):  # nv12, p010: cameras' H.264 and HEVC, which say it
        return False
    ramp = _through(frame, "null")
    ramp.make_writable()
    bits = parts[0].bits
    kind = np.dtype(np.uint8 if bits == 8 else np.uint16)
    for plane in ramp.planes[:3]:
        row = np.arange(plane.line_size // kind.itemsize) % 16
        codes = np.broadcast_to((64 + 8 * row) << bits - 8, (plane.height, len(row))).astype(kind)
        plane.update(codes.tobytes())
    full = ramp.reformat(format="yuv444p", threads=1).planes[1]
    seen = np.frombuffer(full, np.uint8).reshape(-1, full.line_size)[frame.height // 2]
    return bool(int(seen[16]) != 64 + 8 * 8)
