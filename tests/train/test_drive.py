from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from curate.extract.normalise import Own
from curate.face.mesh import BLENDSHAPES
from curate.records import record
from curate.scores import expression
from train.drive import ANCHORED, EXPRESSION, NAMES, SCALES, Drive, drive_of, mirrored, rest_of, scores_of
from train.span import Span

JAW, BLINK, YAW = (NAMES.index(name) for name in ("jawOpen", "eyeBlinkLeft", "yaw"))


def faces(count: int = 100, mouth_at_rest: float = 0.0, seed: int = 0) -> np.ndarray:
    """Scores (N, K) of a lively face whose mouth rests at `mouth_at_rest` and opens by 0.5 in a third of the frames."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, 0.01, (count, len(NAMES))).astype(np.float32)
    scores[:, JAW] += mouth_at_rest + 0.5 * (np.arange(count) % 3 == 0)
    scores[:, YAW] = 20 * np.sin(np.arange(count))
    return scores


def test_names_are_unique_and_cover_what_a_table_has() -> None:
    assert len(set(NAMES)) == len(NAMES) == len(SCALES) == len(ANCHORED)
    assert set(BLENDSHAPES) < set(NAMES) and not ANCHORED[YAW] and ANCHORED[JAW]
    assert not ANCHORED[NAMES.index("eyeLookInLeft")]


def test_rows_of_a_table_become_scores() -> None:
    rows = pd.DataFrame({
        "expression": [np.arange(52, dtype=np.float32), None],
        "gaze": [np.array([0.1, 0.2], np.float32), None],
        "jawOpen": [0.7, None],
        "yaw": [12.0, -3.0],
    })  # fmt: skip
    found = dict(zip(NAMES, scores_of(rows).T, strict=True))
    assert found["jawOpen"][0] == BLENDSHAPES.index("jawOpen") and found["mouth_open"][0] == np.float32(0.7)
    assert found["gaze_up"][0] == np.float32(0.2) and found["yaw"].tolist() == [12, -3]
    assert np.isnan([found["jawOpen"][1], found["mouth_open"][1], found["light_x"][0], found["eyes_closed"][0]]).all()


def test_a_neutral_with_an_open_mouth_does_not_open_the_others_mouth() -> None:
    """A mean over a face that grimaces has its mouth half open, so its closed mouth reads -0.45."""
    grimacing, calm = faces(mouth_at_rest=-0.45), faces(mouth_at_rest=0.0, seed=1)
    assert abs(np.median(grimacing[:, JAW]) - np.median(calm[:, JAW])) > 0.4
    counted = [scores - rest_of(scores) for scores in (grimacing, calm)]
    assert abs(np.median(counted[0][:, JAW]) - np.median(counted[1][:, JAW])) < 0.02
    assert rest_of(calm)[YAW] == 0
    assert not rest_of(calm[:5]).any()  # too few faces to tell


def test_the_source_stops_at_the_edge_of_its_range_and_says_so() -> None:
    source, target = faces(), faces(seed=1)
    target[:, JAW] += 2.0 * (np.arange(100) % 2)
    target[3, BLINK] = np.nan
    drive = drive_of(source, target, np.zeros(len(NAMES), np.float32))
    held = drive.held(target)
    assert held[:, JAW].max() == pytest.approx(np.quantile(source[:, JAW], 0.995), abs=1e-4)
    assert np.isnan(held[3, BLINK]) and drive.inputs(held)[3, BLINK] == 0
    assert drive.beyond(target) == {"jawOpen": pytest.approx(0.5, abs=0.02)}
    assert drive.beyond(source) == {} and drive.beyond(source[:0]) == {}


def test_facesets_without_blendshapes_drive_with_fewer_scores() -> None:
    source, target = faces(), faces(seed=1)
    target[:, [NAMES.index(name) for name in EXPRESSION]] = np.nan
    drive = drive_of(source, target, np.zeros(len(NAMES), np.float32))
    assert drive.names == ("yaw", "pitch", "light_x", "light_y", "light_z")
    read = drive.inputs(source)
    assert not read[:, [NAMES.index(name) for name in EXPRESSION]].any() and read[:, YAW].any()
    bare = drive_of(np.full_like(source, np.nan), target, np.zeros(len(NAMES), np.float32))
    assert bare.names == () and not bare.inputs(source).any()


def test_a_mirrored_face_has_mirrored_scores() -> None:
    read = np.random.default_rng(0).normal(size=(2, len(NAMES))).astype(np.float32)
    found = mirrored(read, np.array([False, True]))
    named = [dict(zip(NAMES, row, strict=True)) for row in (*read, *found)]
    assert np.array_equal(found[0], read[0])
    assert named[3]["eyeBlinkLeft"] == named[1]["eyeBlinkRight"] and named[3]["mouthLeft"] == named[1]["mouthRight"]
    assert named[3]["yaw"] == -named[1]["yaw"] and named[3]["pitch"] == named[1]["pitch"]
    assert np.array_equal(mirrored(found, np.array([False, True])), read)


def test_a_drive_survives_run_json() -> None:
    neutral = expression.Neutral(np.full((5, 57), 0.1), np.arange(57.0), 3.5)
    source, rest = faces(), rest_of(faces(mouth_at_rest=0.3))
    drive = drive_of(source, source, rest, Own(neutral, 2.5, None))
    again = record(Drive, json.loads(json.dumps(asdict(drive))))
    assert again == drive
    own = again.calibrated()
    assert own is not None and own.zero == 2.5 and own.neutral.zero == 3.5
    assert np.array_equal(own.neutral.level, neutral.level)
    assert np.allclose(again.counted(source), source - rest)
    with pytest.raises(ValueError, match="scores"):
        Drive(("jawOpen",), (0.0,), (), (0.0,))
    with pytest.raises(ValueError, match="finite"):
        Drive(("jawOpen",), (0.0,), (float("nan"),), (0.0,))


def test_a_neutral_of_another_version_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    drive = Drive((), (), (), (), 0.0, {"slopes": [[0.0]], "level": [0.0], "zero": 0.0})
    assert drive.calibrated() is None and "cannot be read" in caplog.text
    assert Drive((), (), (), ()).calibrated() is None


def test_the_source_never_performs_what_its_muscles_never_did_together() -> None:
    """The source opens its mouth only with its brows up; the target opens its mouth with a still brow."""
    source, target = faces(), faces(seed=1)
    brow = NAMES.index("browInnerUp")
    source[:, brow] = source[:, JAW]
    target[:, JAW], target[:, brow] = 0.5, 0.0
    drive = drive_of(source, target, np.zeros(len(NAMES), np.float32))
    alone, together = drive.inputs(drive.held(target)), drive.performed(target)
    assert np.abs(alone[:, JAW] - alone[:, brow]).min() > 2
    assert np.abs(together[:, JAW] - together[:, brow]).max() < 0.3
    assert np.array_equal(together[:, YAW], alone[:, YAW])  # the head turns freely
    assert np.abs(drive.performed(source) - drive.inputs(source)).max() < 0.6  # and its own performance stays
    with pytest.raises(ValueError, match="a span of 1 scores"):
        Drive((), (), (), (), span=Span((0.0,), (), (), ()))
