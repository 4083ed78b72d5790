"""Files written whole or not at all, private files, and hashes of files."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
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


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
