"""Reading of files that may be damaged: what libraries raise becomes a one-line error."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import FootageError, WorkError
from curate.schema import table_schema
from curate.types import Floats

DAMAGED = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, MemoryError, EOFError,
    RecursionError, struct.error, zlib.error, zipfile.BadZipFile, cv2.error, av.error.FFmpegError, pa.ArrowException,
)  # fmt: skip
"""Errors that libraries raise for damaged files. Catch them only around reading a file, so that no bug is hidden."""
MOST_PIXELS = 1 << 28
"""Most pixels of a frame or photo, 16384 x 16384: 0.8 GB as RGB."""
SMALL = 1 << 28
MOST_RATIO = 400
"""A table may be this many times larger in memory than on disk, or SMALL bytes in all (real ones: below 20)."""


def one_line(error: BaseException) -> str:
    """Message of a library's error in one line without control characters."""
    text = getattr(error, "strerror", None) or str(error)
    line = next((line for line in str(text).splitlines() if line.strip()), type(error).__name__)
    return printable(line.strip())[:200]


def printable(text: str) -> str:
    """Untrusted text with every control character replaced by `?`, so that it cannot control a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def unreadable(path: Path | str, error: BaseException) -> FootageError:
    """Error for footage that cannot be read."""
    return FootageError(f"{path}: cannot be read as video ({one_line(error)})")


def read_arrow(
    path: Path,
    columns: Sequence[str] | None = None,
    schema: pa.Schema | None = None,
    known: Sequence[str] = (),
    filters: Any = None,
) -> pa.Table:
    """Arrow table of a Parquet file, or of some of its columns in the given order.

    Columns that `schema` names have its types, those of `known` are never null. Raises WorkError, without a hint what
    to do, where that is not so, the file is damaged, or it would fill the memory.
    """
    with _checking(path):
        with pq.ParquetFile(path) as file:
            names = _checked_names(path, file, columns, schema)
        table = pq.read_table(path, columns=names, filters=filters)
        _check_values(path, table, known)
    return table


def read_groups(
    path: Path, columns: Sequence[str] | None = None, schema: pa.Schema | None = None, known: Sequence[str] = ()
) -> Iterator[pa.Table]:
    """Arrow tables of a Parquet file's row groups, one at a time; otherwise as `read_arrow`."""
    with _checking(path), pq.ParquetFile(path) as file:
        names = _checked_names(path, file, columns, schema)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, names)
            _check_values(path, table, known)
            yield table


def read_parquet(
    path: Path,
    columns: Sequence[str] | None = None,
    schema: pa.Schema | None = None,
    known: Sequence[str] = (),
    filters: Any = None,
) -> pd.DataFrame:
    """DataFrame of a Parquet file; otherwise as `read_arrow`."""
    table = read_arrow(path, columns, schema, known, filters)
    with _checking(path):
        rows: pd.DataFrame = table.to_pandas()
    return rows


def read_faces(path: Path, faces: Collection[str], columns: Sequence[str], kept: bool = False) -> pd.DataFrame:
    """Rows of some faces of a faceset's table, read piece by piece; `kept`: those of the subject alone.

    Raises as `read_arrow`.
    """
    wanted, found = pa.array(sorted(faces), pa.string()), []
    known = ("face_id", "kept")
    for rows in read_groups(path, list({*known, *columns}), table_schema(), known):
        there = pc.is_in(rows["face_id"], value_set=wanted)
        found.append(rows.filter(pc.and_(there, rows["kept"]) if kept else there).select(columns))
    with _checking(path):
        shown: pd.DataFrame = pa.concat_tables(found).to_pandas()
    return shown


def stacked(path: Path, column: pa.ChunkedArray, size: int) -> Floats:
    """Column of vectors as an (N, size) float32 array; NaN where null. Raises WorkError if they have another size."""
    out = np.full((len(column), size), np.nan, np.float32)
    known = column.is_valid().to_numpy()
    flat = column.drop_null().combine_chunks().flatten().to_numpy(zero_copy_only=False)
    if len(flat) != known.sum() * size:
        raise WorkError(f"{path} is damaged (its vectors do not have {size} values)")
    out[known] = np.asarray(flat, np.float32).reshape(-1, size)
    return out


@contextmanager
def _checking(path: Path) -> Iterator[None]:
    """Turn what libraries raise for a damaged file into WorkError."""
    try:
        yield
    except DAMAGED as error:
        raise WorkError(f"{path} is damaged ({one_line(error)})") from None


def _checked_names(
    path: Path, file: pq.ParquetFile, columns: Sequence[str] | None, schema: pa.Schema | None
) -> list[str]:
    """The columns to read."""
    _check_size(path, file.metadata)
    there = file.schema_arrow
    names = there.names if columns is None else list(columns)
    for name in names:
        if name not in there.names:
            raise WorkError(f"{path} is damaged (it has no column {name})")
        if schema is not None and name in schema.names and there.field(name).type != schema.field(name).type:
            kind = there.field(name).type
            raise WorkError(f"{path} is damaged (column {name} is {kind}, not {schema.field(name).type})")
    return names


def _check_values(path: Path, table: pa.Table, known: Sequence[str]) -> None:
    table.validate(full=True)  # text that is no UTF-8 would fail only where it is used
    for name in set(known) & set(table.column_names):
        if table[name].null_count:
            raise WorkError(f"{path} is damaged (column {name} has rows without a value)")


def _check_size(path: Path, metadata: pq.FileMetaData) -> None:
    size = path.stat().st_size
    wide = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if metadata.num_rows > size or wide > max(SMALL, MOST_RATIO * size) or min(metadata.num_rows, wide) < 0:
        raise WorkError(
            f"{path} is damaged (it claims {metadata.num_rows} rows and {wide} bytes, but its file has {size} bytes)"
        )
