from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from curate.dataset.faceset import open_faceset
from train.config import TrainConfig
from train.data import load_side
from train.feed import Feed
from train.model import SIDES
from train.tint import SOFTEN, tinted


def face(level: float, spread: float, seed: int) -> torch.Tensor:
    """(1, 5, 64, 64) uint8 crop: noise about a level in the middle, which the mask covers; black around it."""
    crop = torch.zeros(1, 5, 64, 64)
    noise = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(seed))
    crop[0, :3, 16:48, 16:48] = level + spread * noise
    crop[0, 3, 16:48, 16:48] = 255
    return crop.clamp(0, 255).to(torch.uint8)


def test_the_face_gets_the_others_mean_and_spread() -> None:
    source, target = face(120, 12, 0), face(80, 18, 1)
    found = tinted(source, target, torch.tensor([True]))[0, :3, 16:48, 16:48].float()
    assert found.mean().item() == pytest.approx(80, abs=1) and found.std().item() == pytest.approx(18, abs=1)
    far = tinted(source, face(80, 50, 1), torch.tensor([True]))[0, :3, 16:48, 16:48].float()
    assert far.std().item() == pytest.approx(12 * SOFTEN, abs=1.5)
    assert torch.equal(tinted(source, target, torch.tensor([True]))[:, 3:], source[:, 3:])
    assert torch.equal(tinted(source, target, torch.tensor([False])), source)


def test_a_feed_tints_its_share_of_the_source_only(
    pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path
) -> None:
    sides = {
        name: load_side(name, open_faceset(folder), config, tmp_path, True, lambda *_: None)
        for name, folder in zip(SIDES, pair, strict=True)
    }

    def batch(tint: float) -> dict[str, torch.Tensor]:
        feed = Feed(sides, replace(config, tint=tint, batch=16), 0, 1, False)
        found = {name: batch.crops for name, batch in feed.get(3).items()}
        feed.close()
        return found

    plain, half = batch(0.0), batch(0.5)
    assert torch.equal(plain["target"], half["target"])
    changed = (plain["source"] != half["source"]).flatten(1).any(1)
    assert 3 <= changed.sum() <= 13
    assert torch.equal(half["source"], batch(0.5)["source"])  # the step decides, and nothing else
