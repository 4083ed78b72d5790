"""Which faces the App shows of a very large faceset: all that matter, and an even sample of the rest.

Up to MOST faces with a crop, the App shows all. Beyond that it shows the selection, the pinned, banned and tagged
faces, those that the selection left out most narrowly, and as many more as fit, evenly along the footage.
"""

from __future__ import annotations

import base64
import logging
import zlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset.faceset import Faceset
from curate.dataset.pins import read_pins
from curate.safe_io import read_groups
from curate.schema import table_schema
from curate.select.left_out import narrowly

log = logging.getLogger(__name__)

MOST = 50_000
"""Faces that are shown without a sample."""
NARROW = 10_000
"""Faces that are shown because they were left out most narrowly."""
LEAST_EVEN = 10_000
"""Faces of the even sample, however many others there are."""
KEY = "faceset sample"
"""Key of a dataset's info: the number of faces with a crop, and the ids of those that were loaded."""


@dataclass(frozen=True)
class Sample:
    """The faces of a large faceset that the App shows."""

    faces: int
    """Faces with a crop in the table."""
    ids: frozenset[str]
    """Those that are shown."""


def sample_of(faceset: Faceset, tagged: Collection[str] = ()) -> Sample | None:
    """The faces to show; None: all of them. Raises WorkError for a damaged table or selection."""
    ids = _with_crop(faceset)
    if len(ids) <= MOST:
        return None
    pins = read_pins(faceset)
    wanted = {*tagged, *pins.pinned, *pins.banned}
    if faceset.selection_path.is_file():
        wanted |= {*faceset.selection()["face_id"], *narrowly(faceset, NARROW)}
    known = pc.is_in(ids, value_set=pa.array(sorted(wanted), pa.string()))
    there, others = ids.filter(known).to_pylist(), ids.filter(pc.invert(known))
    more = min(max(MOST - len(there), LEAST_EVEN), len(others))
    rows = np.linspace(0, len(others) - 1, more).astype(np.int64)
    return Sample(len(ids), frozenset(there) | frozenset(others.take(rows).to_pylist()))


def _with_crop(faceset: Faceset) -> pa.ChunkedArray:
    """Ids of all faces with a crop, in order of the table."""
    found = [pa.array([], pa.string())]
    for rows in read_groups(faceset.table_path, ["face_id", "crop"], table_schema(), ("face_id",)):
        crop = rows["crop"]
        there = rows.filter(pc.and_(pc.is_valid(crop), pc.not_equal(pc.fill_null(crop, ""), "")))
        found += there["face_id"].chunks
    return pa.chunked_array(found)


def choose(dataset: Any, faceset: Faceset) -> None:
    """Choose the faces to show anew, and note them in the dataset. Raises as `sample_of`."""
    known = dataset.has_field("face_id")
    keep(dataset, sample_of(faceset, dataset.match({"tags.0": {"$exists": True}}).values("face_id") if known else ()))
    if KEY in dataset.info:
        log.warning("%s: %s", dataset.name, words(dataset))


def keep(dataset: Any, sample: Sample | None) -> None:
    """Note in the dataset which faces are loaded; None: all."""
    dataset.info.pop(KEY, None)
    if sample is not None:
        packed = base64.b64encode(zlib.compress("\n".join(sorted(sample.ids)).encode())).decode()
        dataset.info[KEY] = {"faces": sample.faces, "shown": len(sample.ids), "ids": packed}
    dataset.save()


def kept(dataset: Any) -> Sample | None:
    """What `keep` noted."""
    found = dataset.info.get(KEY)
    if not found:
        return None
    ids = zlib.decompress(base64.b64decode(found["ids"])).decode().split("\n")
    return Sample(int(found["faces"]), frozenset(ids))


def shown_of(faceset: Faceset, dataset: Any) -> Faceset:
    """The faceset with the rows alone that the dataset shows."""
    sample = kept(dataset)
    return faceset if sample is None else replace(faceset, only=sample.ids)


def words(dataset: Any) -> str:
    """A sentence for the reader of a dataset that does not show all faces; else empty."""
    found = dataset.info.get(KEY)
    if not found:
        return ""
    return (
        f"The App shows {found['shown']:,} of {found['faces']:,} faces: the selected, pinned, banned and tagged ones, "
        "those that were left out most narrowly, and an even sample of the others."
    )
