"""What people do in the App: choose again, pin, ban, name the subject, write. The plugin only calls these.

Only `write`, `mark` and `make_subject` change the faceset: its selection, its pins, its subject. A new choice is
shown in the dataset first, and is written when people are content with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from curate.app import launch
from curate.app.dataset import save_views, show_pins, show_selection
from curate.app.launch import PROPOSED
from curate.dataset.faceset import Faceset, open_faceset, write_selection
from curate.dataset.lock import lock
from curate.dataset.pins import change_pins, read_pins
from curate.errors import UsageError, WorkError
from curate.extract.pipeline import choose_person
from curate.schema import SELECTION_SCHEMA
from curate.select.options import SelectionOptions
from curate.select.selection import Choice, choose, select_columns


def faceset_of(dataset: Any) -> Faceset:
    """The faceset that a dataset shows; raises UsageError for a dataset of something else."""
    folder = dict(dataset.info.get(launch.INFO, {})).get("folder")
    if not folder:
        raise UsageError(f"dataset {dataset.name} shows no faceset: faceset app DIR loads one")
    return open_faceset(Path(folder))


def propose(dataset: Any, wishes: SelectionOptions, target: Path | None = None) -> Choice:
    """Choose again and show it in the dataset; the faceset's files stay as they are until `write`.

    Raises as `choose` and `parse_budget` do.
    """
    from curate.select.coverage import frame_rate
    from curate.select.options import parse_budget

    faceset = faceset_of(dataset)
    budget = parse_budget(wishes.budget, frame_rate(faceset.clips))
    wanted = open_faceset(target).table(select_columns(), kept=True) if target else None
    table, pins = faceset.table(select_columns(), kept=True), read_pins(faceset)
    table = table[table["face_id"].isin(dataset.values("face_id"))]  # those without a crop cannot be shown
    choice = choose(table, budget, wishes.floors, wishes.weights, wishes.seed, wishes.cover, pins, wanted)
    show_selection(dataset, faceset, choice.rows)
    save_views(dataset)
    dataset.info[PROPOSED] = asdict(wishes) | {"target": str(target) if target else None}
    dataset.save()
    return choice


def write(dataset: Any) -> int:
    """Write what the dataset shows as selected to the faceset's selection.parquet; the number of faces.

    Raises WorkError where nothing is selected, or nothing was chosen anew.
    """
    faceset = faceset_of(dataset)
    options = dataset.info.get(PROPOSED)
    if options is None:
        raise WorkError("nothing was chosen anew: the shown selection is the one on disk; run Choose again first")
    names = SELECTION_SCHEMA.names
    values = dataset.match({"selected": True}).sort_by("rank").values(list(names))
    rows = pd.DataFrame(dict(zip(names, values, strict=True)))
    if rows.empty:
        raise WorkError("no face is selected: choose again first")
    with lock(faceset):
        write_selection(faceset, rows, dict(options))
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
