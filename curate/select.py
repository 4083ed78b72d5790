"""Which faces to train on: the few that represent all of them best, in the order in which they are worth having."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import coverage, greedy
from curate.cluster import Clusters, cluster
from curate.errors import UsageError, WorkError
from curate.expression import AXES
from curate.faceset import Faceset, write_selection
from curate.space import SPACE_COLUMNS, Space, Weights
from curate.types import Floats

log = logging.getLogger(__name__)

Cover = Literal["space", "footage"]
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


@dataclass(frozen=True)
class Budget:
    """How many faces a selection may hold."""

    faces: int | None
    """None: `auto`."""
    text: str


@dataclass(frozen=True)
class Floors:
    """Raw values below which (above, for compression) a kept face is not eligible; None is no floor.

    A face whose measure is null does not pass, unless it is null for all faces: then the floor is left out, with
    a note.
    """

    min_sharpness: float | None = None
    """Sharpness."""
    min_eye_distance: float | None = 16.0
    """InterEyeDistance, pixels."""
    min_pose_confidence: float | None = 0.1
    """pose_confidence, 0..1."""
    min_detection: float | None = None
    """detection_score, 0..1."""
    min_exposure: float | None = 0.25
    """UnderExposurePrevention and OverExposurePrevention, 0..1."""
    max_compression: float | None = None
    """CompressionArtifacts."""

    def limits(self) -> list[tuple[str, str, float, float]]:
        """(flag, column, value, sign) of each floor in use: a face passes if sign * column >= sign * value."""
        known = (
            ("--min-sharpness", "Sharpness", self.min_sharpness, 1.0),
            ("--min-eye-distance", "InterEyeDistance", self.min_eye_distance, 1.0),
            ("--min-pose-confidence", "pose_confidence", self.min_pose_confidence, 1.0),
            ("--min-detection", "detection_score", self.min_detection, 1.0),
            ("--min-exposure", "UnderExposurePrevention", self.min_exposure, 1.0),
            ("--min-exposure", "OverExposurePrevention", self.min_exposure, 1.0),
            ("--max-compression", "CompressionArtifacts", self.max_compression, -1.0),
        )
        return [(flag, column, value, sign) for flag, column, value, sign in known if value is not None]


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


def parse_budget(text: str, fps: float | None) -> Budget:
    """`200`, `9min` or `auto`. Minutes are faces at `fps`, the footage's average frame rate (None: photos).

    Raises UsageError for anything else, for 0 and less, and for minutes of photos.
    """
    plain = text.strip().lower()
    if plain == "auto":
        return Budget(None, plain)
    match = re.fullmatch(r"(\d+)|(\d+\.?\d*|\.\d+)\s*min", plain)
    if match is None or float(match[1] or match[2]) <= 0:
        raise UsageError(f"--budget {text}: must be a number of faces (200), minutes of footage (9min) or auto")
    if match[1]:
        return Budget(int(match[1]), plain)
    if not fps:
        raise UsageError(f"--budget {text}: photos have no minutes; give a number of faces, or auto")
    return Budget(max(1, round(float(match[2]) * 60 * fps)), plain)


def select_columns() -> list[str]:
    """The columns of the table that `choose` reads."""
    columns = ["face_id", "kept", "stands_for", "detection_score", *SPACE_COLUMNS, *AXES, *PREFERRED, *AVOIDED]
    return list(dict.fromkeys(columns))


def select_faceset(
    faceset: Faceset,
    budget: str,
    floors: Floors | None = None,
    weights: Weights | None = None,
    seed: int = 0,
    cover: Cover = "space",
) -> Choice:
    """Choose from the faceset's table and write selection.parquet. Raises as `parse_budget` and `choose` do."""
    parsed = parse_budget(budget, coverage.frame_rate(faceset.clips))
    choice = choose(faceset.table(select_columns()), parsed, floors, weights, seed, cover)
    write_selection(faceset, choice.rows)
    return choice


