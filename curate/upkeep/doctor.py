"""Installation check: what is installed, what is missing, and the command that fixes it. Imports no heavy package."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.version import Version

from curate.app import mongod
from curate.errors import FacesetError
from curate.face import weights as models
from curate.face.backends import fan_weights
from curate.runtime.cache import cache_folder, made_cache_folder

State = Literal["ok", "missing", "warn"]
FIX = "faceset doctor --fix"
PYTHON = (3, 11)
DISK_GB = 2.0
"""Free space below which the cache's disk gets a warning."""
PATIENCE = 180.0
"""Seconds that a package may take to load on a slow disk."""
_OPENCVS = ("opencv-python", "opencv-python-headless")


@dataclass(frozen=True)
class Check:
    """Result of one check."""

    name: str
    state: State
    """missing: something that faceset cannot do without; warn: something optional, or slower than it could be."""
    detail: str
    fix: str | None = None
    """The command that fixes it, if there is one."""


def checks(signing_key: Path | None = None) -> list[Check]:
    """All checks, in the order in which they are reported. Changes nothing except creating the cache folder.

    `signing_key` is where this installation's key lies or will lie; None leaves that check out.
    """
    found = [
        _python(),
        *_packages(),
        _opencv(),
        *_weights(),
        _face_alignment(),
        _ffmpeg(),
        _gpu(),
        _cache(),
        _fiftyone(),
        _mongod(),
        _database(),
        _ray(),
    ]
    return found if signing_key is None else [*found, _signing(signing_key)]


def required_missing(found: Iterable[Check]) -> bool:
    """Whether something required is missing, which sets the exit code."""
    return any(check.state == "missing" for check in found)


def repair(found: Iterable[Check]) -> list[str]:
    """Fix what can be fixed without root and without changing packages; one line per attempt.

    Fetches weights that are missing, and the database server. Nothing is done for checks that are ok.
    """
    done = []
    for check in found:
        if check.fix != FIX:
            continue
        try:
            path = mongod.ensure() if check.name == "mongod" else models.fetch(check.name)
        except FacesetError as error:
            done.append(f"{check.name}: {error}")
        else:
            done.append(f"{check.name}: {path}")
    return done


