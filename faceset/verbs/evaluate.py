"""`faceset evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from curate.errors import UsageError, WorkError
from curate.types import Failure
from faceset import console
from faceset.options import Json, Quiet, Workers, faceset_at


def evaluate(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", help="Training runs, which are rendered.")
    ] = None,
    footage: Annotated[
        Path | None, typer.Option(metavar="VIDEO", help="Video to render. [default: each target's first clip]")
    ] = None,
    span: Annotated[
        str | None, typer.Option("--range", metavar="START-END", help="Render only this part, as 00:10-00:20.")
    ] = None,
    video: Annotated[
        list[Path] | None, typer.Option(metavar="VIDEO", help="Finished video, whoever made it; may be repeated.")
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(metavar="VIDEO", help="Footage of each --video, in the same order.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Faceset of the face that each --video shows.", callback=faceset_at),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the page and the CSV file.")] = Path(
        "evaluation"
    ),
    workers: Workers = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure swaps against their footage in one table: identity, performance, picture, steadiness."""
    videos, references = video or [], reference or []
    _check(runs or [], videos, references, span, out)
    rows, failed = _rows(runs or [], footage, span, (videos, references, source), workers, quiet)
    if not rows:
        raise WorkError("; ".join(f.reason for f in failed))
    from reports.evaluation import page

    html, sheet = page.write(rows, out)
    missing = [{"path": f.path, "reason": f.reason} for f in failed]
    found = {"rows": rows, "failed": missing, "report": str(html), "csv": str(sheet)}
    lines = [f"failed: {f.reason}" for f in failed]
    console.say(as_json, found, lambda _: "\n".join([*lines, page.text(rows), str(html), str(sheet)]))


def _check(runs: list[Path], videos: list[Path], references: list[Path], span: str | None, out: Path) -> None:
    """Refuse what does not go together, before the work begins."""
    if not runs and not videos:
        raise UsageError("evaluate: give at least one RUN, or --video with its --reference")
    if len(videos) != len(references):
        raise UsageError(f"--video: is given {len(videos)} times and --reference {len(references)} times; give pairs")
    if videos and span is not None and not runs:
        raise UsageError("--range: is for runs, which are rendered; a finished --video is compared whole, so cut both")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; choose a folder")


def _rows(
    runs: list[Path],
    footage: Path | None,
    span: str | None,
    finished: tuple[list[Path], list[Path], Path | None],
    workers: int,
    quiet: bool,
) -> tuple[list[dict[str, Any]], list[Failure]]:
    """The rows of the table, and why others are missing.

    `finished`: videos, their footage, and the faceset of the face that they show.
    """
    from curate.dataset.faceset import open_faceset
    from curate.runtime.files import scratch
    from curate.runtime.jobs import processes
    from render import evaluate as work
    from render.options import RenderOptions

    videos, references, source = finished
    progress, cores = console.progress(quiet), processes(workers)
    shown = () if source is None else tuple(tuple(float(v) for v in look) for look in open_faceset(source).looks())
    pairs = [work.Entrant(v.name, v, r, source=shown) for v, r in zip(videos, references, strict=True)]
    with scratch("faceset-evaluate-") as folder:
        options = RenderOptions(span=span, crf=12, workers=cores)
        failed: list[Failure] | None = [] if len(runs) + len(videos) > 1 else None  # one alone raises what it raises
        rendered = work.of_runs(runs, footage, folder, options, progress, failed)
        return work.table([*rendered, *pairs], cores, progress, failed), failed or []
