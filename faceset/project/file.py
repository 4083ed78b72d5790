"""Project file: subjects, pairs, and options of every stage, read from TOML and checked before any work begins."""

from __future__ import annotations

import difflib
import math
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curate.errors import ConsentError, UsageError
from curate.options import options_of
from curate.records import checked, record, safe_name
from curate.select.options import Floors, SelectionOptions, Weights
from curate.settings import BASES, Settings
from curate.words import quoted
from render.compositing.settings import MaskSettings, RenderSettings
from render.options import RenderOptions
from train.config import TrainConfig, config_of

FORMAT = 1
OPTIONS: dict[str, tuple[Any, ...]] = {
    "extraction": (Settings,),
    "selection": (SelectionOptions, Floors, Weights),
    "training": (TrainConfig,),
    "rendering": (MaskSettings, RenderSettings, RenderOptions),
}
"""Table of the file to the dataclasses whose options it takes, by the names of their flags with underscores."""
NOT_HERE = {"force", "price", "workers"}
"""Options that a project decides by itself, or once for all stages."""
PARTS_OF_A_RUN = 10
"""A run is saved so many times at least, so that an interruption costs little."""


@dataclass(frozen=True)
class Person:
    """One subject: whose face it is, why it may be used, and the footage of it."""

    name: str
    basis: str
    footage: tuple[str, ...]
    evidence: str | None = None
    references: tuple[str, ...] = ()
    """Photos of the subject, where several people are in the footage."""
    person: int | None = None
    """Person from `faceset people` who is the subject."""
    budget: str | int = "auto"
    select_for: str | None = None
    """Key of the subject whose performance the selection is to cover."""


@dataclass(frozen=True)
class Pair:
    """One swap: who gives the face, whose performance is kept, and the videos to render."""

    source: str
    target: str
    render: tuple[str, ...] | None = None
    """Videos; None: the target's footage."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Options that differ from those of all pairs."""
    name: str = ""
    """Folder of its run and renders; by default SOURCE-TARGET."""


