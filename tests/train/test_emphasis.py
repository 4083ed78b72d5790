from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from curate.dataset.faceset import Faceset, open_faceset
from curate.face.mesh import LEFT_EYE, LIPS, RIGHT_EYE
from curate.types import no_progress
from train.config import TrainConfig, from_json
from train.data import load_side
from train.emphasis import FULL, emphasis
from train.loss import losses


def ring(points: np.ndarray, at: tuple[int, ...], x: float, y: float, radius: float) -> None:
    turn = np.linspace(0, 2 * np.pi, len(at), endpoint=False)
    points[list(at), :2] = np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], 1)


@pytest.fixture
def points() -> np.ndarray:
    """(478, 3) landmarks of a face of 100 px with round eyes and a round mouth."""
    found = np.full((478, 3), 50, np.float32)
    ring(found, RIGHT_EYE, 30, 30, 6)
    ring(found, LEFT_EYE, 70, 30, 6)
    ring(found, LIPS, 50, 75, 10)
    return found


def test_eyes_and_mouth_count_more(points: np.ndarray, config: TrainConfig) -> None:
    weight = 1 + FULL * emphasis(points, 100, 100, replace(config, eyes_weight=3, mouth_weight=2)) / 255
    assert weight[30, 30] == weight[30, 70] == pytest.approx(3, abs=0.03)
    assert weight[75, 50] == pytest.approx(2, abs=0.03)
    assert weight[50, 50] == weight[30, 30 + 10] == weight[75, 50 + 12] == 1
    assert weight[30, 30 + 7] > 2.9  # the lids belong to the eye
    assert not emphasis(points, 100, 100, replace(config, eyes_weight=1, mouth_weight=1)).any()


def test_68_landmarks_have_eyes_and_a_mouth_and_others_none(config: TrainConfig) -> None:
    points = np.full((68, 3), 50, np.float32)
    ring(points, tuple(range(36, 42)), 30, 30, 6)
    ring(points, tuple(range(48, 60)), 50, 75, 10)
    drawn = emphasis(points, 100, 100, config)
    assert drawn[30, 30] > drawn[75, 50] > drawn[10, 10] == 0
    assert not emphasis(points[:5], 100, 100, config).any()


def test_the_loss_weighs_by_it(config: TrainConfig) -> None:
    output, truth = torch.zeros(1, 4, 64, 64), torch.zeros(1, 3, 64, 64)
    output[:, :3, :32] = 0.5  # wrong in the upper half only
    mask, added = torch.ones(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    added[:, :, :32] = 2 / FULL
    plain = losses(output, truth, mask, config)
    even = losses(output, truth, torch.cat([mask, 0 * added], 1), config)
    more = losses(output, truth, torch.cat([mask, added], 1), config)
    assert plain["l1"] == even["l1"] == pytest.approx(0.25, abs=1e-4)
    assert more["l1"] == pytest.approx(0.5 * 3 / 4, abs=1e-4)
    assert more["dssim"] > even["dssim"] and more["mask"] == plain["mask"]


def test_the_cache_follows_the_weights(
    make_faceset: Callable[..., Faceset], config: TrainConfig, tmp_path: Path
) -> None:
    make_faceset(tmp_path / "a")
    config = replace(config, drive="picture")

    def pixels(config: TrainConfig) -> np.ndarray:
        return load_side("source", open_faceset(tmp_path / "a"), config, tmp_path, True, no_progress).pixels.copy()

    flat = pixels(replace(config, eyes_weight=1.0, mouth_weight=1.0))
    assert flat.shape[3] == 5 and not flat[..., 4].any()
    assert pixels(replace(config, mouth_weight=5.0))[..., 4].any()  # the conftest's lips are within its outline


def test_a_run_from_before_goes_on_without() -> None:
    old = from_json({"preset": "tiny", "size": 64})
    assert (old.eyes_weight, old.mouth_weight, old.drive, old.phases, old.ssim_windows) == (1, 1, "picture", 0, "one")
