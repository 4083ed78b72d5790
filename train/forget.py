"""Removal of a subject from a run: all that shows or can draw the face; run.json keeps a hash of the name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from curate.dataset.consent import forgotten_name
from curate.types import Subject
from curate.upkeep.forget import Piece, remove, weigh
from train.run import OWN, Run, SideInfo, open_run

KEPT = ("run.json", "log.csv")
"""Files of a run that contain no face."""


def run_of(folder: Path, subject: str) -> Piece | None:
    """The files of a run that would be removed; None if neither side is the subject. Raises as `open_run`."""
    run = open_run(folder)
    return weigh("run", folder, _shown(folder)) if subject in _names(run) else None


def forget_in_run(folder: Path, subject: str) -> None:
    """Remove weights, checkpoints, cache, previews, reports and logs with pictures, then the name from run.json.

    The weights of either side can draw the subject's face, so they must not be used any more
    (`curate.dataset.consent.require`).
    """
    run = open_run(folder)
    remove(_shown(folder))
    sides = {"source": run.source, "target": run.target}
    cleaned = {n: _without(side) if side.subject.name == subject else side for n, side in sides.items()}
    people = tuple(_without(side) if side.subject.name == subject else side for side in run.people)
    if people:  # the sides of a prior name everyone
        everyone = Subject(", ".join(sorted(side.subject.name for side in people)), None)
        cleaned = {name: replace(side, subject=everyone) for name, side in sides.items()}
    replace(run, **cleaned, people=people, held_out={}, drive=None, weights_sha256="").save()  # type: ignore[arg-type]


def _names(run: Run) -> set[str]:
    return {side.subject.name for side in (run.source, run.target, *run.people)}


def _shown(folder: Path) -> list[Path]:
    return [folder / name for name in OWN if name not in KEPT and (folder / name).exists()]


def _without(side: SideInfo) -> SideInfo:
    """The hash of the name, the basis and the hashes; no identity vector, names of clips, document or folder."""
    subject = Subject(forgotten_name(side.subject.name), side.subject.basis, None, side.subject.evidence_sha256)
    clips = tuple((forgotten_name(name), sha256) for name, sha256 in side.clips)
    return replace(side, subject=subject, clips=clips, identity=(), folder="")
