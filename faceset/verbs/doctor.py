"""`faceset doctor`."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Annotated

import typer

from faceset import console, messages
from faceset.options import Json, Quiet

log = logging.getLogger("faceset")


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Fix what can be fixed without root.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check the installation: what is installed, what is missing, and the command that fixes it."""
    from curate.upkeep.doctor import checks, repair, required_missing
    from render.provenance.keys import config_folder

    console.progress(quiet)
    key = config_folder() / "signing.key"
    found = checks(key)
    if fix:
        for line in repair(found):
            log.info("%s", line)
        found = checks(key)
    missing = sum(c.state == "missing" for c in found)
    console.say(as_json, {"checks": [asdict(c) for c in found], "missing": missing}, messages.checked)
    if required_missing(found):
        raise typer.Exit(1)
