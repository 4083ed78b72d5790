"""Pinned and banned faces of a faceset, by face id, in pins.json; whole clips, tracks and ranges can be named."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from curate.dataset import mirror
from curate.dataset.faceset import Faceset
from curate.errors import UsageError, WorkError
from curate.footage.paths import parse_footage
from curate.runtime.files import atomic
from curate.safe_io import one_line
from curate.words import same_text

FILE = "pins.json"
GROUP = frozenset(":@")
"""Characters that a face id does not have."""


@dataclass(frozen=True)
class Pins:
    """Face ids, sorted; none is in both."""

    pinned: tuple[str, ...] = ()
    """Selected before all others, and counted in the budget."""
    banned: tuple[str, ...] = ()
    """Never eligible."""

    def changed(self, pin: Iterable[str] = (), ban: Iterable[str] = (), free: Iterable[str] = ()) -> Pins:
        """With some faces pinned, banned or neither; a face's latest choice holds. UsageError if two are given."""
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
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WorkError(f"{path} is damaged ({one_line(error)}): delete it and pin the faces again") from None
    return Pins(tuple(sorted(set(pinned))), tuple(sorted(set(banned) - set(pinned))))


def change_pins(faceset: Faceset, pin: Iterable[str] = (), ban: Iterable[str] = (), free: Iterable[str] = ()) -> Pins:
    """Pin, ban or free some of the faceset's faces, and save the result.

    Each is a face id, or stands for several faces: see `_faces`. Raises UsageError for a face that the faceset does not
    hold, or that is given twice.
    """
    asked = (("--pin", list(pin)), ("--ban", list(ban)), ("--free", list(free)))
    groups = any(not GROUP.isdisjoint(text) for _, texts in asked for text in texts)
    table = faceset.table(["face_id", "clip", "shot", "track", "time", "kept"] if groups else ["face_id"])
    known = set(table["face_id"])
    chosen = []
    for flag, texts in asked:
        ids = [text for text in texts if GROUP.isdisjoint(text)]
        if unknown := [face for face in ids if face not in known]:
            raise UsageError(f"{flag} {unknown[0]}: {faceset.folder} has no such face; see face_id in faces.parquet")
        several = (_faces(faceset, table, flag, text) for text in texts if not GROUP.isdisjoint(text))
        chosen.append([*ids, *(face for faces in several for face in faces)])
    pins = read_pins(faceset).changed(*chosen)
    write_pins(faceset, pins)
    return pins


def _faces(faceset: Faceset, table: pd.DataFrame, flag: str, text: str) -> list[str]:
    """The faces that a text stands for: `clip:NAME`, `track:17`, `shot:NAME:3`, `NAME@00:10-00:20`.

    Only kept faces are pinned. Raises UsageError where there is none.
    """
    rows = table[meant(table, flag, text)]
    if flag == "--pin":
        rows = rows[rows["kept"]]
    if rows.empty:
        raise UsageError(
            f"{flag} {text}: {faceset.folder} has no face there; clips, shots and tracks are in faces.parquet"
        )
    return sorted(rows["face_id"])


def meant(table: pd.DataFrame, flag: str, text: str) -> pd.Series:
    """Which rows `clip:NAME`, `track:17`, `shot:NAME:3` or `NAME@00:10-00:20` stands for. Raises UsageError."""
    kind, _, value = text.partition(":")
    if kind == "clip":
        return _of_clip(table, value)
    if kind == "track" and value.isdecimal():
        return table["track"] == int(value)
    name, _, number = value.rpartition(":")
    if kind == "shot" and number.isdecimal():
        return _of_clip(table, name) & (table["shot"] == int(number))
    span = parse_footage(text)
    if span.start is None and span.end is None:
        raise UsageError(f"{flag} {text}: give a face id, clip:NAME, track:N, shot:NAME:N or NAME@00:10-00:20")
    inside = table["time"].between(span.start or 0.0, float("inf") if span.end is None else span.end, inclusive="left")
    return _of_clip(table, str(span.path)) & inside


def _of_clip(table: pd.DataFrame, name: str) -> pd.Series:
    """The rows of a clip, however its accents are written."""
    return table["clip"].isin([known for known in table["clip"].unique() if same_text(known, name)])


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
