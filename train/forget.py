"""Removal of a subject from a run: all that shows or can draw the face; run.json keeps a hash of the name."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from curate.dataset.consent import forgotten_name
from curate.errors import FacesetError
from curate.types import Subject
from curate.upkeep.forget import Piece, remove, weigh
from train import decoded
from train.crop_cache import files, is_cache, own_files
from train.run import OWN, Run, SideInfo, is_run, open_run

BEGUN = "training that ended before its run began"
"""Kind of a piece: the note in its folder, see `train.decoded`."""
KEPT = ("run.json", "log.csv")
"""Files of a run that contain no face."""


def run_of(folder: Path, subject: str) -> Piece | None:
    """The files of a run that would be removed; None if neither side is the subject. Raises as `open_run`."""
    run = open_run(folder)
    return weigh("run", folder, _shown(folder)) if subject in _names(run) else None


def begun_of(folder: Path, subject: str) -> list[Piece]:
    """What a training of the subject left in its folder and its cache, which ended before there was a run."""
    found = decoded.read(folder)
    if found is None or subject not in found.people:
        return []
    caches = [weigh("cache", Path(cache), there) for cache in found.caches if (there := own_files(Path(cache)))]
    return [*caches, weigh(BEGUN, folder, [folder / decoded.FILE])]


def caches_of(folder: Path) -> tuple[list[Piece], dict[str, str]]:
    """Decoded faces of a run in folders that --cache named; and by place what cannot be removed from here, with why."""
    run, here = open_run(folder), socket.gethostname()
    found, left = [], {}
    for machine, cache in run.caches or ():
        if is_cache(Path(cache)):
            found.append(weigh("cache", Path(cache), own_files(Path(cache))))
        elif files(Path(cache)):
            left[cache] = "named as its cache, but its files are not decoded faces"
        elif machine != here:
            left[f"{machine}:{cache}"] = "decoded faces on another machine: delete this folder there"
    if run.caches is None and not files(folder / "cache"):
        left[str(folder)] = "trained by an older version: if it used --cache, delete that folder as well"
    return found, left


def forget_in_run(folder: Path, subject: str) -> None:
    """Remove weights, checkpoints, cache, previews, reports and logs with pictures, then the name from run.json.

    The weights of either side can draw the subject's face, so they must not be used any more
    (`curate.dataset.consent.require`).
    """
    run, here = open_run(folder), socket.gethostname()
    for _, cache in run.caches or ():
        if is_cache(Path(cache)):
            forget_cache(Path(cache))
    remove(_shown(folder))
    sides = {"source": run.source, "target": run.target}
    cleaned = {n: _without(side) if side.subject.name == subject else side for n, side in sides.items()}
    people = tuple(_without(side) if side.subject.name == subject else side for side in run.people)
    if people:  # the sides of a prior name everyone
        everyone = Subject(", ".join(sorted(side.subject.name for side in people)), None)
        cleaned = {name: replace(side, subject=everyone) for name, side in sides.items()}
    caches = tuple(place for place in run.caches or () if place[0] != here or files(Path(place[1])))
    bare = replace(run, held_out={}, drive=None, outlines=None, weights_sha256="", people=people, caches=caches)
    replace(bare, source=cleaned["source"], target=cleaned["target"]).save()


def forget_cache(folder: Path) -> None:
    """Remove the decoded faces in a cache folder, and the folder if nothing else is in it. Raises WorkError."""
    remove(own_files(folder))
    with suppress(OSError):  # not empty, or not there
        folder.rmdir()


def prior_of(folder: Path, subject: str) -> Path | None:
    """The run trained on the subject from which a run was initialised, directly or over other runs; otherwise None."""
    seen: set[Path] = set()
    try:
        at = open_run(folder).init
        while at is not None and (path := Path(at)) not in seen and is_run(path):
            seen.add(path)
            run = open_run(path)
            if _names(run) & {subject, forgotten_name(subject)}:
                return path
            at = run.init
    except FacesetError:
        return None
    return None


def _names(run: Run) -> set[str]:
    return {side.subject.name for side in (run.source, run.target, *run.people)}


def _shown(folder: Path) -> list[Path]:
    """Files and folders of the run that show the face or can draw it, with what a killed process left half-written."""
    named = [folder / name for name in OWN if name not in KEPT and (folder / name).exists()]
    return [*named, *(p for name in OWN for p in sorted(folder.glob(f".{name}.*")))]


def _without(side: SideInfo) -> SideInfo:
    """The hash of the name, the basis and the hashes; no identity vectors, names of clips, document or folder."""
    subject = Subject(forgotten_name(side.subject.name), side.subject.basis, None, side.subject.evidence_sha256)
    clips = tuple((forgotten_name(name), sha256) for name, sha256 in side.clips)
    return replace(side, subject=subject, clips=clips, identity=(), looks=(), folder="")
