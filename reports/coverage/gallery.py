"""The sheet of the people found in the footage: a row of faces each, with their number and share of the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from curate.dataset.faceset import Faceset
from curate.runtime.files import atomic
from curate.types import Image
from curate.words import many
from reports.page.album import read_crop, tile

TILE, GAP, LABEL, TOP = 112, 8, 250, 56
FACES = 8
PEOPLE = 24
"""Rows at most; a note counts the rest."""
PAPER, INK, SOFT, EMPTY, MARK = (251, 251, 250), (27, 29, 33), (91, 97, 107), (226, 229, 233), (0, 114, 178)
_SMOOTH = 3
"""Text is drawn so many times larger and shrunk: OpenCV's line letters are rough at their own size."""


@dataclass(frozen=True)
class Person:
    """One identity."""

    number: int
    faces: int
    frames: int
    share: float
    """Of all frames with a face, 0..1."""
    subject: bool
    crops: tuple[str, ...]


def people(faceset: Faceset) -> tuple[Person, ...]:
    """The identities of the table, most faces first; raises WorkError where there is no table."""
    table = faceset.table(["face_id", "clip", "frame", "person", "kept", "crop", "detection_score", "yaw", "identity"])
    frames = len(table.drop_duplicates(["clip", "frame"]))
    found = []
    for number, rows in table[table["person"] >= 0].groupby("person"):
        seen = len(rows.drop_duplicates(["clip", "frame"]))
        picked = tuple(_spread(rows[rows["crop"].notna()], FACES)["crop"])
        found.append(Person(int(str(number)), len(rows), seen, seen / frames, bool(rows["kept"].any()), picked))
    return tuple(sorted(found, key=lambda p: (-p.faces, p.number)))


def _spread(rows: pd.DataFrame, number: int) -> pd.DataFrame:
    """Rows evenly over the footage, of each stretch the face most surely seen."""
    if len(rows) <= number:
        return rows
    stretch = np.arange(len(rows)) * number // len(rows)
    score = rows["detection_score"].fillna(0).to_numpy()
    return rows.iloc[[int(np.flatnonzero(stretch == s)[np.argmax(score[stretch == s])]) for s in range(number)]]


def people_sheet(faceset: Faceset, out: Path) -> Path:
    """Path of the sheet, written as PNG to `out`. Raises WorkError where there is no table."""
    found = people(faceset)
    rows = [_row(faceset, person) for person in found[:PEOPLE]]
    width = LABEL + FACES * (TILE + GAP) + 24
    subject = f" in the footage of {len(faceset.clips)} clips" if len(faceset.clips) != 1 else " in the footage"
    number = many(len(found), "person", "people")
    more = f" (showing the {PEOPLE} with the most faces)" if len(found) > PEOPLE else ""
    title = np.full((TOP, width, 3), PAPER, np.uint8)
    _text(title, f"{number}{subject}{more}", (24, 36), 0.62, INK, 2)
    sheet = np.concatenate([title, *rows, np.full((16, width, 3), PAPER, np.uint8)])
    done, data = cv2.imencode(".png", np.ascontiguousarray(sheet[:, :, ::-1]))
    if not done:
        raise ValueError(f"a sheet of shape {sheet.shape} cannot be written as PNG")
    with atomic(out) as temporary:
        temporary.write_bytes(data.tobytes())
    return out


def _row(faceset: Faceset, person: Person) -> Image:
    width = LABEL + FACES * (TILE + GAP) + 24
    row = np.full((TILE + 2 * GAP, width, 3), PAPER, np.uint8)
    row[0, 24:-24] = EMPTY
    _text(row, f"person {person.number}", (24, 40), 0.62, INK, 2)
    if person.subject:
        _text(row, "the subject", (138, 40), 0.5, MARK, 2)
    _text(row, many(person.faces, "face"), (24, 66), 0.5, SOFT, 1)
    _text(row, f"in {100 * person.share:.3g} % of the frames", (24, 88), 0.5, SOFT, 1)
    for i, path in enumerate(person.crops):
        image = read_crop(faceset, path)
        x = LABEL + i * (TILE + GAP)
        row[GAP : GAP + TILE, x : x + TILE] = EMPTY if image is None else tile(image, TILE)
    return row


def _text(image: Image, text: str, at: tuple[int, int], size: float, colour: Sequence[int], weight: int) -> None:
    """Write on an image in place, `at` the left end of the base line; only ASCII (OpenCV's own letters)."""
    shape = (image.shape[1] * _SMOOTH, image.shape[0] * _SMOOTH)
    ink = np.zeros(shape[::-1], np.uint8)
    place = (at[0] * _SMOOTH, at[1] * _SMOOTH)
    cv2.putText(ink, text, place, cv2.FONT_HERSHEY_DUPLEX, size * _SMOOTH, 255, weight * _SMOOTH // 2, cv2.LINE_AA)
    cover = np.asarray(cv2.resize(ink, image.shape[1::-1], interpolation=cv2.INTER_AREA), np.float64)[..., None] / 255
    image[:] = np.round(image * (1 - cover) + np.array(colour) * cover).astype(np.uint8)
