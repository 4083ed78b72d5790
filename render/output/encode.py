"""Video encoder that keeps the footage's colour tags (ffmpeg, through ffmpeg-python).

Raw video in a pipe has no timestamps, so frames are numbered at a nominal rate; `render.output.mux` gives
them the footage's timestamps afterwards. RGB becomes YUV by the inverse of what decoding did
(`curate.footage.video.to_rgb` at 8 bits, `curate.footage.depth` at 10): the tag's matrix, or BT.709 from 720 lines
up and BT.601 below where the footage has none; full chroma and accurate rounding.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, cast

import ffmpeg
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from curate.errors import WorkError
from curate.footage import depth
from curate.footage.opening import plain_name
from render.output.coding import Coding, coded_size, encoder_options, output_format
from render.output.footage_format import TAG_OF, FootageFormat

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
FLAGS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"


@contextmanager
def encoder(
    path: Path, width: int, height: int, rate: Fraction, footage_format: FootageFormat, coding: Coding
) -> Iterator[Callable[[Pixels], None]]:
    """Function that appends a frame to the video at `path` (MP4, or QuickTime for ProRes, whatever its suffix).

    Frames are (height, width, 3) RGB: uint8 for 8 bits, uint16 in 0..65535 for 10. An odd size is padded by repeating
    the last column or row where chroma is halved. The first frame is a key frame. Leaving the context finishes the
    file. Raises WorkError with the encoder's own message if it fails.
    """
    shown = output_format(footage_format, coding)
    across, down = coded_size(width, height, shown, coding)
    command = _command(path, across, down, rate, shown, coding)
    matrix = depth.to_yuv(shown.matrix, shown.range_tag == depth.FULL_RANGE, coding.bits)
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors) as process,
    ):
        pipe = cast(BinaryIO, process.stdin)

        def write(image: Pixels) -> None:
            """Append one frame."""
            _check_frame(image, width, height, coding)
            if (across, down) != (width, height):
                image = cast(Pixels, np.pad(image, ((0, down - height), (0, across - width), (0, 0)), "edge"))
            if coding.deep:
                image = np.moveaxis(depth.transform(cast(NDArray[np.uint16], image), matrix), -1, 0).astype("<u2")
            pipe.write(image.tobytes())

        try:
            yield write
            pipe.close()
        except BrokenPipeError:
            pass  # the encoder's own message, below, says why
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


def _check_frame(image: Pixels, width: int, height: int, coding: Coding) -> None:
    kind = np.dtype(np.uint16 if coding.deep else np.uint8)
    if image.dtype != kind:
        raise ValueError(f"the frame is {image.dtype}, but {coding.bits} bits need {kind}")
    if image.shape != (height, width, 3):
        found = f"{image.shape[1]}x{image.shape[0]}"
        raise WorkError(f"the footage changes its size from {width}x{height} to {found}; split it there")


def _command(
    path: Path, width: int, height: int, rate: Fraction, footage_format: FootageFormat, coding: Coding
) -> list[str]:
    frames = ffmpeg.input(
        "pipe:",
        format="rawvideo",
        pix_fmt="yuv444p16le" if coding.deep else "rgb24",
        s=f"{width}x{height}",
        framerate=f"{rate.numerator}/{rate.denominator}",
    )
    frames = _from_codes(frames, footage_format) if coding.deep else _from_rgb(frames, footage_format)
    tags = {
        "colorspace": footage_format.matrix_tag,
        "color_primaries": footage_format.primaries,
        "color_trc": footage_format.transfer,
    }
    frames = frames.filter("setparams", range=footage_format.range_tag, **tags)
    if footage_format.aspect:
        frames = frames.filter(
            "setsar", f"{footage_format.aspect.numerator}/{footage_format.aspect.denominator}", max=65535
        )
    output = frames.output(
        plain_name(path), format=coding.suffix[1:], fps_mode="passthrough", color_range=footage_format.range_tag,
        **tags, **encoder_options(coding),
    )  # fmt: skip
    quiet = output.global_args("-nostdin", "-hide_banner", "-loglevel", "error", "-filter_threads", "1")
    command: list[str] = quiet.overwrite_output().compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    return command


def _from_rgb(frames: Any, footage_format: FootageFormat) -> Any:
    """8-bit RGB to the output's pixel format."""
    numbers = "full" if footage_format.range_tag == depth.FULL_RANGE else "limited"
    # H.264 chroma lies at the left of its two luma pixels unless it is tagged otherwise, and is decoded like that.
    frames = frames.filter(
        "scale",
        flags=FLAGS,
        out_color_matrix=TAG_OF[footage_format.matrix][1],
        out_range=numbers,
        out_h_chr_pos=0,
        out_v_chr_pos=128,
    )
    if numbers == "full":
        # swscale lowers 8-bit full-range chroma by half a level; by way of 12 bits it does not.
        frames = frames.filter("format", footage_format.pixel_format + "12le")
        frames = frames.filter("scale", flags=FLAGS, in_range=numbers, out_range=numbers)
    return frames.filter("format", footage_format.pixel_format)


def _from_codes(frames: Any, footage_format: FootageFormat) -> Any:
    """Y'CbCr codes that fill 16 bits to the output's pixel format.

    With limited range on both sides they are shifted, not stretched. Without dither 4:4:4 is rounded like the others.
    """
    frames = frames.filter("setparams", range="limited").filter(
        "scale",
        flags=FLAGS,
        sws_dither="none",
        in_range="limited",
        out_range="limited",
        out_h_chr_pos=0,
        out_v_chr_pos=128,
    )
    return frames.filter("format", footage_format.pixel_format)
