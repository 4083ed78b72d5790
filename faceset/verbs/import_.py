"""`faceset import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.options import literal_names
from curate.select.options import Floors, SelectionOptions, Weights
from curate.settings import BASES
from faceset import choosing, console, messages
from faceset.options import Given, Json, Quiet, Workers, faceset_at, one_of, takes

PROGRAMS = literal_names("curate.exchange.pictures:PROGRAMS")


@takes(SelectionOptions, Floors, Weights)
def import_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of aligned faces or photos, or a faceset.pak.")],
    out: Annotated[Path, typer.Option(metavar="PATH", help="New faceset: a folder or a URL.", callback=faceset_at)],
    subject: Annotated[str, typer.Option(metavar="NAME", help="Name of the person whose face this is.")],
    basis: Annotated[str, one_of("Basis on which the face may be used.", BASES)],
    given: Given,
    evidence: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Document that shows the basis; its hash is stored.")
    ] = None,
    program: Annotated[str | None, one_of("Format; detected from the files by default.", PROGRAMS, "--format")] = None,
    workers: Workers = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Import a faceset of DeepFaceLab or faceswap, or a folder of photos; its pictures are scored here."""
    choosing.check(given, None)
    from curate.exchange.importing import import_faceset
    from curate.runtime.jobs import processes

    cores, progress = processes(workers), console.progress(quiet)
    done = import_faceset(path, out, subject, basis, evidence, program, cores, progress)
    chosen = choosing.select(out, given, None)
    notes = [*done.curated.people[1], *chosen["notes"]]
    found = {**done.summary(), **chosen, "notes": notes, "report": str(choosing.report(out))}
    console.say(as_json, found, messages.imported)
