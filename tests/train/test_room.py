"""Too little memory: what reports it, what is advised, and `--batch auto`. Memory is simulated."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from curate.errors import UsageError, WorkError
from train import room
from train import step as stepping
from train.config import TrainConfig, config_of
from train.fit import train
from train.health import is_memory
from train.memory import estimate
from train.room import fits, largest
from train.run import open_run, resumed_config
from train.state import precision_of, told_of_gpus

Pair = tuple[Path, Path]


def limited(monkeypatch: pytest.MonkeyPatch, most: int, message: str) -> list[int]:
    """Make losses of more than `most` faces fail; the numbers of faces that were tried."""
    honest, alive, tried = stepping.losses, [], []

    def losses(output: torch.Tensor, *args: Any) -> dict[str, torch.Tensor]:
        assert not [ref for ref in alive if ref() is not None], "an earlier pass that failed is still in memory"
        tried.append(len(output))
        if len(output) > most:
            alive.append(weakref.ref(output))
            raise RuntimeError(message)
        return honest(output, *args)

    monkeypatch.setattr(stepping, "losses", losses)
    return tried


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 20.00 MiB",
        "could not create a primitive",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8",
    ],
)
def test_memory_errors_of_all_libraries_are_known(message: str) -> None:
    assert is_memory(RuntimeError(message))


def test_other_errors_are_no_memory_errors() -> None:
    assert is_memory(MemoryError()) and not is_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize("most", [0, 1, 5, 6, 63])
def test_the_largest_that_fits(most: int) -> None:
    tried: list[int] = []

    def fitting(number: int) -> bool:
        tried.append(number)
        return number <= most

    assert largest(63, fitting) == most and len(tried) <= 6


@pytest.mark.parametrize(("passes", "advice"), [(1, "--accumulate 3"), (2, "--accumulate 3")])
def test_the_advice_is_the_largest_batch_and_comes_after_the_failed_pass_is_freed(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: int, advice: str
) -> None:
    limited(monkeypatch, 5, "could not create a primitive")
    with pytest.raises(WorkError, match=rf"5 would: use --batch 5, or {advice} to keep the batch"):
        train(replace(config, batch=12, accumulate=passes, adversarial_weight=0.1), *pair, tmp_path / "run")


def auto(free: int) -> Callable[[], Any]:
    class Memory:
        available = free

    return Memory


def test_auto_takes_what_fits_and_keeps_it(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = estimate(replace(config, batch=6)) / room.FREE
    monkeypatch.setattr(psutil, "virtual_memory", auto(int(wanted) + 1))
    train(replace(config, batch=0, steps=2), *pair, tmp_path / "run")
    assert open_run(tmp_path / "run").config.batch == 6
    monkeypatch.setattr(psutil, "virtual_memory", auto(2 * int(wanted)))
    train(replace(resumed_config(tmp_path / "run", steps=3), batch=0), *pair, tmp_path / "run", resume=True)
    assert open_run(tmp_path / "run").config.batch == 6
    monkeypatch.setattr(psutil, "virtual_memory", auto(0))
    with pytest.raises(WorkError, match="not even one face per side fits at 64 px"):
        train(replace(config, batch=0), *pair, tmp_path / "none")


def test_a_trial_changes_nothing(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replace(config, steps=2, save_every=1, adversarial_weight=0.1)
    train(one, *pair, tmp_path / "plain")
    honest = stepping.step

    def tries(training: Any) -> None:
        assert fits(training, 3)
        honest(training)

    monkeypatch.setattr("train.fit.step", tries)
    train(one, *pair, tmp_path / "tried")
    last = "checkpoints/step-2.safetensors"
    assert (tmp_path / "plain" / last).read_bytes() == (tmp_path / "tried" / last).read_bytes()


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_a_batch_is_a_number_or_auto(text: str) -> None:
    from curate.options import option_of

    parse = option_of(TrainConfig, "batch").parse
    assert parse is not None and parse("auto") == 0 and parse("12") == 12
    with pytest.raises(UsageError, match=f"--batch {text}"):
        parse(text)


def test_emulated_bf16_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch answers on Turing and Volta, where bf16 exists in emulation only."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    cuda = torch.device("cuda")
    assert precision_of(config_of("tiny"), cuda) == "fp32"
    assert precision_of(config_of("tiny", precision="bf16"), cuda) == "bf16"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert precision_of(config_of("tiny"), cuda) == "bf16"
    assert precision_of(config_of("tiny"), torch.device("cpu")) == "fp32"


def test_a_machine_with_several_gpus_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    cuda = torch.device("cuda")
    assert "torchrun --nproc-per-node 4 -m faceset train" in told_of_gpus(config_of("tiny"), cuda, 1)
    assert told_of_gpus(config_of("tiny"), cuda, 4) == told_of_gpus(config_of("tiny", device="cuda"), cuda, 1) == ""
    assert told_of_gpus(config_of("tiny"), torch.device("cpu"), 1) == ""


def test_an_estimate_leaves_no_tensor_behind() -> None:
    for drive in ("scores", "outlines"):
        config = config_of("tiny", drive=drive)
        estimate(config)
        before = _tensors()
        estimate(config)
        assert _tensors() <= before


def _tensors() -> int:
    gc.collect()
    return sum(issubclass(type(found), torch.Tensor) for found in gc.get_objects())
