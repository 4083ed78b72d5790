"""The work of a project: every step that is due, in order; a step that fails stops only those that need it."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from curate.errors import FacesetError, UsageError, WorkError
from curate.runtime.files import write_whole
from curate.select.options import Floors, SelectionOptions, Weights
from curate.types import Progress, no_progress
from curate.words import quoted
from faceset import choosing
from faceset.project import keys
from faceset.project.file import Project
from faceset.project.state import Done, State, locked, read_state
from faceset.project.steps import Step, due, folder_of, footage_of, key_of, outputs, steps_of

log = logging.getLogger(__name__)

READY = "readiness.json"
"""Whether the source has what the target needs."""
EARLIER = "earlier"
"""Folder for runs and renders that a change has replaced; nothing in it is ever read or deleted."""


@dataclass(frozen=True)
class Outcome:
    """What became of a step."""

    step: Step
    state: str
    """current, done, failed, or waiting (for a step that failed)."""
    seconds: float = 0.0
    problem: str = ""


def work(project: Project, progress: Progress = no_progress) -> list[Outcome]:
    """Do every step that is due; the outcome of all, in order.

    Raises UsageError while another process works on the project, and WorkError where a signal stops a training.
    """
    found: list[Outcome] = []
    with locked(project.results):
        state = read_state(project.results)
        for step in steps_of(project):
            outcome = _one(project, state, step, {o.step.name: o for o in found}, progress)
            if outcome.problem:
                log.warning("%s: %s", step.name, outcome.problem)
            found.append(outcome)
    return found


def _one(project: Project, state: State, step: Step, before: dict[str, Outcome], progress: Progress) -> Outcome:
    broken = next((n for n in step.needs if before[n].state in ("failed", "waiting")), None)
    if broken is not None:
        return Outcome(step, "waiting", problem=f"waits for {broken}, which failed")
    began = time.monotonic()
    try:
        if not due(project, state, step).due:
            return Outcome(step, "current")
        log.info("%s", step.words)
        _do(project, state, step, progress)
    except FacesetError as error:
        if keys.run_facts(folder_of(project, step)).ended.startswith("stopped") and step.kind == "train":
            raise WorkError(f"{error}: run the project again to continue") from None
        return Outcome(step, "failed", time.monotonic() - began, str(error))
    return Outcome(step, "done", time.monotonic() - began)


def _do(project: Project, state: State, step: Step, progress: Progress) -> None:
    """Do one step. It is noted as begun, then as finished: killed between, it goes on from what is on disk."""
    key, known = key_of(project, step), state.steps.get(step.name)
    goes_on = known is not None and known.key == key
    if step.kind in SET_ASIDE and not goes_on:
        set_aside(project, outputs(project, step), folder_of(project, step), step)
    earlier = known.seconds if goes_on and known and not known.finished else 0.0
    state.put(step.name, Done(key, False, earlier))
    began = time.monotonic()
    units = DO[step.kind](project, step, progress)
    state.put(step.name, Done(key_of(project, step), True, round(time.monotonic() - began, 3), units))


def set_aside(project: Project, files: Iterable[Path], folder: Path, step: Step) -> None:
    """Move a run, or a video with its report and manifest, to EARLIER."""
    if step.kind == "train":
        moved = [folder] if folder.exists() else []
    else:
        stem = Path(step.out).stem
        moved = [p for p in sorted(folder.glob(f"{_plain(stem)}.*")) if p.is_file()]
    if not moved:
        return
    place = project.results / EARLIER
    number = 1 + max((int(p.name) for p in place.glob("*") if p.name.isdecimal()), default=0)
    for path in moved:
        target = place / str(number) / path.relative_to(project.results)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    log.warning("%s: its input changed; the earlier result is in %s", step.name, place / str(number))


def _plain(stem: str) -> str:
    """A name as a pattern that matches itself alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in stem)


