"""The training: begin or go on, fit, step.

Every random number of step n comes from a generator seeded with (seed, n, side), so a step depends on the weights
before it and on nothing else that would have to be carried along: a run that is resumed goes on bit for bit as if
undisturbed (on the CPU; GPUs add in another order each time).
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from curate import consent
from curate.errors import WorkError
from curate.faceset import open_faceset
from curate.types import Progress, no_progress
from train import augment, checkpoint, preview
from train.config import TrainConfig
from train.journal import TERMS, Journal
from train.loss import losses
from train.model import SIDES
from train.run import Run
from train.start import check_call, describe_run, load, prepare
from train.state import Training, make_accelerator, means, restore, save, setup, take_encoder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What a training came to."""

    steps: int
    resumed_from: int | None
    """Step of the checkpoint that it went on from."""
    loss: float
    """Mean of both sides over the last line of the log."""
    ssim: float
    """Held-out reconstruction, mean of both sides; see `train.preview.measure`."""
    seconds: float
    """Of this call."""


def train(
    config: TrainConfig,
    source: Path,
    target: Path,
    out: Path,
    resume: bool = False,
    force: bool = False,
    init: Path | None = None,
    progress: Progress = no_progress,
) -> Summary:
    """Train on two facesets into the folder `out`.

    Goes on in `out` with `resume`; replaces the run there with `force`; begins with the encoder of the run `init`.
    Raises ConsentError where a faceset has no subject or basis, UsageError for a wrong call, WorkError if the work
    fails or a signal stops it (then a checkpoint of that step is there to resume).
    """
    begun = time.perf_counter()
    facesets = {"source": open_faceset(source), "target": open_faceset(target)}
    subjects = {name: consent.require(f.subject, str(f.folder)) for name, f in facesets.items()}
    check_call(facesets, resume, force, init)
    accelerator = make_accelerator(config)
    old = None
    if accelerator.is_main_process:
        old = prepare(out, config, subjects, resume, force)
    accelerator.wait_for_everyone()
    training = setup(config, accelerator, load(facesets, config, out / "cache", accelerator, progress))
    last = checkpoint.newest(out / "checkpoints") if resume else None
    if last is not None:
        restore(training, last)
    elif init is not None:
        take_encoder(training, init)
    run = describe_run(training, facesets, subjects, out, init)
    if old is not None:
        if old.held_out != run.held_out:
            log.warning("%s: the faces changed since it began; some held-out ones may have been trained on", out)
        run = replace(run, init=old.init, results=old.results)
    if accelerator.is_main_process:
        run.save()
        if training.step < config.steps:
            (out / "model.safetensors").unlink(missing_ok=True)
    run = fit(training, run, begun, progress)
    if accelerator.is_main_process:
        checkpoint.write_tensors(out / "model.safetensors", training.mean.state_dict())
    accelerator.wait_for_everyone()
    loss, ssim = _from_main(accelerator, [run.results.get(name, math.nan) for name in ("loss", "ssim")])
    return Summary(training.step, last.step if last else None, loss, ssim, time.perf_counter() - begun)


def fit(training: Training, run: Run, begun: float, progress: Progress) -> Run:
    """Do the steps that are left; returns the run with its results. Raises WorkError when a signal or a NaN ends it."""
    config, main = training.config, training.accelerator.is_main_process
    journal = Journal(run.path, training.step) if main else None
    worked = 0.0
    try:
        with listen() as caught:
            while training.step < config.steps:
                tick = time.perf_counter()
                step(training)
                worked += time.perf_counter() - tick
                if main:
                    progress("train", training.step, config.steps)
                last, stopped = training.step == config.steps, _agreed(bool(caught), training.accelerator)
                look = last or bool(config.preview_every and training.step % config.preview_every == 0)
                if look or training.step % config.log_every == 0:
                    seconds = training.seconds + time.perf_counter() - begun
                    run = _note(training, run, journal, look, worked, seconds)
                    worked = 0.0
                if last or stopped or training.step % config.save_every == 0:
                    run = save(training, run, time.perf_counter() - begun)
                if stopped and not last:
                    name = signal.Signals(caught[0]).name if caught else "a signal to another process"
                    raise WorkError(f"stopped by {name} at step {training.step}, which is saved: go on with --resume")
    finally:
        if journal:
            journal.close()
    return run


