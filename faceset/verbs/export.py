"""`faceset export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from curate.errors import UsageError
from curate.options import literal_names
from faceset import console, messages
from faceset.options import Json, Quiet, faceset_at, local_only, one_of

FORMATS = (*literal_names("curate.exchange.exporting:FORMATS"), "dfm")


def export(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Faceset, a folder or a URL; dfm: a run.", callback=faceset_at)
    ],
    program: Annotated[str, one_of("Format of the export.", FORMATS, "--format")],
    out: Annotated[
        Path, typer.Option(metavar="PATH", help="Folder to write, new or empty; dfm: a new file.", callback=local_only)
    ],
    everything: Annotated[bool, typer.Option("--all", help="Export all kept faces, not only the selected.")] = False,
    pack: Annotated[bool, typer.Option("--pak", help="dfl: write one faceset.pak instead of pictures.")] = False,
    size: Annotated[
        int | None, typer.Option(metavar="N", help="dfl, faceswap: side of the faces, in pixels. [default: 512]")
    ] = None,
    frame_names: Annotated[
        str | None, one_of("dfl, faceswap: names of frames in the metadata: number or clip.", ("number", "clip"))
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="dfm: target's faceset, if it has moved.", callback=local_only),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Export the selected faces, or a run's network as .dfm, for another program, with their basis."""
    if program not in FORMATS:
        raise UsageError(f"--format {program}: must be one of {', '.join(FORMATS)}")
    if program == "dfm":
        from render.dfm import export_dfm

        done = asdict(export_dfm(folder, out, target, console.progress(quiet)))
        console.say(as_json, done, messages.exported_model)
        return
    if target is not None:
        raise UsageError(f"--target is only for --format dfm, not {program}: leave it out")
    from curate.exchange.exporting import export as run

    done = asdict(run(folder, out, program, everything, pack, size, frame_names, console.progress(quiet)))
    console.say(as_json, done, messages.exported)
