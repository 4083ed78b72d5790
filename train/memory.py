"""Memory of a training, estimated without running it."""

from __future__ import annotations

import torch
from torch import Tensor

from train.config import TrainConfig
from train.loss import losses
from train.model import blank
from train.outlines import MAPS

STATES = 5
"""Copies of the weights: the weights, their moving average, the gradient and two moments of the optimiser."""


def estimate(config: TrainConfig) -> int:
    """Bytes per process in single precision: the states, and the tensors that a pass saves for its gradient.

    The pass runs on torch's `meta` device, which has shapes but no values. The libraries (about 0.4 GB on the CPU) and
    the workspace of the largest operation come on top.
    """
    model = blank(config)
    with torch.device("meta"):
        read = torch.empty(config.batch // config.accumulate, 3, config.size, config.size)
        mask = torch.empty(len(read), 1, config.size, config.size)
        maps = torch.empty(2 * len(read), len(MAPS), config.size, config.size)
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved = tensor.detach()  # the tensor itself would hold its own graph, and the graph it: neither ever freed
        kept[saved.untyped_storage()._cdata] = saved.untyped_storage().nbytes()
        alive.append(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        outputs = model(read, read, maps) if config.drive == "outlines" else model(read, read)
        terms = [losses(output, read, mask, config) for output in outputs]
    del terms
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return STATES * weights + sum(kept.values())
