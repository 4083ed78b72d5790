from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from curate.dataset.faceset import Faceset, open_faceset
from curate.face.mesh import BLENDSHAPES, canonical
from curate.face.pose import matrix
from curate.types import Landmarks
from train.config import TrainConfig
from train.data import load_side
from train.model import build
from train.performance import AXES, MIN_FACES, figures, follow, held_out_rows, stage_for

CPU = torch.device("cpu")
AT = {name: i for i, name in enumerate(BLENDSHAPES)}


def head_points(yaw: float) -> np.ndarray:
    """(478, 3) landmarks of the canonical head, turned."""
    own = canonical().vertices @ matrix(yaw, 0.0, 0.0).T * (1, -1, -1) * 8 + (64, 64, 0)
    return np.concatenate([own, np.repeat(own[:1], 478 - len(own), 0)]).astype(np.float32)


def read(smile: float, yaw: float) -> Landmarks:
    """A reading of a face."""
    shapes = np.full(52, 0.1, np.float32)
    shapes[[AT["mouthSmileLeft"], AT["mouthSmileRight"]]] = smile
    return Landmarks(head_points(yaw), 1.0, shapes)


def test_follow_by_hand() -> None:
    own = np.array([0.0, 1, 2, 3])
    assert follow("jaw", own, 0.5 * own + 7) == {"follows_jaw": pytest.approx(1), "slope_jaw": pytest.approx(0.5)}
    assert follow("jaw", own, -own)["follows_jaw"] == pytest.approx(-1)
    assert follow("jaw", own, np.full(4, 3.0)) == {"follows_jaw": 0.0, "slope_jaw": 0.0}


def test_what_follows_and_what_does_not() -> None:
    smiles, turns = np.tile([0.1, 0.3, 0.6, 0.9], 6), np.repeat([-15.0, 0, 15], 8)
    own = [read(s, y) for s, y in zip(smiles, turns, strict=True)]
    found = figures(own, [read(0.5 * s, y) for s, y in zip(smiles, turns, strict=True)])
    assert found["follows_smile"] == pytest.approx(1, abs=0.02)
    assert found["slope_smile"] == pytest.approx(0.5, abs=0.05)
    assert found["follows_yaw"] == pytest.approx(1) and found["slope_yaw"] == pytest.approx(1)
    assert "follows_jaw" not in found  # this target never opens the mouth
    frozen = figures(own, [read(0.2, 0.0)] * len(own))
    assert abs(frozen["follows_smile"]) < 0.2 and frozen["slope_yaw"] == pytest.approx(0)
    assert figures(own[: MIN_FACES - 1], own[: MIN_FACES - 1]) == {}


class Reader:
    """Stands for the landmarker: the picture's mean brightness is the smile."""

    points = 478

    def landmark(self, image: np.ndarray, region: np.ndarray) -> Landmarks:
        return read(float(image.mean()) / 255, 0.0)


def test_a_stage_shows_footage_between_held_out_faces(
    pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    make_faceset: Callable[..., Faceset], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    faceset = open_faceset(pair[1])
    wide = replace(config, held_out=0.4, guard=0.0)
    side = load_side("target", faceset, wide, tmp_path, True, lambda *_: None)
    rows = held_out_rows(faceset, side, 100)
    assert set(rows["face_id"]) == {side.ids[i] for i in side.split.held_out}
    assert len(held_out_rows(faceset, side, 5)) == 5
    stage = stage_for(faceset, side, replace(wide, performance=100), Reader())
    assert stage is not None and len(stage.crops) == len(rows)
    model = build(config)
    monkeypatch.setattr(model, "through", lambda crops, side, scores: torch.cat([crops, crops[:, :1] * 0 + 9], 1))
    found = stage.evaluate(model, config.size, CPU)
    assert all(found[name] == pytest.approx(1, abs=0.1) for name in found if name.startswith("follows_smile"))
    assert stage_for(faceset, side, replace(wide, performance=0), Reader()) is None
    few = load_side("target", faceset, replace(config, held_out=0.05), tmp_path, True, lambda *_: None)
    assert stage_for(faceset, few, config, Reader()) is None
    assert set(AXES) >= {"jaw", "yaw"}
