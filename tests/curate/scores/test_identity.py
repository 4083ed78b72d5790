"""People among tracks: clusters, strangers, and faces that are seen together."""

import numpy as np
from numpy.typing import NDArray

from curate.scores import identity


def faces(count: int, seed: int, length: float = 0.6) -> NDArray[np.float64]:
    """Vectors (count, 128) of people, about 0.85 apart as dlib's are."""
    found = np.random.default_rng(seed).normal(0, 1, (count, 128))
    return length * found / np.linalg.norm(found, axis=1, keepdims=True)


def test_people_are_clustered_and_ranked_by_faces() -> None:
    centres = faces(3, 1)
    owner = np.array([0, 1, 1, 2, 0, 1, 2, 2])
    vectors = centres[owner] + np.random.default_rng(1).normal(0, 0.012, (8, 128))
    weights = np.array([5, 40, 1, 90, 5, 1, 1, 1.0])
    assert identity.people(vectors, weights).tolist() == [2, 1, 1, 0, 2, 1, 0, 0]
    assert identity.people(vectors[:1], weights[:1]).tolist() == [0]
    assert len(identity.people(vectors[:0], weights[:0])) == 0


def test_strangers_stay_nobody_at_any_size(monkeypatch) -> None:
    monkeypatch.setattr(identity, "BLOCK", 100)
    rng = np.random.default_rng(2)
    owner = np.concatenate([rng.integers(0, 6, 300), np.arange(6, 206)])
    vectors = faces(206, 3)[owner] + rng.normal(0, 0.2 / np.sqrt(128), (500, 128))
    order = rng.permutation(500)
    found = identity.people(vectors[order], rng.uniform(1, 9, 500))
    assert len({(o, f) for o, f in zip(owner[order], found, strict=True)}) == 206 == found.max() + 1


def test_the_rounds_give_what_merging_the_nearest_pair_gives() -> None:
    vectors = np.random.default_rng(4).normal(0, 0.028, (60, 128))
    groups = [[i] for i in range(60)]

    def apart(a: list[int], b: list[int]) -> float:
        return float(np.mean([np.sum((vectors[i] - vectors[j]) ** 2) for i in a for j in b]))

    while True:
        pairs = [(apart(a, b), i, j) for i, a in enumerate(groups) for j, b in enumerate(groups[:i])]
        least, i, j = min(pairs)
        if least >= 0.44**2:
            break
        groups[j] += groups.pop(i)
    assert 1 < len(groups) < 60
    found = identity.people(vectors, np.ones(60), 0.44)
    assert {frozenset(g) for g in groups} == {frozenset(np.flatnonzero(found == k).tolist()) for k in set(found)}


def test_two_who_are_seen_together_are_two_unless_they_are_the_same() -> None:
    one, other = np.zeros(128), np.zeros(128)
    other[0] = 0.454
    pair = np.stack([one, other])
    assert identity.people(pair, np.ones(2)).tolist() == [0, 0]
    assert identity.people(pair, np.ones(2), together=[(0, 1)]).tolist() == [0, 1]
    assert identity.people(pair, np.ones(2), same=0.42).tolist() == [0, 1]
    mirrored = np.stack([one, other / 2])
    assert identity.people(mirrored, np.ones(2), together=[(0, 1)]).tolist() == [0, 0]
    third = np.stack([one, other, other / 2])  # someone in between does not join the two
    assert len(set(identity.people(third, np.ones(3), together=[(0, 1)]))) == 2
