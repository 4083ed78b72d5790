from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from curate.dataset.faceset import open_faceset
from curate.types import no_progress
from train.config import TrainConfig
from train.data import load_side
from train.feed import Feed, batch_of
from train.fit import train
from train.loss import WINDOW, ssim_map, windows
from train.run import open_run
from train.schedule import RAMP, adversarial, end, last_phase


def test_the_last_quarter_is_the_last_phase(config: TrainConfig) -> None:
    phased = replace(config, steps=1000, phases=0.25, adversarial_weight=0.1)
    assert last_phase(phased) == 750 and last_phase(replace(phased, phases=0.0)) == 1000
    weights = [adversarial(phased, step) for step in (0, 750, 775, 750 + round(250 * RAMP), 999)]
    assert weights == [0, 0, pytest.approx(0.05), pytest.approx(0.1), pytest.approx(0.1)]
    assert adversarial(replace(phased, phases=0.0), 0) == 0.1


def test_with_an_open_end_the_cool_down_is_the_last_phase(config: TrainConfig) -> None:
    auto = replace(config, steps=1000, phases=0.25, stop="auto", adversarial_weight=0.1)
    assert last_phase(auto) == 1000 and adversarial(auto, 999) == 0
    assert last_phase(auto, 400) == 401 and adversarial(auto, end(auto, 400), 400) == pytest.approx(0.1)


def test_the_last_phase_does_not_warp_and_draws_the_same_faces(
    pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path
) -> None:
    side = load_side("source", open_faceset(pair[0]), config, tmp_path, True, no_progress)
    warped, plain = batch_of(side, 4, config, 0, 1), batch_of(side, 4, config, 0, 1, warped=False)
    assert torch.equal(warped.crops, plain.crops) and torch.equal(warped.changes.affine, plain.changes.affine)
    assert warped.changes.warp.any() and not plain.changes.warp.any()
    feed = Feed({"source": side}, config, 0, 1, False)
    feed.plain_from = 2
    moved = [bool(feed.get(step)["source"].changes.warp.any()) for step in range(4)]
    feed.close()
    assert moved == [True, True, False, False]


def test_a_run_in_phases_resumes_bit_for_bit(pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path) -> None:
    phased = replace(config, steps=8, phases=0.5, adversarial_weight=0.1, save_every=5)
    train(phased, *pair, tmp_path / "whole")
    train(replace(phased, steps=8), *pair, tmp_path / "parts")
    (tmp_path / "parts/model.safetensors").unlink()
    for step in (8,):
        for suffix in ("json", "safetensors"):
            (tmp_path / f"parts/checkpoints/step-{step}.{suffix}").unlink()
    done = train(phased, *pair, tmp_path / "parts", resume=True)
    assert done.resumed_from == 5
    assert open_run(tmp_path / "parts").weights_sha256 == open_run(tmp_path / "whole").weights_sha256


def test_windows_follow_the_size(config: TrainConfig) -> None:
    assert windows(config) == (WINDOW,)
    two = replace(config, ssim_windows="two")
    assert [windows(replace(two, size=size)) for size in (64, 128, 256)] == [(5, 3), (11, 5), (23, 11)]
    a = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for side in (3, 5, 11, 23):
        same = ssim_map(a, a, side)
        assert same.shape == (1, 3, 65 - side, 65 - side) and np.allclose(same, 1, atol=1e-3)
        assert float(ssim_map(a, 1 - a, side).mean()) < 0
