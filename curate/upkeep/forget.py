"""Removal of everything that belongs to a subject: facesets and the App's datasets (runs: train/forget.py).

Nothing is followed through a link, and nothing goes that curating did not make: a foreign file in a faceset's folder
stays, and the folder with it. The manifest goes last, so that a removal that was stopped can be called again.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.app import mongod
from curate.dataset.corrections import FILE as CORRECTIONS
from curate.dataset.faceset import MANIFEST, is_faceset, open_faceset
from curate.dataset.selection_file import LAST
from curate.errors import FacesetError, UsageError, WorkError
from curate.exchange.record import PICTURES
from curate.extract.parts import IMPORTED

OWN = (
    "parts", "crops", "reports", PICTURES, IMPORTED, "faces.parquet", "selection.parquet", LAST, "pins.json",
    CORRECTIONS, MANIFEST, ".lock",
)  # fmt: skip
"""Names in a faceset's folder that are its own."""


@dataclass(frozen=True)
class Piece:
    """Something that is removed."""

    kind: str
    """faceset, run, dataset, mirror (of a faceset at a URL), footage (downloaded) or cache (decoded faces)."""
    where: str
    """Folder, URL, or name of the App's dataset."""
    files: int
    """Files; of a dataset its samples."""
    bytes: int
    """On the disk; 0 for a dataset."""


def check_name(subject: str) -> str:
    """The name as facesets hold it; raises UsageError if it is empty."""
    if not subject.strip():
        raise UsageError("SUBJECT is empty: give the name as the faceset spells it")
    return subject.strip()


def faceset_of(folder: Path, subject: str) -> Piece | None:
    """The faceset's files as a piece; None if it belongs to another subject. Raises like `open_faceset`."""
    named = open_faceset(folder).subject
    return weigh("faceset", folder, own(folder)) if named is not None and named.name == subject else None


def own(folder: Path) -> list[Path]:
    """Existing files and folders of the faceset, the manifest and the lock last; partial files included."""
    marks = (f"{MANIFEST}.", *(f".{name}." for name in OWN))  # older manifests; files that were half written
    torn = [p for p in sorted(folder.iterdir()) if p.name.startswith(marks)]
    return [*torn, *(folder / name for name in OWN if os.path.lexists(folder / name))]


def remove_faceset(folder: Path) -> list[str]:
    """Remove a faceset; returns the names of foreign files that stay. Raises WorkError if that is not allowed."""
    from curate.dataset.lock import lock

    with lock(open_faceset(folder), links=True):
        remove(own(folder))
    (folder / ".lock").unlink(missing_ok=True)
    left = sorted(p.name for p in folder.iterdir())
    if not left and not folder.is_symlink():
        folder.rmdir()
    return left


def weigh(kind: str, folder: Path, paths: Iterable[Path]) -> Piece:
    """Number and size of the files and folders; links are not followed."""
    files = [f for path in paths for f in _files(path)]
    return Piece(kind, str(folder), len(files), sum(f.lstat().st_size for f in files))


def _files(path: Path) -> list[Path]:
    if path.is_symlink() or not path.is_dir():
        return [path]
    return [Path(at) / name for at, _, names in os.walk(path) for name in names]


def remove(paths: Iterable[Path]) -> None:
    """Remove files, links and folders in this order; raises WorkError that names the one that cannot be removed."""
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            name = error.filename or path
            raise WorkError(
                f"{name}: cannot be removed ({error.strerror}): change its permissions, then run the command again"
            ) from None


def app_was_used() -> bool:
    """Whether FiftyOne is installed and has a database, so that asking it makes none."""
    if importlib.util.find_spec("fiftyone") is None:
        return False
    if mongod.external():
        return True
    folder = mongod.folder()
    return folder.is_dir() and any(folder.iterdir())


def datasets_of(subject: str, folders: Sequence[Path]) -> list[Piece]:
    """The App's datasets of the subject's facesets: those in `folders`, and those that the App knows of itself.

    Asks nobody where the App was never used. Raises WorkError where its database does not answer.
    """
    if not app_was_used():
        return []
    from curate.app.clips import INFO as CLIPS
    from curate.app.launch import INFO, connect

    fo = connect()
    given = {str(folder.resolve()) for folder in folders}
    found = []
    for name in fo.list_datasets():
        dataset = fo.load_dataset(name)
        info: Any = dataset.info.get(INFO) or dataset.info.get(CLIPS)
        folder = info.get("folder") if isinstance(info, dict) else None
        if folder is not None and (folder in given or _shows(info, Path(folder), subject)):
            found.append(Piece("dataset", name, len(dataset), 0))
    return found


def _shows(told: dict[str, Any], folder: Path, subject: str) -> bool:
    """Whether a dataset is of the subject's faceset, also of one that was deleted by hand."""
    return is_of(folder, subject) or (told.get("subject") == subject and not is_faceset(folder))


def is_of(folder: Path, subject: str) -> bool:
    """Whether a folder is a faceset of the subject; False for a damaged one."""
    try:
        named = open_faceset(folder).subject if is_faceset(folder) else None
    except FacesetError:
        return False
    return named is not None and named.name == subject


def known_to_app(subject: str, folders: Sequence[Path]) -> list[str]:
    """Facesets of the subject that the App knows and that are not among `folders`."""
    if not app_was_used():
        return []
    from curate.app.launch import INFO, connect

    fo = connect()
    infos = [fo.load_dataset(name).info.get(INFO) for name in fo.list_datasets()]
    places = {t["folder"] for t in infos if isinstance(t, dict) and isinstance(t.get("folder"), str)}
    given = {str(folder.resolve()) for folder in folders}
    return sorted(p for p in places - given if is_of(Path(p), subject))


def remove_dataset(name: str) -> None:
    """Remove a dataset of the App, with the ratings and tags in it."""
    from curate.app.launch import connect

    fo = connect()
    if fo.dataset_exists(name):
        fo.load_dataset(name).delete()
