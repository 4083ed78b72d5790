"""What a project has of a person besides facesets and runs: its pages, which show faces and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from curate.dataset.faceset import is_faceset
from curate.upkeep.forget import Piece, remove, weigh
from faceset.project.state import HIDDEN
from render.forget import INTERRUPTED, Forgotten
from render.forget import forget as forget_data
from train import decoded
from train.forget import BEGUN
from train.run import is_run

FOLDERS = ("faceset", "run", "cache", BEGUN, INTERRUPTED)
"""Kinds of pieces that are folders on this machine."""
PAGES = ("index.html", "index.json", "reports")
"""Written by `faceset run`, which makes them again."""


def forget(subject: str, places: Sequence[Path], yes: bool) -> Forgotten:
    """As `render.forget.forget`, of projects too: a place may be a project's folder, which stands for all in it, and
    the pages of the projects that a removed faceset or run belongs to go as well."""
    results = [place for place in places if (place / HIDDEN).is_dir()]
    inside = [folder for place in results for folder in _inside(place)]
    others = [place for place in places if place not in results]
    found = forget_data(subject, [*others, *inside], yes)
    gone = [Path(piece.where).absolute() for piece in found.pieces if piece.kind in FOLDERS]
    near = [folder.parent.parent for folder in gone if (folder.parent.parent / HIDDEN).is_dir()]
    named = [place.absolute() for place in results if any(path.is_relative_to(place.absolute()) for path in gone)]
    pages, left = list[Piece](), dict(found.left)
    for project in dict.fromkeys([*named, *near]):
        paths = [project / name for name in PAGES if (project / name).exists()]
        if paths:
            pages.append(weigh("pages of the project", project, paths))
        if yes:
            remove(paths)
        left |= {str(path): "may name this person: edit it" for path in sorted(project.glob("*.toml"))}
    return replace(found, pieces=(*found.pieces, *pages), left=left)


def _inside(project: Path) -> list[Path]:
    """Facesets and runs of a project, and trainings that ended before their run began; also those it replaced."""
    found = [folder for pattern in ("*/*", "earlier/*/*/*") for folder in sorted(project.glob(pattern))]
    found = [folder for folder in found if folder.is_dir() and not folder.is_symlink()]
    return [f for f in found if (is_faceset(f) or is_run(f) or decoded.read(f) is not None)]
