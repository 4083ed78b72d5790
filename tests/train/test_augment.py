from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from train.augment import apply, draw
from train.config import TrainConfig

STILL = {"warp": 0.0, "rotate": 0.0, "zoom": 0.0, "shift": 0.0, "light": 0.0, "colour": 0.0}


def crops(count: int = 3, size: int = 128) -> torch.Tensor:
    return torch.randint(0, 256, (count, 4, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_shapes_and_range(config: TrainConfig) -> None:
    wild = replace(config, light=1.0, colour=1.0, rotate=90.0)
    read, truth, mask = apply(crops(), draw(np.random.default_rng(0), 3, wild), 64)
    assert read.shape == truth.shape == (3, 3, 64, 64) and mask.shape == (3, 1, 64, 64)
    for x in (read, truth, mask):
        assert x.dtype == torch.float32 and x.min() >= 0 and x.max() <= 1
    assert (read - truth).abs().mean() > 0.01


def test_without_changes_it_is_the_area_mean(config: TrainConfig) -> None:
    images = crops()
    read, truth, mask = apply(images, draw(np.random.default_rng(0), 3, replace(config, **STILL)), 64)
    expected = F.avg_pool2d(images.float() / 255, 2)
    torch.testing.assert_close(torch.cat([truth, mask], 1), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(read, expected[:, :3], atol=1e-5, rtol=0)


def test_the_same_seed_gives_the_same(config: TrainConfig) -> None:
    one, two, other = (apply(crops(), draw(np.random.default_rng(s), 3, config), 64)[0] for s in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_only_what_is_read_is_warped(config: TrainConfig) -> None:
    still = draw(np.random.default_rng(0), 3, replace(config, **STILL))
    bent = replace(still, warp=torch.full_like(still.warp, 8 / 64))
    read, truth, _ = apply(crops(), bent, 64)
    torch.testing.assert_close(truth, apply(crops(), still, 64)[1])
    torch.testing.assert_close(read[:, :, :-4, :-4], truth[:, :, 4:, 4:], atol=1e-4, rtol=0)


def test_flip_mirrors_half_and_is_off_by_default(config: TrainConfig) -> None:
    random = np.random.default_rng(0)
    assert (draw(random, 400, config).affine[:, 0, 0] > 0).all()
    flipped = draw(random, 400, replace(config, **STILL, flip=True))
    assert 150 < (flipped.affine[:, 0, 0] < 0).sum() < 250
    one = int(torch.argmin(flipped.affine[:, 0, 0]))
    image = crops(1)
    truth = apply(image, flipped.part(slice(one, one + 1), torch.device("cpu")), 64)[1]
    torch.testing.assert_close(truth, F.avg_pool2d(image[:, :3].float() / 255, 2).flip(3), atol=1e-5, rtol=0)


def test_light_changes_both_alike(config: TrainConfig) -> None:
    changes = draw(np.random.default_rng(0), 3, replace(config, **{**STILL, "light": 0.2, "colour": 0.1}))
    read, truth, mask = apply(crops(), changes, 64)
    plain = F.avg_pool2d(crops().float() / 255, 2)
    assert torch.equal(read, truth)
    assert (truth.mean((2, 3)) - plain[:, :3].mean((2, 3))).abs().max() > 0.01
    torch.testing.assert_close(mask, plain[:, 3:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("field", ["rotate", "zoom", "shift", "warp"])
def test_every_geometric_setting_does_something(config: TrainConfig, field: str) -> None:
    changed = replace(config, **{**STILL, field: getattr(config, field)})
    read = apply(crops(), draw(np.random.default_rng(0), 3, changed), 64)[0]
    assert (read - F.avg_pool2d(crops()[:, :3].float() / 255, 2)).abs().mean() > 0.01
