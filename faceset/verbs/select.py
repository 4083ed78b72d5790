"""`faceset select`."""

from __future__ import annotations

from typing import Annotated

import typer

from curate.errors import UsageError
from curate.select.options import Floors, SelectionOptions, Weights
from faceset import choosing, console, messages
from faceset.options import Folder, For, Given, Json, Quiet, takes


@takes(SelectionOptions, Floors, Weights)
def select(
    folder: Folder,
    given: Given,
    target: For = None,
    pin: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Always select this face; also in later calls.")
    ] = None,
    ban: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Never select this face; also in later calls.")
    ] = None,
    free: Annotated[list[str] | None, typer.Option(metavar="ID", help="No longer pin or ban this face.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be left out, on a contact sheet.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Select faces again with other options; needs no footage."""
    options = choosing.selection_options(given, target)
    console.progress(quiet)
    from curate.dataset.faceset import open_faceset
    from curate.dataset.lock import lock
    from curate.dataset.pins import change_pins

    if dry_run:
        if pin or ban or free:
            raise UsageError("--dry-run changes nothing: leave out --pin, --ban and --free")
        console.say(as_json, {"faceset": str(folder), **choosing.preview(folder, options, target)}, messages.selected)
        return
    if pin or ban or free:
        faceset = open_faceset(folder)
        with lock(faceset):
            change_pins(faceset, pin or [], ban or [], free or [])
    found = {"faceset": str(folder), **choosing.select(folder, options, target), "left_out": choosing.sheet(folder)}
    console.say(as_json, found, messages.selected)