def choose(
    table: pd.DataFrame,
    budget: Budget,
    floors: Floors | None = None,
    weights: Weights | None = None,
    seed: int = 0,
    cover: Cover = "space",
) -> Choice:
    """The selection of `budget` from the table's kept faces that pass the floors (columns `select_columns()`).

    `cover`: what is to be represented, `footage` as filmed, or `space`, where every kind of face counts alike however
    long it was held. The same faces and seed give the same answer in any row order, and a longer selection begins with
    the shorter one. Up to greedy.EXACT faces the (1 - 1/e) guarantee holds for all faces; beyond, for a sample of
    greedy.REFERENCE of them that is drawn by their number alone.

    Raises WorkError if no face is eligible, UsageError for an unknown `cover`.
    """
    if cover not in get_args(Cover):
        raise UsageError(f"--cover {cover}: must be one of {', '.join(get_args(Cover))}")
    kept = table[table["kept"].astype(bool)].sort_values("face_id", ignore_index=True)
    passed, notes = eligible_rows(kept, floors or Floors())
    faces = kept[passed].reset_index(drop=True)
    space = Space.fit(faces, weights)
    points = space.embed(faces)
    problem = _problem(space, points, _worth(faces), _weight(faces, cover), seed)
    length = len(faces) if budget.faces is None else min(budget.faces, len(faces))
    order = greedy.order(problem, length, enough=AUTO_ENOUGH if budget.faces is None else np.inf)
    clusters = cluster(space, points, faces, seed)
    if budget.faces is not None and budget.faces > len(faces):
        notes.append(f"--budget {budget.text} asks for more than the {len(faces)} eligible faces: all are selected")
    ids = faces["face_id"].to_numpy(dtype=str)
    return Choice(
        _rows(ids, order, clusters),
        len(kept),
        len(faces),
        coverage.coverage(space, space.embed(kept), points[order.chosen], coverage.stands_for(kept)),
        np.minimum(np.cumsum(order.gains), 1).astype(np.float32),
        space,
        clusters,
        ids,
        tuple(notes),
    )


def eligible_rows(kept: pd.DataFrame, floors: Floors) -> tuple[NDArray[np.bool_], list[str]]:
    """(N,) which kept faces have a pose and pass the floors, and notes. Raises WorkError if none does."""
    if not len(kept):
        raise WorkError("no face is kept: look with faceset people DIR which persons were found")
    passed = kept["yaw"].notna().to_numpy(dtype=bool, copy=True)
    notes: list[str] = []
    failed = {"no head pose": int((~passed).sum())}
    for flag, column, value, sign in floors.limits():
        measure = kept[column].to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isnan(measure).all():
            notes.append(f"{flag} {value:g} is left out: no face has {column}")
            continue
        good = sign * np.nan_to_num(measure, nan=-sign * np.inf) >= sign * value
        failed[f"{flag} {value:g} ({column})"] = int((~good).sum())
        passed &= good
    dropped = ", ".join(f"{reason}: {count}" for reason, count in failed.items() if count)
    if not passed.any():
        raise WorkError(f"none of {len(kept)} kept faces is eligible ({dropped}): lower the floors")
    if dropped:
        notes.append(f"{int((~passed).sum())} of {len(kept)} kept faces are not eligible ({dropped})")
    return passed, notes


def _weight(faces: pd.DataFrame, cover: Cover) -> NDArray[np.float64] | None:
    """(N,) what each face counts as filmed; None: every kind counts alike."""
    return coverage.stands_for(faces) if cover == "footage" else None


def _problem(
    space: Space, points: Floats, worth: Floats, filmed: NDArray[np.float64] | None, seed: int
) -> greedy.Problem:
    count = len(points)
    if count <= greedy.EXACT:
        weight = coverage.demand(space, points) if filmed is None else filmed
        return greedy.Problem(points, points, space.width, weight, worth)
    rng = np.random.default_rng([seed, count, 1])
    rows = np.sort(rng.choice(count, min(count, SAMPLE), replace=False))
    weight = coverage.demand(space, points[rows]) if filmed is None else filmed[rows]
    # Drawn with odds of their weight (Efraimidis and Spirakis 2006), after which each stands for the same share.
    keys = np.log(rng.random(len(rows))) / weight
    rows = np.sort(rows[np.argpartition(-keys, greedy.REFERENCE)[: greedy.REFERENCE]])
    return greedy.Problem(points, points[rows], space.width, np.ones(len(rows)), worth)


def _worth(faces: pd.DataFrame) -> Floats:
    """(N,) 1 - QUALITY_PULL .. 1: mean rank of the quality measures; a null ranks in the middle."""
    ranks = []
    for columns, rising in ((PREFERRED, True), (AVOIDED, False)):
        for column in columns:
            rank = (faces[column].astype("float64").rank(ascending=rising) - 0.5) / max(1, faces[column].notna().sum())
            ranks.append(rank.fillna(0.5).to_numpy())
    return np.asarray(1 - QUALITY_PULL * (1 - np.mean(ranks, axis=0)), np.float32)


def _rows(ids: NDArray[np.str_], order: greedy.Order, clusters: Clusters) -> pd.DataFrame:
    labels = clusters.labels[order.chosen]
    seen: set[int] = set()
    reasons = []
    for label, gain in zip(labels.tolist(), order.gains.tolist(), strict=True):
        name = clusters.names[label]
        if gain < NEAR_DUPLICATE:
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
