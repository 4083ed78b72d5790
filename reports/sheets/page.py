"""Contact sheet of faces: grouped by reason, each group from the clearest case to the most doubtful."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.dataset.faceset import Faceset
from curate.options import options_of
from curate.select.left_out import LIKE, brief, failing, left_out
from curate.select.options import Floors, SelectionOptions, Weights
from curate.select.selection import Proposal
from curate.words import are, many
from reports.page.album import Album
from reports.page.page import count, write_page

CLEAR, BETWEEN, DOUBTFUL = 8, 8, 24
"""Faces shown of a large group: the clearest, some from between, and the most doubtful."""
LEFT_OUT, PRUNE, REMOVE = "left-out.html", "prune.html", "remove.html"
ABOUT = {
    LIKE: "A selected face already represents these. The last ones are least like any selected face.",
    "banned": "You banned these faces; --free makes them eligible again.",
    "no head pose": "The head pose could not be measured, so they cannot be compared with other faces.",
}

OTHERS, CHOSEN, REST = "not the subject's face", "selected", "kept, not selected"
GOING = {
    OTHERS: "These faces are not used for training.",
    CHOSEN: "These faces are trained on. The last ones were chosen first: they represent the most.",
    REST: "These faces of the subject are not selected.",
}
"""What is said of the faces that go with a clip."""


@dataclass(frozen=True)
class Shown:
    """One face of the sheet."""

    face: str
    detail: str
    picture: str


@dataclass(frozen=True)
class Group:
    """The faces of one reason."""

    reason: str
    about: str
    faces: int
    shown: tuple[Shown, ...]


def write_left_out(faceset: Faceset, proposal: Proposal | None = None) -> Path:
    """Write reports/left-out.html: what the selection, or one that is not written yet, leaves out, and why.

    Raises WorkError where there is neither.
    """
    rows = brief(faceset, proposal)
    left = int(rows["faces"].sum())
    chosen = len(faceset.selection() if proposal is None else proposal.choice.rows)
    would, rest = (are(n) if proposal is None else "would be" for n in (chosen, left))
    words = f"{many(chosen, 'face')} {would} selected; {count(left)} {rest} left out"
    options = faceset.selection_options() if proposal is None else proposal.options
    return _write(faceset, rows, LEFT_OUT, f"Left out: {_title(faceset)}", words, options)


def write_failing(faceset: Faceset, floors: Floors) -> Path:
    """Write reports/left-out.html for floors that no face passes."""
    rows, options = failing(faceset, floors), {"floors": asdict(floors)}
    return _write(faceset, rows, LEFT_OUT, f"Left out: {_title(faceset)}", "No face is eligible", options)


def write_prune(faceset: Faceset, crops: set[str], done: bool) -> Path:
    """Write reports/prune.html: the faces whose crops, at these paths in the faceset, are deleted."""
    rows = left_out(faceset)
    rows = rows[rows["crop"].isin(crops)].reset_index(drop=True)
    verb = f"{are(len(crops))} deleted" if done else "would be deleted"
    words = f"{many(len(crops), 'crop')} {verb}"
    return _write(faceset, rows, PRUNE, f"Prune: {_title(faceset)}", words, faceset.selection_options())


def write_remove(faceset: Faceset, clips: Sequence[str]) -> Path:
    """Write reports/remove.html: the faces that would go with these clips, those that are missed the most last."""
    rows = faceset.table(["face_id", "crop", "clip", "kept", "status", "time"])
    rows = rows[rows["clip"].isin(list(clips))].reset_index(drop=True)
    ranks = (
        faceset.selection().set_index("face_id")["rank"] if faceset.selection_path.is_file() else pd.Series(dtype=int)
    )
    rank = rows["face_id"].map(ranks)
    reason = np.select([~rows["kept"], rank.notna()], [OTHERS, CHOSEN], REST)
    detail = np.where(rank.notna(), "choice " + (rank.fillna(0).astype(int) + 1).astype(str), rows["status"])
    found = rows.assign(reason=rows["clip"] + ": " + reason, detail=detail, rank=rank)
    found = found.sort_values(["reason", "rank", "face_id"], ascending=[True, False, True], ignore_index=True)
    words = f"{count(len(found))} faces of {len(clips)} {'clip' if len(clips) == 1 else 'clips'} would be removed"
    return _write(faceset, found, REMOVE, f"Remove: {_title(faceset)}", words, None)


def _write(
    faceset: Faceset, rows: pd.DataFrame, name: str, title: str, words: str, options: Mapping[str, Any] | None
) -> Path:
    """Write the page; `options`: those of the selection that keeps clicked faces, None where none can be kept."""
    groups = sheet(faceset, rows)
    values = {
        "title": title,
        "verdict": f"{words}{_main(groups) if options is not None else ''}.",
        "groups": groups,
        "command": None if options is None else command(faceset, options),
    }
    data = {
        "verdict": values["verdict"],
        "groups": [{"reason": g.reason, "faces": g.faces, "shown": [s.face for s in g.shown]} for g in groups],
    }
    return write_page(faceset.reports / name, "sheet.html", values, data)


def command(faceset: Faceset, options: Mapping[str, Any]) -> str:
    """The call of `faceset select` that makes a selection with these options again, see `selection_options`."""
    words = ["faceset", "select", str(faceset.folder)]
    given = {**options, **(options.get("floors") or {}), **(options.get("weights") or {})}
    for one in (o for kind in (SelectionOptions, Floors, Weights) for o in options_of(kind)):
        value = given.get(one.name, one.default)
        if value is True:
            words.append(one.flag)
        elif value is not None and value != one.default:
            words += [one.flag, f"{value:g}" if isinstance(value, float) else str(value)]
    if options.get("target"):
        words += ["--for", str(options["target"])]
    return shlex.join(words)


def _main(groups: Sequence[Group]) -> str:
    if not groups:
        return ""
    if groups[0].reason == LIKE:
        those = "all" if len(groups) == 1 else count(groups[0].faces)
        return f", {those} of them because a selected face is like them"
    return f", most of them for this reason: {groups[0].reason}" if len(groups) > 1 else f": {groups[0].reason}"


def _title(faceset: Faceset) -> str:
    return faceset.subject.name if faceset.subject else faceset.folder.name


def sheet(faceset: Faceset, rows: pd.DataFrame) -> tuple[Group, ...]:
    """Groups of the rows of `curate.select.left_out.left_out`, in their order, with pictures of some of their faces."""
    album = Album(faceset)
    found = []
    for reason, group in rows.groupby("reason", sort=False):
        known = group[group["crop"].notna()]
        shown = []
        for face in known.iloc[_places(len(known))].itertuples():
            uri = album.uris([face.crop])
            shown += [Shown(str(face.face_id), str(face.detail), uri[0])] if uri else []
        size = int(group["faces"].sum()) if "faces" in group else len(group)
        found.append(Group(str(reason), _about(str(reason)), size, tuple(shown)))
    return tuple(found)


def _about(reason: str) -> str:
    if reason in ABOUT:
        return ABOUT[reason]
    for end, text in GOING.items():
        if reason.endswith(f": {end}"):
            return text
    if reason.startswith("--"):
        return "They fail this floor. The last ones fail it by the least; a lower floor makes them eligible."
    return "These faces are not kept. The last ones are the least certain."


def _places(length: int) -> list[int]:
    """Rows shown of a group: its beginning, some between, and its end."""
    if length <= CLEAR + BETWEEN + DOUBTFUL:
        return list(range(length))
    between = np.linspace(CLEAR, length - DOUBTFUL - 1, BETWEEN).round().astype(int).tolist()
    return [*range(CLEAR), *between, *range(length - DOUBTFUL, length)]
