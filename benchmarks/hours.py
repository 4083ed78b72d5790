"""Curating for hours: memory and throughput over time, with kills on the way, and what that says of 10 and 100 hours.

    python -m benchmarks.hours --minutes 6 [--every auto] [--workers N] [--kill MINUTES] [--clips DIR] [--machines N]

The footage is made of real clips (FACESET_CLIPS or --clips) or of the project's turntable heads: each is encoded anew
at a random size about 480 pixels high and at a random rate, and looped, until half the minutes are there; the other
half are the same pictures in the same order once more, so that what differs between the halves is the program's doing.
Printed: the second half of the extraction against the first (peak memory of a worker and of the main process, frames a
second), segments lost, and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil

from curate.extract.segment import part_info

LOOK = 2.0
"""Seconds between samples."""
CLIP_MINUTES = 5.0
ENOUGH = 50_000
"""Faces of half the footage from which on a table tells what a face takes: so many rows are written at a time, and up
to there what is held grows."""
ROOT = Path(__file__).parents[1]


def sources(folder: Path | None, scratch: Path) -> list[Path]:
    """The clips of a folder, or two turntable heads."""
    if folder is not None:
        return sorted(folder.glob("*.mp4"))
    from curate.turntable import hopper, painted, performance, write_clip

    heads = {"hopper": hopper(), "painted": painted()}
    for seed, (name, head) in enumerate(heads.items()):
        write_clip(scratch / f"{name}.mp4", head, performance(seed=seed, frames=500), (360, 360), 25)
    return [scratch / f"{name}.mp4" for name in heads]


def footage(clips: list[Path], folder: Path, minutes: float, seed: int) -> float:
    """Make about so many minutes of footage; the minutes."""
    chance, made, number = random.Random(seed), 0.0, 0
    folder.mkdir()
    while made < minutes / 2:
        source = clips[number % len(clips)]
        length = min(CLIP_MINUTES, minutes / 2 - made)
        height, rate = 480 * chance.uniform(0.75, 1.33), chance.choice([24, 25, 30, 50, 60])
        first = folder / f"1-{number:04d}-{source.stem}.mp4"
        made += loop(source, first, height, rate, length)
        again(first, folder / f"2-{first.name[2:]}")
        number += 1
    return 2 * made


def again(first: Path, out: Path) -> None:
    """The same packets under another title: other bytes, so another clip."""
    with av.open(str(first)) as given, av.open(str(out), "w") as container:
        stream = given.streams.video[0]
        to = container.add_stream_from_template(stream)
        container.metadata["title"] = out.stem
        for packet in given.demux(stream):
            if packet.size:
                packet.stream = to
                container.mux(packet)


def loop(source: Path, out: Path, high: float, rate: int, minutes: float) -> float:
    """Encode a clip `high` pixels high and at another rate, and repeat its packets; the minutes."""
    once = out.with_suffix(".once.mp4")
    with av.open(str(source)) as given, av.open(str(once), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        for index, frame in enumerate(given.decode(video=0)):
            if not index:
                scale = high / frame.height
                stream.width, stream.height = (int(n * scale) // 2 * 2 for n in (frame.width, frame.height))
                stream.pix_fmt, stream.gop_size = "yuv420p", 2 * rate
                stream.options = {"crf": "23", "preset": "ultrafast", "bf": "0"}
            small = frame.reformat(stream.width, stream.height, "yuv420p")
            small.pts, small.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(small))
        container.mux(stream.encode())
    with av.open(str(once)) as given:
        stream = given.streams.video[0]
        packets = [p for p in given.demux(stream) if p.size]
        step = max(p.pts for p in packets) + round(1 / rate / stream.time_base)
        with av.open(str(out), "w") as container:
            to = container.add_stream_from_template(stream)
            seconds = float(step * stream.time_base)
            times = max(1, round(60 * minutes / seconds))
            own = [(p.pts, p.dts) for p in packets]
            for turn in range(times):
                for packet, (pts, dts) in zip(packets, own, strict=True):
                    packet.pts, packet.dts, packet.stream = pts + turn * step, dts + turn * step, to
                    container.mux(packet)
    once.unlink()
    return times * seconds / 60


@dataclass
class Course:
    """What was sampled."""

    at: list[float] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    main: list[float] = field(default_factory=list)
    """MB of the main process."""
    workers: list[float] = field(default_factory=list)
    """MB of the largest worker."""
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Part to its time of writing and frames."""
    lost: int = 0
    kills: int = 0

    def sample(self, process: psutil.Process, out: Path, began: float) -> None:
        for path in out.glob("parts/[!.]*.parquet"):
            written = path.stat().st_mtime_ns
            if self.seen.get(path.name, (0, 0))[0] != written:
                self.lost += path.name in self.seen
                info = part_info(path)
                self.seen[path.name] = (written, info.frames if info else 0)
        self.at.append(time.monotonic() - began)
        self.frames.append(sum(frames for _, frames in self.seen.values()))
        self.main.append(_megabytes(process))
        self.workers.append(max(map(_megabytes, process.children(recursive=True)), default=0.0))


