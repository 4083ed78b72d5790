"""Rivals of `faceset select`: other ways to choose k faces, as `benchmarks.curation` compares them.

Those "on pixels" see grey crops of 16 x 16 px, mean 0 and length 1, as a user without this project would. The formulas
of fiftyone.brain are used rather than its functions, which need a database; it has no coreset.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from curate.select.options import Budget
from curate.select.selection import choose
from curate.select.similarity import net, squared

MANY = 4000
"""Pictures among which the feature-based function looks for the next one."""


@dataclass(frozen=True)
class Pool:
    """What may be chosen from."""

    table: pd.DataFrame
    images: np.ndarray
    """(N, S, S, 3) uint8."""
    points: np.ndarray
    """(N, D) in the absolute space."""


def pixels_of(images: np.ndarray) -> np.ndarray:
    """(N, 256) grey pixels at 16 x 16, mean 0, length 1."""
    grey = np.stack(
        [cv2.resize(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), (16, 16), interpolation=cv2.INTER_AREA) for i in images]
    )
    flat = grey.reshape(len(grey), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


Chooser = Callable[[Pool, int], np.ndarray]


def _uniform(f: Pool, k: int) -> np.ndarray:
    return np.unique(np.linspace(0, len(f.table) - 1, k).round().astype(int))


def _ours(f: Pool, k: int) -> np.ndarray:
    chosen = choose(f.table, Budget(k, str(k))).rows["face_id"]
    return pd.Index(f.table["face_id"]).get_indexer(pd.Index(chosen))


def _k_centre(f: Pool, k: int) -> np.ndarray:
    """Gonzalez 1985: the next is the farthest from all so far; begins in the middle."""
    chosen = [int(np.square(f.points - f.points.mean(0)).sum(1).argmin())]
    near = squared(f.points, f.points[chosen])[:, 0]
    while len(chosen) < min(k, len(f.table)):
        chosen.append(int(near.argmax()))
        near = np.minimum(near, squared(f.points, f.points[chosen[-1:]])[:, 0])
    return np.array(chosen)


def _dfl(f: Pool, k: int) -> np.ndarray:
    """DeepFaceLab's best faces with k yaw bins, so that the quota of a bin is one face; what is missing is drawn in
    order of sharpness."""
    yaw, sharp = f.table["yaw"].to_numpy(float), f.table["Sharpness"].to_numpy(float)
    edges = np.linspace(yaw.min(), yaw.max() + 1e-6, k + 1)
    chosen: list[int] = []
    for low, high in itertools.pairwise(edges):
        rows = np.flatnonzero((yaw >= low) & (yaw < high))
        rows = rows[np.argsort(-sharp[rows], kind="stable")][:10]
        if len(rows):
            histograms = [_histogram(f.images[i]) for i in rows]
            unlike = [sum(cv2.compareHist(a, b, cv2.HISTCMP_BHATTACHARYYA) for b in histograms) for a in histograms]
            chosen.append(int(rows[int(np.argmax(unlike))]))
    spare = [int(i) for i in np.argsort(-sharp, kind="stable") if int(i) not in set(chosen)]
    return np.array((chosen + spare)[:k])


def _histogram(image: np.ndarray) -> np.ndarray:
    return cv2.calcHist([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)], [0], None, [256], [0, 256])


def _without_near(f: Pool, k: int) -> np.ndarray:
    """Evenly in time from what is left when of like pictures in a row one stays (as much as leaves 4 k or more)."""
    pixels = pixels_of(f.images)
    for radius in np.linspace(0.6, 0.0, 25):
        left = np.sort(net(pixels, float(radius), len(pixels))[0])
        if len(left) >= min(4 * k, len(pixels)):
            break
    return left[np.unique(np.linspace(0, len(left) - 1, k).round().astype(int))]


def _medoids(f: Pool, k: int) -> np.ndarray:
    """The picture nearest to each centre of k-means on pixels."""
    from sklearn.cluster import KMeans

    pixels = pixels_of(f.images)
    centres = KMeans(min(k, len(pixels)), n_init=1, random_state=0).fit(pixels).cluster_centers_
    return np.unique(squared(centres, pixels).argmin(1))


def _facility(f: Pool, k: int) -> np.ndarray:
    """Facility location on pixels, greedy, cosine similarity, without balance or quality (as apricot's)."""
    pixels = pixels_of(f.images)
    similar = pixels @ pixels[:: max(1, len(pixels) // 3000)].T
    best, chosen = np.full(similar.shape[1], -1, np.float32), []
    for _ in range(min(k, len(pixels))):
        gains = np.maximum(similar - best, 0).sum(1)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        best = np.maximum(best, similar[chosen[-1]])
    return np.array(chosen)


def _semdedup(f: Pool, k: int) -> np.ndarray:
    """SemDeDup: in each group of k-means pairs that are too alike lose one, the limit set so that k are left."""
    from sklearn.cluster import KMeans

    pixels = pixels_of(f.images)
    labels = KMeans(min(8, len(pixels)), n_init=1, random_state=0).fit_predict(pixels)
    order = np.random.default_rng(0).permutation(len(pixels))
    closest = np.zeros(len(pixels))
    for group in range(labels.max() + 1):
        rows = order[labels[order] == group]
        similar = np.triu(pixels[rows] @ pixels[rows].T, 1)
        closest[rows] = similar.max(0)
    return np.argsort(closest, kind="stable")[:k]


def _unique(f: Pool, k: int) -> np.ndarray:
    """fiftyone.brain's uniqueness: 0.6, 0.3 and 0.1 of the distances to the three nearest neighbours."""
    from sklearn.neighbors import NearestNeighbors

    pixels = pixels_of(f.images)
    near, _ = NearestNeighbors(n_neighbors=4).fit(pixels).kneighbors(pixels)
    return np.argsort(-(near[:, 1:] @ np.array([0.6, 0.3, 0.1])), kind="stable")[:k]


def _representative(f: Pool, k: int) -> np.ndarray:
    """fiftyone.brain's representativeness (cluster-center-downweight): closeness to the centre of one of 20 groups,
    times 0.7 for pictures within 0.5 of a better one."""
    from sklearn.cluster import KMeans

    pixels = pixels_of(f.images)
    found = KMeans(min(20, len(pixels)), n_init=1, random_state=1234).fit(pixels)
    away = np.linalg.norm(pixels - found.cluster_centers_[found.labels_], axis=1)
    rank = 1 - away / np.maximum(np.array([away[found.labels_ == g].max() for g in range(20)]), 1e-9)[found.labels_]
    adjusted, seen = rank.copy(), np.zeros(len(rank), bool)
    for row in np.argsort(-rank, kind="stable").tolist():
        seen[row] = True
        near = (squared(pixels[row : row + 1], pixels)[0] < 0.25) & ~seen
        adjusted[near] *= 0.7
        seen |= near
    return np.argsort(-adjusted, kind="stable")[:k]


def _features(f: Pool, k: int) -> np.ndarray:
    """apricot's feature-based function: the sum over features of the root of what the chosen ones have of each."""
    pixels = pixels_of(f.images)
    rows = np.unique(np.linspace(0, len(pixels) - 1, MANY).round().astype(int))
    features = np.hstack([np.maximum(pixels[rows], 0), np.maximum(-pixels[rows], 0)])
    total, chosen = np.zeros(features.shape[1], np.float32), []
    for _ in range(min(k, len(rows))):
        gains = np.sqrt(total + features).sum(1)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        total += features[chosen[-1]]
    return rows[chosen]


def random(f: Pool, k: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(f.table), min(k, len(f.table)), replace=False)


OURS = "ours"
METHODS: dict[str, Chooser] = {
    OURS: _ours,
    "uniform in time": _uniform,
    "uniform, no near-duplicates": _without_near,
    "DFL most varied": _dfl,
    "k-centre": _k_centre,
    "k-medoids on pixels": _medoids,
    "facility location on pixels": _facility,
    "SemDeDup on pixels": _semdedup,
    "uniqueness on pixels": _unique,
    "representativeness on pixels": _representative,
    "feature-based on pixels": _features,
    "all faces": lambda f, k: np.arange(len(f.table)),
}
