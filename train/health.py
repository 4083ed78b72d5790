"""When a step goes wrong: a loss that is no number, and too little memory."""

from __future__ import annotations

import math

import torch

from curate.errors import WorkError
from train.config import TrainConfig
from train.loss import losses
from train.model import SIDES
from train.state import WINDOW, Training

TRIES = 5
"""Steps in a row that may be skipped before the last good state returns."""
RETURNS = 3
"""How often it may return before the run gives up."""
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")
SCALER_TRIES = 40
"""The same with fp16: its scale starts too high on purpose and is halved at every step that overflows."""


class SpoiledError(Exception):
    """So many steps in a row were no numbers that going on is no use; the message names the loss."""


def skip(training: Training, now: torch.Tensor) -> str:
    """Note a step whose gradient is no number; the term to blame. Raises SpoiledError after several in a row.

    now: (len(WINDOW),) the step's terms and the norm of its gradient.
    """
    training.bad += 1
    values = dict(zip(WINDOW, now.tolist(), strict=True))
    name = next((n for n, v in values.items() if not math.isfinite(v)), "gradient")
    said = f"{name} is {values[name]} at step {training.step + 1}"
    if training.bad >= (SCALER_TRIES if training.accelerator.scaler is not None else TRIES):
        raise SpoiledError(said)
    return said


def gave_up(said: str, config: TrainConfig) -> WorkError:
    """The error that ends a run which was spoiled again and again."""
    return WorkError(
        f"{said}, also after {RETURNS} returns to the last good state with half the rate each time: go on with "
        f"--resume and a lower --lr than {config.lr:g}; if it stays, look for damaged crops in the facesets"
    )


def is_memory(error: RuntimeError) -> bool:
    """Whether an error of torch says that memory is used up."""
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error).lower() for word in NO_MEMORY)


def too_large(training: Training) -> WorkError:
    """The error for a batch that does not fit; it names the largest half, quarter ... that does."""
    config = training.config
    passes = config.batch // config.accumulate
    said = f"out of memory: --batch {config.batch} of {config.size} px in passes of {passes} does not fit"
    size = passes // 2
    while size and not _fits(training, size):
        size //= 2
    if not size:
        return WorkError(f"{said}, not even one face does: choose a smaller --preset, or --device cpu")
    return WorkError(
        f"{said}; a pass of {size} does: --batch {size}, or --accumulate {math.ceil(config.batch / size)} for the "
        "same result in more passes; --resume goes on from the last checkpoint"
    )


def _fits(training: Training, size: int) -> bool:
    """Whether one pass of so many faces of each side works; nothing is learnt."""
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
