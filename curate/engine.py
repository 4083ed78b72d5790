"""Segments to parts: in this process, in N local processes, or on a Ray cluster. The result is the same."""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from curate.errors import FacesetError, MissingError, UsageError
from curate.extract import Backends, extract_segment, part_info
from curate.faceset import Faceset
from curate.types import Clip, Failure, Progress, Segment, Settings, no_progress
from curate.video import segments

log = logging.getLogger(__name__)

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Task:
    """One segment to do."""

    folder: Path
    clip: Clip
    segment: Segment
    settings: Settings


Outcome = tuple[Task, FacesetError | None]
Runner = Callable[[Sequence[Task], int], Iterator[Outcome]]


def extract(
    faceset: Faceset, workers: int = 1, engine: str = "local", progress: Progress = no_progress
) -> list[Failure]:
    """Make every part of the faceset that is missing or stale; the clips that failed, with the reason.

    A segment whose worker dies is tried once more, alone; then its clip counts as failed and the rest goes on.
    """
    check(engine, workers)
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
    run: Runner = _ray if engine == "ray" else _here if workers == 1 or len(tasks) == 1 else _pool
    for task, problem in run(tasks, workers):
        done += len(task.segment.pts)
        if problem is not None:
            failures.setdefault(task.clip.name, Failure(task.clip.path, str(problem)))
        progress("faces", done, total)
    return list(failures.values())


def check(engine: str, workers: int) -> None:
    """Raise UsageError that names the flag of an impossible engine or number of workers."""
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine}: must be one of {', '.join(ENGINES)}")
    if workers < 1:
        raise UsageError(f"--workers {workers}: must be at least 1")


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


def _here(tasks: Sequence[Task], workers: int) -> Iterator[Outcome]:
    for task in tasks:
        try:
            with threadpool_limits(1):  # the arrays are small: more threads cost more than they give
                run_task(task)
        except FacesetError as error:
            yield task, error
        else:
            yield task, None


def _start_worker(parent: int) -> None:
    """A worker uses one core, and does not outlive the process that started it."""
    import cv2

    cv2.setNumThreads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _new_pool(workers: int) -> ProcessPoolExecutor:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, _start_worker, (os.getpid(),))


def _pool(tasks: Sequence[Task], workers: int) -> Iterator[Outcome]:
    orphans: list[Task] = []
    with _new_pool(min(workers, len(tasks) or 1)) as pool:
        waiting: dict[Future[None], Task] = {pool.submit(run_task, t): t for t in tasks}
        try:
            while waiting:
                finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    task = waiting.pop(future)
                    outcome = _outcome(task, future)
                    if outcome is None:
                        orphans.append(task)
                    else:
                        yield outcome
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    for task in orphans:
        log.warning("%s: its worker died; trying once more", task.segment.key)
        with _new_pool(1) as pool:
            future = pool.submit(run_task, task)
            wait([future])
            yield _outcome(task, future) or (
                task,
                FacesetError("the worker died twice on it (out of memory, or a crash)"),
            )


def _outcome(task: Task, future: Future[None]) -> Outcome | None:
    """What became of a task; None if its worker died."""
    try:
        future.result()
    except BrokenProcessPool:
        return None
    except FacesetError as error:
        return task, error
    return task, None


def _ray(tasks: Sequence[Task], workers: int) -> Iterator[Outcome]:
    try:
        import ray
    except ImportError:
        raise MissingError("--engine ray: Ray is not installed: pip install 'faceset[cluster]'") from None
    if not ray.is_initialized():
        ray.init(num_cpus=None if os.environ.get("RAY_ADDRESS") else workers, log_to_driver=False)
    remote = ray.remote(max_retries=3)(run_task)
    waiting = {remote.remote(task): task for task in tasks}
    while waiting:
        finished, _ = ray.wait(list(waiting), num_returns=1)
        task = waiting.pop(finished[0])
        try:
            ray.get(finished[0])
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, FacesetError):
                raise
            yield task, error.cause
        else:
            yield task, None
