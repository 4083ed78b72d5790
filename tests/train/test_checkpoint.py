from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from curate.errors import WorkError
from train import checkpoint


def write(folder: Path, *steps: int, keep: int = 3) -> None:
    for step in steps:
        checkpoint.write(folder, step, {"model.w": torch.full((3,), float(step))}, {"seconds": 1.5}, keep)


def test_there_and_back_with_the_last_few_kept(tmp_path: Path) -> None:
    write(tmp_path, 5, 20, 100, keep=2)
    assert sorted(p.name for p in tmp_path.glob("*.json")) == ["step-100.json", "step-20.json"]
    last = checkpoint.newest(tmp_path)
    assert last is not None and last.step == 100 and last.facts["seconds"] == 1.5
    assert last.part("model")["w"].tolist() == [100.0] * 3
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("damage", ["cut", "flip", "no json", "half json", "empty"])
def test_a_damaged_one_is_refused_with_a_word(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, 1, 2)
    tensors, facts = tmp_path / "step-2.safetensors", tmp_path / "step-2.json"
    data = bytearray(tensors.read_bytes())
    if damage == "cut":
        tensors.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        data[-1] ^= 1
        tensors.write_bytes(data)
    elif damage == "empty":
        tensors.write_bytes(b"")
    elif damage == "no json":
        facts.unlink()
    else:
        facts.write_text(facts.read_text()[:20])
    with pytest.raises(WorkError, match=r"checkpoint .*step-2.safetensors is damaged"):
        checkpoint.read(tensors)
    with caplog.at_level(logging.WARNING):
        found = checkpoint.newest(tmp_path)
    assert found is not None and found.step == 1
    assert "using the previous checkpoint" in caplog.text


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "nothing") is None


def test_the_optimizer_resumes_as_it_was() -> None:
    def model() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs
        return net, torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)

    def step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        net(torch.ones(1, 3, 5, 5)).square().sum().backward()
        optimizer.step()

    one, first = model()
    for _ in range(3):
        step(one, first)
    saved = {k: v.clone() for k, v in checkpoint.optimizer_tensors(one, first)}
    assert {k.rpartition(".")[2] for k in saved} == {"step", "exp_avg", "exp_avg_sq"}
    two, second = model()
    two.load_state_dict(one.state_dict())
    checkpoint.restore_optimizer(two, second, saved)
    step(one, first)
    step(two, second)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
