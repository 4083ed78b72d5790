"""`faceset remove`."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Annotated

import typer

from curate.select.options import Floors, SelectionOptions, Weights
from faceset import choosing, console, messages
from faceset.options import Folder, Json, Quiet


def remove(
    folder: Folder,
    clips: Annotated[list[str], typer.Argument(metavar="CLIP...", help="Clips, by name in the faceset or by path.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it only report what would be removed.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove clips from a faceset, shown on a sheet first, and select again from the rest."""
    from curate.dataset.faceset import open_faceset
    from curate.select.persist import last_options
    from curate.upkeep.remove import remove_clips
    from reports.sheets.page import write_remove

    faceset = open_faceset(folder)
    last = last_options(faceset)  # the selection goes with the clips; how it was made stays
    removed = remove_clips(faceset, clips, yes, console.progress(quiet))
    done = asdict(removed) | {"sheet": None}
    if not yes:
        done["sheet"] = str(write_remove(faceset, [clip.name for clip in removed.clips]))
    else:
        options = {one.name: getattr(last.options, one.name) for one in fields(SelectionOptions)}
        parts = {Floors: vars(options.pop("floors")), Weights: vars(options.pop("weights"))}
        target = None if last.target is None else last.target.folder
        done |= choosing.select(folder, {SelectionOptions: options, **parts}, target)
        done["report"] = str(choosing.report(folder))
    console.say(as_json, done, messages.removed)
