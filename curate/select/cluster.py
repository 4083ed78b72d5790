"""Groups of similar faces in the diversity space, with readable names, and a flat map of all faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.axes import EXPRESSION, POSE, READABLE
from curate.select.content import content_order
from curate.select.facility_location import BLOCK_CELLS
from curate.select.space import Space, light_of, vectors
from curate.types import Floats

SAMPLE = 2000
"""Clusters are found among this many faces, and all others join the nearest one."""
FEWEST, MOST = 4, 24
"""HDBSCAN's groups are taken if there are FEWEST to MOST; footage is often one cloud, which k-means cuts."""
SMALLEST = 5
MAP_NEIGHBOURS, MAP_SAMPLE = 15, 4000
"""Of more faces the map is made of a sample, and the others lie between those that are most like them."""
_WORDS_EACH = 2
LIT_FROM_BELOW = -0.15
"""The light's height is mostly above 0, so that low light is named earlier than high light."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """Every face's group."""

    labels: NDArray[np.int32]
    """(N,) 0.. in the table's order; 0 is the largest group."""
    names: tuple[str, ...]
    """One a group, all different, as "left 35, smiling, lit from the right"; sides are the subject's own."""
    sizes: tuple[int, ...]


def cluster(
    space: Space, points: Floats, table: pd.DataFrame, seed: int = 0, rows: NDArray[np.int64] | None = None
) -> Clusters:
    """Groups of the faces in `table` (face_id, SPACE_COLUMNS and the axes of expression) at `points` (N, D).

    HDBSCAN (Campello, Moulavi and Sander 2013); where it sees no FEWEST..MOST groups, or one that holds half of the
    faces, k-means. Groups that deserve the same name are one. The same faces give the same groups in any row order.
    `rows` (N,): only those of the table are meant, and they are in order of content.
    """
    count = len(points)
    if not count:
        return Clusters(np.zeros(0, np.int32), (), ())
    first = (np.arange(count) if rows is not None else content_order(table))[:SAMPLE]
    labels = _assign(points, _centres(points[first], space, seed))
    return _by_name(labels, _names(space, table, labels, np.arange(count) if rows is None else rows))


def _by_name(labels: NDArray[np.int64], names: Sequence[str]) -> Clusters:
    """Groups of one name become one group; the largest comes first."""
    known = sorted(set(names))
    labels = np.array([known.index(name) for name in names])[labels]
    sizes = np.bincount(labels, minlength=len(known))
    rank = [g for g in np.argsort(-sizes, kind="stable").tolist() if sizes[g]]
    new = np.zeros(len(known), np.int32)
    new[rank] = np.arange(len(rank))
    return Clusters(new[labels], tuple(known[g] for g in rank), tuple(int(sizes[g]) for g in rank))


def map2d(points: Floats, seed: int = 0) -> Floats:
    """(N, 2) float32: a flat map of points (N, D) for looking at, by UMAP (McInnes, Healy and Melville 2018).

    Distances on it mean nothing exact. Neighbours come from scikit-learn and the start from the main axes, which spares
    UMAP's slow first minute; its own compilation still takes about 10 s the first time in a process. Of more than
    MAP_SAMPLE points the rest are placed at the mean of the three sampled ones that are nearest.
    """
    if len(points) <= MAP_NEIGHBOURS + 1:
        return _main_axes(points)
    from sklearn.neighbors import NearestNeighbors

    if len(points) <= MAP_SAMPLE:
        return _umap(points, seed)
    rows = np.sort(np.random.default_rng([seed, len(points)]).choice(len(points), MAP_SAMPLE, replace=False))
    flat = _umap(points[rows], seed)
    _, nearest = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(points[rows]).kneighbors(points)
    placed = np.asarray(flat[nearest].mean(1), np.float32)
    placed[rows] = flat
    return placed


def _umap(points: Floats, seed: int) -> Floats:
    import warnings

    from sklearn.neighbors import NearestNeighbors

    finder = NearestNeighbors(n_neighbors=MAP_NEIGHBOURS).fit(points)
    distance, index = finder.kneighbors(points)
    with warnings.catch_warnings():
        # It warns that new points can't be placed on the map later, and that a seed means one thread: both are meant.
        warnings.simplefilter("ignore")
        import umap

        mapper = umap.UMAP(
            n_neighbors=MAP_NEIGHBOURS,
            random_state=seed,
            n_jobs=1,
            init=_main_axes(points),
            precomputed_knn=(index, distance.astype(np.float32)),
            force_approximation_algorithm=True,
        )
        return np.asarray(mapper.fit_transform(points), np.float32)


def _main_axes(points: Floats) -> Floats:
    """(N, 2) the two principal components, -10..10, signs fixed."""
    centred = points - points.mean(0) if len(points) else points
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    flat = np.zeros((len(points), 2), np.float32)
    for i, direction in enumerate(axes[:2]):
        flat[:, i] = centred @ (direction * np.sign(direction[np.abs(direction).argmax()]))
    return np.asarray(flat * (10 / max(float(np.abs(flat).max(initial=0)), 1e-6)), np.float32)


