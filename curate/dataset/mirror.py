"""Faceset at a URL: mirrored in this machine's cache and uploaded part by part.

A part goes up after its crops, as one object, so that it is there whole or not at all; the manifest goes first, table
and selection at the end. Another machine that is given the same URL fetches what is there and goes on. Stores have no
locks: only one machine at a time may write.

Nothing is removed at the URL because it is missing here: only what the verb says that it removed (`removed`), and the
older crops of a segment that it extracted again, and only when the verb ended well.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curate.dataset.faceset import MANIFEST
from curate.errors import WorkError
from curate.footage import remote
from curate.runtime.cache import cache_folder, made_cache_folder
from curate.runtime.files import atomic
from curate.safe_io import DAMAGED
from curate.words import quoted

log = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two checks for finished parts."""
FIXED = ("parts/", "crops/")
"""Folders of files that are written once; a different size means that they were made with other settings."""
TAGS, ADDRESS = ".mirror.json", ".mirror.url"
FOLDERS = "facesets"
"""Folder of the mirrors in the cache."""
_URL = re.compile(r"^([A-Za-z][A-Za-z0-9]*):/+(?=[^/])")


def url_of(out: Path) -> str | None:
    """URL of a path from the command line (`s3:/bucket/set`); None for a folder."""
    match = _URL.match(out.as_posix())
    return None if match is None or out.exists() else f"{match[1]}://{out.as_posix()[match.end() :]}"


@contextmanager
def mirrored(out: Path) -> Iterator[Path]:
    """Folder to work in: `out` itself, or a local mirror of the faceset at that URL, which is kept up to date."""
    url = url_of(out)
    if url is None:
        yield out
        return
    made_cache_folder()
    folder = folder_of(url)
    mirror = Mirror(url, folder)
    mirror.pull()
    _open[folder.resolve()] = mirror
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(EVERY):
            try:
                mirror.push_parts()
            except WorkError as error:
                log.warning("%s; the upload will be retried", error)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    ended = False
    try:
        yield folder
        ended = True
    finally:
        stop.set()
        thread.join()
        _open.pop(folder.resolve(), None)
        if folder.is_dir():
            mirror.push(ended)


def folder_of(url: str) -> Path:
    """Folder of the mirror of the faceset at a URL."""
    return cache_folder() / FOLDERS / hashlib.sha256(url.encode()).hexdigest()[:16]


def removed(path: Path) -> None:
    """Note that this verb removed a file of a faceset: if that is a mirror, the file at the URL goes as well."""
    for folder, mirror in _open.items():
        if path.absolute().is_relative_to(folder) or path.resolve().is_relative_to(folder):
            mirror.removed.add(path.resolve().relative_to(folder).as_posix())


_open: dict[Path, Mirror] = {}
"""Folders of the mirrors that this process works in."""


class Mirror:
    """A faceset's URL and its folder here."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self._system, self._root = remote.system(url)
        self._there: dict[str, tuple[int, int]] = {}
        """What is known to be at the URL: name to size and time of change of the file here."""
        self._tags: dict[str, tuple[str, int, int]] = {}
        """The store's tag of what may change, and what the file here was like when they were the same."""
        self.removed: set[str] = set()
        """Names of files that this verb removed."""

    def pull(self) -> None:
        """Download new and changed files. Raises WorkError."""
        self._tags = _read_tags(self.folder / TAGS)
        with remote.reaching(self.url):
            self._system.invalidate_cache()
            found = self._system.find(self._root, detail=True) if self._system.exists(self._root) else {}
            self._check_there({path[len(self._root) :].strip("/") for path in found})
            for path, info in sorted(found.items()):
                name = path[len(self._root) :].strip("/")
                here = self.folder / name
                if not here.resolve().is_relative_to(self.folder.resolve()):
                    raise WorkError(f"{self.url}: {name!r} points outside the faceset")
                tag, size, changed = self._tags.get(name, ("", 0, 0))
                if not name.startswith(FIXED) and tag and tag == remote.tag_of(info) and here.is_file():
                    self._there[name] = size, changed  # what was changed here since is newer
                    continue
                if not (name.startswith(FIXED) and here.is_file() and here.stat().st_size == info["size"]):
                    with atomic(here) as temporary:
                        self._system.get_file(path, str(temporary))
                self._same(name, info)

    def _check_there(self, names: set[str]) -> None:
        """Raise WorkError if the faceset was at the URL and is gone: what was removed there is not brought back."""
        if MANIFEST in self._tags and MANIFEST not in names:
            raise WorkError(
                f"{self.url}: the faceset was removed there, and its copy in {self.folder} is not uploaded again: "
                f"remove the copy with faceset forget SUBJECT {quoted(self.folder)} --yes, or move it "
                "elsewhere to use it"
            )

    def push_parts(self) -> None:
        """Upload the manifest, and every finished part after its crops. Raises WorkError."""
        if (self.folder / MANIFEST).is_file():
            self._push(self.folder / MANIFEST)
        for part in sorted(self.folder.glob("parts/[!.]*.parquet")):
            if self._is_new(part):
                clip, _, segment = part.stem.rpartition("-")
                crops = self.folder / "crops" / clip / segment
                for crop in sorted(crops.glob("*")):
                    self._push(crop)
                if part.relative_to(self.folder).as_posix() in self._there:  # extracted again: older crops go
                    older = crops.relative_to(self.folder).as_posix() + "/"
                    self.removed |= {name for name in self._there if name.startswith(older)}
                self._push(part)

    def push(self, ended: bool = True) -> None:
        """Upload everything, and if the verb `ended` well remove at the URL what it removed here. Raises WorkError."""
        self.push_parts()
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and not any(p.startswith(".") for p in path.relative_to(self.folder).parts):
                self._push(path)
        if ended and (self.folder / MANIFEST).is_file():  # else the folder itself is gone, and nobody asked for that
            for name in sorted(n for n in self.removed if n in self._there and not (self.folder / n).exists()):
                with remote.reaching(self.url):
                    self._system.rm_file(self._at(name))
                del self._there[name]

    def _is_new(self, path: Path) -> bool:
        return self._there.get(path.relative_to(self.folder).as_posix()) != _state(path)

    def _push(self, path: Path) -> None:
        name = path.relative_to(self.folder).as_posix()
        if self._is_new(path):
            state = _state(path)
            with remote.reaching(self.url):
                self._system.put_file(str(path), self._at(name))
                self._there[name] = state
                if not name.startswith(FIXED):
                    self._system.invalidate_cache()
                    self._same(name, self._system.info(self._at(name)), state)

    def _same(self, name: str, info: dict[str, Any], state: tuple[int, int] | None = None) -> None:
        """Note that a file is the same here and there."""
        self._there[name] = state or _state(self.folder / name)
        if not name.startswith(FIXED):
            self._tags[name] = (remote.tag_of(info), *self._there[name])
            with atomic(self.folder / TAGS) as temporary:
                temporary.write_text(json.dumps(self._tags))
            if not (self.folder / ADDRESS).exists():
                (self.folder / ADDRESS).write_text(self.url, encoding="utf-8")

    def _at(self, name: str) -> str:
        """The file of that name, as the store calls it."""
        return f"{self._root.rstrip('/')}/{name}"


def _read_tags(path: Path) -> dict[str, tuple[str, int, int]]:
    """What `Mirror` noted; nothing where it is not there, or damaged."""
    try:
        found = json.loads(path.read_text())
        return {name: (str(tag), int(size), int(changed)) for name, (tag, size, changed) in found.items()}
    except DAMAGED:
        return {}


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
