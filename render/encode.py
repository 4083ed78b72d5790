"""Frames to H.264 with the footage's colour tags (ffmpeg, through ffmpeg-python).

Raw video in a pipe has no timestamps, so the frames are numbered here at a nominal rate; `render.mux` gives them the
footage's times afterwards. RGB becomes YUV by the inverse of what decoding did (`curate.video.to_rgb`): the tag's
matrix, or BT.709 from 720 lines up and BT.601 below where the footage has none; full chroma and accurate rounding.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, cast

import av
import ffmpeg
import imageio_ffmpeg
from av.video.reformatter import Colorspace

from curate.errors import FootageError, WorkError
from curate.types import Image
from curate.video import matrix_of
from render.mux import video_stream

log = logging.getLogger(__name__)

UNKNOWN = 2
"""H.273: unspecified."""
FULL_RANGE = 2
"""libav: AVCOL_RANGE_JPEG."""
TAG_OF = {
    Colorspace.ITU709: (1, "bt709"),
    Colorspace.ITU601: (6, "bt601"),
    Colorspace.FCC: (4, "fcc"),
    Colorspace.SMPTE240M: (7, "smpte240m"),
    Colorspace.BT2020: (9, "bt2020"),
}
"""Matrix to its H.273 number and swscale's name."""
PRESET = "medium"


@dataclass(frozen=True)
class Look:
    """How the footage's numbers mean colours, and how its pixels lie. Numbers as in ITU-T H.273."""

    matrix: Colorspace
    """In which the footage was decoded."""
    matrix_tag: int
    """What the output says; 2 where the footage says nothing and players would guess right."""
    primaries: int
    transfer: int
    range_tag: int
    """0 unspecified, 1 limited, 2 full."""
    pixel_format: str
    """yuv420p, yuv422p or yuv444p, by the footage's own chroma."""
    aspect: Fraction
    """Of a pixel, width to height, upright; 0 where not said."""
    bits: int
    """A component in the footage; the output has 8."""


def look_of(footage: Path, width: int, height: int) -> Look:
    """How `footage` shows its colours; width and height are those of the upright frames. Raises FootageError."""
    try:
        with av.open(str(footage), metadata_errors="replace") as container:
            stream = video_stream(container)
            frame = next(container.decode(stream))
            context = stream.codec_context
            tag = int(frame.colorspace)
            matrix = matrix_of(tag, frame.height)
            quarter = round(frame.rotation / 90) % 2
            aspect = stream.sample_aspect_ratio or Fraction(0)
            return Look(
                matrix=matrix,
                matrix_tag=_matrix_tag(tag, matrix, height),
                primaries=int(context.color_primaries),
                transfer=int(context.color_trc),
                range_tag=int(frame.color_range),
                pixel_format=_pixel_format(frame.format, quarter, width, height),
                aspect=1 / aspect if quarter and aspect else Fraction(aspect),
                bits=max(c.bits for c in frame.format.components),
            )
    except (av.error.FFmpegError, StopIteration, IndexError) as error:
        raise FootageError(f"{footage}: cannot be read as video ({error})") from None


def _matrix_tag(tag: int, matrix: Colorspace, height: int) -> int:
    """The footage's own tag, unless it has none (or an RGB one) and the output would be guessed otherwise."""
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


@contextmanager
def encoder(
    path: Path, width: int, height: int, rate: Fraction, look: Look, crf: int
) -> Iterator[Callable[[Image], None]]:
    """A function that appends a frame (height, width, 3) uint8 RGB to the video at `path`.

    Leaving the context finishes the file. Raises WorkError with the encoder's own reason if it fails.
    """
    command = _command(path, width, height, rate, look, crf)
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors) as process,
    ):
        pipe = cast(BinaryIO, process.stdin)

        def write(image: Image) -> None:
            if image.shape != (height, width, 3):
                raise WorkError(f"the footage changes its size from {width}x{height} in the middle: cut it there first")
            pipe.write(image.tobytes())

        try:
            yield write
            pipe.close()
        except BrokenPipeError:
            pass  # the encoder's own words, below, say more
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                pipe.close()
        if code := process.wait():
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            raise WorkError(f"the encoder failed: {lines[-1]}")


def _command(path: Path, width: int, height: int, rate: Fraction, look: Look, crf: int) -> list[str]:
    frames = ffmpeg.input(
        "pipe:",
        format="rawvideo",
        pix_fmt="rgb24",
        s=f"{width}x{height}",
        framerate=f"{rate.numerator}/{rate.denominator}",
    )
    flags = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    numbers = "full" if look.range_tag == FULL_RANGE else "limited"
    # H.264 chroma lies at the left of its two luma pixels unless it says otherwise, and is decoded so.
    frames = frames.filter(
        "scale",
        flags=flags,
        out_color_matrix=TAG_OF[look.matrix][1],
        out_range=numbers,
        out_h_chr_pos=0,
        out_v_chr_pos=128,
    )
    if numbers == "full":
        # swscale lowers 8-bit full-range chroma by half a level; by way of 12 bits it does not.
        frames = frames.filter("format", look.pixel_format + "12le")
        frames = frames.filter("scale", flags=flags, in_range=numbers, out_range=numbers)
    frames = frames.filter("format", look.pixel_format)
    tags = {"colorspace": look.matrix_tag, "color_primaries": look.primaries, "color_trc": look.transfer}
    frames = frames.filter("setparams", range=look.range_tag, **tags)
    if look.aspect:
        frames = frames.filter("setsar", f"{look.aspect.numerator}/{look.aspect.denominator}")
    output = frames.output(
        str(path), format="mp4", vcodec="libx264", crf=crf, preset=PRESET, fps_mode="passthrough",
        color_range=look.range_tag, **tags,
    )  # fmt: skip
    quiet = output.global_args("-nostdin", "-hide_banner", "-loglevel", "error")
    command: list[str] = quiet.overwrite_output().compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    return command
