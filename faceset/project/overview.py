"""What index.html shows of a project: verdicts out of the reports on disk, a picture of each result, links."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from curate.errors import FacesetError
from curate.safe_io import DAMAGED
from curate.types import Image
from faceset.project.file import Pair, Project
from faceset.project.steps import Step, footage_of, outputs
from faceset.project.work import READY, Outcome
from reports.overview.page import Card, Link, Note, Overview, StepRow, write
from reports.page.pictures import data_uri, jpeg

FACES = 24
"""Selected faces shown of each subject."""
HEIGHT = 360
"""Pixels of a rendered frame."""


def write_overview(project: Project, name: str, outcomes: Sequence[Outcome]) -> Path:
    """Write index.html of the project; its path."""
    steps = tuple(StepRow(o.step.words, o.state, o.seconds, o.problem) for o in outcomes)
    found = Overview(
        name,
        tuple(_pair(project, pair, [o for o in outcomes if _belongs(o.step, pair)]) for pair in project.pairs),
        tuple(_subject(project, key, outcomes) for key in project.subjects),
        steps,
        (("Folder", str(project.folder)), ("Results", str(project.results.resolve()))),
    )
    return write(found, project.results / "index.html")


def _belongs(step: Step, pair: Pair) -> bool:
    return step.of == pair.name and step.kind in ("compare", "train", "render")


def _subject(project: Project, key: str, outcomes: Sequence[Outcome]) -> Card:
    own = [o for o in outcomes if o.step.of == key and o.step.kind in ("curate", "select", "report")]
    person = project.subjects[key]
    report = next(o.step for o in own if o.step.kind == "report")
    page = outputs(project, report)[0]
    notes = [*_verdicts(project, "Coverage", page, "coverage report")]
    notes.append(Note("Basis", person.basis + (f" ({person.evidence})" if person.evidence else "")))
    pictures = _faces(page.parent.parent)
    caption = f"The first {len(pictures)} selected faces, in order of choice"
    return Card(person.name, _state(own), tuple(notes), pictures, caption, (), _problems(own))


def _pair(project: Project, pair: Pair, own: Sequence[Outcome]) -> Card:
    source, target = (project.subjects[key].name for key in (pair.source, pair.target))
    steps = {kind: [o.step for o in own if o.step.kind == kind] for kind in ("compare", "train", "render")}
    notes: list[Note] = []
    pictures: list[str] = []
    links: list[Link] = []
    compared = outputs(project, steps["compare"][0])[0]
    ready = _json(compared.with_name(READY)).get("verdict")
    link = Link("Open the coverage of the target", _href(project, compared))
    notes += [Note("Footage", ready, link)] if isinstance(ready, str) else []
    run = outputs(project, steps["train"][0])[0].parent
    notes += _verdicts(project, "Training", run / "reports" / "training.html", "training report")
    for step in steps["render"]:
        video = outputs(project, step)[0]
        notes += _verdicts(project, step.out, video.with_suffix(".artifacts.html"), "artifact report")
        if video.is_file():
            links.append(Link(f"Watch {step.out}", _href(project, video)))
            pictures += _frames(project, step, video)
    caption = "Target (left) and render (right), at the same moment" if len(pictures) > 1 else "Render"
    if not pictures:
        pictures, caption = _preview(run), "Preview of the training: held-out faces, reconstructions and swaps"
    title = f"{source} in place of {target}"
    return Card(title, _state(own), tuple(notes), tuple(pictures), caption, tuple(links), _problems(own))


def _state(own: Sequence[Outcome]) -> str:
    states = {o.state for o in own}
    return "failed" if "failed" in states else "waiting" if "waiting" in states else "done"


def _problems(own: Sequence[Outcome]) -> tuple[str, ...]:
    return tuple(f"{o.step.words[0].upper()}{o.step.words[1:]}: {o.problem}" for o in own if o.problem)


def _verdicts(project: Project, about: str, page: Path, words: str) -> list[Note]:
    """The verdict of a report, with a link to it; empty where there is no report yet."""
    figures = _json(page.with_suffix(".json"))
    if not page.is_file() or not isinstance(figures.get("verdict"), str):
        return []
    return [Note(about, figures["verdict"], Link(f"Open the {words}", _href(project, page)))]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except DAMAGED:
        return {}
    return found if isinstance(found, dict) else {}


def _href(project: Project, path: Path) -> str:
    return quote(path.relative_to(project.results).as_posix())


def _faces(folder: Path) -> tuple[str, ...]:
    """Pictures of a faceset's first selected faces."""
    from curate.dataset.faceset import open_faceset
    from reports.page.album import Album

    try:
        faceset = open_faceset(folder)
        return Album(faceset).uris(faceset.selected(["crop"])["crop"].head(FACES))
    except FacesetError:
        return ()


def _preview(run: Path) -> list[str]:
    """The last preview sheet of a run."""
    import cv2

    sheets = sorted((run / "previews").glob("step-*.png"), key=lambda p: (len(p.name), p.name))
    image = cv2.imread(str(sheets[-1])) if sheets else None
    return [] if image is None else [data_uri(jpeg(image[:, :, ::-1], 2 * HEIGHT))]  # type: ignore[arg-type]


def _frames(project: Project, step: Step, video: Path) -> list[str]:
    """The frame of the footage and the rendered one in the middle of a face's time in the video."""
    try:
        footage = footage_of(project, step)
        shown = _moment(video)
        offset = footage.start or 0.0
        pair = (_frame(footage.path, shown + offset), _frame(video, shown))
    except (FacesetError, StopIteration, *DAMAGED):
        return []
    return [data_uri(jpeg(image, HEIGHT)) for image in pair]


def _moment(video: Path) -> float:
    """Middle of a video in seconds."""
    from curate.footage.video import probe

    return probe(video).duration / 2


def _frame(path: Path, moment: float) -> Image:
    """First frame at or after a time in seconds."""
    from curate.footage.video import decode, probe, segments

    clip = probe(path)
    part = segments(replace(clip, start=moment, end=clip.duration), 1e9)[0]
    return next(iter(decode(clip, part))).image