def _megabytes(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / 1e6
    except psutil.Error:
        return 0.0


def run(folder: Path, out: Path, every: str, workers: int, kill: float | None) -> tuple[Course, dict[str, Any]]:
    """Curate, and begin again after every kill; what was sampled and what curate said."""
    course, began, killed = Course(), time.monotonic(), time.monotonic()
    front = [sys.executable, "-m", "faceset", "curate"]
    rest = ["--every", every, "--workers", str(workers), "--json", "--quiet"]
    new = [*front, str(folder), "--out", str(out), "--subject", "A", "--basis", "research", *rest]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    while True:
        command = [*front, str(out), *rest] if (out / "faceset.toml").is_file() else new
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
            watched = psutil.Process(process.pid)
            while process.poll() is None:
                try:
                    course.sample(watched, out, began)
                except psutil.Error:
                    break
                if kill is not None and time.monotonic() - killed > 60 * kill:
                    process.kill()
                    course.kills, killed = course.kills + 1, time.monotonic()
                    break
                time.sleep(LOOK)
            said = process.stdout.read() if process.stdout else ""
            process.wait()
        if process.returncode == 0:
            return course, json.loads(said)
        if process.returncode != -9:
            raise SystemExit(f"curate ended with {process.returncode}")


def halves(course: Course, values: list[float]) -> tuple[float, float]:
    """The peak in the first and in the second half of the extraction, by frames."""
    frames, numbers = np.array(course.frames), np.array(values)
    total = frames.max()
    first = (frames > 0.05 * total) & (frames <= 0.5 * total) & (numbers > 0)
    second = (frames > 0.5 * total) & (frames < total) & (numbers > 0)
    return float(numbers[first].max()), float(numbers[second].max())


def rates(course: Course) -> tuple[float, float]:
    """Frames a second of both halves."""
    at, frames = np.array(course.at), np.array(course.frames)
    total, begin = frames.max(), at[frames > 0][0]
    middle, end = at[frames > 0.5 * total][0], at[frames == total][0]
    low, half = frames[frames > 0][0], frames[frames > 0.5 * total][0]
    return (half - low) / max(middle - begin, 1e-9), (total - half) / max(end - middle, 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0, help="of footage")
    parser.add_argument("--every", default="1")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill", type=float, help="kill -9 after so many minutes, again and again")
    parser.add_argument("--clips", type=Path, default=os.environ.get("FACESET_CLIPS"))
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="folder for footage and faceset; None: a temporary one")
    parser.add_argument("--keep", action="store_true", help="leave footage and faceset there")
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="faceset-hours-", dir=given.scratch))
    try:
        clips = sources(Path(given.clips) if given.clips else None, scratch)
        minutes = footage(clips, scratch / "footage", given.minutes, given.seed)
        course, said = run(scratch / "footage", scratch / "set", given.every, given.workers, given.kill)
        built = [building(scratch / "set", share) for share in (0.5, 1.0)]
    finally:
        if not given.keep:
            shutil.rmtree(scratch)
    report(given, minutes, course, said, built)


