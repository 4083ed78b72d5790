"""Options of the last selection: what is not given this time is as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from curate.dataset import selection_file
from curate.dataset.faceset import Faceset, is_faceset, open_faceset
from curate.errors import FacesetError
from curate.options import options_of
from curate.select.learned import HELD_OUT
from curate.select.options import Floors, SelectionOptions, Weights

INVALID = (TypeError, ValueError, AttributeError, FacesetError)
"""What damaged options raise."""


@dataclass(frozen=True, eq=False)
class Last:
    """How the last selection was made."""

    options: SelectionOptions
    target: Faceset | None
    """None where there was none, or its folder is gone."""


def last_options(faceset: Faceset) -> Last:
    """The options of the faceset's selection, or of the last one where it was removed, and its target.

    The defaults where there is no readable one. A target or a training run that is gone is left out.
    """
    stored = selection_file.last_options(faceset.selection_path)
    folder = stored.get("target")
    there = isinstance(folder, str) and is_faceset(Path(folder))
    options = options_from(stored)
    if options.cover == "target" and not there:
        options = replace(options, cover=None)
    if options.learn is not None and not (Path(options.learn) / HELD_OUT).is_file():
        options = replace(options, learn=None)
    return Last(options, open_faceset(Path(str(folder))) if there else None)


def options_from(stored: Mapping[str, Any]) -> SelectionOptions:
    """Options as they are stored with a selection; what is missing or not valid any more has its default."""
    try:
        return checked_options(stored)
    except INVALID:
        return SelectionOptions()


def checked_options(stored: Mapping[str, Any]) -> SelectionOptions:
    """Options as they are stored with a selection, what is missing by default; raises INVALID for damaged ones."""
    plain = {f.name: stored[f.name] for f in fields(SelectionOptions) if f.name in stored}
    plain["floors"] = Floors(**_known(Floors, stored.get("floors", {})))
    plain["weights"] = Weights(**_known(Weights, stored.get("weights", {})))
    return SelectionOptions(**plain)


def options_then(stored: Mapping[str, Any]) -> SelectionOptions:
    """The options with which a stored selection was made: floors that it does not name did not exist, or were off.

    Raises INVALID for damaged ones.
    """
    floors = dict.fromkeys((one.name for one in options_of(Floors)), None) | dict(stored.get("floors", {}))
    return checked_options({"keep_misread": True, **stored, "floors": floors})


def _known(kind: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    names: set[str] = {one.name for one in options_of(kind)}
    return {name: value for name, value in stored.items() if name in names}


def changed(last: SelectionOptions, given: Mapping[type, Mapping[str, Any]]) -> SelectionOptions:
    """The last options with those that were given; `given`: dataclass to its fields on the command line."""
    return replace(
        last,
        **given.get(SelectionOptions, {}),
        floors=replace(last.floors, **given.get(Floors, {})),
        weights=replace(last.weights, **given.get(Weights, {})),
    )


def kept_from(last: SelectionOptions, given: Mapping[type, Mapping[str, Any]]) -> tuple[str, ...]:
    """The options that are as last time and not the default, as they would be typed: `--budget 20`."""
    found = []
    for kind, values in ((SelectionOptions, last), (Floors, last.floors), (Weights, last.weights)):
        for one in options_of(kind):
            value = getattr(values, one.name)
            if value != one.default and one.name not in given.get(kind, {}):
                found.append(one.flag if value is True else f"{one.flag} {value}")
    return tuple(found)
