"""`faceset inspect`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from curate.errors import UsageError
from faceset import console, messages
from faceset.options import Json, Quiet, Workers


def inspect(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="Face-swap video, from any program.")],
    reference: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The original footage; also clip.mp4@00:10-01:20.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Page to write. [default: VIDEO.artifacts.html, or VIDEO.inspect.html]"),
    ] = None,
    workers: Workers = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write an artifact report on a face-swap video from any program."""
    from curate.runtime.jobs import processes
    from reports.artifact_page.page import to_json, write
    from reports.artifact_page.passages import verdict
    from reports.artifacts.inspect import inspect as inspect_video
    from reports.artifacts.inspect import page_facts

    if out is not None and (out.suffix.lower() != ".html" or out.is_dir()):
        raise UsageError(f"--out {out}: must be the name of an .html page")
    found = inspect_video(video, reference, workers=processes(workers), progress=console.progress(quiet))
    page = out or _writable_page(video)
    write(found, page, page_facts(video, reference))
    console.say(as_json, {**to_json(found), "verdict": verdict(found), "report": str(page)}, messages.inspected)


def _writable_page(video: Path) -> Path:
    """Next to the video, or here where its folder cannot be written; not over the page that its render wrote."""
    rendered = video.with_suffix(".c2pa").is_file() and video.with_suffix(".artifacts.html").is_file()
    page = video.with_suffix(".inspect.html" if rendered else ".artifacts.html")
    return page if os.access(video.parent, os.W_OK) else Path.cwd() / page.name
