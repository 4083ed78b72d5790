"""A step waits for nothing: it makes one copy to the device and reads no value back.

Counted without a GPU. On the CPU, what would make a GPU wait is an operation that gives Python a value or a shape that
depends on values; on torch's `meta` device, which computes nothing, every copy from the CPU is seen as one.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from curate.dataset.faceset import open_faceset
from train.config import TrainConfig
from train.start import load
from train.state import Training, make_accelerator, setup
from train.step import step

READS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique_dim", "_unique2", "item"}
MADE = {"lift_fresh", "lift"}
"""How numbers of Python become a tensor, which a GPU would have to be sent."""
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scores": {"drive": "scores", "modulation": True},
    "outlines": {"drive": "outlines"},
    "accumulated": {"batch": 4, "accumulate": 2},
    "adversary": {"adversarial_weight": 0.1, "perceptual_weight": 0.1, "ssim_windows": "two"},
    "liae": {"arch": "liae", "flip": "all"},
    "grown": {"size": 128, "grown": 1, "drive": "outlines"},
}


class Watched(TorchDispatchMode):
    """Counts of the operations that make a device wait, and of the copies to it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.copies: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        out = func(*args, **(kwargs or {}))
        if name in READS | MADE:
            self.reads[name] += 1
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if name in ("_to_copy", "copy_") and {"cpu", "meta"} <= {x.device.type for x in (*given, out)}:
            self.copies.append(given[-1].nbytes)
        return out


def training_of(pair: tuple[Path, Path], config: TrainConfig, cache: Path, accelerator: Accelerator) -> Training:
    facesets = dict(zip(("source", "target"), map(open_faceset, pair), strict=True))
    training = setup(config, accelerator, load(facesets, config, cache, accelerator, lambda *_: None))
    training.read_every = 1000
    return training


def watched(training: Training) -> Watched:
    """One step, after two that fill caches."""
    step(training)
    step(training)
    with Watched() as watch:
        step(training)
    return watch


def changed(config: TrainConfig, kind: str) -> TrainConfig:
    often = {"log_every": 1000, "save_every": 1000, "steps": 1000, "degrade": 1.0, "drive": "picture"}
    return replace(config, **{**often, **KINDS[kind]})


@pytest.mark.parametrize("kind", [*KINDS, "fp16"])
def test_a_step_reads_no_value(pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path, kind: str) -> None:
    config = changed(config, kind if kind in KINDS else "plain")
    accelerator = make_accelerator(config)
    training = training_of(pair, config, tmp_path, accelerator)
    if kind == "fp16":
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        training.prepared.scaler = accelerator.scaler
        training.prepared.__setstate__(training.prepared.__dict__)
    before = [p.clone() for p in training.model.parameters()]
    assert watched(training).reads == {}
    assert any(not torch.equal(a, b) for a, b in zip(before, training.model.parameters(), strict=True))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, config: TrainConfig) -> Iterator[Accelerator]:
    """A handle on a device that is not the CPU: `meta`, with the fused optimisers that CUDA has."""
    accelerator = make_accelerator(config)
    for state in (AcceleratorState, PartialState):
        monkeypatch.setitem(state._shared_state, "device", torch.device("meta"))
    monkeypatch.setattr(sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: ["meta"])
    yield accelerator


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_copies_once_to_the_device(
    pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path, elsewhere: Accelerator, kind: str
) -> None:
    training = training_of(pair, changed(config, kind), tmp_path, elsewhere)
    found = watched(training)
    pixels = training.feed.get(3)["source"].crops.nbytes * 2
    assert len(found.copies) == 1 and found.reads == {}
    assert pixels < found.copies[0] < pixels + 20_000
    training.feed.close()


def test_the_watch_sees_what_would_wait() -> None:
    with Watched() as watch:
        (torch.ones(3) > 0).nonzero()
        torch.ones(2).sum().item()
        torch.tensor([1.0])
    assert watch.reads == {"nonzero": 1, "_local_scalar_dense": 1, "lift_fresh": 1}
    with Watched() as watch:
        torch.ones(3).to("meta")
    assert watch.copies == [12]
    with pytest.raises((RuntimeError, NotImplementedError)):  # what the CPU would not show
        torch.ones(3, device="meta").tolist()
