"""Detection of injected faults by the artifact report: how many it finds and names, and its rate of false alarms.

    python -m benchmarks.artifacts --clips DIR --cache DIR [--workers 2] [--frames 84] [--minutes 2] [--alone]
        [--only CLIP...] [--faults FAULT...]
    python -m benchmarks.artifacts --clips DIR --cache DIR --calibrate

Clean swaps and faults are those of benchmarks/surrogates.py. CALIBRATION clips and turntable heads set the thresholds
(`--calibrate` prints the values of every measure on them); TEST clips are used only here. A fault is injected into
frames START to START + LENGTH of each clip. AUROC is per frame: the measure of the kind in faulty frames against all
clean ones. Plain: frames straight after compositing. CRF 23: output encoded by x264 at CRF 23 and decoded again (around
a fault, from LEAD frames before it). Landmarks are those of the footage, without a reference those of the frame itself;
no mask is given. Named: fraction of clips in which a finding of the right kind starts within 3 frames of the fault.

A mouth that is late or held is no fault while the mouth of the footage does not move: frames count as faulty only where
the reference's opening or width changes by 0.15 cm in 0.1 s, root mean square over 0.6 s (late: where the measure is
known), or is more than HELD from where it was held. The fault starts at the first of them; a clip with fewer than SEEN
is left out. A lag is measured over a window, so its finding may start up to LATE frames off.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from benchmarks.artifact_tables import CODED, PLAIN, Tally, calibration, table
from benchmarks.surrogates import INJECTIONS, Footage, Injection, Scene, load, swapped
from curate.footage.video import decode, probe
from curate.turntable import painted, performance, render, truth, write_pictures
from curate.types import Floats, Image
from reports.artifacts import landmarks
from reports.artifacts.inspector import Inspector
from reports.artifacts.kinds import by_name
from reports.artifacts.parts import InspectedPart
from reports.artifacts.reading import Reader
from reports.artifacts.report import ArtifactReport, merge

CALIBRATION = ("d0", "d18", "d19", "s18")
TEST = ("d3", "d6", "d9", "d10", "s32")
START, LENGTH, AFTER, LEAD = 30, 30, 6, 12
HELD, SEEN, LATE = 0.5, 8, 10


def inspected(
    footage: Footage, frames: list[Image], reference: bool, first: int = 0, last: int | None = None, marks: bool = False
) -> InspectedPart:
    """Measured frames first..last, with the three before them as context."""
    inspector = Inspector(footage.fps, reference)
    for i in range(max(first - 3, 0), len(frames) if last is None else last):
        other = footage.frames[i] if reference else None
        reader = _reader(footage.fps)
        read = None
        if marks and i >= first:
            read = reader.landmarks(i, frames[i], footage.frames[i], footage.marks[i])
        at = footage.marks[i] if reference else _own(frames[i], footage.marks[i], footage.fps)
        inspector.add(i, i / footage.fps, frames[i], other, at, read=read, context=i < first)
    return inspector.part()


def _own(frame: Image, marks: Floats | None, fps: float) -> Floats | None:
    """Landmarks that are read in the frame itself, as without a reference."""
    read = _reader(fps).landmarks(0, frame, frame, marks)
    return marks if read is None else read[0]


@functools.cache
def _reader(fps: float) -> Reader:
    return Reader(fps, 1)


def coded(frames: list[Image], fps: float, crf: int = 23) -> list[Image]:
    """Frames encoded by x264 at this CRF, preset medium, and decoded again."""
    import av

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coded.mp4"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), "x264-params": "threads=1"}
            for image in frames:
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                    format="yuv420p", dst_colorspace="ITU709" if image.shape[0] >= 720 else "ITU601"
                )
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        return [frame.image for frame in decode(probe(path))]


MARKED = ("expression", "gaze", "pose", "lips", "geometry")
"""Kinds for which landmarks are detected in the output, as in `faceset inspect`."""


def examine_clip(
    clip: str, clips: Path, cache: Path, count: int, faults: Sequence[str], ways_to_look: Sequence[bool]
) -> Tally:
    """Results of one clip: clean swaps and the `faults` of these names; `ways_to_look`: with a reference or without."""
    cv2.setNumThreads(1)
    began = time.process_time()
    footage = load(next(clips.glob(f"{clip}.*")), cache, 0, count)
    scene = Scene(footage, swapped(footage, 1))
    clean = [scene.clean(i) for i in range(len(footage.frames))]
    tally = Tally(clip)
    ways = {PLAIN: clean, CODED: coded(clean, footage.fps)}
    for reference in ways_to_look:
        for way, frames in ways.items():
            part = inspected(footage, frames, reference, marks=reference and way == PLAIN)
            _clean(tally, footage, merge([part], footage.fps, reference), way)
        original = merge([inspected(footage, footage.frames, reference)], footage.fps, reference)
        _clean(tally, footage, original, "as it is")
    sound: dict[tuple[str, bool, bool, int, int], InspectedPart] = {}
    for injection in (i for i in INJECTIONS if i.name in faults):
        _fault(tally, scene, ways, injection, sound, ways_to_look)
    print(f"{clip}: {time.process_time() - began:.0f} s of CPU", file=sys.stderr, flush=True)
    return tally


def _parts(
    footage: Footage,
    spoilt: list[Image],
    clean: list[Image],
    reference: bool,
    marks: bool,
    end: int,
    way: str,
    sound: dict[tuple[str, bool, bool, int, int], InspectedPart],
) -> list[InspectedPart]:
    """Parts before, in and after the fault; the clean ones are measured once for all faults."""
    around = []
    for first, last in ((0, START), (end + 3, len(clean))):
        key = (way, reference, marks, first, last)
        if key not in sound:
            sound[key] = inspected(footage, clean, reference, first, last, marks)
        around.append(sound[key])
    return [around[0], inspected(footage, spoilt, reference, START, end + 3, marks), around[1]]


def _clean(tally: Tally, footage: Footage, report: ArtifactReport, way: str) -> None:
    tally.clean[report.has_reference, way] = report.measures
    tally.seconds += len(footage.frames) / footage.fps
    for f in report.findings:
        tally.alarms.append((footage.name, report.has_reference, way, f.kind, f.first_frame, round(f.value, 2)))


def _fault(
    tally: Tally,
    scene: Scene,
    ways: dict[str, list[Image]],
    injection: Injection,
    sound: dict[tuple[str, bool, bool, int, int], InspectedPart],
    ways_to_look: Sequence[bool],
) -> None:
    footage, clean = scene.footage, ways[PLAIN]
    length = injection.length or LENGTH
    end = min(START + length, len(clean) - AFTER)
    if end <= START + 1 or any(scene.crops[i] is None for i in range(START - 4, end)):
        return
    spoilt = [injection.fault(scene, i, i - START) for i in range(START, end)]
    piece = coded([*clean[START - LEAD : START], *spoilt, *clean[end : end + AFTER]], footage.fps)
    for reference in ways_to_look if injection.no_reference else [w for w in ways_to_look if w]:
        for way in (PLAIN, CODED):
            marks = injection.kind in MARKED and reference
            whole = list(ways[way])
            whole[START:end] = spoilt if way == PLAIN else piece[LEAD : LEAD + len(spoilt)]
            parts = _parts(footage, whole, ways[way], reference, marks, end, way, sound)
            report = merge(parts, footage.fps, reference)
            limit = by_name()[injection.kind].limit(reference)
            assert limit is not None, f"{injection.name} cannot be found without a reference"
            values = report.measures[limit.measure].to_numpy()[START:end]
            seen = _seen(injection, values, footage, end)
            if len(seen) < min(SEEN, len(values)):
                continue
            values, start = values[seen], START + int(seen[0])
            near = [f for f in report.findings if f.last_frame >= START - 3 and f.first_frame < end + 3]
            right = [f for f in near if f.kind == injection.kind]
            off = LATE if injection.kind == "lips" else 3
            found = any(abs(f.first_frame - start) <= off for f in near)
            named = any(abs(f.first_frame - start) <= off for f in right)
            key = (injection.name, reference, way)
            tally.faults[key] = values
            tally.named[key] = (found, named, tuple(f.kind for f in near))


def _seen(injection: Injection, values: np.ndarray, footage: Footage, end: int) -> np.ndarray:
    """Positions of the frames in which the fault can be seen at all."""
    if injection.kind == "lips":
        return np.flatnonzero(np.isfinite(values))
    if injection.kind != "expression":
        return np.arange(len(values))
    mouth = np.array([landmarks.read(m)[3:5] for m in footage.marks[START - 1 : end]])
    return np.flatnonzero(np.abs(mouth[1:] - mouth[0]).max(1) > HELD)


def turntable(seed: int, seconds: float, cache: Path) -> Tally:
    """Results of a painted head's performance, encoded as footage, with itself as reference and without one."""
    cv2.setNumThreads(1)
    fps, size = 25.0, (360, 360)
    head, views = painted(seed), performance(seed, round(seconds * fps))
    path = cache / f"turntable-{seed}-{round(seconds)}.mp4"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        write_pictures(path, (render(head, v, size) for v in views), size, tone=False)
    tally = Tally(f"turntable {seed}", seconds=2 * seconds)
    marks = [_points(truth(head, v, size)) for v in views]
    for reference in (True, False):
        inspector = Inspector(fps, reference)
        for frame, at in zip(decode(probe(path)), marks, strict=True):
            inspector.add(frame.index, float(frame.time), frame.image, frame.image if reference else None, at)
        report = inspector.finish()
        tally.clean[reference, "as it is"] = report.measures
        tally.alarms += [
            (tally.clip, reference, "as it is", f.kind, f.first_frame, round(f.value, 2)) for f in report.findings
        ]
    return tally


