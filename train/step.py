"""One optimiser step: batches forward and back, gradients clipped, weights and their running mean updated."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from train.feed import Batch
from train.health import examine, is_read, note, sound
from train.journal import TERMS
from train.loss import losses
from train.model import SIDES
from train.processes import mean_over
from train.schedule import adversarial, last_phase, rate
from train.state import WINDOW, Training


def step(training: Training) -> None:
    """One step of the optimiser, on all processes together; skipped if its gradient is not finite.

    No value is read back from the device but in the steps of `health.is_read`. Raises DivergedError after several
    skipped steps in a row.
    """
    accelerator = training.accelerator
    for group in training.optimizer.param_groups:
        group["lr"] = training.lr_factor * rate(training.config, training.step, training.cooling)
    training.prepared.zero_grad(set_to_none=True)
    training.feed.plain_from = last_phase(training.config, training.cooling)
    sums = _accumulate(training, training.feed.passes(training.step, accelerator.device))
    norm = accelerator.clip_grad_norm_(training.model.parameters(), training.config.clip)
    sums[-1] = norm.detach()
    _update(training, note(training, sums))
    if is_read(training, training.step + 1):
        examine(training)
    training.step += 1


def _accumulate(training: Training, passes: list[dict[str, Batch]]) -> Tensor:
    """Gradients of a whole batch, in `accumulate` passes; (len(WINDOW),) the means of its loss terms, then 0."""
    config, accelerator = training.config, training.accelerator
    sums = torch.zeros(len(WINDOW), device=accelerator.device)
    for number, batches in enumerate(passes):
        unfinished = number < config.accumulate - 1
        with accelerator.no_sync(training.wrapped) if unfinished else nullcontext():
            terms = _forward_backward(training, batches)
        sums[:-1] += torch.stack([t[name].detach() for t in terms for name in TERMS]) / config.accumulate
    return sums


def _forward_backward(training: Training, batches: dict[str, Batch]) -> list[dict[str, Tensor]]:
    """One pass forward and back; the loss terms of each side."""
    config, accelerator = training.config, training.accelerator
    outputs, truth, terms, total = terms_of(training, training.wrapped, batches)
    weight = adversarial(config, training.step, training.cooling)
    if training.adversary is not None and weight:
        total = total + weight * training.adversary.generator_term(outputs)
    accelerator.backward(total / config.accumulate)
    if training.adversary is not None and weight:
        training.adversary.learn(outputs, truth, 1 / config.accumulate)
    return terms


def terms_of(
    training: Training, network: nn.Module, batches: dict[str, Batch]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], list[dict[str, Tensor]], Tensor]:
    """Outputs of both sides, the pictures that they should be, the loss terms of each side, and the total loss."""
    config = training.config
    read, truth, masks = zip(*(batches[name].pictures(config.size) for name in SIDES), strict=True)
    acts = [batches[name].driven() for name in SIDES]
    if config.drive == "outlines":
        acts = [(mask[:, 2:],) for mask in masks]
    with training.accelerator.autocast():
        outputs = network(*read, *(torch.cat(both) for both in zip(*acts, strict=True)))
    terms = [losses(o, t, m[:, :2], config) for o, t, m in zip(outputs, truth, masks, strict=True)]
    return outputs, truth, terms, sound(terms[0]["total"] + terms[1]["total"], config)


def _update(training: Training, bad: Tensor) -> None:
    """Apply the gradients unless they are `bad`, of the discriminators too; update the running mean of the weights."""
    found = bad.float()
    if training.accelerator.scaler is not None:
        training.prepared.step()  # the scaler found it out itself: it skips the step, and lowers its scale
    elif training.optimizer.defaults["fused"]:
        training.optimizer.found_inf = found  # type: ignore[attr-defined]  # how a scaler tells a fused optimiser
        training.prepared.step()
    elif not bad.item():
        training.prepared.step()
    if training.adversary is not None and adversarial(training.config, training.step, training.cooling):
        training.adversary.step(mean_over(training.accelerator), found)
    _update_ema(training)


def _update_ema(training: Training) -> None:
    """Update the running mean of the weights; early in a run it forgets faster, since the first weights are far off."""
    decay = min(training.config.ema, (2 + training.step) / (11 + training.step))
    blend: Callable[..., None] = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch has no types
    with torch.no_grad():
        blend(list(training.ema.parameters()), list(training.model.parameters()), None)
