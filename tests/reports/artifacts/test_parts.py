"""Stored parts of an artifact report, and the pictures that are kept in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from curate.errors import WorkError
from reports.artifacts.parts import NUMBERS, InspectedPart, table
from reports.page.pictures import LEAST, Gallery, Picture


def test_a_damaged_part_says_which_and_what_to_do(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"no")
    with pytest.raises(WorkError, match=r"a\.parquet cannot be read.*delete it"):
        InspectedPart.load(tmp_path / "a.parquet")


def test_a_number_that_is_new_is_stored_and_gets_a_column(tmp_path):
    rows = ({"frame": 0, "time": 0.0}, {"frame": 1, "time": 0.1, "x": 3.0, "band_height": 2.5})
    stored = InspectedPart.load(InspectedPart(rows).save(tmp_path / "a.parquet"))
    assert stored.rows == rows
    assert table(stored.rows)["band_height"].tolist()[1:] == [2.5]
    assert set(table(stored.rows).columns) - set(table([]).columns) == {"band_height"}


def test_a_part_without_a_column_that_every_table_has_is_damaged(tmp_path):
    path = InspectedPart(({"frame": 0, "time": 0.0},)).save(tmp_path / "a.parquet")
    pd.read_parquet(path).drop(columns=NUMBERS[3]).to_parquet(path)
    with pytest.raises(WorkError, match="delete it"):
        InspectedPart.load(path)


def test_a_part_of_an_older_version_may_lack_an_array(tmp_path):
    rows = ({"frame": 0, "time": 0.0, "cells": np.arange(3, dtype=np.int16), "features": np.ones(2, np.int8)},)
    path = InspectedPart(rows).save(tmp_path / "a.parquet")
    pd.read_parquet(path).drop(columns="features").to_parquet(path)
    found = InspectedPart.load(path).rows[0]
    assert found["cells"].tolist() == [0, 1, 2] and "features" not in found


def test_pictures_stay_bounded_and_keep_the_worst():
    gallery, image = Gallery(), np.zeros((8, 8, 3), np.uint8)
    values = np.random.default_rng(0).permutation(8 * LEAST * 4)
    for frame, value in enumerate(values):
        gallery.offer("edge", float(value), Picture.of(frame, image, None))
    assert sum(map(len, gallery._held.values())) <= LEAST
    worst = gallery.worst("edge", 0, len(values))
    assert worst is not None
    assert worst.frame == int(values.argmax())
    assert gallery.worst("colour", 0, 10) is None
