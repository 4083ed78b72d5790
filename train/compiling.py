"""Compilation of the network by torch: where it pays, and what happens where the compiler fails.

torch compiles while the first step runs, so that its errors come from a step. That step is then done again with the
network as it is; no weight has changed.
"""

from __future__ import annotations

import logging
from typing import cast

import torch
from torch import nn

from curate.safe_io import one_line
from train.config import TrainConfig
from train.schedule import end
from train.state import Training

log = logging.getLogger(__name__)

ENOUGH = 50_000
"""Steps left from which `--compile auto` compiles: it takes a minute or two, and a step becomes a millisecond or two
quicker where launches bound it (docs/evidence.md). An estimate from counts; no GPU was at hand."""
COMPILERS = ("torch._dynamo", "torch._inductor", "torch._functorch", "torch.utils._triton", "triton")
"""Packages whose errors are the compiler's."""


def pays(config: TrainConfig, device: torch.device, left: int) -> bool:
    """Whether the network is compiled for so many steps."""
    return config.compile == "on" or (config.compile == "auto" and device.type == "cuda" and left >= ENOUGH)


def compile_where_it_pays(training: Training) -> None:
    """Compile the network, once weights and step are loaded; every process has to call it."""
    left = end(training.config, training.cooling) - training.step
    if training.plain is None and left > 0 and pays(training.config, training.accelerator.device, left):
        training.plain, training.wrapped = training.wrapped, cast(nn.Module, torch.compile(training.wrapped))


def is_compilers(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, is the compiler's."""
    at: BaseException | None = error
    while at is not None:
        if any(kind.__module__.startswith(COMPILERS) for kind in type(at).__mro__):
            return True
        at = at.__cause__
    return False


def go_without(training: Training, error: BaseException) -> bool:
    """Continue with the network as it is if the error is the compiler's; False if it is not, or nothing is compiled."""
    if training.plain is None or not is_compilers(error):
        return False
    training.wrapped, training.plain = training.plain, None
    if training.adversary is not None:
        training.adversary.forget()  # what it learnt in the passes before the error
    log.warning(
        "--compile: the network cannot be compiled (%s): training continues without; give --compile off to skip it",
        one_line(getattr(error, "inner_exception", error)),  # torch's own first line only names its backend
    )
    return True