def step(training: Training) -> None:
    """One step of the optimiser, on all processes together."""
    config, accelerator = training.config, training.accelerator
    for group in training.optimizer.param_groups:
        group["lr"] = rate(config, training.step)
    read, truth, masks = zip(*(batch(training, name) for name in SIDES), strict=True)
    with accelerator.autocast():
        outputs = training.wrapped(*read)
    terms = [losses(o, t, m, config) for o, t, m in zip(outputs, truth, masks, strict=True)]
    training.prepared.zero_grad(set_to_none=True)
    accelerator.backward(terms[0]["total"] + terms[1]["total"])
    norm = accelerator.clip_grad_norm_(training.model.parameters(), config.clip)
    training.prepared.step()
    training.step += 1
    # The first weights are far from the last: the mean forgets them quickly.
    decay = min(config.ema, (1 + training.step) / (10 + training.step))
    with torch.no_grad():
        blend: Callable[..., None] = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch has no types
        blend(list(training.mean.parameters()), list(training.model.parameters()), None)
        now = torch.stack([t[name].detach() for t in terms for name in TERMS] + [norm.detach()])
        training.sums = now if training.sums is None else training.sums + now
    training.counted += 1


def batch(training: Training, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """This process's share of the next step's faces of a side: what is read, what shall come out, the mask."""
    config, accelerator = training.config, training.accelerator
    random = np.random.default_rng([config.seed, training.step, SIDES.index(name)])
    count = config.batch * accelerator.num_processes
    mine = slice(config.batch * accelerator.process_index, config.batch * (accelerator.process_index + 1))
    side = training.sides[name]
    indices = side.draw(random, count)[mine]
    changes = augment.draw(random, count, config).part(mine, accelerator.device)
    read, truth, mask = augment.apply(side.crops(indices).to(accelerator.device), changes, config.size)
    return read.contiguous(memory_format=torch.channels_last), truth, mask


def rate(config: TrainConfig, step: int) -> float:
    """Learning rate of the step with this number, 0 the first: a straight rise, then half a cosine."""
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    done = min(1.0, max(0, step - config.warmup) / max(1, config.steps - config.warmup))
    return config.lr * rise * (config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * done)))


@contextmanager
def listen() -> Iterator[list[int]]:
    """Catch SIGTERM and SIGINT: their numbers appear in the list; a second one acts as it always does."""
    caught: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        for number in (int(signal.SIGTERM), int(signal.SIGINT)):
            before[number] = signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _note(training: Training, run: Run, journal: Journal | None, look: bool, worked: float, seconds: float) -> Run:
    """Close the window since the last line; measure and draw where it is time to look."""
    config = training.config
    figures, steps = means(training), training.counted
    training.sums, training.counted = None, 0
    if journal is None:
        return run
    loss = (figures["total_source"] + figures["total_target"]) / 2
    images = 2 * config.batch * training.accelerator.num_processes * steps / max(worked, 1e-9)
    line: dict[str, float] = {"step": training.step, "seconds": seconds, "images_per_second": images}
    line |= {"lr": rate(config, training.step - 1), "loss": loss, **figures}
    results = {**run.results, "loss": loss}
    if look:
        device = training.accelerator.device
        seen = preview.measure(training.mean, training.sides, config.size, config.batch, device)
        sheet = preview.sheet(training.mean, training.sides, config.size, device)
        preview.write(run.path / "previews" / f"step-{training.step}.png", sheet)
        journal.picture(sheet, training.step)
        line |= seen
        results |= seen
    journal.line(line, config.steps, (config.steps - training.step) * worked / max(steps, 1))
    return replace(run, results=results)


def _from_main(accelerator: Accelerator, values: list[float]) -> list[float]:
    """The values that rank 0 has, in every process."""
    if accelerator.num_processes == 1:
        return values
    mine = torch.tensor(values, device=accelerator.device)
    told = accelerator.reduce(mine if accelerator.is_main_process else torch.zeros_like(mine), reduction="sum")
    return [float(v) for v in told.tolist()]


def _agreed(here: bool, accelerator: Accelerator) -> bool:
    """Whether any process says so: all have to leave the loop after the same step."""
    if accelerator.num_processes == 1:
        return here
    said = torch.tensor([float(here)], device=accelerator.device)
    return bool(accelerator.reduce(said, reduction="sum").item() > 0)
