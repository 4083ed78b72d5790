"""Room in memory: the largest batch that fits, tried with passes that change no weights.

A failed pass stays in memory for as long as its exception is handled, so all trials begin after the `except`.
"""

from __future__ import annotations

import gc
import logging
import math
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import psutil
import torch
from torch import nn

from curate.errors import WorkError
from train.feed import batch_of
from train.health import is_memory
from train.memory import estimate
from train.packing import packed
from train.processes import least
from train.state import Training, new_feed
from train.step import terms_of

log = logging.getLogger(__name__)

MOST = 1024
"""Largest batch that `--batch auto` takes."""
SPARE = 0.9
"""Share of what fits that `--batch auto` takes: evaluations and fragmentation need some too."""
FREE = 0.7
"""Share of the machine's free memory that `--batch auto` takes on the CPU."""


def too_large(training: Training) -> WorkError:
    """The error for a batch that does not fit in memory; it suggests the largest that does.

    Call it after the `except` clause of the error that reported it has been left.
    """
    config = training.config
    per_pass = config.batch // config.accumulate
    problem = (
        f"out of memory: {per_pass} faces per side and pass at {config.size} px (--batch {config.batch}) do not fit"
    )
    size = largest(per_pass - 1, lambda faces: fits(training, faces))
    if not size:
        return WorkError(f"{problem}, and neither does one: choose a smaller --preset, or --device cpu")
    passes = next(n for n in range(math.ceil(config.batch / size), config.batch + 1) if config.batch % n == 0)
    return WorkError(
        f"{problem}; {size} would: use --batch {size}, or --accumulate {passes} to keep the batch; add --resume to "
        "continue from the last checkpoint"
    )


def largest(most: int, fitting: Callable[[int], bool]) -> int:
    """The largest number from 1 to `most` that fits; 0: none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fitting(middle):
            low = middle
        else:
            high = middle - 1
    return low


def fits(training: Training, faces: int) -> bool:
    """Whether a pass of so many faces of each side fits in memory, with the optimiser's state; no weight is changed."""
    release(training)
    fitting = True
    try:
        _pass(training, faces)
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        fitting = False
    release(training)
    return fitting


def release(training: Training) -> None:
    """Free gradients, and what a failed pass left."""
    training.optimizer.zero_grad(set_to_none=True)
    if training.adversary is not None:
        training.adversary.forget()
    gc.collect()
    if training.accelerator.device.type == "cuda":
        torch.cuda.empty_cache()


def choose(training: Training) -> None:
    """Set the batch of `--batch auto`: the largest that fits in every process; all processes have to call it.

    Raises WorkError if not even one face fits.
    """
    config, accelerator = training.config, training.accelerator
    faces = min(len(side.split.train) for side in training.sides.values())
    most = max(1, min(MOST, faces) // config.accumulate)
    if accelerator.device.type == "cuda":
        own = math.ceil(SPARE * largest(most, lambda n: fits(training, n)))
    else:
        own = min(most, by_estimate(training))
    size = round(least(accelerator, float(own)))
    if not size:
        raise WorkError(
            f"out of memory: not even one face per side fits at {config.size} px: choose a smaller --preset, or "
            "--device cpu"
        )
    training.config = replace(config, batch=size * config.accumulate)
    training.feed.close()
    training.feed = new_feed(training.sides, training.config, accelerator)
    if accelerator.is_main_process:
        log.info("--batch auto: %d; the learning rate stays at %g", training.config.batch, config.lr)


def by_estimate(training: Training) -> int:
    """Faces per pass that fit in this process's share of the machine's free memory; on the CPU, where exceeding it ends
    the process instead of raising an error."""
    config = replace(training.config, accumulate=1)
    one, two = (estimate(replace(config, batch=n)) for n in (1, 2))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, int((FREE * psutil.virtual_memory().available / here - (2 * one - two)) // (two - one)))


def _pass(training: Training, faces: int) -> None:
    """A pass forward and back on the run's own faces, whose gradients go to copies of the parameters."""
    config, device = training.config, training.accelerator.device
    own = {name: p.detach().requires_grad_() for name, p in training.model.named_parameters()}
    states = [torch.empty_like(p) for p in own.values() for _ in range(2)] if not training.optimizer.state else []
    drawn = replace(config, batch=faces, accumulate=1)
    batches = {name: batch_of(side, 0, drawn, 0, 1).part(slice(None)) for name, side in training.sides.items()}
    network = _Detached(training.model, own)
    outputs, truths, _, total = terms_of(training, network, packed(batches, False).to(device))
    if training.adversary is not None:
        total = total + training.adversary.generator_term(outputs)
    total.backward()  # type: ignore[no-untyped-call]  # torch's stubs
    if training.adversary is not None:
        training.adversary.learn(outputs, truths)
    del states


class _Detached(nn.Module):
    """A network with other leaves for its parameters: backward then calls no hook of DistributedDataParallel."""

    def __init__(self, model: nn.Module, own: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self._call: Callable[..., object] = partial(torch.func.functional_call, model, own)

    def forward(self, *arguments: torch.Tensor) -> object:
        return self._call(arguments)
