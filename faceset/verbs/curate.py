"""`faceset curate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.select.options import Floors, SelectionOptions, Weights
from curate.settings import BASES, Settings
from faceset import choosing, console, messages
from faceset.options import Engine, For, Force, Given, Json, Quiet, Workers, faceset_at, one_of, takes


@takes(Settings, SelectionOptions, Floors, Weights)
def curate(
    footage: Annotated[
        list[str],
        typer.Argument(
            help="Videos, folders of them, folders of photos, clip.mp4@00:10-01:20, or a faceset to resume."
        ),
    ],
    given: Given,
    out: Annotated[
        Path | None,
        typer.Option(help="Faceset (folder or URL); created, or resumed if it exists.", callback=faceset_at),
    ] = None,
    subject: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the person whose face this is.")] = None,
    basis: Annotated[str | None, one_of("Basis on which the face may be used.", BASES)] = None,
    evidence: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Document that shows the basis; its hash is stored.")
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Photo of the subject; may be repeated.")
    ] = None,
    person: Annotated[
        int | None, typer.Option(metavar="N", help="Person from `faceset people` who is the subject.")
    ] = None,
    target: For = None,
    engine: Engine = "local",
    workers: Workers = 0,
    gpus: Annotated[
        float, typer.Option(metavar="X", help="With --engine ray: GPUs that each worker needs, e.g. 0.25.")
    ] = 0.0,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find one person's faces in footage, score them, and select the most diverse ones into a faceset."""
    options = choosing.selection_options(given, target)
    from curate.extract.pipeline import Request
    from curate.extract.pipeline import curate as run
    from curate.runtime.jobs import processes

    settings, photos, cores = tuple(given[Settings].items()), tuple(reference or ()), processes(workers)
    who = (subject, basis, evidence, photos, person)
    done = run(Request(tuple(footage), out, *who, settings, cores, engine, force, gpus), console.progress(quiet))
    chosen = choosing.select(done.faceset.folder, options, target)
    page = choosing.report(done.faceset.folder, target)
    chosen["left_out"] = choosing.sheet(done.faceset.folder)
    console.say(as_json, {**done.summary(), **chosen, "report": str(page)}, messages.curated)
