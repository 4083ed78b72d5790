"""One optimiser step: batches forward and back, gradients clipped, weights and their running mean updated."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from train.feed import Batch
from train.health import note_skipped
from train.journal import TERMS
from train.loss import losses
from train.model import SIDES
from train.processes import mean_over
from train.schedule import adversarial, last_phase, rate
from train.state import WINDOW, Training

log = logging.getLogger(__name__)


def step(training: Training) -> None:
    """One step of the optimiser, on all processes together; skipped if its gradient is not finite.

    Raises DivergedError after several skipped steps in a row.
    """
    accelerator = training.accelerator
    for group in training.optimizer.param_groups:
        group["lr"] = training.lr_factor * rate(training.config, training.step, training.cooling)
    training.prepared.zero_grad(set_to_none=True)
    training.feed.plain_from = last_phase(training.config, training.cooling)
    sums = _accumulate(training, training.feed.get(training.step))
    norm = accelerator.clip_grad_norm_(training.model.parameters(), training.config.clip)
    sums[-1] = norm.detach()
    if math.isfinite(norm.item()):
        _update(training, sums)
    else:
        _skip(training, sums)
    training.step += 1


def _accumulate(training: Training, batches: dict[str, Batch]) -> Tensor:
    """Gradients of a whole batch, in `accumulate` passes; (len(WINDOW),) the means of its loss terms, then 0."""
    config, accelerator = training.config, training.accelerator
    size = config.batch // config.accumulate
    sums = torch.zeros(len(WINDOW), device=accelerator.device)
    for number in range(config.accumulate):
        rows = slice(number * size, (number + 1) * size)
        unfinished = number < config.accumulate - 1
        with accelerator.no_sync(training.wrapped) if unfinished else nullcontext():
            terms = _forward_backward(training, batches, rows)
        sums[:-1] += torch.stack([t[name].detach() for t in terms for name in TERMS]) / config.accumulate
    return sums


def _forward_backward(training: Training, batches: dict[str, Batch], rows: slice) -> list[dict[str, Tensor]]:
    """Some rows of the batch forward and back; the loss terms of each side."""
    config, accelerator = training.config, training.accelerator
    device = accelerator.device
    read, truth, masks = zip(*(batches[name].part(rows, device, config.size) for name in SIDES), strict=True)
    acts = [batches[name].driven(rows, device) for name in SIDES]
    if config.drive == "outlines":
        acts = [(mask[:, 2:],) for mask in masks]
    with accelerator.autocast():
        outputs = training.wrapped(*read, *(torch.cat(both) for both in zip(*acts, strict=True)))
    terms = [losses(o, t, m[:, :2], config) for o, t, m in zip(outputs, truth, masks, strict=True)]
    total = terms[0]["total"] + terms[1]["total"]
    weight = adversarial(config, training.step, training.cooling)
    if training.adversary is not None and weight:
        total = total + weight * training.adversary.generator_term(outputs)
    accelerator.backward(total / config.accumulate)
    if training.adversary is not None and weight:
        training.adversary.learn(outputs, truth, 1 / config.accumulate)
    return terms


def _update(training: Training, sums: Tensor) -> None:
    """Apply the gradients, of the discriminators too; update the running mean of the weights and the log's sums."""
    training.skipped = 0
    training.prepared.step()
    if training.adversary is not None and adversarial(training.config, training.step, training.cooling):
        training.adversary.step(mean_over(training.accelerator))
    _update_ema(training)
    training.sums = sums if training.sums is None else training.sums + sums
    training.counted += 1


def _skip(training: Training, sums: Tensor) -> None:
    """Leave the weights as they are after a gradient that is not finite; raises DivergedError after several."""
    if training.adversary is not None:
        training.adversary.forget()
    reason = note_skipped(training, sums)
    if training.accelerator.scaler is None:
        log.warning("%s: this step is skipped", reason)
    else:
        training.prepared.step()  # the scaler skips the step too, and lowers its scale


def _update_ema(training: Training) -> None:
    """Update the running mean of the weights; early in a run it forgets faster, since the first weights are far off."""
    decay = min(training.config.ema, (2 + training.step) / (11 + training.step))
    blend: Callable[..., None] = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch has no types
    with torch.no_grad():
        blend(list(training.ema.parameters()), list(training.model.parameters()), None)
