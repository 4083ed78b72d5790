"""Restarts: by torchrun after a worker died, before the first checkpoint, with --force and with --init; divergence."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.errors import UsageError, WorkError
from train import checkpoint, health
from train import step as stepping
from train.config import TrainConfig
from train.fit import train
from train.health import MAX_SKIPPED
from train.on_ray import train_on_ray
from train.run import open_run
from train.start import after_restart

Pair = tuple[Path, Path]
MakeFaceset = Callable[..., Any]
PROGRAM = """
import json, os, signal, sys
from pathlib import Path
import torch
from train import fit
from train.config import from_json
torch.set_num_threads(1)
honest, place = fit.step, Path(sys.argv[6])
(place / ("start-" + os.environ["TORCHELASTIC_RESTART_COUNT"])).touch()
def step(training):
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and os.environ["RANK"] == "1" and training.step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    honest(training)
fit.step = step
fit.train(from_json(json.loads(sys.argv[5])), *map(Path, sys.argv[1:4]), force=True, init=Path(sys.argv[4]))
"""


class Killed(BaseException):
    """Stands for kill -9: nothing in the trainer may handle it."""


def killed_at(step: int) -> Callable[[str, int, int], None]:
    def progress(stage: str, done: int, total: int) -> None:
        if stage == "train" and done == step:
            raise Killed

    return progress


def restarted(monkeypatch: pytest.MonkeyPatch, count: int, launch: str = "one") -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(count))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", launch)


def weights(run: Path, step: int) -> bytes:
    return (run / f"checkpoints/step-{step}.safetensors").read_bytes()


@pytest.fixture
def prior(pair: Pair, config: TrainConfig, tmp_path: Path) -> Path:
    """A run whose encoder others begin with."""
    train(replace(config, steps=2, seed=1), *pair, tmp_path / "prior")
    return tmp_path / "prior"


@pytest.mark.parametrize("step", [2, 4])
def test_a_restart_with_force_and_init_continues(
    pair: Pair, config: TrainConfig, prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """At step 2 there is no checkpoint yet: it begins again, from the same encoder."""
    train(config, *pair, tmp_path / "whole", init=prior)
    out = tmp_path / "run"
    train(replace(config, steps=1), *pair, out)
    restarted(monkeypatch, 0)
    with pytest.raises(Killed):
        train(config, *pair, out, force=True, init=prior, progress=killed_at(step))
    restarted(monkeypatch, 1)
    again = train(config, *pair, out, force=True, init=prior)
    assert again.resumed_from == (3 if step > 3 else None)
    assert weights(out, 6) == weights(tmp_path / "whole", 6)


def test_resume_before_the_first_checkpoint_keeps_init(
    pair: Pair, config: TrainConfig, prior: Path, tmp_path: Path
) -> None:
    train(config, *pair, tmp_path / "whole", init=prior)
    with pytest.raises(Killed):
        train(config, *pair, tmp_path / "run", init=prior, progress=killed_at(2))
    assert train(config, *pair, tmp_path / "run", resume=True).resumed_from is None
    assert weights(tmp_path / "run", 6) == weights(tmp_path / "whole", 6)


def test_a_restart_before_the_run_began_replaces_the_old_one(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first start may fail before --force has removed the old run, which is not the one to resume."""
    restarted(monkeypatch, 0, "old")
    train(replace(config, steps=1), *pair, tmp_path / "run")
    restarted(monkeypatch, 1, "new")
    assert after_restart(tmp_path / "run", False, True) == (False, True)
    assert after_restart(tmp_path / "run", False, False) == (False, False)
    restarted(monkeypatch, 1, "old")
    assert after_restart(tmp_path / "run", False, True) == (True, False)


