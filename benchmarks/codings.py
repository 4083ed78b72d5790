"""Benchmark of every coding of a render: speed, size, and loss of decoding and re-encoding.

    python -m benchmarks.codings [--clip CLIP] [--frames N] [--threads N]

Without a clip it uses a painted, turning head, 480 lines. Speed is in frames per CPU second, ffmpeg's and our own
together, so that other load on the machine hardly matters.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from curate.footage import video
from curate.turntable import painted, performance, write_clip
from curate.types import Frame
from render.output.coding import Coding
from render.output.encode import encoder
from render.output.footage_format import FootageFormat, check_footage

CODINGS = (
    Coding(),
    Coding(bits=10),
    Coding("h265"),
    Coding("h265", bits=10),
    Coding("prores", bits=10),
    Coding("prores4444", bits=10),
    Coding(crf=0),
    Coding(crf=0, bits=10),
    Coding("h265", crf=0, bits=10),
)


def encode(path: Path, frames: list[Frame], footage_format: FootageFormat, coding: Coding) -> float:
    """Encode the frames; CPU seconds."""
    pixels = [f.deep if coding.deep else f.image for f in frames]
    height, width = pixels[0].shape[:2]
    began = spent()
    with encoder(path, width, height, Fraction(25), footage_format, coding) as write:
        for image in pixels:
            write(image)
    return spent() - began


def spent() -> float:
    """CPU seconds of this process and of finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def luma(path: Path) -> list[np.ndarray]:
    """Luma as stored, in 10-bit codes."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            bits = frame.format.components[0].bits
            kind = np.dtype(np.uint8 if bits == 8 else np.uint16)
            plane = frame.planes[0]
            codes = np.frombuffer(plane, kind).reshape(-1, plane.line_size // kind.itemsize)[:, : frame.width]
            found.append(codes.astype(float) * 2.0 ** (10 - bits))
    return found


def measure(clip: Path, folder: Path, count: int, threads: int) -> list[dict[str, Any]]:
    """One row per coding: frames per CPU second, Mbit/s at 25 fps, PSNR in RGB, luma error in 10-bit codes."""
    footage_format = check_footage(clip)
    frames = list(itertools.islice(video.decode(video.probe(clip), depth=16), count))
    before = luma(clip)[: len(frames)]
    rows = []
    for given in CODINGS:
        coding = Coding(given.codec, given.crf, given.bits, given.preset, threads)
        path = folder / f"{coding.codec}{coding.suffix}"
        seconds = encode(path, frames, footage_format, coding)
        back = list(video.decode(video.probe(path), depth=16))
        off = [(b.deep.astype(float) - f.deep) / 65535 for b, f in zip(back, frames, strict=True)]
        codes = [np.abs(b - a) for a, b in zip(before, luma(path), strict=True)]
        rows.append(
            {
                "codec": coding.codec,
                "bits": coding.bits,
                "crf": None if coding.prores else coding.crf,
                "fps": round(len(frames) / seconds, 1),
                "mbits": round(path.stat().st_size * 8e-6 * 25 / len(frames), 2),
                "psnr": round(-10 * float(np.log10(max(np.mean([np.mean(o**2) for o in off]), 1e-12))), 1),
                "luma_mean": round(float(np.mean(codes)), 3),
                "luma_max": float(np.max(codes)),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = args.clip
        if clip is None:
            clip = folder / "head.mp4"
            write_clip(clip, painted(), performance(seed=1, frames=args.frames), (480, 480), 25)
        rows = measure(clip, folder, args.frames, args.threads)
    print(f"{'codec':<11}{'bits':>5}{'crf':>5}{'frames/s':>10}{'Mbit/s':>9}{'PSNR':>7}   luma error, 10-bit codes")
    for r in rows:
        crf = "-" if r["crf"] is None else r["crf"]
        print(
            f"{r['codec']:<11}{r['bits']:>5}{crf:>5}{r['fps']:>10}{r['mbits']:>9}{r['psnr']:>7}"
            f"   mean {r['luma_mean']}, max {r['luma_max']:.0f}"
        )
    print(json.dumps({"benchmark": "codings", "frames": args.frames, "threads": args.threads, "rows": rows}))


if __name__ == "__main__":
    main()
