"""`faceset init`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from curate.errors import UsageError
from curate.options import literal_names
from curate.settings import BASES
from curate.words import quoted
from faceset import console
from faceset.options import Force, Json, Quiet, one_of

PRESETS = literal_names("train.config:PRESETS")
Files = list[str] | None


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with the clips.")],
    source: Annotated[Files, typer.Option(metavar="FILE", help="Footage of the face to insert; repeatable.")] = None,
    target: Annotated[Files, typer.Option(metavar="FILE", help="Footage of the performance; repeatable.")] = None,
    source_name: Annotated[str, typer.Option(metavar="NAME", help="Name of the source; by default the file's.")] = "",
    target_name: Annotated[str, typer.Option(metavar="NAME", help="Name of the target; by default the file's.")] = "",
    basis: Annotated[str, one_of("Basis on which both faces may be used.", BASES)] = "",
    target_basis: Annotated[str, one_of("Basis for the target, if it differs.", BASES)] = "",
    evidence: Annotated[str, typer.Option(metavar="FILE", help="Document of the source's release.")] = "",
    target_evidence: Annotated[str, typer.Option(metavar="FILE", help="Document of the target's release.")] = "",
    budget: Annotated[str, typer.Option(metavar="TEXT", help="Faces of the source: 200, 9min or auto.")] = "auto",
    preset: Annotated[str, one_of("Preset of the training.", PRESETS)] = "tiny",
    steps: Annotated[int | None, typer.Option(metavar="N", help="Training steps; by default the preset's.")] = None,
    price: Annotated[float, typer.Option(metavar="X", help="Price of this machine per hour.")] = 0.0,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a commented project file, FOLDER/project.toml, for the clips in a folder; asks for what is missing."""
    from curate.runtime.files import atomic
    from faceset.project.begin import Options, Side, begin
    from faceset.project.file import read_project

    console.progress(quiet)
    path = folder / "project.toml"
    if path.exists() and not force:
        raise UsageError(
            f"{path} already exists: run it with faceset run {quoted(path)}, or use --force to overwrite it"
        )
    sides = (
        Side(tuple(source or ()), source_name, basis, evidence),
        Side(tuple(target or ()), target_name, target_basis or basis, target_evidence),
    )
    ask = None if as_json or not sys.stdin.isatty() else _ask
    text = begin(folder, Options(*sides, budget, preset, steps, price), ask)
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    try:
        project = read_project(path)
    except UsageError:
        path.unlink()
        raise
    found = {"project": str(path), "subjects": {key: p.name for key, p in project.subjects.items()}}
    console.say(as_json, found, lambda r: f"{r['project']}\nCheck it, then run: faceset run {quoted(path)}")


def _ask(question: str, default: str) -> str:
    """The answer of a person at the terminal; questions go to stderr."""
    return str(typer.prompt(question, default=default or None, err=True)).strip()
