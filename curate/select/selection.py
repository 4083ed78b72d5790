"""Selection of the faces to train on: the few that represent all of them best, the most useful first."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset, without_crop, write_selection
from curate.dataset.pins import Pins, read_pins
from curate.errors import UsageError
from curate.select import coverage, facility_location, learned, like, outcome
from curate.select.apart import Apart, fill, in_turn, moments
from curate.select.better import Better
from curate.select.cluster import Clusters, cluster
from curate.select.content import content_order, seconds
from curate.select.gaps import gaps_for
from curate.select.keep import amounts_of
from curate.select.kinds import ALIKE, MOST_CELLS, radius_of
from curate.select.options import Budget, Cover, SelectionOptions, Weights, parse_budget
from curate.select.outcome import TargetCoverage
from curate.select.persist import last_options
from curate.select.pool import Pool, pool_of
from curate.select.reading import kept_faces
from curate.select.similarity import leaders
from curate.select.space import Space, neutral_of, posed
from curate.types import Floats
from curate.words import quoted

log = logging.getLogger(__name__)

AUTO_ENOUGH = 0.98
"""`--budget auto` ends where all the rest together would add less than 2 % of the value."""
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
    bound: float
    """0..1: share of the value of the best possible choice of as many faces that this one has for certain."""
    curve: Floats
    """(K,) 0..1: value of the first k choices over the value of all eligible faces."""
    space: Space
    clusters: Clusters
    """Groups of the eligible faces."""
    eligible_ids: pd.Index[Any]
    """(N,) their face ids, in the order of `clusters.labels`."""
    notes: tuple[str, ...]
    """What the user should know, a sentence each."""
    target: TargetCoverage | None = None


@dataclass(frozen=True, eq=False)
class _Order:
    """Rows of the pool in order of choice."""

    chosen: NDArray[np.int64]
    gains: NDArray[np.float64]
    free: int
    """So many of the first are apart from each other; the others are near-duplicates."""


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
    columns = [*outcome.COLUMNS, *like.MEASURES]
    return list(dict.fromkeys(columns))


def select_faceset(faceset: Faceset, options: SelectionOptions | None = None, target: Faceset | None = None) -> Choice:
    """Choose from the faceset's table, with its pins, and write selection.parquet with what it is worth.

    Without `options` the options and the target are those of the last selection, if there was one. Raises as
    `parse_budget` and `choose` do.
    """
    if options is None:
        last = last_options(faceset)
        options, target = last.options, target or last.target
    proposal = propose(faceset, options, target)
    write_selection(faceset, proposal.choice.rows, proposal.options, outcome.to_json(proposal.outcome))
    return proposal.choice


def propose(
    faceset: Faceset, options: SelectionOptions, target: Faceset | None = None, among: Collection[str] | None = None
) -> Proposal:
    """Choose from the faceset's table, with its pins; nothing is written. `among` as in `choose`.

    Raises as `parse_budget` and `choose` do.
    """
    rate = coverage.frame_rate(faceset.clips)
    budget = parse_budget(options.budget, rate)
    table = kept_faces(faceset, select_columns())
    wanted = target.table(select_columns(), kept=True) if target else None
    errors = None if options.learn is None else learned.errors_of(Path(options.learn))
    choice = choose(table, budget, options, read_pins(faceset), wanted, among, errors)
    worth = outcome.Outcome(
        choice.kept,
        choice.eligible,
        len(choice.rows),
        round(choice.coverage, outcome.DECIMALS),
        amounts_of(table, faceset.clips, options.weights),
        choice.rows["coverage"].to_numpy(np.float32),
        choice.space,
        outcome.table_digest(table),
        choice.target,
        None if wanted is None else outcome.table_digest(posed(wanted)),
        round(choice.bound, outcome.DECIMALS),
    )
    stored = asdict(options) | {"target": str(target.folder.resolve()) if target else None}
    return Proposal(choice, stored, worth)


def summary(
    faceset: Faceset, choice: Choice, weights: Weights | None = None, target: Faceset | None = None
) -> dict[str, Any]:
    """The figures stored with a choice, as JSON values; with `target` its coverage and gaps."""
    stored = outcome.read_outcome(faceset)
    found: dict[str, Any] = {
        "eligible": stored.eligible,
        "selected": stored.selected,
        "coverage": stored.coverage,
        "bound": stored.bound,
        "distinct_faces": stored.amounts.faces,
        "minutes": stored.amounts.minutes,
        "keep_minutes": stored.amounts.keep_minutes,
        "notes": list(choice.notes),
    }
    bare = len(without_crop(faceset))
    if bare:
        found["notes"].append(
            f"{bare} selected faces have no crop: run faceset prune {quoted(faceset.folder)} --restore to "
            "make them from the "
            "footage"
        )
    if target is not None and stored.target is not None:
        gaps = [asdict(gap) | {"sentence": gap.sentence()} for gap in gaps_for(faceset, target, weights)]
        found["target"] = {"faceset": str(target.folder), "coverage": asdict(stored.target), "gaps": gaps}
    return found


def choose(
    table: pd.DataFrame,
    budget: Budget,
    options: SelectionOptions | None = None,
    pins: Pins | None = None,
    target: pd.DataFrame | None = None,
    among: Collection[str] | None = None,
    errors: Mapping[str, float] | None = None,
) -> Choice:
    """The selection of `budget` from the table's kept faces that pass the floors (columns `select_columns()`).

    `options.cover`: what is to be represented, `footage` as filmed, `space`, where every kind of face counts alike
    however long it was held, or `target`, the kept faces of the table `target` as filmed, each subject about its own
    neutral. The options' own budget and training run are not read. `among`: ids of the faces that may be selected at
    all; None: every face. `errors`: face id to the error of a network's reconstruction of it, 0 or more; faces that are
    like those with large errors count more (`curate.select.learned`). Pinned faces come first. No two faces are alike
    or within apart.GAP seconds of each other while another is left. The same faces give the same answer in any row
    order and under any names, and a longer selection begins with the shorter one.

    Raises WorkError if no face is eligible, UsageError for a cover that lacks its target, and for `errors` that are of
    no kept face.
    """
    options = options or SelectionOptions()
    cover, pins = _cover(options.cover, target), pins or Pins()
    pool = pool_of(table, options, pins, target, among)
    notes = list(pool.notes)
    problem = _weighed(_problem(pool, cover), pool, errors, notes)
    order, pinned = _order(pool, problem, budget, pins, notes)
    chosen = pool.points[order.chosen]
    clusters = cluster(pool.space, pool.points, pool.kept, options.seed, pool.rows)
    curve = outcome.covered(pool.space, pool.kept, chosen)
    return Choice(
        _rows(pool.ids, order, clusters, pinned, curve),
        len(pool.kept),
        len(pool.rows),
        float(curve[-1]),
        facility_location.certain(problem, order.chosen),
        np.minimum(np.cumsum(order.gains), 1).astype(np.float32),
        pool.space,
        clusters,
        pool.ids,
        tuple(notes),
        None if pool.wanted is None else outcome.target_covered(pool.space, pool.wanted, pool.points, chosen),
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
    pool: Pool, problem: facility_location.Problem, budget: Budget, pins: Pins, notes: list[str]
) -> tuple[_Order, int]:
    """The order of choice, and how many pinned faces it begins with; adds what the user should know to the notes."""
    count = len(pool.rows)
    length = count if budget.faces is None else min(budget.faces, count)
    pinned = _pinned(pool.ids, pins, length, notes)
    if budget.faces is not None and budget.faces > count:
        notes.append(f"--budget {budget.text} is more than the {count} eligible faces: all of them are selected")
    good = like.quality(pool.measures, pool.kinds)
    best = np.union1d(like.best_of_cells(pool.kinds, good), pinned).astype(np.int64)
    moment = moments(pool.measures)
    radius = radius_of(pool.space.width, ALIKE)
    apart = Apart(pool.points, moment, radius)
    better = Better(problem, pool.kinds, good, radius, apart)
    few = replace(problem, points=pool.points[best], worth=problem.worth[best])
    enough = AUTO_ENOUGH if budget.faces is None else np.inf
    first = np.searchsorted(best, pinned).tolist()
    order = facility_location.order(few, length, enough, first=first, apart=apart, names=best, better=better)
    chosen = order.chosen
    free, near = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if budget.faces is not None and len(chosen) < length:
        free, near = _filled(pool, moment, radius, chosen, problem.worth, length)
    rows = np.concatenate([chosen, free, near])
    gains = np.concatenate([order.gains, np.zeros(len(rows) - len(chosen))])
    return _Order(rows, gains, len(rows) - len(near)), len(pinned)


def _filled(
    pool: Pool, moment: NDArray[np.float64] | None, radius: float, chosen: NDArray[np.int64], worth: Floats, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """More faces when none adds anything any more: those apart from all chosen ones, then near-duplicates.

    All cells of like faces get the same number of these, as far as they last; of a round faces of other moments come
    first.
    """
    rows, cell = np.arange(len(pool.rows)), pool.kinds.cell
    rounds = in_turn(np.setdiff1d(rows, chosen), chosen, cell, worth)
    apart = _apart(pool, moment, radius, chosen)
    free = np.array(fill(apart, np.concatenate([*rounds, rows[:0]]), length - len(chosen))[0], np.int64)
    before, near = np.concatenate([chosen, free]), list[int]()
    apart = _apart(pool, moment, 0.0, before)
    for some in in_turn(np.setdiff1d(rows, before), before, cell, worth):
        if len(before) + len(near) >= length:
            break
        near += itertools.chain(*fill(apart, some, length - len(before) - len(near)))
    return free, np.array(near, np.int64)


def _apart(pool: Pool, moment: NDArray[np.float64] | None, radius: float, rows: NDArray[np.int64]) -> Apart:
    """Distances from faces that are chosen already."""
    found = Apart(pool.points, moment, radius)
    for row in rows.tolist():
        found.add(row)
    return found


def _pinned(ids: pd.Index[Any], pins: Pins, length: int, notes: list[str]) -> NDArray[np.int64]:
    """Rows of the pinned faces, at most `length`; adds a note where some are left out."""
    rows = np.flatnonzero(ids.isin(list(pins.pinned)))
    rows = rows[np.argsort(ids[rows].to_numpy(dtype=str), kind="stable")]
    if len(rows) < len(pins.pinned):
        notes.append(f"{len(pins.pinned) - len(rows)} pinned faces are not eligible and are left out")
    if len(rows) > length:
        notes.append(f"{len(rows)} faces are pinned, but the budget has room for only {length} of them")
    return rows[:length]


def _problem(pool: Pool, cover: Cover) -> facility_location.Problem:
    """The facility location problem: a face of each cell of like faces, and how much each of them counts."""
    worth = like.worth(pool.kinds, pool.points, pool.space.width, like.quality(pool.measures, pool.kinds))
    if cover == "target" and pool.wanted is not None:
        asked = pool.space.embed(pool.wanted, neutral_of(pool.wanted))[content_order(pool.wanted)]
        filmed = seconds(pool.wanted)[content_order(pool.wanted)]
        rows, cell, _ = leaders(asked, radius_of(pool.space.width, ALIKE), MOST_CELLS)
        shown = np.bincount(cell, filmed, len(rows)).astype(np.float64)
        return facility_location.Problem(pool.points, asked[rows], pool.space.width, shown, worth)
    weight = pool.kinds.weight
    if cover == "footage":
        weight = np.bincount(pool.kinds.cell, pool.seconds, len(pool.kinds.rows)).astype(np.float64)
    return facility_location.Problem(pool.points, pool.points[pool.kinds.rows], pool.space.width, weight, worth)


def _weighed(
    problem: facility_location.Problem, pool: Pool, errors: Mapping[str, float] | None, notes: list[str]
) -> facility_location.Problem:
    """The problem, in which faces that are like those with large errors count more; as it is without errors."""
    if errors is None:
        return problem
    held = pool.kept[pool.kept["yaw"].notna()]
    rows, found = learned.known(held["face_id"].to_numpy(dtype=str), errors)
    if not len(rows):
        raise UsageError(
            "--learn: no held-out face of this run is in the faceset; name a run that was trained on it, or start over "
            "with --defaults"
        )
    points = pool.space.embed(held.iloc[rows])
    factor = learned.factors(problem.demand, points, found, problem.width)
    notes.append(
        f"kinds of faces are weighed by the run's errors on {len(rows)} held-out faces, "
        f"from {factor.min():.2f} to {factor.max():.2f} times as much as usual"
    )
    return replace(problem, demand_weight=problem.demand_weight * factor)


def _rows(ids: pd.Index[Any], order: _Order, clusters: Clusters, pinned: int, curve: Floats) -> pd.DataFrame:
    """The selection as SELECTION_SCHEMA has it; `curve` (K,) is the coverage by the first 1..K faces."""
    labels = clusters.labels[order.chosen]
    names = [clusters.names[label] for label in labels.tolist()]
    seen: set[int] = set()
    kinds: list[ReasonKind] = []
    for label in labels.tolist():
        if len(kinds) < pinned:
            kinds.append("pinned")
        elif len(kinds) >= order.free:
            kinds.append("near-duplicate")
        else:
            kinds.append("more" if label in seen else "new")
        seen.add(label)
    reasons = [_REASONS[kind].format(name) for kind, name in zip(kinds, names, strict=True)]
    return pd.DataFrame(
        {
            "face_id": ids[order.chosen].to_numpy(object),
            "rank": np.arange(len(labels), dtype=np.int32),
            "gain": order.gains.astype(np.float32),
            "cluster": labels.astype(np.int32),
            "reason": pd.Series(reasons, dtype=object),
            "group": pd.Series(names, dtype=object),
            "reason_kind": pd.Series(kinds, dtype=object),
            "coverage": curve,
        }
    )
