"""Publication of a finished render: watermark registry, artifact report, mux, signature, files moved into place."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from curate.errors import WorkError
from curate.footage.picture import stretch
from curate.footage.timeline import timeline
from curate.safe_io import one_line
from render.compositing.swap import stored_points
from render.output import mux, tracking
from render.output.footage_format import FootageFormat
from render.plan import Plan, folder_of, load_heads, measures
from render.provenance import keys, manifest, mp4_boxes, registry
from render.provenance.watermark import SLOTS
from render.provenance.watermark_code import identifier_text
from render.provenance.watermark_video import find_watermarks

if TYPE_CHECKING:
    from reports.artifacts.report import ArtifactReport
    from train.run import Run

log = logging.getLogger(__name__)

STORE = "manifest.c2pa"
SIGNED = "signed"


def register(made: Plan, runs: Sequence[Run], out: Path, identifier: int | None = None) -> int:
    """Identifier of a new watermark, entered into the installation's registry; or that one again. Raises WorkError."""
    subject, *others = (run.source.subject for run in runs)
    return registry.new_entry(
        title=out.name, subject=subject.name, basis=subject.basis, model_sha256=made.weights_sha256,
        out=str(out.resolve()), source_sha256s=tuple(s.sha256 for s in _sources(runs)), over=made.over,
        others=tuple(registry.Face(other.name, other.basis) for other in others), identifier=identifier,
    )  # fmt: skip


def free_slot(footage: Path) -> tuple[int, tuple[str, ...]]:
    """Slot for a new watermark, and the texts of those that the footage carries: a free one, else the weakest mark's.

    Footage that was cropped or padded after it was rendered counts as unmarked: its marks do not lie where the new one
    does.
    """
    found = find_watermarks(footage, moved=False, known=registry.identifiers())
    if found:
        log.info("%s: carries the mark of %s", footage, ", ".join(identifier_text(r.identifier) for r in found))
    taken = {r.slot: r.score for r in found if r.slot is not None}
    free = [slot for slot in range(SLOTS) if slot not in taken]
    slot = free[0] if free else min(taken, key=lambda s: taken[s])
    return slot, tuple(identifier_text(r.identifier) for r in found)


@contextmanager
def withdrawn_on_failure(made: Plan) -> Iterator[None]:
    """Take the entry of a render that fails out of the registry, unless pictures with its watermark are there."""
    try:
        yield
    except BaseException:
        if made.frames is None:
            with suppress(WorkError):  # what failed is what is to be reported
                registry.withdraw(made.identifier)
        raise


def _sources(runs: Sequence[Run]) -> list[manifest.Source]:
    """The clips of all sources, each once."""
    clips = dict.fromkeys(clip for run in runs for clip in run.source.clips)
    return [manifest.Source("source", name, sha256) for name, sha256 in clips]


def artifact_reports(folder: Path, made: Plan) -> tuple[list[ArtifactReport], float]:
    """The artifact report of each person, and the footage's time in seconds at which the output starts."""
    found = [artifact_report(folder, made, number) for number in range(made.people)]
    return [report for report, _ in found], found[0][1]


def artifact_report(folder: Path, made: Plan, number: int = 0) -> tuple[ArtifactReport, float]:
    """The artifact report of one person, and the footage's time in seconds at which the output starts."""
    from reports.artifacts.parts import InspectedPart
    from reports.artifacts.report import merge

    parts = [InspectedPart.load(part.path(folder, measures(number))) for part in made.parts]
    # The timestamps of a range start at 0; those of the footage do not.
    offset = 0.0 if made.whole else float(parts[0].rows[0]["time"])
    parts = [replace(p, rows=tuple({**row, "time": row["time"] - offset} for row in p.rows)) for p in parts]
    return merge(parts, made.clip.fps, has_reference=True), offset


def statement(runs: Sequence[Run], made: Plan, frames: int, swapped: Sequence[int]) -> manifest.RenderStatement:
    """What the manifest states about the render; `swapped` counts each person's frames."""
    sources = (*_sources(runs), manifest.Source("target", Path(made.clip.path).name, made.clip.sha256))
    rows = zip(runs[1:], made.others, swapped[1:], strict=True)
    others = [manifest.Swap(r.source.subject, r.target.subject, cast.weights_sha256, n) for r, cast, n in rows]
    return manifest.RenderStatement(
        runs[0].source.subject, runs[0].target.subject, sources, made.weights_sha256, frames, swapped[0],
        made.identifier, made.over, tuple(others),
    )  # fmt: skip


