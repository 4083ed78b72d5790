"""What scripts read: one JSON object on stdout of every verb, also when it fails, JSON lines on stderr, completion.

That train, render, inspect and verify print their object when they succeed is in test_end_to_end.py.
"""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer.main

from curate.runtime import logs
from curate.runtime.progress import Bar
from faceset import cli
from tests.command import call as called

ROOT = Path(cli.__file__).parents[1]
COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]  # it is a group


@pytest.fixture(autouse=True)
def _untouched() -> Iterator[None]:
    """The command line sets levels, the environment and a hook; other tests are not to see that."""
    names = ("faceset", "curate", "reports", "train", "render")
    levels, hook = [logging.getLogger(n).level for n in names], sys.excepthook
    yield
    for name, level in zip(names, levels, strict=True):
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(False)
    sys.excepthook = hook
    os.environ.pop(logs.VARIABLE, None)


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict, str]:
    """Run the command line in this process: exit code, the one object on stdout, stderr."""
    code, out, err = called(capsys, *arguments)
    assert out.count("\n") == 1, out
    return code, json.loads(out, parse_constant=lambda word: pytest.fail(word)), err


def test_every_verb_has_json_and_quiet() -> None:
    for verb, command in COMMANDS.items():
        flags = {flag for param in command.params for flag in param.opts}
        assert {"--json", "--quiet"} <= flags, verb


def test_every_verb_that_is_called_wrongly_says_so_in_json(capsys) -> None:
    for verb in COMMANDS:
        code, found, err = call(capsys, verb, "--json", "--no-such-flag")
        assert code == found["exit"] == 2 and "--no-such-flag" in found["error"], verb
        assert err == f"faceset: {found['error']}\n"


def test_work_that_fails_says_so_in_json(capsys, tmp_path) -> None:
    (tmp_path / "clip.mp4").write_text("no video")
    me = ("--out", tmp_path / "set", "--subject", "A", "--basis", "research", "--json")
    code, found, _ = call(capsys, "curate", tmp_path / "clip.mp4", *me)
    assert code == found["exit"] == 1 and "clip.mp4" in found["error"]
    for verb in ("select", "people", "report", "app"):
        code, found, _ = call(capsys, verb, tmp_path, "--json")
        assert code == found["exit"] == 2 and "is not a faceset" in found["error"], verb
    code, found, _ = call(capsys, "inspect", tmp_path / "clip.mp4", "--json")
    assert code == found["exit"] == 1
    code, found, _ = call(capsys, "demo", "--out", tmp_path, "--json")
    assert code == found["exit"] == 2 and "is not empty" in found["error"]


