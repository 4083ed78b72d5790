"""Evaluations in a process of their own: the same figures, in order, none lost, and no training that ends with them."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from train import checkpoint, evaluations, fit
from train.config import TrainConfig
from train.evaluations import is_apart
from train.evaluator import Child, GoneError, Task
from train.fit import Summary, train
from train.journal import FIGURES
from train.retarget import Gains
from train.run import OWN, open_run

Pair = tuple[Path, Path]
Start = Callable[[TrainConfig, Path], Summary]


class Killed(BaseException):
    """Stands for kill -9: nothing in the trainer may handle it."""


@pytest.fixture
def config(config: TrainConfig) -> TrainConfig:
    return replace(config, steps=12, preview_every=4, performance=0, evaluate_seconds=0.0)


@pytest.fixture
def here(config: TrainConfig, pair: Pair, tmp_path: Path) -> Path:
    """A run that was evaluated in its own process."""
    train(replace(config, evaluate="here"), *pair, tmp_path / "here")
    return tmp_path / "here"


def figures(run: Path) -> dict[int, dict[str, str]]:
    """Of each step that was evaluated what the log says."""
    rows = [*csv.DictReader(io.StringIO((run / "log.csv").read_text(encoding="utf-8")))]
    assert [int(row["step"]) for row in rows] == sorted({int(row["step"]) for row in rows})
    return {int(row["step"]): {name: row[name] for name in FIGURES} for row in rows if row["ssim"]}


def weights(run: Path, step: int) -> bytes:
    return (run / f"checkpoints/step-{step}.safetensors").read_bytes()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and "evalua" in r.getMessage()]


@pytest.mark.parametrize(
    ("asked", "device", "apart"),
    [
        ("auto", "cuda", True),
        ("auto", "cpu", False),
        ("auto", "mps", False),
        ("here", "cuda", False),
        ("apart", "cpu", 1),
    ],
)
def test_where_evaluations_have_their_own_process(config: TrainConfig, asked: str, device: str, apart: bool) -> None:
    assert is_apart(replace(config, evaluate=asked), torch.device(device)) == apart


def test_a_process_of_its_own_finds_the_same(config: TrainConfig, pair: Pair, tmp_path: Path) -> None:
    """With --stop auto none is left out, although the first one waits for the process to start."""
    runs = {}
    for mode in ("here", "apart"):
        runs[mode] = tmp_path / mode
        train(replace(config, stop="auto", evaluate=mode), *pair, runs[mode])
    found = figures(runs["apart"])
    assert list(found) == [4, 8, 12] and found == figures(runs["here"])
    assert weights(runs["apart"], 12) == weights(runs["here"], 12)
    results = [{n: v for n, v in open_run(run).results.items() if n in FIGURES} for run in runs.values()]
    assert results[0] == results[1] and len(results[0]) == 9 + len(fields(Gains))
    for run in runs.values():
        assert sorted(p.name for p in (run / "previews").iterdir()) == ["step-12.png", "step-4.png", "step-8.png"]
        held = json.loads((run / "reports/held-out.json").read_text())
        assert held["step"] == 12 and held["faces"]
        assert "Training finished after 12 steps" in (run / "reports/training.html").read_text()
        assert not (run / "evaluation").exists()


def test_a_process_that_is_killed_costs_one_line(
    config: TrainConfig, pair: Pair, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    started: list[subprocess.Popen[str]] = []

    class Noted(Child):
        def __init__(self, task: Task) -> None:
            super().__init__(task)
            started.append(self._process)

    def progress(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("train", 6):  # step 4 waits
            started[0].kill()
            started[0].wait()

    monkeypatch.setattr(evaluations, "Child", Noted)
    done = train(replace(config, evaluate="apart"), *pair, tmp_path / "run", progress=progress)
    assert (done.steps, done.ended, len(started)) == (12, "finished", 1)
    assert len(told(caplog)) == 1 and "has ended (killed by SIGKILL)" in told(caplog)[0]
    assert figures(tmp_path / "run") == figures(here) and weights(tmp_path / "run", 12) == weights(here, 12)
    assert open_run(tmp_path / "run").results["ssim"] == pytest.approx(open_run(here).results["ssim"], abs=1e-6)


def test_a_process_that_fails_says_why_in_one_line(
    config: TrainConfig, pair: Pair, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(fit, "Task", lambda *values: replace(Task(*values), cache=str(tmp_path / "nowhere")))
    train(replace(config, evaluate="apart"), *pair, tmp_path / "run")
    assert len(told(caplog)) == 1 and "nowhere" in told(caplog)[0] and "\n" not in told(caplog)[0]
    assert figures(tmp_path / "run")[12] == figures(here)[12]


class Silent:
    """A process that takes every question and answers when it is told to."""

    ready: bool = False

    def __init__(self, task: Task) -> None:
        self.asked: deque[dict[str, Any]] = deque()
        self.all: list[dict[str, Any]] = []

    def ask(self, before: Callable[[], object] | None = None, **values: Any) -> None:
        if before is not None:
            before()
        self.asked.append(values)
        self.all.append(values)

    def answer(self, patience: float) -> dict[str, Any] | None:
        if not self.asked or not (self.ready or patience):
            return None
        asked = self.asked.popleft()
        return {"figures": {"ssim": float(asked["evaluate"])}} if "evaluate" in asked else {"reported": True}

    def close(self) -> None:
        pass


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> list[Silent]:
    made: list[Silent] = []
    monkeypatch.setattr(evaluations, "Child", lambda task: made.append(Silent(task)) or made[-1])
    return made


def test_a_process_that_ends_before_the_last_report_costs_no_report(
    config: TrainConfig, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Ends(Silent):
        def answer(self, patience: float) -> dict[str, Any] | None:
            if self.asked and "report" in self.asked[0]:
                raise GoneError("killed by SIGKILL")
            return super().answer(patience)

    monkeypatch.setattr(evaluations, "Child", Ends)
    train(replace(config, evaluate="apart", preview_every=0), *pair, tmp_path / "run")
    assert len(told(caplog)) == 1 and list(figures(tmp_path / "run")) == [12]
    assert "Training finished after 12 steps" in (tmp_path / "run/reports/training.html").read_text()


def test_what_falls_due_too_soon_is_left_out_but_never_the_last(
    config: TrainConfig, pair: Pair, tmp_path: Path, silent: list[Silent]
) -> None:
    def evaluated(**changes: Any) -> list[int]:
        train(replace(config, evaluate="apart", **changes), *pair, tmp_path / "run", force=True)
        return [asked["evaluate"] for asked in silent[-1].all if "evaluate" in asked]

    assert evaluated() == [4, 12]  # at step 8 the first one still runs
    assert list(figures(tmp_path / "run")) == [4, 12] and open_run(tmp_path / "run").results["ssim"] == 12
    Silent.ready = True
    try:
        assert evaluated() == [4, 8, 12]
        assert evaluated(evaluate_seconds=1000.0) == [4, 12]
    finally:
        Silent.ready = False
    assert evaluated(evaluate_seconds=1000.0, stop="auto") == [4, 8, 12]


def test_a_run_that_was_killed_evaluates_what_waited(
    config: TrainConfig, pair: Pair, here: Path, tmp_path: Path, silent: list[Silent]
) -> None:
    def progress(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("train", 10):
            raise Killed

    run = tmp_path / "run"
    with pytest.raises(Killed):
        train(replace(config, evaluate="apart"), *pair, run, progress=progress)
    assert not figures(run) and (run / "evaluation/step-4.safetensors").is_file() and "evaluation" in OWN
    train(replace(config, evaluate="here"), *pair, run, resume=True)
    assert figures(run) == {step: found for step, found in figures(here).items() if step != 8}  # which was left out
    assert not [*(run / "evaluation").glob("*.safetensors")]
    assert weights(run, 12) == weights(here, 12)


def test_figures_from_before_a_return_are_not_taken(
    config: TrainConfig, pair: Pair, tmp_path: Path, silent: list[Silent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training returns from step 5 to step 3, and reaches step 4 again, whose weights are others then."""
    honest, failed = fit.step, []

    def step(training: Any) -> None:
        if training.step == 5 and not failed:
            failed.append(training.step)
            raise fit.DivergedError("a loss is nan")
        honest(training)

    monkeypatch.setattr(fit, "step", step)
    train(replace(config, evaluate="apart"), *pair, tmp_path / "run")
    asked = [each["evaluate"] for each in silent[0].all if "evaluate" in each]
    assert asked == [4, 12] and list(figures(tmp_path / "run")) == [12]


