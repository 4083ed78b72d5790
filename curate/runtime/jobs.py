"""Task engines: this process, N local processes, or a Ray cluster, all with the same results."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from curate.errors import FacesetError, MissingError, UsageError
from curate.runtime import workers as local
from curate.runtime.workers import Limits, WorkerLostError

log = logging.getLogger(__name__)

ENGINES = ("local", "ray")
MOST = 1024
"""Processes on one machine, at most."""
RETRIES = 3
"""Number of times that Ray retries a task whose worker or machine was lost."""
IN_FLIGHT = 2
"""Tasks submitted to Ray per core: one running, one waiting."""
T = TypeVar("T")
Work = Callable[[T], None]
Outcome = tuple[T, FacesetError | None]


def processes(asked: int) -> int:
    """How many processes `--workers` means: 0 is one per core that this process may use. Raises UsageError."""
    if not 0 <= asked <= MOST:
        raise UsageError(f"--workers {asked}: must be 0 (one per core) to {MOST}")
    return asked or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def check(engine: str, workers: int) -> None:
    """Raise UsageError that names the flag of an impossible engine or number of workers, MissingError without Ray."""
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine}: must be one of {', '.join(ENGINES)}")
    if workers < 1:
        raise UsageError(f"--workers {workers}: must be at least 1")
    if engine == "ray" and importlib.util.find_spec("ray") is None:
        raise MissingError("--engine ray: Ray is not installed; run pip install 'faceset[cluster]'")


def run(
    work: Work[T],
    tasks: Iterable[T],
    workers: int = 1,
    engine: str = "local",
    limits: Limits | None = None,
    gpus: float = 0.0,
) -> Iterator[Outcome[T]]:
    """Every task with its error (None if it succeeded), in order of completion.

    `work` is a function of a module and a task can be pickled; each task is done on one core. `tasks` are taken one by
    one as workers become free, so they may be made as they are asked for. A task whose worker is lost (it dies, or
    breaks the `limits`) is tried once more, alone; then its outcome is `WorkerLostError`. One worker works in this
    process, which no limit holds; Ray tries RETRIES times and watches memory by itself. `gpus` is the share of a GPU
    that a task needs on Ray, if the cluster has any. Errors that are no FacesetError are raised.
    """
    check(engine, workers)
    if engine == "ray":
        return _ray(work, tasks, workers, gpus, limits or Limits())
    if workers == 1 or (isinstance(tasks, Sequence) and len(tasks) == 1):
        return _here(work, tasks)
    return local.run(work, tasks, workers, limits)


def _here(work: Work[T], tasks: Iterable[T]) -> Iterator[Outcome[T]]:
    for task in tasks:
        try:
            with threadpool_limits(1):  # the arrays are small: more threads cost more than they give
                work(task)
        except FacesetError as error:
            yield task, error
        else:
            yield task, None


def _ray(work: Work[T], tasks: Iterable[T], workers: int, gpus: float, limits: Limits) -> Iterator[Outcome[T]]:
    import ray

    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS")
        ray.init(address or "local", num_cpus=None if address else workers, log_to_driver=False)
    gpus = gpus if ray.cluster_resources().get("GPU") else 0.0
    needs: dict[str, Any] = {"max_retries": RETRIES} | ({"num_gpus": gpus} if gpus else {})
    remote = ray.remote(**needs)(local.guarded)
    queue = iter(tasks)
    waiting: dict[Any, T] = {}
    while True:
        room = max(IN_FLIGHT * int(ray.cluster_resources().get("CPU", workers)), 1) - len(waiting)
        waiting |= {remote.remote(work, task, limits.stall): task for task in itertools.islice(queue, max(room, 0))}
        if not waiting:
            return
        finished, _ = ray.wait(list(waiting), num_returns=1)
        task = waiting.pop(finished[0])
        try:
            ray.get(finished[0])
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, FacesetError):
                raise
            yield task, error.cause
        except ray.exceptions.RayError as error:
            why = type(error).__name__
            yield (
                task,
                WorkerLostError(f"Ray lost its worker {RETRIES + 1} times ({why}): is the footage damaged or large?"),
            )
        else:
            yield task, None
