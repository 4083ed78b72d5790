"""The people of a faceset, the subject among them, and the subject's face in every frame.

The subject is who the anchor says: whoever is within reach of one of its looks. Without an anchor yet, --person or
--reference sets it, or else the person with the most faces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset
from curate.errors import NobodyError
from curate.extract.anchor import elect, translated, with_tracks
from curate.extract.degraded import Degraded
from curate.extract.tracks import Track, Tracks
from curate.scores import identity
from curate.types import Anchor

OTHER_PERSON = "another person"
NOBODY = "the track has no clear face"
PASSING = "the track is too short to show whose face it is"
AGAIN = "the subject again: another track is kept in this shot"
REACH = 0.9
"""Distance of a person from a look, relative to the limit of one person, below which it is the subject."""
STANDS_OUT = 0.1
"""Distance by which a person's nearest track must be nearer than the next person's, if only tracks are within reach."""
SHOWN = "leave --reference out: `faceset people` then shows who is there, and --person N names the subject"
"""How a person is named whose photo finds nobody."""
MISSING = -1
"""Person of a track that shows nobody for sure."""


@dataclass(frozen=True, eq=False)
class People:
    """The person of each track, and which tracks are the subject's."""

    person: dict[int, int]
    """Track to person, 0 the one with the most frames; MISSING for a track that shows nobody for sure."""
    kept: frozenset[int]
    """The subject's tracks of which the faces are kept: none is seen together with another one."""
    vectors: dict[int, NDArray[np.float32]]
    """(128,) of each track that has one."""
    reasons: dict[int, str]
    """Of tracks that are not kept."""
    centres: NDArray[np.float64]
    """(L, 128) mean identity of each of the subject's looks in this footage."""
    anchor: Anchor
    subject: int
    """The subject's person."""

    def of(self, tracks: Iterable[int]) -> People:
        """The same for these tracks alone."""
        wanted = set(tracks)
        return replace(
            self,
            person={t: self.person[t] for t in wanted},
            kept=self.kept & wanted,
            vectors={t: v for t, v in self.vectors.items() if t in wanted},
            reasons={t: r for t, r in self.reasons.items() if t in wanted},
        )


def find_people(found: Tracks, faceset: Faceset) -> People:
    """Who is who among the tracks, and which of them the subject is. Raises UsageError and NobodyError."""
    tracks, same = found.tracks, faceset.grouping.same_person
    if all(t.vector is None for t in tracks):
        raise NobodyError(f"{faceset.folder}: no face in the footage is clear enough to tell people apart")
    labelled = _labels(found, same)
    known, labels = list(labelled), np.array(list(labelled.values()))
    seen = _Seen(found, known, faceset)
    vectors, weights = seen.vectors, seen.weights
    if faceset.anchor is None and faceset.persons:  # their numbers are those of a list that was made without
        labels = identity.ranked(np.where(seen.degraded(labels, [0], labels == 0), 0, labels), weights)
    groups, centres = seen.grouped(labels)
    if faceset.anchor is None:
        anchor = elect(faceset, centres, [[tracks[known[i]] for i in g] for g in groups])
    else:
        anchor = translated(faceset.anchor, faceset.settings.identifier, tracks)
    long = np.array([not tracks[i].brief for i in known])
    ours = _reached(centres, [vectors[g[long[g]]] if long[g].any() else vectors[g] for g in groups], anchor, same)
    mine = np.isin(labels, ours)
    if anchor.how == "reference":
        mine &= _near(vectors, mine, anchor, same)
    mine |= seen.degraded(labels, ours.tolist(), mine)
    labels = np.where(mine, labels.max() + 1, labels)
    ranked = identity.ranked(labels, weights)
    person = dict.fromkeys(range(len(tracks)), MISSING) | dict(zip(known, ranked.tolist(), strict=True))
    looks = [g[mine[g]] for g in (groups[k] for k in ours)]
    own = np.stack([identity.centre(vectors[g], weights[g]) for g in looks if len(g)])
    anchor = with_tracks(anchor, [tracks[known[i]] for i in np.flatnonzero(mine)])
    used = {track: vectors[i].astype(np.float32) for i, track in enumerate(known)}
    return _kept(tracks, person, used, own, anchor, int(ranked[mine][0]))


