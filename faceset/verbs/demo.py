"""`faceset demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceset import console
from faceset.options import Force, Json, Quiet, Workers


def demo(
    out: Annotated[Path, typer.Option(metavar="PATH", help="Folder to work in.")] = Path("demo"),
    steps: Annotated[int, typer.Option(metavar="N", help="Training steps.")] = 540,
    seconds: Annotated[float, typer.Option(metavar="X", help="Length of each clip, in seconds.")] = 12.0,
    workers: Workers = 0,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the full pipeline, end to end, on generated footage: two facesets, a run, a render, two reports."""
    from curate.runtime.jobs import processes
    from render.demo import demo as run

    cores, progress = processes(workers), console.progress(quiet)
    made = run(out, steps=steps, seconds=seconds, workers=cores, force=force, progress=progress)
    found = {"made": [{"what": what, "path": str(path)} for what, path in made]}
    console.say(as_json, found, lambda r: "\n".join(f"{one['what']:9} {one['path']}" for one in r["made"]))
