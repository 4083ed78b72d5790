"""Two processes over gloo are one process with the doubled batch, and one can resume the run of two."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from train import checkpoint
from train.config import TrainConfig
from train.fit import train
from train.run import open_run

PROGRAM = """
import json, sys
from pathlib import Path
import torch
from train.config import from_json
from train.fit import train
torch.set_num_threads(1)
train(from_json(json.loads(sys.argv[4])), *map(Path, sys.argv[1:4]), resume=sys.argv[5:] == ["resume"])
"""


def test_two_processes_are_one_with_the_doubled_batch(
    pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path
) -> None:
    two = replace(config, steps=20, batch=2, save_every=10, log_every=5)
    launch(2, pair, tmp_path / "two", two)

    one = replace(two, batch=4, accumulate=2)  # passes of the same size: the same sums, so the same bits
    train(one, *pair, tmp_path / "one")
    assert tensors(tmp_path / "one", 20).keys() == tensors(tmp_path / "two", 20).keys()
    assert difference(tmp_path / "one", tmp_path / "two", 20) == 0
    whole = replace(two, batch=4)  # one pass: the sums are rounded otherwise, nothing else
    train(replace(whole, steps=1), *pair, tmp_path / "whole")
    train(replace(one, steps=1), *pair, tmp_path / "passes")
    assert difference(tmp_path / "whole", tmp_path / "passes", 1) < 1e-5

    longer = replace(one, steps=24)
    resumed = train(longer, *pair, tmp_path / "two", resume=True)
    assert resumed.resumed_from == 20
    train(longer, *pair, tmp_path / "one", resume=True)
    assert difference(tmp_path / "one", tmp_path / "two", 24) == 0
    assert (tmp_path / "one/log.csv").read_text().split(",")[0] == "step"


def test_a_run_goes_from_one_process_to_two_and_three(
    pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path
) -> None:
    one = replace(config, steps=2, batch=2, accumulate=2, save_every=2, log_every=2, performance=0)
    run, alone = tmp_path / "run", tmp_path / "alone"
    train(one, *pair, run)
    shutil.copytree(run, alone)
    launch(2, pair, run, replace(one, steps=4, batch=1, accumulate=1, evaluate="apart"), "resume")
    train(replace(one, steps=4), *pair, alone, resume=True)
    assert difference(run, alone, 4) == 0
    assert open_run(run).results["ssim"] == pytest.approx(open_run(alone).results["ssim"], abs=1e-6)
    launch(3, pair, run, replace(one, steps=6, batch=1, accumulate=1), "resume")  # each save compares the weights
    train(replace(one, steps=6, batch=3, accumulate=3), *pair, alone, resume=True)
    assert difference(run, alone, 6) < 1e-5  # a third of a sum is rounded otherwise


def launch(processes: int, pair: tuple[Path, Path], out: Path, config: TrainConfig, *how: str) -> None:
    """Train in so many processes of torchrun."""
    program = out.parent / "program.py"
    program.write_text(PROGRAM)
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    arguments = [str(program), *map(str, pair), str(out), json.dumps(config.to_json()), *how]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([*start, *arguments], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def tensors(run: Path, step: int) -> dict[str, torch.Tensor]:
    return checkpoint.read(run / f"checkpoints/step-{step}.safetensors").tensors


def difference(one: Path, other: Path, step: int) -> float:
    """The largest of any weight, moment or mean."""
    a, b = tensors(one, step), tensors(other, step)
    return max((a[name] - b[name]).abs().max().item() for name in a)
