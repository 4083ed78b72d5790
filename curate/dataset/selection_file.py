"""The file selection.parquet: rows in order of choice, and JSON of how they were chosen and what they are worth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import WorkError
from curate.runtime.files import atomic
from curate.safe_io import DAMAGED, one_line, read_parquet
from curate.schema import SELECTION_SCHEMA
from curate.words import quoted

OPTIONS, OUTCOME = b"faceset.options", b"faceset.outcome"
"""Keys of the metadata."""
LAST = "last-selection.json"
"""File with OPTIONS of a selection that was removed because the faces are others now."""
LATER = ("group", "reason_kind", "coverage")
"""Columns that files of earlier versions lack."""
_KINDS = (("pinned", "pinned"), ("near-duplicate", "near-duplicate"), ("more", "more"), ("covers", "new"))
"""How the reasons of earlier versions begin, and the kind that each of them is."""


def read(path: Path) -> pd.DataFrame:
    """The rows in order of rank, with the columns of SELECTION_SCHEMA.

    In a file of an earlier version the group and the kind of reason are read from the reason, and the coverage is NaN.
    Raises WorkError where there is no file or it is damaged.
    """
    if not path.is_file():
        raise WorkError(f"{path.parent} has no selection: faceset select {quoted(path.parent)} makes one")
    try:
        there = pq.read_schema(path).names
        names = [name for name in SELECTION_SCHEMA.names if name in there or name not in LATER]
        rows = read_parquet(path, names, SELECTION_SCHEMA, ("face_id", "rank"))
    except WorkError as error:
        raise WorkError(f"{error}: {_again(path)}") from None
    except DAMAGED as error:
        raise WorkError(f"{path} is damaged ({one_line(error)}): {_again(path)}") from None
    rows = rows.sort_values("rank", ignore_index=True)
    return rows if len(names) == len(SELECTION_SCHEMA.names) else _completed(rows)


def read_metadata(path: Path, key: bytes) -> dict[str, Any]:
    """OPTIONS or OUTCOME of the file; empty where it has none. Raises WorkError where the file is damaged."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        found: dict[str, Any] = dict(json.loads(metadata.get(key, b"{}")))
    except DAMAGED as error:
        raise WorkError(f"{path} is damaged ({one_line(error)}): {_again(path)}") from None
    return found


def void(path: Path) -> None:
    """Remove the file; OPTIONS are kept in LAST next to it, so that the next selection is made as this one was."""
    try:
        options = read_metadata(path, OPTIONS) if path.is_file() else {}
    except WorkError:  # a damaged selection says nothing
        options = {}
    if options:
        with atomic(path.with_name(LAST)) as temporary:
            temporary.write_text(json.dumps(options, indent=1) + "\n", encoding="utf-8")
    path.unlink(missing_ok=True)


def last_options(path: Path) -> dict[str, Any]:
    """OPTIONS of the file, or of the one that was last there; empty where there was none or it is damaged."""
    try:
        if path.is_file():
            return read_metadata(path, OPTIONS)
        return dict(json.loads(path.with_name(LAST).read_text(encoding="utf-8")))
    except (WorkError, *DAMAGED):
        return {}


def to_arrow(rows: pd.DataFrame, metadata: Mapping[bytes, Mapping[str, Any] | None]) -> pa.Table:
    """The file's content; columns of LATER that `rows` lack are completed, and None in the metadata is left out."""
    full = rows if set(LATER) <= set(rows) else _completed(rows)
    table = pa.Table.from_pandas(full, SELECTION_SCHEMA, preserve_index=False)
    return table.replace_schema_metadata({key: json.dumps(value) for key, value in metadata.items() if value})


def _completed(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with what an earlier version said in the reason alone, such as `covers 'left 35, smiling'`."""
    said = rows["reason"].astype(object)
    kinds = [next((kind for word, kind in _KINDS if str(text).startswith(word)), None) for text in said]
    group = said.str.extract(r"'(.+)'", expand=False) if said.notna().any() else said
    found: dict[str, pd.Series[Any] | np.float32] = {
        "group": group,
        "reason_kind": pd.Series(kinds, rows.index, object),
        "coverage": np.float32("nan"),
    }
    full: Any = rows.copy()
    for name in set(LATER) - set(rows):
        full[name] = found[name]
    ordered: pd.DataFrame = full[SELECTION_SCHEMA.names]
    return ordered


def _again(path: Path) -> str:
    return f"faceset select {quoted(path.parent)} makes a new one"
