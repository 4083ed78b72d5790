"""Faces that a network cannot do yet count more."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from curate.errors import UsageError, WorkError
from curate.select import learned
from curate.select.options import Budget, Floors, SelectionOptions, Weights
from curate.select.persist import last_options
from curate.select.selection import choose
from faceset import choosing
from tests.curate.select.test_outcome import made
from tests.curate.select.test_selection import faces


def run_of(folder: Path, errors: dict[str, float]) -> Path:
    folder.mkdir()
    learned.write(folder, learned.HeldOut(100, tuple(learned.Reconstruction(k, 1 - v) for k, v in errors.items())))
    return folder


def test_kinds_with_large_errors_get_more_of_the_selection() -> None:
    table = faces(600)
    held = table.iloc[::10]
    errors = dict(zip(held["face_id"], np.where(held["yaw"] > 10, 0.6, 0.05), strict=True))
    yaw = table.set_index("face_id")["yaw"]
    plain, weighed = (choose(table, Budget(40, ""), errors=e) for e in (None, errors))
    assert (yaw[weighed.rows["face_id"]] > 10).mean() > (yaw[plain.rows["face_id"]] > 10).mean() + 0.1
    even = choose(table, Budget(40, ""), errors=dict.fromkeys(errors, 0.2))
    assert even.rows["face_id"].tolist() == plain.rows["face_id"].tolist()
    assert any("60 held-out faces" in note for note in weighed.notes)
    with pytest.raises(UsageError, match="--learn: no held-out face of this run"):
        choose(table, Budget(40, ""), errors={"someone-else": 0.5})


def test_a_kind_without_evidence_counts_as_usual_and_none_counts_without_limit() -> None:
    points = np.array([[0.0], [1.0], [1.02], [50.0]], np.float32)
    factor = learned.factors(points, points[:3], np.array([0.0, 1.0, 0.9]), 0.1)
    assert factor[3] == pytest.approx(1) and factor[0] < 0.6 < 1.2 < factor[1] < learned.MOST
    sure = learned.factors(points, np.zeros((100, 1), np.float32), np.full(100, 1e-9), 0.1)
    assert sure == pytest.approx(1) and (learned.factors(points, points[:1], np.zeros(1), 1.0) == 1).all()
    many = np.vstack([np.zeros((900, 1)), np.full((9, 1), 1.0)]).astype(np.float32)
    wide = learned.factors(points, many, np.r_[np.zeros(900), np.ones(9)], 0.1)
    assert wide[0] == 1 / learned.MOST and wide[1] == learned.MOST


def test_the_run_is_named_once_and_forgotten_when_it_is_gone(tmp_path: Path) -> None:
    faceset = made(tmp_path / "set")
    run = run_of(tmp_path / "run", dict.fromkeys(faceset.table()["face_id"], 0.3))
    nothing: dict[type, dict[str, object]] = {SelectionOptions: {}, Floors: {}, Weights: {}}
    given = nothing | {SelectionOptions: {"learn": str(run)}}
    choosing.check(given, None)
    assert any("held-out faces" in note for note in choosing.select(faceset.folder, given, None)["notes"])
    again = choosing.select(faceset.folder, nothing, None)
    assert any(f"--learn {run}" in note for note in again["notes"])
    (run / learned.HELD_OUT).write_text("{")
    with pytest.raises(WorkError, match=r"held-out\.json is damaged"):
        choosing.select(faceset.folder, nothing, None)
    (run / learned.HELD_OUT).unlink()
    assert last_options(faceset).options.learn is None
    with pytest.raises(UsageError, match=r"--learn .*has no reports/held-out\.json"):
        choosing.check(given, None)


def test_the_file_is_plain_json_and_scores_that_are_no_numbers_are_passed_over(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", {"a": 0.25})
    assert json.loads((run / learned.HELD_OUT).read_text())["faces"] == [{"face_id": "a", "ssim": 0.75}]
    (run / learned.HELD_OUT).write_text('{"step": 3, "faces": [{"face_id": "a", "ssim": NaN}]}')
    assert learned.errors_of(run) == {}
