"""Files written whole or not at all, private files, and hashes of files."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from curate.errors import WorkError

FULL = {errno.ENOSPC, errno.EDQUOT}
LITTLE = 64 << 20
"""Bytes: a disk with less is full where a write to it or next to it failed."""
UMASK = os.umask(0o077)
"""The process's umask when it began: it cannot be read without being set, which other threads would see."""
os.umask(UMASK)


@contextmanager
def atomic(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Temporary file next to `path`, flushed and renamed to it at the end, or removed after an error.

    Only its owner can read the temporary file; the finished one has `mode`, less what the umask takes away. Raises
    OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")  # a longer one may be too long
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.chmod(temporary, mode & ~UMASK)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file of that mode whole or not at all. Raises OSError."""
    with atomic(path, mode) as temporary:
        temporary.write_bytes(content)


@contextmanager
def scratch(prefix: str = "faceset-") -> Iterator[Path]:
    """Folder for temporary files (in TMPDIR, else /tmp), removed at the end. Raises WorkError if that disk is full."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as error:
        message = f"{tempfile.tempdir or 'TMPDIR and /tmp'}: no temporary folder can be made there ({error.strerror})"
        raise WorkError(f"{message}: set TMPDIR to a folder that can be written") from None
    with folder as name, room_in(Path(name)):
        yield Path(name)


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Turn the error of a full disk into a WorkError that names the disk of temporary files, if it is that one."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL or (left := shutil.disk_usage(folder).free) > LITTLE:
            raise
        message = f"the disk of temporary files, {folder.parent}, is full ({left / 1e6:.1f} MB left)"
        raise WorkError(f"{message}: free space there, or set TMPDIR to a folder on another disk") from None


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
