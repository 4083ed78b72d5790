"""`faceset render`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from faceset import console
from faceset.options import Given, Json, Quiet, local_only, takes
from render.compositing.settings import MaskSettings, RenderSettings
from render.options import RenderOptions


@takes(MaskSettings, RenderSettings, RenderOptions)
def render(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A training run.")],
    footage: Annotated[Path, typer.Option(metavar="VIDEO", help="Video whose performance is kept.")],
    out: Annotated[Path, typer.Option(metavar="PATH", help="Video to write: .mp4, .m4v or .mov.", callback=local_only)],
    given: Given,
    also: Annotated[
        list[Path] | None,
        typer.Option("--and", metavar="RUN", help="Also replace the target of this run; may be repeated."),
    ] = None,
    still: Annotated[
        str | None, typer.Option(metavar="TIME", help="Render only the frame at this time, as a .png.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Swap the face in a video; writes a signed and marked video with its artifact report.

    A stopped render is resumed by the same command.
    """
    settings = RenderSettings(MaskSettings(**given[MaskSettings]), **given[RenderSettings])
    options = RenderOptions(settings, **given[RenderOptions])
    from render import pipeline

    if still is not None:
        number = pipeline.still(run, footage, still, out, options, also or ())
        console.say(as_json, {"out": str(out), "frame": number}, lambda r: str(r["out"]))
        return
    done = pipeline.render(run, footage, out, options, console.progress(quiet), also or ())
    console.say(as_json, asdict(done), _said)


def _said(done: dict[str, Any]) -> str:
    """The video and its reports, one path per line."""
    return "\n".join([done["out"], *(own["report"] for own in done["people"] or [done])])
