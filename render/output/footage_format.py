"""Colour and pixel format of footage, and whether it can be rendered without conversion."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import Colorspace

from curate.errors import UsageError
from curate.footage.video import matrix_of
from curate.safe_io import DAMAGED, unreadable

UNKNOWN = 2
"""H.273: unspecified."""
PQ, HLG = 16, 18
"""H.273 transfer characteristics of HDR: SMPTE ST 2084, ARIB STD-B67."""
TAG_OF = {
    Colorspace.ITU709: (1, "bt709"),
    Colorspace.ITU601: (6, "bt601"),
    Colorspace.FCC: (4, "fcc"),
    Colorspace.SMPTE240M: (7, "smpte240m"),
    Colorspace.BT2020: (9, "bt2020"),
}
"""Matrix to its H.273 number and swscale's name."""
LOOKED_AT = 30
"""Frames at the start that are checked for interlacing: titles may be progressive, camera footage is not."""
TO_SDR = (
    "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p"
)
"""ffmpeg filters from PQ or HLG to BT.709."""


def video_stream(container: Any) -> Any:
    """The video stream to decode: the first that is not a cover picture."""
    return next(s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic)


@dataclass(frozen=True)
class FootageFormat:
    """Colour tags, pixel format and pixel aspect of footage. Numbers as in ITU-T H.273."""

    matrix: Colorspace
    """Matrix with which the footage is decoded."""
    matrix_tag: int
    """Matrix tag of the output; 2 (unspecified) if the footage has none and players would guess right."""
    primaries: int
    transfer: int
    range_tag: int
    """0 unspecified, 1 limited, 2 full."""
    pixel_format: str
    """yuv420p, yuv422p or yuv444p, after the footage's chroma; `render.output.coding` sets the bits."""
    aspect: Fraction
    """Pixel aspect, width to height, upright; 0 if unspecified."""
    bits: int
    """Bits per component of the footage."""

    @property
    def hdr(self) -> bool:
        """Whether the transfer function is PQ or HLG."""
        return self.transfer in (PQ, HLG)


def check_footage(footage: Path, allow_hdr: bool = False) -> FootageFormat:
    """The format of footage that can be rendered without conversion.

    Raises UsageError, with the ffmpeg command that converts it, for interlaced footage and, unless `allow_hdr`, for HDR
    (PQ, HLG) and Dolby Vision; FootageError if it is not a video.
    """
    with _frames(footage) as (stream, frames):
        first = next(frames)
        quarter = round(first.rotation / 90) % 2
        size = (first.height, first.width) if quarter else (first.width, first.height)
        footage_format = _footage_format(stream, first, *size)
        if any(frame.interlaced_frame for frame in itertools.chain([first], itertools.islice(frames, LOOKED_AT - 1))):
            raise UsageError(
                f"--footage {footage}: is interlaced, and a face pasted over both fields would show combing; "
                f"deinterlace it first: {_command(footage, 'bwdif=mode=send_frame', 'progressive')}"
            )
        kind = _hdr_kind(stream, first, footage_format)
        if kind and not allow_hdr:
            raise UsageError(
                f"--footage {footage}: is HDR ({kind}), but the model was trained on SDR; convert it first: "
                f"{_command(footage, TO_SDR, 'sdr')}"
            )
        return footage_format


def _command(footage: Path, filters: str, word: str) -> str:
    out = footage.with_name(f"{footage.stem}-{word}.mp4")
    parts = ["ffmpeg", "-i", str(footage), "-vf", filters, "-c:v", "libx264", "-crf", "12", "-c:a", "copy", str(out)]
    return shlex.join(parts)


def _hdr_kind(stream: Any, frame: Any, footage_format: FootageFormat) -> str:
    """Kind of HDR: Dolby Vision, PQ or HLG; empty for SDR."""
    marks = {SideData.DOVI_RPU_BUFFER, SideData.DOVI_METADATA}
    tags = ("dvh1", "dvhe", "dva1", "dvav", "dav1")
    if stream.codec_context.codec_tag in tags or any(data.type in marks for data in frame.side_data):
        return "Dolby Vision"
    return {PQ: "PQ", HLG: "HLG"}.get(footage_format.transfer, "")


@contextmanager
def _frames(footage: Path) -> Iterator[tuple[Any, Iterator[Any]]]:
    try:
        with av.open(str(footage), metadata_errors="replace") as container:
            stream = video_stream(container)
            yield stream, _decoded(container, stream)
    except (*DAMAGED, StopIteration) as error:
        raise unreadable(footage, error) from None


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames; a packet that cannot be decoded is skipped."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def _footage_format(stream: Any, frame: Any, width: int, height: int) -> FootageFormat:
    context = stream.codec_context
    tag = int(frame.colorspace)
    matrix = matrix_of(tag, frame.height)
    quarter = round(frame.rotation / 90) % 2
    aspect = stream.sample_aspect_ratio or Fraction(0)
    return FootageFormat(
        matrix=matrix,
        matrix_tag=_matrix_tag(tag, matrix, height),
        primaries=int(context.color_primaries),
        transfer=int(context.color_trc),
        range_tag=int(frame.color_range),
        pixel_format=_pixel_format(frame.format, quarter, width, height),
        aspect=1 / aspect if quarter and aspect else Fraction(aspect),
        bits=max(c.bits for c in frame.format.components),
    )


def _matrix_tag(tag: int, matrix: Colorspace, height: int) -> int:
    """The footage's own tag, unless it has none (or an RGB one) and players would guess a different one."""
    if tag == UNKNOWN and matrix_of(UNKNOWN, height) == matrix:
        return UNKNOWN
    known = {1, 4, 5, 6, 7, 9}
    return tag if tag in known else TAG_OF[matrix][0]


def _pixel_format(form: av.VideoFormat, quarter: int, width: int, height: int) -> str:
    """Chroma as in the footage; 4:4:4 where an odd size, or a quarter turn of 4:2:2, leaves nothing else."""
    planes = form.components
    if len(planes) < 3 or form.is_rgb:
        across, down = (2, 2) if width % 2 == height % 2 == 0 else (1, 1)
    else:
        across = round(planes[0].width / planes[1].width)
        down = round(planes[0].height / planes[1].height)
    if quarter:
        across, down = down, across
    if (across, down) == (2, 2) and width % 2 == height % 2 == 0:
        return "yuv420p"
    if (across, down) == (2, 1) and width % 2 == 0:
        return "yuv422p"
    return "yuv444p"
