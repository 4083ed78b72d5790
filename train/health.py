"""Failures of a step: a loss or gradient that is not finite or far too large, and too little memory.

Whether a step failed is decided on the device: its optimiser skips it and `Training.health` counts it there. The counts
are read every few steps (`Training.read_every`), because each read makes the device wait.
"""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from curate.errors import WorkError
from train.config import TrainConfig
from train.loss import LEVELS
from train.model import SIDES
from train.schedule import end
from train.state import WINDOW, Training

log = logging.getLogger(__name__)

MAX_SKIPPED = 5
"""Steps in a row that are skipped before the training returns to its last good state."""
MAX_SKIPPED_FP16 = 40
"""The same with fp16: its scale starts too high on purpose and is halved at every step that overflows."""
MAX_REWINDS = 3
"""Returns to the last good state before the run fails."""
RECOVERED = 1000
"""Steps beyond a failure after which the returns before it no longer count."""
HUGE = 100.0
"""Loss that counts as diverged, times that of a picture which is wrong everywhere: a new network's is about 1."""
NO_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "unable to allocate",
    "could not create a primitive",
    "could not create a memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cusolver_status_alloc_failed",
    "cufft_alloc_failed",
)
"""What torch, numpy, oneDNN and NVIDIA's libraries say, in lower case. Some allocate by themselves."""


class DivergedError(Exception):
    """Too many steps in a row without a finite gradient; the message names the loss term."""


def largest_loss(config: TrainConfig) -> float:
    """Sum of both sides' losses from which a step counts as diverged."""
    worst = config.l1_weight + config.ssim_weight + config.mask_weight + (2**LEVELS - 1) * config.perceptual_weight
    return float(HUGE * worst * len(SIDES))


def sound(total: Tensor, config: TrainConfig) -> Tensor:
    """The loss, whose gradient is not a number where the loss is too large: so all processes see it in theirs."""
    wrong = total.detach() >= largest_loss(config)
    return total * torch.ones_like(total).masked_fill(wrong, math.nan)


def note(training: Training, sums: Tensor) -> Tensor:
    """Count a step on the device; a bool without dimensions: whether its gradient is not finite.

    sums: (len(WINDOW),) the step's loss terms and the norm of its gradient, which a good step adds to `training.sums`.
    """
    bad = ~sums[-1].isfinite()
    good = sums.masked_fill(bad, 0)
    training.sums = good if training.sums is None else training.sums + good
    training.counted += 1
    if training.health is None:
        training.health = sums.new_zeros(3 + len(WINDOW))
    row, count, ago = training.health[:3].unbind()
    skipped = bad.to(sums.dtype)
    counts = torch.stack([(row + 1) * skipped, count + skipped, (ago + 1) * (1 - skipped)])
    training.health = torch.cat([counts, torch.where(bad, sums, training.health[3:])])
    return bad


def is_read(training: Training, step: int) -> bool:
    """Whether the counts are read after a step (1 for the first); the same in every process."""
    config = training.config
    every = (training.read_every, config.save_every, config.log_every, config.preview_every)
    return step == end(config, training.cooling) or any(n and step % n == 0 for n in every)


def examine(training: Training) -> None:
    """Read the counts, after the step `training.step` + 1; raises DivergedError after several bad steps in a row."""
    if training.health is None:
        return
    row, count, ago, *values = training.health.tolist()
    training.skipped = round(row)
    if training.rewinds and training.step + 1 >= training.failed_at + RECOVERED:
        training.rewinds = 0
    if not count:
        return
    training.counted -= round(count)
    training.health[1] = 0
    step = training.step + 1 - round(ago)
    reason = f"{_named(values, training.config)} at step {step}"
    scaled = training.accelerator.scaler is not None
    if row >= (MAX_SKIPPED_FP16 if scaled else MAX_SKIPPED):
        raise DivergedError(reason)
    if not scaled:
        what = "this step is" if count == 1 else f"{round(count)} steps are"
        log.warning("%s: %s skipped", reason, what)


def _named(values: list[float], config: TrainConfig) -> str:
    """The first value of a step that is not as it should be: `l1_source is nan`."""
    found = dict(zip(WINDOW, values, strict=True))
    bound = largest_loss(config)
    wrong = [n for n, v in found.items() if not math.isfinite(v) or (n != "gradient" and v >= bound / len(SIDES))]
    name = wrong[0] if wrong else "gradient"
    return f"{name} is {found[name]:g}"


def diverged(reason: str, config: TrainConfig) -> WorkError:
    """The error that ends a run which diverged again and again."""
    return WorkError(
        f"{reason}, even after returning to the last good state {MAX_REWINDS} times, each at half the learning rate: "
        f"use --resume with an --lr below {config.lr:g}; if that does not help, check the facesets for damaged crops"
    )


def is_memory(error: BaseException) -> bool:
    """Whether an error of torch or one of its libraries reports that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        word in str(error).lower() for word in NO_MEMORY
    )
