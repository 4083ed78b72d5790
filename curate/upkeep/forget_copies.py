"""Removal of a subject from stores and this machine's cache: facesets at URLs, their mirrors, downloaded footage."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from curate.dataset.faceset import MANIFEST, Faceset, open_faceset
from curate.dataset.mirror import ADDRESS, FOLDERS
from curate.errors import UsageError
from curate.footage import remote
from curate.runtime.cache import cache_folder
from curate.runtime.files import scratch
from curate.upkeep.forget import OWN, Piece, is_of, remove, weigh

ELSEWHERE = "copies on other machines that used this address, and versions that the store keeps, must be removed there"


def faceset_at(url: str) -> tuple[Faceset, dict[str, int]]:
    """The faceset at a URL, of which only the manifest is read, and its own files there: name to size in bytes.

    The manifest is the last of the names. Raises UsageError if there is no faceset, WorkError if it cannot be read.
    """
    store, root = remote.system(url)
    with remote.reaching(url), scratch("faceset-forget-") as folder:
        store.invalidate_cache()
        found = store.find(root, detail=True) if store.exists(root) else {}
        sizes = {path[len(root) :].strip("/"): int(info.get("size") or 0) for path, info in found.items()}
        if MANIFEST not in sizes:
            raise UsageError(f"{url}: is not a faceset; nothing was removed")
        store.get_file(f"{root.rstrip('/')}/{MANIFEST}", str(folder / MANIFEST))
        faceset = open_faceset(folder)
    ours = sorted((n for n in sizes if n.partition("/")[0] in OWN or n.startswith(f"{MANIFEST}.")), key=_manifest_last)
    return faceset, {name: sizes[name] for name in ours}


def remove_at(url: str) -> None:
    """Remove the faceset's own files at a URL, the manifest last. Raises WorkError."""
    store, root = remote.system(url)
    _, names = faceset_at(url)
    with remote.reaching(url):
        for name in names:
            store.rm_file(f"{root.rstrip('/')}/{name}")
        store.invalidate_cache()


def mirrors_of(subject: str) -> list[Piece]:
    """Mirrors in the cache of the subject's facesets at URLs."""
    return [
        weigh("mirror", folder, [folder])
        for folder in sorted((cache_folder() / FOLDERS).glob("*"))
        if is_of(folder, subject)
    ]


def is_mirror(folder: Path) -> bool:
    """Whether a folder is a mirror in the cache."""
    return folder.resolve().parent == (cache_folder() / FOLDERS).resolve()


def address_of(mirror: Path) -> str | None:
    """The URL of a mirror; None where an older version made it."""
    path = mirror / ADDRESS
    return path.read_text(encoding="utf-8") if path.is_file() else None


def footage_of(facesets: Iterable[Faceset]) -> list[Piece]:
    """Downloaded footage of facesets whose clips are at URLs."""
    urls = {clip.path for faceset in facesets for clip in faceset.clips if remote.is_url(clip.path)}
    folders = sorted({remote.downloads_of(url) for url in urls})
    return [weigh("footage", folder, [folder]) for folder in folders if folder.is_dir()]


def remove_copy(piece: Piece) -> None:
    """Remove a mirror or downloaded footage: the whole folder, which only faceset writes. Raises WorkError."""
    remove([Path(piece.where)])


def _manifest_last(name: str) -> tuple[bool, str]:
    return name == MANIFEST, name
