"""Frames with 16 bits per component: exact conversion between RGB and Y'CbCr.

swscale's own 16-bit RGB puts white at 65280 instead of 65535 and rounds full range by half a level. Here it only
brings the chroma to full size; the matrix is a product of 3x4 numbers. Sources: ITU-R BT.601-7, BT.709-6, BT.2020-2;
ITU-T H.273 for the others and for the code values of limited and full range.
"""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
from av.video.reformatter import Colorspace, Interpolation
from numpy.typing import NDArray

from curate.types import Image

Deep = NDArray[np.uint16]
"""(H, W, 3) RGB, 0..65535."""

# swscale's default rounding loses 1.6 luma levels on the way to RGB and back; with these flags 0.001.
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
FULL_RANGE = 2
"""libav: AVCOL_RANGE_JPEG."""
LIMITED_RANGE = 1
WEIGHTS = {
    Colorspace.ITU709: (0.2126, 0.0722),
    Colorspace.ITU601: (0.299, 0.114),
    Colorspace.FCC: (0.30, 0.11),
    Colorspace.SMPTE240M: (0.212, 0.087),
    Colorspace.BT2020: (0.2627, 0.0593),
}
"""Of red and blue in the luma; non-constant luminance."""


def to_yuv(matrix: Colorspace, full: bool, bits: int) -> NDArray[np.float64]:
    """(3, 4): from (R, G, B, 1), 0..65535, to Y', Cb, Cr codes of `bits`, shifted up to fill 16 bits."""
    red, blue = WEIGHTS[matrix]
    green = 1 - red - blue
    rows = np.array(
        [
            [red, green, blue],
            [-red / (2 - 2 * blue), -green / (2 - 2 * blue), 0.5],
            [0.5, -green / (2 - 2 * red), -blue / (2 - 2 * red)],
        ]
    )
    middle = float(1 << 15)
    if full:
        spans, offsets = [float((1 << bits) - 1 << 16 - bits)] * 3, [0.0, middle, middle]
    else:
        spans, offsets = [219.0 * 256, 224.0 * 256, 224.0 * 256], [16.0 * 256, middle, middle]
    return np.column_stack([rows * np.array(spans)[:, None] / 65535, offsets])


def from_yuv(matrix: Colorspace, full: bool, bits: int) -> NDArray[np.float64]:
    """(3, 4): the inverse of `to_yuv`."""
    forward = to_yuv(matrix, full, bits)
    back = np.linalg.inv(forward[:, :3])
    return np.column_stack([back, -back @ forward[:, 3]])


def transform(image: NDArray[np.uint16], matrix: NDArray[np.float64]) -> NDArray[np.uint16]:
    """(H, W, 3) uint16 through a (3, 4) matrix, rounded and clipped to 0..65535."""
    return np.asarray(cv2.transform(image, matrix), np.uint16)


def widen(image: Image) -> Deep:
    """8 bits as 16: 255 becomes 65535."""
    return image.astype(np.uint16) * np.uint16(257)


def to_rgb16(frame: Any, matrix: Colorspace) -> Deep | None:
    """An av.VideoFrame as (H, W, 3) uint16 RGB 0..65535, as stored (not turned); alpha is left out.

    None where the frame holds no more than 8 bits of RGB or grey: `widen` its picture instead.
    """
    form = frame.format
    bits = max(c.bits for c in form.components)
    if form.name.startswith("gbr") and 8 < bits <= 16 and "f" not in form.name:
        green, blue, red = (_plane(frame, i) for i in range(3))
        return _stretched(np.stack([red, green, blue], axis=-1), bits)
    if len(form.components) < 3 and 8 < bits <= 16 and form.name.startswith("gray") and "f" not in form.name:
        return _stretched(np.repeat(_plane(frame, 0)[..., None], 3, axis=-1), bits)
    if form.is_rgb and bits > 8:
        return np.asarray(frame.reformat(format="rgb48le", interpolation=EXACT, threads=1).to_ndarray(), np.uint16)
    if form.is_rgb or len(form.components) < 3:
        return None
    full = frame.color_range == FULL_RANGE or form.name.startswith("yuvj")
    return transform(_yuv16(frame), from_yuv(matrix, full, min(bits, 16)))


def _stretched(codes: NDArray[np.uint16], bits: int) -> Deep:
    stretched = codes.astype(np.float32) * np.float32(65535 / ((1 << bits) - 1))
    return np.asarray(np.rint(stretched), np.uint16)


def _plane(frame: Any, index: int) -> NDArray[np.uint16]:
    """One plane of components of 9 to 16 bits, in the order of bytes of its format."""
    plane = frame.planes[index]
    order = ">u2" if frame.format.name.endswith("be") else "<u2"
    codes = np.frombuffer(plane, order).reshape(-1, plane.line_size // 2)[: plane.height, : plane.width]
    return np.asarray(codes.astype(np.uint16), np.uint16)


def _yuv16(frame: Any) -> NDArray[np.uint16]:
    """(H, W, 3) codes with chroma at full size, shifted up to fill 16 bits."""
    if frame.format.name in ("yuv444p", "yuvj444p"):  # swscale would stretch full range here instead of shifting it
        planes = [np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : p.width] for p in frame.planes]
        return np.stack(planes, axis=-1).astype(np.uint16) << np.uint16(8)
    # Called limited on both sides, codes are shifted and not stretched; the j formats are full by their name.
    span = FULL_RANGE if frame.format.name.startswith("yuvj") else LIMITED_RANGE
    wide = frame.reformat(
        format="yuv444p16le" if sys.byteorder == "little" else "yuv444p16be",
        src_color_range=span, dst_color_range=span, interpolation=EXACT, threads=1,
    ).to_ndarray()  # fmt: skip
    codes = wide if wide.shape[-1] == 3 else np.moveaxis(wide, 0, -1)
    return np.ascontiguousarray(codes)
