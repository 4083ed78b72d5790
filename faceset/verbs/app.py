"""`faceset app`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from curate.words import visible
from faceset import console
from faceset.options import Folders, Json, Quiet


def app(
    folders: Folders,
    port: Annotated[int, typer.Option(metavar="N", help="Port on this machine (loopback only).")] = 5151,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    clips: Annotated[bool, typer.Option("--clips", help="Also load the footage, with faces as frame labels.")] = False,
    load_only: Annotated[bool, typer.Option("--load-only", help="Load the datasets and exit.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Open facesets in the FiftyOne App."""
    from curate.app.launch import check_port, launch, load, load_clips

    console.progress(quiet)
    check_port(port)
    ask = None if as_json or not sys.stdin.isatty() else _ask
    if load_only:
        names = [*load(folders, ask), *(load_clips(folder) for folder in folders if clips)]
        console.say(as_json, {"datasets": names}, lambda r: "\n".join(r["datasets"]))
        return
    opened = (lambda address: console.say(True, {"address": address}, str)) if as_json else None
    launch(folders, port=port, browser=browser, clips=clips, opened=opened, ask=ask)


def _ask(question: str) -> bool:
    return typer.confirm(visible(question), default=True, err=True)
