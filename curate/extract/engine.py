"""Extraction of all segments: in this process, in N local processes, or on a Ray cluster, with the same result."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from curate.dataset.faceset import Faceset
from curate.errors import FacesetError
from curate.extract.segment import Backends, extract_segment, part_info
from curate.footage import remote
from curate.footage.source import Stamp, check_unchanged, stamp, verified
from curate.footage.video import segments
from curate.runtime import disk, jobs
from curate.runtime.workers import Limits, beat, memory_limit
from curate.settings import Settings
from curate.types import Clip, Failure, Progress, Segment, no_progress
from curate.words import many

log = logging.getLogger(__name__)

STALL = 600.0
"""Seconds without a frame after which a worker is ended and its segment tried once more."""


@dataclass(frozen=True)
class Task:
    """One segment to extract."""

    folder: Path
    clip: Clip
    segment: Segment
    settings: Settings
    stamp: Stamp | None
    """Stamp that the footage must have; None on another machine, where only its size can be compared."""

    def __str__(self) -> str:
        return self.segment.key


def extract(
    faceset: Faceset,
    workers: int = 1,
    engine: str = "local",
    progress: Progress = no_progress,
    limits: Limits | None = None,
    gpus: float = 0.0,
    addresses: Collection[str] | None = (),
) -> list[Failure]:
    """The clips that failed, with the reason. Every part of the faceset that is missing or stale is made.

    Clips are planned one after another as workers become free, so that memory does not grow with the footage. A segment
    whose worker dies, hangs or eats memory is tried once more, alone; then its clip counts as failed and the rest goes
    on. `limits` None: STALL seconds, and a worker's share of the memory. `gpus`: see `curate.runtime.jobs.run`.
    `addresses`: URLs that may be opened; None: all that the faceset names.
    """
    jobs.check(engine, workers)
    _sweep(faceset.folder / "parts")
    plan = _Plan(faceset, progress, engine == "ray", addresses)
    limits = limits or Limits(STALL, memory_limit(workers))
    for task, problem in jobs.run(run_task, plan.tasks(), workers, engine, limits, gpus):
        plan.ended(task, problem)
    return list(plan.failures.values())


def _sweep(folder: Path) -> None:
    """Remove what a killed process left half-written: `atomic` gives such files hidden names."""
    for path in folder.glob(".*") if folder.is_dir() else ():
        path.unlink(missing_ok=True)


@dataclass
class _Plan:
    """The segments to extract, planned as they are asked for, and the progress so far."""

    faceset: Faceset
    progress: Progress
    far: bool
    """The work may be done on other machines."""
    addresses: Collection[str] | None
    """URLs that may be opened; None: all."""
    failures: dict[str, Failure] = field(default_factory=dict)
    done: int = 0
    total: int = 0
    open: Counter[str] = field(default_factory=Counter)
    """Segments of a clip that are not done yet."""

    def tasks(self) -> Iterator[Task]:
        """Every segment that has no part yet."""
        clips, parts = self.faceset.clips, self.faceset.parts()
        self.total = sum(map(_expected, clips))
        self.progress("faces", 0, self.total)
        for clip in clips:
            try:
                remote.check_named(clip, self.addresses)
                with remote.held(clip) as here:
                    checked = verified(here)
                    plan = segments(here, self.faceset.settings.segment_seconds)
            except (FacesetError, OSError) as error:
                self.total -= _expected(clip)
                if not _all_done(self.faceset, clip, parts.get(clip.name, [])):
                    self.failures[clip.name] = Failure(clip.path, str(error))
                continue
            found = [s for s in plan if not is_done(self.faceset, clip, s.key)]
            frames, missing = (sum(len(s.pts) for s in some) for some in (plan, found))
            self.total += frames - _expected(clip)
            self.done += frames - missing
            self.progress("faces", self.done, self.total)
            self.open[clip.name] = len(found)
            if not found:
                remote.release(clip)
            for segment in found:
                near = None if self.far else checked
                yield Task(self.faceset.folder, clip, segment, self.faceset.settings, near)

    def ended(self, task: Task, problem: FacesetError | None) -> None:
        """Count a segment that was done, or failed."""
        clip = task.clip
        self.done += len(task.segment.pts)
        self.open[clip.name] -= 1
        if problem is not None:
            self.failures.setdefault(clip.name, Failure(clip.path, str(problem)))
        if not self.open[clip.name]:
            remote.release(clip)
        self.progress("faces", self.done, self.total)


def _expected(clip: Clip) -> int:
    """About how many frames the clip's stretch has, without reading it."""
    return round(clip.frames * (clip.seconds / clip.duration if clip.duration else 1.0))


def is_done(faceset: Faceset, clip: Clip, key: str) -> bool:
    """Whether the part `key` exists and was made from these bytes with these settings."""
    info = part_info(faceset.part_path(key))
    return info is not None and info.settings == faceset.settings.digest() and info.clip_sha256 == clip.sha256


def tell_disk(faceset: Faceset) -> None:
    """Log how much disk space the frames still to be read will need at most, and warn if there is less."""
    frames = sum(map(_expected, faceset.clips))
    parts = faceset.parts()
    there = sum(i.frames for c in faceset.clips for p in parts.get(c.name, ()) if (i := part_info(p)) is not None)
    if frames <= there:
        return
    needed, free = disk.needed(frames - there, faceset.settings), disk.free(faceset.folder)
    words = f"{faceset.folder}: {many(frames - there, 'frame')} may need up to {disk.text(needed)} of disk space"
    words += f"; {disk.text(free)} are free"
    if needed > free:
        log.warning(
            "%s: free some space, or give --every auto or a smaller --crop-size; you can stop now and resume later",
            words,
        )
    else:
        log.info("%s", words)


def _all_done(faceset: Faceset, clip: Clip, parts: Sequence[Path]) -> bool:
    """Footage may be gone once its parts are there (a moved faceset): one after another, with all of its frames."""
    numbers = [int(p.stem.rpartition("-")[2]) for p in parts]
    if not parts or numbers != list(range(numbers[0], numbers[0] + len(parts))):
        return False
    if not all(is_done(faceset, clip, p.stem) for p in parts):
        return False
    planned = [info.planned for p in parts if (info := part_info(p)) is not None]
    frames = sum(n for n in planned if n is not None)
    return None in planned or abs(frames - _expected(clip)) <= (2 if clip.start or clip.end else 0)


def any_done(faceset: Faceset, clip: Clip, parts: Mapping[str, Sequence[Path]]) -> bool:
    """Whether anything of the clip is done, where `parts` are all of the faceset by clip."""
    return any(is_done(faceset, clip, p.stem) for p in parts.get(clip.name, ()))


@functools.cache
def _backends(detector: str, landmarker: str, identifier: str) -> Backends:
    """One set of networks a process."""
    return Backends.of(Settings(detector=detector, landmarker=landmarker, identifier=identifier))


def run_task(task: Task) -> None:
    """Do one segment, in whatever process this is."""
    s = task.settings
    backends = _backends(s.detector, s.landmarker, s.identifier)
    with remote.held(task.clip) as clip:
        path = Path(clip.path)
        before = task.stamp or replace(stamp(path), size=clip.size or stamp(path).size)
        check_unchanged(path, before)
        extract_segment(task.folder, clip, task.segment, s, backends, beat, lambda: check_unchanged(path, before))
