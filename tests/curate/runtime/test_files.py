"""Files that are written whole or not at all, and private ones."""

import errno
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from curate.errors import WorkError
from curate.runtime import files
from curate.runtime.files import atomic, file_sha256, scratch, write_whole


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_file_is_private_from_its_first_byte(tmp_path: Path) -> None:
    with atomic(tmp_path / "key", 0o600) as temporary:
        assert mode(temporary) == 0o600
    write_whole(tmp_path / "page", b"page")
    assert (mode(tmp_path / "key"), mode(tmp_path / "page")) == (0o600, 0o644)


def test_a_failure_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_whole(path, b"before")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"before"
    assert list(path.parent.iterdir()) == [path]
    assert file_sha256(path).startswith("6db7d803e74f")


def test_a_full_disk_of_temporary_files_is_named_and_another_is_not(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    full = OSError(errno.ENOSPC, "Error writing bytes to file")  # as pyarrow has it: no file's name
    left = {"free": 12_000}
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, left["free"]))
    told = rf"temporary files, {tmp_path}, is full \(0\.0 MB left\): .* set TMPDIR"
    with pytest.raises(WorkError, match=told), scratch():
        raise full
    left["free"] = 1 << 40  # then it was another disk
    with pytest.raises(OSError, match="Error writing"), scratch():
        raise full
    left["free"] = 0
    with pytest.raises(PermissionError), scratch():
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_for_temporary_files_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(WorkError, match=r"none: no temporary folder can be made there .* set TMPDIR"), scratch():
        pass
