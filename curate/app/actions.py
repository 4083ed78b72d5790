"""What people do in the App: choose again, pin, ban, name the subject, write. The plugin only calls these.

Only `write`, `mark` and `make_subject` change the faceset: its selection, its pins, its subject. A new choice is
shown in the dataset first, and is written when people are content with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from curate.app import launch
from curate.app.dataset import save_views, show_pins, show_selection
from curate.app.launch import PROPOSED
from curate.dataset.faceset import Faceset, open_faceset, write_selection
from curate.dataset.lock import lock
from curate.dataset.pins import change_pins
from curate.errors import UsageError, WorkError
from curate.extract.pipeline import choose_person
from curate.schema import SELECTION_SCHEMA
from curate.select import selection
from curate.select.outcome import to_json
from curate.select.selection import Choice, Wishes


def faceset_of(dataset: Any) -> Faceset:
    """The faceset that a dataset shows; raises UsageError for a dataset of something else."""
    folder = dict(dataset.info.get(launch.INFO, {})).get("folder")
    if not folder:
        raise UsageError(f"dataset {dataset.name} shows no faceset: faceset app DIR loads one")
    return open_faceset(Path(folder))


def propose(dataset: Any, wishes: Wishes, target: Path | None = None) -> Choice:
    """Choose again and show it in the dataset; the faceset's files stay as they are until `write`.

    Raises as `choose` and `parse_budget` do.
    """
    faceset = faceset_of(dataset)
    wanted = open_faceset(target) if target else None
    proposal = selection.propose(faceset, wishes, wanted, dataset.values("face_id"))
    show_selection(dataset, faceset, proposal.choice.rows, proposal.outcome)
    save_views(dataset)
    dataset.info[PROPOSED] = {"options": proposal.options, "outcome": to_json(proposal.outcome)}
    dataset.save()
    return proposal.choice


def write(dataset: Any) -> int:
    """Write what the dataset shows as selected to the faceset's selection.parquet; the number of faces.

    Raises WorkError where nothing is selected, or nothing was chosen anew.
    """
    faceset = faceset_of(dataset)
    proposed = dataset.info.get(PROPOSED)
    if proposed is None:
        raise WorkError("there is no new selection to write: the one shown is on disk already; run Select again first")
    names = SELECTION_SCHEMA.names
    values = dataset.match({"selected": True}).sort_by("rank").values(list(names))
    rows = pd.DataFrame(dict(zip(names, values, strict=True)))
    if rows.empty:
        raise WorkError("no face is selected: run Select again first")
    with lock(faceset):
        write_selection(faceset, rows, dict(proposed["options"]), dict(proposed["outcome"]))
    del dataset.info[PROPOSED]
    launch.remember(dataset, faceset)
    return len(rows)


def mark(dataset: Any, sample_ids: Sequence[str], how: Literal["pin", "ban", "free"]) -> int:
    """Pin, ban or free the picked faces; how many. Takes effect with the next choice.

    Raises UsageError where none is picked.
    """
    if not sample_ids:
        raise UsageError(f"no face is picked: tick the faces to {how} first")
    faceset = faceset_of(dataset)
    faces = dataset.select(list(sample_ids)).values("face_id")
    with lock(faceset):
        pins = change_pins(faceset, **{how: faces})
    show_pins(dataset, pins)
    launch.remember(dataset, faceset)
    return len(faces)


def make_subject(dataset: Any, sample_ids: Sequence[str]) -> int:
    """Make the person of the picked faces the subject, choose with the defaults, load the faceset anew; the person.

    Raises UsageError where no face, or faces of several people, are picked.
    """
    from curate.select.selection import select_faceset

    people = set(dataset.select(list(sample_ids)).distinct("person")) if sample_ids else set()
    if len(people) != 1:
        raise UsageError(
            "no face is picked: tick one of the subject's"
            if not people
            else f"the picked faces are of {len(people)} people: tick faces of one"
        )
    faceset = choose_person(faceset_of(dataset), int(people.pop()))
    with lock(faceset):
        select_faceset(faceset)
    launch.finish(dataset, launch.refresh(dataset, faceset))
    return faceset.person or 0
