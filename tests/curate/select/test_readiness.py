"""Readiness: what of a target the footage has, what to film, and that the sentence follows the numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from curate.dataset.faceset import Faceset, open_faceset
from curate.errors import WorkError
from curate.select.readiness import TURNED, readiness


def only(folder: Path, to: Path, rows) -> Faceset:
    """A copy of a faceset in which only some of the kept faces are kept."""
    shutil.copytree(folder, to)
    faceset = open_faceset(to)
    table = faceset.table()
    table["kept"] &= rows(table)
    import pyarrow as pa

    from curate.dataset.faceset import write_table
    from curate.schema import table_schema

    write_table(faceset.table_path, pa.Table.from_pandas(table, table_schema(), preserve_index=False))
    return faceset


def test_footage_is_ready_for_itself(head_facesets: dict[str, Path]) -> None:
    faceset = open_faceset(head_facesets["target"])
    found = readiness(faceset, faceset)
    assert found.had == 1 and found.film == 0 and not found.reasons and found.verdict.startswith("Ready:")
    assert sum(region.share for region in found.regions) == pytest.approx(1)


def test_what_is_missing_is_named_and_has_to_be_filmed(head_facesets: dict[str, Path], tmp_path: Path) -> None:
    target = open_faceset(head_facesets["target"])
    yaw = target.table(["yaw"], kept=True)["yaw"]
    middle = float(np.median(yaw))
    half = only(head_facesets["target"], tmp_path / "half", lambda t: t["yaw"] <= middle)
    found = readiness(half, target)
    assert 0.4 < found.had < 1 and found.film >= 5 and found.film % 5 == 0
    assert not found.verdict.startswith("Ready") and f"{100 * found.had:.0f} %" in found.verdict
    assert f"film about {found.film:.0f} s" in found.verdict and found.reasons
    for region in found.regions:
        assert 0 <= region.had <= 1 and (TURNED > 0)
    had = sum(region.share * region.had for region in found.regions)
    assert had == pytest.approx(found.had)


def test_an_empty_side_is_said(head_facesets: dict[str, Path], tmp_path: Path) -> None:
    none = only(head_facesets["target"], tmp_path / "none", lambda t: t["yaw"] > 1e9)
    with pytest.raises(WorkError, match="no face with a head pose"):
        readiness(none, open_faceset(head_facesets["target"]))
