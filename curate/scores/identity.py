"""Identities: tracks clustered by their identity vectors, and the subject among the clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAME_PERSON = 0.5
"""Euclidean distance of dlib vectors: below it two tracks are one person (at 0.5: FAR 0.6 %, FRR 3.7 %)."""
NOT_THE_PERSON = 0.6
"""Distance from a reference above which a person is a different one (dlib's own threshold)."""
EXACT_LIMIT = 3000
"""Tracks that are clustered exactly; more are assigned to the nearest centre of the longest ones."""


def people(vectors: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.int32]:
    """Person of each track: (T,) int32, 0 the one with the most faces.

    `vectors` (T, 128) identity vectors, `weights` (T,) faces in each track. Average linkage cut at SAME_PERSON.
    """
    if len(vectors) == 0:
        return np.zeros(0, np.int32)
    if len(vectors) == 1:
        return np.zeros(1, np.int32)
    from sklearn.cluster import AgglomerativeClustering

    order = np.argsort(-np.asarray(weights), kind="stable")[:EXACT_LIMIT]
    model = AgglomerativeClustering(n_clusters=None, distance_threshold=SAME_PERSON, linkage="average")
    found = model.fit_predict(np.asarray(vectors, np.float64)[order])
    centres = np.stack([centre(vectors[order][found == k], weights[order][found == k]) for k in range(found.max() + 1)])
    labels = np.full(len(vectors), -1)
    labels[order] = found
    for i in np.flatnonzero(labels < 0):
        labels[i] = int(np.argmin(np.linalg.norm(centres - vectors[i], axis=1)))
    mass = np.bincount(labels, weights=weights, minlength=len(centres))
    first = np.array([np.flatnonzero(labels == k)[0] for k in range(len(centres))])
    rank = np.empty(len(centres), np.int32)
    rank[np.lexsort((first, -mass))] = np.arange(len(centres))
    return np.asarray(rank[labels], np.int32)


def centre(vectors: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """(128,) weighted mean of identity vectors (T, 128)."""
    w = np.asarray(weights, np.float64)
    return np.asarray((np.asarray(vectors, np.float64) * w[:, None]).sum(0) / max(w.sum(), 1e-9))


def nearest(centres: NDArray[np.floating], reference: NDArray[np.floating]) -> int:
    """Index of the centre (P, 128) nearest to a reference vector (128,)."""
    return int(np.argmin(np.linalg.norm(np.asarray(centres) - reference, axis=1)))
