"""Which faces to train on: the few that represent all of them best, in the order in which they are worth having."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset, without_crop, write_selection
from curate.dataset.pins import Pins, read_pins
from curate.errors import UsageError
from curate.scores.expression import AXES
from curate.select import coverage, facility_location
from curate.select.cluster import Clusters, cluster
from curate.select.eligible import eligible_rows
from curate.select.gaps import gaps_for
from curate.select.options import COVERS, FLOOR_COLUMNS, Budget, Cover, Floors, SelectionOptions, Weights, parse_budget
from curate.select.space import SPACE_COLUMNS, Space, neutral_of, posed, together
from curate.types import Floats

log = logging.getLogger(__name__)

AUTO_ENOUGH = 0.98
"""`--budget auto` ends where all the rest together would add less than 2 % of the value."""
QUALITY_PULL = 0.15
"""The worst face of a faceset represents others 15 % less well than the best."""
PREFERRED = ("Sharpness", "InterEyeDistance", "UnderExposurePrevention", "OverExposurePrevention", "pose_confidence")
AVOIDED = ("CompressionArtifacts",)
SAMPLE = 40_000
"""Of more faces than greedy.EXACT, those to be represented are drawn from so many."""
NEAR_DUPLICATE = 1e-6
"""A choice that adds a smaller share than this is a near-duplicate."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A selection and what it is worth."""

    rows: pd.DataFrame
    """SELECTION_SCHEMA: face_id, rank, gain, cluster, reason, in order of rank."""
    kept: int
    eligible: int
    coverage: float
    """0..1, of the kept faces as filmed."""
    curve: Floats
    """(K,) 0..1: value of the first k choices over the value of all eligible faces."""
    space: Space
    clusters: Clusters
    """Groups of the eligible faces."""
    eligible_ids: NDArray[np.str_]
    """(N,) their face ids, in the order of `clusters.labels`."""
    notes: tuple[str, ...]
    """What the user should know, a sentence each."""
    target: TargetCoverage | None = None


@dataclass(frozen=True)
class TargetCoverage:
    """How well the faces of a target are covered, 0..1, as filmed."""

    before: float
    """By all eligible faces."""
    after: float
    """By the selection."""


def select_columns() -> list[str]:
    """The columns of the table that `choose` reads."""
    columns = ["face_id", "kept", "stands_for", *SPACE_COLUMNS, *AXES, *FLOOR_COLUMNS, *PREFERRED, *AVOIDED]
    return list(dict.fromkeys(columns))


def select_faceset(faceset: Faceset, wishes: SelectionOptions | None = None, target: Faceset | None = None) -> Choice:
    """Choose from the faceset's table, with its pins, and write selection.parquet.

    Raises as `parse_budget` and `choose` do.
    """
    wishes = wishes or SelectionOptions()
    budget = parse_budget(wishes.budget, coverage.frame_rate(faceset.clips))
    wanted = target.table(select_columns(), kept=True) if target else None
    choice = choose(
        faceset.table(select_columns(), kept=True),
        budget,
        wishes.floors,
        wishes.weights,
        wishes.seed,
        wishes.cover,
        read_pins(faceset),
        wanted,
    )
    options = asdict(wishes) | {"target": str(target.folder.resolve()) if target else None}
    write_selection(faceset, choice.rows, options)
    return choice


def summary(
    faceset: Faceset, choice: Choice, weights: Weights | None = None, target: Faceset | None = None
) -> dict[str, Any]:
    """What there is to say of a choice, as JSON values; with `target` its coverage and gaps."""
    minutes = coverage.effective(faceset.table(select_columns(), kept=True), coverage.frame_rate(faceset.clips)).minutes
    found: dict[str, Any] = {
        "eligible": choice.eligible,
        "selected": len(choice.rows),
        "coverage": round(float(choice.coverage), 4),
        "effective_minutes": None if minutes is None else round(minutes, 4),
        "notes": list(choice.notes),
    }
    bare = len(without_crop(faceset))
    if bare:
        found["notes"].append(
            f"{bare} selected faces have no crop: faceset prune {faceset.folder} --restore makes them from the footage"
        )
    if target is not None and choice.target is not None:
        gaps = [asdict(gap) | {"sentence": gap.sentence()} for gap in gaps_for(faceset, target, weights)]
        covered = {k: round(v, 4) for k, v in asdict(choice.target).items()}
        found["target"] = {"faceset": str(target.folder), "coverage": covered, "gaps": gaps}
    return found


