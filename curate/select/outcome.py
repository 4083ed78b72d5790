"""What a selection is worth: computed when it is made, stored with it, and read by pages, App and comparison.

The fitted diversity space is stored too, so that whoever looks at the selection later sees it in the space in which it
was made, with the same weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.dataset.faceset import Faceset, is_faceset, open_faceset
from curate.dataset.pins import read_pins
from curate.dataset.selection_file import OUTCOME, read_metadata
from curate.errors import UsageError, WorkError
from curate.records import checked, record
from curate.safe_io import DAMAGED, one_line
from curate.scores.expression import AXES
from curate.select import coverage
from curate.select.content import seconds, stands_for
from curate.select.keep import Amounts, amounts_of
from curate.select.options import FLOOR_COLUMNS, SelectionOptions, Weights
from curate.select.persist import INVALID, options_then
from curate.select.pool import Pool, pool_of
from curate.select.space import BLOCKS, SPACE_COLUMNS, Neutral, Space, neutral_of, posed
from curate.types import Floats
from curate.vectors import Vectors
from curate.words import quoted

EARLIER = "effective"
"""A key of outcomes of versions that measured the footage otherwise: they are assessed again."""
_PIECE = 100_000
DECIMALS = 4
"""Coverages are stored with so many, and printed everywhere as they are stored."""
COLUMNS = tuple(
    dict.fromkeys(
        (
            *("face_id", "clip", "frame", "time", "kept", "stands_for", "landmark_confidence"),
            *(*SPACE_COLUMNS, *AXES, *FLOOR_COLUMNS),
        )
    )
)
"""Columns of the table from which a selection without an outcome is assessed."""


@dataclass(frozen=True)
class TargetCoverage:
    """Coverage of a target's faces, 0..1, as filmed."""

    before: float
    """By all eligible faces."""
    after: float
    """By the selection."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one selection is worth."""

    kept: int
    """The subject's faces in the table."""
    eligible: int
    """Kept faces that passed the floors."""
    selected: int
    coverage: float | None
    """0..1: of the kept faces as filmed, by the selection; None where it cannot be computed."""
    amounts: Amounts
    curve: Floats
    """(K,) coverage by the first 1, 2, ... K selected faces."""
    space: Space | None
    """In which the faces were compared, with the subject's own neutral; None where it cannot be computed."""
    table: str
    """Digest of the table from which the faces were chosen, see `table_digest`."""
    target: TargetCoverage | None = None
    target_table: str | None = None
    """Digest of the target's table."""
    bound: float | None = None
    """0..1: share of the value of the best possible choice of as many faces that is certain; None: not known."""
    stored: bool = True
    """False: the file does not contain it, so it was computed with the stored options."""

    @property
    def weights(self) -> Weights:
        """Weights of the blocks in the space."""
        return self.space.weights if self.space else Weights()


def covered(space: Space, kept: pd.DataFrame, points: Floats) -> Floats:
    """(K,) coverage of the kept faces as filmed by the first 1, 2, ... K of the selected `points` (K, D)."""
    weight = seconds(kept)
    total, found = weight.sum(), np.zeros(len(points))
    for start in range(0, len(kept), _PIECE):
        share = weight[start : start + _PIECE]
        faces = space.embed(kept.iloc[start : start + _PIECE])
        found += share.sum() / total * coverage.curve(space, faces, points, share)
    return found.astype(np.float32)


def target_covered(space: Space, wanted: pd.DataFrame, eligible: Floats, selected: Floats) -> TargetCoverage:
    """Coverage of the target's faces by the points of the eligible faces, and of the selected ones."""
    asked, weight = space.embed(wanted, neutral_of(wanted)), seconds(wanted)
    before, after = (coverage.coverage(space, asked, p, weight) for p in (eligible, selected))
    return TargetCoverage(round(before, DECIMALS), round(after, DECIMALS))


