"""The subject's faces of a faceset for choosing, read column by column: 0.4 KB of memory a face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.dataset.faceset import KNOWN, Faceset
from curate.safe_io import read_groups, stacked
from curate.schema import table_schema
from curate.select.content import NUMBERS, VECTORS, content_hash, order_of
from curate.types import Floats
from curate.vectors import Vectors

CATEGORIES = ("clip", "status")
SIZES = {"expression": 52, "gaze": 2, "lighting": 6}


def kept_faces(faceset: Faceset, columns: Sequence[str]) -> pd.DataFrame:
    """The subject's faces in order of content, with the `columns`, which include those of the diversity space.

    Vectors are `curate.vectors.Vectors`, clips are categories. Otherwise as `Faceset.table` with `kept`, and raises as
    it does.
    """
    with faceset.table_there():
        count = sum(len(piece) for piece in _pieces(faceset, ()))
        packed, codes = _packed(faceset, count)
        ties = pd.DataFrame({c: _column(faceset, c) for c in ("face_id", "time") if c in columns})
        order = order_of(codes, ties)
        del ties, codes
        found: dict[str, Any] = {}
        for name in VECTORS:
            found[name] = Vectors(packed.pop(name)[order])
        for name in columns:
            if name not in VECTORS:
                found[name] = _column(faceset, name, order)
    return pd.DataFrame({name: found[name] for name in columns}, copy=False)


def all_faces(faceset: Faceset, columns: Sequence[str]) -> pd.DataFrame:
    """All faces in the table's order, with columns that are no vectors; clips and states are categories."""
    with faceset.table_there():
        found = {name: _column(faceset, name, kept=False) for name in columns}
    return pd.DataFrame(found, copy=False)


def packed(path: Path, piece: pa.Table) -> pd.DataFrame:
    """A piece of the table of a faceset as a DataFrame, its vectors of the diversity space as Vectors."""
    there = [name for name in VECTORS if name in piece.column_names]
    vectors = {name: Vectors(stacked(path, piece[name], SIZES[name])) for name in there}
    plain: pd.DataFrame = piece.drop_columns(there).to_pandas()
    return plain.assign(**vectors)[list(piece.column_names)]


def _packed(faceset: Faceset, count: int) -> tuple[dict[str, Floats], NDArray[np.uint64]]:
    """The vectors of `count` faces in the table's order, and the hashes of their content."""
    packed = {name: np.empty((count, size), np.float32) for name, size in SIZES.items()}
    codes, start = np.empty(count, np.uint64), 0
    for piece in _pieces(faceset, (*NUMBERS, *VECTORS)):
        stop = start + len(piece)
        for name in VECTORS:
            packed[name][start:stop] = stacked(faceset.table_path, piece[name], SIZES[name])
        vectors = {name: Vectors(packed[name][start:stop]) for name in VECTORS}
        codes[start:stop] = content_hash(piece.select(NUMBERS).to_pandas().assign(**vectors))
        start = stop
    return packed, codes


def _column(faceset: Faceset, name: str, order: NDArray[np.int64] | None = None, kept: bool = True) -> pd.Series[Any]:
    """One column of the kept faces, or of all, in the given order."""
    pieces = [piece[name] for piece in _pieces(faceset, (name,), kept)]
    if name in CATEGORIES:
        pieces = [piece.dictionary_encode() for piece in pieces]
    whole = pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks], _type(name))
    whole = whole.unify_dictionaries().combine_chunks()
    found: pd.Series[Any] = (whole if order is None else whole.take(pa.array(order))).to_pandas()
    return found


def _type(name: str) -> pa.DataType:
    kind = table_schema().field(name).type
    return pa.dictionary(pa.int32(), kind) if name in CATEGORIES else kind


def _pieces(faceset: Faceset, columns: Sequence[str], kept: bool = True) -> Iterator[pa.Table]:
    """The kept faces, or all, of the table's row groups, with the columns."""
    only = None if faceset.only is None else pa.array(sorted(faceset.only), pa.string())
    needed = dict.fromkeys(("kept", *columns, *(() if only is None else ("face_id",))))
    for piece in read_groups(faceset.table_path, list(needed), table_schema(), KNOWN):
        if only is not None:
            piece = piece.filter(pc.is_in(piece["face_id"], value_set=only))
        yield piece.filter(piece["kept"]) if kept else piece
