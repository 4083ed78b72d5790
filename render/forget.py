"""Removal of a subject: its facesets, runs, copies in caches and entries in the registry of renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from curate.dataset.faceset import Faceset, is_faceset, open_faceset
from curate.dataset.mirror import url_of
from curate.errors import UsageError
from curate.upkeep import forget_copies as copies
from curate.upkeep.forget import (
    Piece,
    check_name,
    datasets_of,
    faceset_of,
    known_to_app,
    remove,
    remove_dataset,
    remove_faceset,
    weigh,
)
from render import plan
from render.provenance import registry
from render.workdir import folder_of
from train import decoded
from train.folder_lock import check_idle
from train.forget import BEGUN, begun_of, caches_of, forget_cache, forget_in_run, prior_of, run_of
from train.run import is_run

INTERRUPTED = "interrupted render"
RENDER = "a render with this face; its pages, .c2pa and pictures (--frames, --masks) are left as well"


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


@dataclass
class _Found:
    """What belongs to the subject among the folders and URLs of a call, and what is kept."""

    pieces: list[Piece] = field(default_factory=list)
    facesets: list[Faceset] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    """Folders of the subject's facesets and runs."""
    urls: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def forget(subject: str, places: Sequence[Path], yes: bool) -> Forgotten:
    """Find all data of `subject` in folders, at URLs, in the App and in the caches, and remove it if `yes`.

    Raises UsageError for a place that is neither a faceset nor a run, before anything is removed; WorkError if the
    disk, a store or the App's database prevents the removal: the same call then resumes it.
    """
    subject = check_name(subject)
    for place in places:
        if url_of(place) is None and not is_faceset(place) and not is_run(place) and decoded.read(place) is None:
            raise UsageError(f"{place}: is neither a faceset nor a run; nothing was removed")
        if url_of(place) is None:
            check_idle(place)
    found = _Found()
    for place in places:
        _look(place, subject, found)
    _look_into_caches(subject, found)
    ours = [folder for folder in found.folders if is_faceset(folder)]
    ours += [Path(piece.where) for piece in found.pieces if piece.kind == "mirror"]
    found.left |= dict.fromkeys(known_to_app(subject, ours), "a faceset of this subject that was not named")
    datasets = datasets_of(subject, ours)
    entries = registry.of_subject(subject)
    found.left |= {entry.out: RENDER for entry in entries if Path(entry.out).exists()}
    found.pieces += _interrupted(entries)
    if yes:
        for dataset in datasets:
            remove_dataset(dataset.where)
        _remove(subject, found)
        registry.forget(subject)
    return Forgotten(subject, yes, (*datasets, *found.pieces), len(entries), found.left)


def _interrupted(entries: Sequence[registry.Entry]) -> list[Piece]:
    """Working folders of the subject's renders that were interrupted: swapped frames, and the network."""
    folders = dict.fromkeys(folder_of(Path(entry.out)) for entry in entries)
    known = [f for f in folders if (f / plan.FILE).is_file() and not f.is_symlink()]
    return [weigh(INTERRUPTED, folder, [folder]) for folder in known]


def _look(place: Path, subject: str, found: _Found) -> None:
    """Take in what a folder or URL of the call has of the subject."""
    url = url_of(place)
    if url is not None:
        faceset, sizes = copies.faceset_at(url)
        if faceset.subject is None or faceset.subject.name != subject:
            found.left[url] = "another subject's"
            return
        found.pieces.append(Piece("faceset", url, len(sizes), sum(sizes.values())))
        found.facesets.append(faceset)
        found.urls.append(url)
        found.left[url] = copies.ELSEWHERE
        return
    if not is_faceset(place) and not is_run(place):
        pieces = begun_of(place, subject)
        found.pieces += pieces
        found.left |= {} if pieces else {str(place): "another subject's"}
        return
    piece = faceset_of(place, subject) if is_faceset(place) else run_of(place, subject)
    if piece is None:
        prior = None if is_faceset(place) else prior_of(place, subject)
        found.left[str(place)] = "another subject's" if prior is None else (
            f"initialised from {prior}, which was trained on this person: its weights may keep traces of the face"
        )  # fmt: skip
    elif not copies.is_mirror(place):  # mirrors are found in the cache
        found.pieces.append(piece)
        found.folders.append(place)
        if is_faceset(place):
            found.facesets.append(open_faceset(place))
        else:
            found.pieces += begun_of(place, subject)
            caches, left = caches_of(place)
            found.pieces += [cache for cache in caches if cache not in found.pieces]
            found.left |= left


def _look_into_caches(subject: str, found: _Found) -> None:
    """Take in mirrors of the subject's facesets at URLs, and downloaded footage."""
    mirrors = copies.mirrors_of(subject)
    found.pieces += mirrors
    for mirror in mirrors:
        found.facesets.append(open_faceset(Path(mirror.where)))
        url = copies.address_of(Path(mirror.where))
        if url is not None and url not in found.urls:
            found.left[url] = "a faceset of this subject that was not named"
    found.pieces += copies.footage_of(found.facesets)


def _remove(subject: str, found: _Found) -> None:
    """Remove the pieces; copies go first, since the facesets and runs say where they are."""
    for piece in found.pieces:
        if piece.kind in ("mirror", "footage"):
            copies.remove_copy(piece)
        elif piece.kind == INTERRUPTED:
            remove([Path(piece.where)])
        elif piece.kind == "cache":
            forget_cache(Path(piece.where))
        elif piece.kind == BEGUN:
            decoded.forget(Path(piece.where))
    for url in found.urls:
        copies.remove_at(url)
    for folder in found.folders:
        if is_faceset(folder):
            found.left |= {str(folder / name): "not made by faceset" for name in remove_faceset(folder)}
        else:
            forget_in_run(folder, subject)