def table_digest(table: pd.DataFrame) -> str:
    """Digest of what a selection depends on: the kept faces of `table`, their pose, expression, gaze and light."""
    rows = np.flatnonzero(table["kept"].astype(bool).to_numpy())
    rows = rows[table["face_id"].iloc[rows].argsort(kind="stable")]
    pieces = [rows[start : start + _PIECE] for start in range(0, len(rows), _PIECE)]
    digest = hashlib.sha256()
    for i, piece in enumerate(pieces):
        digest.update(("\n" * (i > 0) + "\n".join(table["face_id"].iloc[piece])).encode())
    for column in ("yaw", "pitch", "roll"):
        digest.update(table[column].to_numpy(np.float32, na_value=np.nan)[rows].tobytes())
    digest.update(stands_for(table)[rows].tobytes())
    for column in ("expression", "gaze", "lighting"):
        for piece in pieces:
            vectors = table[column].iloc[piece]
            if isinstance(vectors.array, Vectors) and not vectors.isna().any():
                digest.update(vectors.array.values.tobytes())
                continue
            for vector in vectors:
                known = vector is not None and np.ndim(vector) == 1
                digest.update(np.asarray(vector, np.float32).tobytes() if known else b"-")
    return digest.hexdigest()


def to_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome as JSON values; its curve is a column of the selection."""
    names = ("kept", "eligible", "selected", "coverage", "bound", "table", "target_table")
    return {name: getattr(outcome, name) for name in names} | {
        "amounts": asdict(outcome.amounts),
        "target": asdict(outcome.target) if outcome.target else None,
        "space": _space_to_json(outcome.space) if outcome.space else None,
    }


def _space_to_json(space: Space) -> dict[str, Any]:
    return {
        "weights": asdict(space.weights),
        "pose": space.neutral.pose.tolist(),
        "lighting": space.neutral.lighting.tolist(),
        "scale": space.scale,
        "width": space.width,
    }


def read_outcome(faceset: Faceset) -> Outcome:
    """What the faceset's selection is worth, as stored; computed with the stored options where the file lacks it.

    Raises WorkError where there is no selection or it is damaged.
    """
    rows = faceset.selection()
    found = read_metadata(faceset.selection_path, OUTCOME)
    if not found or EARLIER in found or rows["coverage"].isna().any():
        return assess(faceset, rows)
    try:
        return _of_json(found, rows["coverage"].to_numpy(np.float32))
    except (*DAMAGED, UsageError) as error:
        raise _damaged(faceset, error) from None


def _damaged(faceset: Faceset, error: BaseException) -> WorkError:
    again = f"faceset select {quoted(faceset.folder)} makes a new one"
    return WorkError(f"{faceset.selection_path} is damaged ({one_line(error)}): {again}")


def _of_json(found: dict[str, Any], curve: Floats) -> Outcome:
    numbers = {name: checked(found[name], int, name) for name in ("kept", "eligible", "selected")}
    return Outcome(
        **numbers,
        coverage=checked(found["coverage"], float | None, "coverage"),
        amounts=record(Amounts, found["amounts"]),
        curve=curve,
        space=_space_of_json(found["space"]) if found["space"] else None,
        table=checked(found["table"], str, "table"),
        target=record(TargetCoverage, found["target"]) if found["target"] else None,
        target_table=checked(found["target_table"], str | None, "target_table"),
        bound=checked(found["bound"], float | None, "bound"),
    )


def _space_of_json(found: dict[str, Any]) -> Space:
    pose, lighting = (np.array(found[name]) for name in ("pose", "lighting"))
    if (pose.shape, lighting.shape, set(found["scale"])) != ((3,), (6,), set(BLOCKS)):
        raise ValueError("the space has other axes")
    weights = record(Weights, found["weights"])
    scale = checked(found["scale"], dict[str, float], "scale")
    neutral = Neutral(pose.astype(np.float64), lighting.astype(np.float64))
    return Space(weights, neutral, scale, checked(found["width"], float, "width"))


def target_folder(faceset: Faceset) -> Path | None:
    """Folder of the target for which the faceset's selection was made."""
    folder = faceset.selection_options().get("target")
    return Path(folder) if isinstance(folder, str) else None


