"""Selecting and reporting, as several verbs do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.select.options import Floors, SelectionOptions, Weights
from faceset.options import Given


def check(given: Given, target: Path | None) -> None:
    """Refuse wrong options of a selection before the work begins."""
    options = SelectionOptions(
        **given[SelectionOptions], floors=Floors(**given[Floors]), weights=Weights(**given[Weights])
    )
    if options.cover == "target" and target is None:
        raise UsageError("--cover target: name the target with --for TARGETSET")


def select(folder: Path, given: Given, target: Path | None, defaults: bool = False) -> dict[str, Any]:
    """Select from a faceset; the result as JSON values.

    What is not `given` is as in the faceset's last selection, its target too, unless `defaults` starts over.
    """
    from curate.dataset.faceset import open_faceset
    from curate.dataset.lock import lock
    from curate.select.persist import Last, changed, kept_from, last_options
    from curate.select.selection import select_faceset, summary

    faceset = open_faceset(folder)
    last = Last(SelectionOptions(), None) if defaults else last_options(faceset)
    options, wanted = changed(last.options, given), open_faceset(target) if target else last.target
    with lock(faceset):
        choice = select_faceset(faceset, options, wanted)
    found = summary(faceset, choice, options.weights, wanted)
    before = [*kept_from(last.options, given), *([f"--for {wanted.folder}"] if wanted and not target else [])]
    if before:
        found["notes"].insert(0, f"as in the last selection: {', '.join(before)}; --defaults starts over")
    return found


def report(folder: Path, target: Path | None = None) -> Path:
    """Write the coverage page of a faceset; its path."""
    from curate.dataset.faceset import open_faceset
    from reports.coverage.page import write

    return write(open_faceset(folder), target=open_faceset(target) if target else None)
