from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from curate.errors import UsageError
from curate.options import option_of
from train.config import PRESETS, TrainConfig, same_encoder
from train.drive import NAMES
from train.layers import SLOPE, Upsample, layout
from train.model import Decoder, Df, Liae, Swap, build, parameter_counts, picture
from train.outlines import MAPS

ARCHES = option_of(TrainConfig, "arch").choices


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_shapes(config: TrainConfig, size: int, arch: str) -> None:
    model = build(replace(config, size=size, arch=arch))
    crops = torch.rand(2, 3, size, size)
    source, target = model(crops, crops[:1])
    assert source.shape == (2, 4, size, size) and target.shape == (1, 4, size, size)
    rgb, mask = picture(model.through(crops, "target"))
    assert rgb.shape == (2, 3, size, size) and mask.shape == (2, 1, size, size)
    assert rgb.min() >= 0 and rgb.max() <= 1 and mask.min() >= 0 and mask.max() <= 1


def test_smallest_map() -> None:
    assert [layout(s) for s in (64, 128, 256, 512)] == [(4, 4), (4, 5), (8, 5), (16, 5)]


def test_what_a_face_comes_to_does_not_depend_on_the_others(config: TrainConfig) -> None:
    for arch in ARCHES:
        model, crops = build(replace(config, arch=arch)), torch.rand(3, 3, 64, 64)
        source, target = model(crops, crops)
        torch.testing.assert_close(source[2:], model.through(crops[2:], "source"))
        torch.testing.assert_close(target[:1], model.through(crops[:1], "target"))


@pytest.mark.parametrize(("preset", "low", "high"), [("tiny", 3e6, 6e6), ("small", 15e6, 40e6), ("full", 60e6, 150e6)])
def test_parameter_counts(preset: str, low: float, high: float) -> None:
    with torch.device("meta"):
        model = Df(PRESETS[preset])
    counts = parameter_counts(model)
    assert low < counts["all"] < high
    assert counts["source"] == counts["target"]
    assert counts["all"] == sum(p.numel() for p in model.parameters())
    assert counts["all"] == counts["encoder"] + counts["source"] + counts["target"]


def test_parameter_counts_of_liae_count_what_is_shared_once_in_all() -> None:
    with torch.device("meta"):
        model = Liae(PRESETS["small"])
    counts = parameter_counts(model)
    own = sum(p.numel() for p in model.inter_b.parameters())
    assert counts["target"] == counts["source"] + own
    assert counts["all"] == counts["encoder"] + counts["target"] == sum(p.numel() for p in model.parameters())


def test_sides_share_the_encoder_only(config: TrainConfig) -> None:
    model = build(config)
    assert isinstance(model, Df)
    crops, maps = torch.rand(1, 3, 64, 64), torch.rand(1, len(MAPS), 64, 64)
    assert not torch.equal(model.through(crops, "source", maps), model.through(crops, "target", maps))
    model.through(crops, "source", maps).sum().backward()
    assert all(p.grad is None for p in model.target.parameters())
    assert all(p.grad is not None for p in (*model.encoder.parameters(), *model.source.parameters()))


def changed_by(model: Swap, side: str, acts: Tensor | None = None) -> set[str]:
    """Names of the children of which every parameter is another after a step on one side; the rest are as before."""
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.through(torch.rand(2, 3, 64, 64), side, acts).square().sum().backward()
    optimizer.step()
    same = {k: torch.equal(v, before[k]) for k, v in model.state_dict().items()}
    names = {name: {s for k, s in same.items() if k.startswith(name + ".")} for name, _ in model.named_children()}
    assert all(len(states) == 1 for states in names.values())
    return {name for name, states in names.items() if states == {False}}


def test_a_step_on_the_source_leaves_what_is_the_targets(config: TrainConfig) -> None:
    liae, maps = replace(config, arch="liae"), torch.rand(2, len(MAPS), 64, 64)
    assert changed_by(build(config), "source", maps) == {"encoder", "source"}
    assert changed_by(build(liae), "source", maps) == {"encoder", "inter_ab", "decoder"}
    assert changed_by(build(liae), "target", maps) == {"encoder", "inter_ab", "inter_b", "decoder"}
    df, liae = replace(config, drive="scores"), replace(liae, drive="scores")
    assert changed_by(build(df), "source") == {"encoder", "performance", "source"}
    assert changed_by(build(liae), "target") == {"encoder", "performance", "inter_ab", "inter_b", "decoder"}


