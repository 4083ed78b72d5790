"""A frame as PNG (W3C PNG, third edition) that says of itself what it is.

OpenCV makes the picture, 8 or 16 bits; the chunks that it does not know are put behind its header: colours (cICP),
pixel aspect (pHYs), and the notice and IPTC's digital source type (iTXt, XMP).
"""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import WorkError
from render.output.footage_format import Look
from render.provenance.mp4_boxes import NOTICE, xmp_packet

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_END = 8 + 25
"""After the signature and IHDR."""
COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
"""Channels to IHDR's colour type."""
LEVEL = 3
"""zlib's: 6 writes 2 % less in twice the time."""

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def png(pixels: Pixels, title: str, creator: str, look: Look | None = None) -> bytes:
    """(H, W), (H, W, 3) RGB or (H, W, 4) RGBA with straight alpha, uint8 or uint16, as the bytes of a file."""
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    turned = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, order[pixels.shape[2]])
    good, encoded = cv2.imencode(".png", turned, [cv2.IMWRITE_PNG_COMPRESSION, LEVEL])
    if not good:
        raise WorkError(f"a frame of {pixels.shape} cannot be written as PNG")
    plain = encoded.tobytes()
    return plain[:HEADER_END] + _colours(look) + _words(title, creator) + plain[HEADER_END:]


def is_png(path: Path, bits: int, channels: int) -> bool:
    """Whether the file is a whole PNG of that kind: it begins and ends as one."""
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


def _colours(look: Look | None) -> bytes:
    if look is None:
        return b""
    chunks = b""
    if {look.primaries, look.transfer}.isdisjoint({0, 2}):
        chunks += _chunk(b"cICP", bytes([look.primaries, look.transfer, 0, 1]))  # RGB, full range
    if look.aspect and look.aspect != 1:
        across, down = look.aspect.denominator, look.aspect.numerator  # pixels a unit: wide pixels are fewer
        chunks += _chunk(b"pHYs", across.to_bytes(4, "big") + down.to_bytes(4, "big") + b"\0")
    return chunks


def _words(title: str, creator: str) -> bytes:
    xmp = xmp_packet(title, creator, writable=False)
    texts = {"Title": title, "Comment": NOTICE, "Software": creator, "XML:com.adobe.xmp": xmp}
    return b"".join(_chunk(b"iTXt", key.encode() + bytes(5) + text.encode()) for key, text in texts.items() if text)
