"""Failures of a step: a loss or gradient that is not finite, and too little memory."""

from __future__ import annotations

import math

import torch

from curate.errors import WorkError
from train.config import TrainConfig
from train.loss import losses
from train.model import SIDES
from train.state import WINDOW, Training

MAX_SKIPPED = 5
"""Steps in a row that are skipped before the training returns to its last good state."""
MAX_SKIPPED_FP16 = 40
"""The same with fp16: its scale starts too high on purpose and is halved at every step that overflows."""
MAX_REWINDS = 3
"""Returns to the last good state before the run fails."""
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


class DivergedError(Exception):
    """Too many steps in a row without a finite gradient; the message names the loss term."""


def note_skipped(training: Training, sums: torch.Tensor) -> str:
    """Count a step whose gradient is not finite; the reason. Raises DivergedError after several in a row.

    sums: (len(WINDOW),) the step's loss terms and the norm of its gradient.
    """
    training.skipped += 1
    values = dict(zip(WINDOW, sums.tolist(), strict=True))
    name = next((n for n, v in values.items() if not math.isfinite(v)), "gradient")
    reason = f"{name} is {values[name]} at step {training.step + 1}"
    if training.skipped >= (MAX_SKIPPED_FP16 if training.accelerator.scaler is not None else MAX_SKIPPED):
        raise DivergedError(reason)
    return reason


def diverged(reason: str, config: TrainConfig) -> WorkError:
    """The error that ends a run which diverged again and again."""
    return WorkError(
        f"{reason}, even after returning to the last good state {MAX_REWINDS} times, each at half the learning rate: "
        f"use --resume with an --lr below {config.lr:g}; if that does not help, check the facesets for damaged crops"
    )


def is_memory(error: RuntimeError) -> bool:
    """Whether an error of torch reports that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error).lower() for word in NO_MEMORY)


def too_large(training: Training) -> WorkError:
    """The error for a batch that does not fit in memory; it suggests the largest half, quarter ... that does."""
    config = training.config
    per_pass = config.batch // config.accumulate
    problem = (
        f"out of memory: {per_pass} faces per side and pass at {config.size} px (--batch {config.batch}) do not fit"
    )
    size = per_pass // 2
    while size and not _fits(training, size):
        size //= 2
    if not size:
        return WorkError(f"{problem}, and neither does one: choose a smaller --preset, or --device cpu")
    return WorkError(
        f"{problem}; {size} would: use --batch {size}, or --accumulate {math.ceil(config.batch / size)} to keep the "
        "batch; add --resume to continue from the last checkpoint"
    )


def _fits(training: Training, size: int) -> bool:
    """Whether a pass of so many faces of each side fits in memory; the weights are not changed."""
    config, device = training.config, training.accelerator.device
    training.prepared.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        one = torch.zeros(size, 4, config.size, config.size, device=device)
        with training.accelerator.autocast():
            outputs = training.model(one[:, :3], one[:, :3])
        terms = [losses(o, one[:, :3], one[:, 3:], config) for o, _ in zip(outputs, SIDES, strict=True)]
        (terms[0]["total"] + terms[1]["total"]).backward()  # type: ignore[no-untyped-call]  # torch's stubs
    except RuntimeError as error:
        if not is_memory(error):
            raise
        return False
    finally:
        training.prepared.zero_grad(set_to_none=True)
    return True
