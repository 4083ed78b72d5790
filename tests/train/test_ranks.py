"""Two processes over gloo, as on two machines: one failure ends both, weights are the same, and one decodes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import DDPCommunicationHookType

from train.config import TrainConfig, config_of
from train.fit import train
from train.processes import PATIENCE
from train.state import gradients

START = """
import json, os, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from curate.errors import FacesetError
from train import fit, health, start, state, step as stepping
from train.config import from_json
from train.processes import check_equal, together
rank = int(os.environ["RANK"])
source, target, out = map(Path, sys.argv[1:4])
config = from_json(json.loads(sys.argv[4]))
def say(**values):
    print(json.dumps(values), flush=True)
"""


def both(program: str, arguments: list[str], seconds: float = 900) -> list[tuple[int, list[dict[str, Any]], str]]:
    """Exit status, what it said, and stderr of each of two processes, each on a machine of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", START + program, *arguments]
    started = [subprocess.Popen(command, env={**common, "RANK": str(n)}, **pipes) for n in (0, 1)]
    found = []
    for process in started:
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            for each in started:
                each.kill()
            raise
        said = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
        found.append((process.returncode, said, stderr))
    return found


SAME = """
decoded = []
facesets = dict(zip(("source", "target"), map(fit.open_faceset, (source, target))))
accelerator = state.make_accelerator(config)
with together(accelerator):
    from train import crop_cache
    honest = crop_cache._fill
    crop_cache._fill = lambda *a: (decoded.append(a[4].name), honest(*a))
    sides = start.load(facesets, config, out / "cache", accelerator, lambda *_: None, shared=True)
    training = state.setup(config, accelerator, sides)
    start.load_weights(training, None, None)
    def equal():
        try:
            check_equal(accelerator, state.weights_of(training))
        except FacesetError as error:
            return str(error)
    before = equal()
    for weights in (training.model.parameters(), training.ema.parameters(), training.adversary.networks.parameters()):
        with torch.no_grad():
            next(weights).add_(rank)
    spoiled = equal()
    state.synchronise(training)
    restored = equal()
    saved = start.newest(accelerator, Path(sys.argv[5]) if rank == 0 else out / "nowhere")
    honest_losses = stepping.losses
    def losses(output, *rest):
        if len(output) > 1:
            raise RuntimeError("could not create a primitive")
        return honest_losses(output, *rest)
    stepping.step(training)
    stepping.losses = losses
    advice = str(fit.too_large(training))
    say(decoded=decoded, before=before, spoiled=spoiled, restored=restored, step=saved.step, advice=advice,
        total=sum(float(v.double().sum()) for v in saved.tensors.values()))
    accelerator.wait_for_everyone()
"""


def test_weights_checkpoints_and_decoding_are_shared(
    pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path
) -> None:
    with_all = replace(config, adversarial_weight=0.1, steps=3)
    train(with_all, *pair, tmp_path / "old")
    arguments = [
        *map(str, (*pair, tmp_path / "run")),
        json.dumps(with_all.to_json()),
        str(tmp_path / "old/checkpoints"),
    ]
    (status, said, errors), (other_status, other, _) = both(SAME, arguments)
    assert (status, other_status) == (0, 0), errors[-2000:]
    (first,), (second,) = said, other
    assert sorted(first.pop("decoded")) == ["source.u8", "target.u8"] and second.pop("decoded") == []
    assert first == second and first["step"] == 3
    assert first["before"] is None and first["restored"] is None
    assert "weights differ" in first["spoiled"] and "and 2 more" in first["spoiled"]
    assert "1 would: use --batch 1, or --accumulate 2 to keep the batch" in first["advice"]


FAILS = """
honest = fit.save
def save(training, run, seconds):
    if rank == 0:
        raise fit.WorkError("the disk is full")
    time.sleep(3600)  # stands for a call that never returns
fit.save = save
fit.train(config, source, target, out)
"""


def test_an_exception_in_one_process_ends_all(pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path) -> None:
    arguments = [*map(str, (*pair, tmp_path / "run")), json.dumps(config.to_json())]
    (status, _, errors), (other_status, _, others) = both(FAILS, arguments)
    assert status == 1 and "the disk is full" in errors
    assert other_status == 1 and "another process failed: process 0: the disk is full" in others


CLUSTER = """
from train import cluster
cluster.SEEN, cluster.MEGABYTES = 0.5, 1
if os.environ["RANK"] == "1":
    cluster._version = lambda package: "0.1" if package == "torch" else "1"
else:
    cluster._version = lambda package: "1"
for folder in (source, target if rank == 0 else out):
    say(**{f.name: [f.state, f.text] for f in cluster.check_cluster(folder, "cpu")})
"""


def test_a_cluster_is_checked(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    arguments = [*(str(tmp_path / name) for name in "abc"), json.dumps(config.to_json())]
    (status, said, errors), (other_status, other, _) = both(CLUSTER, arguments)
    assert (status, other_status) == (0, 0), errors[-2000:]
    shared, apart = said
    assert shared["devices"][0] == "ok" and shared["devices"][1].startswith("2 processes: 0: ")
    assert shared["versions"] == ["missing", "torch 0.1, 1: install the same versions on all machines"]
    assert shared["folder"][0] == "ok" and apart["folder"][0] == "missing" and "(1)" in apart["folder"][1]
    assert shared["bandwidth"][0] == "ok" and "GB/s" in shared["bandwidth"][1]
    assert [each["devices"] for each in other] == [each["devices"] for each in said]
    assert not [*(tmp_path / "a").iterdir(), *(tmp_path / "b").iterdir()]


@pytest.mark.parametrize(
    ("asked", "precision", "half"),
    [("auto", "bf16", True), ("auto", "fp32", False), ("bf16", "fp32", True), ("fp32", "bf16", False)],
)
def test_gradients_travel_in_bf16_where_the_network_is(asked: str, precision: str, half: bool) -> None:
    found = gradients(config_of("tiny", gradients=asked), precision)
    assert found.gradient_as_bucket_view
    assert (found.comm_hook == DDPCommunicationHookType.BF16) == half


def test_processes_wait_longer_than_nccl_would() -> None:
    assert PATIENCE.total_seconds() > 3600 and torch.distributed.is_available()
