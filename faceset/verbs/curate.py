"""`faceset curate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.select.options import Floors, SelectionOptions, Weights
from curate.settings import BASES, Grouping, Settings
from faceset import choosing, console, messages
from faceset.options import (
    AllowRemote,
    Defaults,
    Engine,
    For,
    Force,
    Given,
    Json,
    Persons,
    Quiet,
    Workers,
    faceset_at,
    needs_ray,
    one_of,
    persons_of,
    takes,
)

if TYPE_CHECKING:
    from curate.extract.pipeline import Curated


@takes(Settings, Grouping, SelectionOptions, Floors, Weights)
def curate(
    footage: Annotated[
        list[str],
        typer.Argument(help="Videos, folders of videos or photos, clip.mp4@00:10-01:20, or a faceset to resume."),
    ],
    given: Given,
    out: Annotated[
        Path | None,
        typer.Option(help="Faceset (folder or URL); created, or resumed if it exists.", callback=faceset_at),
    ] = None,
    subject: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the person whose face this is.")] = None,
    basis: Annotated[str | None, one_of("Basis on which the face may be used.", BASES)] = None,
    evidence: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Document that shows the basis; its hash is stored.")
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Photo of the subject; may be repeated.")
    ] = None,
    person: Persons = None,
    target: For = None,
    defaults: Defaults = False,
    engine: Engine = "local",
    workers: Workers = 0,
    gpus: Annotated[
        float, typer.Option(metavar="X", help="With --engine ray: GPUs that each worker needs, e.g. 0.25.")
    ] = 0.0,
    allow_remote: AllowRemote = False,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find one person's faces in footage, score them, and select the most diverse ones into a faceset."""
    if gpus:
        needs_ray("--gpus", engine)
    choosing.check(given, target, out)
    from curate.extract.pipeline import Request
    from curate.extract.pipeline import curate as run
    from curate.runtime.jobs import processes

    settings, photos, cores = tuple(given[Settings].items()), tuple(reference or ()), processes(workers)
    who = (tuple(footage), out, subject, basis, evidence, photos, persons_of(person))
    request = Request(*who, settings, tuple(given[Grouping].items()), cores, engine, force, gpus, allow_remote)
    done = run(request, console.progress(quiet))
    chosen = choosing.select(done.faceset.folder, given, target, defaults)
    console.say(as_json, _joined(done, chosen, target), messages.curated)


def _joined(done: Curated, chosen: dict[str, Any], target: Path | None) -> dict[str, Any]:
    """The results of extraction and selection as one, with the contact sheet and the page that are written here."""
    summary, folder = done.summary(), done.faceset.folder
    pages = {"left_out": choosing.sheet(folder), "report": str(choosing.report(folder, target))}
    return {**summary, **chosen, **pages, "notes": [*summary["notes"], *done.people[1], *chosen["notes"]]}
