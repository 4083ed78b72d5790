"""One selection, one coverage: in `select`, on the page, in its JSON, in the comparison and in the App."""

import json
import shutil
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from curate.app import panels
from curate.app.dataset import load_selection
from curate.dataset.faceset import open_faceset
from curate.select.options import Floors, SelectionOptions, Weights
from curate.select.selection import select_faceset, summary
from reports.coverage import compare, page

NO_FLOORS = Floors(min_eye_distance=None, min_pose_confidence=None, min_exposure=None)


@pytest.mark.parametrize("weights", [Weights(), Weights(pose=0, expression=1, lighting=5), Weights(9, 1, 0)])
def test_the_same_selection_has_the_same_coverage_everywhere(faceset, tmp_path, weights) -> None:
    choice = select_faceset(faceset, SelectionOptions("9", floors=NO_FLOORS, weights=weights))
    selected = summary(faceset, choice)["coverage"]
    html = page.write(faceset).read_text(encoding="utf-8")
    assert json.loads((faceset.reports / "coverage.json").read_text("utf-8"))["coverage"] == selected
    copy = open_faceset(Path(shutil.copytree(faceset.folder, tmp_path / "copy")))
    compared = compare.write([faceset, copy])
    figures = json.loads(compared.with_suffix(".json").read_text("utf-8"))["facesets"]
    assert [f["coverage"] for f in figures] == [selected, selected]
    shown = f"{100 * selected:.1f} %"
    assert shown in html and compared.read_text("utf-8").count(shown) >= 2
    ids = faceset.table(["face_id"])["face_id"].tolist()
    dataset = MagicMock(info={})
    dataset.values.return_value = [ids, ids]
    load_selection(dataset, faceset)
    assert f"cover {shown}" in panels.outcome_text(dataset.info[panels.OUTCOME])
