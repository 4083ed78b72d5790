from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from train.config import PRESETS, TrainConfig
from train.model import Decoder, Swap, Upsample, build, layout, parameter_counts, picture


@pytest.mark.parametrize("size", [64, 128, 256])
def test_shapes(config: TrainConfig, size: int) -> None:
    model = build(replace(config, size=size))
    crops = torch.rand(2, 3, size, size)
    source, target = model(crops, crops[:1])
    assert source.shape == (2, 4, size, size) and target.shape == (1, 4, size, size)
    rgb, mask = picture(model.through(crops, "target"))
    assert rgb.shape == (2, 3, size, size) and mask.shape == (2, 1, size, size)
    assert rgb.min() >= 0 and rgb.max() <= 1 and mask.min() >= 0 and mask.max() <= 1


def test_smallest_map() -> None:
    assert [layout(s) for s in (64, 128, 256, 512)] == [(4, 4), (4, 5), (8, 5), (16, 5)]


@pytest.mark.parametrize(("preset", "low", "high"), [("tiny", 3e6, 6e6), ("small", 15e6, 40e6), ("full", 60e6, 150e6)])
def test_parameter_counts(preset: str, low: float, high: float) -> None:
    with torch.device("meta"):
        model = Swap(PRESETS[preset])
    counts = parameter_counts(model)
    assert low < counts["all"] < high
    assert counts["source"] == counts["target"]
    assert counts["all"] == sum(p.numel() for p in model.parameters())


def test_sides_share_the_encoder_only(config: TrainConfig) -> None:
    model = build(config)
    crops = torch.rand(1, 3, 64, 64)
    assert not torch.equal(model.through(crops, "source"), model.through(crops, "target"))
    model.through(crops, "source").sum().backward()
    assert all(p.grad is None for p in model.target.parameters())
    assert all(p.grad is not None for p in (*model.encoder.parameters(), *model.source.parameters()))


def test_the_seed_decides_and_the_callers_numbers_go_on(config: TrainConfig) -> None:
    state = torch.get_rng_state()
    one, two, other = build(config), build(config), build(replace(config, seed=1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.encoder.squeeze.weight, other.encoder.squeeze.weight)


def checkerboard(decoder: nn.Module, config: TrainConfig) -> float:
    """Energy at a period of 2 pixels over that at 2.5, across, down and both, of pictures from random features."""
    base, doublings = layout(config.size)
    channels = config.decoder_width * min(2 ** (doublings - 1), 8)
    noise = torch.randn(64, channels, base, base, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        image: Tensor = decoder(noise)[:, :3, 12:-12, 12:-12]  # away from the zeros beyond the edge
    window = torch.hann_window(image.shape[-1])
    flat = (image - image.mean((2, 3), keepdim=True)) * window * window[:, None]
    energy = torch.fft.fft2(flat).abs().square().mean((0, 1))
    top, below = image.shape[-1] // 2, round(image.shape[-1] / 2.5)

    def at(f: int) -> Tensor:
        return energy[f, 0] + energy[0, f] + energy[f, f]

    return float(at(top) / at(below))


def test_no_checkerboard_at_the_start(config: TrainConfig) -> None:
    wide = replace(config, decoder_width=16)
    torch.manual_seed(0)
    decoder = Decoder(wide)
    assert checkerboard(decoder, wide) < 1
    for block in decoder.modules():
        if isinstance(block, Upsample):
            nn.init.kaiming_normal_(block.expand.weight)
    assert checkerboard(decoder, wide) > 3
