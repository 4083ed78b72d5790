"""`faceset select`."""

from __future__ import annotations

from typing import Annotated

import typer

from curate.errors import UsageError
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
    choosing.check(given, target, folder)
    console.progress(quiet)
    if dry_run:
        if pin or ban or free:
            raise UsageError("--dry-run changes nothing: leave out --pin, --ban and --free")
        found = {"faceset": str(folder), **choosing.preview(folder, given, target, defaults)}
        console.say(as_json, found, messages.selected)
        return
    with choosing.pinned(folder, pin or [], ban or [], free or []):
        chosen = choosing.select(folder, given, target, defaults)
    found = {"faceset": str(folder), **chosen, "left_out": choosing.sheet(folder)}
    console.say(as_json, found, messages.selected)
