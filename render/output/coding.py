"""Codec, quality and bit depth of a render, and the ffmpeg options that follow from them."""

from __future__ import annotations

import functools
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from curate.errors import MissingError, UsageError
from render.output.footage_format import FootageFormat

ENCODERS = {"h264": "libx264", "h265": "libx265", "prores": "prores_ks", "prores4444": "prores_ks"}
"""Codec to ffmpeg's encoder."""
PROFILES = {"prores": "hq", "prores4444": "4444"}
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
LOSSLESS = 0


@dataclass(frozen=True)
class Coding:
    """Codec and quality of a video. The same coding and the same frames give the same bytes."""

    codec: str = "h264"
    """h264, h265, prores (422 HQ) or prores4444."""
    crf: int = 18
    """Quality of H.264 and H.265, 0 (lossless once the frames are Y'CbCr) to 51 (worst). ProRes ignores it."""
    bits: int = 8
    """Bits per component: 8 or 10; ProRes has 10."""
    preset: str = "medium"
    """Speed preset of x264 and x265: slower presets give smaller files."""
    threads: int = 1
    """Encoder threads. x264's bytes depend on their number, so it does not follow the machine."""

    def __post_init__(self) -> None:
        if self.codec not in ENCODERS:
            raise UsageError(f"--codec {self.codec}: must be one of {', '.join(ENCODERS)}")
        if self.bits not in (8, 10):
            raise UsageError(f"--bits {self.bits}: must be 8 or 10")
        if self.prores and self.bits != 10:
            raise UsageError(f"--bits {self.bits}: ProRes has 10 bits; omit --bits, or use --codec h264")
        if not 0 <= self.crf <= 51:
            raise UsageError(f"--crf {self.crf}: must be 0 to 51")
        if self.preset not in PRESETS:
            raise UsageError(f"--preset {self.preset}: must be one of {', '.join(PRESETS)}")
        if self.threads < 1:
            raise UsageError(f"--threads {self.threads}: must be 1 or more")

    @property
    def prores(self) -> bool:
        """Whether it is ProRes."""
        return self.codec in PROFILES

    @property
    def deep(self) -> bool:
        """Whether the encoder takes frames of 16 bits a component."""
        return self.bits > 8

    @property
    def suffix(self) -> str:
        """Suffix of the files of a part: .mp4, or .mov for ProRes."""
        return ".mov" if self.prores else ".mp4"


def coding_for(
    footage_format: FootageFormat,
    codec: str = "h264",
    bits: int | None = None,
    crf: int = 18,
    preset: str = "medium",
    threads: int = 1,
) -> Coding:
    """Coding for the footage's format; without `bits`, 10 if the footage has more than 8 or the codec is ProRes."""
    if bits is None:
        bits = 10 if footage_format.bits > 8 or codec in PROFILES else 8
    return Coding(codec, crf, bits, preset, threads)


def check_coding(coding: Coding, out: Path) -> None:
    """Raises UsageError if `out` cannot hold the codec, MissingError if ffmpeg lacks the encoder."""
    if coding.prores and out.suffix.lower() != ".mov":
        raise UsageError(f"--codec {coding.codec}: can only be stored in .mov; use --out {out.with_suffix('.mov')}")
    ffmpeg, wanted = imageio_ffmpeg.get_ffmpeg_exe(), ENCODERS[coding.codec]
    if wanted not in _encoders(ffmpeg):
        raise MissingError(
            f"--codec {coding.codec}: {ffmpeg} has no encoder {wanted}; run pip install --force-reinstall "
            "imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE to an ffmpeg that has it"
        )


@functools.cache
def _encoders(ffmpeg: str) -> frozenset[str]:
    command = [ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error", "-encoders"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return frozenset(line.split()[1] for line in lines if line.startswith(" V") and len(line.split()) > 1)


def output_format(footage_format: FootageFormat, coding: Coding) -> FootageFormat:
    """Format of the output: the footage's, with the coding's bits; ProRes is limited range, 4:2:2 or 4:4:4."""
    if coding.prores:
        form = "yuv422p" if coding.codec == "prores" else "yuv444p"
        return replace(footage_format, pixel_format=form + "10le", range_tag=1, bits=10)
    return replace(
        footage_format, pixel_format=footage_format.pixel_format + ("10le" if coding.deep else ""), bits=coding.bits
    )


def coded_size(width: int, height: int, shown: FootageFormat, coding: Coding) -> tuple[int, int]:
    """Width and height that are encoded: even where H.264 and H.265 halve the chroma; see `render.output.crop`."""
    if coding.prores:
        return width, height
    across = 1 if shown.pixel_format.startswith("yuv444") else 2
    down = 2 if shown.pixel_format.startswith("yuv420") else 1
    return -(-width // across) * across, -(-height // down) * down


def encoder_options(coding: Coding) -> dict[str, Any]:
    """ffmpeg's output options. Groups of pictures are closed, so that decoding can start at any key frame."""
    options: dict[str, Any] = {"vcodec": ENCODERS[coding.codec], "threads": coding.threads}
    if coding.prores:
        return options | {"profile:v": PROFILES[coding.codec], "vendor": "apl0"}
    options |= {"preset": coding.preset, "flags": "+cgop"}
    if coding.codec == "h264":
        return options | ({"qp": 0} if coding.crf == LOSSLESS else {"crf": coding.crf})
    own = f"log-level=error:frame-threads=1:pools={coding.threads if coding.threads > 1 else 'none'}"
    if coding.crf == LOSSLESS:
        own += ":lossless=1"
    else:
        options["crf"] = coding.crf
    return options | {"tag:v": "hvc1", "x265-params": own}
