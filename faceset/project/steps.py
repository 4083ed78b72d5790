"""Steps of a project in their order, the files that each writes, and whether it is due."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from curate.errors import UsageError
from curate.footage.paths import PHOTO_SUFFIXES, Footage, expand, parse_footage
from faceset.project import keys
from faceset.project.file import Pair, Project
from faceset.project.state import State
from train.config import TrainConfig

Kind = Literal["curate", "select", "report", "compare", "train", "render"]
WORDS: dict[Kind, str] = {
    "curate": "find and score the faces of {}",
    "select": "select the faces of {} to train on",
    "report": "write the coverage report of {}",
    "compare": "compare source and target of {}",
    "train": "train {}",
    "render": "render {}",
}


@dataclass(frozen=True)
class Step:
    """One step: of a subject, a pair, or a video of a pair."""

    kind: Kind
    of: str
    """Key of the subject or name of the pair."""
    needs: tuple[str, ...] = ()
    """Names of the steps before it."""
    video: str = ""
    """Video to render, as the file gives it."""
    out: str = ""
    """Name of the rendered video."""

    @property
    def name(self) -> str:
        """Unique name."""
        return f"{self.kind} {self.of}" + (f"/{self.out}" if self.out else "")

    @property
    def words(self) -> str:
        """What it does."""
        return WORDS[self.kind].format(f"{self.of}/{self.out}" if self.out else self.of)


@dataclass(frozen=True)
class Due:
    """Whether a step has to be done, and why."""

    due: bool
    why: str
    """missing, changed, interrupted, more steps, or `follows` another; `current` if it is not due."""


def steps_of(project: Project) -> list[Step]:
    """All steps, subjects first, then pair after pair."""
    keys_ = list(project.subjects)
    found = [Step("curate", key) for key in keys_]
    for key in keys_:
        target = project.subjects[key].select_for
        needs = (f"curate {key}",) + ((f"curate {target}",) if target else ())
        found += [Step("select", key, needs), Step("report", key, (f"select {key}",))]
    for pair in project.pairs:
        both = (f"select {pair.source}", f"select {pair.target}")
        found += [Step("compare", pair.name, both), Step("train", pair.name, both)]
        found += _renders(project, pair)
    return found


def _renders(project: Project, pair: Pair) -> list[Step]:
    suffix = ".mov" if str(project.rendering.get("codec", "")).startswith("prores") else ".mp4"
    names: set[str] = set()
    steps = []
    for video in videos(project, pair):
        base = Path(parse_footage(video).path).stem
        name, number = base + suffix, 2
        while name in names:
            name, number = f"{base}-{number}{suffix}", number + 1
        names.add(name)
        steps.append(Step("render", pair.name, (f"train {pair.name}",), video, name))
    return steps


def videos(project: Project, pair: Pair) -> tuple[str, ...]:
    """Videos to render: the pair's own, or those of the target's footage, folders and photos left out."""
    if pair.render is not None:
        return pair.render
    found: list[str] = []
    for text in project.subjects[pair.target].footage:
        path = Path(project.path(str(parse_footage(text).path)))
        if "://" in text or path.suffix.lower() in PHOTO_SUFFIXES:
            continue
        found += [text] if not path.is_dir() else [str(f.path) for f in expand(Footage(path)) if f.path.is_file()]
    return tuple(found)


def folder_of(project: Project, step: Step) -> Path:
    """Folder that a step writes."""
    place: dict[Kind, str] = {"train": "runs", "render": "renders", "compare": "reports"}
    return project.results / place.get(step.kind, "facesets") / step.of


def outputs(project: Project, step: Step) -> list[Path]:
    """Files that exist if a step is done, the one worth opening first."""
    folder = folder_of(project, step)
    names: dict[Kind, tuple[str, ...]] = {
        "curate": ("faces.parquet", "faceset.toml"),
        "select": ("selection.parquet",),
        "report": ("reports/coverage.html", "reports/coverage.json"),
        "compare": ("coverage.html", "coverage.json"),
        "train": ("model.safetensors", "run.json"),
        "render": (step.out, f"{Path(step.out).stem}.artifacts.json"),
    }
    return [folder / name for name in names[step.kind]]


def key_of(project: Project, step: Step) -> str:
    """Hash of a step's input. Its input has to exist. Raises UsageError for footage that does not."""
    return keys.digest(KEYS[step.kind](project, step))


