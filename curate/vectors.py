"""Columns of vectors in one block of memory: a row of a DataFrame takes 4 bytes a number, and no object.

To whoever reads such a column it is like one of objects: its items are (d,) float32 arrays, or None where the vector is
null.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray, ExtensionDtype, take

from curate.types import Floats


class VectorType(ExtensionDtype):
    """Type of a column of vectors."""

    name = "vector"
    type = object
    kind = "O"
    na_value = None

    @classmethod
    def construct_array_type(cls) -> builtins.type[Vectors]:
        """The array of this type."""
        return Vectors


class Vectors(ExtensionArray):
    """(N, d) float32 values; a row of NaN is null."""

    def __init__(self, values: Floats) -> None:
        self.values = values

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> Vectors:
        rows = list(scalars)
        size = next((np.size(row) for row in rows if row is not None), 0)
        empty = np.full(size, np.nan, np.float32)
        return cls(np.array([empty if row is None else row for row in rows], np.float32).reshape(len(rows), size))

    @property
    def dtype(self) -> VectorType:
        """Its type."""
        return VectorType()

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.values.nbytes

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Floats | None]:
        gone = self.isna()
        return (None if missing else row for row, missing in zip(self.values, gone.tolist(), strict=True))

    def __getitem__(self, item: Any) -> Any:
        item = pd.api.indexers.check_array_indexer(self, item)
        found = self.values[item]
        if isinstance(item, int | np.integer):
            return None if np.isnan(found).all() else found
        return Vectors(found)

    def __eq__(self, other: object) -> Any:
        return NotImplemented

    def isna(self) -> NDArray[np.bool_]:
        """(N,) which vectors are null."""
        if not self.values.shape[1]:
            return np.ones(len(self.values), bool)
        missing = np.isnan(self.values[:, 0])
        missing[missing] = np.isnan(self.values[missing]).all(1)
        return missing

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> Vectors:
        """Some of the vectors; -1 is null where `allow_fill` says so."""
        return Vectors(np.asarray(take(self.values, indices, allow_fill=allow_fill, fill_value=np.nan), np.float32))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        found = np.empty(len(self), object)
        found[:] = list(self)
        return found

    def copy(self) -> Vectors:
        """A copy of all of them."""
        return Vectors(self.values.copy())

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[Vectors]) -> Vectors:
        size = max(part.values.shape[1] for part in to_concat)
        whole = [p.values if p.values.shape[1] else np.full((len(p), size), np.nan, np.float32) for p in to_concat]
        return cls(np.concatenate(whole))


def rows_of(column: Any, size: int) -> Floats | None:
    """(N, size) float32 values of a column of Vectors, NaN where null; None for any other column."""
    held = getattr(column, "array", column)
    if not isinstance(held, Vectors):
        return None
    return held.values.reshape(-1, size)
