"""Files that are written whole or not at all, and private ones."""

import stat
from pathlib import Path

import pytest

from curate.runtime.files import atomic, file_sha256, write_whole


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
