"""Faces that a selection leaves out, by reason, from the clearest case to the most doubtful."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset
from curate.dataset.pins import Pins, read_pins
from curate.errors import UsageError, WorkError
from curate.records import record
from curate.safe_io import DAMAGED, one_line, read_groups
from curate.schema import table_schema
from curate.select.content import VECTORS
from curate.select.options import FLOOR_COLUMNS, Floors
from curate.select.outcome import read_outcome
from curate.select.reading import packed
from curate.select.selection import Proposal
from curate.select.space import SPACE_COLUMNS, Space
from curate.types import Floats
from curate.vectors import Vectors
from curate.words import quoted

BANNED, UNPOSED, LIKE = "banned", "no head pose", "like a selected face"
READ = ("face_id", "crop", "kept", "status", "identity_distance", "detection_score", *SPACE_COLUMNS, *FLOOR_COLUMNS)
COLUMNS = ("face_id", "crop", "reason", "clearness", "detail")
BATCH = 1000
COMPARED = 4000
MANY, SHOWN = 200_000, 40
"""Faces of a table from which on `brief` reads it piece by piece; faces of each reason that it then has at each end."""
Doubles = NDArray[np.float64]
Test = tuple[NDArray[np.bool_], str, Doubles, Callable[[int], str]]
"""Rows that fail it, the reason, how clearly (N,), and the text of a row."""


def left_out(faceset: Faceset) -> pd.DataFrame:
    """Every face that the faceset's selection leaves out, one row each: COLUMNS.

    `reason` groups them, the most frequent first; in a group `clearness` falls: the last rows are those worth a look.
    Raises WorkError where there is no selection.
    """
    chosen, space = set(faceset.selection()["face_id"]), read_outcome(faceset).space
    return left_out_of(faceset, chosen, faceset.selection_options(), space)


def proposed(faceset: Faceset, proposal: Proposal) -> pd.DataFrame:
    """The rows of `left_out` for a choice that is not written yet."""
    return left_out_of(faceset, set(proposal.choice.rows["face_id"]), proposal.options, proposal.choice.space)


def failing(faceset: Faceset, floors: Floors) -> pd.DataFrame:
    """The rows of `left_out` for floors that no face passes."""
    table = faceset.table(tuple(dict.fromkeys(READ)))
    return reasons(table, set(), floors, read_pins(faceset), None)


def left_out_of(faceset: Faceset, chosen: set[str], options: Mapping[str, Any], space: Space | None) -> pd.DataFrame:
    """The rows of `left_out` for other faces `chosen` with the options of `Faceset.selection_options`."""
    floors = _floors(faceset, options)
    return reasons(faceset.table(tuple(dict.fromkeys(READ))), chosen, floors, read_pins(faceset), space)


def _floors(faceset: Faceset, options: Mapping[str, Any]) -> Floors:
    none = dict.fromkeys((f.name for f in fields(Floors)), None)
    try:
        return record(Floors, none | options.get("floors", {}), strict=False)
    except (*DAMAGED, UsageError) as error:
        again = f"faceset select {quoted(faceset.folder)} makes a new one"
        raise WorkError(f"{faceset.selection_path} is damaged ({one_line(error)}): {again}") from None


def narrowly(faceset: Faceset, count: int) -> list[str]:
    """Ids of at most `count` faces that the selection left out most narrowly, the same number for each reason.

    The table is read piece by piece; faces are compared with at most COMPARED selected ones. Raises as `left_out`.
    """
    chosen, space = set(faceset.selection()["face_id"]), read_outcome(faceset).space
    doubtful = []
    for found in _piece_by_piece(faceset, chosen, faceset.selection_options(), space):
        doubtful.append(found[["face_id", "reason", "clearness"]].dropna().groupby("reason").tail(count))
    rest = pd.concat(doubtful).sort_values(["clearness", "face_id"])
    each = count // max(rest["reason"].nunique(), 1)
    return list(rest.groupby("reason").head(each)["face_id"])


def brief(faceset: Faceset, proposal: Proposal | None = None) -> pd.DataFrame:
    """The rows of `left_out`, or of `proposed`, and `faces`: for how many faces each of them stands.

    Of a table of more than MANY faces, which is read piece by piece, there are the SHOWN clearest and most doubtful
    cases of each reason; faces are compared with at most COMPARED selected ones.
    """
    with faceset.table_there():
        count = sum(map(len, read_groups(faceset.table_path, ("kept",), table_schema())))
    if count <= MANY:
        rows = left_out(faceset) if proposal is None else proposed(faceset, proposal)
        return rows.assign(faces=1)
    if proposal is None:
        chosen, space = set(faceset.selection()["face_id"]), read_outcome(faceset).space
        options = faceset.selection_options()
    else:
        chosen, space = set(proposal.choice.rows["face_id"]), proposal.choice.space
        options = proposal.options
    shown = pd.DataFrame()
    for found in _piece_by_piece(faceset, chosen, options, space):
        shown = _ends(pd.concat([shown, found.assign(faces=1)], ignore_index=True))
    return shown


def _ends(rows: pd.DataFrame) -> pd.DataFrame:
    """The SHOWN first and last rows of each reason, in the order of `left_out`; the first stands for the others."""
    rows = rows.assign(total=rows.groupby("reason")["faces"].transform("sum"))
    rows = rows.sort_values(
        ["total", "reason", "clearness", "face_id"], ascending=[False, True, False, True], na_position="last"
    )
    groups = rows.groupby("reason", sort=False)
    ends = (groups.cumcount() < SHOWN) | (groups.cumcount(ascending=False) < SHOWN)
    rows = rows[ends].reset_index(drop=True)
    others = rows.groupby("reason")["reason"].transform("size") - 1
    faces = np.where(rows["reason"].duplicated(), 1, rows["total"] - others)
    return rows.assign(faces=faces).drop(columns="total")


def _piece_by_piece(
    faceset: Faceset, chosen: set[str], options: Mapping[str, Any], space: Space | None
) -> Iterator[pd.DataFrame]:
    """The rows of `left_out` of the table's row groups, one after another."""
    floors, pins, columns = _floors(faceset, options), read_pins(faceset), list(dict.fromkeys(READ))
    selected = replace(faceset, only=frozenset(chosen)).table(columns)
    selected = selected.iloc[np.unique(np.linspace(0, len(selected) - 1, min(len(selected), COMPARED)).astype(int))]
    vectors = {name: Vectors._from_sequence(selected[name]) for name in VECTORS}
    for piece in read_groups(faceset.table_path, columns, table_schema(), ("face_id", "kept")):
        rows = packed(faceset.table_path, piece)
        others = pd.concat([selected.assign(**vectors), rows[~rows["face_id"].isin(chosen)]], ignore_index=True)
        yield reasons(others, chosen, floors, pins, space)


