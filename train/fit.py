"""The training: begin or go on, fit, step.

Every random number of step n comes from a generator seeded with (seed, n, side), so a step depends on the weights
before it and on nothing else that would have to be carried along: a run that is resumed goes on bit for bit as if
undisturbed (on the CPU; GPUs add in another order each time).
"""

from __future__ import annotations

import logging
import math
import shutil
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
from curate.errors import UsageError, WorkError
from curate.faceset import Faceset, open_faceset
from curate.types import Progress, Subject, no_progress
from train import augment, checkpoint, preview
from train.config import TrainConfig, check_resume, flag
from train.data import Side, load_side
from train.journal import TERMS, Journal
from train.loss import losses
from train.model import SIDES, parameter_counts
from train.run import OWN, Run, describe, is_run, open_run
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
    _check_call(facesets, resume, force, init)
    accelerator = make_accelerator(config)
    old = None
    if accelerator.is_main_process:
        old = _prepare(out, config, subjects, resume, force)
    accelerator.wait_for_everyone()
    training = setup(config, accelerator, _load(facesets, config, out / "cache", accelerator, progress))
    last = checkpoint.newest(out / "checkpoints") if resume else None
    if last is not None:
        restore(training, last)
    elif init is not None:
        take_encoder(training, init)
    run = _describe(training, facesets, subjects, out, init)
    if old is not None:
        run = replace(run, init=old.init, results=old.results)
    if accelerator.is_main_process:
        run.save()
        if training.step < config.steps:
            (out / "model.safetensors").unlink(missing_ok=True)
    run = fit(training, run, begun, progress)
    if accelerator.is_main_process:
        checkpoint.write_tensors(out / "model.safetensors", training.mean.state_dict())
    accelerator.wait_for_everyone()
    loss, ssim = (float(run.results.get(name, math.nan)) for name in ("loss", "ssim"))
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


def _check_call(facesets: dict[str, Faceset], resume: bool, force: bool, init: Path | None) -> None:
    if resume and force:
        raise UsageError("--resume and --force: one goes on, the other begins anew; give one of them")
    if resume and init is not None:
        raise UsageError("--resume and --init: a run that goes on has its encoder; give one of them")
    framing = {name: f.settings.framing for name, f in facesets.items()}
    if framing["source"] != framing["target"]:
        raise UsageError(
            f"--source {facesets['source'].folder} has framing {framing['source']}, "
            f"--target {facesets['target'].folder} {framing['target']}: curate one again with the other's --framing"
        )


def _prepare(out: Path, config: TrainConfig, subjects: dict[str, Subject], resume: bool, force: bool) -> Run | None:
    """Make the run's folder ready; returns the run that goes on. A folder with nothing but a cache is a new one."""
    if resume:
        run = open_run(out)
        changed = check_resume(run.config, config)
        if changed:
            log.info("other than when the run began: %s", ", ".join(map(flag, changed)))
        for name, side in (("source", run.source), ("target", run.target)):
            if side.subject.name != subjects[name].name:
                raise UsageError(f"--resume: the {name} of {out} is {side.subject.name}, not {subjects[name].name}")
        return run
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; name a folder")
    if out.is_dir() and not force and any(p.name != "cache" for p in out.iterdir()):
        hint = "--resume goes on with it, --force begins anew" if is_run(out) else "name another folder"
        raise UsageError(f"--out {out}: exists; {hint}")
    try:
        for name in OWN if out.is_dir() else ():
            path = out / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        out.mkdir(parents=True, exist_ok=True)
        (out / "cache").mkdir(exist_ok=True)
    except OSError as error:
        raise WorkError(f"--out {out}: cannot be written ({error.strerror}); name another folder") from None
    return None


def _load(
    facesets: dict[str, Faceset], config: TrainConfig, cache: Path, accelerator: Accelerator, progress: Progress
) -> dict[str, Side]:
    """Both sides; rank 0 decodes, the others wait for it."""
    sides: dict[str, Side] = {}
    with accelerator.main_process_first():
        for name, faceset in facesets.items():
            sides[name] = load_side(name, faceset, config, cache, accelerator.is_main_process, progress)
    return sides


def _describe(
    training: Training, facesets: dict[str, Faceset], subjects: dict[str, Subject], out: Path, init: Path | None
) -> Run:
    config, sides = training.config, training.sides
    info = {name: describe(facesets[name], subjects[name], len(sides[name].ids)) for name in SIDES}
    return Run(
        path=out,
        config=config,
        size=config.size,
        framing=facesets["source"].settings.framing,
        source=info["source"],
        target=info["target"],
        step=training.step,
        parameters=parameter_counts(training.model)["all"],
        init=None if init is None else str(init.resolve()),
        held_out={name: tuple(sides[name].ids[i] for i in sides[name].split.held_out) for name in SIDES},
        guard={name: sides[name].split.guard for name in SIDES},
    )


def _agreed(here: bool, accelerator: Accelerator) -> bool:
    """Whether any process says so: all have to leave the loop after the same step."""
    if accelerator.num_processes == 1:
        return here
    said = torch.tensor([float(here)], device=accelerator.device)
    return bool(accelerator.reduce(said, reduction="sum").item() > 0)
