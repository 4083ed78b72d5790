"""A project that is killed at random moments ends as if it had not been. The whole suite only."""

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

from curate.runtime.files import file_sha256

pytestmark = pytest.mark.skipif(TRIES == 1, reason="FACESET_FAULTS is not set: make faults kills whole projects")
STEPS = 60


def call(folder: Path, *arguments: object, out: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FACESET_CONFIG": str(folder.parent / "config")}
    command = [sys.executable, "-m", "faceset", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=out, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )


def begun(folder: Path, clips: dict[str, Path]) -> Path:
    folder.mkdir()
    for side, clip in clips.items():
        (folder / f"{side}.mp4").write_bytes(clip.read_bytes())
    assert call(folder, "init", folder, "--basis", "public-domain", "--steps", STEPS).wait(60) == 0
    return folder


def result(folder: Path) -> dict[str, object]:
    """What has to be the same."""
    import pandas as pd

    found: dict[str, object] = {"weights": file_sha256(folder / "runs/source-target/model.safetensors")}
    for side in ("source", "target"):
        found[side] = pd.read_parquet(folder / f"facesets/{side}/selection.parquet")["face_id"].tolist()
    measures = json.loads((folder / "renders/source-target/target.artifacts.json").read_text())
    found["findings"] = [[f["kind"], f["start"], f["end"]] for f in measures["findings"]]
    return found


def test_three_kills_change_nothing(head_clips: dict[str, Path], tmp_path: Path) -> None:
    whole = begun(tmp_path / "whole", head_clips)
    began = time.monotonic()
    assert call(whole, "run", whole / "project.toml", "-q").wait(600) == 0
    took, wanted = time.monotonic() - began, result(whole)
    chance = np.random.default_rng()
    folder, kills = begun(tmp_path / "killed", head_clips), 0
    for _ in range(3):
        process = call(folder, "run", folder / "project.toml", "-q")
        try:
            process.wait(float(chance.uniform(2, 0.7 * took)))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.wait(60)
    assert call(folder, "run", folder / "project.toml", "-q").wait(600) == 0
    assert kills and result(folder) == wanted
    assert not (folder / "earlier").exists()
    steps = [int(line.partition(",")[0]) for line in (folder / "runs/source-target/log.csv").read_text().split()[1:]]
    assert steps == sorted(set(steps)) and steps[-1] == STEPS
    began = time.monotonic()
    last = call(folder, "run", folder / "project.toml", out=subprocess.PIPE)
    said, _ = last.communicate(timeout=60)
    assert last.returncode == 0 and "nothing to do" in said
    print(f"{kills} kills; the idle run took {time.monotonic() - began:.1f} s")
