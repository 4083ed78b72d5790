"""`faceset people`."""

from __future__ import annotations

from typing import Annotated

import typer

from faceset import console, messages
from faceset.options import Folder, Json, Persons, Quiet, persons_of


def people(
    folder: Folder,
    person: Persons = None,
    split: Annotated[
        int | None, typer.Option(metavar="N", help="Split this person into two people who look alike.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the people found in the footage as a sheet of faces (reports/people.png)."""
    from curate.dataset.faceset import open_faceset
    from curate.errors import UsageError
    from curate.extract import census
    from curate.extract.naming import persons_text
    from curate.extract.pipeline import choose_person, split_person
    from reports.coverage.gallery import people_sheet

    console.progress(quiet)
    faceset, chosen, changed = open_faceset(folder), persons_of(person), ""
    if chosen and split is not None:
        raise UsageError("--person and --split exclude each other: part the person first, then choose")
    if chosen:
        faceset, changed = choose_person(faceset, chosen), f"the subject is now {persons_text(chosen)}"
    if split is not None:
        before, faceset = faceset.grouping.same_person, split_person(faceset, split)
        limit = faceset.grouping.same_person
        changed = f"person {split} comes apart at the present limit of {limit:g}: the larger part is the subject"
        if limit != before:
            changed = f"faces of one person are now at most {limit:g} apart"
    sheet = people_sheet(faceset, faceset.reports / "people.png")
    found, notes = census.people(faceset)
    result = {"faceset": str(folder), "sheet": str(sheet), "people": [p.to_json() for p in found], "notes": list(notes)}
    console.say(as_json, result, messages.people(changed))
