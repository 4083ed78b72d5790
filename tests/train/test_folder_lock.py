from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate.errors import UsageError
from train import decoded
from train.config import TrainConfig
from train.fit import train
from train.folder_lock import HOLDER, LOCK, held
from train.run import open_run

HOLDS = """
import sys, time
from pathlib import Path
from train.folder_lock import held

with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_training_is_refused_until_the_first_has_died(
    tmp_path: Path, pair: tuple[Path, Path], config: TrainConfig
) -> None:
    out = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(out)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            for force in (False, True):
                with pytest.raises(UsageError, match=rf"--out {out}: process {process.pid} on .+ trains into it: wait"):
                    train(config, *pair, out, force=force)
            assert {path.name for path in out.iterdir()} == {LOCK, HOLDER}
        finally:
            process.send_signal(signal.SIGKILL)
    assert (out / HOLDER).is_file()  # of the dead process
    assert train(config, *pair, out).steps == config.steps
    assert not (out / HOLDER).exists()


def test_the_lock_leaves_a_folder_as_it_was(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine").touch()
    for folder in (kept, tmp_path / "new"):
        with pytest.raises(ZeroDivisionError), held(folder):
            assert (folder / HOLDER).is_file()
            raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert [path.name for path in kept.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_made_is_left_to_its_user(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with held(file / "run"), held(file):
        pass
    assert file.read_text() == "mine"


def test_two_trainings_in_one_process(tmp_path: Path) -> None:
    begun = time.monotonic()
    with held(tmp_path), pytest.raises(UsageError, match=f"process {os.getpid()} on"), held(tmp_path):
        pass
    assert time.monotonic() - begun < 5


def test_a_training_that_dies_while_it_decodes_says_whose_faces_it_left(
    tmp_path: Path, pair: tuple[Path, Path], config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("train.fit.setup", killed)
    with pytest.raises(ZeroDivisionError):
        train(config, *pair, tmp_path / "run", cache=tmp_path / "cache")
    assert (tmp_path / "cache" / "source.u8").is_file()
    found = decoded.read(tmp_path / "run")
    assert found is not None and found.caches == (str(tmp_path / "cache"),) and len(found.people) == 2
    monkeypatch.undo()
    train(config, *pair, tmp_path / "run", cache=tmp_path / "other")
    assert decoded.read(tmp_path / "run") is None
    noted = [place for _, place in open_run(tmp_path / "run").caches or ()]
    assert sorted(noted) == [str(tmp_path / "cache"), str(tmp_path / "other")], "forget finds both"
