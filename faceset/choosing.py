"""Selecting and reporting, as several verbs do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.select.options import Floors, SelectionOptions, Weights
from faceset.options import Given


def selection_options(given: Given, target: Path | None) -> SelectionOptions:
    """The selection's options out of a verb's flags; wrong ones are refused before the work begins."""
    options = SelectionOptions(
        **given[SelectionOptions], floors=Floors(**given[Floors]), weights=Weights(**given[Weights])
    )
    if options.cover == "target" and target is None:
        raise UsageError("--cover target: name the target with --for TARGETSET")
    return options


def select(folder: Path, options: SelectionOptions, target: Path | None) -> dict[str, Any]:
    """Select from a faceset; the result as JSON values."""
    from curate.dataset.faceset import open_faceset
    from curate.dataset.lock import lock
    from curate.select.selection import select_faceset, summary

    faceset = open_faceset(folder)
    wanted = open_faceset(target) if target else None
    with lock(faceset):
        choice = select_faceset(faceset, options, wanted)
    return summary(faceset, choice, options.weights, wanted)


def report(folder: Path, target: Path | None = None) -> Path:
    """Write the coverage page of a faceset; its path."""
    from curate.dataset.faceset import open_faceset
    from reports.coverage.page import write

    return write(open_faceset(folder), target=open_faceset(target) if target else None)
