"""What one training step does, counted without a GPU: kernels, operations, bytes, copies; and what they bound on GPUs.

    python -m benchmarks.train_counts [--presets tiny small ...]

A whole step of the trainer runs on torch's `meta` device, which computes nothing, under a mode that sees every
operation: kernels are operations that are no views (a fused or grouped one counts once, so it is a lower bound), bytes
are what they read and write in float32, copies are tensors that go from the CPU to the device, reads are values that
come back. A step cannot be quicker than any of: operations over the peak of the matrix units, bytes over the
bandwidth (half of the bytes, as if all were bf16), kernels times the time of a launch. The peaks are those of the
vendor's data sheets, dense, with 16-bit inputs.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import replace
from typing import Any

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import train_speed
from train.config import PRESETS, TrainConfig
from train.memory import estimate
from train.model import SIDES, parameter_counts
from train.state import make_accelerator, setup
from train.step import step

DEVICES = {"H200": (989e12, 4.8e12), "RTX 4090": (165e12, 1.01e12), "T4": (65e12, 0.32e12)}
"""Operations per second with 16-bit inputs and float32 sums, and bytes per second."""
LAUNCH = 4e-6
"""Seconds from one kernel's launch to the next, as PyTorch launches them: an order of magnitude, not measured here."""
READS = ("_local_scalar_dense", "nonzero", "masked_select", "item")


class Counted(TorchDispatchMode):
    """Counts of operations."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.bytes = self.copies = self.copied = self.reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given, made = ([x for x in tree_leaves(t) if isinstance(x, torch.Tensor)] for t in ((args, kwargs), out))
        name = func.overloadpacket.__name__
        self.reads += name in READS
        if {"cpu", "meta"} <= {x.device.type for x in (*given, *made)}:
            self.copies += 1
            self.copied += sum(x.nbytes for x in made)
        elif not func.is_view and name not in ("empty", "detach", "_unsafe_view", "empty_like", "new_empty_strided"):
            self.kernels += 1
            self.bytes += sum(x.nbytes for x in (*given, *made))
        return out


def counts(config: TrainConfig) -> dict[str, float]:
    """Counts of one step, after two that fill caches."""
    config = replace(config, device="cpu", identity=0, save_every=10**6, log_every=10**6, preview_every=0)
    accelerator = make_accelerator(config)
    for state in (AcceleratorState, PartialState):
        state._shared_state["device"] = torch.device("meta")
    sys.modules["torch.optim.optimizer"]._get_fused_kernels_supported_devices = lambda: ["meta"]  # type: ignore[attr-defined]
    training = setup(config, accelerator, {name: train_speed.side(name, config) for name in SIDES})
    training.read_every = 10**6
    step(training)
    step(training)
    flops = FlopCounterMode(display=False)
    with flops, Counted() as seen:
        step(training)
    training.feed.close()
    AcceleratorState._reset_state(True)
    return {
        "parameters": parameter_counts(training.model)["all"], "flops": flops.get_total_flops(), "bytes": seen.bytes,
        "kernels": seen.kernels, "copies": seen.copies, "copied": seen.copied, "reads": seen.reads,
        "memory": estimate(config),
    }  # fmt: skip


def bounds(found: dict[str, float]) -> dict[str, dict[str, float]]:
    """Least milliseconds per step on each device, by what bounds them; `bytes` with half of them, as in bf16."""
    return {
        name: {"flops": 1e3 * found["flops"] / peak, "bytes": 1e3 * found["bytes"] / 2 / rate,
               "launches": 1e3 * found["kernels"] * LAUNCH}
        for name, (peak, rate) in DEVICES.items()
    }  # fmt: skip


def main() -> None:
    """Print one table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=list(PRESETS), choices=list(PRESETS))
    options = parser.parse_args()
    logging.getLogger("train").setLevel(logging.ERROR)
    train_speed.FACES = 16
    result: dict[str, Any] = {}
    heads = ("M", "GB", "TFLOP", "GB moved", "kernels", "copies", "MB", "reads")
    print(f"{'preset':8}{'px':>5}" + "".join(f"{head:>9}" for head in heads))
    for name in options.presets:
        found = counts(PRESETS[name])
        result[name] = found | {"bounds": bounds(found)}
        scales = {
            "parameters": 1e6,
            "memory": 1e9,
            "flops": 1e12,
            "bytes": 1e9,
            "kernels": 1,
            "copies": 1,
            "copied": 1e6,
        }
        values = [found[key] / scale for key, scale in scales.items()] + [found["reads"]]
        print(f"{name:8}{PRESETS[name].size:5}" + "".join(f"{value:9.4g}" for value in values), flush=True)
    print(f"\n{'least ms per step':20}{'operations':>11}{'bytes':>8}{'launches':>10}  bound by  images/s at most")
    for name, found in result.items():
        for device, each in found["bounds"].items():
            most = max(each, key=each.__getitem__)
            rate = 2 * PRESETS[name].batch / each[most] * 1e3
            figures = f"{each['flops']:11.2f}{each['bytes']:8.2f}{each['launches']:10.2f}"
            print(f"{name:8}{device:12}{figures}  {most:9} {rate:9.0f}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
