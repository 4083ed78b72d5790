"""A training and a render that are killed again and again end as if they had not been. The whole suite only."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from faulty import KILLS, ROOT, TRIES, remount
from safetensors import SafetensorError
from safetensors.numpy import load_file

from curate.runtime.files import file_sha256
from render import plan

pytestmark = pytest.mark.skipif(TRIES == 1, reason="FACESET_FAULTS is not set: make faults kills trainings and renders")

FRONT = """
import sys
sys.path.insert(0, {root!r})
from render import plan
plan.PART = 5
from faceset import cli
sys.argv = ["faceset", *sys.argv[1:]]
if __name__ == "__main__":
    cli.main()
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


def kill(process: subprocess.Popen[str], chance: np.random.Generator, count) -> None:
    """At any moment of the work: soon after `count()` has risen, or some seconds after the start."""
    seen, end = count(), time.monotonic() + (120 if chance.random() < 0.7 else chance.uniform(0, 8))
    while process.poll() is None and count() <= seen and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.5))
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def trained(front: Path, head_facesets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed; its command in `train`."""
    folder = tmp_path_factory.mktemp("runs")
    assert call(front, folder, *train(head_facesets, folder / "whole")).returncode == 0
    return folder


def done_part(folder: Path, account: Path) -> bool:
    """Whether the part of the render to which the account belongs is whole."""
    return plan.done(folder, plan.RenderPart(int(account.name[5:10]), 0, 0)) is not None


def refused(front: Path, folder: Path, *arguments: object) -> tuple[int, str]:
    """Exit code and what its JSON says of the failure."""
    process = call(front, folder, *arguments)
    return process.returncode, json.loads(process.said)["error"]


def render(run: Path, clips: dict[str, Path], out: Path) -> list[object]:
    return ["render", run, "--footage", clips["target"], "--out", out, "--mask", "hull", "--json", "-q"]


def train(facesets: dict[str, Path], out: Path) -> list[object]:
    sides = ["--source", facesets["source"], "--target", facesets["target"], "--out", out]
    return ["train", *sides, "--preset", "tiny", "--steps", 24, "--save-every", 4, "--batch", 4, "--json", "-q"]


def test_a_training_killed_at_random(front, trained: Path, head_facesets, ledger) -> None:
    row, chance = ledger.row("train: kill -9 at a random moment"), np.random.default_rng(2)
    out, whole = trained / "killed", file_sha256(trained / "whole" / "model.safetensors")

    def saved() -> list[Path]:
        """The tensors of the checkpoints that are whole: whose JSON is there, which is written last."""
        return [path.with_suffix(".safetensors") for path in sorted((out / "checkpoints").glob("step-*.json"))]

    def go_on() -> list[object]:
        """What a user would add who begins again."""
        return ["--resume"] if saved() else ["--force"] if out.exists() else []

    for _ in range(KILLS * TRIES):
        kill(call(front, trained, *train(head_facesets, out), *go_on(), wait=False), chance, lambda: len(saved()))
        row.tries += 1
        for path in saved():
            try:
                load_file(path)
            except (SafetensorError, OSError):
                row.half += 1
        if (out / "model.safetensors").exists():
            assert file_sha256(out / "model.safetensors") == whole
            shutil.rmtree(out)
    last = max((int(p.stem.partition("-")[2]) for p in saved()), default=None)
    done = call(front, trained, *train(head_facesets, out), *go_on())
    assert done.returncode == 0
    found = json.loads(done.said)
    row.lost += found.get("resumed_from") != last
    assert found["steps"] == 24 and file_sha256(out / "model.safetensors") == whole
    assert (row.lost, row.half) == (0, 0)


def test_a_render_killed_at_random(front, trained: Path, head_clips, ledger) -> None:
    row, chance = ledger.row("render: kill -9 at a random moment"), np.random.default_rng(3)
    run = trained / "whole"
    whole = json.loads(call(front, trained, *render(run, head_clips, trained / "whole.mp4")).said)["pixels_sha256"]
    out = trained / "killed.mp4"
    folder = out.parent / f".{out.name}.render"

    def accounts() -> dict[str, int]:
        found: dict[str, int] = {}
        with suppress(FileNotFoundError):  # a render that ends removes its folder
            found |= {p.name: p.stat().st_mtime_ns for p in folder.glob("part-*.json")}
        return found

    known: dict[str, int] = {}
    for attempt in range(KILLS * TRIES):
        more = ["--workers", 1 + attempt % 2]
        process = call(front, trained, *render(run, head_clips, out), *more, wait=False)
        kill(process, chance, lambda: len(accounts()))
        row.tries += 1
        now = accounts()
        if out.exists():
            assert call(front, trained, "verify", out, "--json").returncode == 0
            out.unlink()
            known = accounts()
            continue
        row.lost += sum(now.get(name) != written for name, written in known.items())
        row.half += sum(not done_part(folder, folder / name) for name in now)
        known = now
    done = call(front, trained, *render(run, head_clips, out))
    assert done.returncode == 0
    killed = json.loads(done.said)
    assert killed["resumed"] == 5 * len(known) and killed["pixels_sha256"] == whole
    assert call(front, trained, "verify", out, "--json").returncode == 0
    assert (row.lost, row.half) == (0, 0) and not folder.exists()


def test_a_training_on_a_full_disk(front, trained: Path, head_facesets, small_disk, ledger) -> None:
    row, out = ledger.row("train: disk full"), small_disk / "run"
    one = next((trained / "whole" / "checkpoints").glob("*.safetensors")).stat().st_size
    remount(small_disk, f"size={one * 3 // 2}")
    code, row.message = refused(front, trained, *train(head_facesets, out))
    row.tries += 1
    assert code == 1 and "No space left" in row.message
    remount(small_disk, f"size={one * 12}")
    whole = list((out / "checkpoints").glob("step-*.json"))
    assert whole, "the first checkpoint had room"
    found = json.loads(call(front, trained, *train(head_facesets, out), "--resume").said)
    row.lost += found["resumed_from"] != max(int(p.stem.partition("-")[2]) for p in whole)
    assert file_sha256(out / "model.safetensors") == file_sha256(trained / "whole" / "model.safetensors")
    assert row.lost == 0


def test_a_render_on_a_full_disk(front, trained: Path, head_clips, small_disk, ledger) -> None:
    row, out, run = ledger.row("render: disk full"), small_disk / "out.mp4", trained / "whole"
    remount(small_disk, "size=100k")
    code, row.message = refused(front, trained, *render(run, head_clips, out))
    row.tries += 1
    assert code == 1 and "No space left" in row.message and not out.exists()
    remount(small_disk, "size=50m")
    folder = small_disk / ".out.mp4.render"
    finished = sum(
        plan.done(folder, plan.RenderPart(int(p.name[5:10]), 0, 0)) is not None for p in folder.glob("part-*.json")
    )
    done = call(front, trained, *render(run, head_clips, out))
    assert done.returncode == 0
    row.lost += json.loads(done.said)["resumed"] != 5 * finished
    assert call(front, trained, "verify", out, "--json").returncode == 0 and row.lost == 0
