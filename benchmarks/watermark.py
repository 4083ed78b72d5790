"""Benchmark of the watermark on real clips: bits that survive in every window of 30 frames, and false positives.

    python -m benchmarks.watermark --clips DIR [--clip-names d0,d3,...] [--frames 120] [--more] [--negatives 0]

Each clip gets its own identifier, is encoded by x264 (preset medium) and decoded; every window of 30
consecutive frames is decoded from sums of per-frame measurements. `raw` counts windows whose 64 signs are right without
the list decoder, `exact` those whose identifier is right; `ms` is CPU time per frame, one thread. False positives:
windows of the unmarked frames as they are, re-encoded, halved, upside down, cropped and as negatives, 10,000 in all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from curate.footage import video
from render.provenance.watermark import WINDOW, Marker, measure
from render.provenance.watermark_code import BITS, THRESHOLD, codeword, decode, false_positive_bound

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Condition:
    """Treatment of the watermarked video."""

    name: str
    crf: int
    scale: float = 1.0
    codec: str = "libx264"
    filters: str = ""


CONDITIONS = (
    Condition("crf 18", 18),
    Condition("crf 23", 23),
    Condition("crf 28", 28),
    Condition("half, crf 23", 23, 0.5),
)
MORE = (
    Condition("half, crf 23, eq", 23, 0.5, filters="eq=brightness=0.04:contrast=0.92"),
    Condition("half, crf 28", 28, 0.5),
    Condition("crf 33", 33),
    Condition("x265 crf 28", 28, codec="libx265"),
)


def load(path: Path, frames: int) -> Frames:
    """(N, H, W, 3) uint8: the clip's first frames."""
    return np.stack([frame.image for frame in islice(video.decode(video.probe(path)), frames)])


def through(frames: Frames, condition: Condition) -> Iterator[Frames]:
    """The frames after encoding and decoding, one (H, W, 3) uint8 at a time."""
    _, height, width, _ = frames.shape
    out = int(width * condition.scale) // 2 * 2, int(height * condition.scale) // 2 * 2
    chain = [f"scale={out[0]}:{out[1]}:flags=bicubic", *filter(None, [condition.filters]), "format=yuv420p"]
    head = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error"]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
    encode = [*head, *raw, "-s", f"{width}x{height}", "-r", "30", "-i", "-", "-vf", ",".join(chain), "-threads", "1"]
    encode += ["-c:v", condition.codec, "-crf", str(condition.crf), "-preset", "medium", "-f", "matroska", "-"]
    if condition.codec == "libx265":
        encode[-3:-3] = ["-x265-params", "log-level=error:pools=1"]
    coded = subprocess.run(encode, input=frames.tobytes(), stdout=subprocess.PIPE, check=True).stdout
    decoded = subprocess.run([*head, "-i", "-", *raw, "-"], input=coded, stdout=subprocess.PIPE, check=True).stdout
    yield from np.frombuffer(decoded, np.uint8).reshape(-1, out[1], out[0], 3)


def windows(measured: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N - 29, 64): the sum of every window of 30 rows of (N, 64)."""
    sums = np.cumsum(np.vstack([np.zeros((1, BITS)), measured]), axis=0)
    return np.asarray(sums[WINDOW:] - sums[:-WINDOW])


def scores(soft: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of every row of soft values and its own signs."""
    return np.asarray(np.abs(soft).sum(axis=1) / np.sqrt((soft**2).sum(axis=1) * BITS))


def psnr(before: Frames, after: Frames) -> tuple[float, float]:
    """Lowest PSNR of a frame in dB: of RGB, of luma."""
    found = []
    for a, b in zip(before, after, strict=True):
        luma = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) for image in (a, b)]
        errors = ((a.astype(np.float64) - b) ** 2).mean(), ((luma[0] - luma[1]) ** 2).mean()
        found.append([10 * np.log10(255**2 / error) for error in errors])
    least = np.min(found, axis=0)
    return float(least[0]), float(least[1])


