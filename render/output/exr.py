"""OpenEXR frames: half floats of linear light with premultiplied alpha.

The footage's transfer function is inverted (ITU-T H.273, table 3; BT.709 if untagged), so 1.0 is the footage's white.
The header names the transfer function, so that it can be applied again. OpenEXR is optional: 'faceset[exr]'.
"""

from __future__ import annotations

import functools
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.errors import MissingError, UsageError
from curate.srgb import decoded
from curate.types import Floats
from render.output.footage_format import FootageFormat
from render.provenance.mp4_boxes import COMPOSITE, NOTICE

MAGIC = bytes.fromhex("762f3101")
D65 = (0.3127, 0.3290)
CHROMATICITIES = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *D65),
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65),
}
"""H.273 colour primaries to x and y of red, green, blue and white; others are written as BT.709."""
UNSAID = (0, 2, 3)


def bindings() -> Any:
    """The OpenEXR package. Raises MissingError with the install command."""
    try:
        return importlib.import_module("OpenEXR")
    except ImportError:
        raise MissingError("EXR frames need OpenEXR, which is not installed; run pip install 'faceset[exr]'") from None


def check_transfer(transfer: int) -> None:
    """Raises UsageError for a transfer function without an inverse here (PQ, HLG and rare ones)."""
    to_linear(transfer)


@functools.cache
def to_linear(transfer: int) -> NDArray[np.float32]:
    """Linear light (65536,) float32 in 0..1 of every 16-bit value. H.273, transfer characteristics."""
    value = np.arange(65536) / 65535
    if transfer in (1, 6, 14, 15, *UNSAID):
        light = _camera(value, 1.09929682680944, 0.018053968510807, 4.5)
    elif transfer == 7:
        light = _camera(value, 1.111572195921731, 0.022821585529445, 4.0)
    elif transfer == 13:
        light = decoded(value)
    elif transfer in (4, 5, 8):
        light = value ** {4: 2.2, 5: 2.8, 8: 1.0}[transfer]
    else:
        raise UsageError(
            f"the footage's transfer characteristics {transfer} (H.273; 16 is PQ, 18 HLG) cannot be converted to the "
            "linear light of EXR; convert the footage to SDR first, or use --frames-as png"
        )
    return np.asarray(light, np.float32)


def _camera(value: NDArray[np.float64], alpha: float, beta: float, slope: float) -> NDArray[np.float64]:
    """The inverse of a camera's transfer function: linear below `beta`, a power of 0.45 above."""
    return np.where(value < slope * beta, value / slope, ((value + alpha - 1) / alpha) ** (1 / 0.45))


def exr(
    image: NDArray[np.uint16], mask: Floats | None, title: str, creator: str, footage_format: FootageFormat
) -> bytes:
    """The bytes of an EXR file from (H, W, 3) uint16 RGB and a mask (H, W) in 0..1, or None.

    With a mask: RGBA, RGB multiplied by it. Raises MissingError, UsageError.
    """
    openexr = bindings()
    light = to_linear(footage_format.transfer)[image]
    if mask is not None:
        light = np.concatenate([light * mask[..., None], mask[..., None]], axis=-1)
    transfer = 1 if footage_format.transfer in UNSAID else footage_format.transfer
    header = {
        "type": openexr.scanlineimage,
        "compression": openexr.ZIP_COMPRESSION,
        "chromaticities": CHROMATICITIES.get(footage_format.primaries, CHROMATICITIES[1]),
        "pixelAspectRatio": float(footage_format.aspect or 1),
        "transferCharacteristics": f"linear; was ITU-T H.273 {transfer}",
        "comments": NOTICE,
        "digitalSourceType": COMPOSITE,
        "title": title,
        "software": creator,
    }
    stream = io.BytesIO()
    name = "RGB" if mask is None else "RGBA"
    openexr.File(header, {name: np.ascontiguousarray(light, np.float16)}, num_threads=0).write(stream)
    return stream.getvalue()


def is_exr(path: Path, alpha: bool) -> bool:
    """Whether the file begins as an EXR with, or without, alpha."""
    try:
        with path.open("rb") as stream:
            head = stream.read(256)
    except OSError:
        return False
    _, found, channels = head.partition(b"channels\0chlist\0")
    # Channels are stored by name: alpha is the first if there is one.
    return head[:4] == MAGIC and bool(found) and (channels[4:6] == b"A\0") == alpha
