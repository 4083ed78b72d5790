"""Pictures of decoded frames as they are meant: RGB by the footage's matrix, upright, with square pixels, in SDR.

What a frame needs is found out once per stream (`Look.of`), and applied to each frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from curate.footage import cube
from curate.footage.aperture import odd_size
from curate.footage.chroma import siting
from curate.footage.depth import EXACT, Deep, to_rgb16, widen
from curate.types import Clip, Image

PLANAR = frozenset("yuv420p yuvj420p yuv422p yuvj422p yuv444p yuvj444p nv12".split())
"""8-bit formats whose first plane is the luma."""
PQ, HLG = 16, 18
"""H.273 transfer characteristics of HDR: SMPTE ST 2084, ARIB STD-B67."""
NEARLY_SQUARE = Fraction(1, 200)
"""Pixel aspects this close to 1 are left alone: they are rounding."""


@dataclass(frozen=True)
class View:
    """What reading does to the pictures, where the footage calls for it."""

    square: bool = True
    """Stretch them to square pixels."""
    sdr: bool = True
    """Map HDR (PQ, HLG) to SDR, BT.709."""
    progressive: bool = True
    """Deinterlace."""


@dataclass(frozen=True)
class Orientation:
    """Turn and mirroring of a display matrix (ISO/IEC 14496-12, 8.3.2)."""

    turns: int = 0
    """Quarter turns counter-clockwise."""
    mirrored: bool = False
    """Left and right are exchanged, after the turn."""

    def apply(self, image: NDArray[Any]) -> NDArray[Any]:
        """The picture (H, W, ...) upright."""
        if self.turns:
            image = np.rot90(image, self.turns)
        if self.mirrored:
            image = image[:, ::-1]
        return np.ascontiguousarray(image) if self.turns or self.mirrored else image


def orientation(frame: Any) -> Orientation:
    """Orientation of an av.VideoFrame by its display matrix; the nearest quarter turn."""
    data = next((d for d in frame.side_data if d.type == SideData.DISPLAYMATRIX), None)
    if data is None:
        return Orientation()
    a, b, _, c, d = (int(n) for n in np.frombuffer(bytes(data), np.int32)[:5])
    if a * d - b * c >= 0:
        return Orientation(round(np.degrees(np.arctan2(-b, a)) / 90) % 4)
    # A mirrored matrix is a turn and then x -> -x; without that it is a plain turn.
    return Orientation(round(np.degrees(np.arctan2(-b, -a)) / 90) % 4, True)


def pixel_aspect(stream: Any, upright: Orientation) -> Fraction:
    """Width to height of a pixel of the upright picture; 1 where it is not said, or nearly so."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if aspect <= 0 or abs(aspect - 1) < NEARLY_SQUARE:
        return Fraction(1)
    return 1 / aspect if upright.turns % 2 else aspect


def stretch(aspect: Fraction) -> tuple[float, float]:
    """Factors of x and y to square pixels: nothing is ever made smaller."""
    return max(float(aspect), 1.0), max(float(1 / aspect), 1.0)