def test_the_swap_of_liae_is_the_targets_crop_without_the_targets_code(config: TrainConfig) -> None:
    model = build(replace(config, arch="liae"))
    assert isinstance(model, Liae)
    crops = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        swap, own = model.through(crops, "source"), model.through(crops, "target")
        code, _, performed, seen, _ = model.encode(crops)
        shared = model.inter_ab(code, performed, seen)
        assert torch.equal(swap, model.decoder(torch.cat([shared, shared], 1)))
        for parameter in model.inter_b.parameters():
            parameter.zero_()
        assert torch.equal(swap, model.through(crops, "source"))
        assert torch.equal(model.through(crops, "target"), model.decoder(torch.cat([0 * shared, shared], 1)))
        assert not torch.equal(swap, own)


@pytest.mark.parametrize("arch", ARCHES)
def test_an_encoder_fits_another_run_of_the_same_shape(config: TrainConfig, arch: str) -> None:
    config = replace(config, drive="scores")
    one, other = replace(config, arch=arch), replace(config, arch=arch, seed=1, residuals=1)
    assert same_encoder(one, other) and not same_encoder(one, replace(one, drive="outlines"))
    assert same_encoder(replace(one, drive="picture"), replace(one, drive="outlines"))
    assert not same_encoder(one, replace(one, arch="df" if arch == "liae" else "liae"))
    first, second = build(one), build(other)
    crops = torch.rand(1, 3, 64, 64)
    assert not torch.equal(first.encode(crops).code, second.encode(crops).code)
    second.encoder.load_state_dict(first.encoder.state_dict())
    assert first.performance is not None and second.performance is not None
    second.performance.load_state_dict(first.performance.state_dict())
    assert torch.equal(first.encode(crops).code, second.encode(crops).code)


