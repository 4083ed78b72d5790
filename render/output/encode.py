"""Frames to video with the footage's colour tags (ffmpeg, through ffmpeg-python).

Raw video in a pipe has no timestamps, so the frames are numbered here at a nominal rate; `render.output.mux` gives
them the footage's times afterwards. RGB becomes YUV by the inverse of what decoding did
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
from render.output.coding import Coding, encoder_options, output_look
from render.output.footage_format import TAG_OF, Look

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
FLAGS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"


@contextmanager
def encoder(
    path: Path, width: int, height: int, rate: Fraction, look: Look, coding: Coding
) -> Iterator[Callable[[Pixels], None]]:
    """A function that appends a frame to the video at `path` (MP4, for ProRes QuickTime; whatever its suffix).

    Frames are (height, width, 3) RGB: uint8 for 8 bits, uint16 in 0..65535 for 10. The first is a key frame. Leaving
    the context finishes the file. Raises WorkError with the encoder's own reason if it fails.
    """
    shown = output_look(look, coding)
    command = _command(path, width, height, rate, shown, coding)
    kind = np.uint16 if coding.deep else np.uint8
    matrix = depth.to_yuv(shown.matrix, shown.range_tag == depth.FULL_RANGE, coding.bits)
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors) as process,
    ):
        pipe = cast(BinaryIO, process.stdin)

        def write(image: Pixels) -> None:
            """Hand one frame to the encoder."""
            if image.dtype != kind:
                raise ValueError(f"a frame of {image.dtype}, where {coding.bits} bits take {np.dtype(kind)}")
            if image.shape != (height, width, 3):
                raise WorkError(f"the footage changes its size from {width}x{height} in the middle: cut it there first")
            if coding.deep:
                image = np.moveaxis(depth.transform(cast(NDArray[np.uint16], image), matrix), -1, 0).astype("<u2")
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


def _command(path: Path, width: int, height: int, rate: Fraction, look: Look, coding: Coding) -> list[str]:
    frames = ffmpeg.input(
        "pipe:",
        format="rawvideo",
        pix_fmt="yuv444p16le" if coding.deep else "rgb24",
        s=f"{width}x{height}",
        framerate=f"{rate.numerator}/{rate.denominator}",
    )
    frames = _from_codes(frames, look) if coding.deep else _from_rgb(frames, look)
    tags = {"colorspace": look.matrix_tag, "color_primaries": look.primaries, "color_trc": look.transfer}
    frames = frames.filter("setparams", range=look.range_tag, **tags)
    if look.aspect:
        frames = frames.filter("setsar", f"{look.aspect.numerator}/{look.aspect.denominator}")
    output = frames.output(
        str(path), format=coding.suffix[1:], fps_mode="passthrough", color_range=look.range_tag, **tags,
        **encoder_options(coding),
    )  # fmt: skip
    quiet = output.global_args("-nostdin", "-hide_banner", "-loglevel", "error", "-filter_threads", "1")
    command: list[str] = quiet.overwrite_output().compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    return command


def _from_rgb(frames: Any, look: Look) -> Any:
    """8-bit RGB to the look's pixel format."""
    numbers = "full" if look.range_tag == depth.FULL_RANGE else "limited"
    # H.264 chroma lies at the left of its two luma pixels unless it says otherwise, and is decoded so.
    frames = frames.filter(
        "scale",
        flags=FLAGS,
        out_color_matrix=TAG_OF[look.matrix][1],
        out_range=numbers,
        out_h_chr_pos=0,
        out_v_chr_pos=128,
    )
    if numbers == "full":
        # swscale lowers 8-bit full-range chroma by half a level; by way of 12 bits it does not.
        frames = frames.filter("format", look.pixel_format + "12le")
        frames = frames.filter("scale", flags=FLAGS, in_range=numbers, out_range=numbers)
    return frames.filter("format", look.pixel_format)


def _from_codes(frames: Any, look: Look) -> Any:
    """Y'CbCr codes that fill 16 bits to the look's pixel format.

    Called limited on both sides, they are shifted and not stretched. Without dither 4:4:4 is rounded as the others are.
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
    return frames.filter("format", look.pixel_format)