@dataclass(frozen=True)
class Project:
    """Everything that a project file says. Relative paths are relative to `folder`."""

    folder: Path
    subjects: Mapping[str, Person]
    pairs: tuple[Pair, ...]
    extraction: Mapping[str, Any] = field(default_factory=dict)
    selection: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    rendering: Mapping[str, Any] = field(default_factory=dict)
    price: float = 0.0
    """Of this machine, per hour."""
    workers: int = 0
    out: str = "."
    """Folder of the results."""

    @property
    def results(self) -> Path:
        """Folder of the results."""
        return self.folder / self.out

    def path(self, text: str) -> str:
        """A path or URL of the file as the stages need it."""
        return text if "://" in text else str(self.folder / text)

    def pair(self, name: str) -> Pair:
        """The pair of that name."""
        return next(p for p in self.pairs if p.name == name)

    def settings(self) -> dict[str, Any]:
        """Fields of Settings that the file gives."""
        return options_in(self, "extraction", self.extraction)[Settings]

    def choosing(self, key: str) -> SelectionOptions:
        """Options of a subject's selection."""
        given = options_in(self, "selection", self.selection)
        asked = given[SelectionOptions] | {"budget": str(self.subjects[key].budget)}
        return SelectionOptions(**asked, floors=Floors(**given[Floors]), weights=Weights(**given[Weights]))

    def config(self, pair: Pair) -> TrainConfig:
        """Options of a pair's training; a short run is saved and evaluated more often than its preset says."""
        given = options_in(self, "training", {**self.training, **pair.training})[TrainConfig]
        preset = given.pop("preset", "small")
        config = config_of(preset, **given, price=self.price)
        part = max(config.steps // PARTS_OF_A_RUN, 1)
        often = {n: min(getattr(config, n), part) for n in ("save_every", "preview_every") if n not in given}
        return replace(config, **often)

    def render_options(self) -> RenderOptions:
        """Options of all renders."""
        given = options_in(self, "rendering", self.rendering)
        settings = RenderSettings(MaskSettings(**given[MaskSettings]), **given[RenderSettings])
        return RenderOptions(settings, **given[RenderOptions], workers=self.workers)


def read_project(path: Path) -> Project:
    """The project that a file describes. Raises UsageError that names the file, the place and the value.

    Raises ConsentError where a subject has no basis, or a release no document: before any footage is read.
    """
    if path.is_dir():
        path = path / "project.toml"
    if not path.is_file():
        raise UsageError(f"{path}: no such file; write one with faceset init {quoted(path.parent)}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        number = values.pop("format", None)
        if number != FORMAT:
            raise TypeError(f"format is {number!r}; this version of faceset reads format {FORMAT}")
        project = record(Project, {"folder": path.resolve().parent, **values})
        project = replace(project, pairs=tuple(replace(p, name=p.name or _named(p)) for p in project.pairs))
        _check(project)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from None
    except UsageError as error:
        raise type(error)(f"{path}: {error}") from None
    return project


def options_in(project: Project, table: str, values: Mapping[str, Any]) -> dict[type, dict[str, Any]]:
    """Fields of each dataclass of a table's options; raises UsageError for an unknown name or a value of no use."""
    known = {one.parameter: (kind, one) for kind in OPTIONS[table] for one in options_of(kind)}
    known = {name: found for name, found in known.items() if name not in NOT_HERE}
    given: dict[type, dict[str, Any]] = {kind: {} for kind in OPTIONS[table]}
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"[{table}] has no option {name!r}{_meant(name, known)}")
        kind, one = known[name]
        try:
            if isinstance(value, str) and one.parse:
                value = one.parse(value)
            elif one.kind is Path:
                value = Path(project.path(checked(value, str, name)))
            given[kind][one.name] = checked(value, typing.get_type_hints(kind)[one.name], name)
        except TypeError as error:
            raise UsageError(f"[{table}] {error}: {one.help}") from None
    return given


def _meant(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _named(pair: Pair) -> str:
    return f"{pair.source}-{pair.target}"


def _check(project: Project) -> None:
    if not (math.isfinite(project.price) and project.price >= 0 and project.workers >= 0):
        raise UsageError(f"price {project.price:g} and workers {project.workers}: must be 0 or more")
    for key, person in project.subjects.items():
        _check_person(project, key, person)
    names = [pair.name for pair in project.pairs]
    if len(set(names)) < len(names):
        raise UsageError(f"two pairs are called {max(names, key=names.count)!r}: give one of them another name")
    for pair in project.pairs:
        _check_pair(project, pair)
    project.settings()
    project.render_options()


def _check_person(project: Project, key: str, person: Person) -> None:
    where = f"[subjects.{key}]"
    if not safe_name(key):
        raise UsageError(f"{where}: {key!r} cannot be the name of a folder")
    if not person.name.strip():
        raise UsageError(f"{where} name is empty: name the person whose face this is")
    if person.basis not in BASES:
        raise ConsentError(
            f"{where} basis {person.basis!r} does not state why the face of {person.name} may be used: "
            f"give one of {', '.join(BASES)}"
        )
    if person.basis == "release" and not person.evidence:
        raise ConsentError(f'{where} relies on a release but names no document: add evidence = "release.pdf"')
    for text in (person.evidence, *person.references):
        if text and not Path(project.path(text)).is_file():
            raise UsageError(f"{where} {text}: no such file")
    if not person.footage:
        raise UsageError(f"{where} footage is empty: list videos or folders")
    if person.select_for not in (None, *project.subjects):
        raise UsageError(f"{where} select_for {person.select_for!r}: is none of the subjects")
    project.choosing(key)


def _check_pair(project: Project, pair: Pair) -> None:
    where = f"pair {pair.name}"
    for side in (pair.source, pair.target):
        if side not in project.subjects:
            raise UsageError(f"{where}: {side!r} is none of the subjects ({', '.join(project.subjects)})")
    if not safe_name(pair.name):
        raise UsageError(f"{where}: this cannot be the name of a folder")
    if pair.source == pair.target:
        raise UsageError(f"{where}: source and target are the same subject")
    project.config(pair)
