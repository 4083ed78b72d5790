"""Links in a faceset's folder: what is written and removed stays in it, wherever a stranger's links lead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from curate.errors import WorkError
from curate.safe_io import DAMAGED

FOLDERS = ("crops", "parts", "reports")
"""Folders of a faceset that verbs write into."""


def check_links(folder: Path) -> None:
    """Raise WorkError if one of the faceset's own folders is a link out of it."""
    for path in own_folders(folder):
        check_link(folder, path)


def check_link(folder: Path, path: Path) -> None:
    """Raise WorkError if a path in the faceset is a link out of it."""
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise WorkError(
            f"{path} is a link out of the faceset, into which nothing is written: remove it, or put the folder "
            "itself in its place"
        )


def own_folders(folder: Path) -> Iterator[Path]:
    """The faceset's folders, and those of its crops: of each clip and of each segment. Links are not followed."""
    for name in FOLDERS:
        yield folder / name
    for clip in _below(folder / "crops"):
        yield clip
        yield from _below(clip)


def _below(folder: Path) -> list[Path]:
    """Folders in a folder, and links to some."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir() or entry.is_symlink()]


def inside(folder: Path, path: str) -> Path:
    """A path that a file of the faceset names, links followed; raises WorkError if it is not below the folder."""
    try:
        target = (folder / path).resolve()
    except DAMAGED:
        target = Path("/")
    if not target.is_relative_to(folder.resolve()):
        raise WorkError(f"path {path!r} points outside the faceset {folder}")
    return target