def squared(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Size with square pixels: the shorter direction is stretched, so that nothing is lost."""
    if aspect >= 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def hdr_kind(stream: Any, frame: Any) -> str:
    """Kind of HDR: Dolby Vision, PQ or HLG; empty for SDR. Dolby Vision over a PQ or HLG picture counts as that."""
    transfer = int(frame.color_trc)
    if transfer in (PQ, HLG):
        return {PQ: "PQ", HLG: "HLG"}[transfer]
    marks = {SideData.DOVI_RPU_BUFFER, SideData.DOVI_METADATA}
    tags = ("dvh1", "dvhe", "dva1", "dvav", "dav1")
    found = stream.codec_context.codec_tag in tags or any(data.type in marks for data in frame.side_data)
    return "Dolby Vision" if found else ""


@dataclass(frozen=True)
class Look:
    """How the frames of one stream become pictures."""

    place: Callable[[Any], Any]
    """Sets the chroma's place; see `curate.footage.chroma`."""
    stored: tuple[int, int]
    """Width and height of what is shown of the decoded frame, as stored."""
    upright: Orientation
    aspect: Fraction
    """To which pictures are stretched; 1: not at all."""
    square: tuple[float, float]
    """Factors of x and y from the pictures' pixels to square ones; (1, 1) where they are stretched."""
    tables: tuple[cube.Table, ...]
    """Colour tables that are applied, in order."""

    @classmethod
    def of(cls, stream: Any, frame: Any, clip: Clip, view: View) -> Look:
        """The look of a stream by one of its frames. Raises FootageError for a table that cannot be read."""
        upright = orientation(frame)
        aspect = pixel_aspect(stream, upright)
        factors = stretch(aspect)
        tables = [cube.read(clip.lut)] if clip.lut else []
        kind = hdr_kind(stream, frame) if view.sdr else ""
        if kind in ("PQ", "HLG") and not tables:
            tables.append(cube.to_sdr(kind))
        where = siting(stream, frame), odd_size(Path(clip.path), frame.width, frame.height), upright
        if view.square:
            return cls(*where, aspect, (1.0, 1.0), tuple(tables))
        return cls(*where, Fraction(1), factors, tuple(tables))

    def image(self, frame: Any) -> Image:
        """(H, W, 3) uint8 RGB."""
        if self.tables:
            return np.asarray(((self._coloured(frame).astype(np.uint32) + 128) // 257), np.uint8)
        return np.ascontiguousarray(self._shaped(to_rgb(self.place(frame))), np.uint8)

    def deep(self, frame: Any) -> Deep:
        """(H, W, 3) uint16 RGB, 0..65535, with all the bits that the frame has."""
        if self.tables:
            return self._coloured(frame)
        return np.ascontiguousarray(self._shaped(to_deep(self.place(frame))), np.uint16)

    def luma(self, frame: Any) -> NDArray[np.uint8]:
        """(H, W) uint8 brightness, as stored; of 8-bit YUV the plane itself, without conversion."""
        return np.asarray(self._shaped(luma_of(frame)), np.uint8)

    def _coloured(self, frame: Any) -> Deep:
        picture = to_deep(self.place(frame))
        for table in self.tables:
            picture = table.apply(picture)
        return np.ascontiguousarray(self._shaped(picture), np.uint16)

    def _shaped(self, picture: NDArray[Any]) -> NDArray[Any]:
        """What is shown of a picture as stored, upright, with square pixels."""
        width, height = self.stored
        picture = self.upright.apply(picture[:height, :width])
        if self.aspect == 1:
            return picture
        size = squared(picture.shape[1], picture.shape[0], self.aspect)
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC))


def matrix_of(colorspace: int, height: int) -> Colorspace:
    """The YUV matrix of a stream by its tag; untagged: BT.709 from 720 lines up, BT.601 below (as players do)."""
    tagged = {1: Colorspace.ITU709, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 4: Colorspace.FCC}
    tagged |= {7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}
    return tagged.get(int(colorspace), Colorspace.ITU709 if height >= 720 else Colorspace.ITU601)


def to_rgb(frame: Any) -> Image:
    """An av.VideoFrame as (H, W, 3) uint8 RGB, as stored (not turned)."""
    matrix = matrix_of(frame.colorspace, frame.height)
    rgb = frame.reformat(format="rgb24", src_colorspace=matrix, interpolation=EXACT, threads=1).to_ndarray()
    return np.asarray(rgb, np.uint8)


def to_deep(frame: Any) -> Deep:
    """An av.VideoFrame as (H, W, 3) uint16 RGB, 0..65535, with all the bits that it has, as stored."""
    rgb = to_rgb16(frame, matrix_of(frame.colorspace, frame.height))
    return widen(to_rgb(frame)) if rgb is None else rgb


def luma_of(frame: Any) -> NDArray[np.uint8]:
    """(H, W) uint8 brightness of an av.VideoFrame, as stored; of 8-bit YUV the plane itself."""
    if frame.format.name in PLANAR:
        plane = frame.planes[0]
        return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    return np.asarray(frame.reformat(format="gray", threads=1).to_ndarray(), np.uint8)