def _curate(project: Project, step: Step, progress: Progress) -> float:
    from curate.extract.pipeline import Request, curate
    from curate.runtime.jobs import processes

    person, folder = project.subjects[step.of], folder_of(project, step)
    _check_clips(project, step, folder)
    request = Request(
        tuple(project.path(text) for text in person.footage),
        folder,
        person.name,
        person.basis,
        Path(project.path(person.evidence)) if person.evidence else None,
        tuple(Path(project.path(text)) for text in person.references),
        () if person.person is None else (person.person,),
        tuple(project.settings().items()),
        workers=processes(project.workers),
    )
    done = curate(request, progress)
    for failure in done.failed:
        log.warning("%s: %s", failure.path, failure.reason)
    return float(done.summary()["frames"])


def _check_clips(project: Project, step: Step, folder: Path) -> None:
    """Raise UsageError where the faceset has a clip that the file does not list any more."""
    from curate.dataset.faceset import is_faceset, open_faceset
    from curate.footage.paths import expand, parse_footage

    texts = [project.path(text) for text in project.subjects[step.of].footage]
    if not is_faceset(folder) or any("://" in text for text in texts):
        return
    listed = {each.path.resolve() for text in texts for each in expand(parse_footage(text))}
    for clip in open_faceset(folder).clips:
        if Path(clip.path).exists() and Path(clip.path).resolve() not in listed:
            raise UsageError(
                f"{folder} contains the clip {clip.name}, which [subjects.{step.of}] does not list: list it again, or "
                f"take it out with faceset remove {quoted(folder)} {clip.name}"
            )


def _select(project: Project, step: Step, progress: Progress) -> float:
    target = project.subjects[step.of].select_for
    options = project.choosing(step.of)
    given = {
        SelectionOptions: {"budget": options.budget, "cover": options.cover},
        Floors: asdict(options.floors),
        Weights: asdict(options.weights),
    }
    choosing.select(folder_of(project, step), given, _faceset(project, target) if target else None, defaults=True)
    return 1.0


def _report(project: Project, step: Step, progress: Progress) -> float:
    choosing.report(folder_of(project, step))
    choosing.sheet(folder_of(project, step))
    return 1.0


def _compare(project: Project, step: Step, progress: Progress) -> float:
    from curate.dataset.faceset import open_faceset
    from reports.coverage.page import write

    pair = project.pair(step.of)
    source, target = (open_faceset(_faceset(project, key)) for key in (pair.source, pair.target))
    folder = folder_of(project, step)
    write(source, folder, target)
    write_whole(folder / READY, json.dumps(choosing.ready(source.folder, target.folder), indent=1).encode())
    return 1.0


def _train(project: Project, step: Step, progress: Progress) -> float:
    from train.fit import train

    pair, run = project.pair(step.of), folder_of(project, step)
    before = keys.run_facts(run)
    resume = (run / "run.json").is_file()
    if not resume and run.exists():  # killed before it was a run
        log.info("%s: begins again", step.name)
    config = project.config(pair)
    if before.done > config.steps:
        config = replace(config, steps=before.done)
    train(
        config, _faceset(project, pair.source), _faceset(project, pair.target), run, resume,
        force=not resume, progress=progress,
    )  # fmt: skip
    return float(config.steps - before.done)


def _render(project: Project, step: Step, progress: Progress) -> float:
    from render.pipeline import render

    footage, options = footage_of(project, step), project.render_options()
    if footage.start is not None or footage.end is not None:
        span = f"{'' if footage.start is None else footage.start}-{'' if footage.end is None else footage.end}"
        options = replace(options, span=span)
    out = outputs(project, step)[0]
    if out.is_file():  # the video is moved into place last, so it is whole
        return 0.0
    out.parent.mkdir(parents=True, exist_ok=True)
    done = render(project.results / "runs" / step.of, footage.path, out, options, progress)
    return float(done.frames - done.resumed)


def _faceset(project: Project, key: str) -> Path:
    return project.results / "facesets" / key


SET_ASIDE = ("train", "render")
"""Kinds of steps whose earlier result is kept when their input changes: they take hours to make."""
DO: dict[str, Callable[[Project, Step, Progress], float]] = {
    "curate": _curate,
    "select": _select,
    "report": _report,
    "compare": _compare,
    "train": _train,
    "render": _render,
}
"""Each does a step and returns how many frames or training steps it took."""