def positives(name: str, number: int, frames: Frames, conditions: tuple[Condition, ...]) -> list[dict[str, object]]:
    """One row per condition."""
    identifier = (0x9E3779B97F4A * (number + 1)) % (1 << 48)
    marker = Marker(identifier, frames.shape[2], frames.shape[1])
    marker.mark(frames[0])
    spent, marked = [], []
    for frame in frames:
        began = time.process_time()
        marked.append(marker.mark(frame))
        spent.append(time.process_time() - began)
    after = np.stack(marked)
    quality = psnr(frames, after)
    rows: list[dict[str, object]] = []
    for condition in conditions:
        soft = windows(np.stack([measure(frame) for frame in through(after, condition)]))
        found = [decode(row) for row in soft]
        agreement = soft * codeword(identifier)
        row = {
            "clip": name, "condition": condition.name, "windows": len(soft),
            "raw": int((agreement > 0).all(axis=1).sum()),
            "exact": sum(f is not None and f.identifier == identifier for f in found),
            "wrong": sum(f is not None and f.identifier != identifier for f in found),
            "score": round(float(scores(soft).min()), 3),
            "margin": round(float((agreement.min(axis=1) / np.sqrt((soft**2).mean(axis=1))).min()), 2),
            "psnr": round(quality[0], 2), "psnr_luma": round(quality[1], 2),
            "ms": round(float(np.median(spent)) * 1e3, 2),
        }  # fmt: skip
        rows.append(row)
        print(
            f"{name:6}{condition.name:18}{row['windows']:8}{row['raw']:6}{row['exact']:7}{row['wrong']:7}"
            f"{row['score']:8}{row['margin']:8}{row['psnr']:8}{row['psnr_luma']:8}{row['ms']:7}",
            flush=True,
        )
    return rows


def negatives(clips: list[Frames], wanted: int) -> dict[str, object]:
    """False positives in windows of unmarked footage, and the highest score."""
    soft: list[NDArray[np.float64]] = []
    for frames in clips:
        treated = [frames, np.stack(list(through(frames, CONDITIONS[2]))), frames[:, ::-1]]
        treated += [frames[:, 24:-24, 40:-8], 255 - frames, np.stack(list(through(frames, CONDITIONS[3])))]
        soft += [windows(np.stack([measure(np.ascontiguousarray(frame)) for frame in batch])) for batch in treated]
    stacked = np.concatenate(soft)
    if len(stacked) > wanted:
        stacked = stacked[np.linspace(0, len(stacked) - 1, wanted).astype(int)]
    return {
        "windows": len(stacked),
        "false_positives": sum(decode(row) is not None for row in stacked),
        "highest_score": round(float(scores(stacked).max()), 3),
        "threshold": THRESHOLD,
        "bound": false_positive_bound(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="folder of clips")
    parser.add_argument("--clip-names", default="", help="names without suffix, separated by commas; default: all")
    parser.add_argument("--frames", type=int, default=120, help="frames per clip, from its start")
    parser.add_argument("--negatives", type=int, default=10_000, help="number of unmarked windows; 0: none")
    parser.add_argument("--more", action="store_true", help="also half at crf 28, crf 33, x265, contrast")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    names = [n for n in args.clip_names.split(",") if n] or sorted(p.stem for p in args.clips.glob("*.mp4"))
    print(
        f"{'clip':6}{'condition':18}{'windows':>8}{'raw':>6}{'exact':>7}{'wrong':>7}"
        f"{'score':>8}{'margin':>8}{'psnr':>8}{'luma':>8}{'ms':>7}"
    )
    rows = []
    for number, name in enumerate(names):
        frames = load(args.clips / f"{name}.mp4", args.frames)
        rows += positives(name, number, frames, CONDITIONS + (MORE if args.more else ()))
    result: dict[str, object] = {"benchmark": "watermark", "rows": rows}
    if args.negatives:
        share = args.negatives * 5 // (4 * 6 * len(names)) + WINDOW  # some clips are shorter
        found = negatives([load(args.clips / f"{name}.mp4", share) for name in names], args.negatives)
        print(
            f"unmarked: {found['false_positives']} of {found['windows']} windows read, highest score "
            f"{found['highest_score']} (threshold {THRESHOLD}: at most {found['bound']:.1e} per window)"
        )
        result["negatives"] = found
    print(json.dumps(result))


if __name__ == "__main__":
    main()
