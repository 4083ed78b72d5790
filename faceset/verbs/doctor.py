"""`faceset doctor`."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from faceset import console, messages
from faceset.options import Json, Quiet

log = logging.getLogger("faceset")


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Fix what can be fixed without root.")] = False,
    cluster: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Check all processes of a torchrun launch and a shared folder.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check the installation: what is installed, what is missing, and the command that fixes it."""
    from curate.upkeep.doctor import checks, repair, required_missing
    from render.provenance.keys import config_folder

    console.progress(quiet)
    if cluster is not None:
        _cluster(cluster, as_json)
        return
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


def _cluster(folder: Path, as_json: bool) -> None:
    """Check the processes that this one was launched with; the first speaks for all."""
    from train.cluster import check_cluster

    found = check_cluster(folder)
    missing = sum(each.state == "missing" for each in found)
    if os.environ.get("RANK", "0") == "0":
        lines = [f"{each.state:8}{each.name:10} {each.text}" for each in found]
        console.say(
            as_json, {"checks": [asdict(each) for each in found], "missing": missing}, lambda r: "\n".join(lines)
        )
    if missing:
        raise typer.Exit(1)
