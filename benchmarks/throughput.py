"""How fast extraction is beside the bare decode of the same clips, and what `--every auto` saves and costs.

    python -m benchmarks.throughput --clips DIR [--workers 2] [--minutes 0]

CPU is of all processes. Decode converts every frame to RGB in one process. With --minutes, the memory of one worker is
watched while it goes through so many minutes of looped footage.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pandas as pd

from curate.extract.pipeline import Request, curate
from curate.extract.segment import Backends, extract_segment
from curate.footage.video import decode, probe, segments
from curate.select import coverage
from curate.select.options import parse_budget
from curate.select.selection import choose
from curate.select.space import Space
from curate.settings import AUTO, Settings

FULL, STILL = ("d0", "d3", "d6", "d9", "d10", "d18", "d19"), ("d18", "d19")
LOOPS = 5
BUDGETS = ("24", "32", "48", "64")


@dataclass(frozen=True)
class Cost:
    """Of some clips together."""

    frames: int
    wall: float
    cpu: float
    """Seconds, with those of finished child processes."""

    def ms(self) -> float:
        return 1000 * self.cpu / self.frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=0)
    args = parser.parse_args()
    found = {**_speed(args.clips, args.workers), **_auto(args.clips)}
    if args.minutes:
        found |= _memory(args.clips, args.minutes)
    print(json.dumps({"benchmark": "throughput", **{k: round(v, 3) for k, v in found.items()}}))


def _speed(clips: Path, workers: int) -> dict[str, float]:
    paths = [clips / f"{name}.mp4" for name in FULL]
    before = _decoded(paths)
    done, _ = _curated(paths, 1, workers)
    decoded = min(before, _decoded(paths), key=lambda cost: cost.cpu)
    print(f"{'decode to RGB':28}{decoded.frames / decoded.wall:8.1f} frames/s{decoded.ms():8.2f} CPU-ms a frame")
    print(
        f"{f'extraction, {workers} workers':28}{done.frames / done.wall:8.1f} frames/s{done.ms():8.2f} CPU-ms a frame"
    )
    print(f"{'CPU over that of decode':28}{done.ms() / decoded.ms():8.1f}   (goal: at most 14)")
    return {"fps": done.frames / done.wall, "cpu_ratio": done.ms() / decoded.ms()}


def _auto(clips: Path) -> dict[str, float]:
    """Speed of `--every auto` over every frame, of the clips and of the clips looped, which makes the fixed costs of a
    call small; and how much less of all faces its selections cover."""
    times = np.zeros((2, 2))
    frames = skipped = 0.0
    losses = []
    with tempfile.TemporaryDirectory() as folder:
        for name in STILL:
            short, long = clips / f"{name}.mp4", _looped(clips / f"{name}.mp4", Path(folder) / f"{name}.mp4")
            slow, whole = _curated([short], 1, 1)
            fast, part = _curated([short], AUTO, 1)
            times += [[slow.cpu, fast.cpu], [_curated([long], 1, 1)[0].cpu, _curated([long], AUTO, 1)[0].cpu]]
            frames, skipped = frames + slow.frames, skipped + slow.frames - int(part["kept"].sum())
            losses.append(_losses(whole[whole["kept"]], part[part["kept"]]) * slow.frames)
    lost, left = 100 * np.sum(losses, axis=0) / frames
    once, looped = times[:, 0] / times[:, 1]
    print(f"{'--every auto':28}{once:8.2f} times as fast, skips {100 * skipped / frames:.0f} % of the frames")
    print(f"{f'  looped {LOOPS} times':28}{looped:8.2f} times as fast (goal: 3)")
    print(f"{'  coverage lost':28}{lost:8.2f} % by its selections (goal: under 1), {left:.2f} % by all that it reads")
    return {
        "auto_times": once, "auto_looped_times": looped, "auto_skipped": skipped / frames, "auto_lost": lost,
        "auto_unread": left,
    }  # fmt: skip


def _looped(clip: Path, out: Path) -> Path:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-stream_loop", str(LOOPS - 1)]
    subprocess.run([*command, "-i", str(clip), "-c", "copy", "-an", str(out)], check=True)
    return out


def _losses(whole: pd.DataFrame, part: pd.DataFrame) -> np.ndarray:
    """Shares of the coverage of `whole` that are lost: by selections from `part`, mean over BUDGETS, against those
    from `whole`; and by all of `part`."""
    whole = whole.sort_values("face_id")
    space = Space.fit(whole)
    points = space.embed(whole)

    def covered(ids: pd.Series) -> float:
        return coverage.coverage(space, points, points[whole["face_id"].isin(ids).to_numpy()])

    ratios = []
    for budget in BUDGETS:
        ours, best = (covered(choose(faces, parse_budget(budget, 25)).rows["face_id"]) for faces in (part, whole))
        ratios.append(ours / best)
    return np.array([1 - np.mean(ratios), 1 - covered(part["face_id"])])


def _memory(clips: Path, minutes: float) -> dict[str, float]:
    """Resident memory of one process that extracts the same clip over and over: early, at the end, most, in MB."""
    clip = probe(clips / "d6.mp4")
    settings = Settings()
    backends = Backends.of(settings)
    early, seconds, number = 0.0, 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "parts").mkdir()
        while seconds < minutes * 60:
            for segment in segments(clip, settings.segment_seconds):
                extract_segment(Path(folder), clip, replace(segment, index=number % 4), settings, backends)
                number += 1
            seconds += clip.duration
            early = early or _resident()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'memory of a worker':28}{early:8.0f} MB after the first pass, {_resident():.0f} after {minutes:g} min")
    print(f"{'  most':28}{most:8.0f} MB (goal: 700)")
    return {"mb_first": early, "mb_last": _resident(), "mb_most": most}


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _decoded(paths: list[Path]) -> Cost:
    began, wall = _cpu(), time.perf_counter()
    frames = sum(frame.image.shape[2] // 3 for path in paths for frame in decode(probe(path)))
    return Cost(frames, time.perf_counter() - wall, _cpu() - began)


def _curated(paths: list[Path], every: int, workers: int) -> tuple[Cost, pd.DataFrame]:
    with tempfile.TemporaryDirectory() as folder:
        began = _cpu()
        request = Request(
            tuple(map(str, paths)),
            Path(folder) / "set",
            "clips",
            "research",
            settings=(("every", every),),
            workers=workers,
        )
        done = curate(request)
        return Cost(done.summary()["frames"], done.seconds, _cpu() - began), done.table


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
