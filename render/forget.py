"""Removal of a subject: its facesets, runs and entries in the registry of renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.dataset.faceset import is_faceset
from curate.errors import UsageError
from curate.upkeep.forget import (
    Piece,
    check_name,
    datasets_of,
    faceset_of,
    known_to_app,
    remove_dataset,
    remove_faceset,
)
from render.provenance import registry
from train.forget import forget_in_run, run_of
from train.run import is_run


@dataclass(frozen=True)
class Forgotten:
    """Result of a removal, or its preview."""

    subject: str
    done: bool
    """Whether the data was removed."""
    pieces: tuple[Piece, ...]
    entries: int
    """Entries of the registry of renders, whose name, title and path become hashes."""
    left: dict[str, str]
    """Paths that are kept, with the reason."""


def forget(subject: str, folders: Sequence[Path], yes: bool) -> Forgotten:
    """Find all data of `subject`, and remove it if `yes`.

    Raises UsageError for a folder that is neither a faceset nor a run, before anything is removed; WorkError if the
    disk or the App's database prevents the removal: the same call then resumes it.
    """
    subject = check_name(subject)
    for folder in folders:
        if not is_faceset(folder) and not is_run(folder):
            raise UsageError(f"{folder}: is neither a faceset nor a run; nothing was removed")
    found = {folder: _piece(folder, subject) for folder in folders}
    ours = [folder for folder, piece in found.items() if piece is not None]
    left = {str(folder): "another subject's" for folder, piece in found.items() if piece is None}
    left |= dict.fromkeys(known_to_app(subject, ours), "a faceset of this subject that was not named")
    datasets = datasets_of(subject, [folder for folder in ours if is_faceset(folder)])
    entries = registry.of_subject(subject)
    left |= {entry.out: "a render with this face" for entry in entries if Path(entry.out).exists()}
    pieces = (*datasets, *(piece for piece in found.values() if piece is not None))
    if yes:
        for dataset in datasets:
            remove_dataset(dataset.where)
        for folder in ours:
            left |= _remove(folder, subject)
        registry.forget(subject)
    return Forgotten(subject, yes, pieces, len(entries), left)


def _piece(folder: Path, subject: str) -> Piece | None:
    return faceset_of(folder, subject) if is_faceset(folder) else run_of(folder, subject)


def _remove(folder: Path, subject: str) -> dict[str, str]:
    if not is_faceset(folder):
        forget_in_run(folder, subject)
        return {}
    return {str(folder / name): "not made by faceset" for name in remove_faceset(folder)}
