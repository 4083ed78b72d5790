"""Benchmark of the watermark on real clips: attacks that it survives, a second render over the first, false positives,
and how far it can be seen.

    python -m benchmarks.watermark --clips DIR [--clip-names d0,d3,...] [--frames 90] [--negatives 10000] [--walls]

Each clip gets its own identifier, is treated, encoded by x264 (preset medium) and decoded. `exact` counts windows of
30 consecutive frames whose identifier is right, `wrong` those with another one; where the frame has to be found first
(crops, bars), three windows are searched. `known` counts windows in which a known identifier is recognised. `whole`
says whether all frames at once are read. `two passes` marks the clip, encodes it at CRF 18, marks it again in the next
slot, and encodes at CRF 23: its rows are the first and the second mark. `ms` is CPU time per marked frame, one thread.

Seen: CIEDE2000 of marked and unmarked frames after a mean over 8 x 8 pixels, its maximum where the unmarked frame is
flat (standard deviation below 2 levels over 17 x 17 pixels), the per cent of flat pixels above 0.5, and the 99th
percentile everywhere; VMAF of the marked against the unmarked frames, and of these against themselves. `--walls`
measures plain walls, skin and sky that the benchmark makes. False positives: windows of unmarked frames as they are,
re-encoded, halved, upside down, cropped, and as negatives.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from curate.footage import video
from curate.srgb import lab
from render.provenance import watermark_search as search
from render.provenance.watermark import SLOTS, WINDOW, Marker, Reading, decoded, measure, projected
from render.provenance.watermark_code import BITS, THRESHOLD, Known, decode, false_positive_bound
from reports.artifacts.measures import ciede2000

Frames = NDArray[np.uint8]
FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error"]
RAW = ["-f", "rawvideo", "-pix_fmt", "rgb24"]


def even(value: float) -> int:
    """The even number at or below a value."""
    return int(value) // 2 * 2


def cropped(frames: Frames) -> Frames:
    """Without 2 % of the width and height: 1 % on every side."""
    _, height, width, _ = frames.shape
    y, x = even(height / 100), even(width / 100)
    return frames[:, y : height - y, x : width - x]


def barred(frames: Frames, share: tuple[float, float]) -> Frames:
    """Shrunk between black bars that take a share of the height and width on either side."""
    _, height, width, _ = frames.shape
    y, x = even(share[0] * height), even(share[1] * width)
    out = np.zeros_like(frames)
    for old, new in zip(frames, out, strict=True):
        new[y : height - y, x : width - x] = cv2.resize(old, (width - 2 * x, height - 2 * y), None, 0, 0, 3)
    return out


def bannered(frames: Frames) -> Frames:
    """With a banner of text over the lower fifth."""
    out = frames.copy()
    height, width = frames.shape[1:3]
    top = height * 4 // 5
    out[:, top:] = (170, 20, 30)
    for frame in out:
        cv2.putText(frame, "BREAKING NEWS", (width // 40, height - height // 14), 0, width / 400, (255, 255, 255), 3)
    return out


@dataclass(frozen=True)
class Condition:
    """Treatment of the watermarked video."""

    name: str
    crf: int
    scale: float = 1.0
    treat: Callable[[Frames], Frames] | None = None
    moved: bool = False


CONDITIONS = (
    Condition("crf 18", 18),
    Condition("crf 23", 23),
    Condition("crf 28", 28),
    Condition("half, crf 23", 23, 0.5),
    Condition("half, crf 18", 18, 0.5),
    Condition("crop 2 %, crf 23", 23, 1.0, cropped, True),
    Condition("letterbox 12 %", 23, 1.0, lambda f: barred(f, (0.12, 0)), True),
    Condition("pillarbox 12 %", 23, 1.0, lambda f: barred(f, (0, 0.12)), True),
    Condition("banner, crf 23", 23, 1.0, bannered),
)


def load(path: Path, frames: int) -> Frames:
    """(N, H, W, 3) uint8: the clip's first frames."""
    return np.stack([frame.image for frame in islice(video.decode(video.probe(path)), frames)])


def through(frames: Frames, condition: Condition) -> Iterator[Frames]:
    """The frames after encoding and decoding, one (H, W, 3) uint8 at a time."""
    _, height, width, _ = frames.shape
    out = even(width * condition.scale), even(height * condition.scale)
    chain = f"scale={out[0]}:{out[1]}:flags=bicubic,format=yuv420p"
    encode = [*FFMPEG, *RAW, "-s", f"{width}x{height}", "-r", "30", "-i", "-", "-vf", chain, "-threads", "1"]
    encode += ["-c:v", "libx264", "-crf", str(condition.crf), "-preset", "medium", "-f", "matroska", "-"]
    coded = subprocess.run(encode, input=frames.tobytes(), stdout=subprocess.PIPE, check=True).stdout
    decoded = subprocess.run([*FFMPEG, "-i", "-", *RAW, "-"], input=coded, stdout=subprocess.PIPE, check=True).stdout
    yield from np.frombuffer(decoded, np.uint8).reshape(-1, out[1], out[0], 3)


