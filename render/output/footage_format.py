"""Colour and pixel format of footage, and whether it can be rendered without conversion."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.reformatter import Colorspace

from curate.errors import UsageError
from curate.footage.aperture import odd_size
from curate.footage.opening import opened, plain_name, video_stream
from curate.footage.picture import HLG, PQ, View, hdr_kind, matrix_of, orientation
from curate.footage.sizes import sizes
from curate.safe_io import DAMAGED, unreadable

UNKNOWN = 2
"""H.273: unspecified."""
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
    size: tuple[int, int] = (0, 0)
    """Width and height, upright, as stored."""

    @property
    def hdr(self) -> bool:
        """Whether the transfer function is PQ or HLG."""
        return self.transfer in (PQ, HLG)


def check_footage(
    footage: Path, allow_hdr: bool = False, view: View | None = None, graded: bool = False
) -> FootageFormat:
    """The format of footage, as `view` reads it (default: as it is stored); the output's is the same.

    `graded`: a colour table turns it into SDR, BT.709.

    Raises UsageError, with the option or the ffmpeg command that helps, for interlaced footage that is not
    deinterlaced, and, unless `allow_hdr`, for HDR (PQ, HLG, Dolby Vision) that is not mapped to SDR; FootageError if it
    is not a video.
    """
    view = view or View(square=False, sdr=False, progressive=False)
    with _frames(footage) as (stream, frames):
        first = next(frames)
        stored = odd_size(footage, first.width, first.height)
        footage_format = _footage_format(stream, first, stored, view, graded)
        looked_at = itertools.chain([first], itertools.islice(frames, LOOKED_AT - 1))
        if not view.progressive and any(frame.interlaced_frame for frame in looked_at):
            raise UsageError(
                f"--footage {footage}: is interlaced, and a face pasted over both fields would show combing; add "
                f"--deinterlace, or deinterlace it first: {_command(footage, 'bwdif=mode=send_frame', 'progressive')}"
            )
        kind = hdr_kind(stream, first)
        if kind and not allow_hdr and not graded and not (view.sdr and kind in ("PQ", "HLG")):
            help_ = "add --tonemap, or convert it first" if kind != "Dolby Vision" else "convert it first"
            raise UsageError(
                f"--footage {footage}: is HDR ({kind}), but the model was trained on SDR; {help_}: "
                f"{_command(footage, TO_SDR, 'sdr')}"
            )
        return footage_format


def check_size(footage: Path) -> None:
    """Raises UsageError, with the command that cuts it apart, if the footage changes its size."""
    found = sizes(footage)
    if len(found) < 2:
        return
    times = ",".join(f"{change.seconds:.3f}" for change in found[1:])
    parts = plain_name(footage.with_name(f"{footage.stem}-%d{footage.suffix}"))
    command = shlex.join([
        "ffmpeg", "-i", plain_name(footage), "-map", "0:V:0", "-map", "0:a?", "-c", "copy", "-f", "segment",
        "-segment_times", times, "-reset_timestamps", "1", parts,
    ])  # fmt: skip
    before, after = found[0], found[1]
    raise UsageError(
        f"--footage {footage}: changes its size from {before.width}x{before.height} to {after.width}x{after.height} at "
        f"{after.seconds:.2f} s; cut it apart there, then render each part: {command}"
    )


def _command(footage: Path, filters: str, word: str) -> str:
    out = footage.with_name(f"{footage.stem}-{word}.mp4")
    names = plain_name(footage), plain_name(out)
    return shlex.join(
        ["ffmpeg", "-i", names[0], "-vf", filters, "-c:v", "libx264", "-crf", "12", "-c:a", "copy", names[1]]
    )


@contextmanager
def _frames(footage: Path) -> Iterator[tuple[Any, Iterator[Any]]]:
    try:
        with opened(footage) as container:
            stream = video_stream(container, footage)
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


def _footage_format(stream: Any, frame: Any, stored: tuple[int, int], view: View, graded: bool) -> FootageFormat:
    context = stream.codec_context
    quarter = orientation(frame).turns % 2
    width, height = stored[::-1] if quarter else stored
    tag = int(frame.colorspace)
    matrix = matrix_of(tag, frame.height)
    aspect = stream.sample_aspect_ratio or Fraction(0)
    found = FootageFormat(
        matrix=matrix,
        matrix_tag=_matrix_tag(tag, matrix, height),
        primaries=int(frame.color_primaries if int(frame.color_primaries) != UNKNOWN else context.color_primaries),
        transfer=int(frame.color_trc if int(frame.color_trc) != UNKNOWN else context.color_trc),
        range_tag=int(frame.color_range),
        pixel_format=_pixel_format(frame.format, quarter),
        aspect=1 / aspect if quarter and aspect else Fraction(aspect),
        bits=max(c.bits for c in frame.format.components),
        size=(width, height),
    )
    if graded or (view.sdr and found.hdr):
        return replace(found, matrix=Colorspace.ITU709, matrix_tag=1, primaries=1, transfer=1, range_tag=1)
    return found


def _matrix_tag(tag: int, matrix: Colorspace, height: int) -> int:
    """The footage's own tag, unless it has none (or an RGB one) and players would guess a different one."""
    if tag == UNKNOWN and matrix_of(UNKNOWN, height) == matrix:
        return UNKNOWN
    known = {1, 4, 5, 6, 7, 9}
    return tag if tag in known else TAG_OF[matrix][0]


def _pixel_format(form: av.VideoFormat, quarter: int) -> str:
    """Chroma as in the footage; 4:4:4 where a quarter turn leaves nothing else. RGB becomes 4:2:0."""
    planes = form.components
    if len(planes) < 3 or form.is_rgb:
        across, down = 2, 2
    else:
        across = round(planes[0].width / planes[1].width)
        down = round(planes[0].height / planes[1].height)
    if quarter:
        across, down = down, across
    return {(2, 2): "yuv420p", (2, 1): "yuv422p"}.get((across, down), "yuv444p")
