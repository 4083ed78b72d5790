"""A table of faces that no footage gave."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from curate.dataset.faceset import Faceset, write_faces
from curate.schema import table_schema


def random_rows(count: int, seed: int) -> pd.DataFrame:
    """Random values 0..1 in the number and vector columns of the table, 0, 1, 2, ... in those of whole numbers."""
    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {}
    for field in table_schema():
        if str(field.type).startswith("fixed_size_list"):
            columns[field.name] = list(rng.random((count, field.type.list_size), np.float32))
        elif str(field.type) in ("float", "double"):
            columns[field.name] = rng.random(count)
        elif str(field.type).startswith("int"):
            columns[field.name] = np.arange(count)
    return pd.DataFrame(columns)


def write_rows(faceset: Faceset, rows: pd.DataFrame) -> None:
    """Write `rows`, which may have more columns, as the faceset's table."""
    write_faces(faceset, [pa.Table.from_pandas(rows, table_schema(), preserve_index=False)])
