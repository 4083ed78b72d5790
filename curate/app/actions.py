"""The actions of the App: choose again, pin, ban, name the subject, write. The plugin only calls these.

Only `write`, `mark` and `make_subject` change the faceset: its selection, its pins, its subject. A new choice is
shown in the dataset first, and is written when people are content with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import pandas as pd

from curate.app import launch, sample
from curate.app.dataset import show_face, show_pins, show_selection
from curate.app.launch import PROPOSED
from curate.app.views import save_views
from curate.dataset.corrections import Correction
from curate.dataset.faceset import Faceset, open_faceset, write_selection
from curate.dataset.lock import lock
from curate.dataset.pins import change_pins
from curate.errors import UsageError, WorkError
from curate.extract.correct import correct, undo
from curate.extract.pipeline import choose_person
from curate.schema import SELECTION_SCHEMA
from curate.select import selection
from curate.select.options import SelectionOptions
from curate.select.outcome import to_json
from curate.select.persist import last_options
from curate.select.selection import Choice

CORRECT = "/correct"
"""Path of the page on which a face is corrected, on the App's server."""


def faceset_of(dataset: Any) -> Faceset:
    """The faceset that a dataset shows. Raises UsageError for a dataset of something else."""
    folder = dict(dataset.info.get(launch.INFO, {})).get("folder")
    if not folder:
        raise UsageError(f"dataset {dataset.name} does not show a faceset: run faceset app DIR to load one")
    return open_faceset(Path(folder))


def last(dataset: Any) -> SelectionOptions:
    """The options of the faceset's last selection, from which a form begins."""
    return last_options(faceset_of(dataset)).options


def propose(dataset: Any, options: SelectionOptions, target: Path | None = None) -> Choice:
    """A new choice, shown in the dataset; the faceset's files stay as they are until `write`.

    Raises as `choose` and `parse_budget` do.
    """
    faceset = faceset_of(dataset)
    wanted = open_faceset(target) if target else None
    proposal = selection.propose(faceset, options, wanted, _not_deleted(dataset, faceset))
    show_selection(dataset, faceset, proposal.choice.rows, proposal.outcome, proposal.options)
    save_views(dataset)
    dataset.info[PROPOSED] = {"options": proposal.options, "outcome": to_json(proposal.outcome)}
    dataset.save()
    return proposal.choice


def _not_deleted(dataset: Any, faceset: Faceset) -> set[str]:
    """Ids of the faces that were not deleted in the App."""
    shown, present = sample.kept(dataset), set(dataset.values("face_id"))
    return present if shown is None else set(faceset.table(["face_id"])["face_id"]) - (shown.ids - present)


def write(dataset: Any) -> int:
    """The number of faces written: those that the dataset shows as selected, to the faceset's selection.parquet.

    Raises WorkError where nothing is selected, or the selection is saved already.
    """
    faceset = faceset_of(dataset)
    proposed = dataset.info.get(PROPOSED)
    if proposed is None:
        raise WorkError("the selection shown is saved already: use Choose again first to make a new one")
    names = SELECTION_SCHEMA.names
    values = dataset.match({"selected": True}).sort_by("rank").values(list(names))
    rows = pd.DataFrame(dict(zip(names, values, strict=True)))
    if rows.empty:
        raise WorkError("no face is selected: use Choose again first")
    with lock(faceset):
        write_selection(faceset, rows, dict(proposed["options"]), dict(proposed["outcome"]))
    del dataset.info[PROPOSED]
    launch.remember(dataset, faceset)
    return len(rows)


def mark(dataset: Any, sample_ids: Sequence[str], how: Literal["pin", "ban", "free"]) -> int:
    """The number of ticked faces that were pinned, banned or freed. It takes effect with the next choice.

    Raises UsageError where none is ticked.
    """
    if not sample_ids:
        raise UsageError(f"no face is ticked: tick the faces to {how} first, or filter the view to them")
    faceset = faceset_of(dataset)
    faces = dataset.select(list(sample_ids)).values("face_id")
    with lock(faceset):
        pins = change_pins(faceset, **{how: faces})
    show_pins(dataset, pins)
    launch.remember(dataset, faceset)
    return len(faces)


def make_subject(dataset: Any, sample_ids: Sequence[str]) -> int:
    """The number of the person on the ticked faces, who becomes the subject.

    Faces are then chosen with the options of the last selection, and the dataset is loaded again. Raises UsageError
    where no face, or faces of several people, are ticked.
    """
    people = set(dataset.select(list(sample_ids)).distinct("person")) if sample_ids else set()
    if len(people) != 1:
        raise UsageError(
            "no face is ticked: tick one of the subject's faces first"
            if not people
            else f"the ticked faces show {len(people)} people: tick faces of one person only"
        )
    person = int(people.pop())
    faceset = choose_person(faceset_of(dataset), (person,))
    with lock(faceset):
        selection.select_faceset(faceset)
    launch.finish(dataset, launch.refresh(dataset, faceset))
    return person


def correct_face(faceset: Faceset, face_id: str, wanted: Correction | None) -> None:
    """Store the correction of one face, or with None forget it, and show its new scores in the App.

    Raises as `curate.extract.correct.correct`.
    """
    with lock(faceset), _in_step(faceset) as dataset:
        if wanted is None:
            undo(faceset, face_id)
        else:
            correct(faceset, face_id, wanted)
        if dataset is not None:
            show_face(dataset, faceset, face_id)


def correction_pages(dataset: Any, sample_ids: Sequence[str]) -> dict[str, str]:
    """Face id to the address of its page of `curate.app.correcting`, for the ticked faces. UsageError without any."""
    if not sample_ids:
        raise UsageError("no face is ticked: tick the faces to correct first")
    folder = str(faceset_of(dataset).folder.resolve())
    faces = dataset.select(list(sample_ids)).values("face_id")
    return {face: f"{CORRECT}?{urlencode({'folder': folder, 'face': face})}" for face in faces}


def ban_tracks(dataset: Any, sample_ids: Sequence[str]) -> int:
    """The number of faces that were banned: all of the tracks of the ticked faces. UsageError where none is ticked."""
    if not sample_ids:
        raise UsageError("no face is ticked: tick a face of somebody else first")
    return ban_track(faceset_of(dataset), dataset.select(list(sample_ids)).values("face_id"))


def ban_track(faceset: Faceset, face_ids: Sequence[str]) -> int:
    """The number of faces that were banned: all of the tracks of some faces. Raises UsageError for an unknown face."""
    table = faceset.table(["face_id", "track"])
    known = table["face_id"].isin(list(face_ids))
    if known.sum() < len(set(face_ids)):
        missing = sorted(set(face_ids) - set(table["face_id"]))
        raise UsageError(f"{faceset.folder} has no face {missing[0]}: see face_id in faces.parquet")
    faces = table.loc[table["track"].isin(table.loc[known, "track"]), "face_id"].tolist()
    with lock(faceset), _in_step(faceset) as dataset:
        pins = change_pins(faceset, ban=faces)
        if dataset is not None:
            show_pins(dataset, pins)
    return len(faces)


@contextmanager
def _in_step(faceset: Faceset) -> Iterator[Any]:
    """The dataset that shows the faceset as it is; None if there is none. It is in step with the files afterwards."""
    dataset = launch.shown_dataset(faceset)
    yield dataset
    if dataset is not None:
        launch.remember(dataset, faceset)
