"""`faceset prune`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from faceset import console, messages
from faceset.options import AllowRemote, Folder, Json, Quiet


def prune(
    folder: Folder,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it only report what would be freed.")] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Recreate missing crops of selected faces from the footage.")
    ] = False,
    allow_remote: AllowRemote = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Delete the crops of faces that are not selected, shown on a sheet first; the footage can recreate them."""
    from curate.dataset.faceset import open_faceset
    from curate.upkeep import prune as upkeep

    progress = console.progress(quiet)
    faceset = open_faceset(folder)
    if restore:
        console.say(as_json, {"restored": upkeep.restore(faceset, progress, allow_remote)}, messages.restored)
        return
    from reports.sheets.page import write_prune

    crops = upkeep.dropped(faceset)
    page = write_prune(faceset, crops, yes) if crops else None
    found = asdict(upkeep.prune(faceset, yes)) | {"sheet": None if page is None else str(page)}
    console.say(as_json, found, messages.pruned(yes))