def _centres(points: Floats, space: Space, seed: int) -> Floats:
    """(K, D) centres of the groups among the sampled points."""
    smallest = max(SMALLEST, len(points) // 50)
    if len(points) >= FEWEST * smallest:
        from sklearn.cluster import HDBSCAN

        labels = HDBSCAN(min_cluster_size=smallest, min_samples=SMALLEST, copy=True).fit_predict(points)
        groups = labels.max() + 1
        largest = np.bincount(labels + 1)[1:].max(initial=0)
        if FEWEST <= groups <= MOST and (labels >= 0).mean() >= 0.5 and largest <= len(points) / 2:
            return np.stack([points[labels == g].mean(0) for g in range(groups)]).astype(np.float32)
    distinct = len(np.unique(np.round(points, 4), axis=0))
    groups = min(distinct, MOST, max(1, round(2 * _volume(points, space.width))))
    from sklearn.cluster import KMeans

    found = KMeans(groups, n_init=3, random_state=seed).fit(points)
    return np.asarray(found.cluster_centers_, np.float32)


def _volume(points: Floats, width: float) -> float:
    """How many balls of `width` the points fill, at least 1: the number that are further apart than twice that."""
    left, count = points, 0
    while len(left) and count < MOST:
        left = left[np.square(left - left[0]).sum(1) > (2 * width) ** 2]
        count += 1
    return float(count)


def _assign(points: Floats, centres: Floats) -> NDArray[np.int64]:
    labels = np.empty(len(points), np.int64)
    step = max(1, BLOCK_CELLS // len(centres))
    own = np.square(centres).sum(1)
    for start in range(0, len(points), step):
        block = points[start : start + step]
        labels[start : start + step] = (own - 2 * block @ centres.T).argmin(1)
    return labels


def _names(space: Space, table: pd.DataFrame, labels: NDArray[np.int64], rows: NDArray[np.int64]) -> list[str]:
    """A name for each label 0..max; two may be equal."""
    columns = table[["yaw", "pitch", "roll", "gaze", "lighting", *(axis.name for axis in EXPRESSION)]]
    groups = (rows[labels == group] for group in range(labels.max() + 1))
    return [_name(space, columns.iloc[own]) if len(own) else "" for own in groups]


def _name(space: Space, faces: pd.DataFrame) -> str:
    """The name of a group of faces."""
    pose = np.asarray(faces[["yaw", "pitch"]].astype("float64"))
    seen = pose[np.isfinite(np.asarray(faces[["yaw", "pitch", "roll"]].astype("float64"))).all(1)]
    turn = np.median(seen, axis=0) if len(seen) else np.zeros(2)
    words = [_turn_words(*turn), *_face_words(faces)]
    if "eyes closed" not in words:
        words += _gaze_words(*np.median(np.nan_to_num(vectors(faces["gaze"], 2)), axis=0))
    words += _light_words(np.median(light_of(faces, space.neutral), axis=0))
    return ", ".join(words)


def _turn_words(yaw: float, pitch: float) -> str:
    words = [
        f"{axis.brief[int(angle > 0)]} {5 * round(abs(angle) / 5)}"
        for axis, angle in zip(POSE, (yaw, pitch), strict=False)
        if abs(angle) >= axis.starts
    ]
    return " ".join(words) if words else "frontal"


def _face_words(axes: pd.DataFrame) -> list[str]:
    """The strongest words for the named axes of n faces."""
    middle = {axis.name: float(axes[axis.name].astype("float64").fillna(0.0).median()) for axis in EXPRESSION}
    found = [(middle[axis.name] / axis.starts, axis.high) for axis in EXPRESSION]
    strongest = {word for strength, word in sorted(found, reverse=True)[:_WORDS_EACH] if strength >= 1}
    return [axis.high for axis in EXPRESSION if axis.high in strongest]


def _gaze_words(left: float, up: float) -> list[str]:
    """A word for gaze away from the subject's usual one, -1..1."""
    return _word("gaze_left", left) if abs(left) >= abs(up) else _word("gaze_up", up)


def _light_words(light: NDArray[np.float64]) -> list[str]:
    """Words for a lighting vector (6,) whose exposure is relative to the subject's median."""
    height = _word("light_up", light[1])
    if light[1] <= LIT_FROM_BELOW:
        height = [READABLE["light_up"].low]
    return (_word("light_left", light[0]) or height) + _word("exposure", light[3])


def _word(name: str, value: float) -> list[str]:
    """The axis' word for a value that is far enough from 0."""
    axis = READABLE[name]
    return [axis.high if value > 0 else axis.low] if abs(value) >= axis.starts else []
