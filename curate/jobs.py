"""Tasks on this process, N local processes, or a Ray cluster: the same results, whoever does them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from threadpoolctl import threadpool_limits

from curate.errors import FacesetError, MissingError, UsageError

log = logging.getLogger(__name__)

ENGINES = ("local", "ray")
T = TypeVar("T")
Work = Callable[[T], None]
Outcome = tuple[T, FacesetError | None]


def check(engine: str, workers: int) -> None:
    """Raise UsageError that names the flag of an impossible engine or number of workers."""
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine}: must be one of {', '.join(ENGINES)}")
    if workers < 1:
        raise UsageError(f"--workers {workers}: must be at least 1")


def run(work: Work[T], tasks: Sequence[T], workers: int = 1, engine: str = "local") -> Iterator[Outcome[T]]:
    """Every task with what became of it (None: done), in the order in which they end.

    `work` is a function of a module and a task can be pickled; each task is done on one core. A task whose worker dies
    is tried once more, alone. Errors that are no FacesetError are raised.
    """
    check(engine, workers)
    if engine == "ray":
        return _ray(work, tasks, workers)
    return _here(work, tasks) if workers == 1 or len(tasks) == 1 else _pool(work, tasks, workers)


def _here(work: Work[T], tasks: Sequence[T]) -> Iterator[Outcome[T]]:
    for task in tasks:
        try:
            with threadpool_limits(1):  # the arrays are small: more threads cost more than they give
                work(task)
        except FacesetError as error:
            yield task, error
        else:
            yield task, None


def _start_worker(parent: int) -> None:
    """A worker uses one core, and does not outlive the process that started it."""
    import cv2

    from curate.progress import set_up_logging

    set_up_logging(quiet=True)
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


def _pool(work: Work[T], tasks: Sequence[T], workers: int) -> Iterator[Outcome[T]]:
    orphans: list[T] = []
    with _new_pool(min(workers, len(tasks) or 1)) as pool:
        waiting: dict[Future[None], T] = {pool.submit(work, t): t for t in tasks}
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
        log.warning("%s: its worker died; trying once more", task)
        with _new_pool(1) as pool:
            future = pool.submit(work, task)
            wait([future])
            yield _outcome(task, future) or (
                task,
                FacesetError("the worker died twice on it (out of memory, or a crash)"),
            )


def _outcome(task: T, future: Future[None]) -> Outcome[T] | None:
    """What became of a task; None if its worker died."""
    try:
        future.result()
    except BrokenProcessPool:
        return None
    except FacesetError as error:
        return task, error
    return task, None


def _ray(work: Work[T], tasks: Sequence[T], workers: int) -> Iterator[Outcome[T]]:
    try:
        import ray
    except ImportError:
        raise MissingError("--engine ray: Ray is not installed: pip install 'faceset[cluster]'") from None
    if not ray.is_initialized():
        ray.init(num_cpus=None if os.environ.get("RAY_ADDRESS") else workers, log_to_driver=False)
    remote = ray.remote(max_retries=3)(work)
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
