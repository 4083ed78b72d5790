"""`faceset verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from faceset import console
from faceset.options import Json, Quiet


def verify(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="Video to verify.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show who made a video, from what, and whether it was altered (exit 0 only if trusted or valid)."""
    from render.provenance.verify import verify as check

    console.progress(quiet)
    found = asdict(check(video))
    console.say(as_json, found, lambda r: f"{r['state']}: {r['reason']}")
    if found["state"] not in ("trusted", "valid"):
        raise typer.Exit(1)
