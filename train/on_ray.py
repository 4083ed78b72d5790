"""Training on a Ray cluster (extra `cluster`): Ray starts the processes, and restarts them if one fails.

All machines need access to the run's folder; each decodes the faces into a folder of its own if --cache names one.
Ray's own files go into a temporary folder.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from curate.dataset import consent
from curate.dataset.faceset import open_faceset
from curate.errors import MissingError, WorkError
from curate.runtime.files import atomic
from train.config import TrainConfig, from_json
from train.fit import Summary, train
from train.folder_lock import held
from train.people import check_people
from train.run import is_run, open_run
from train.start import check_call, check_free, clear

FAILURES = 3
"""How often processes may be restarted."""
ANSWER = ".ray-summary.json"
"""File in the run's folder with the result for the caller, which may be on another machine."""


def train_on_ray(
    config: TrainConfig,
    source: Path,
    target: Path,
    out: Path,
    workers: int = 1,
    resume: bool = False,
    force: bool = False,
    init: Path | None = None,
    cache: Path | None = None,
) -> Summary:
    """Train with `train.fit.train` in `workers` processes, each with a GPU if the cluster has GPUs.

    RAY_ADDRESS names a cluster; without it Ray starts one on this machine. Raises MissingError without Ray, UsageError
    for an existing run, WorkError if it fails more often than Ray may restart it, else as `train`.
    """
    try:
        import ray
        import ray.train.torch
    except ImportError as error:
        raise MissingError(f"--engine ray: {error}: pip install 'faceset[cluster]'") from None
    facesets = {"source": open_faceset(source), "target": open_faceset(target)}
    for faceset in facesets.values():
        consent.require(faceset.subject, str(faceset.folder))
    check_call(facesets, config, resume, force, init)
    check_people(facesets, open_run(out) if resume else None)
    with held(out):
        if not resume:
            check_free(out, force)
        if force:  # only now: a call that is refused leaves the old run as it is
            clear(out)
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    settings: dict[str, Any] = {"config": config.to_json(), "places": [str(p.resolve()) for p in (source, target, out)]}
    settings |= {"init": init and str(init.resolve()), "cache": cache and str(cache.resolve())}
    _run(settings, workers, gpus=config.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0)
    answer = out / ANSWER
    summary = Summary(**json.loads(answer.read_text(encoding="utf-8")))
    answer.unlink()
    return summary


def _run(settings: dict[str, Any], workers: int, gpus: bool) -> None:
    """Run `_work` in so many processes; raises WorkError if it fails more often than it may be restarted."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    with tempfile.TemporaryDirectory(prefix="faceset-ray-") as storage:
        trainer = TorchTrainer(
            _work,
            train_loop_config=settings,
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus),
            run_config=RunConfig(storage_path=storage, failure_config=FailureConfig(max_failures=FAILURES)),
        )
        try:
            trainer.fit()
        except Exception as error:  # Ray wraps the processes' errors in its own types
            raise WorkError(
                f"--engine ray: {_first_line(error)}: continue from the last checkpoint with --resume"
            ) from error


def _work(settings: dict[str, Any]) -> None:
    """Work of each process; a restarted one resumes."""
    from ray.train import get_context

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    source, target, out = map(Path, settings["places"])
    init, cache = (Path(settings[name]) if settings[name] else None for name in ("init", "cache"))
    resume = is_run(out)
    summary = train(
        from_json(settings["config"]), source, target, out, resume=resume, init=None if resume else init, cache=cache
    )
    if get_context().get_world_rank() == 0:
        with atomic(out / ANSWER) as temporary:
            temporary.write_text(json.dumps(asdict(summary)), encoding="utf-8")


def _first_line(error: BaseException) -> str:
    """Last line of the error at the root of this one."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