def test_torchrun_restarts_after_a_worker_was_killed(
    pair: Pair, config: TrainConfig, prior: Path, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launch += ["--max-restarts", "1", "--monitor-interval", "0.1", str(tmp_path / "program.py")]
    arguments = [*map(str, (*pair, tmp_path / "run", prior)), json.dumps(config.to_json()), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([*launch, *arguments], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[:4000]
    assert (tmp_path / "start-0").is_file() and (tmp_path / "start-1").is_file()
    train(replace(config, batch=4, accumulate=2), *pair, tmp_path / "one", init=prior)
    assert weights(tmp_path / "run", 6) == weights(tmp_path / "one", 6)


def test_ray_removes_no_run_for_a_call_that_is_refused(
    make_faceset: MakeFaceset, pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = types.ModuleType("ray")
    for name in ("ray", "ray.train", "ray.train.torch"):
        monkeypatch.setitem(sys.modules, name, ray)
    train(replace(config, steps=1), *pair, tmp_path / "run")
    make_faceset(tmp_path / "b", "b", framing="head")
    with pytest.raises(UsageError, match="framing"):
        train_on_ray(config, pair[0], tmp_path / "b", tmp_path / "run", force=True)
    assert open_run(tmp_path / "run").step == 1 and (tmp_path / "run/model.safetensors").is_file()


def changed_losses(monkeypatch: pytest.MonkeyPatch, factor: Callable[[int], float]) -> None:
    """Multiply the losses of the steps, counted from 1 as they are done."""
    honest, done = stepping.losses, itertools.count(2)  # two sides per step

    def losses(*args: Any) -> dict[str, torch.Tensor]:
        number = next(done) // 2
        return {k: v * factor(number) for k, v in honest(*args).items()}

    monkeypatch.setattr(stepping, "losses", losses)


def test_a_huge_loss_is_no_finished_run(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed_losses(monkeypatch, lambda step: 1e17)
    with pytest.raises(WorkError, match=r"l1_source is \S*e\+1[67] at step 5, even after returning"):
        train(replace(config, steps=20), *pair, tmp_path / "run")


def test_failures_long_ago_do_not_count(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four divergences in a run, more than MAX_REWINDS, each of them overcome."""
    bad = {first + i for first in range(6, 80, 20) for i in range(MAX_SKIPPED)}
    changed_losses(monkeypatch, lambda step: float("nan") if step in bad else 1.0)
    monkeypatch.setattr(health, "RECOVERED", 5)
    assert train(replace(config, steps=60), *pair, tmp_path / "run").steps == 60
    facts = checkpoint.read(tmp_path / "run/checkpoints/step-60.safetensors").facts
    assert facts["slow"] == 0.5 ** len(range(6, 80, 20)) and facts["returns"] <= 1


def test_counts_on_the_device_are_read_every_few_steps(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on CUDA: bad steps change no weight at once, and are told and counted later."""
    bad = (2, 3, 7)
    changed_losses(monkeypatch, lambda step: float("nan") if step in bad else 1.0)
    rare = replace(config, steps=9, log_every=9, save_every=9)
    train(rare, *pair, tmp_path / "often")
    assert [r.message for r in caplog.records if "skipped" in r.message] == [
        f"l1_source is nan at step {n}: this step is skipped" for n in bad
    ]
    caplog.clear()
    monkeypatch.undo()
    changed_losses(monkeypatch, lambda step: float("nan") if step in bad else 1.0)
    honest = stepping.step

    def rarely(training: Any) -> None:
        training.read_every = 5
        honest(training)

    monkeypatch.setattr("train.fit.step", rarely)
    train(rare, *pair, tmp_path / "rarely")
    assert [r.message for r in caplog.records if "skipped" in r.message] == [
        "l1_source is nan at step 3: 2 steps are skipped", "l1_source is nan at step 7: this step is skipped",
    ]  # fmt: skip
    assert weights(tmp_path / "often", 9) == weights(tmp_path / "rarely", 9)
    loss = [(tmp_path / n / "log.csv").read_text().splitlines()[1].split(",")[5:15] for n in ("often", "rarely")]
    assert loss[0] == loss[1]