BUILD = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from curate import build as building
from curate.extract.table import build
from curate.dataset.faceset import open_faceset
building.NEUTRAL_FACES = 1000
if __name__ == "__main__":
    faceset = open_faceset(Path(sys.argv[1]))
    count = max(1, round(float(sys.argv[2]) * len(faceset.clips)))
    counts = build(replace(faceset, clips=faceset.clips[:count]))
    print(sum(c.faces for c in counts.values()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""


def building(folder: Path, share: float) -> tuple[int, float]:
    """Faces, and MB at most, of the table of a share of the clips, made in a process of its own.

    The sample from which the neutral is read is of the same size for every share: it would grow up to 50,000 faces.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", BUILD, str(folder), str(share)]
    faces, most = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    return int(faces), float(most)


def report(
    given: argparse.Namespace, minutes: float, course: Course, said: dict[str, Any], built: list[tuple[int, float]]
) -> None:
    """Print the table and the line."""
    (few, little), (many_faces, much) = built
    enough = few >= ENOUGH and many_faces > few
    a_face = max(much - little, 0.0) / (many_faces - few) if enough else None
    (worker1, worker2), (main1, main2), (rate1, rate2) = (
        halves(course, course.workers), halves(course, course.main), rates(course),
    )  # fmt: skip
    frames, seconds = said["frames"], course.at[-1]
    grows = max(main2 - main1, 0.0) / (frames / 2) if not course.kills else None
    peak, faces = max(course.main), said["faces"]
    found: dict[str, Any] = {
        "minutes": round(minutes, 2), "every": given.every, "workers": given.workers, "frames": frames, "faces": faces,
        "kills": course.kills, "lost_segments": course.lost, "failed": len(said["failed"]),
        "seconds": round(seconds, 1), "disk_mb": round(said["disk"] / 1e6, 1),
        "worker_mb": [round(worker1, 1), round(worker2, 1)], "main_mb": [round(main1, 1), round(main2, 1)],
        "fps": [round(rate1, 2), round(rate2, 2)], "peak_main_mb": round(peak, 1),
        "table_kb_a_face": None if a_face is None else round(1e3 * a_face, 3),
    }  # fmt: skip
    print(f"{minutes:.1f} minutes, {frames} frames, {faces} faces, {seconds:.0f} s, {course.kills} kills")
    print(f"{'':26}{'first half':>12}{'second half':>12}{'ratio':>8}")
    rows = (("MB of the largest worker", worker1, worker2), ("MB of the main process", main1, main2))
    for label, first, second in (*rows, ("frames a second", rate1, rate2)):
        print(f"{label:26}{first:12.1f}{second:12.1f}{second / max(first, 1e-9):8.3f}")
    print(f"segments lost or done twice: {course.lost}; clips failed: {len(said['failed'])}")
    table_words = "too few faces to tell" if a_face is None else f"{1e3 * a_face:.2f} KB a face"
    print(f"main process at its largest (table, selection, page): {peak:.0f} MB; table: {table_words}")
    for hours in (10, 100):
        many = hours * 60 / minutes
        alone = many * seconds / 3600
        extracting = None if grows is None else round((main2 + grows * frames * many) / 1e3, 2)
        table = None if a_face is None else round((much + a_face * faces * (many - 1)) / 1e3, 2)
        told = "not told by a run with kills" if extracting is None else f"{extracting} GB"
        print(
            f"{hours} h of such footage: {alone:.1f} h here, {alone / given.machines:.2f} h on {given.machines}; "
            f"main process while extracting: {told}; for the table: {table or '?'} GB; "
            f"disk {said['disk'] * many / 1e9:.0f} GB"
        )
        found[f"hours_{hours}"] = {"here": round(alone, 2), "extracting_gb": extracting, "table_gb": table}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
