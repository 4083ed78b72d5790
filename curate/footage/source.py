"""Identity of footage: size, time and hash, to detect files that changed after they were probed."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from curate.errors import FootageError
from curate.footage.paths import photos
from curate.runtime.files import file_sha256
from curate.types import Clip
from curate.words import quoted


@dataclass(frozen=True)
class Stamp:
    """State of a file, or of a folder's photos together, according to the file system."""

    size: int
    """Bytes."""
    changed: int
    """Time of the last change, ns; only ever compared for equality, so a clock that is set back does no harm."""


def stamp(path: Path) -> Stamp:
    """Stamp of a file or a folder of photos. Raises FootageError if it is gone."""
    try:
        found = [p.stat() for p in (photos(path) if path.is_dir() else [path])]
    except FileNotFoundError:
        raise FootageError(
            f"{path}: no such file: if it was moved, give its new place once (faceset curate NEW_PLACE --out DIR); "
            "it is recognised by its contents"
        ) from None
    except OSError as error:
        raise FootageError(f"{path}: cannot be read ({error.strerror})") from None
    return Stamp(sum(s.st_size for s in found), hash(tuple(s.st_mtime_ns for s in found)))


def footage_sha256(path: Path) -> str:
    """Hex SHA-256 of a video's bytes, or of the sorted hashes of a folder's photos; cached while it is unchanged.

    Raises FootageError if it changes meanwhile or cannot be read.
    """
    before = stamp(path)
    try:
        found = _sha256(path, before)
    except OSError as error:
        raise FootageError(f"{path}: cannot be read ({error.strerror})") from None
    if stamp(path) != before:
        raise FootageError(f"{path}: changed while it was being read; curate again when it is complete")
    return found


@functools.lru_cache(4096)
def _sha256(path: Path, _at: Stamp) -> str:
    if path.is_dir():
        return hashlib.sha256("".join(sorted(map(file_sha256, photos(path)))).encode()).hexdigest()
    return file_sha256(path)


def verified(clip: Clip) -> Stamp:
    """Stamp of the clip's footage after checking its hash against the faceset's. Raises FootageError."""
    path = Path(clip.path)
    found = stamp(path)
    if (clip.size and clip.size != found.size) or footage_sha256(path) != clip.sha256:
        raise FootageError(
            f"{path}: is another file than the one that the faceset knows; put that back, or name this one as footage "
            f"(faceset curate DIR {quoted(path)}): it is then a clip of its own"
        )
    return found


def check_unchanged(path: Path, before: Stamp) -> None:
    """Raise FootageError if the footage has changed."""
    if stamp(path) != before:
        raise FootageError(
            f"{path}: was replaced or changed while it was read, so nothing of this stretch is kept; curate again "
            "when it is complete"
        )
