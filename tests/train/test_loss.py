from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from train.config import TrainConfig
from train.loss import LEVELS, losses, pyramid, pyramid_l1, ssim, ssim_map


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
    config = replace(config, perceptual_weight=1.0)
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
        pyramid(pictures(0, 37))
    a = pictures(0, 37).requires_grad_()
    (ssim(a, pictures(1, 37)).sum() + pyramid_l1(a, pictures(1, 37), torch.ones(2, 1, 37, 37)).sum()).backward()
    assert a.grad is not None and a.grad.abs().sum() > 0


def test_one_level_of_a_pyramid_by_hand() -> None:
    """A point of light: what is blurred away from it and what stays, with the kernel 1 4 6 4 1 over 16."""
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = 1
    fine, coarse = pyramid(x, 2)
    shrunk = np.array([0, 1, 6, 1, 0]) / 16
    assert coarse[0, 0].numpy() == pytest.approx(np.outer(shrunk, shrunk), abs=1e-7)
    grown = np.array([0.125, 0.5, 1.5, 3.5, 4.75, 3.5, 1.5, 0.5, 0.125]) / 16
    expected = -np.outer(grown, grown)
    expected[4, 4] += 1
    assert fine[0, 0].numpy() == pytest.approx(expected, abs=1e-7)


def test_a_pyramid_adds_up_to_its_picture_and_halves_at_every_level() -> None:
    x = pictures(0, 40)
    bands = pyramid(x)
    assert [b.shape[2:] for b in bands] == [(40, 40), (20, 20), (10, 10), (5, 5), (3, 3)]
    flat = pyramid(torch.full((1, 3, 40, 40), 0.3))
    assert all(b.abs().max() < 1e-6 for b in flat[:-1]) and flat[-1].sub(0.3).abs().max() < 1e-6
    picture = x[0].permute(1, 2, 0).numpy()
    small = cv2.pyrDown(picture, borderType=cv2.BORDER_REPLICATE)
    assert pyramid(x, 2)[1][0].permute(1, 2, 0).numpy() == pytest.approx(small, abs=1e-6)
    large = cv2.pyrUp(small)[4:-4, 4:-4]  # it goes on otherwise beyond the edge
    assert pyramid(x, 2)[0][0].permute(1, 2, 0).numpy()[4:-4, 4:-4] == pytest.approx(
        picture[4:-4, 4:-4] - large, abs=1e-6
    )


def test_pyramids_of_identical_pictures_do_not_differ_and_a_shade_counts_at_the_last_level() -> None:
    a, even = pictures(0, 32), torch.ones(2, 1, 32, 32)
    assert pyramid_l1(a, a, even).tolist() == [0, 0]
    assert pyramid_l1(a, a + 0.1, even).tolist() == pytest.approx([0.1 * 2 ** (LEVELS - 1)] * 2, rel=1e-4)


def test_pyramids_by_hand() -> None:
    a, b, weight = pictures(0, 32), pictures(1, 32), pictures(2, 32)[:, :1]
    expected, small = torch.zeros(2), weight
    for level, (one, other) in enumerate(zip(pyramid(a), pyramid(b), strict=True)):
        off = (one - other).abs().mean(1, keepdim=True)
        expected += 2**level * (off * small).sum((1, 2, 3)) / small.sum((1, 2, 3))
        small = pyramid(small, 2)[1]
    assert pyramid_l1(a, b, weight).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_pyramids_under_a_mask_see_nothing_far_from_it() -> None:
    a, b, mask = pictures(0, 128), pictures(0, 128), torch.zeros(2, 1, 128, 128)
    b[:, :, :, 120:] = 0
    mask[:, :, :, :16] = 1
    assert pyramid_l1(a, b, mask).max() < 1e-6
    assert pyramid_l1(a, b, torch.ones_like(mask)).min() > 0.1


def test_the_perceptual_term_is_there_if_it_has_a_weight(config: TrainConfig) -> None:
    output, truth = torch.rand(2, 4, 32, 32), torch.rand(2, 3, 32, 32)
    mask = torch.rand(2, 1, 32, 32)
    plain, more = (losses(output, truth, mask, replace(config, perceptual_weight=w)) for w in (0.0, 0.5))
    assert list(plain) == ["l1", "dssim", "mask", "total"]
    assert set(more) == {*plain, "perceptual"}
    weight = config.background + (1 - config.background) * mask
    assert more["perceptual"].item() == pytest.approx(pyramid_l1(output[:, :3], truth, weight).mean().item())
    assert more["total"].item() == pytest.approx((plain["total"] + 0.5 * more["perceptual"]).item())
