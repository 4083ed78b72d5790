from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from curate.dataset.faceset import open_faceset
from curate.types import no_progress
from train import augment, reader
from train.config import TrainConfig
from train.data import Side, load_side
from train.drive import NAMES, drive_of
from train.model import build
from train.outlines import MAPS, Outlines, maps_of
from train.reader import Reader, compare, learn, learnt, moved, truth_of

CPU = torch.device("cpu")


@pytest.fixture
def side(pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path) -> Side:
    """The painted target, which outlines drive."""
    found = load_side("target", open_faceset(pair[1]), config, tmp_path, True, no_progress)
    return replace(found, outlines=Outlines(config.size, points=478))


def test_outlines_move_with_the_picture(config: TrainConfig) -> None:
    random = np.random.default_rng(0)
    points = random.uniform(0.3, 0.7, (6, 478, 2)).astype(np.float32)
    wide = replace(config, warp=0.0, rotate=30.0, zoom=0.2, shift=0.1, light=0.0, colour=0.0, degrade=0.0)
    changes = augment.draw(random, 6, wide)
    there = maps_of(moved(points, changes.affine), 64)[:, -1].float() / 255
    drawn = maps_of(points, 128)[:, -1:]
    crops = torch.cat([torch.zeros(6, 3, 128, 128, dtype=torch.uint8), drawn], 1)
    warped = augment.apply(crops, changes, 64)[2][:, 0]
    still = maps_of(points, 64)[:, -1].float() / 255
    assert float((there - warped).abs().mean()) < 0.01 < float((still - warped).abs().mean())


def test_a_reader_learns_where_the_face_is(side: Side, config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BATCH", 4)
    truth = truth_of(side)
    found = learn(truth, config, CPU, no_progress, steps=80)
    held = side.split.held_out
    crops, _ = side.faces(held, config.size)
    with torch.inference_mode():
        read = found(crops)[0][:, -1]
    wanted = truth.maps(held, config.size)[:, len(MAPS) - 1]
    mean = truth.maps(side.split.train, config.size)[:, len(MAPS) - 1].mean(0)
    assert float((read - wanted).abs().mean()) < 0.5 * float((mean - wanted).abs().mean())
    again = learn(truth, config, CPU, no_progress, steps=2), learn(truth, config, CPU, no_progress, steps=2)
    assert all(torch.equal(a, b) for a, b in zip(*(r.state_dict().values() for r in again), strict=True))


def test_agreement_is_that_of_the_swaps(side: Side, config: TrainConfig) -> None:
    class Knows(Reader):
        def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return truth.maps(side.split.held_out, config.size).chunk(2, 1)

    truth, model = truth_of(side), build(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "outline" in name:
                weight.normal_(0, 0.3)
    agreement = compare(Knows("outlines", config.size), model, truth, config)
    assert agreement.faces == len(side.split.held_out)
    assert agreement.ssim == pytest.approx(1, abs=1e-5) and agreement.levels == 0 < agreement.levels_unread


def test_a_reader_is_learnt_once(
    side: Side, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "STEPS", 2)
    calls: list[int] = []
    monkeypatch.setattr(reader, "learn", lambda *a: calls.append(1) or learn(*a, steps=2))
    path = tmp_path / "reader.safetensors"
    first = learnt(path, side, config, CPU, no_progress)
    second = learnt(path, side, config, CPU, no_progress)
    assert len(calls) == 1
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    learnt(path, replace(side, ids=(*side.ids[:-1], "another")), config, CPU, no_progress)
    path.write_bytes(b"damaged")
    learnt(path, side, config, CPU, no_progress)
    assert len(calls) == 3


@pytest.mark.parametrize("size", [64, 128, 384])
def test_shapes(size: int) -> None:
    with torch.inference_mode():
        own, swap = Reader("outlines", size)(torch.rand(2, 3, size, size))
    assert own.shape == swap.shape == (2, len(MAPS), size, size) and 0 <= float(own.min()) <= float(own.max()) <= 1
    assert Reader("scores", size)(torch.rand(2, 3, size, size))[1].shape == (2, len(NAMES))


def test_scores_are_read_as_the_network_reads_them(side: Side, config: TrainConfig) -> None:
    scores = np.random.default_rng(1).normal(size=side.scores.shape).astype(np.float32)
    side = replace(side, outlines=None, scores=scores, drive=drive_of(scores, scores, side.rest))
    truth = truth_of(side)
    found = learn(truth, replace(config, drive="scores"), CPU, no_progress, steps=2)
    rows = side.split.train[:3]
    assert truth.scores(rows).shape == found.read(side.faces(rows, config.size)[0]).shape
    assert truth.swap[rows] == pytest.approx(side.drive.performed(scores[rows]), rel=1e-5, abs=1e-5)


def test_the_picture_needs_no_reader(side: Side) -> None:
    with pytest.raises(ValueError, match="nothing to read"):
        truth_of(replace(side, outlines=None))
