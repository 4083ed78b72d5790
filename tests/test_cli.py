"""The command line: help stays light, wrong calls are one line and exit 2, the machine's faults exit 1."""

from __future__ import annotations

import errno
import importlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from curate.errors import StoppedError
from curate.runtime.files import write_whole
from curate.words import many, quoted, visible
from faceset import console, messages
from tests.command import call

VERBS = (
    "init run curate select people report app train pretrain forecast remove merge cut "
    "render inspect verify doctor demo import export prune forget"
).split()
HELP = """
import sys; from faceset import cli
for verb in {verbs}:
    sys.argv = ["faceset", verb, "--help"]
    try:
        cli.main()
    except SystemExit as end:
        assert end.code == 0, (verb, end.code)
heavy = [m for m in ("torch", "fiftyone", "cv2", "sklearn", "umap", "pandas", "av") if m in sys.modules]
assert not heavy, heavy
"""


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    """The command line sets the loggers' levels; other tests are not to see that."""
    loggers = [logging.getLogger(name) for name in ("curate", "reports", "train", "render")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def run(*arguments: str | Path, **kwargs) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "faceset", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **kwargs)


def test_help_of_every_verb_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP.format(verbs=VERBS)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert all(f"faceset {verb}" in done.stdout for verb in VERBS)


ME = ("--subject", "A", "--basis", "research")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """Exit code and the one line on stderr."""
    code, out, err = call(capsys, *arguments)
    assert out == ""
    lines = [line for line in err.splitlines() if line]
    assert len(lines) == 1, err
    assert lines[0].startswith("faceset: ")
    return code, lines[0]


def test_wrong_calls_exit_2_with_one_line(capsys, tmp_path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_text("no video")
    out = tmp_path / "set"
    cases = {
        ("curate", clip, "--out", out, "--basis", "research"): "--subject is missing",
        ("curate", clip, "--out", out, "--subject", "A"): "--basis is missing",
        ("curate", clip, "--out", out, "--subject", "A", "--basis", "fun"): "--basis fun",
        ("curate", clip, *ME): "--out is missing",
        ("curate", clip, "--out", out, *ME, "--budget", "many"): "many",
        ("curate", clip, "--out", out, *ME, "--every", "0"): "--every 0",
        ("curate", clip, "--out", out, *ME, "--engine", "cloud"): "--engine cloud",
        ("curate", clip, "--out", out, *ME, "--landmarker", "x"): "--landmarker x",
        ("curate", tmp_path / "none.mp4", "--out", out, *ME): "no such file",
        ("curate", clip, "--out", tmp_path, *ME): "is not a faceset",
        ("select", tmp_path): "is not a faceset",
        ("train", "--source", tmp_path, "--target", tmp_path, "--out", out): "is not a faceset",
        ("render", tmp_path, "--footage", clip, "--out", tmp_path / "o.mp4"): str(tmp_path),
        ("dance",): "dance",
        ("curate", "", "--out", out, *ME): "empty",
        ("select", ""): "an argument: is empty",
        ("train", "--source", tmp_path, "--target", tmp_path, "--out="): "--out: is empty",
        ("curate", clip, "--out", "\udcff", *ME): "--out \\xff: is not UTF-8 text",
        ("select", tmp_path, "--budget", "9" * 5000): "must be a number of faces",
        ("export", tmp_path, "--format", "x", "--out", out): "webdataset, dfm",
        ("inspect", clip, "--out", clip): "must be the name of an .html page",
        ("demo", "--seconds", "nan", "--out", out): "--seconds nan",
        ("select", tmp_path, "--max-identity-distance", "-1"): "--max-identity-distance -1",
        ("curate", clip, "--colour"): "--colour",
    }
    for arguments, words in cases.items():
        code, line = refused(capsys, *arguments)
        assert (code, words in line) == (2, True), (arguments, line)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4"]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("train --steps x", "--steps x: must be a whole number (see faceset train --help)"),
        ("train --lr=0,1", "--lr 0,1: must be a number (see faceset train --help)"),
        ("train --stepss 3", "--stepss: no such option; did you mean --steps? (see faceset train --help)"),
        ("train --preset", "--preset: needs a value (see faceset train --help)"),
        ("render", "RUN is missing (see faceset render --help)"),
        ("doctor extra", "extra: unexpected; quote names that contain spaces (see faceset doctor --help)"),
        ("dance", "dance: no such verb (see faceset --help)"),
    ],
)
def test_the_parser_speaks_as_the_rest_does(capsys, call: str, line: str) -> None:
    places = ("--source", "a", "--target", "b", "--out", "c") if call.startswith("train") else ()
    verb, *rest = call.split()
    assert refused(capsys, verb, *places, *rest) == (2, f"faceset: {line}")


