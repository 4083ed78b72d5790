"""Selection of the faces to train on: the few that represent all of them best, the most useful first."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset, without_crop, write_selection
from curate.dataset.pins import Pins, read_pins
from curate.errors import UsageError
from curate.scores.expression import AXES
from curate.select import coverage, facility_location, outcome
from curate.select.cluster import Clusters, cluster
from curate.select.eligible import eligible_rows
from curate.select.gaps import gaps_for
from curate.select.options import FLOOR_COLUMNS, Budget, Cover, Floors, SelectionOptions, Weights, parse_budget
from curate.select.outcome import TargetCoverage
from curate.select.space import SPACE_COLUMNS, Space, neutral_of, posed
from curate.types import Floats

log = logging.getLogger(__name__)

AUTO_ENOUGH = 0.98
"""`--budget auto` ends where all the rest together would add less than 2 % of the value."""
QUALITY_PULL = 0.15
"""The worst face of a faceset represents others 15 % less well than the best."""
PREFERRED = ("Sharpness", "InterEyeDistance", "UnderExposurePrevention", "OverExposurePrevention", "pose_confidence")
AVOIDED = ("CompressionArtifacts",)
SAMPLE = 40_000
"""Of more faces than facility_location.EXACT, those to be represented are drawn from so many."""
NEAR_DUPLICATE = 1e-6
"""A choice that adds a smaller share than this is a near-duplicate."""
ReasonKind = Literal["pinned", "new", "more", "near-duplicate"]
_REASONS: dict[ReasonKind, str] = {
    "pinned": "pinned, in '{}'",
    "new": "covers '{}'",
    "more": "more of '{}'",
    "near-duplicate": "near-duplicate in '{}': nothing else was left",
}


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


@dataclass(frozen=True, eq=False)
class Proposal:
    """A choice from a faceset that is not written yet."""

    choice: Choice
    options: dict[str, Any]
    """How it was made, as JSON values."""
    outcome: outcome.Outcome
    """What it is worth."""


def select_columns() -> list[str]:
    """The columns of the table that `choose` reads."""
    columns = ["face_id", "kept", "stands_for", *SPACE_COLUMNS, *AXES, *FLOOR_COLUMNS, *PREFERRED, *AVOIDED]
    return list(dict.fromkeys(columns))


def select_faceset(faceset: Faceset, wishes: SelectionOptions | None = None, target: Faceset | None = None) -> Choice:
    """Choose from the faceset's table, with its pins, and write selection.parquet with what it is worth.

    Raises as `parse_budget` and `choose` do.
    """
    proposal = propose(faceset, wishes or SelectionOptions(), target)
    write_selection(faceset, proposal.choice.rows, proposal.options, outcome.to_json(proposal.outcome))
    return proposal.choice


def propose(
    faceset: Faceset, wishes: SelectionOptions, target: Faceset | None = None, among: Collection[str] | None = None
) -> Proposal:
    """Choose from the faceset's table, with its pins; nothing is written. `among` as in `choose`.

    Raises as `parse_budget` and `choose` do.
    """
    rate = coverage.frame_rate(faceset.clips)
    budget = parse_budget(wishes.budget, rate)
    table = faceset.table(select_columns(), kept=True)
    wanted = target.table(select_columns(), kept=True) if target else None
    choice = choose(
        table,
        budget,
        wishes.floors,
        wishes.weights,
        wishes.seed,
        wishes.cover,
        read_pins(faceset),
        wanted,
        among,
    )
    worth = outcome.Outcome(
        choice.kept,
        choice.eligible,
        len(choice.rows),
        round(choice.coverage, outcome.DECIMALS),
        coverage.effective(table, rate),
        choice.rows["coverage"].to_numpy(np.float32),
        choice.space,
        outcome.table_digest(table),
        choice.target,
        None if wanted is None else outcome.table_digest(posed(wanted)),
    )
    options = asdict(wishes) | {"target": str(target.folder.resolve()) if target else None}
    return Proposal(choice, options, worth)


def summary(
    faceset: Faceset, choice: Choice, weights: Weights | None = None, target: Faceset | None = None
) -> dict[str, Any]:
    """The figures stored with a choice, as JSON values; with `target` its coverage and gaps."""
    stored = outcome.read_outcome(faceset)
    minutes = stored.effective.minutes
    found: dict[str, Any] = {
        "eligible": stored.eligible,
        "selected": stored.selected,
        "coverage": stored.coverage,
        "effective_minutes": None if minutes is None else round(minutes, 4),
        "notes": list(choice.notes),
    }
    bare = len(without_crop(faceset))
    if bare:
        found["notes"].append(
            f"{bare} selected faces have no crop: run faceset prune {faceset.folder} --restore to make them from the "
            "footage"
        )
    if target is not None and stored.target is not None:
        gaps = [asdict(gap) | {"sentence": gap.sentence()} for gap in gaps_for(faceset, target, weights)]
        found["target"] = {"faceset": str(target.folder), "coverage": asdict(stored.target), "gaps": gaps}
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
    among: Collection[str] | None = None,
) -> Choice:
    """The selection of `budget` from the table's kept faces that pass the floors (columns `select_columns()`).

    `cover`: what is to be represented, `footage` as filmed, `space`, where every kind of face counts alike however
    long it was held, or `target`, the kept faces of the table `target` as filmed, each subject about its own neutral.
    `among`: ids of the faces that may be selected at all; None: every face. Pinned faces come first. The same faces
    and seed give the same answer in any row order, and a longer selection begins with the shorter one. Up to
    facility_location.EXACT faces the (1 - 1/e) guarantee holds for all faces; beyond, for a sample of
    facility_location.REFERENCE of them that is drawn by their number alone.

    Raises WorkError if no face is eligible, UsageError for a `cover` that is unknown or lacks its target.
    """
    cover, pins = _cover(cover, target), pins or Pins()
    kept = table[table["kept"].astype(bool)].sort_values("face_id", ignore_index=True)
    passed, notes = eligible_rows(kept, floors or Floors(), pins, among)
    faces = kept[passed].reset_index(drop=True)
    wanted = None if target is None else posed(target)
    space = outcome.fitted(faces, wanted, weights)
    points, ids = space.embed(faces), faces["face_id"].to_numpy(dtype=str)
    problem = _problem(space, points, faces, cover, wanted, seed)
    order, pinned = _order(problem, ids, budget, pins, notes)
    chosen = points[order.chosen]
    clusters, curve = cluster(space, points, faces, seed), outcome.covered(space, kept, chosen)
    return Choice(
        _rows(ids, order, clusters, pinned, curve),
        len(kept),
        len(faces),
        float(curve[-1]),
        np.minimum(np.cumsum(order.gains), 1).astype(np.float32),
        space,
        clusters,
        ids,
        tuple(notes),
        None if wanted is None else outcome.target_covered(space, wanted, points, chosen),
    )


def _cover(cover: Cover | None, target: pd.DataFrame | None) -> Cover:
    """What is to be represented, with its default. Raises UsageError where it is unknown or lacks its target."""
    cover = cover or ("space" if target is None else "target")
    if cover not in get_args(Cover):
        raise UsageError(f"--cover {cover}: must be one of {', '.join(get_args(Cover))}")
    if cover == "target" and target is None:
        raise UsageError("--cover target needs a target: give it with --for TARGETSET")
    return cover


def _order(
    problem: facility_location.Problem, ids: NDArray[np.str_], budget: Budget, pins: Pins, notes: list[str]
) -> tuple[facility_location.Order, int]:
    """The order of choice, and how many pinned faces it begins with; adds what the user should know to the notes."""
    length = len(ids) if budget.faces is None else min(budget.faces, len(ids))
    pinned = _pinned(ids, pins, length, notes)
    if budget.faces is not None and budget.faces > len(ids):
        notes.append(f"--budget {budget.text} is more than the {len(ids)} eligible faces: all of them are selected")
    enough = AUTO_ENOUGH if budget.faces is None else np.inf
    return facility_location.order(problem, length, enough=enough, first=pinned.tolist()), len(pinned)


def _pinned(ids: NDArray[np.str_], pins: Pins, length: int, notes: list[str]) -> NDArray[np.int64]:
    """Rows of the pinned faces, at most `length`; adds a note where some are left out."""
    rows = np.flatnonzero(np.isin(ids, list(pins.pinned)))
    if len(rows) < len(pins.pinned):
        notes.append(f"{len(pins.pinned) - len(rows)} pinned faces are not eligible and are left out")
    if len(rows) > length:
        notes.append(f"{len(rows)} faces are pinned, but the budget has room for only {length} of them")
    return rows[:length]


def _problem(
    space: Space, points: Floats, faces: pd.DataFrame, cover: Cover, wanted: pd.DataFrame | None, seed: int
) -> facility_location.Problem:
    """The facility location problem: the faces to be represented, and how much each of them counts."""
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


def _rows(
    ids: NDArray[np.str_], order: facility_location.Order, clusters: Clusters, pinned: int, curve: Floats
) -> pd.DataFrame:
    """The selection as SELECTION_SCHEMA has it; `curve` (K,) is the coverage by the first 1..K faces."""
    labels = clusters.labels[order.chosen]
    names = [clusters.names[label] for label in labels.tolist()]
    seen: set[int] = set()
    kinds: list[ReasonKind] = []
    for label, gain in zip(labels.tolist(), order.gains.tolist(), strict=True):
        if len(kinds) < pinned:
            kinds.append("pinned")
        elif gain < NEAR_DUPLICATE:
            kinds.append("near-duplicate")
        else:
            kinds.append("more" if label in seen else "new")
        seen.add(label)
    reasons = [_REASONS[kind].format(name) for kind, name in zip(kinds, names, strict=True)]
    return pd.DataFrame(
        {
            "face_id": ids[order.chosen].astype(object),
            "rank": np.arange(len(labels), dtype=np.int32),
            "gain": order.gains.astype(np.float32),
            "cluster": labels.astype(np.int32),
            "reason": pd.Series(reasons, dtype=object),
            "group": pd.Series(names, dtype=object),
            "reason_kind": pd.Series(kinds, dtype=object),
            "coverage": curve,
        }
    )