def _points(seen: object) -> np.ndarray:
    points = np.asarray(getattr(seen, "points", seen), np.float32)
    return np.column_stack([points, np.zeros(len(points), np.float32)]) if points.shape[1] == 2 else points


def _summary(tallies: list[Tally], clips: Sequence[str], elapsed: float) -> dict[str, object]:
    """False alarms, printed and counted."""
    seconds = sum(t.seconds for t in tallies)
    alarms = [a for t in tallies for a in t.alarms]
    for alarm in alarms:
        print("alarm", *alarm)
    return {
        "clips": list(clips), "clean_minutes": round(seconds / 60, 2), "alarms": len(alarms),
        "alarms_a_minute": round(60 * len(alarms) / seconds, 3), "by_kind": dict(Counter(a[3] for a in alarms)),
        "seconds": round(elapsed, 1),
    }  # fmt: skip


def _faults(tallies: list[Tally]) -> dict[str, object]:
    """Faults found and named, printed as a table and counted."""
    lines = table(tallies)
    with pd.option_context("display.width", 260, "display.max_columns", 30):
        print(pd.DataFrame(lines).astype(object).fillna("").to_string(index=False))
    for t in tallies:
        for (name, reference, way), (_, right, kinds) in t.named.items():
            if not right:
                print("not named", t.clip, name, "ref" if reference else "alone", way, "->", ", ".join(kinds) or "-")
    result: dict[str, object] = {}
    for way in (PLAIN, CODED):
        for reference in (True, False):
            hits = [v for t in tallies for k, v in t.named.items() if k[1:] == (reference, way)]
            share = [round(sum(h[i] for h in hits) / max(len(hits), 1), 3) for i in (0, 1)]
            result[f"{'ref' if reference else 'alone'} {way} found, named"] = share
    return result | {"faults": lines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--frames", type=int, default=84)
    parser.add_argument("--minutes", type=float, default=2.0, help="of turntable footage, half for calibration")
    parser.add_argument("--only", nargs="*", help="these clips of the set")
    parser.add_argument("--faults", nargs="*", help="these faults of all")
    parser.add_argument("--alone", action="store_true", help="only without a reference")
    parser.add_argument("--calibrate", action="store_true")
    given = parser.parse_args()
    began = time.monotonic()
    names = CALIBRATION if given.calibrate else TEST
    seeds = (31, 32) if given.calibrate else (41, 42)
    wanted = [] if given.calibrate else given.faults or [i.name for i in INJECTIONS]
    job = partial(
        examine_clip, clips=given.clips, cache=given.cache, count=given.frames, faults=wanted,
        ways_to_look=(False,) if given.alone else (True, False),
    )  # fmt: skip
    with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
        found = pool.map(job, given.only or names)
        heads = [pool.submit(turntable, s, 15 * given.minutes, given.cache) for s in seeds]
        tallies = list(found) + [h.result() for h in heads]
    if given.calibrate:
        calibration(tallies)
    result = _summary(tallies, given.only or names, time.monotonic() - began)
    print(json.dumps(result if given.calibrate else result | _faults(tallies)))


if __name__ == "__main__":
    main()