def conv(inputs: int, out: int, kernel: int, stride: int = 1, gain: float = 1.0, same: int = 1) -> list[Tensor]:
    """Weight and bias as `build` drew them when df was the only architecture; `same` outputs share their weights."""
    layer = nn.Conv2d(inputs, out, kernel, stride)
    weight = torch.empty(out // same, inputs, kernel, kernel)
    nn.init.kaiming_normal_(weight, a=SLOPE)
    return [(weight * gain).repeat_interleave(same, 0), 0 * layer.bias.detach()]


def df_as_it_was(config: TrainConfig) -> list[Tensor]:
    """Initial values in the order of construction, of a network without residual blocks."""
    torch.manual_seed(config.seed)
    base, halvings = layout(config.size)
    wide = [min(2**level, 8) for level in range(halvings)]
    inputs, values = [3, *(config.encoder_width * w for w in wide)], []
    shapes = [(a, b, 5 if i == 0 else 3) for i, (a, b) in enumerate(pairwise(inputs))]
    layers = [nn.Conv2d(*shape) for shape in shapes]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, a=SLOPE)
        values += [layer.weight.detach(), 0 * layer.bias.detach()]
    cells, out = base * base, config.decoder_width * wide[-1]
    squeeze, expand = nn.Linear(inputs[-1] * cells, config.latent), nn.Linear(config.latent, out * cells)
    nn.init.normal_(squeeze.weight, std=(inputs[-1] * cells) ** -0.5)
    nn.init.kaiming_normal_(expand.weight, a=SLOPE)
    values += [squeeze.weight, squeeze.bias, expand.weight, expand.bias]
    for _ in ("source", "target"):
        outs = [config.decoder_width * w for w in reversed(wide)]
        for a, b in zip(outs, [*outs[1:], max(config.decoder_width // 2, 4)], strict=True):
            values += conv(a, 4 * b, 3, same=4)
        weight, bias = conv(max(config.decoder_width // 2, 4), 4, 3, gain=0.1)
        values += [weight, bias + torch.tensor([0.5, 0.5, 0.5, 0])]
    return values


@pytest.mark.parametrize("seed", [0, 7])
def test_df_is_bit_for_bit_what_it_was_before_there_was_liae(config: TrainConfig, seed: int) -> None:
    state = build(replace(config, seed=seed, drive="picture")).state_dict()
    with torch.random.fork_rng(devices=[]):
        then = df_as_it_was(replace(config, seed=seed))
    assert all(torch.equal(a, b) for a, b in zip(state.values(), then, strict=True))
    layers = [f"encoder.{name}" for name in ("body.0", "body.2", "body.4", "body.6", "squeeze", "expand")]
    for side in ("source", "target"):
        layers += [f"{side}.body.{i}.expand" for i in range(4)] + [f"{side}.head"]
    assert list(state) == [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]


@pytest.mark.parametrize("arch", ARCHES)
def test_scores_move_what_is_drawn_and_the_picture_can_be_hidden(config: TrainConfig, arch: str) -> None:
    model, crops = build(replace(config, drive="scores", arch=arch, modulation=True)), torch.rand(4, 3, 64, 64)
    scores, none, all_seen = torch.randn(4, len(NAMES)), torch.zeros(4, 1), torch.ones(4, 1)
    still, _ = model(crops[:2], crops[2:], torch.zeros(4, len(NAMES)), all_seen)
    moved, _ = model(crops[:2], crops[2:], scores, all_seen)
    assert not torch.equal(still, moved)
    torch.testing.assert_close(still, model.through(crops[:2], "source"))  # unknown scores count as 0
    one, _ = model(crops[:2], crops[2:], scores, none)
    other, _ = model(crops[:2] * 0.5, crops[2:], scores, none)
    assert torch.equal(one, other)


def test_the_picture_alone_draws_as_if_there_were_no_scores(config: TrainConfig) -> None:
    model, crops = build(replace(config, drive="picture")), torch.rand(2, 3, 64, 64)
    assert model.performance is None
    assert torch.equal(model.through(crops, "source"), model.through(crops, "source", torch.randn(2, len(NAMES))))


@pytest.mark.parametrize("arch", ARCHES)
def test_the_seed_decides_and_the_callers_numbers_go_on(config: TrainConfig, arch: str) -> None:
    config = replace(config, arch=arch)
    state = torch.get_rng_state()
    one, two, other = build(config), build(config), build(replace(config, seed=1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def checkerboard(decoder: nn.Module, config: TrainConfig, codes: int) -> float:
    """Energy at a period of 2 pixels over that at 2.5, across, down and both, of pictures from random features."""
    base, doublings = layout(config.size)
    channels = config.decoder_width * min(2 ** (doublings - 1), 8)
    noise = torch.randn(64, codes * channels, base, base, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        image: Tensor = decoder(noise)[:, :3, 12:-12, 12:-12]  # away from the zeros beyond the edge
    window = torch.hann_window(image.shape[-1])
    flat = (image - image.mean((2, 3), keepdim=True)) * window * window[:, None]
    energy = torch.fft.fft2(flat).abs().square().mean((0, 1))
    top, below = image.shape[-1] // 2, round(image.shape[-1] / 2.5)

    def at(f: int) -> Tensor:
        return energy[f, 0] + energy[0, f] + energy[f, f]

    return float(at(top) / at(below))


@pytest.mark.parametrize("codes", [1, 2])
def test_no_checkerboard_at_the_start(config: TrainConfig, codes: int) -> None:
    wide = replace(config, decoder_width=16)
    torch.manual_seed(0)
    decoder = Decoder(wide, codes)
    assert checkerboard(decoder, wide, codes) < 1
    for block in decoder.modules():
        if isinstance(block, Upsample):
            nn.init.kaiming_normal_(block.expand.weight)
    assert checkerboard(decoder, wide, codes) > 3


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_draws_its_size(preset: str) -> None:
    with torch.device("meta"):
        crops = torch.empty(2, 3, PRESETS[preset].size, PRESETS[preset].size)
        model = build(PRESETS[preset])
        drawn = model(crops, crops)
    assert [tuple(d.shape) for d in drawn] == [(2, 4, *crops.shape[2:])] * 2


def test_shuffled_heads_start_with_flat_pixels_and_learn(config: TrainConfig) -> None:
    shuffled = replace(config, head="shuffle", size=64, base=8, drive="picture")
    model = build(shuffled)
    assert model.encode(torch.rand(1, 3, 64, 64)).code.shape[2:] == (8, 8)
    drawn = model.through(torch.rand(1, 3, 64, 64), "source")
    pairs = drawn.unfold(2, 2, 2).unfold(3, 2, 2)
    assert drawn.shape == (1, 4, 64, 64) and torch.allclose(pairs, pairs[..., :1, :1].expand_as(pairs))
    drawn.sum().backward()
    weight = model.parts("source")[0].head.weight
    assert weight.grad is not None and weight.grad.abs().sum() > 0


def test_a_base_must_fit_the_size(config: TrainConfig) -> None:
    with pytest.raises(UsageError, match="--base 12: --size 64 must be the base times a power of 2"):
        replace(config, base=12)


def test_the_shapes_of_a_network_are_known_without_its_values_and_without_torchs_compiler() -> None:
    code = (
        "import sys; from train.config import TrainConfig; from train.model import blank, build\n"
        "for arch in ('df', 'liae'):\n"
        "    config = TrainConfig(size=64, encoder_width=8, decoder_width=8, latent=32, arch=arch)\n"
        "    shapes = [{k: v.shape for k, v in make(config).state_dict().items()} for make in (blank, build)]\n"
        "    assert shapes[0] == shapes[1] and next(blank(config).parameters()).is_meta\n"
        "assert 'torch._dynamo.symbolic_convert' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
