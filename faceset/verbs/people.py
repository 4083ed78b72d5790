"""`faceset people`."""

from __future__ import annotations

from typing import Annotated

import typer

from faceset import console, messages
from faceset.options import Folder, Json, Quiet


def people(
    folder: Folder,
    person: Annotated[int | None, typer.Option(metavar="N", help="Make this person the subject.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the people found in the footage as a sheet of faces (reports/people.png)."""
    from curate.dataset.faceset import open_faceset
    from curate.extract.pipeline import choose_person
    from reports.coverage.gallery import people_sheet

    console.progress(quiet)
    faceset = open_faceset(folder)
    if person is not None:
        faceset = choose_person(faceset, person)
    sheet = people_sheet(faceset, faceset.reports / "people.png")
    counts = faceset.table(["person", "kept"]).groupby("person").agg(faces=("kept", "size"), kept=("kept", "sum"))
    found = [{"person": int(str(i)), "faces": int(r.faces), "kept": int(r.kept)} for i, r in counts.iterrows()]
    changed = None if person is None else folder
    console.say(as_json, {"sheet": str(sheet), "people": found}, messages.people(changed))
