"""Faces for choosing: columns of vectors in one block, and the same faces as the table has."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curate.dataset.faceset import Faceset, create
from curate.errors import WorkError
from curate.schema import table_schema
from curate.select.content import VECTORS, content_order
from curate.select.reading import kept_faces
from curate.select.selection import select_columns
from curate.settings import Settings
from curate.vectors import Vectors
from tests.tables import random_rows, write_rows


def test_vectors_are_arrays_or_none_and_take_four_bytes_a_number() -> None:
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    values[2] = np.nan
    table = pd.DataFrame({"v": Vectors(values), "n": range(4)})
    assert table["v"].isna().tolist() == [False, False, True, False]
    assert table["v"][1].tolist() == [3, 4, 5] and table["v"][2] is None
    assert [None if v is None else v[0] for v in table.iloc[[3, 2]]["v"]] == [9, None]
    held = table["v"].array
    assert held.nbytes == 48 and np.shares_memory(table.iloc[1:]["v"].array.values, held.values)
    both = pd.concat([table, pd.DataFrame({"v": [np.float32([1, 2, 3]), None], "n": [4, 5]})], ignore_index=True)
    assert both["v"][4].tolist() == [1, 2, 3] and both["v"].isna().tolist() == [False, False, True, False, False, True]
    assert table["v"].to_numpy()[1].tolist() == [3, 4, 5]
    unknown = pd.DataFrame({"v": Vectors._from_sequence([None, None]), "n": [6, 7]})  # of any size
    assert pd.concat([table, unknown], ignore_index=True)["v"].isna().tolist() == [
        False,
        False,
        True,
        False,
        True,
        True,
    ]


@pytest.fixture
def faceset(tmp_path: Path) -> Faceset:
    rows = random_rows(300, 1).assign(status="ok", clip=np.repeat(["b", "a", "c"], 100))
    rows["face_id"] = [f"face-{i:04d}" for i in range(300)]
    rows["kept"] = np.arange(300) % 3 > 0
    rows.loc[5, ["yaw", "Sharpness"]] = np.nan
    rows.at[7, "expression"] = None
    for name in set(table_schema().names) - set(rows):
        rows[name] = None
    found = create(tmp_path / "f", None, Settings())
    write_rows(found, rows)
    return found


def test_kept_faces_are_those_of_the_table_in_order_of_content(faceset: Faceset) -> None:
    plain = faceset.table(select_columns(), kept=True)
    plain = plain.iloc[content_order(plain)].reset_index(drop=True)
    packed = kept_faces(faceset, select_columns())
    assert list(packed) == list(plain) and len(packed) == 200
    for name in packed:
        if name in VECTORS:
            for a, b in zip(packed[name], plain[name], strict=True):
                assert (a is None and b is None) or np.array_equal(a, b)
        else:
            pd.testing.assert_series_equal(packed[name].astype(object), plain[name].astype(object))
    assert content_order(packed).tolist() == list(range(200))


def test_of_a_sample_only_its_faces_are_read_and_a_missing_table_is_told(faceset: Faceset) -> None:
    some = replace(faceset, only=frozenset({"face-0001", "face-0002", "face-0003"}))
    assert sorted(kept_faces(some, select_columns())["face_id"]) == ["face-0001", "face-0002"]
    faceset.table_path.unlink()
    with pytest.raises(WorkError, match="rebuild it"):
        kept_faces(faceset, select_columns())
