"""`faceset render`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from curate.errors import UsageError
from curate.footage.paths import parse_footage
from curate.options import option_of
from curate.words import visible
from faceset import console
from faceset.options import Given, Json, Quiet, local_only, takes
from render.compositing.settings import MaskSettings, RenderSettings
from render.options import RenderOptions

NOT_OF_A_STILL = (
    "span", "crf", "preset", "codec", "bits", "mend", "frames", "masks", "tracking", "key", "cert", "tsa"
)  # fmt: skip
"""Options of a video."""


@takes(MaskSettings, RenderSettings, RenderOptions)
def render(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A training run.")],
    footage: Annotated[
        str, typer.Option(metavar="VIDEO", help="Video whose performance is kept; also clip.mp4@00:10-01:20.")
    ],
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
    asked = parse_footage(footage)
    if (asked.start, asked.end) != (None, None):
        if "span" in given[RenderOptions]:
            raise UsageError(f"--footage {footage}: has a range already; leave --range out")
        given[RenderOptions]["span"] = footage.rpartition("@")[2]
    settings = RenderSettings(MaskSettings(**given[MaskSettings]), **given[RenderSettings])
    options = RenderOptions(settings, **given[RenderOptions])
    for name in NOT_OF_A_STILL if still is not None else ():
        if name in given[RenderOptions]:
            raise UsageError(f"{option_of(RenderOptions, name).flag}: has no effect with --still; leave it out")
    progress = console.progress(quiet)
    from render import pipeline

    if still is not None:
        frame = pipeline.still(run, asked.path, still, out, options, also or ())
        console.say(as_json, asdict(frame), lambda r: str(r["out"]))
        return
    done = pipeline.render(run, asked.path, out, options, progress, also or ())
    pages = [own.report for own in done.people] or [done.report]
    lines = [done.out, *pages, *(f"mended {one}" for one in done.mended)]
    console.say(as_json, asdict(done), lambda r: "\n".join(visible(str(line)) for line in lines))