class _Seen:
    """The tracks that show somebody, their vectors (K, 128) and frames (K,), and what follows from who they are."""

    def __init__(self, found: Tracks, known: list[int], faceset: Faceset) -> None:
        tracks = [found.tracks[i] for i in known]
        self.vectors = np.stack([t.vector for t in tracks if t.vector is not None]).astype(np.float64)
        self.weights = np.array([t.frames for t in tracks], np.float64)
        self._found, self._known, self._faceset = found, known, faceset

    def grouped(self, labels: NDArray[np.integer]) -> tuple[list[NDArray[np.intp]], NDArray[np.float64]]:
        """Of each label (K,) its tracks, and (P, 128) its mean identity."""
        groups = [np.flatnonzero(labels == k) for k in range(labels.max() + 1)]
        return groups, np.stack([identity.centre(self.vectors[g], self.weights[g]) for g in groups])

    def degraded(self, labels: NDArray[np.integer], ours: list[int], mine: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(K,) tracks of people who are the subject, seen softly or half hidden; those of `ours` that are `mine` are
        the subject's."""
        groups, centres = self.grouped(labels)
        people = [[self._known[i] for i in g if mine[i] or k not in ours] for k, g in enumerate(groups)]
        same = self._faceset.grouping.same_person
        compared = Degraded(self._found, people, centres, self._faceset.settings.identifier, same)
        return np.isin(labels, compared.joined(ours))


def _labels(found: Tracks, same: float) -> dict[int, int]:
    """Label of the person of each track, by track; without those that show nobody for sure.

    Brief tracks join the nearest person of the others within reach with whom they are not seen, or nobody.
    """
    vectors = {i: np.asarray(t.vector, np.float64) for i, t in enumerate(found.tracks) if t.vector is not None}
    proper = [i for i in vectors if not found.tracks[i].brief] or list(vectors)
    place = {track: i for i, track in enumerate(proper)}
    together = [(place[a], place[b]) for a, b in sorted(found.together) if a in place and b in place]
    weights = np.array([found.tracks[i].frames for i in proper], np.float64)
    people = identity.people(np.stack([vectors[i] for i in proper]), weights, same, together)
    labels = dict(zip(proper, people.tolist(), strict=True))
    members = [np.flatnonzero(people == k) for k in range(people.max() + 1)]
    centres = [identity.centre(np.stack([vectors[proper[i]] for i in own]), weights[own]) for own in members]
    beside: dict[int, set[int]] = {}
    for pair in found.together:
        for track, other in (pair, pair[::-1]):
            if other in place:
                beside.setdefault(track, set()).add(labels[other])
    for track in sorted(vectors.keys() - place.keys()):
        apart = np.linalg.norm(np.array(centres) - vectors[track], axis=1)
        apart[list(beside.get(track, ()))] = np.inf
        if apart.min() < REACH * same:
            labels[track] = int(apart.argmin())
    return dict(sorted(labels.items()))


def _reached(
    centres: NDArray[np.float64], members: list[NDArray[np.float64]], anchor: Anchor, same: float
) -> NDArray[np.intp]:
    """The people within reach of one of the anchor's looks; of a known subject at least the nearest within `same`.

    Where nobody's centre is near, one whose `members` (the vectors of its tracks) come within reach counts, if it
    stands out by them. Raises NobodyError.
    """
    looks = np.array(anchor.looks)
    apart = identity.distances(centres, looks)
    closest = np.stack([identity.distances(own, looks).min(axis=0) for own in members])
    closest[apart > identity.NOT_THE_PERSON] = np.inf
    reached = set(np.flatnonzero((apart < REACH * same).any(axis=1)).tolist())
    if anchor.how != "reference":
        reached |= {int(look.argmin()) for look in apart.T if look.min() <= same}
    for look in closest.T if not reached else ():
        order = np.argsort(look, kind="stable")[:2]
        if look[order[0]] < REACH * same and (len(order) < 2 or look[order[1]] - look[order[0]] >= STANDS_OUT):
            reached.add(int(order[0]))
    if not reached:
        raise NobodyError(_nobody(np.sort(apart.min(axis=1)), np.sort(closest.min(axis=1)), anchor, same))
    return np.array(sorted(reached))


def _nobody(least: NDArray[np.float64], closest: NDArray[np.float64], anchor: Anchor, same: float) -> str:
    """Why nobody is the subject; `least` (P,) distances of the people from it in order, `closest` of their tracks."""
    if anchor.how != "reference":
        return (
            f"nobody in the footage looks like the subject (identity distance {least[0]:.3f}, limit {same:.3f}): add "
            "footage of the subject, or name another person with --person or --reference"
        )
    if closest[0] < REACH * same:
        return (
            f"the --reference photo does not tell two people apart (identity distances {closest[0]:.2f} and "
            f"{closest[1]:.2f}): give a sharper photo of the uncovered face, or {SHOWN}"
        )
    if least[0] <= identity.NOT_THE_PERSON:
        return (
            "the person who is nearest to the --reference photo may be somebody else (identity distance "
            f"{least[0]:.3f}, limit {REACH * same:.3f}): give a photo in which the face looks as in the footage, or "
            f"{SHOWN}"
        )
    return (
        f"nobody in the footage looks like the --reference photo (identity distance {least[0]:.3f}, limit "
        f"{REACH * same:.3f}): give another photo, or {SHOWN}"
    )


def _near(vectors: NDArray[np.float64], mine: NDArray[np.bool_], anchor: Anchor, same: float) -> NDArray[np.bool_]:
    """Tracks near a photo, or near the mean of the tracks that are nearest to it."""
    looks = np.array(anchor.looks)
    apart = identity.distances(vectors, looks)
    near = np.zeros(len(vectors), bool)
    for i, look in enumerate(looks):
        own = np.flatnonzero(mine & (apart.argmin(axis=1) == i))
        if len(own):
            core = own[apart[own, i] <= max(float(np.quantile(apart[own, i], 0.25)), REACH * same)]
            middle = vectors[core].mean(axis=0) if len(core) else look
            near |= (apart[:, i] < same) | (np.linalg.norm(vectors - middle, axis=1) < same)
    return near


def _kept(
    tracks: list[Track],
    person: dict[int, int],
    vectors: dict[int, NDArray[np.float32]],
    centres: NDArray[np.float64],
    anchor: Anchor,
    subject: int,
) -> People:
    """People with one track of the subject at a time in each shot: the larger and longer one."""
    unclear = {i: NOBODY if t.vector is None else PASSING for i, t in enumerate(tracks) if i not in vectors}
    reasons = {i: tracks[i].reason or word for i, word in unclear.items()}
    reasons |= {i: OTHER_PERSON for i in vectors if person[i] != subject}
    shots: dict[tuple[str, int], list[int]] = {}
    for i in vectors:
        if person[i] == subject:
            shots.setdefault((tracks[i].clip, tracks[i].shot), []).append(i)
    kept: set[int] = set()
    for own in shots.values():
        taken: list[int] = []
        for i in sorted(own, key=lambda i: (-tracks[i].area, tracks[i].face)):
            if all(tracks[i].last < tracks[t].first or tracks[t].last < tracks[i].first for t in taken):
                taken.append(i)
            else:
                reasons[i] = AGAIN
        kept |= set(taken)
    return People(person, frozenset(kept), vectors, reasons, centres, anchor, subject)


def mark(rows: pd.DataFrame, people: People) -> None:
    """Add person, identity, identity_distance and kept, and the reasons of those that are not kept.

    `rows` has track and status. At most one face of a frame is kept.
    """
    tracks = rows["track"].to_numpy()
    rows["person"] = rows["track"].map(people.person).astype("int32")
    rows["identity"] = pd.Series([people.vectors.get(t) for t in tracks], index=rows.index, dtype=object)
    apart = {t: float(np.linalg.norm(people.centres - vector, axis=1).min()) for t, vector in people.vectors.items()}
    rows["identity_distance"] = np.array([apart.get(t, np.nan) for t in tracks], np.float32)
    rows["kept"] = rows["track"].isin(people.kept)
    reasons = rows["track"].map(people.reasons)
    rows.loc[~rows["kept"], "status"] = reasons[~rows["kept"]]
