"""PNG frames (W3C PNG, third edition) that are marked as synthetic in their metadata.

OpenCV encodes the pixels, 8 or 16 bits; chunks that it does not support are inserted after the header: colours (cICP),
pixel aspect (pHYs), and the notice and IPTC's digital source type (iTXt, XMP).
"""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import WorkError
from render.output.footage_format import FootageFormat
from render.provenance.mp4_boxes import NOTICE, xmp_packet

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_END = 8 + 25
"""Bytes of the signature and IHDR."""
COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
"""Channels to IHDR's colour type."""
LEVEL = 3
"""zlib level: 6 saves 2 % and takes twice as long."""

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def png(pixels: Pixels, title: str, creator: str, footage_format: FootageFormat | None = None) -> bytes:
    """The bytes of a PNG file from (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, straight alpha, uint8 or uint16."""
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    turned = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, order[pixels.shape[2]])
    good, encoded = cv2.imencode(".png", turned, [cv2.IMWRITE_PNG_COMPRESSION, LEVEL])
    if not good:
        raise WorkError(f"a frame of shape {pixels.shape} cannot be encoded as PNG")
    plain = encoded.tobytes()
    return plain[:HEADER_END] + _colours(footage_format) + _words(title, creator) + plain[HEADER_END:]


def is_png(path: Path, bits: int, channels: int) -> bool:
    """Whether the file is a complete PNG of that kind, by its header and its end."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEADER_END)
            stream.seek(-12, 2)
            tail = stream.read()
    except OSError:
        return False
    kind = bytes([bits, COLOUR_TYPES[channels]])
    return head[:8] == SIGNATURE and head[24:26] == kind and tail == _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def _colours(footage_format: FootageFormat | None) -> bytes:
    if footage_format is None:
        return b""
    chunks = b""
    if {footage_format.primaries, footage_format.transfer}.isdisjoint({0, 2}):
        chunks += _chunk(b"cICP", bytes([footage_format.primaries, footage_format.transfer, 0, 1]))  # RGB, full range
    if footage_format.aspect and footage_format.aspect != 1:
        across, down = (
            footage_format.aspect.denominator,
            footage_format.aspect.numerator,
        )  # pixels per unit: fewer if they are wide
        chunks += _chunk(b"pHYs", across.to_bytes(4, "big") + down.to_bytes(4, "big") + b"\0")
    return chunks


def _words(title: str, creator: str) -> bytes:
    xmp = xmp_packet(title, creator, writable=False)
    texts = {"Title": title, "Comment": NOTICE, "Software": creator, "XML:com.adobe.xmp": xmp}
    return b"".join(_chunk(b"iTXt", key.encode() + bytes(5) + text.encode()) for key, text in texts.items() if text)
