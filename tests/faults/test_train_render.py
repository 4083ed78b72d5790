"""A training and a render that are killed again and again end as if they had not been. The whole suite only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from faulty import ROOT, TRIES
from safetensors import SafetensorError
from safetensors.numpy import load_file

from curate.footage import file_sha256
from render import plan

pytestmark = pytest.mark.skipif(TRIES == 1, reason="FACESET_FAULTS is not set: make faults kills trainings and renders")

FRONT = """
import sys
sys.path.insert(0, {root!r})
from render import plan
plan.PART = 5
import faceset
sys.argv = ["faceset", *sys.argv[1:]]
if __name__ == "__main__":
    faceset.main()
"""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command line with parts of five frames."""
    path = tmp_path_factory.mktemp("front") / "front.py"
    path.write_text(FRONT.format(root=str(ROOT)))
    return path


def call(front: Path, folder: Path, *arguments: object, wait: bool = True) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FACESET_CONFIG": str(folder / "config")}
    command = [sys.executable, str(front), *map(str, arguments)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    if wait:
        process.said, _ = process.communicate(timeout=300)
    return process


def kill_after(process: subprocess.Popen[str], seen: int, count, rest: float) -> None:
    """Kill it `rest` seconds after `count()` rises above `seen`."""
    end = time.monotonic() + 120
    while process.poll() is None and count() <= seen and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(rest)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def trained(front: Path, head_facesets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed; its command in `train`."""
    folder = tmp_path_factory.mktemp("runs")
    assert call(front, folder, *train(head_facesets, folder / "whole")).returncode == 0
    return folder


def train(facesets: dict[str, Path], out: Path) -> list[object]:
    sides = ["--source", facesets["source"], "--target", facesets["target"], "--out", out]
    return ["train", *sides, "--preset", "tiny", "--steps", 24, "--save-every", 4, "--batch", 4, "--json", "-q"]


def test_a_training_killed_at_random(front, trained: Path, head_facesets, ledger) -> None:
    row, chance = ledger.row("train: kill -9 at a random moment"), np.random.default_rng(2)
    out = trained / "killed"

    def saved() -> list[Path]:
        """The tensors of the checkpoints that are whole: whose JSON is there, which is written last."""
        found = sorted((out / "checkpoints").glob("step-*.json"))
        return [path.with_suffix(".safetensors") for path in found]

    for attempt in range(TRIES):
        before = len(saved())
        more = ["--resume"] if before else (["--force"] if out.exists() else [])
        process = call(front, trained, *train(head_facesets, out), *more, wait=False)
        kill_after(process, before, lambda: len(saved()), chance.uniform(0, 0.5))
        row.tries += 1
        for path in saved():
            try:
                load_file(path)
            except (SafetensorError, OSError):
                row.half += 1
        if (out / "model.safetensors").exists():
            break
        assert attempt or saved()
    last = max((int(p.stem.partition("-")[2]) for p in saved()), default=0)
    if not (out / "model.safetensors").exists():
        done = call(front, trained, *train(head_facesets, out), "--resume")
        assert done.returncode == 0
        found = json.loads(done.said)
        row.lost += found["resumed_from"] != last
        assert found["steps"] == 24
    assert file_sha256(out / "model.safetensors") == file_sha256(trained / "whole" / "model.safetensors")
    assert (row.lost, row.half) == (0, 0)


def test_a_render_killed_at_random(front, trained: Path, head_clips, ledger) -> None:
    row, chance = ledger.row("render: kill -9 at a random moment"), np.random.default_rng(3)
    run, clip = trained / "whole", head_clips["target"]
    rest = ["--footage", clip, "--mask", "hull", "--json", "-q"]
    whole = json.loads(call(front, trained, "render", run, "--out", trained / "whole.mp4", *rest).said)
    out = trained / "killed.mp4"
    folder = out.parent / f".{out.name}.render"

    def accounts() -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in folder.glob("part-*.json")}

    known: dict[str, int] = {}
    for attempt in range(TRIES):
        workers = ["--workers", 1 + attempt % 2]
        process = call(front, trained, "render", run, "--out", out, *rest, *workers, wait=False)
        kill_after(process, len(known), lambda: len(accounts()), chance.uniform(0, 0.3))
        row.tries += 1
        if out.exists():
            break
        now = accounts()
        row.lost += sum(now.get(name) != written for name, written in known.items())
        row.half += sum(plan.done(folder, plan.Part(int(name[5:10]), 0, 0)) is None for name in now)
        known = now
    if not out.exists():
        done = call(front, trained, "render", run, "--out", out, *rest)
        assert done.returncode == 0
        killed = json.loads(done.said)
        assert killed["resumed"] == 5 * len(known) and killed["pixels_sha256"] == whole["pixels_sha256"]
    assert call(front, trained, "verify", out, "--json").returncode == 0
    assert (row.lost, row.half) == (0, 0) and not folder.exists()
