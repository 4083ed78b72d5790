"""Correction by hand: the handles, the row that changes, and where a correction reaches."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curate.dataset import corrections
from curate.dataset.corrections import Correction
from curate.dataset.faceset import Faceset, open_faceset
from curate.errors import UsageError, WorkError
from curate.extract import correct
from curate.extract.table import build
from curate.face.align import hull, transform
from curate.face.handles import HANDLES, handles_of, moved
from curate.face.mesh import BLENDSHAPES
from curate.turntable import View, painted, truth
from curate.upkeep.forget import OWN
from train.config import TrainConfig
from train.crop_cache import _decode, _digest

JAW_OPEN = BLENDSHAPES.index("jawOpen")


@pytest.fixture
def faceset(head_facesets: dict[str, Path], tmp_path: Path) -> Faceset:
    shutil.copytree(head_facesets["source"], tmp_path / "source")
    return open_faceset(tmp_path / "source")


def some_face(faceset: Faceset) -> str:
    """The selected face whose mouth is the least closed: a tightly closed one hardly reads as open when it is moved."""
    selected = faceset.selected(["face_id", "MouthClosed"])
    return str(selected["face_id"].iloc[int(selected["MouthClosed"].argmin())])


def shifted(faceset: Faceset, face: str, name: str, dx: float, dy: float) -> dict[str, tuple[float, float]]:
    points = correct.find(faceset, face).points
    x, y = points[handles_of(points)[name], :2]
    return {name: (float(x + dx), float(y + dy))}


def without(table: pd.DataFrame, face: str) -> pd.DataFrame:
    return table[table["face_id"] != face].reset_index(drop=True)


@pytest.mark.parametrize("count", [478, 68])
def test_handles_lie_where_they_are_put_and_the_mesh_follows(count: int) -> None:
    points = np.random.default_rng(0).uniform(0, 100, (count, 3)).astype(np.float32)
    own = handles_of(points)
    assert set(own) <= set(HANDLES) and max(own.values()) < count
    name, index = next(iter(own.items()))
    found = moved(points, {name: (10.0, 20.0)})
    assert np.allclose(found[index, :2], (10, 20), atol=1e-3)
    others = [i for other, i in own.items() if other != name]
    assert np.allclose(found[others, :2], points[others, :2], atol=1e-3)
    everywhere = {other: tuple(points[i, :2] * 2 + 5) for other, i in own.items()}
    assert np.allclose(moved(points, everywhere), points * 2 + (5, 5, 0), atol=0.05)  # also the depth
    with pytest.raises(UsageError, match="is not a handle"):
        moved(points, {"ear": (0, 0)})
    with pytest.raises(UsageError, match="not a point"):
        moved(points, {name: (float("nan"), 0)})


def test_a_correction_changes_its_own_row_alone_and_a_rebuilt_table_agrees(faceset: Faceset) -> None:
    before, face = faceset.table(), some_face(faceset)
    crops = {path: path.read_bytes() for path in (faceset.folder / "crops").rglob("*.jpg")}
    # the mouth is opened by a fifth of the face's width, the jaw follows
    wide = float(before.loc[before["face_id"] == face, "width"].iloc[0])
    handles = shifted(faceset, face, "chin", 0, 0.2 * wide) | shifted(faceset, face, "lower lip", 0, 0.2 * wide)
    handles |= shifted(faceset, face, "lower lip, inner edge", 0, 0.2 * wide)
    correct.correct(faceset, face, Correction(handles, None))
    after = faceset.table()
    pd.testing.assert_frame_equal(without(after, face), without(before, face))
    was, now = (table[table["face_id"] == face].iloc[0] for table in (before, after))
    assert now["MouthClosed"] < was["MouthClosed"] and now["expression"][JAW_OPEN] > was["expression"][JAW_OPEN] + 0.05
    assert now["landmark_confidence"] == 1 and now["crop"] == was["crop"]
    assert {path: path.read_bytes() for path in (faceset.folder / "crops").rglob("*.jpg")} == crops
    points = faceset.landmarks([face])[face]
    assert np.allclose(points[HANDLES["chin"].mesh, :2], handles["chin"], atol=1e-2)
    build(faceset)
    pd.testing.assert_frame_equal(faceset.table(), after)
    correct.undo(faceset, face)
    pd.testing.assert_frame_equal(faceset.table(), before)


def test_a_drawn_mask_reaches_training_and_no_score(faceset: Faceset) -> None:
    before, face = faceset.table(), some_face(faceset)
    rows = before[before["face_id"] == face]
    config = TrainConfig()
    digest = _digest(faceset, rows, 64, config)
    found = correct.find(faceset, face)
    outline = hull(found.points)
    left = outline.copy()
    left[:, 0] = np.minimum(left[:, 0], outline[:, 0].mean())  # the right half is cut off, as by a hand
    correct.correct(faceset, face, Correction({}, left))
    pd.testing.assert_frame_equal(faceset.table(), before)
    assert _digest(faceset, rows, 64, config) != digest
    ((_, decoded),) = _decode(faceset, rows, 256, config)
    assert decoded is not None
    pixels, _ = decoded
    middle, reach = (outline.min(0) + outline.max(0)) / 2, np.ptp(outline[:, 0]) / 4
    sides = middle + np.array([(-reach, 0), (reach, 0)])
    kept, cut = np.round(transform(sides, found.matrix)).astype(int)
    assert pixels[kept[1], kept[0], 3] == 255 and pixels[cut[1], cut[0], 3] == 0


def test_a_correction_survives_another_extraction_and_goes_with_its_clip(
    faceset: Faceset, caplog: pytest.LogCaptureFixture
) -> None:
    face = some_face(faceset)
    correct.correct(faceset, face, Correction(shifted(faceset, face, "nose tip", 5, 0), None))
    kept = corrections.read(faceset.folder)
    old = {**kept[face], "settings": "older", "yaw": 80.0}
    corrections.write(faceset.folder, {face: old, "gone-0000001-0": {**old, "face_id": "gone-0000001-0"}})
    correct.again(faceset)
    found = corrections.read(faceset.folder)
    assert found[face] == kept[face] and found["gone-0000001-0"]["settings"] == "older"
    assert "gone-0000001-0" in caplog.text
    assert corrections.FILE in OWN


def test_hostile_corrections_are_one_line(faceset: Faceset) -> None:
    face = some_face(faceset)
    for outline in (np.zeros((2, 2)), np.full((5, 2), np.nan), np.zeros((1001, 2))):
        with pytest.raises(UsageError, match="corners"):
            correct.correct(faceset, face, Correction({}, outline.astype(np.float32)))
    with pytest.raises(UsageError, match="no face nobody"):
        correct.correct(faceset, "nobody", Correction({}, None))
    assert not (faceset.folder / corrections.FILE).exists()
    far = {"chin": (1e9, -1e9)}
    correct.correct(faceset, face, Correction(far, None))  # silly, but stored whole
    (faceset.folder / corrections.FILE).write_bytes(b"PAR1 damaged")
    with pytest.raises(WorkError, match="correct the faces again"):
        faceset.landmarks([face])


def test_the_turntable_knows_the_handles() -> None:
    """The table of handles names the points that it says: left of the face is on the right of the image."""
    points = truth(painted(), View())
    at = {name: points[one.mesh] for name, one in HANDLES.items()}
    assert at["left eye, outer corner"][0] > at["left eye, inner corner"][0] > at["right eye, inner corner"][0]
    assert at["forehead"][1] < at["nose tip"][1] < at["upper lip"][1] < at["lower lip"][1] < at["chin"][1]
    assert at["right upper lid"][1] < at["right lower lid"][1] and at["left cheek"][0] > at["right cheek"][0]
