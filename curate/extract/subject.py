"""The people of a faceset, the subject among them, and the subject's face in every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset
from curate.errors import NobodyError, UsageError
from curate.scores import identity
from curate.types import Floats

OTHER_PERSON = "another person"
SECOND_FACE = "a second face like the subject's in this frame"


@dataclass(frozen=True, eq=False)
class People:
    """The person of each track, and which person is the subject."""

    person: dict[int, int]
    """Track to identity cluster, 0 the one with the most frames."""
    subject: int
    centre: NDArray[np.float64]
    """(128,) identity of the subject."""

    def of(self, tracks: Sequence[int]) -> People:
        """The same for these tracks alone."""
        return replace(self, person={t: self.person[t] for t in tracks})


def find_people(frames: Sequence[int], vectors: Sequence[Floats], faceset: Faceset) -> People:
    """Cluster the tracks 0..T-1, which stand for `frames` each, by their identity `vectors` (128,)."""
    stacked, weights = np.stack(vectors).astype(np.float64), np.asarray(frames, np.float64)
    labels = identity.people(stacked, weights)
    centres = np.stack([identity.centre(stacked[labels == k], weights[labels == k]) for k in range(labels.max() + 1)])
    subject = _pick(centres, faceset)
    return People(dict(enumerate(labels.tolist())), subject, centres[subject])


def mark(rows: pd.DataFrame, people: People) -> None:
    """Add person, identity_distance and kept to whole frames of clips, and the reasons of those that are not kept.

    `rows` has clip, frame, face_id, track, width, height, identity and status; of a frame's faces at most the one
    nearest to the subject is kept.
    """
    rows["person"] = rows["track"].map(people.person).astype("int32")
    vectors = np.stack(rows["identity"].to_list()) if len(rows) else np.zeros((0, 128), np.float32)
    rows["identity_distance"] = np.linalg.norm(vectors - people.centre, axis=1).astype(np.float32)
    ours = rows["person"] == people.subject
    order = rows[["clip", "frame", "identity_distance", "face_id"]].assign(
        mine=~ours, small=-rows["width"] * rows["height"]
    )
    order = order.sort_values(["clip", "frame", "mine", "identity_distance", "small", "face_id"])
    rows["kept"] = ours & rows.index.isin(order.drop_duplicates(["clip", "frame"]).index)
    rows.loc[~ours, "status"] = OTHER_PERSON
    rows.loc[ours & ~rows["kept"], "status"] = SECOND_FACE


def _pick(centres: NDArray[np.float64], faceset: Faceset) -> int:
    """The subject's cluster: --person, else nearest to --reference, else the one with the most faces."""
    if faceset.person is not None:
        if not 0 <= faceset.person < len(centres):
            raise UsageError(f"--person {faceset.person}: the footage shows people 0 to {len(centres) - 1}")
        return faceset.person
    if faceset.references:
        found = identity.nearest(centres, np.mean(np.array(faceset.references), axis=0))
        distance = float(np.linalg.norm(centres[found] - np.mean(np.array(faceset.references), axis=0)))
        if distance > identity.NOT_THE_PERSON:
            raise NobodyError(
                f"nobody in the footage looks like the --reference photo (identity distance {distance:.2f}, limit "
                f"{identity.NOT_THE_PERSON:g}): give another photo, or leave --reference out"
            )
        return found
    return 0
