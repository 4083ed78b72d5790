"""A table of faces that no footage gave."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from curate.dataset.faceset import Faceset, write_faces
from curate.schema import table_schema


def write_rows(faceset: Faceset, rows: pd.DataFrame) -> None:
    """Write `rows`, which may have more columns, as the faceset's table."""
    write_faces(faceset, [pa.Table.from_pandas(rows, table_schema(), preserve_index=False)])
