"""`faceset select`."""

from __future__ import annotations

from typing import Annotated

import typer

from curate.select.options import Floors, SelectionOptions, Weights
from faceset import choosing, console, messages
from faceset.options import Folder, For, Given, Json, Quiet, takes


@takes(SelectionOptions, Floors, Weights)
def select(
    folder: Folder,
    given: Given,
    target: For = None,
    pin: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="Always select: a face id, clip:X, track:N, shot:X:N or X@0:10-0:20."),
    ] = None,
    ban: Annotated[
        list[str] | None, typer.Option(metavar="WHAT", help="Never select: as --pin; also in later calls.")
    ] = None,
    free: Annotated[list[str] | None, typer.Option(metavar="WHAT", help="No longer pin or ban: as --pin.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Select faces again with other options; needs no footage."""
    options = choosing.selection_options(given, target)
    console.progress(quiet)
    from curate.dataset.faceset import open_faceset
    from curate.dataset.lock import lock
    from curate.dataset.pins import change_pins

    if pin or ban or free:
        faceset = open_faceset(folder)
        with lock(faceset):
            change_pins(faceset, pin or [], ban or [], free or [])
    console.say(as_json, {"faceset": str(folder), **choosing.select(folder, options, target)}, messages.selected)