def windows(measured: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N - 29, 5, 64): the sum of every window of 30 measurements (N, 5, 64)."""
    sums = np.cumsum(np.concatenate([np.zeros((1, SLOTS + 1, BITS)), measured]), axis=0)
    return np.asarray(sums[WINDOW:] - sums[:-WINDOW])


def searched(lumas: list[NDArray[np.uint8]]) -> list[Reading]:
    """The marks in frames that were cropped or have bars, by the same steps as `find_watermarks`."""
    inside = search.box(lumas[:8])
    for views in [lumas] if inside is None else [[inside.cut(luma) for luma in lumas], lumas]:
        total = np.sum([search.fine(luma) for luma in views], axis=0)
        tried = [decoded([measure(luma) for luma in views])]
        tried += [decoded([projected(search.moved(total, edges))]) for edges in search.places(total)]
        hits = [found for found in tried if found]
        if hits:
            return hits[0]
    return []


def treated(marked: Frames, condition: Condition) -> list[NDArray[np.uint8]]:
    """Luma of the frames after the treatment."""
    frames = marked if condition.treat is None else np.ascontiguousarray(condition.treat(marked))
    return [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in through(frames, condition)]


def counted(
    lumas: list[NDArray[np.uint8]], identifier: int, moved: bool, other: int | None = None
) -> dict[str, object]:
    """Windows that are read: all, or three where the frame has to be found."""
    if moved:
        starts = sorted({0, (len(lumas) - WINDOW) // 2, len(lumas) - WINDOW})
        read = [{r.identifier for r in searched(lumas[start : start + WINDOW])} for start in starts]
        whole = {r.identifier for r in searched(lumas)}
        near = read
    else:
        measured = np.stack([measure(luma) for luma in lumas])
        read = [{r.identifier for r in decoded([rows])} for rows in windows(measured)]
        whole = {r.identifier for r in decoded([measured.sum(axis=0)])}
        known = Known([identifier])
        near = [{r.identifier for r in decoded([rows], 0, known)} for rows in windows(measured)]
    return {
        "windows": len(read), "exact": sum(identifier in found for found in read),
        "wrong": sum(bool(found - {identifier, other}) for found in read), "whole": identifier in whole,
        "known": sum(identifier in found for found in near),
    }  # fmt: skip


def positives(name: str, number: int, frames: Frames) -> list[dict[str, object]]:
    """One row per condition, two for two passes."""
    first, second = ((0x9E3779B97F4A * (2 * number + i)) % (1 << 48) for i in (1, 2))
    marker = Marker(first, frames.shape[2], frames.shape[1])
    spent, marked = [], []
    for frame in frames:
        began = time.process_time()
        marked.append(marker.mark(frame))
        spent.append(time.process_time() - began)
    after = np.stack(marked)
    shown = {**seen(frames[:: max(len(frames) // 6, 1)], after[:: max(len(frames) // 6, 1)])}
    shown |= {
        "vmaf": vmaf(frames[:30], after[:30]),
        "vmaf_same": vmaf(frames[:30], frames[:30]),
        "ms": round(float(np.median(spent)) * 1e3, 2),
    }
    print(f"{name[:20]:21}seen: {shown}", flush=True)
    rows = [
        _shown(name, condition.name, counted(treated(after, condition), first, condition.moved))
        for condition in CONDITIONS
    ]
    again = Marker(second, frames.shape[2], frames.shape[1], 1)
    twice = treated(np.stack([again.mark(f) for f in through(after, CONDITIONS[0])]), CONDITIONS[1])
    for mark, own, other in ((1, first, second), (2, second, first)):
        rows.append(_shown(name, f"two passes: {mark}", counted(twice, own, False, other)))
    return [{"clip": name, **row, **shown} for row in rows]


def _shown(name: str, condition: str, row: dict[str, object]) -> dict[str, object]:
    """The row, printed."""
    print(
        f"{name[:20]:21}{condition:18}{row['windows']:8}{row['exact']:7}{row['wrong']:7}{row['known']:7}{row['whole']!s:>7}",
        flush=True,
    )
    return {"condition": condition, **row}


def seen(before: Frames, after: Frames) -> dict[str, float]:
    """CIEDE2000 after a mean over 8 x 8 pixels, see above."""
    flat, over, everywhere = [0.0], [], []
    for a, b in zip(before, after, strict=True):
        means = [lab(cv2.blur(i.astype(np.float32), (8, 8)) / 255) for i in (a, b)]
        apart = ciede2000(means[0], means[1])
        luma = cv2.cvtColor(a, cv2.COLOR_RGB2GRAY).astype(np.float32)
        spread = cv2.blur(luma * luma, (17, 17)) - cv2.blur(luma, (17, 17)) ** 2
        flat.append(float(apart[spread < 4].max(initial=0)))
        over.append(float((apart[spread < 4] > 0.5).mean()) if (spread < 4).any() else 0.0)
        everywhere.append(float(np.quantile(apart, 0.99)))
    return {
        "flat_max": round(max(flat), 2),
        "flat_over": round(100 * float(np.mean(over)), 3),
        "p99": round(max(everywhere), 2),
    }


def vmaf(before: Frames, after: Frames) -> float:
    """Mean VMAF of the marked against the unmarked frames, both without loss."""
    size = f"{before.shape[2]}x{before.shape[1]}"
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("after.rgb", "before.rgb", "vmaf.json")]
        for path, frames in zip(paths, (after, before), strict=False):
            path.write_bytes(frames.tobytes())
        inputs = [part for path in paths[:2] for part in (*RAW, "-s", size, "-r", "30", "-i", str(path))]
        chain = "[0]format=yuv420p[a];[1]format=yuv420p[b];[a][b]libvmaf=log_fmt=json:log_path=" + str(paths[2])
        subprocess.run([*FFMPEG, *inputs, "-lavfi", chain, "-f", "null", "-"], check=True)
        return float(round(json.loads(paths[2].read_text())["pooled_metrics"]["vmaf"]["mean"], 2))


def walls() -> dict[str, float]:
    """Largest CIEDE2000 after a mean over 8 x 8 pixels on plain areas, without and with grain."""
    plain = {
        "grey 30": (30, 30, 30), "grey 60": (60, 60, 60), "grey 128": (128, 128, 128), "grey 200": (200, 200, 200),
        "grey 235": (235, 235, 235), "light skin": (205, 160, 135), "dark skin": (95, 65, 50), "sky": (140, 180, 225),
    }  # fmt: skip
    generator = np.random.default_rng(0)
    found = {}
    for name, colour in plain.items():
        for grain in (0.0, 1.5):
            levels = np.array(colour) + np.linspace(-6, 6, 640)[None, :, None]
            image = np.clip(np.rint(levels + generator.normal(0, grain, (480, 640, 1))), 0, 255).astype(np.uint8)
            after = Marker(0x1A2B3C4D5E6F, 640, 480).mark(image)
            means = [lab(cv2.blur(i.astype(np.float32), (8, 8)) / 255) for i in (image, after)]
            found[f"{name}, grain {grain}"] = round(float(ciede2000(means[0], means[1]).max()), 2)
    return found


def negatives(clips: list[Frames], wanted: int) -> dict[str, object]:
    """False positives in windows of unmarked footage, in any slot or format, and the highest score."""
    soft: list[NDArray[np.float64]] = []
    for frames in clips:
        batches = [frames, np.stack(list(through(frames, CONDITIONS[2]))), frames[:, ::-1]]
        batches += [frames[:, 24:-24, 40:-8], 255 - frames, np.stack(list(through(frames, CONDITIONS[3])))]
        soft += [windows(np.stack([measure(np.ascontiguousarray(frame)) for frame in batch])) for batch in batches]
    stacked = np.concatenate(soft)
    if len(stacked) > wanted:
        stacked = stacked[np.linspace(0, len(stacked) - 1, wanted).astype(int)]
    scores = np.abs(stacked).sum(axis=2) / np.sqrt((stacked**2).sum(axis=2) * BITS)
    return {
        "windows": len(stacked),
        "false_positives": sum(decode(row) is not None for rows in stacked for row in rows),
        "highest_score": round(float(scores.max()), 3),
        "threshold": THRESHOLD,
        "bound": false_positive_bound() * (SLOTS + 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="folder of clips")
    parser.add_argument("--clip-names", default="", help="names without suffix, separated by commas; default: all")
    parser.add_argument("--frames", type=int, default=90, help="frames per clip, from its start")
    parser.add_argument("--negatives", type=int, default=10_000, help="number of unmarked windows; 0: none")
    parser.add_argument("--attacks", action=argparse.BooleanOptionalAction, default=True, help="run the attacks")
    parser.add_argument("--walls", action="store_true", help="also plain walls, skin and sky")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    names = [n for n in args.clip_names.split(",") if n] or sorted(p.stem for p in args.clips.iterdir())
    paths = [next(args.clips.glob(f"{name}.*")) for name in names]
    rows = []
    if args.attacks:
        print(f"{'clip':21}{'condition':18}{'windows':>8}{'exact':>7}{'wrong':>7}{'known':>7}{'whole':>7}")
        for number, path in enumerate(paths):
            rows += positives(path.stem, number, load(path, args.frames))
    result: dict[str, object] = {"benchmark": "watermark", "rows": rows}
    if args.walls:
        result["walls"] = walls()
        print(result["walls"])
    if args.negatives:
        share = args.negatives * 5 // (4 * 6 * len(paths)) + WINDOW  # some clips are shorter
        found = negatives([load(path, share) for path in paths], args.negatives)
        print(
            f"unmarked: {found['false_positives']} of {found['windows']} windows read, highest score "
            f"{found['highest_score']} (threshold {THRESHOLD}: at most {found['bound']:.1e} per window)"
        )
        result["negatives"] = found
    print(json.dumps(result))


if __name__ == "__main__":
    main()
