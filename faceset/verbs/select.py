"""`faceset select`."""

from __future__ import annotations

from typing import Annotated

import typer

from curate.errors import NoneEligibleError, UsageError
from curate.select.options import Floors, SelectionOptions, Weights
from faceset import choosing, console, messages
from faceset.options import Defaults, Folder, For, Given, Json, Quiet, takes


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
        list[str] | None, typer.Option(metavar="WHAT", help="Never select these (as --pin), also in later calls.")
    ] = None,
    free: Annotated[list[str] | None, typer.Option(metavar="WHAT", help="Remove pins and bans (as --pin).")] = None,
    defaults: Defaults = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be left out, on a contact sheet.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Select faces again; options that are not given are as last time. Needs no footage."""
    choosing.check(given, target)
    console.progress(quiet)
    from curate.dataset.faceset import open_faceset
    from curate.dataset.lock import lock
    from curate.dataset.pins import change_pins, read_pins, write_pins

    if dry_run:
        if pin or ban or free:
            raise UsageError("--dry-run changes nothing: leave out --pin, --ban and --free")
        found = {"faceset": str(folder), **choosing.preview(folder, given, target, defaults)}
        console.say(as_json, found, messages.selected)
        return
    before = None
    if pin or ban or free:
        faceset = open_faceset(folder)
        with lock(faceset):
            before = read_pins(faceset)
            change_pins(faceset, pin or [], ban or [], free or [])
    try:
        chosen = choosing.select(folder, given, target, defaults)
    except NoneEligibleError:
        if before is not None:  # a refused call changes nothing
            with lock(faceset):
                write_pins(faceset, before)
        raise
    found = {"faceset": str(folder), **chosen, "left_out": choosing.sheet(folder)}
    console.say(as_json, found, messages.selected)
