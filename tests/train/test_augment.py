from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.fft import dctn, idctn

from train.augment import CHROMA, LUMA, Limits, apply, compress, degrade, draw, gaussian, soften
from train.config import TrainConfig

PLAIN = {"blur": 0.0, "compress": 0.0}
STILL = {"warp": 0.0, "rotate": 0.0, "zoom": 0.0, "shift": 0.0, "light": 0.0, "colour": 0.0, **PLAIN}
CPU = torch.device("cpu")


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
    flipped = draw(random, 400, replace(config, **STILL, flip="all"))
    assert 150 < (flipped.affine[:, 0, 0] < 0).sum() < 250
    one = int(torch.argmin(flipped.affine[:, 0, 0]))
    image = crops(1)
    truth = apply(image, flipped.part(slice(one, one + 1)), 64)[1]
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


def picture(size: int = 128) -> torch.Tensor:
    """(1, 3, size, size): skin, an eye and a mouth with the softness and the grain that every camera adds."""
    image = np.full((size, size, 3), (60, 90, 120), np.float64)
    for x, y, width, height, colour in (
        (0.5, 0.5, 0.3, 0.4, (210, 160, 130)),
        (0.4, 0.4, 0.06, 0.03, (245, 245, 245)),
        (0.41, 0.4, 0.025, 0.025, (20, 20, 30)),
        (0.5, 0.7, 0.1, 0.04, (150, 40, 40)),
    ):
        middle, axes = (round(size * x), round(size * y)), (round(size * width), round(size * height))
        cv2.ellipse(image, middle, axes, 0, 0, 360, colour, -1)
    image = cv2.GaussianBlur(image + np.random.default_rng(0).normal(0, 4, image.shape), (0, 0), 0.7)
    return torch.from_numpy(np.clip(image, 0, 255).astype(np.uint8)).permute(2, 0, 1)[None] / 255