def test_weights_that_cannot_be_written_cost_one_line(
    config: TrainConfig, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    honest = checkpoint.write_tensors

    def write(path: Path, tensors: Any) -> None:
        if path.parent.name == "evaluation" and path.name == "step-4.safetensors":
            raise OSError(28, "No space left on device")
        honest(path, tensors)

    monkeypatch.setattr("train.checkpoint.write_tensors", write)
    train(replace(config, stop="auto", evaluate="apart"), *pair, tmp_path / "run")
    assert [(line[:4], "No space left" in line) for line in told(caplog)] == [("step", True)]
    assert list(figures(tmp_path / "run")) == [8, 12]


PROGRAM = """
import json, sys
from pathlib import Path
import torch
from curate.errors import FacesetError
from train.config import from_json
from train.fit import train
torch.set_num_threads(1)
def progress(stage, done, total):
    if stage == "train" and done == 6:
        print("running", flush=True)
try:
    train(from_json(json.loads(sys.argv[4])), *map(Path, sys.argv[1:4]), progress=progress)
except FacesetError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 1)])
def test_a_signal_that_reaches_both_processes(
    config: TrainConfig, pair: Pair, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """A terminal or a service manager sends it to the whole group: the training saves, the other process goes on."""
    endless = replace(config, steps=1_000_000, save_every=1_000_000, log_every=1000, evaluate="apart")
    arguments = [*map(str, (*pair, tmp_path / "run")), json.dumps(endless.to_json())]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], env=environment, **pipes) as process:
        assert process.stdout is not None and process.stdout.readline() == "running\n"
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == status and f"stopped by {number.name}" in errors
    assert "Traceback" not in errors and "has ended" not in errors
    assert open_run(tmp_path / "run").ended == f"stopped by {number.name}" and open_run(tmp_path / "run").step >= 6
