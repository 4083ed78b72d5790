from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from train.adversary import Adversary, Patches, make
from train.checkpoint import write_tensors
from train.config import TrainConfig

CPU = torch.device("cpu")


def of(config: TrainConfig, seed: int = 0) -> Adversary:
    made = make(replace(config, adversarial_weight=0.1, seed=seed), CPU)
    assert made is not None
    return made


def pictures(seed: int, count: int = 4) -> Tensor:
    """(count, 3, 64, 64): soft blobs."""
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=64, mode="bicubic").clamp(0, 1)


def noise(seed: int, count: int = 4) -> Tensor:
    """(count, 4, 64, 64): what no decoder should draw."""
    return torch.rand(count, 4, 64, 64, generator=torch.Generator().manual_seed(1000 + seed))


def work(adversary: Adversary, steps: range) -> list[float]:
    """The sums of both sides' losses."""
    curve = []
    for i in steps:
        losses = adversary.learn((noise(i), noise(500 + i)), (pictures(i), pictures(500 + i)))
        adversary.step()
        curve.append(float(losses["source"] + losses["target"]))
    return curve


def test_without_a_weight_there_is_none(config: TrainConfig) -> None:
    assert make(config, CPU) is None


@pytest.mark.parametrize(("size", "verdicts", "patch"), [(64, 14, 34), (128, 14, 70), (256, 30, 70), (512, 62, 70)])
def test_a_verdict_for_each_patch(config: TrainConfig, size: int, verdicts: int, patch: int) -> None:
    network = Patches(replace(config, size=size)).eval()
    picture = torch.rand(1, 3, size, size, requires_grad=True)
    given = network(picture)
    assert given.shape == (1, 1, verdicts, verdicts)
    given[0, 0, verdicts // 2, verdicts // 2].backward()
    assert picture.grad is not None
    seen = picture.grad.abs().sum((0, 1, 2)).nonzero()
    assert int(seen.max() - seen.min()) + 1 == min(patch, size)


def test_the_seed_decides_and_the_callers_numbers_go_on(config: TrainConfig) -> None:
    state = torch.get_rng_state()
    one, two, other = of(config), of(config), of(config, seed=1)
    work(one, range(1))
    work(two, range(1))
    one.generator_term((noise(0), noise(1)))
    assert torch.equal(torch.get_rng_state(), state)
    first, second, third = one.tensors(), two.tensors(), other.tensors()
    assert all(torch.equal(v, second[k]) for k, v in first.items())
    name = "network.source.body.0.parametrizations.weight.original"
    assert not torch.equal(first[name], third[name])
    assert not torch.equal(first[name], first[name.replace("source", "target")])


def test_it_learns_to_tell_noise_from_pictures(config: TrainConfig) -> None:
    adversary = of(config)
    curve = work(adversary, range(150))
    assert 3.5 < curve[0] < 4.5  # each side at chance: 2
    assert curve[-1] < 1
    drawn, smooth = noise(9999), pictures(9999)
    assert adversary.generator_term((drawn, drawn)) > adversary.generator_term((smooth, smooth)) + 2


def test_no_layer_stretches_by_more_than_one(config: TrainConfig) -> None:
    adversary = of(config)
    work(adversary, range(20))
    for layer in adversary.networks.modules():
        if isinstance(layer, torch.nn.Conv2d):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_the_gradient_reaches_the_colours_of_both_sides_and_nothing_else(config: TrainConfig) -> None:
    adversary = of(config)
    work(adversary, range(30))
    before = {k: v.clone() for k, v in adversary.tensors().items()}
    for parameter in adversary.networks.parameters():
        parameter.grad = None
    outputs = noise(0).requires_grad_(), noise(1).requires_grad_()
    term = adversary.generator_term(outputs)
    term.backward()
    for output in outputs:
        assert output.grad is not None
        assert (output.grad[:, :3].abs().sum((1, 2, 3)) > 0).all() and output.grad[:, 3].abs().sum() == 0
    assert all(p.grad is None for p in adversary.networks.parameters())
    assert all(torch.equal(v, before[k]) for k, v in adversary.tensors().items())
    with torch.no_grad():
        better = tuple(o - 0.1 * o.grad / o.grad.abs().max() for o in outputs if o.grad is not None)
    assert adversary.generator_term((better[0], better[1])) < term


def test_a_step_leaves_the_generator_alone(config: TrainConfig) -> None:
    outputs = noise(0).requires_grad_(), noise(1).requires_grad_()
    adversary = of(config)
    given = adversary.learn(outputs, (pictures(0), pictures(1)))
    adversary.step()
    assert outputs[0].grad is None and outputs[1].grad is None
    assert set(given) == {"source", "target"} and not any(v.requires_grad for v in given.values())


def test_each_side_has_its_own(config: TrainConfig) -> None:
    one, other = of(config), of(config)
    one.learn((noise(0), noise(1)), (pictures(0), pictures(1)))
    other.learn((noise(0), noise(2)), (pictures(0), pictures(2)))
    one.step()
    other.step()
    first, second = one.tensors(), other.tensors()
    same = {name: torch.equal(first[name], second[name]) for name in first if name.endswith("original")}
    assert all(equal == (".source." in name) for name, equal in same.items())


def test_restored_it_resumes_bit_for_bit(config: TrainConfig, tmp_path: Path) -> None:
    whole, stopped = of(config), of(config)
    work(whole, range(5))
    work(stopped, range(3))
    write_tensors(tmp_path / "a.safetensors", stopped.tensors())
    again = of(config, seed=1)
    again.restore(load_file(tmp_path / "a.safetensors"))
    work(again, range(3, 5))
    first, second = whole.tensors(), again.tensors()
    assert set(first) == set(second) and all(torch.equal(v, second[k]) for k, v in first.items())
    assert any(name.endswith("exp_avg_sq") for name in first)
    assert all(int(v) == 5 for k, v in second.items() if k.endswith(".step"))
    outputs = noise(7), noise(8)
    assert torch.equal(whole.generator_term(outputs), again.generator_term(outputs))


def test_discriminators_of_another_shape_are_refused(config: TrainConfig) -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        of(config).restore(of(replace(config, encoder_width=8)).tensors())


def test_passes_and_processes_come_to_the_same(config: TrainConfig) -> None:
    """Two passes are two processes, bit for bit, and but for rounding one pass with all faces."""
    drawn, truth = (noise(0), noise(1)), (pictures(0), pictures(1))
    first, second, whole = slice(0, 2), slice(2, 4), slice(0, 4)

    def learnt(*rows: slice, share: float = 1.0) -> Adversary:
        made = of(config)
        work(made, range(2))
        for r in rows:
            made.learn([d[r] for d in drawn], [t[r] for t in truth], share)
        return made

    sent: list[Tensor] = []

    def send(mine: Tensor) -> Tensor:
        sent.append(mine)
        return mine

    for half in (first, second):
        learnt(half).step(send)
    passes, processes, one = learnt(first, second, share=0.5), learnt(first), learnt(whole)
    passes.step()
    processes.step(lambda mine: (sent[0] + sent[1]) / 2)
    one.step()
    for name, value in passes.tensors().items():
        assert torch.equal(value, processes.tensors()[name])
        if name.endswith("exp_avg"):
            torch.testing.assert_close(value, one.tensors()[name], rtol=1e-3, atol=1e-6)


def test_a_forgotten_pass_leaves_nothing(config: TrainConfig) -> None:
    one, other = of(config), of(config)
    work(one, range(2))
    work(other, range(1))
    other.learn((noise(7) * float("nan"), noise(8)), (pictures(7), pictures(8)))
    other.forget()
    work(other, range(1, 2))
    assert all(torch.equal(v, other.tensors()[k]) for k, v in one.tensors().items())