def jpeg(image: torch.Tensor, quality: int) -> bytes:
    """OpenCV's of a picture (1, 3, H, W)."""
    return cv2.imencode(".jpg", bgr(image), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def bgr(image: torch.Tensor) -> np.ndarray:
    """(H, W, 3) uint8 of a picture (1, 3, H, W)."""
    return np.ascontiguousarray((image[0] * 255).round().byte().permute(1, 2, 0).numpy()[:, :, ::-1])


def steepness(pictures: torch.Tensor) -> torch.Tensor:
    """(B,) energy of the gradients."""
    return pictures.diff(dim=2).square().mean((1, 2, 3)) + pictures.diff(dim=3).square().mean((1, 2, 3))


def test_blur_takes_detail_and_keeps_the_mean() -> None:
    image = picture()
    soft = soften(image.expand(4, -1, -1, -1), torch.from_numpy(gaussian(np.array([0.0, 0.5, 1.0, 3.0]))).float())
    torch.testing.assert_close(soft[:1], image, atol=1e-6, rtol=0)
    assert (steepness(soft).diff() < -0.1 * steepness(soft)[:-1]).all()
    torch.testing.assert_close(soft.mean((1, 2, 3)), image.mean().expand(4), atol=1e-3, rtol=0)


def test_blur_is_that_of_opencv() -> None:
    image = picture()
    soft = soften(image, torch.from_numpy(gaussian(np.array([1.5]))).float())[0].permute(1, 2, 0).numpy()
    expected = cv2.GaussianBlur(image[0].permute(1, 2, 0).numpy(), (11, 11), 1.5, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(soft, expected, atol=1e-5)


def test_a_grey_picture_is_quantised_block_by_block() -> None:
    grey = np.random.default_rng(0).uniform(60, 190, (32, 32)).astype(np.float32)
    image = torch.from_numpy(np.repeat(grey[None, None] / 255, 3, 1))
    blocks = grey.reshape(4, 8, 4, 8).transpose(0, 2, 1, 3) - 128
    for quality, percent in ((75, 50), (20, 250)):
        steps = np.clip((np.array(LUMA) * percent + 50) // 100, 1, 255)
        coded = idctn(np.round(dctn(blocks, axes=(2, 3), norm="ortho") / steps) * steps, axes=(2, 3), norm="ortho")
        expected = np.clip(coded.transpose(0, 2, 1, 3).reshape(32, 32) + 128, 0, 255) / 255
        found = compress(image, torch.tensor([1 - quality / 100]))[0]
        np.testing.assert_allclose(found.numpy(), np.repeat(expected[None], 3, 0), atol=2e-5)


def test_the_tables_are_those_of_libjpeg() -> None:
    """Which writes them as they are at quality 50, along the zigzag, after a marker, a length and a number."""
    zigzag = sorted(np.ndindex(8, 8), key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]))
    data, found = jpeg(picture(), 50), []
    while len(found) < 2:
        first = data.index(b"\xff\xdb") + 5
        found.append([int(n) for n in data[first : first + 64]])
        data = data[first:]
    assert found == [[table[row][column] for row, column in zigzag] for table in (LUMA, CHROMA)]


@pytest.mark.parametrize("quality", [95, 75, 50, 30, 10])
@pytest.mark.parametrize("size", [64, 128])
def test_compression_is_like_opencv_s_jpeg(quality: int, size: int) -> None:
    image = picture(size)
    theirs = cv2.imdecode(np.frombuffer(jpeg(image, quality), np.uint8), cv2.IMREAD_COLOR)
    ours = bgr(compress(image, torch.tensor([1 - quality / 100])))
    assert cv2.PSNR(ours, theirs) > max(38, cv2.PSNR(bgr(image), theirs) + 5)


def test_blocks_begin_where_the_corner_says() -> None:
    image = picture()
    moved = compress(F.pad(image, (5, 0, 11, 0), mode="replicate"), torch.tensor([0.8]))[:, :, 11:, 5:]
    torch.testing.assert_close(compress(image, torch.tensor([0.8]), (11, 5)), moved, atol=1e-5, rtol=0)
    assert (moved - compress(image, torch.tensor([0.8]))).abs().mean() > 0.002


def test_about_the_named_share_is_degraded_and_never_the_truth(config: TrainConfig) -> None:
    images = crops(40)
    plain, changed = replace(config, **PLAIN), replace(config, blur=0.03, compress=0.8, degrade=0.5)
    before, after = (apply(images, draw(np.random.default_rng(0), 40, c), 64) for c in (plain, changed))
    assert torch.equal(before[1], after[1]) and torch.equal(before[2], after[2])
    same = (before[0] == after[0]).flatten(1).all(1)
    assert 10 < same.sum() < 30
    assert (steepness(after[0])[~same] < steepness(before[0])[~same]).all()
    still = draw(np.random.default_rng(0), 40, replace(changed, **{**STILL, "blur": 0.03, "compress": 0.8}))
    read, truth, _ = apply(images, still, 64)
    torch.testing.assert_close(truth, F.avg_pool2d(images[:, :3].float() / 255, 2), atol=1e-5, rtol=0)
    assert (read - truth).abs().mean() > 0.01


@pytest.mark.parametrize("off", [{"blur": 0.0, "compress": 0.0}, {"degrade": 0.0}])
def test_without_degradation_nothing_else_is_drawn_otherwise(config: TrainConfig, off: dict[str, float]) -> None:
    changes, plain = (draw(np.random.default_rng(0), 8, c) for c in (config, replace(config, **off)))
    for name in ("affine", "warp", "gain", "contrast"):
        assert torch.equal(getattr(changes, name), getattr(plain, name))
    read = torch.rand(8, 3, 64, 64)
    assert torch.equal(degrade(read.clone(), plain), read) and not torch.equal(degrade(read.clone(), changes), read)


@pytest.mark.parametrize("size", [64, 128])
def test_a_part_of_a_batch_gets_the_same(config: TrainConfig, size: int) -> None:
    images = crops(8, 2 * size)
    changes = draw(np.random.default_rng(0), 8, replace(config, size=size, flip="all"), Limits(0.02, 0.6))
    whole = apply(images, changes, size)
    for width in (1, 2, 5):
        rows = [slice(first, first + width) for first in range(0, 8, width)]
        parts = [apply(images[r], changes.part(r), size) for r in rows]
        for one, other in zip(whole, zip(*parts, strict=True), strict=True):
            assert torch.equal(one, torch.cat(other))


def test_limits_take_the_place_of_the_configuration_s(config: TrainConfig) -> None:
    random = np.random.default_rng
    assert torch.equal(draw(random(0), 50, config, Limits(0.0, 0.7)).blur, torch.ones(50, 1))
    own, twice = (draw(random(0), 50, config, x).compress for x in (None, Limits(0.0, 2 * config.compress)))
    torch.testing.assert_close(2 * own, twice)


def test_flip_auto_mirrors_half_of_those_that_it_may(config: TrainConfig) -> None:
    may = np.arange(400) % 4 > 0
    auto = replace(config, **STILL, flip="auto")
    mirrored = (draw(np.random.default_rng(0), 400, auto, may_flip=may).affine[:, 0, 0] < 0).numpy()
    assert not mirrored[~may].any() and 120 < mirrored.sum() < 180
    assert (draw(np.random.default_rng(0), 400, auto).affine[:, 0, 0] > 0).all()
    for flip, some in (("off", False), ("all", True)):
        changes = draw(np.random.default_rng(0), 400, replace(auto, flip=flip), may_flip=may)
        assert (changes.affine[:, 0, 0].numpy()[~may] < 0).any() == some