def reasons(table: pd.DataFrame, chosen: set[str], floors: Floors, pins: Pins, space: Space | None) -> pd.DataFrame:
    """The rows of `left_out` for a table with the columns READ, of which the faces `chosen` are selected."""
    selected = table["face_id"].isin(chosen)
    rest = table[~selected].reset_index(drop=True)
    found = pd.DataFrame({"face_id": rest["face_id"], "crop": rest["crop"]})
    found["reason"], found["clearness"], found["detail"] = LIKE, np.nan, ""
    kept = rest["kept"].astype(bool).to_numpy()
    for rows, reason, clearness, detail in _tests(rest, kept, floors, pins):
        better = rows & ((found["reason"] == LIKE).to_numpy() | (found["clearness"].fillna(-1).to_numpy() < clearness))
        at = np.flatnonzero(better)
        found.loc[at, "reason"], found.loc[at, "clearness"] = reason, clearness[at]
        found.loc[at, "detail"] = [detail(int(i)) for i in at]
    _add_like(found, rest, table[selected], space)
    size = found["reason"].map(found["reason"].value_counts())
    order = found.assign(size=size).sort_values(
        ["size", "reason", "clearness", "face_id"], ascending=[False, True, False, True], na_position="last"
    )
    return order[list(COLUMNS)].reset_index(drop=True)


def _tests(rest: pd.DataFrame, kept: NDArray[np.bool_], floors: Floors, pins: Pins) -> Iterator[Test]:
    """Every test but the last, which is whether a selected face is like it."""
    for limit in floors.limits():
        yield _floor(rest, kept, *limit)
    unposed = kept & rest["yaw"].isna().to_numpy()
    yield unposed, UNPOSED, np.full(len(rest), 1e6), lambda i: ""
    banned = kept & rest["face_id"].isin(pins.banned).to_numpy()
    yield banned, BANNED, np.full(len(rest), 1e7), lambda i: ""
    for status in rest.loc[~kept, "status"].fillna("not kept").unique():
        yield _status(rest, ~kept & (rest["status"].fillna("not kept") == status).to_numpy(), str(status))


def _status(rest: pd.DataFrame, rows: NDArray[np.bool_], status: str) -> Test:
    """Faces that are not kept: the farther from the subject, or the less sure a face, the clearer."""
    away, sure = _numbers(rest["identity_distance"]), _numbers(rest["detection_score"])
    clearness = np.where(np.isfinite(away), 1 + away, 1 - np.nan_to_num(sure)) + 1e8

    def detail(i: int) -> str:
        return f"identity distance {away[i]:.2f}" if np.isfinite(away[i]) else f"detection score {sure[i]:.2f}"

    return rows, status, clearness, detail


def _floor(rest: pd.DataFrame, kept: NDArray[np.bool_], flag: str, column: str, limit: float, sign: float) -> Test:
    """Faces that fail a floor: clear by their distance from it, in standard deviations of the measure."""
    measure = _numbers(rest[column])
    if not np.isfinite(measure[kept]).any():
        return np.zeros(len(rest), bool), "", np.zeros(len(rest)), str
    spread = float(np.nanstd(measure[kept])) or 1.0
    margin = np.nan_to_num(sign * (limit - measure) / spread, nan=1e5)
    word = "floor" if sign > 0 else "limit"

    def detail(i: int) -> str:
        return f"{column} {measure[i]:.3g} ({word} {limit:g})" if np.isfinite(measure[i]) else f"{column} not measured"

    return kept & (margin > 0), f"{flag} {limit:g} ({column})", margin, detail


def _numbers(column: pd.Series) -> Doubles:
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), np.float64)


def _add_like(found: pd.DataFrame, rest: pd.DataFrame, chosen: pd.DataFrame, space: Space | None) -> None:
    """Of the faces that nothing else speaks against: how like they are to the nearest selected face."""
    at = np.flatnonzero((found["reason"] == LIKE).to_numpy())
    chosen = chosen[chosen["yaw"].notna()]
    if space is None or not len(at) or chosen.empty:
        return
    points = space.embed(chosen)
    nearest: list[Floats] = []
    for start in range(0, len(at), BATCH):
        faces = rest.iloc[at[start : start + BATCH]]
        nearest.append(space.similarity(space.embed(faces), points).max(1))
    like = np.concatenate(nearest)
    found.loc[at, "clearness"] = like.astype(np.float64)
    found.loc[at, "detail"] = [f"{100 * value:.0f} % like a selected face" for value in like]