def requirements() -> list[Requirement]:
    """What faceset requires on this Python, extras left out.

    From the installed package's metadata, or `pyproject.toml` where faceset runs from its source folder.
    """
    try:
        lines = importlib.metadata.requires("faceset") or []
    except importlib.metadata.PackageNotFoundError:
        source = Path(__file__).parents[2] / "pyproject.toml"
        lines = tomllib.loads(source.read_text(encoding="utf-8"))["project"]["dependencies"] if source.is_file() else []
    wanted = [Requirement(line) for line in lines]
    return [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python() -> Check:
    wanted = ".".join(map(str, PYTHON))
    if sys.version_info < PYTHON:
        return Check("python", "missing", f"{platform.python_version()}; {wanted} or newer is required")
    return Check("python", "ok", f"{platform.python_version()} ({sys.executable})")


def _packages() -> list[Check]:
    return [_package(requirement) for requirement in requirements()]


def _package(wanted: Requirement) -> Check:
    version = _installed(wanted.name)
    if version is not None and wanted.specifier.contains(version, prereleases=True):
        return Check(wanted.name, "ok", version)
    command = f"pip install '{wanted.name}{wanted.specifier}'"
    return Check(wanted.name, "missing", f"{version or 'not installed'}; {wanted.specifier} is required", command)


def _run(command: list[str]) -> tuple[bool, str]:
    """Whether a command ends well, and its output (its last line of errors where not)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    if done.returncode:
        return False, (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    return True, done.stdout.strip()


def _opencv() -> Check:
    """Which of the two builds that share one folder is imported as cv2, and whether it loads."""
    versions = {name: v for name in _OPENCVS if (v := _installed(name))}
    newest = max(versions.values(), key=Version, default="")
    command = f"pip install --force-reinstall --no-deps opencv-python-headless=={newest}" if newest else None
    found = ", ".join(f"{name} {version}" for name, version in versions.items()) or "no opencv"
    ends_well, output = _run(
        [sys.executable, "-c", "import cv2; print(cv2.__version__); print(cv2.getBuildInformation())"]
    )
    if not ends_well:
        return Check("cv2", "missing", f"does not load: {output} ({found})", command)
    gui = re.search(r"^\s*GUI:\s*(\S+)", output, re.MULTILINE)
    if len(set(versions.values())) > 1:
        return Check("cv2", "warn", f"two versions are installed in one folder: {found}", command)
    if gui is None or gui[1] != "NONE":
        kind = gui[1] if gui else "unknown"
        return Check(
            "cv2", "warn", f"the build with windows ({kind}) is imported; it fails on machines without libGL", command
        )
    return Check("cv2", "ok", f"{output.splitlines()[0]}, headless build")


def _weights() -> list[Check]:
    found = []
    for name, weights in models.WEIGHTS.items():
        path = models.cached(name)
        if path is None and weights.choice:
            fetched = f"optional; {weights.choice} fetches it into {cache_folder()}"
            found.append(Check(name, "warn", fetched))
        elif path is None:
            found.append(Check(name, "missing", f"not in {cache_folder()}: {weights.what}", FIX))
        else:
            found.append(Check(name, "ok", f"{path}, hash verified"))
    return found


def _face_alignment() -> Check:
    """The weights of the other detector and landmarkers, which nobody needs who does not name them."""
    name, folder = "face-alignment weights", fan_weights.folder()
    lacking = {choice: files for choice in fan_weights.NEEDS if (files := fan_weights.missing(choice))}
    if not lacking:
        return Check(name, "ok", str(folder))
    urls = [file.url for files in lacking.values() for file in files]
    command = ["curl", "--create-dirs", "--output-dir", str(folder), "--remote-name-all", *urls]
    return Check(name, "warn", f"optional, for {', '.join(lacking)}; not in {folder}", shlex.join(command))


def _ffmpeg() -> Check:
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return Check("ffmpeg", "missing", "imageio-ffmpeg is not installed", "pip install imageio-ffmpeg")
    import imageio_ffmpeg

    try:
        binary = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        again = "pip install --force-reinstall --no-deps imageio-ffmpeg"
        return Check("ffmpeg", "missing", str(error).splitlines()[0], again)
    ends_well, output = _run([binary, "-hide_banner", "-encoders"])
    if not ends_well:
        return Check("ffmpeg", "missing", f"{binary} does not run: {output}")
    if "libx264" not in output:
        return Check(
            "ffmpeg", "missing", f"{binary} has no libx264: unset IMAGEIO_FFMPEG_EXE, or point it to another binary"
        )
    return Check("ffmpeg", "ok", f"{binary}, with libx264")


_ASK_TORCH = """
import json, torch
cards = []
if torch.cuda.is_available():
    for i in range(torch.cuda.device_count()):
        p = torch.cuda.get_device_properties(i)
        cards.append(f"{p.name}, {p.total_memory / 2**30:.1f} GB")
elif torch.backends.mps.is_available():
    cards.append("Apple GPU (mps)")
print(json.dumps([torch.__version__, cards]))
"""


def _gpu() -> Check:
    """In a process of its own: torch takes seconds and hundreds of megabytes to load."""
    ends_well, output = _run([sys.executable, "-c", _ASK_TORCH])
    if not ends_well:
        return Check("gpu", "missing", f"torch does not load: {output}", "pip install --force-reinstall torch")
    version, cards = json.loads(output.splitlines()[-1])
    if not cards:
        return Check(
            "gpu", "warn", f"torch {version} finds none: training runs on the CPU, with the presets tiny and small"
        )
    return Check("gpu", "ok", "; ".join(cards))


def _cache() -> Check:
    folder = cache_folder()
    try:
        made_cache_folder()
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        other = "export FACESET_CACHE=FOLDER"
        return Check("cache", "missing", f"{folder} cannot be written ({error.strerror})", other)
    return Check("cache", "ok" if free >= DISK_GB else "warn", f"{folder}, {free:.1f} GB free")


def _fiftyone() -> Check:
    version = _installed("fiftyone")
    if version is None:
        return Check("fiftyone", "warn", "not installed; required by faceset app", "pip install 'faceset[app]'")
    return Check("fiftyone", "ok", version)


def _mongod() -> Check:
    """The database of `faceset app`."""
    if (named := mongod.external()) is not None:
        return Check("mongod", "ok", f"the database given by you, {_without_password(named)}")
    if mongod.place() is None:
        return Check("mongod", "warn", "not checked, because FiftyOne is not installed")
    server = mongod.find()
    if server is None:
        return Check("mongod", "warn", "FiftyOne has no MongoDB server; required by faceset app", FIX)
    try:
        return Check("mongod", "ok", f"{mongod.version(server)} ({server})")
    except FacesetError as error:
        return Check("mongod", "warn", str(error))


def _database() -> Check:
    """The version of the App's database, which is started to ask it; nothing is started where there is none yet."""
    folder = mongod.folder()
    if _installed("fiftyone") is None or mongod.external() is not None or mongod.find() is None:
        return Check("database", "ok", "not checked")
    if not folder.is_dir() or not any(folder.iterdir()):
        return Check("database", "ok", f"none yet; faceset app creates it in {folder}")
    ends_well, output = _run(
        [sys.executable, "-c", "from curate.app.launch import database_version; print(database_version())"]
    )
    if not ends_well:
        return Check("database", "warn", re.sub(r"^[\w.]+Error: ", "", output))
    return Check("database", "ok", f"of FiftyOne {output.splitlines()[-1]}, in {folder}")


def _without_password(uri: str) -> str:
    return re.sub(r"//[^@/]*@", "//", uri)


def _ray() -> Check:
    version = _installed("ray")
    if version is None:
        return Check("ray", "warn", "not installed; required by curate --engine ray", "pip install 'faceset[cluster]'")
    return Check("ray", "ok", version)


def _signing(path: Path) -> Check:
    if not path.is_file():
        return Check("signing key", "warn", f"none yet; the first render creates {path}")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        return Check("signing key", "warn", f"{path} is readable by other users", f"chmod 600 {path}")
    return Check("signing key", "ok", str(path))
