"""The wheel: what an installation without the checkout gets."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("curate", "faceset", "render", "reports", "train")
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
CHECK = """
import sys
sys.path.insert(0, sys.argv[1])
import curate.app.launch, curate.face.weights, reports.page.page
from faceset import cli
assert all(m.__file__.startswith(sys.argv[1]) for m in (cli, curate, reports))
sys.argv = ["faceset", "--help"]
cli.main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `python -m build` makes it, from the source distribution; needs no network."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*PACKAGES, "tests", "docs", "benchmarks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.jpg"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    build("build_sdist", source, out)
    with tarfile.open(next(out.glob("*.tar.gz"))) as archive:
        archive.extractall(out, filter="data")
    build("build_wheel", next(path for path in out.iterdir() if path.is_dir()), out)
    return next(out.glob("faceset-*-py3-none-any.whl"))


def build(what: str, source: Path, out: Path) -> None:
    command = [sys.executable, "-c", BUILD, what, str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "would be ignored" not in done.stdout + done.stderr, "setuptools doubts a folder of data"


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_file_of_the_packages_is_in_the_wheel(names: set[str]) -> None:
    """Modules, templates, styles, scripts, licences of the weights, and the plugin of the App."""
    found = {p.relative_to(ROOT).as_posix() for k in PACKAGES for p in (ROOT / k).rglob("*") if p.is_file()}
    wanted = {name for name in found if "__pycache__" not in name}
    assert wanted - names == set()
    for one in (
        "faceset/cli.py",
        "curate/app/plugin/fiftyone.yml",
        "curate/app/plugin/__init__.py",
        "curate/licences/Apache-2.0.txt",
        "reports/templates/coverage.html",
        "reports/static/page.css",
    ):
        assert one in names


def test_nothing_else_is_in_the_wheel(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_has_its_licences_and_its_command(wheel: Path, names: set[str]) -> None:
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= names
    with ZipFile(wheel) as archive:
        commands = archive.read(f"{info}/entry_points.txt").decode()
        needs = archive.read(f"{info}/METADATA").decode()
    assert commands.split() == ["[console_scripts]", "faceset", "=", "faceset.__main__:main"]
    assert "Requires-Dist: matplotlib>=3.11\n" in needs, "the demo's portrait comes with matplotlib"


def test_the_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    command = [sys.executable, "-P", "-c", CHECK, str(tmp_path / "installed")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "demo" in done.stdout and "curate" in done.stdout
