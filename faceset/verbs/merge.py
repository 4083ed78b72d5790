"""`faceset merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.select.options import Floors, SelectionOptions, Weights
from faceset import choosing, console, messages
from faceset.options import Given, Json, Quiet, Workers, faceset_at, takes


@takes(SelectionOptions, Floors, Weights)
def merge(
    first: Annotated[Path, typer.Argument(metavar="A", help="Faceset: a folder or a URL.", callback=faceset_at)],
    second: Annotated[
        Path, typer.Argument(metavar="B", help="Another faceset of the same subject.", callback=faceset_at)
    ],
    out: Annotated[Path, typer.Option(metavar="PATH", help="New faceset: a folder or a URL.", callback=faceset_at)],
    given: Given,
    workers: Workers = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Merge two facesets of one subject into a new one, without processing their footage again."""
    choosing.check(given, None)
    from curate.extract import census
    from curate.runtime.jobs import processes
    from curate.upkeep.merge import merge as run

    done = run(first, second, out, processes(workers), console.progress(quiet))
    chosen = choosing.select(out, given, None)
    found, notes = census.people(done)
    told = {"faceset": str(out), "clips": [c.name for c in done.clips], "people": [p.to_json() for p in found]}
    told |= {**chosen, "notes": [*notes, *chosen["notes"]], "report": str(choosing.report(out))}
    console.say(as_json, told, messages.merged)
