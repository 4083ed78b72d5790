"""The people of a faceset, counted from its table: who is seen how often, and what a user should know about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset.faceset import KNOWN, Faceset
from curate.extract.subject import AGAIN, MISSING
from curate.extract.tracks import DISSOLVE
from curate.safe_io import read_groups
from curate.schema import table_schema
from curate.scores import identity
from curate.words import many, quoted

LISTED = 4
"""People besides the subject who are named."""
NEAR = 0.6
"""Distance from the subject below which a person may be the subject in another look."""
OFTEN = 0.05
"""Share of the subject's faces from which such a person is named."""
BOTH = 0.1
"""Share of such a person's faces in whose frame the subject is, too, from which it is somebody else."""
RIVAL = 0.5
"""Share of the subject's faces from which another person may have been meant."""
COLUMNS = ["face_id", "clip", "frame", "track", "person", "identity", "status", "kept"]


@dataclass(frozen=True)
class Person:
    """One person."""

    person: int
    faces: int
    kept: int
    clips: tuple[str, ...]
    """Names of the clips in which it is seen."""
    subject: bool
    distance: float
    """Identity distance from the subject, 0 of the subject itself."""

    def to_json(self) -> dict[str, Any]:
        """As `--json` gives it: clips are counted."""
        values = {"person": self.person, "faces": self.faces, "kept": self.kept, "clips": len(self.clips)}
        return {**values, "subject": self.subject, "distance": round(self.distance, 3)}


def people(faceset: Faceset) -> tuple[tuple[Person, ...], tuple[str, ...]]:
    """The people of a faceset's table, the most faces first, and notes about them."""
    with faceset.table_there():
        table = pd.concat(_pieces(faceset), ignore_index=True)
    found = _counted(table, faceset)
    return found, tuple(_notes(faceset, table, found))


def _pieces(faceset: Faceset) -> Iterator[pd.DataFrame]:
    """The table's row groups without `identity` but where a track begins: the vectors of all faces take too much room.

    `known` says where there is one.
    """
    yield table_schema().empty_table().select(COLUMNS).to_pandas().assign(known=False)
    begun: set[int] = set()
    for piece in read_groups(faceset.table_path, COLUMNS, table_schema(), KNOWN):
        if faceset.only is not None:
            piece = piece.filter(pc.is_in(piece["face_id"], value_set=pa.array(sorted(faceset.only), pa.string())))
        rows = piece.drop_columns(["identity"]).to_pandas().assign(known=piece["identity"].is_valid().to_numpy())
        rows["identity"] = pd.Series(None, rows.index, object)
        usable = rows["known"] & (rows["person"] != MISSING)
        first = np.flatnonzero(usable & ~rows["track"].where(usable).duplicated() & ~rows["track"].isin(begun))
        for row, vector in zip(first.tolist(), piece["identity"].take(pa.array(first)).to_pylist(), strict=True):
            rows.at[row, "identity"] = np.array(vector, np.float32)
        begun.update(rows["track"].iloc[first].tolist())
        yield rows


def _counted(table: pd.DataFrame, faceset: Faceset) -> tuple[Person, ...]:
    known = table[(table["person"] != MISSING) & table["known"]]
    if known.empty:
        return ()
    tracks = known.groupby("track").agg(person=("person", "first"), identity=("identity", "first"), n=("kept", "size"))
    kept = known[known["kept"]]
    subject = int(kept["person"].iloc[0]) if len(kept) else MISSING
    looks = [*(faceset.anchor.looks if faceset.anchor else ())]
    own = tracks[tracks["person"] == subject]
    if len(own):
        looks.append(tuple(identity.centre(np.stack(own["identity"].to_list()), own["n"].to_numpy())))
    found = []
    for number, rows in known.groupby("person"):
        vectors = tracks[tracks["person"] == number]
        middle = identity.centre(np.stack(vectors["identity"].to_list()), vectors["n"].to_numpy())
        apart = float(identity.distances(middle[None], np.array(looks)).min()) if looks else float("nan")
        mine = number == subject
        clips = tuple(sorted(rows["clip"].unique()))
        person = Person(int(str(number)), len(rows), int(rows["kept"].sum()), clips, bool(mine), 0.0 if mine else apart)
        found.append(person)
    return tuple(sorted(found, key=lambda p: (-p.faces, p.person)))


def _notes(faceset: Faceset, table: pd.DataFrame, found: Sequence[Person]) -> list[str]:
    subject = next((p for p in found if p.subject), None)
    if subject is None:
        return []
    notes = [_sentence(found, subject)]
    without = [c.name for c in faceset.clips if c.name not in set(table.loc[table["kept"], "clip"])]
    if without:
        notes.append(
            f"no face of the subject in {len(without)} of {many(len(faceset.clips), 'clip')}: {', '.join(without)}"
        )
    for other in found:
        if other.subject or other.distance >= NEAR or other.faces < OFTEN * subject.faces:
            continue
        if seen_together(table, [subject.person, other.person]) > BOTH * other.faces:
            continue
        share = 100 * other.faces / max(len(table), 1)
        notes.append(
            f"person {other.person} ({share:.0f} % of the faces) is {other.distance:.2f} from the subject: if it is "
            f"the same person, run faceset people {quoted(faceset.folder)} --person {subject.person},{other.person}"
        )
    rival = next((p for p in found if not p.subject), None)
    asked = faceset.anchor is not None and faceset.anchor.how != "majority"
    if rival is not None and not asked and rival.faces > RIVAL * subject.faces:
        notes.append(
            f"person {rival.person} has {_faces(rival.faces)}, the subject {subject.faces:,}, and nobody has named the "
            f"subject: see faceset people {quoted(faceset.folder)}; --person {rival.person} changes the subject"
        )
    for status, words in ((AGAIN, "the subject seen a second time in a frame"), (DISSOLVE, "dissolves and fades")):
        number = int((table["status"] == status).sum())
        if number:
            notes.append(f"{_faces(number)} not kept: {words}")
    return notes


def seen_together(table: pd.DataFrame, persons: Sequence[int]) -> int:
    """Number of frames in which more than one of these people is seen; `table` has clip, frame and person."""
    own = table.loc[table["person"].isin(persons), ["clip", "frame", "person"]]
    return int((own.groupby(["clip", "frame"], observed=True)["person"].nunique() > 1).sum())


def _sentence(found: Sequence[Person], subject: Person) -> str:
    """For example `2 people: the subject 1,204 faces in 5 clips; person 1, 310 faces in 2`."""
    others = [p for p in found if not p.subject]
    words = [f"the subject, {_faces(subject.faces)} in {_clips(subject)}"]
    words += [f"person {p.person}, {_faces(p.faces)} in {_clips(p)}" for p in others[:LISTED]]
    if rest := others[LISTED:]:
        words.append(f"{len(rest)} more with {_faces(sum(p.faces for p in rest))}")
    return f"{many(len(found), 'person', 'people')}: {'; '.join(words)}"


def _faces(number: int) -> str:
    return many(number, "face")


def _clips(person: Person) -> str:
    return many(len(person.clips), "clip")