def mux_and_sign(
    folder: Path,
    made: Plan,
    footage_format: FootageFormat,
    times: Sequence[int],
    out: Path,
    stated: manifest.RenderStatement,
    key: keys.SigningKey,
    tsa: str | None,
) -> tuple[str, ...]:
    """Join the parts with the footage's timestamps and sound, and sign them; the results stay in the folder.

    `times` are the frames' presentation timestamps; `tsa` is the address of a time-stamp authority, or None. Gives
    sentences about what of the footage could not be kept. Raises WorkError; the parts stay.
    """
    unsigned, footage = folder / f"unsigned{out.suffix}", Path(made.clip.path)
    parts = [part.path(folder, made.coding.suffix) for part in made.parts]
    span = None if made.whole else (made.first, made.end - 1)
    try:
        notes = mux.mux(
            parts, footage, unsigned, out.suffix.lower(), times, mp4_boxes.NOTICE, span, footage_format.size
        )
    except (av.error.FFmpegError, ValueError) as error:
        raise WorkError(
            f"--out {out}: the rendered frames cannot be joined with the sound of {footage} ({one_line(error)}); they "
            "are kept: convert the sound or remove it, then run the same command again to resume"
        ) from None
    store = manifest.sign(unsigned, folder / SIGNED, out.name, stated, footage, key, tsa)
    (folder / STORE).write_bytes(store)
    unsigned.unlink()
    return notes


def tracking_files(
    folder: Path, made: Plan, footage_format: FootageFormat, times: Sequence[int], to: Path | None
) -> None:
    """Write head pose and points of all frames that show the face; further people go to folders 2, 3, ... in `to`.

    Nothing is written without `to`. Raises WorkError.
    """
    if to is None:
        return
    for number in range(made.people):
        own = to if number == 0 else to / str(number + 1)
        _tracking_files(folder_of(folder, number), made, footage_format, times, own)


def _tracking_files(folder: Path, made: Plan, footage_format: FootageFormat, times: Sequence[int], to: Path) -> None:
    line = timeline(Path(made.clip.path))
    square = stretch(footage_format.aspect or Fraction(1))
    heads = [
        tracking.Head(
            row["frame"], float((line.times[row["frame"]] - times[0]) * line.base), row["yaw"], row["pitch"],
            row["roll"], stored_points(row["landmarks"], square),
        )
        for row in load_heads(folder)
        if made.first <= row["frame"] < made.end
    ]  # fmt: skip
    tracking.write(to, heads, footage_format.size)


def move_into_place(
    folder: Path,
    reports: Sequence[ArtifactReport],
    offset: float,
    out: Path,
    runs: Sequence[Run],
    made: Plan,
    mended: Sequence[str] = (),
) -> tuple[list[Path], Path]:
    """Write the reports' pages and move sidecar and video to their names, the video last; paths of pages, sidecar.

    `mended` are sentences about what --mend changed.
    """
    from reports.artifact_page import page as artifact_page

    changes = {"mended": "; ".join(mended)} if mended else {}
    pages = []
    for number, (report, run) in enumerate(zip(reports, runs, strict=True)):
        facts = _page_facts(offset, out, run, made.person(number)) | changes
        facts |= {"person": run.target.subject.name} if len(runs) > 1 else {}
        pages.append(artifact_page.write(report, page_of(out, number), facts))
    sidecar = manifest.sidecar_path(out)
    os.replace(folder / STORE, sidecar)
    with (folder / SIGNED).open("rb+") as stream:
        os.fsync(stream.fileno())
    os.replace(folder / SIGNED, out)
    return pages, sidecar


def page_of(out: Path, number: int) -> Path:
    """Page of a person's artifact report: OUT.artifacts.html, and OUT.artifacts-2.html for the second."""
    return out.with_suffix(f".artifacts{f'-{number + 1}' if number else ''}.html")


def _page_facts(offset: float, out: Path, run: Run, made: Plan) -> dict[str, Any]:
    return {
        "video": out.name,
        "reference": Path(made.clip.path).name,
        "video_path": str(out.resolve()),
        "reference_path": made.clip.path,
        "reference_offset": None if made.whole else offset,
        "source_faceset": run.source.folder if Path(run.source.folder).is_dir() else None,
        "settings": _flags(made, run.size),
        "source": run.source.subject.name,
        "target": run.target.subject.name,
        "run": run.path.name,
        "generator": manifest.generator(),
    }


def _flags(made: Plan, size: int) -> dict[str, Any]:
    """The settings by the names of their flags."""
    mask, other = asdict(made.settings.mask), asdict(made.settings)
    mask |= {"mask": mask.pop("mode"), "keep": ",".join(made.settings.mask.keep)}
    del other["mask"]
    return {**mask, **other, "size": size}
