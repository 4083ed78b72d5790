"""Segments to parts: in this process, in N local processes, or on a Ray cluster. The result is the same."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from curate import jobs
from curate.errors import FacesetError
from curate.extract import Backends, extract_segment, part_info
from curate.faceset import Faceset
from curate.types import Clip, Failure, Progress, Segment, Settings, no_progress
from curate.video import segments


@dataclass(frozen=True)
class Task:
    """One segment to do."""

    folder: Path
    clip: Clip
    segment: Segment
    settings: Settings

    def __str__(self) -> str:
        return self.segment.key


def extract(
    faceset: Faceset, workers: int = 1, engine: str = "local", progress: Progress = no_progress
) -> list[Failure]:
    """Make every part of the faceset that is missing or stale; the clips that failed, with the reason.

    A segment whose worker dies is tried once more, alone; then its clip counts as failed and the rest goes on.
    """
    jobs.check(engine, workers)
    tasks: list[Task] = []
    done = total = 0
    failures: dict[str, Failure] = {}
    for clip in faceset.clips:
        try:
            plan = segments(clip, faceset.settings.segment_seconds)
        except (FacesetError, OSError) as error:
            if not _all_parts(faceset, clip):
                failures[clip.name] = Failure(clip.path, str(error))
            continue
        for segment in plan:
            total += len(segment.pts)
            if is_done(faceset, clip, segment.key):
                done += len(segment.pts)
            else:
                tasks.append(Task(faceset.folder, clip, segment, faceset.settings))
    progress("faces", done, total)
    for task, problem in jobs.run(run_task, tasks, workers, engine):
        done += len(task.segment.pts)
        if problem is not None:
            failures.setdefault(task.clip.name, Failure(task.clip.path, str(problem)))
        progress("faces", done, total)
    return list(failures.values())


def is_done(faceset: Faceset, clip: Clip, key: str) -> bool:
    """Whether the part `key` exists and was made from these bytes with these settings."""
    info = part_info(faceset.part_path(key))
    return info is not None and info.settings == faceset.settings.digest() and info.clip_sha256 == clip.sha256


def _all_parts(faceset: Faceset, clip: Clip) -> bool:
    """Footage may be gone once its parts are there (a moved faceset)."""
    parts = faceset.parts_of(clip)
    return bool(parts) and all(is_done(faceset, clip, p.stem) for p in parts)


@functools.cache
def _backends(detector: str, landmarker: str, identifier: str) -> Backends:
    """One set of networks a process."""
    return Backends.of(Settings(detector=detector, landmarker=landmarker, identifier=identifier))


def run_task(task: Task) -> None:
    """Do one segment, in whatever process this is."""
    s = task.settings
    backends = _backends(s.detector, s.landmarker, s.identifier)
    extract_segment(task.folder, task.clip, task.segment, s, backends)