def choose(
    table: pd.DataFrame,
    budget: Budget,
    floors: Floors | None = None,
    weights: Weights | None = None,
    seed: int = 0,
    cover: Cover | None = None,
    pins: Pins | None = None,
    target: pd.DataFrame | None = None,
) -> Choice:
    """The selection of `budget` from the table's kept faces that pass the floors (columns `select_columns()`).

    `cover`: what is to be represented, `footage` as filmed, `space`, where every kind of face counts alike however
    long it was held, or `target`, the kept faces of the table `target` as filmed, each subject about its own neutral.
    Pinned faces come first. The same faces and seed give the same answer in any row order, and a longer selection
    begins with the shorter one. Up to greedy.EXACT faces the (1 - 1/e) guarantee holds for all faces; beyond, for a
    sample of greedy.REFERENCE of them that is drawn by their number alone.

    Raises WorkError if no face is eligible, UsageError for a `cover` that is unknown or lacks its target.
    """
    cover = cover or ("space" if target is None else "target")
    if cover not in COVERS:
        raise UsageError(f"--cover {cover}: must be one of {', '.join(COVERS)}")
    if cover == "target" and target is None:
        raise UsageError("--cover target: say which target with --for TARGETSET")
    pins = pins or Pins()
    kept = table[table["kept"].astype(bool)].sort_values("face_id", ignore_index=True)
    passed, notes = eligible_rows(kept, floors or Floors(), pins)
    faces = kept[passed].reset_index(drop=True)
    wanted = None if target is None else posed(target)
    space = Space.fit(faces if wanted is None else together(faces, wanted), weights)
    points = space.embed(faces, neutral_of(faces))
    problem = _problem(space, points, faces, cover, wanted, seed)
    length = len(faces) if budget.faces is None else min(budget.faces, len(faces))
    ids = faces["face_id"].to_numpy(dtype=str)
    pinned = _pinned(ids, pins, length, notes)
    enough = AUTO_ENOUGH if budget.faces is None else np.inf
    order = facility_location.order(problem, length, enough=enough, first=pinned.tolist())
    clusters = cluster(space, points, faces, seed)
    if budget.faces is not None and budget.faces > len(faces):
        notes.append(f"--budget {budget.text} asks for more than the {len(faces)} eligible faces: all are selected")
    return Choice(
        _rows(ids, order, clusters, len(pinned)),
        len(kept),
        len(faces),
        coverage.coverage(space, space.embed(kept, neutral_of(faces)), points[order.chosen], coverage.stands_for(kept)),
        np.minimum(np.cumsum(order.gains), 1).astype(np.float32),
        space,
        clusters,
        ids,
        tuple(notes),
        None if wanted is None else _of_target(space, wanted, points, order.chosen),
    )


def _of_target(space: Space, wanted: pd.DataFrame, points: Floats, chosen: NDArray[np.int64]) -> TargetCoverage:
    asked, weight = space.embed(wanted, neutral_of(wanted)), coverage.stands_for(wanted)
    before, after = (coverage.coverage(space, asked, p, weight) for p in (points, points[chosen]))
    return TargetCoverage(before, after)


def _pinned(ids: NDArray[np.str_], pins: Pins, length: int, notes: list[str]) -> NDArray[np.int64]:
    """Rows of the pinned faces, at most `length`; adds a note where some are left out."""
    rows = np.flatnonzero(np.isin(ids, list(pins.pinned)))
    if len(rows) < len(pins.pinned):
        notes.append(f"{len(pins.pinned) - len(rows)} pinned faces are not among the subject's kept ones: left out")
    if len(rows) > length:
        notes.append(f"{len(rows)} faces are pinned, the budget holds {length} of them")
    return rows[:length]


def _problem(
    space: Space, points: Floats, faces: pd.DataFrame, cover: Cover, wanted: pd.DataFrame | None, seed: int
) -> facility_location.Problem:
    """Who is to be represented, and how much each of them counts."""
    worth = _worth(faces)
    demand, filmed = points, faces
    if cover == "target" and wanted is not None:
        demand, filmed = space.embed(wanted, neutral_of(wanted)), wanted
    if len(demand) <= facility_location.EXACT:
        weight = coverage.demand(space, demand) if cover == "space" else coverage.stands_for(filmed)
        return facility_location.Problem(points, demand, space.width, weight, worth)
    rng = np.random.default_rng([seed, len(demand), 1])
    rows = np.sort(rng.choice(len(demand), min(len(demand), SAMPLE), replace=False))
    weight = coverage.demand(space, demand[rows]) if cover == "space" else coverage.stands_for(filmed)[rows]
    # Drawn with odds of their weight (Efraimidis and Spirakis 2006), after which each stands for the same share.
    keys = np.log(rng.random(len(rows))) / weight
    rows = np.sort(rows[np.argpartition(-keys, facility_location.REFERENCE)[: facility_location.REFERENCE]])
    return facility_location.Problem(points, demand[rows], space.width, np.ones(len(rows)), worth)


def _worth(faces: pd.DataFrame) -> Floats:
    """(N,) 1 - QUALITY_PULL .. 1."""
    return np.asarray(1 - QUALITY_PULL * (1 - quality_rank(faces)), np.float32)


def quality_rank(faces: pd.DataFrame) -> Floats:
    """(N,) 0..1, 1 the best: mean rank of the quality measures; a null ranks in the middle."""
    ranks = []
    for columns, rising in ((PREFERRED, True), (AVOIDED, False)):
        for column in columns:
            rank = (faces[column].astype("float64").rank(ascending=rising) - 0.5) / max(1, faces[column].notna().sum())
            ranks.append(rank.fillna(0.5).to_numpy())
    return np.asarray(np.mean(ranks, axis=0), np.float32)


def _rows(ids: NDArray[np.str_], order: facility_location.Order, clusters: Clusters, pinned: int) -> pd.DataFrame:
    labels = clusters.labels[order.chosen]
    seen: set[int] = set()
    reasons: list[str] = []
    for label, gain in zip(labels.tolist(), order.gains.tolist(), strict=True):
        name = clusters.names[label]
        if len(reasons) < pinned:
            reasons.append(f"pinned, in '{name}'")
        elif gain < NEAR_DUPLICATE:
            reasons.append(f"near-duplicate in '{name}': nothing else was left")
        else:
            reasons.append(f"more of '{name}'" if label in seen else f"covers '{name}'")
        seen.add(label)
    return pd.DataFrame(
        {
            "face_id": ids[order.chosen].astype(object),
            "rank": np.arange(len(labels), dtype=np.int32),
            "gain": order.gains.astype(np.float32),
            "cluster": labels.astype(np.int32),
            "reason": pd.Series(reasons, dtype=object),
        }
    )