def _options(faceset: Faceset) -> SelectionOptions:
    try:
        return options_then(faceset.selection_options())
    except INVALID as error:
        raise _damaged(faceset, error) from None


def _pool(faceset: Faceset, wanted: pd.DataFrame | None) -> Pool | None:
    """What a selection was chosen from, read again from the tables; None where nothing is eligible any more."""
    options = _options(faceset)
    try:
        return pool_of(faceset.table(COLUMNS, kept=True), options, read_pins(faceset), wanted)
    except WorkError:
        return None


def _selected(rows: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """The selected faces with a head pose, in order of rank."""
    chosen = rows[["face_id", "rank"]].merge(kept, on="face_id", how="inner")
    return chosen[chosen["yaw"].notna()].sort_values("rank", ignore_index=True)


def assess(faceset: Faceset, rows: pd.DataFrame) -> Outcome:
    """What the selection `rows` is worth, computed from the table with the stored options."""
    kept = faceset.table(COLUMNS, kept=True)
    options, folder = _options(faceset), target_folder(faceset)
    target = open_faceset(folder) if folder is not None and is_faceset(folder) else None
    wanted = None if target is None else posed(target.table(COLUMNS, kept=True))
    pool, chosen = _pool(faceset, wanted), _selected(rows, kept)
    empty = Outcome(
        len(kept),
        0 if pool is None else len(pool.rows),
        len(rows),
        None,
        amounts_of(kept, faceset.clips, options.weights),
        np.zeros(0, np.float32),
        None,
        table_digest(kept),
        stored=False,
    )
    if pool is None or chosen.empty:
        return empty
    points = pool.space.embed(chosen)
    curve = covered(pool.space, pool.kept, points)
    found = replace(empty, coverage=round(float(curve[-1]), DECIMALS), curve=curve, space=pool.space)
    if wanted is None:
        return found
    after = target_covered(pool.space, wanted, pool.points, points)
    return replace(found, target=after, target_table=table_digest(wanted))


def target_outcome(faceset: Faceset, outcome: Outcome, target: Faceset) -> TargetCoverage:
    """Coverage of `target` by the faceset's selection: as stored if it was made for this target, else computed."""
    if outcome.target is not None and target_folder(faceset) == target.folder.resolve():
        return outcome.target
    wanted = posed(target.table(COLUMNS, kept=True))
    pool = _pool(faceset, wanted)
    if pool is None:
        return TargetCoverage(0.0, 0.0)
    chosen = _selected(faceset.selection(), pool.kept)
    return target_covered(pool.space, wanted, pool.points, pool.space.embed(chosen))


def remarks_on(
    faceset: Faceset,
    outcome: Outcome,
    table: pd.DataFrame,
    target: Faceset | None = None,
    wanted: pd.DataFrame | None = None,
) -> tuple[str, ...]:
    """What the reader of an outcome has to know, a sentence each: it was computed later, or a table has changed since.

    `table` is the faceset's table as it is now; `target` is the one shown next to the selection, `wanted` its faces.
    """
    again = f"run faceset select {quoted(faceset.folder)} to select again."
    if not outcome.stored:
        return (f"The coverage was not stored with this selection and was computed from its options; {again}",)
    found = []
    if table_digest(table) != outcome.table:
        found.append(f"The faces have changed since this selection was made, and its coverage is of that time; {again}")
    same = target is not None and target_folder(faceset) == target.folder.resolve()
    if same and wanted is not None and outcome.target_table not in (None, table_digest(wanted)):
        found.append(f"The target's faces have changed since this selection was made for them; {again}")
    return tuple(found)
