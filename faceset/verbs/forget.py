"""`faceset forget`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from faceset import console, messages
from faceset.options import Json, Quiet, on_disk


def forget(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="The person's name, as in the faceset.")],
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR...]", help="Facesets (folders or URLs), runs, projects; other people's are kept."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it only report what would be removed.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove a person from facesets, runs, the App and the list of renders."""
    from faceset.project.forget import forget as run

    console.progress(quiet)
    console.say(as_json, asdict(run(subject, [on_disk(folder) for folder in folders or []], yes)), messages.forgotten)
