"""OpenEXR frames: half floats of linear light with premultiplied alpha.

The footage's transfer function is inverted (ITU-T H.273, table 3; BT.709 if untagged), so 1.0 is the footage's white.
The header names the transfer function, so that it can be applied again. OpenEXR is optional: 'faceset[exr]'.
"""

from __future__ import annotations

import functools
import importlib
import io
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curate.errors import MissingError, UsageError
from curate.srgb import decoded
from curate.types import Floats
from render.output.footage_format import FootageFormat
from render.output.unmix import Layers
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
SPACES = {
    "rec709": CHROMATICITIES[1],
    "aces": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.0770, 0.32168, 0.33767),
}
"""Colour spaces of EXR: scene-linear Rec.709, and ACES2065-1 (SMPTE ST 2065-1)."""
NAMES = {"rec709": "scene-linear Rec.709", "aces": "ACES2065-1"}
Channels: TypeAlias = dict[str, NDArray[np.float32]]
"""Name of a channel, or RGB, RGBA, to (H, W) or (H, W, 3 or 4) linear light."""


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


def linear(image: NDArray[np.uint16], footage_format: FootageFormat, space: str) -> NDArray[np.float32]:
    """(H, W, 3) linear light in a colour space of SPACES from (H, W, 3) uint16 RGB in the footage's."""
    light = to_linear(footage_format.transfer)[image]
    if _own(footage_format) == SPACES[space]:
        return light
    matrix = np.linalg.inv(_to_xyz(SPACES[space])) @ _adapted(SPACES[space]) @ _to_xyz(_own(footage_format))
    return np.asarray(light @ matrix.T.astype(np.float32), np.float32)


def flat(result: NDArray[np.float32], mask: Floats | None) -> Channels:
    """Channels of a picture; with a mask RGBA, RGB multiplied by it."""
    if mask is None:
        return {"RGB": result}
    return {"RGBA": np.concatenate([result * mask[..., None], mask[..., None]], axis=-1)}


def face_alone(
    marked: NDArray[np.float32], clean: NDArray[np.float32], plate: NDArray[np.float32], mask: Floats
) -> Channels:
    """The face, premultiplied, which laid over the footage in linear light gives the render; all zero without a face.

    Colours may lie below 0 and above 1. The watermark lies in the face, with its alpha.
    """
    alpha = mask[..., None]
    face = clean - (1 - alpha) * plate + alpha * (marked - clean)
    return {"RGBA": np.concatenate([np.where(alpha > 0, face, 0), alpha], axis=-1)}


def layered(result: NDArray[np.float32], face: Channels, plate: NDArray[np.float32], layers: Layers) -> Channels:
    """Channels of a file of layers: the result, `face`, `plate`, `matte`, `st` and `blend`."""
    found: Channels = {name: result[..., i] for i, name in enumerate("RGB")}
    found["A"] = np.ones(result.shape[:2], np.float32)
    found |= {f"face.{name}": face["RGBA"][..., i] for i, name in enumerate("RGBA")}
    found |= {f"plate.{name}": plate[..., i] for i, name in enumerate("RGB")}
    found["matte.A"] = layers.mask
    found |= {f"st.{name}": layers.st[..., i] for i, name in enumerate("RG")}
    found["blend.A"] = np.full(result.shape[:2], layers.opacity, np.float32)
    return found


def exr(channels: Channels, title: str, creator: str, footage_format: FootageFormat, space: str = "rec709") -> bytes:
    """The bytes of an EXR file; ST maps are stored as 32 bits, all else as 16. Raises MissingError."""
    openexr = bindings()
    transfer = 1 if footage_format.transfer in UNSAID else footage_format.transfer
    header = {
        "type": openexr.scanlineimage,
        "compression": openexr.ZIP_COMPRESSION,
        "chromaticities": SPACES[space],
        "colorSpace": NAMES[space],
        "pixelAspectRatio": float(footage_format.aspect or 1),
        "transferCharacteristics": f"linear; was ITU-T H.273 {transfer}",
        "comments": NOTICE,
        "digitalSourceType": COMPOSITE,
        "title": title,
        "software": creator,
    }
    if space == "aces":
        header["acesImageContainerFlag"] = 1
    stored = {
        name: np.ascontiguousarray(values, np.float32 if name.startswith("st.") else np.float16)
        for name, values in channels.items()
    }
    stream = io.BytesIO()
    openexr.File(header, stored, num_threads=0).write(stream)
    return stream.getvalue()


def _own(footage_format: FootageFormat) -> tuple[float, ...]:
    return CHROMATICITIES.get(footage_format.primaries, CHROMATICITIES[1])


def _to_xyz(space: tuple[float, ...]) -> NDArray[np.float64]:
    """(3, 3) linear RGB to XYZ (SMPTE RP 177)."""
    points = np.array([[x, y, 1 - x - y] for x, y in zip(space[::2], space[1::2], strict=True)])
    white = points[3] / points[3, 1]
    return np.asarray(points[:3].T * np.linalg.solve(points[:3].T, white))


def _adapted(space: tuple[float, ...]) -> NDArray[np.float64]:
    """(3, 3) XYZ under D65 to XYZ under the space's white (Bradford)."""
    cone = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    before, after = (cone @ np.array([x / y, 1, (1 - x - y) / y]) for x, y in (D65, space[6:]))
    return np.asarray(np.linalg.inv(cone) @ np.diag(after / before) @ cone)


def is_exr(path: Path, alpha: bool, layers: bool = False) -> bool:
    """Whether the file begins as an EXR with, or without, alpha, and layers."""
    try:
        with path.open("rb") as stream:
            head = stream.read(1024)
    except OSError:
        return False
    _, found, channels = head.partition(b"channels\0chlist\0")
    # Channels are stored by name: alpha is the first if there is one.
    same = (channels[4:6] == b"A\0") == alpha and (b"blend.A\0" in channels) == layers
    return head[:4] == MAGIC and bool(found) and same
