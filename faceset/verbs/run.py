"""`faceset run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.errors import WorkError
from faceset import console, messages
from faceset.options import Json, Quiet


def run(
    project: Annotated[Path, typer.Argument(metavar="PROJECT.toml", help="Project file from `faceset init`.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and its time, disk space and cost.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Curate, select, train, render and report as a project file says; only what is missing or changed is done."""
    from faceset.project.file import read_project

    progress = console.progress(quiet)
    opened = read_project(project)
    if dry_run:
        from faceset.project.plan import plan, summary

        console.say(as_json, summary(opened, plan(opened)), messages.planned)
        return
    from faceset.project.work import work

    outcomes = work(opened, progress)
    index = opened.results / "index.html"
    if any(o.state != "current" for o in outcomes) or not index.is_file():
        from faceset.project.overview import write_overview

        index = write_overview(opened, opened.folder.name, outcomes)
    rows = [{"step": o.step.name, "state": o.state, "seconds": round(o.seconds, 3), "problem": o.problem}
            for o in outcomes]  # fmt: skip
    console.say(as_json, {"project": str(project), "index": str(index), "steps": rows}, messages.ran)
    failed = [o for o in outcomes if o.state == "failed"]
    if failed and as_json:
        raise typer.Exit(1)
    if failed:
        raise WorkError(f"{len(failed)} of {len(outcomes)} steps failed; the others are done, see {index}")
