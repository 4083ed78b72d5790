"""The whole way by the command line on turntable heads: curated, trained a little, rendered, verified, inspected.

A few steps train no face: this tests that every stage takes what the one before left, and keeps its promises.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from render import pipeline, plan
from render.compositing.settings import MaskSettings, RenderSettings
from render.options import RenderOptions
from tests import command


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict]:
    """Run the command line in this process with --json: exit code and the object."""
    code, out, err = command.call(capsys, *arguments, "--json", "-q")
    assert out, err
    return code, json.loads(out)


def streams(path: Path) -> tuple[list[float], bytes, tuple[int, int]]:
    """Video times, the sound's bytes, size."""
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        times = sorted(float(p.pts * video.time_base) for p in container.demux(video) if p.pts is not None)
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        heard = b"".join(bytes(p) for p in container.demux(sound) if p.size)
        return times, heard, (container.streams.video[0].width, container.streams.video[0].height)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACESET_CONFIG", str(folder / "config"))
        yield folder


def test_select_again_without_the_footage(head_facesets, capsys, tmp_path) -> None:
    shutil.copytree(head_facesets["source"], tmp_path / "set")
    for budget, expected in (("1", 1), ("7", 7), ("9min", 40), ("auto", None)):
        code, found = call(capsys, "select", tmp_path / "set", "--budget", budget)
        assert code == 0 and found["selected"] == (expected or found["selected"]) > 0
        assert found["eligible"] <= 40
    assert 0 < found["keep_minutes"] <= found["minutes"] and found["distinct_faces"] > 0 and 0 < found["bound"] <= 1


def test_people_and_report(head_facesets, capsys, tmp_path) -> None:
    shutil.copytree(head_facesets["source"], tmp_path / "set")
    code, found = call(capsys, "people", tmp_path / "set")
    assert code == 0 and Path(found["sheet"]).is_file() and found["people"][0]["kept"] >= 38
    code, found = call(capsys, "report", tmp_path / "set")
    assert code == 0 and "<html" in Path(found["report"]).read_text()
    assert json.loads(Path(found["data"]).read_text())


def test_train_render_verify_inspect(head_facesets, head_clips, work: Path, capsys) -> None:
    sides = ("--source", head_facesets["source"], "--target", head_facesets["target"])
    code, trained = call(
        capsys, "train", *sides, "--out", work / "run", "--preset", "tiny", "--steps", "6", "--batch", "4"
    )
    assert code == 0 and trained["steps"] == 6 and trained["resumed_from"] is None
    assert (work / "run" / "model.safetensors").is_file()

    out = work / "out.mp4"
    code, rendered = call(
        capsys, "render", work / "run", "--footage", head_clips["target"], "--out", out, "--mask", "hull"
    )
    assert code == 0 and rendered["frames"] == 40 and rendered["swapped"] >= 38
    assert streams(out) == streams(head_clips["target"])
    assert Path(rendered["report"]).is_file() and Path(rendered["report"]).with_suffix(".json").is_file()

    code, papers = call(capsys, "verify", out)
    assert code == 0 and papers["state"] == "trusted"
    data = bytearray(out.read_bytes())
    at = int(np.random.default_rng(0).integers(1000, len(data)))
    data[at] ^= 1
    flipped = work / "flipped.mp4"
    flipped.write_bytes(data)
    code, papers = call(capsys, "verify", flipped)
    assert code == 1 and papers["state"] == "invalid"
    code, papers = call(capsys, "verify", head_clips["target"])
    assert code == 1 and papers["state"] == "missing"

    code, found = call(capsys, "inspect", out, "--reference", head_clips["target"])
    assert code == 0 and found["findings"], "six steps make no face"
    assert {"kind", "severity", "start", "end", "measure", "value", "threshold", "region"} <= set(found["findings"][0])


def test_two_processes_and_a_killed_render_make_the_same_pixels(head_clips, work: Path, monkeypatch) -> None:
    monkeypatch.setattr(plan, "PART", 10)
    calls = [(work / "run", head_clips["target"], work / f"{name}.mp4") for name in ("one", "two", "killed")]
    settings = RenderSettings(MaskSettings("hull"))
    one = pipeline.render(*calls[0], RenderOptions(settings, workers=1))
    two = pipeline.render(*calls[1], RenderOptions(settings, workers=2))
    assert two.pixels_sha256 == one.pixels_sha256 and two.resumed == 0
    script = "import sys; from pathlib import Path; from render import pipeline, plan; plan.PART = 10; "
    script += "from render.compositing.settings import MaskSettings, RenderSettings; "
    script += "from render.options import RenderOptions; "
    script += "hull = RenderOptions(RenderSettings(MaskSettings('hull')), workers=1); "
    script += "pipeline.render(*map(Path, sys.argv[1:]), hull)"
    folder = work / ".killed.mp4.render"
    with subprocess.Popen([sys.executable, "-c", script, *map(str, calls[2])]) as process:
        while process.poll() is None and not (folder / "part-00001.json").is_file():
            time.sleep(0.01)
        process.kill()
    assert not calls[2][2].exists() and not (folder / "part-00003.json").exists()
    killed = pipeline.render(*calls[2], RenderOptions(settings, workers=1))
    assert killed.resumed in (20, 30)
    assert killed.pixels_sha256 == one.pixels_sha256
    assert streams(calls[2][2]) == streams(head_clips["target"])


def test_footage_against_itself_has_no_findings(head_clips, work: Path, capsys) -> None:
    clip = head_clips["target"]
    code, found = call(capsys, "inspect", clip, "--reference", clip, "--out", work / "same.html")
    assert code == 0 and found["findings"] == []


def test_a_faceset_without_its_papers_is_refused(head_facesets, work: Path, capsys, tmp_path) -> None:
    shutil.copytree(head_facesets["source"], tmp_path / "set")
    manifest = tmp_path / "set" / "faceset.toml"
    manifest.write_text(manifest.read_text().replace('basis = "public-domain"\n', ""))
    sides = ("--source", tmp_path / "set", "--target", head_facesets["target"])
    code, _, message = command.call(capsys, "train", *sides, "--out", tmp_path / "run")
    assert code == 2 and "basis" in message and len(message.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
