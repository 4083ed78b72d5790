from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from train.config import TrainConfig
from train.loss import losses, ssim, ssim_map


def pictures(seed: int, size: int = 24) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_identical_pictures_have_ssim_one() -> None:
    assert ssim(pictures(0), pictures(0)).tolist() == pytest.approx([1, 1], abs=1e-5)


def test_one_place_by_hand() -> None:
    a, b = pictures(0, 11)[:1, :1], pictures(1, 11)[:1, :1]
    x, y = a[0, 0].double().numpy(), b[0, 0].double().numpy()
    one = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weight = np.outer(one, one) / np.outer(one, one).sum()
    mx, my = (weight * x).sum(), (weight * y).sum()
    vx, vy, cov = (weight * (x - mx) ** 2).sum(), (weight * (y - my) ** 2).sum(), (weight * (x - mx) * (y - my)).sum()
    expected = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert ssim_map(a, b).shape == (1, 1, 1, 1)
    assert ssim_map(a, b).item() == pytest.approx(expected, abs=1e-5)


def test_agrees_with_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image comes with the extra app")
    a = pictures(0, 40)
    b = (a + 0.2 * pictures(1, 40)).clamp(0, 1)
    for i, mine in enumerate(ssim(a, b).tolist()):
        theirs = metrics.structural_similarity(
            a[i].permute(1, 2, 0).numpy(), b[i].permute(1, 2, 0).numpy(), gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, data_range=1.0, channel_axis=2,
        )  # fmt: skip
        assert mine == pytest.approx(theirs, abs=2e-4)


def test_under_a_mask_only_the_mask_counts() -> None:
    a, b = pictures(0, 40), pictures(0, 40)
    b[:, :, :, 20:] = 0
    mask = torch.zeros(2, 1, 40, 40)
    mask[:, :, :, :14] = 1
    assert ssim(a, b, mask).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert ssim(a, b).max() < 0.8


def test_terms_by_hand(config: TrainConfig) -> None:
    plain = replace(config, l1_weight=2.0, ssim_weight=3.0, mask_weight=5.0, background=0.5)
    truth = torch.full((1, 3, 16, 16), 0.5)
    output = torch.cat([truth, torch.zeros(1, 1, 16, 16)], 1)
    mask = torch.zeros(1, 1, 16, 16)
    mask[:, :, :8] = 1
    output[:, :3, :8] += 0.2  # the upper half, weight 1
    output[:, :3, 8:] += 0.1  # the lower half, weight .5
    terms = losses(output, truth, mask, plain)
    assert terms["l1"].item() == pytest.approx((0.2 + 0.5 * 0.1) / 1.5, abs=1e-5)
    assert terms["mask"].item() == pytest.approx(math.log(2), abs=1e-5)
    total = 2 * terms["l1"] + 3 * terms["dssim"] + 5 * terms["mask"]
    assert terms["total"].item() == pytest.approx(total.item())
    assert losses(torch.cat([truth, mask * 50 - 25], 1), truth, mask, plain)["total"].item() < 1e-4


def test_each_face_counts_the_same_whatever_its_mask(config: TrainConfig) -> None:
    """Else two processes with half the batch each would not add up to one with all of it."""
    output, truth = torch.rand(4, 4, 16, 16), torch.rand(4, 3, 16, 16)
    mask = torch.zeros(4, 1, 16, 16)
    for i in range(4):
        mask[i, :, : 2 + 4 * i] = 1
    whole = losses(output, truth, mask, config)["total"]
    halves = [losses(output[h], truth[h], mask[h], config)["total"] for h in (slice(0, 2), slice(2, 4))]
    assert whole.item() == pytest.approx((halves[0] + halves[1]).item() / 2, abs=1e-6)


def test_an_evaluation_does_not_spoil_the_next_gradient() -> None:
    with torch.inference_mode():
        ssim(pictures(0, 37), pictures(1, 37))
    a = pictures(0, 37).requires_grad_()
    ssim(a, pictures(1, 37)).sum().backward()
    assert a.grad is not None and a.grad.abs().sum() > 0