def due(project: Project, state: State, step: Step, before: Collection[str] = ()) -> Due:
    """Whether a step has to be done; `before` are names of steps that will be done first."""
    follows = next((name for name in step.needs if name in before), None)
    if follows is not None:
        return Due(True, f"follows {follows}")
    known = state.steps.get(step.name)
    there = all(path.is_file() for path in outputs(project, step))
    if known is None:
        return Due(True, "changed" if there and step.kind in ("train", "render") else "missing")
    if known.key != key_of(project, step):
        return Due(True, "changed")
    if not known.finished:
        return Due(True, "interrupted")
    if not there:
        return Due(True, "missing")
    if step.kind == "train" and _wants_more(project, step):
        return Due(True, "more steps")
    return Due(False, "current")


def _wants_more(project: Project, step: Step) -> bool:
    run = keys.run_facts(folder_of(project, step))
    return run.ended not in ("finished", "plateau") or run.steps < project.config(project.pair(step.of)).steps


def footage_of(project: Project, step: Step) -> Footage:
    """The video of a render and its range."""
    found = parse_footage(project.path(step.video))
    if not found.path.is_file():
        raise UsageError(f"{step.video}: no such video, so {step.words} is impossible; correct render in the file")
    return found


def _curate_key(project: Project, step: Step) -> Any:
    person = project.subjects[step.of]
    documents = [t for t in (person.evidence, *person.references) if t]
    return [
        person.name, person.basis, person.person, keys.settings_digest(project),
        [keys.files(project.path(text)) for text in person.footage],
        [keys.files(project.path(text)) for text in documents],
    ]  # fmt: skip


def _faceset(project: Project, key: str) -> Path:
    return project.results / "facesets" / key


def _select_key(project: Project, step: Step) -> Any:
    target = project.subjects[step.of].select_for
    folder = _faceset(project, step.of)
    return [
        keys.stamp(folder / "faces.parquet"), keys.stamp(folder / "pins.json"), repr(project.choosing(step.of)),
        target and keys.stamp(_faceset(project, target) / "faces.parquet"),
    ]  # fmt: skip


def _report_key(project: Project, step: Step) -> Any:
    folder = _faceset(project, step.of)
    return [keys.stamp(folder / "faces.parquet"), keys.selected(folder)]


def _compare_key(project: Project, step: Step) -> Any:
    pair = project.pair(step.of)
    folders = [_faceset(project, key) for key in (pair.source, pair.target)]
    return [[keys.stamp(f / "faces.parquet"), keys.selected(f)] for f in folders]


NEUTRAL = ("steps", "save_every", "preview_every", "keep", "log_every", "device", "price", "compile", "identity",
           "evaluate", "evaluate_seconds")  # fmt: skip
"""Options of training that leave the trained network as it is, or (steps) that a run continues with."""


def _train_key(project: Project, step: Step) -> Any:
    pair = project.pair(step.of)
    config: TrainConfig = project.config(pair)
    values = {k: v for k, v in config.to_json().items() if k not in NEUTRAL}
    sides = [[key, keys.selected(_faceset(project, key))] for key in (pair.source, pair.target)]
    return [json.dumps(values, sort_keys=True), keys.settings_digest(project), sides]


def _render_key(project: Project, step: Step) -> Any:
    run = keys.run_facts(project.results / "runs" / step.of)
    footage = footage_of(project, step)
    return [run.weights_sha256, keys.files(str(footage.path)), footage.start, footage.end,
            repr(project.render_options()), *run.gains]  # fmt: skip


KEYS = {
    "curate": _curate_key,
    "select": _select_key,
    "report": _report_key,
    "compare": _compare_key,
    "train": _train_key,
    "render": _render_key,
}