def test_a_name_that_looks_like_an_option_gets_advice(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-zq.mp4").write_text("")
    line = "faceset: -zq.mp4: looks like an option; write ./-zq.mp4 (see faceset curate --help)"
    assert refused(capsys, "curate", "-zq.mp4", "--out", "a") == (2, line)


def test_numbers_agree_with_their_nouns_and_paths_are_quoted() -> None:
    assert [many(n, "face") for n in (0, 1, 1234)] == ["0 faces", "1 face", "1,234 faces"]
    assert many(1, "entry", "entries") == "1 entry" and many(2, "entry", "entries") == "2 entries"
    done = {"steps": 1, "ended": "finished", "ssim": 0.5, "nearer": None, "performance": {}, "seconds": 2.0}
    assert messages.trained(Path("run"))({**done, "device_hours": None}).startswith("run: 1 step (finished)")
    assert quoted("/my clips/a.mp4") == "'/my clips/a.mp4'" and quoted("/clips/a.mp4") == "/clips/a.mp4"


def test_what_can_be_checked_is_checked_before_any_work(capsys, tmp_path, write_video, numbered_frames) -> None:
    clip, out = write_video(tmp_path / "clip.mp4", numbered_frames(3)), tmp_path / "o.mp4"
    (tmp_path / "file").write_text("x")
    render = ("render", tmp_path, "--footage", clip, "--out", out)
    still = ("render", tmp_path, "--footage", clip, "--out", tmp_path / "o.png", "--still", "0")
    curate = ("curate", clip, "--out", tmp_path / "set", *ME)
    train = ("train", "--source", tmp_path, "--target", tmp_path, "--out", tmp_path / "run")
    cases = {
        (*render, "--tsa", "foo"): "--tsa foo: is not the address",
        (*render, "--device", "foo"): "--device foo: must be auto, cpu",
        (*render, "--frames", tmp_path / "file"): "file: is a file",
        (*render, "--masks", tmp_path / "file"): "file: is a file",
        (*render, "--alpha"): "--alpha: has no effect without --frames",
        (*render, "--frames-as", "png"): "--frames-as: has no effect without --frames",
        (*render, "--frames", tmp_path / "new", "--layers"): "--layers: needs --frames-as exr",
        (*render, "--frames", tmp_path / "new", "--exr-space", "aces"): "--exr-space: needs --frames-as exr",
        (*still, "--range", "0-1"): "--range: has no effect with --still",
        (*still, "--frames", tmp_path / "new"): "--frames: has no effect with --still",
        (*curate, "--for", tmp_path / "none"): "none is not a faceset",
        (*curate, "--gpus", "0.5"): "--gpus: has no effect without --engine ray",
        (*curate, "--evidence", tmp_path): "is a folder",
        (*train, "--workers", "2"): "--workers: has no effect without --engine ray",
        ("app", tmp_path, "--port", "99999", "--load-only"): "--port 99999: must be 1 to 65535",
        ("verify", tmp_path): "is a folder",
        ("render", tmp_path, "--footage", f"{clip}@0-1", "--range", "0-1", "--out", out): "has a range already",
        ("curate", f"{clip}@90-95", "--out", tmp_path / "set", *ME): "the range contains no frame; the clip's last",
        ("inspect", clip, "--reference", f"{clip}@90-95"): "the range contains no frame",
    }
    for arguments, words in cases.items():
        code, line = refused(capsys, *arguments)
        assert (code, words in line) == (2, True), (arguments, line)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "file"]


