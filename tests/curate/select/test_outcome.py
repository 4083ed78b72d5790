"""What a selection is worth, stored with it: read back, computed for older files, and compared with the tables."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from curate.dataset.faceset import Faceset, create, write_selection
from curate.dataset.selection_file import LATER, OPTIONS, OUTCOME
from curate.errors import WorkError
from curate.schema import table_schema
from curate.scores.expression import AXES
from curate.select.options import Floors, SelectionOptions, Weights
from curate.select.outcome import COLUMNS, read_outcome, remarks_on, target_outcome
from curate.select.selection import select_faceset, summary
from curate.settings import Settings
from curate.types import Clip, Subject
from tests.tables import write_rows

UNEQUAL = SelectionOptions("12", floors=Floors(min_sharpness=2.2), weights=Weights(pose=1, expression=0, lighting=4))


def faces(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = {
        "face_id": [f"{seed:03d}-{i:06d}" for i in range(count)],
        "kept": True,
        "clip": "a",
        "status": "ok",
        "time": np.arange(count) / 30,
        **{name: rng.uniform(0, 0.5, count) for name in AXES},
        **{name: rng.normal(0, spread, count) for name, spread in (("yaw", 25), ("pitch", 10), ("roll", 5))},
        "expression": list((rng.random((count, 52)) ** 4 * 0.5).astype(np.float32)),
        "gaze": list(rng.normal(0, 0.2, (count, 2)).astype(np.float32)),
        "lighting": list(rng.normal(0, 0.3, (count, 6)).astype(np.float32)),
        "Sharpness": rng.uniform(2, 4, count),
        "InterEyeDistance": rng.uniform(60, 120, count),
        **dict.fromkeys(("UnderExposurePrevention", "OverExposurePrevention", "pose_confidence"), 1.0),
    }
    return pd.DataFrame(rows).assign(**{name: None for name in table_schema().names if name not in rows})


def made(folder, seed: int = 0) -> Faceset:
    clip = Clip("a", "/a.mp4", f"{seed:064d}", "video", 64, 64, 150, 30.0, 5.0)
    faceset = create(folder, Subject("A", "self"), Settings()).changed(clips=(clip,))
    write_rows(faceset, faces(150, seed))
    return faceset


@pytest.fixture
def faceset(tmp_path) -> Faceset:
    return made(tmp_path / "set")


def without_outcome(faceset: Faceset) -> None:
    """The selection as an earlier version wrote it."""
    table = pq.read_table(faceset.selection_path).drop_columns(list(LATER))
    metadata = {OPTIONS: table.schema.metadata[OPTIONS]}
    pq.write_table(table.replace_schema_metadata(metadata), faceset.selection_path)


def test_what_was_computed_is_what_is_read(faceset) -> None:
    choice = select_faceset(faceset, UNEQUAL)
    found = read_outcome(faceset)
    assert found.stored and found.weights == UNEQUAL.weights
    assert (found.kept, found.eligible, found.selected) == (150, choice.eligible, 12) and 12 < found.eligible < 150
    assert found.coverage == round(choice.coverage, 4) == summary(faceset, choice)["coverage"]
    rows = faceset.selection()
    assert np.array_equal(found.curve, rows["coverage"]) and np.all(np.diff(found.curve) >= 0)
    assert rows["group"].tolist() == [choice.clusters.names[label] for label in rows["cluster"]]
    assert rows["reason_kind"][0] == "new" and set(rows["reason_kind"]) <= {"new", "more"}
    table = faceset.table(COLUMNS)
    assert np.array_equal(found.space.embed(table), choice.space.embed(table))


def test_a_file_of_an_earlier_version_is_assessed_with_its_own_options(faceset) -> None:
    select_faceset(faceset, UNEQUAL)
    now, rows = read_outcome(faceset), faceset.selection()
    without_outcome(faceset)
    before = read_outcome(faceset)
    assert not before.stored and before.weights == UNEQUAL.weights
    assert (before.coverage, before.eligible, before.table) == (now.coverage, now.eligible, now.table)
    assert before.curve == pytest.approx(now.curve, abs=1e-6)
    old = faceset.selection()
    old, rows = (r.drop(columns="coverage") for r in (old, rows))
    pd.testing.assert_frame_equal(old, rows, check_dtype=False)
    assert "was not stored" in remarks_on(faceset, before, faceset.table(COLUMNS))[0]


def test_a_table_that_changed_since_is_told(faceset) -> None:
    select_faceset(faceset, UNEQUAL)
    found = read_outcome(faceset)
    assert remarks_on(faceset, found, faceset.table(COLUMNS)) == ()
    write_rows(faceset, faceset.table().assign(Sharpness=np.float32(3)))  # nothing that a face looks like
    assert remarks_on(faceset, found, faceset.table(COLUMNS)) == ()
    table = faceset.table()
    table.at[3, "lighting"] = table.at[3, "lighting"] + np.float32(0.1)
    write_rows(faceset, table)
    (said,) = remarks_on(faceset, found, faceset.table(COLUMNS))
    assert "faces have changed" in said and "faceset select" in said


def test_a_target_is_stored_and_another_one_is_computed(faceset, tmp_path) -> None:
    target, other = made(tmp_path / "target", 1), made(tmp_path / "other", 2)
    choice = select_faceset(faceset, UNEQUAL, target)
    found = read_outcome(faceset)
    assert asdict(found.target) == summary(faceset, choice, UNEQUAL.weights, target)["target"]["coverage"]
    assert target_outcome(faceset, found, target) == found.target
    elsewhere = target_outcome(faceset, found, other)
    assert elsewhere != found.target and 0 < elsewhere.after <= elsewhere.before <= 1
    without_outcome(faceset)
    assert read_outcome(faceset).target == found.target
    table, wanted = faceset.table(COLUMNS), target.table(COLUMNS)
    assert remarks_on(faceset, found, table, target, wanted) == ()
    assert "target's faces" in remarks_on(faceset, found, table, target, wanted.iloc[1:])[0]


def test_a_damaged_outcome_says_what_to_do(faceset) -> None:
    select_faceset(faceset, UNEQUAL)
    table = pq.read_table(faceset.selection_path)
    for wrong in (b'{"kept": 1}', b"[", b'{"kept": "x", "eligible": 1, "selected": 1}'):
        pq.write_table(table.replace_schema_metadata({OUTCOME: wrong}), faceset.selection_path)
        with pytest.raises(WorkError, match=r"is damaged .*faceset select"):
            read_outcome(faceset)


@pytest.mark.parametrize("options", [{"floors": 3}, {"weights": {"pose": -1}}, {"floors": {"min_sharpness": "x"}}])
def test_damaged_options_say_what_to_do(faceset, options) -> None:
    select_faceset(faceset, UNEQUAL)
    write_selection(faceset, faceset.selection(), options)
    with pytest.raises(WorkError, match=r"is damaged .*faceset select"):
        read_outcome(faceset)


def test_rows_alone_are_a_selection_too(faceset) -> None:
    select_faceset(faceset, UNEQUAL)
    write_selection(faceset, faceset.selection().head(0))
    found = read_outcome(faceset)
    assert (found.selected, found.coverage, found.space) == (0, None, None)
