"""Footage at a URL (s3://, gs://, https://, anything that fsspec supports), downloaded clip by clip.

A clip is copied in blocks into a folder of the cache whose name says which bytes it holds (URL, size, ETag): a copy
that was broken off goes on, and one that was changed at its source is never mixed. It is removed when its last segment
is done. No more than LIMIT bytes wait for their turn; the others are fetched again when it comes.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from curate.errors import FacesetError, FootageError, MissingError, UsageError, WorkError
from curate.footage.paths import VIDEO_SUFFIXES, parse_footage
from curate.runtime import disk
from curate.runtime.cache import made_cache_folder
from curate.types import Clip

log = logging.getLogger(__name__)

LIMIT = int(float(os.environ.get("FACESET_FOOTAGE_CACHE_GB", "20")) * 1e9)
"""Bytes of downloaded clips that are kept for later."""
BLOCK = 1 << 23
TRIES, WAIT = 4, 1.0
"""Number of download attempts, and seconds before the second one; each later one waits twice as long."""


@dataclass(frozen=True)
class Remote:
    """A file at a URL."""

    url: str
    size: int
    tag: str
    """ETag or time of the last change; a different one means different bytes."""


def is_url(text: str) -> bool:
    """Whether this is a URL, not a path."""
    head, mark, _ = text.partition("://")
    return bool(mark) and head.isidentifier()


def split(text: str) -> tuple[str, float | None, float | None]:
    """URL, start and end in seconds of `s3://b/clip.mp4@00:10-01:20`."""
    asked = parse_footage(text)
    whole = asked.start is None and asked.end is None
    return (text if whole else text.rpartition("@")[0]), asked.start, asked.end


def expand(url: str) -> list[str]:
    """URLs of the videos at or below a URL. Raises UsageError, FootageError."""
    store, path = system(url)
    with reaching(url):
        if store.isfile(path):
            return [url]
        below = [p for p in sorted(store.find(path)) if Path(p).suffix.lower() in VIDEO_SUFFIXES]
    if not below:
        raise UsageError(f"{url}: no such file, and no folder that contains videos")
    return [store.unstrip_protocol(p) for p in below]


def file_at(url: str) -> Remote:
    """Size and tag of the file at a URL. Raises FootageError."""
    store, path = system(url)
    try:
        store.invalidate_cache()
        info = store.info(path)
    except Exception as error:  # noqa: BLE001
        raise FootageError(f"{url}: cannot be read ({_words(error)})") from None
    return Remote(url, int(info.get("size") or 0), tag_of(info))


def tag_of(info: dict[str, Any]) -> str:
    """ETag or time of the last change in a store's information about a file; "" if it has neither."""
    tag = next((str(info[k]) for k in ("ETag", "etag", "LastModified", "mtime", "created") if info.get(k)), "")
    return tag.strip('"')


def fetch(url: str) -> Path:
    """Local path of the clip, downloaded if needed. Raises FootageError."""
    remote = file_at(url)
    folder = _folder(url) / hashlib.sha256(f"{remote.size} {remote.tag}".encode()).hexdigest()[:16]
    path = folder / Path(url).name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (path.is_file() and path.stat().st_size == remote.size):
            _copy(remote, folder / "part")
            if file_at(url) != remote:
                (folder / "part").unlink()
                raise FootageError(f"{url}: changed while it was being downloaded; curate again when it is complete")
            os.replace(folder / "part", path)
    return path


def check_named(clip: Clip, addresses: Collection[str] | None) -> None:
    """Raise FootageError for a clip at a URL that is not among `addresses`; None: all may be opened.

    A faceset from somebody else can name any address: to open one tells its owner who works with the faceset.
    """
    if addresses is not None and is_url(clip.path) and clip.path not in addresses:
        raise FootageError(
            f"{clip.path}: this address comes from the faceset and was not opened: give it as FOOTAGE, or give "
            "--allow-remote to open all addresses in the faceset"
        )


@contextlib.contextmanager
def held(clip: Clip) -> Iterator[Clip]:
    """The clip with a local path, downloaded if needed."""
    yield replace(clip, path=str(fetch(clip.path))) if is_url(clip.path) else clip


def release(clip: Clip) -> None:
    """Remove the clip's downloaded file, if there is one."""
    if is_url(clip.path):
        shutil.rmtree(_folder(clip.path), ignore_errors=True)


def downloads_of(url: str) -> Path:
    """Folder of the downloads of a URL, which need not exist."""
    return _folder(url)


def make_room(clip: Clip) -> None:
    """Remove the clip's downloaded file if the downloads exceed LIMIT."""
    if is_url(clip.path) and disk.used(_cache()) > LIMIT:
        release(clip)


def _copy(remote: Remote, part: Path) -> None:
    """Resume the download where an earlier attempt ended."""
    store, path = system(remote.url)
    for number in range(TRIES):
        have = part.stat().st_size if part.exists() else 0
        if have > remote.size:
            part.unlink()
            have = 0
        try:
            with part.open("ab") as to:
                while have < remote.size:
                    block = store.cat_file(path, start=have, end=min(have + BLOCK, remote.size))
                    if not block:
                        raise OSError("the file ends early")
                    to.write(block)
                    have += len(block)
            return
        except OSError as error:
            if error.errno in (28, 122):
                raise WorkError(f"{part}: {error.strerror}; set FACESET_CACHE to a folder with more room") from None
            problem: Exception = error
        except Exception as error:  # noqa: BLE001
            problem = error
        log.warning("%s: reading stopped after %s (%s)", remote.url, disk.text(have), _words(problem))
        time.sleep(WAIT * 2**number if number < TRIES - 1 else 0)
    raise FootageError(
        f"{remote.url}: cannot be downloaded ({_words(problem)}); the part that is here is kept; run the command again"
    )


def _cache() -> Path:
    folder = made_cache_folder() / "footage"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _folder(url: str) -> Path:
    return _cache() / hashlib.sha256(url.encode()).hexdigest()[:16]


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:160]


@contextlib.contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turn any error of a store into WorkError; our own errors pass."""
    try:
        yield
    except FacesetError:
        raise
    except Exception as error:  # noqa: BLE001  # every store has its own errors
        raise _unreachable(url, error) from None


def _unreachable(url: str, error: Exception) -> WorkError:
    return WorkError(f"{url}: cannot be reached ({_words(error)}): check the address and the credentials")


def system(url: str) -> tuple[Any, str]:
    """File system of a URL, and the path in it. Raises MissingError, UsageError, WorkError."""
    try:
        import fsspec

        store, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingError(f"{url}: {error.name or 'a package'} is missing: pip install 'faceset[cloud]'") from None
    except ValueError as error:
        raise UsageError(f"{url}: {_words(error)}") from None
    except Exception as error:  # noqa: BLE001  # some stores connect here already
        raise _unreachable(url, error) from None
    return store, str(path)
