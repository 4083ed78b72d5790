"""Videos of synthetic heads: lively performances and clips with sound."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.runtime.files import atomic
from curate.turntable.drawing import render
from curate.turntable.model import Head
from curate.turntable.view import View
from curate.types import Image

FPS = Fraction(25)
RATE = 48000


def performance(seed: int, frames: int, fps: float = 25.0) -> list[View]:
    """A smooth, lively performance of a talking head; every seed another. No two frames are the same.

    Yaw spans about +-45 degrees, pitch +-20, roll +-11; the mouth talks, eyes blink every 2 to 5 s, the light moves.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / fps
    yaw = 46 * _wander(rng, time, (0.06, 0.13, 0.31))
    pitch = 20 * _wander(rng, time, (0.09, 0.21, 0.37)) + 1
    roll = 11 * _wander(rng, time, (0.07, 0.19, 0.41))
    talks = np.clip(1.6 * _wander(rng, time, (0.11, 0.23)) + 0.55, 0, 1)
    syllables = np.clip(0.5 + 0.7 * _wander(rng, time, (1.7, 2.9, 4.3)), 0, 1)
    mouth = np.clip(0.75 * talks * syllables, 0, 1)
    smile = np.clip(1.3 * _wander(rng, time, (0.08, 0.17)) + 0.1, 0, 1)
    brows = np.clip(1.2 * _wander(rng, time, (0.15, 0.33)), 0, 1)
    eyes = np.clip(1.0 - _blinks(rng, time), 0, 1)
    look = np.stack([14 * _wander(rng, time, (0.3, 0.7)), 8 * _wander(rng, time, (0.35, 0.6))], axis=-1)
    side, height = 1.1 * _wander(rng, time, (0.05, 0.12)), 0.25 + 0.5 * _wander(rng, time, (0.06, 0.15))
    key = 0.72 + 0.14 * _wander(rng, time, (0.10, 0.22))
    ambient = 0.27 + 0.10 * _wander(rng, time, (0.07, 0.16))
    kelvin = 6200 + 1500 * _wander(rng, time, (0.05, 0.11))
    scale = 0.43 + 0.04 * _wander(rng, time, (0.06, 0.14))
    shift = 0.03 * np.stack([_wander(rng, time, (0.1, 0.24)), _wander(rng, time, (0.12, 0.27))], axis=-1)
    return [
        View(
            yaw=float(yaw[i]), pitch=float(pitch[i]), roll=float(roll[i]),
            mouth=float(mouth[i]), eyes=float(eyes[i]), smile=float(smile[i]), brows=float(brows[i]),
            gaze=(float(look[i, 0]), float(look[i, 1])), light=(float(side[i]), float(height[i]), 1.0),
            key=float(key[i]), ambient=float(ambient[i]), kelvin=float(kelvin[i]), scale=float(scale[i]),
            x=float(shift[i, 0]), y=float(shift[i, 1]) + 0.04, background=seed,
        )
        for i in range(frames)
    ]  # fmt: skip


def _wander(rng: np.random.Generator, time: NDArray[np.float64], rates: tuple[float, ...]) -> NDArray[np.float64]:
    """(frames,) within -1..1: a sum of sines of about these frequencies (Hz), with phases of their own."""
    out = np.zeros(len(time))
    for k, rate in enumerate(rates):
        exact = rate * rng.uniform(0.85, 1.15)
        out += 0.62**k * np.sin(2 * np.pi * exact * time + rng.uniform(0, 2 * np.pi))
    return np.asarray(out / sum(0.62**k for k in range(len(rates))) * 1.25).clip(-1, 1)


def _blinks(rng: np.random.Generator, time: NDArray[np.float64]) -> NDArray[np.float64]:
    """(frames,) 0 open .. 1 shut."""
    shut = np.zeros(len(time))
    at = rng.uniform(0.4, 2.0)
    while len(time) and at < time[-1] + 1:
        shut = np.maximum(shut, np.exp(-(((time - at) / 0.075) ** 2)) * 1.05)
        at += rng.uniform(1.8, 4.5)
    return shut


def write_clip(
    path: Path,
    head: Head,
    views: list[View],
    size: tuple[int, int] = (480, 480),
    fps: Fraction | int = FPS,
    tone: bool = True,
) -> Path:
    """Renders and encodes H.264 in MP4 (yuv420p, BT.709 limited range, CRF 18), with a sine tone as AAC sound.

    size: (height, width), both even. The file appears whole or not at all; an existing one is replaced. Gives `path`.
    """
    return write_pictures(path, (render(head, view, size) for view in views), size, fps, tone)


def write_pictures(
    path: Path, pictures: Iterable[Image], size: tuple[int, int], fps: Fraction | int = FPS, tone: bool = True
) -> Path:
    """As `write_clip`, of any pictures (H, W, 3) uint8 RGB of one size."""
    if size[0] % 2 or size[1] % 2:
        raise UsageError(f"size {size[0]}x{size[1]}: both must be even for yuv420p")
    options = {"movflags": "+faststart"}
    with atomic(path) as temporary, av.open(str(temporary), "w", format="mp4", options=options) as out:
        _encode(out, pictures, size, Fraction(fps), tone)
    return path


def _encode(out: Any, pictures: Iterable[Image], size: tuple[int, int], fps: Fraction, tone: bool) -> None:
    options = {
        "crf": "18",
        "preset": "veryfast",
        "g": str(round(fps)),  # a key frame a second, to seek and to cut segments at
        "x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709:threads=1",
    }
    video = out.add_stream("libx264", rate=fps, options=options)
    video.width, video.height, video.pix_fmt = size[1], size[0], "yuv420p"
    video.time_base = 1 / fps
    sound = out.add_stream("aac", rate=RATE, layout="mono") if tone else None
    done = 0
    for index, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", interpolation="LANCZOS"
        )
        frame.pts, frame.time_base = index, 1 / fps
        out.mux(video.encode(frame))
        if sound is not None:
            until = int((index + 1) * RATE / fps)
            out.mux([packet for piece in _tone(done, until) for packet in sound.encode(piece)])
            done = until
    out.mux(video.encode(None))
    if sound is not None:
        out.mux(sound.encode(None))


def _tone(start: int, end: int) -> list[Any]:
    """220 Hz at a tenth of full scale, samples start..end."""
    wave = 0.1 * np.sin(2 * np.pi * 220 * np.arange(start, end) / RATE)
    frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
    return [frame]