def test_verbs_that_no_other_test_asks_for_json(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("curate.app.launch.load", lambda folders, ask=None: [f"{f.name}-1" for f in folders])
    monkeypatch.setattr("curate.app.launch.launch", lambda folders, opened, **_: opened("http://127.0.0.1:5151/x"))
    monkeypatch.setattr("render.demo.demo", lambda out, **_: [("render", out / "render.mp4")])
    assert call(capsys, "app", "her", "him", "--load-only", "--json")[:2] == (0, {"datasets": ["her-1", "him-1"]})
    assert call(capsys, "app", "her", "--json")[1] == {"address": "http://127.0.0.1:5151/x"}
    made = {"made": [{"what": "render", "path": str(tmp_path / "render.mp4")}]}
    assert call(capsys, "demo", "--out", tmp_path, "--json")[:2] == (0, made)
    code, found, _ = call(capsys, "doctor", "--json", "-q")
    assert code in (0, 1) and found["checks"][0].keys() >= {"name", "state"}


def test_a_bug_is_an_object_too(tmp_path) -> None:
    script = (
        "import sys, curate.extract.pipeline; from faceset import cli\n"
        "def broken(*_): raise ValueError('odd')\n"
        "curate.extract.pipeline.curate = broken\n"
        f"sys.argv = ['faceset', *sys.argv[1:], 'curate', 'x', '--out', {str(tmp_path / 'set')!r}, '--json']\n"
        "cli.main()"
    )
    for more in ([], ["--log-json"]):
        command = [sys.executable, "-c", script, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
        assert done.returncode == 1
        assert json.loads(done.stdout) == {"error": "ValueError: odd", "exit": 1}
        lines = done.stderr.splitlines()
        if more:
            assert [json.loads(line)["level"] for line in lines] == ["critical"]
            assert "in broken" in json.loads(lines[0])["traceback"]
        else:
            assert lines[0].startswith("Traceback") and lines[-1] == "ValueError: odd"


def test_logs_and_progress_as_json_lines(head_clips, tmp_path) -> None:
    me = ("--out", tmp_path / "set", "--subject", "Ä", "--basis", "public-domain", "--workers", "2", "--every", "4")
    command = [sys.executable, "-m", "faceset", "--log-json", "curate", head_clips["source"], *me, "--json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kept"] > 0
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    last = [line for line in lines if line["logger"] == "progress"]
    assert last and all(line["done"] == line["total"] > 0 for line in last if line["done"] >= line["total"])
    assert {line["stage"] for line in last} and last[0]["time"].endswith("Z")


def test_errors_as_json_lines(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv(logs.VARIABLE, "json")
    _, found, err = call(capsys, "select", tmp_path, "--json")
    line = json.loads(err)
    assert (line["level"], line["logger"], line["message"]) == ("error", "faceset", found["error"])
    monkeypatch.setenv(logs.VARIABLE, "yaml")
    code, found, _ = call(capsys, "select", tmp_path, "--json")
    assert code == 2 and "FACESET_LOG=yaml" in found["error"]


def test_a_line_holds_an_exception_and_the_time() -> None:
    try:
        raise KeyError("ß")
    except KeyError:
        record = logging.LogRecord("curate.x", logging.ERROR, "f.py", 1, "two\nlines %d", (3,), sys.exc_info())
    record.created = 0.25
    text = logs.JsonLines().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert (line["time"], line["level"], line["message"]) == ("1970-01-01T00:00:00.250Z", "error", "two\nlines 3")
    assert "KeyError: 'ß'" in line["traceback"]


def test_progress_says_the_end_of_a_stage(capsys, monkeypatch) -> None:
    monkeypatch.setenv(logs.VARIABLE, "json")
    bar = Bar()
    for done in range(4):
        bar("reading", done, 3)
    (line,) = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert (line["stage"], line["done"], line["total"]) == ("reading", 3, 3)


def test_json_is_strict() -> None:
    odd = {
        "nan": math.nan, "inf": np.float32(np.inf), "half": np.float32(0.5), "count": np.int64(3),
        "yes": np.bool_(True),
        "path": Path("a/b"), "rows": (np.array([1, 2]), {"deep": -math.inf}), "none": None, 5: "five",
    }  # fmt: skip
    assert json.loads(logs.to_json(odd)) == {
        "nan": None, "inf": None, "half": 0.5, "count": 3, "yes": True,
        "path": "a/b", "rows": [[1, 2], {"deep": None}], "none": None, "5": "five",
    }  # fmt: skip


# ---- completion


def completed(words: str) -> list[str]:
    """What bash is offered for the last of the words."""
    told = {"_FACESET_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    command = [sys.executable, "-c", "from faceset import cli; cli.main()"]
    done = subprocess.run(
        command, env=os.environ | told, capture_output=True, text=True, check=False, timeout=30, cwd=ROOT
    )
    return done.stdout.split()


def test_the_shell_completes_verbs_options_and_values() -> None:
    assert completed("faceset re") == ["remove", "report", "render"]
    assert set(completed("faceset train --pre")) == {"--preset", "--precision", "--preview-every"}
    assert completed("faceset train --preset ") == ["tiny", "small", "full", "large", "film"]
    assert completed("faceset render --codec pro") == ["prores", "prores4444"]
    assert completed("faceset render --mask ") == ["both", "model", "hull", "union"]


def test_the_script_for_bash() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from faceset import cli; cli.main()"],
        env=os.environ | {"_FACESET_COMPLETE": "source_bash"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=ROOT,
    )
    assert "complete -o default -F _faceset_completion faceset" in done.stdout
    checked = subprocess.run(["bash", "-n"], input=done.stdout, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
