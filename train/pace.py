"""Pace of a training on this machine, before it starts: a step measured on random pictures."""

from __future__ import annotations

import time

import torch

from train.config import TrainConfig
from train.loss import losses
from train.model import blank, build
from train.run import resolve_device

ROWS = 4
"""Pictures per side of the measured step; a whole batch takes proportionally longer."""
EXTRA = 1.15
"""A real step also draws and degrades its pictures: 1.1 to 1.2 of this one's time (`tiny` and `small`, 2 cores)."""


def parameters(config: TrainConfig) -> int:
    """Number of parameters of the network that would be trained; nothing of its size is allocated."""
    return sum(p.numel() for p in blank(config).parameters())


def seconds_per_step(config: TrainConfig, steps: int = 2) -> float:
    """Seconds per training step on this machine, in one process: the quickest of `steps`, after one to warm up."""
    device = resolve_device(config.device)
    model = build(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    batch = config.batch or TrainConfig().batch
    rows = min(batch, ROWS)
    pictures = torch.rand(rows, 3, config.size, config.size, device=device)
    mask = torch.ones(rows, 1, config.size, config.size, device=device)
    times = []
    for _ in range(steps + 1):
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        terms = [losses(output, pictures, mask, config)["total"] for output in model(pictures, pictures)]
        (terms[0] + terms[1]).backward()  # type: ignore[no-untyped-call]  # torch's stubs
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return EXTRA * min(times[1:]) * batch / rows
