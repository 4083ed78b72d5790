"""Pinned and banned faces of a faceset, by face id, in pins.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from curate.dataset import mirror
from curate.dataset.faceset import Faceset
from curate.errors import UsageError, WorkError
from curate.runtime.files import atomic

FILE = "pins.json"


@dataclass(frozen=True)
class Pins:
    """Face ids, sorted; none is in both."""

    pinned: tuple[str, ...] = ()
    """Selected before all others, and counted in the budget."""
    banned: tuple[str, ...] = ()
    """Never eligible."""

    def changed(self, pin: Iterable[str] = (), ban: Iterable[str] = (), free: Iterable[str] = ()) -> Pins:
        """With some faces pinned, banned or neither; the latest wish of a face holds. UsageError if two are given."""
        pin, ban, free = set(pin), set(ban), set(free)
        twice = sorted((pin & ban) | (pin & free) | (ban & free))
        if twice:
            raise UsageError(f"face {twice[0]}: give it to only one of --pin, --ban and --free")
        pinned = (set(self.pinned) | pin) - ban - free
        banned = (set(self.banned) | ban) - pin - free
        return Pins(tuple(sorted(pinned)), tuple(sorted(banned)))


def read_pins(faceset: Faceset) -> Pins:
    """Pins of the faceset; empty if there is no file. Raises WorkError if the file is damaged."""
    path = faceset.folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pinned, banned = content["pinned"], content["banned"]
        if not all(isinstance(i, str) for i in [*pinned, *banned]):
            raise TypeError("a face id is not a string")
    except FileNotFoundError:
        return Pins()
    except (ValueError, KeyError, TypeError) as error:
        raise WorkError(f"{path} is damaged ({error}): delete it and pin the faces again") from None
    return Pins(tuple(sorted(set(pinned))), tuple(sorted(set(banned) - set(pinned))))


def change_pins(faceset: Faceset, pin: Iterable[str] = (), ban: Iterable[str] = (), free: Iterable[str] = ()) -> Pins:
    """Pin, ban or free some of the faceset's faces, and save the result.

    Raises UsageError for a face that the faceset does not hold, or that is given twice.
    """
    pin, ban, free = list(pin), list(ban), list(free)
    known = set(faceset.table(["face_id"])["face_id"])
    for flag, ids in (("--pin", pin), ("--ban", ban), ("--free", free)):
        unknown = [face for face in ids if face not in known]
        if unknown:
            raise UsageError(f"{flag} {unknown[0]}: {faceset.folder} has no such face; see face_id in faces.parquet")
    pins = read_pins(faceset).changed(pin, ban, free)
    write_pins(faceset, pins)
    return pins


def write_pins(faceset: Faceset, pins: Pins) -> None:
    """Write pins.json whole, or remove it where nothing is pinned or banned."""
    path = faceset.folder / FILE
    if not pins.pinned and not pins.banned:
        path.unlink(missing_ok=True)
        mirror.removed(path)
        return
    with atomic(path) as temporary:
        text = json.dumps({"pinned": list(pins.pinned), "banned": list(pins.banned)}, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")