def test_missing_packages_are_named_before_any_work(capsys, monkeypatch, tmp_path, seeds) -> None:
    seeds.run(run := tmp_path / "run")
    clip = seeds.clip(tmp_path / "clip.mp4", "libx264", "yuv420p", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    render = ("render", run, "--footage", clip, "--out", tmp_path / "o.mp4")
    for arguments, words in (
        (("curate", clip, "--out", tmp_path / "set", *ME, "--engine", "ray"), "Ray is not installed"),
        ((*render, "--engine", "ray"), "Ray is not installed"),
        ((*render, "--frames", tmp_path / "new", "--frames-as", "exr"), "OpenEXR, which is not installed"),
    ):
        code, line = refused(capsys, *arguments)
        assert (code, words in line) == (1, True), line
    assert not (tmp_path / "new").exists() and not (tmp_path / "set").exists()


def test_useless_footage_exits_1_and_leaves_nothing(capsys, tmp_path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_text("this is a text file\n" * 100)
    empty = tmp_path / "empty"
    empty.mkdir()
    for footage, words in ((clip, "clip.mp4"), (empty, "neither videos nor photos")):
        code, line = refused(capsys, "curate", footage, "--out", tmp_path / "set", *ME)
        assert code == 1 and words in line
    assert not (tmp_path / "set").exists()


NAMES = ("two\nlines.mp4", "\x1b[2Jcleared.mp4", "line\u2028separator.mp4", os.fsdecode(b"caf\xe9.mp4"))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_with_control_characters_is_one_line(capsys, monkeypatch, tmp_path, name) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's: ours writes to stderr
    clip, out = tmp_path / name, tmp_path / f"set of {name}"
    clip.write_text("no video")
    for arguments in (("curate", clip, "--out", out, *ME), ("select", clip), ("inspect", clip), ("report", out)):
        code, line = refused(capsys, *arguments)
        assert code in (1, 2) and visible(name) in line, line
        assert line.isprintable()
    code, told, err = call(capsys, "verify", clip)  # a line of the log and a result
    assert (code, len(told.splitlines()), len(err.splitlines())) == (1, 1, 1)
    assert visible(name) in err and err.strip().isprintable()


def test_results_show_names_in_one_line_and_json_keeps_them(capsys) -> None:
    result = {"left": {f"/a/{NAMES[0]}": "kept"}, "out": Path(NAMES[3])}
    console.say(False, result, lambda r: "\n".join([*r["left"], str(r["out"])]))
    assert capsys.readouterr().out == "/a/two\\nlines.mp4\ncaf\\xe9.mp4\n"
    console.say(True, result, str)
    told = json.loads(capsys.readouterr().out.encode())
    assert told["left"] == result["left"] and os.fsencode(told["out"]) == b"caf\xe9.mp4"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize("name", [*NAMES[:2], NAMES[3], "a 'b'\\n\n.mp4", "it's.mp4", "plain.mp4"])
def test_a_quoted_path_is_the_path_again_in_a_shell(name) -> None:
    assert quoted(name).isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {quoted(name)}"], capture_output=True, check=True)
    assert done.stdout == os.fsencode(name)


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="no /proc: nothing here that root cannot write")
def test_an_unwritable_place_exits_1(capsys, tmp_path, write_video, numbered_frames) -> None:
    clip = write_video(tmp_path / "clip.mp4", numbered_frames(3))
    code, line = refused(capsys, "curate", clip, "--out", "/proc/nowhere/set", *ME)
    assert code == 1 and "/proc/nowhere/set" in line


def test_footage_without_a_face_exits_1_and_leaves_nothing(capsys, tmp_path, write_video, numbered_frames) -> None:
    clip = write_video(tmp_path / "grey.mp4", numbered_frames(5))
    code, line = refused(capsys, "curate", clip, "--out", tmp_path / "set", *ME, "--workers", "1", "-q")
    assert code == 1 and "no face" in line
    assert not (tmp_path / "set").exists()


def test_a_full_disk_is_one_line(capsys, monkeypatch, tmp_path) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/set/parts/a.parquet")

    monkeypatch.setattr("curate.extract.pipeline.curate", full)
    code, line = refused(capsys, "curate", tmp_path, "--out", tmp_path / "set", *ME)
    assert code == 1 and "/data/set/parts/a.parquet: No space left on device" in line


def test_long_names_of_outputs_are_written_and_too_long_ones_told(capsys, monkeypatch, tmp_path) -> None:
    write_whole(tmp_path / ("n" * 255), b"cut")
    assert len(next(tmp_path.iterdir()).name) == 255

    def long(*_: object, **__: object) -> None:
        write_whole(tmp_path / ("n" * 256), b"")

    monkeypatch.setattr("curate.extract.pipeline.curate", long)
    code, line = refused(capsys, "curate", tmp_path, "--out", tmp_path / "set", *ME)
    assert code == 1 and "nnn: File name too long" in line


def test_ctrl_c_at_any_moment_is_one_line(capsys, monkeypatch, tmp_path) -> None:
    started = importlib.import_module("faceset.__main__")
    monkeypatch.setitem(sys.modules, "faceset.cli", Interrupting("cli"))
    last: list[list[int]] = []
    monkeypatch.setattr(started.atexit, "register", lambda call, ended: last.append(ended))
    with pytest.raises(SystemExit) as end:
        started.main()
    assert (end.value.code, capsys.readouterr().err) == (130, "faceset: interrupted\n")
    assert last == [[130]]
    monkeypatch.undo()

    def stopped(*_: object, **__: object) -> None:
        raise StoppedError("stopped by SIGINT at step 9; a checkpoint was saved, continue with --resume")

    monkeypatch.setattr("train.fit.train", stopped)
    code, line = refused(capsys, "train", "--source", tmp_path, "--target", tmp_path, "--out", tmp_path / "run")
    assert (code, line) == (130, f"faceset: {StoppedError('stopped by SIGINT at step 9; a checkpoint was saved')}"
                            ", continue with --resume")  # fmt: skip


@pytest.mark.parametrize(("loaded", "code", "ended"), [(True, 0, [0]), (True, 1, [1]), (False, 0, []), (True, 2, [])])
def test_what_fiftyone_has_made_is_not_cleared_away_at_the_end(monkeypatch, loaded, code, ended) -> None:
    started = importlib.import_module("faceset.__main__")
    last: list[list[int]] = []
    monkeypatch.setattr(started.atexit, "register", lambda call, ended: last.append(ended))
    monkeypatch.setattr("faceset.cli.main", lambda: sys.exit(code))
    monkeypatch.setattr(
        started.sys, "modules", {**sys.modules, **({"fiftyone": ModuleType("fiftyone")} if loaded else {})}
    )
    if not loaded:
        started.sys.modules.pop("fiftyone", None)
    with pytest.raises(SystemExit) as end:
        started.main()
    assert (end.value.code, last) == (code, [ended])


class Interrupting(ModuleType):
    """A module during whose import somebody presses Ctrl-C."""

    def __getattr__(self, name: str) -> object:
        raise KeyboardInterrupt


def test_a_folder_that_cannot_be_written_is_named_and_no_temporary_file(capsys, monkeypatch, tmp_path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EACCES, "Permission denied", "/data/set/.faces.parquet.k3j2")

    monkeypatch.setattr("curate.extract.pipeline.curate", refuse)
    code, line = refused(capsys, "curate", tmp_path, "--out", tmp_path / "set", *ME)
    assert (code, line) == (1, "faceset: the folder /data/set: Permission denied; finished work is kept")


def test_the_module_runs_as_a_script() -> None:
    done = run("--help")
    assert done.returncode == 0 and "curate" in done.stdout
