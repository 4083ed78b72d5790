"""Options are declared once: flags, help, checks and completion all follow the dataclass field."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
from typer.testing import CliRunner

from curate.errors import UsageError
from curate.options import check, literal_names, option, option_of, options_of
from curate.select.options import Floors, SelectionOptions, Weights
from curate.settings import Settings
from faceset import cli
from faceset.options import Given, Quiet, takes
from render.compositing.settings import MaskSettings, RenderSettings
from render.options import RenderOptions
from tests.command import call
from train.config import TrainConfig

COMMANDS: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]  # it is a group
VERBS = {
    "train": (TrainConfig,),
    "curate": (Settings, SelectionOptions, Floors, Weights),
    "select": (SelectionOptions, Floors, Weights),
    "render": (MaskSettings, RenderSettings, RenderOptions),
}
NO_OPTION = {
    (Settings, "scores"), (Settings, "models"), (SelectionOptions, "floors"), (SelectionOptions, "weights"),
    (SelectionOptions, "seed"), (RenderSettings, "mask"), (RenderOptions, "settings"),
    (TrainConfig, "grown"),
}  # fmt: skip


@pytest.mark.parametrize(("verb", "kind"), [(v, k) for v, kinds in VERBS.items() for k in kinds])
def test_every_field_has_its_flag_and_a_short_help(verb: str, kind: Any) -> None:
    flags = {name for parameter in COMMANDS[verb].params for name in parameter.opts}
    for field in fields(kind):
        if (kind, field.name) not in NO_OPTION:
            one = option_of(kind, field.name)
            assert one.flag in flags, f"{verb} lacks {one.flag}"
            assert 0 < len(one.help) <= 80, one.flag


@dataclass(frozen=True)
class Made:
    """A dataclass of this test."""

    depth: int = option(3, "How deep, in metres.", low=1, high=9)
    way: str = option("left", "Which way.", choices=("left", "right"))
    sure: bool = option(True, "Be sure.")
    rough: float | None = option(None, "How rough, 0 to 1.", low=0, high=1, flag="--most-rough")

    def __post_init__(self) -> None:
        check(self)


def test_a_field_is_all_that_a_flag_needs() -> None:
    seen: list[dict[str, Any]] = []
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @takes(Made)
    def verb(name: str, given: Given, quiet: Quiet = False) -> None:
        """Do it."""
        seen.append(given[Made])
        Made(**given[Made])

    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert "--depth N" in shown and "How deep, in metres. [default: 3]" in shown
    assert "--way left|right" in shown and "--sure / --no-sure" in shown and "--most-rough X" in shown
    done = CliRunner().invoke(app, ["x", "--depth", "5", "--no-sure", "--most-rough", "0.5", "-q"])
    assert done.exit_code == 0 and seen[-1] == {"depth": 5, "sure": False, "rough": 0.5}
    assert isinstance(CliRunner().invoke(app, ["x", "--depth", "10"]).exception, UsageError)
    assert CliRunner().invoke(app, ["x"]).exit_code == 0 and seen[-1] == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depth": 0}, "--depth 0: must be 1 to 9"),
        ({"way": "up"}, "--way up: must be one of left, right"),
        ({"rough": float("nan")}, "--most-rough nan: must be 0 to 1"),
        ({"rough": 10**400}, "must be 0 to 1"),
    ],
)
def test_checks_follow_the_field(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Made(**values)


def test_choices_are_read_from_the_literal_that_decides() -> None:
    from curate.exchange import exporting, pictures
    from curate.face import backends
    from curate.runtime import jobs
    from render.compositing import blend, colour, mask
    from render.output import coding

    assert option_of(Settings, "detector").choices == tuple(backends.DETECTORS)
    assert option_of(Settings, "landmarker").choices == tuple(backends.LANDMARKERS)
    assert option_of(Settings, "identifier").choices == tuple(backends.IDENTIFIERS)
    assert option_of(RenderSettings, "colour").choices == tuple(colour.METHODS)
    assert option_of(RenderSettings, "blend").choices == tuple(blend.MODES)
    assert option_of(MaskSettings, "keep").choices == tuple(mask.OUTLINES)
    assert option_of(RenderOptions, "codec").choices == tuple(coding.ENCODERS)
    assert option_of(RenderOptions, "preset").choices == tuple(coding.PRESETS)
    assert option_of(RenderOptions, "engine").choices == tuple(jobs.ENGINES)
    assert literal_names("curate.exchange.pictures:PROGRAMS") == pictures.PROGRAMS
    assert literal_names("curate.exchange.exporting:FORMATS") == exporting.FORMATS
    with pytest.raises(LookupError):
        literal_names("curate.exchange.exporting:NOTHING")


def test_choices_and_suggestions_are_completed() -> None:
    for verb, kinds in VERBS.items():
        completed = {p.opts[0]: p for p in COMMANDS[verb].params}
        for kind in kinds:
            for one in options_of(kind):
                for value in one.choices or one.suggestions:
                    found = completed[one.flag].shell_complete(typer.Context(COMMANDS[verb]), str(value))
                    assert str(value) in [item.value for item in found], one.flag


# ---- a user's own files of our packages' names

FOREIGN = "import sys\nsys.exit(3)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with files that have our packages' names, and end the process where they are imported."""
    for name in ("train", "render", "reports", "curate"):
        (tmp_path / f"{name}.py").write_text(FOREIGN)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "faceset", "train", "--help"),
        ("-m", "faceset", "--version"),
        ("-c", "import faceset; faceset.read; faceset.TrainConfig()"),
        ("script.py",),
    ],
    ids=" ".join,
)
def test_a_users_own_files_are_never_imported(folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "script.py").write_text("import faceset\nfaceset.read, faceset.config_of, faceset.RenderOptions()\n")
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_processes_that_are_started_find_ours_too(folder: Path) -> None:
    (folder / "script.py").write_text(
        "import multiprocessing\nimport faceset\n\n"
        "def where(name):\n    return __import__(name).__file__\n\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(where, ['curate', 'train']))\n"
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and str(folder) not in done.stdout, done.stderr


def test_a_module_of_our_name_that_was_imported_before_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    code = "import train, faceset"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "train.py was imported under that name: import faceset first" in done.stderr


# ---- the public namespace


def test_the_public_names() -> None:
    import faceset

    assert faceset.__all__ == sorted(
        "ConsentError Faces Faceset FacesetDataset FacesetError Floors FootageError MaskSettings RenderOptions "
        "RenderSettings Request SelectionOptions Settings Space TrainConfig UsageError Weights WorkError config_of "
        "curate inspect open_faceset read render select train verify".split()
    )
    for name in faceset.__all__:
        if name != "FacesetDataset":  # it needs FiftyOne's database: tests/curate/app/test_dataset_type.py
            assert getattr(faceset, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'wishes'"):
        faceset.wishes  # noqa: B018  # the access is what fails


def test_importing_it_is_light() -> None:
    code = "import sys, json, faceset; print(json.dumps([m for m in ('torch', 'fiftyone', 'cv2') if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "--version")
    assert code == 0 and out.startswith("faceset 0.")
