"""`faceset cut`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceset import console, messages
from faceset.options import Folder, For, Force, Json, Quiet, local_only


def cut(
    folder: Folder,
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Timeline (.otio, .edl) or video (.mp4) to write.", callback=local_only),
    ],
    target: For = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the minutes of footage worth keeping as a timeline for an editor, or as one trimmed video."""
    from curate.dataset.faceset import open_faceset
    from curate.exchange import cutlist

    progress = console.progress(quiet)
    wanted = open_faceset(target) if target else None
    console.say(as_json, cutlist.write(open_faceset(folder), out, wanted, force, progress), messages.cut)
