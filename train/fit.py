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
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from curate.dataset import consent
from curate.dataset.faceset import open_faceset
from curate.errors import WorkError
from curate.runtime.files import file_sha256
from curate.types import Progress, no_progress
from train import checkpoint, page, preview
from train.config import TrainConfig
from train.feed import Batch
from train.health import RETURNS, SpoiledError, gave_up, is_memory, skip, too_large
from train.identity import Judge, judge_for
from train.journal import TERMS, Journal
from train.loss import losses
from train.measure import measure
from train.model import SIDES
from train.run import Run, is_run
from train.schedule import end, latest_cooling, on_plateau, rate
from train.start import check_call, describe_run, load, prepare, restarted
from train.state import WINDOW, Training, make_accelerator, means, restore, rewind, save, setup, take_encoder

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
    ended: str
    """finished (all steps done) or plateau."""
    nearer: float | None
    """Share of held-out swaps whose identity is nearer to the source; None: not measured."""
    device_hours: float | None
    """Of the whole run, one device a process."""
    cost: float | None
    """Money for them; None without a price."""


def train(
    config: TrainConfig,
    source: Path,
    target: Path,
    out: Path,
    resume: bool = False,
    force: bool = False,
    init: Path | None = None,
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> Summary:
    """Train on two facesets into the folder `out`.

    Goes on in `out` with `resume`, or when torchrun has started the processes again; replaces the run there with
    `force`; begins with the encoder of the run `init`. `cache` is a folder of the machine's own for the decoded crops.
    Raises ConsentError where a faceset has no subject or basis, UsageError for a wrong call, WorkError if the work
    fails or a signal stops it (then a checkpoint of that step is there to resume).
    """
    begun = time.perf_counter()
    resume = resume or (not force and restarted() and is_run(out))
    facesets = {"source": open_faceset(source), "target": open_faceset(target)}
    subjects = {name: consent.require(f.subject, str(f.folder)) for name, f in facesets.items()}
    check_call(facesets, resume, force, init)
    accelerator = make_accelerator(config)
    old = None
    if accelerator.is_main_process:
        old = prepare(out, config, subjects, resume, force)
    accelerator.wait_for_everyone()
    training = setup(config, accelerator, load(facesets, config, cache or out / "cache", accelerator, progress))
    last = checkpoint.newest(out / "checkpoints") if resume else None
    if last is not None:
        restore(training, last)
    elif init is not None:
        take_encoder(training, init)
    run = describe_run(training, facesets, subjects, out, init)
    if old is not None:
        if old.held_out != run.held_out:
            log.warning("%s: the faces changed since it began; some held-out ones may have been trained on", out)
        ended = old.ended if training.step >= end(config, training.cooling) else ""
        run = replace(run, init=old.init, results=old.results, ended=ended)
    if accelerator.is_main_process:
        run.save()
        if training.step < config.steps:
            (out / "model.safetensors").unlink(missing_ok=True)
    judge = judge_for(facesets, training.sides["target"], config) if accelerator.is_main_process else None
    run = fit(training, run, judge, begun, progress)
    if accelerator.is_main_process:
        checkpoint.write_tensors(out / "model.safetensors", training.mean.state_dict())
        run = replace(run, weights_sha256=file_sha256(out / "model.safetensors"))
        run.save()
    accelerator.wait_for_everyone()
    names = ("loss", "ssim", "nearer", "device_hours", "cost")
    told = _from_main(accelerator, [run.results.get(name, math.nan) for name in names])
    known = [None if math.isnan(value) else value for value in told[2:]]
    seconds = time.perf_counter() - begun
    return Summary(training.step, last.step if last else None, told[0], told[1], seconds, run.ended, *known)


def fit(training: Training, run: Run, judge: Judge | None, begun: float, progress: Progress) -> Run:
    """Do the steps that are left; returns the run with its results.

    Raises WorkError when a signal ends it, or the loss is no number again and again, or memory is used up.
    """
    config, main = training.config, training.accelerator.is_main_process
    journal = Journal(run.path, training.step) if main else None
    since = Window(training)
    try:
        with listen() as caught:
            while training.step < end(config, training.cooling):
                try:
                    step(training)
                except SpoiledError as error:
                    if training.returns >= RETURNS:
                        raise gave_up(str(error), config) from None
                    rewind(training, run.path / "checkpoints", Path(run.init) if run.init else None)
                    log.warning("%s: back to step %d, at half the rate", error, training.step)
                    if journal is not None:
                        journal.close()
                        journal = Journal(run.path, training.step)
                    since = Window(training)
                    continue
                except RuntimeError as error:
                    if is_memory(error):
                        raise too_large(training) from None
                    raise
                if main:
                    progress("train", training.step, end(config, training.cooling))
                last, stopped = training.step == end(config, training.cooling), _agreed(bool(caught), training)
                look = last or bool(config.preview_every and training.step % config.preview_every == 0)
                if (look or training.step % config.log_every == 0) and training.sums is not None:
                    run = _note(training, run, journal, judge, look, since, begun)
                    since = Window(training)
                if look and not last and config.stop == "auto" and training.cooling is None:
                    _cool(training, journal)
                # Not after a skipped step: the state may be what spoils the steps.
                if last or stopped or (training.step % config.save_every == 0 and not training.bad):
                    if last:
                        run = replace(run, ended="plateau" if training.step < config.steps else "finished")
                    elif stopped:
                        run = replace(run, ended=f"stopped by {_name(caught)}")
                    run = save(training, run, time.perf_counter() - begun)
                if main and (last or stopped):
                    page.write(run, training, journal)
                if stopped and not last:
                    raise WorkError(
                        f"stopped by {_name(caught)} at step {training.step}, which is saved: go on with --resume"
                    )
    finally:
        training.feed.close()
        if journal:
            journal.close()
    return run


def step(training: Training) -> None:
    """One step of the optimiser, on all processes together; skipped where its gradient is no number.

    Raises SpoiledError after several of those.
    """
    config, accelerator = training.config, training.accelerator
    for group in training.optimizer.param_groups:
        group["lr"] = training.slow * rate(config, training.step, training.cooling)
    batches = training.feed.get(training.step)
    training.prepared.zero_grad(set_to_none=True)
    size = config.batch // config.accumulate
    now = torch.zeros(len(WINDOW), device=accelerator.device)
    for number in range(config.accumulate):
        rows = slice(number * size, (number + 1) * size)
        apart = number < config.accumulate - 1
        with accelerator.no_sync(training.wrapped) if apart else nullcontext():
            terms = _pass(training, batches, rows)
        now[:-1] += torch.stack([t[name].detach() for t in terms for name in TERMS]) / config.accumulate
    norm = accelerator.clip_grad_norm_(training.model.parameters(), config.clip)
    now[-1] = norm.detach()
    if math.isfinite(norm.item()):
        training.bad = 0
        training.prepared.step()
        if training.adversary is not None:
            training.adversary.step(_mean_of(accelerator))
        _follow(training)
        training.sums = now if training.sums is None else training.sums + now
        training.counted += 1
    else:
        if training.adversary is not None:
            training.adversary.forget()
        said = skip(training, now)
        if accelerator.scaler is None:
            log.warning("%s: the step is skipped", said)
        else:
            training.prepared.step()  # which skips it too, and lowers the scale
    training.step += 1


def _pass(training: Training, batches: dict[str, Batch], rows: slice) -> list[dict[str, Tensor]]:
    """Some rows of the batch forward and back; the terms of either side."""
    config, accelerator = training.config, training.accelerator
    device = accelerator.device
    read, truth, masks = zip(*(batches[name].part(rows, device, config.size) for name in SIDES), strict=True)
    with accelerator.autocast():
        outputs = training.wrapped(*read)
    terms = [losses(o, t, m, config) for o, t, m in zip(outputs, truth, masks, strict=True)]
    total = terms[0]["total"] + terms[1]["total"]
    if training.adversary is not None:
        total = total + config.adversarial_weight * training.adversary.generator_term(outputs)
    accelerator.backward(total / config.accumulate)
    if training.adversary is not None:
        training.adversary.learn(outputs, truth, 1 / config.accumulate)
    return terms


def _mean_of(accelerator: Accelerator) -> Callable[[Tensor], Tensor] | None:
    """A tensor's mean over all processes; None where there is one process."""
    if accelerator.num_processes == 1:
        return None
    return lambda tensor: cast(Tensor, accelerator.reduce(tensor, reduction="mean"))


def _follow(training: Training) -> None:
    """The running mean of the weights goes on; the first weights are far from the last: it forgets them quickly."""
    decay = min(training.config.ema, (2 + training.step) / (11 + training.step))
    blend: Callable[..., None] = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch has no types
    with torch.no_grad():
        blend(list(training.mean.parameters()), list(training.model.parameters()), None)


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


class Window:
    """What has passed since a line of the log."""

    def __init__(self, training: Training) -> None:
        self._feed, self._begun, self._waited = training.feed, time.perf_counter(), training.feed.waited

    def seconds(self) -> float:
        """Since then; measuring and saving in between count too."""
        return max(time.perf_counter() - self._begun, 1e-9)

    def waited(self) -> float:
        """Share of it in which steps waited for data."""
        return (self._feed.waited - self._waited) / self.seconds()


def _note(
    training: Training, run: Run, journal: Journal | None, judge: Judge | None, look: bool, since: Window, begun: float
) -> Run:
    """Close the window since the last line; measure and draw where it is time to look."""
    config, accelerator = training.config, training.accelerator
    figures, steps, worked, waited = means(training), training.counted, since.seconds(), since.waited()
    training.sums, training.counted = None, 0
    if journal is None:
        return run
    loss = (figures["total_source"] + figures["total_target"]) / 2
    images = 2 * config.batch * accelerator.num_processes * steps / worked
    line: dict[str, float] = {"step": training.step, "images_per_second": images, "waited": waited}
    line |= {"lr": training.optimizer.param_groups[0]["lr"], "loss": loss, **figures}
    results = {**run.results, "loss": loss}
    if look:
        seen = _look(training, run, journal, judge)
        line |= seen
        results |= seen
    line["seconds"] = training.seconds + time.perf_counter() - begun
    spent = cost(config, line["seconds"], accelerator.num_processes)
    last = end(config, training.cooling)
    journal.line(line | spent, last, (last - training.step) * worked / max(steps, 1))
    run = replace(run, results=results | spent)
    if look:
        page.write(run, training, journal)
    return run


def _look(training: Training, run: Run, journal: Journal, judge: Judge | None) -> dict[str, float]:
    """Measure the mean of the weights on held-out faces and draw them; the figures."""
    config, device = training.config, training.accelerator.device
    seen = measure(training.mean, training.sides, config.size, config.batch, device)
    sheet = preview.sheet(training.mean, training.sides, config.size, device)
    preview.write(run.path / "previews" / f"step-{training.step}.png", sheet)
    journal.picture(sheet, training.step)
    training.seen = seen
    return seen.figures | (judge.look(training.mean, config.size, device) if judge else {})


def cost(config: TrainConfig, seconds: float, processes: int) -> dict[str, float]:
    """Hours of a device (one a process), and the money for them where a price was given."""
    hours = seconds * processes / 3600
    return {"device_hours": hours, "cost": hours * config.price} if config.price else {"device_hours": hours}


def _cool(training: Training, journal: Journal | None) -> None:
    """Begin the cool-down where held-out quality has stopped rising, or it is high time; rank 0 decides."""
    flat = bool(journal is not None and on_plateau(journal.table()))
    if _from_main(training.accelerator, [float(flat)])[0] or training.step >= latest_cooling(training.config):
        training.cooling = training.step
        log.log(
            logging.INFO if training.accelerator.is_main_process else logging.DEBUG,
            "held-out quality has stopped rising at step %d: cooling down until step %d",
            training.step, end(training.config, training.cooling),
        )  # fmt: skip


def _name(caught: list[int]) -> str:
    return signal.Signals(caught[0]).name if caught else "a signal to another process"


def _from_main(accelerator: Accelerator, values: list[float]) -> list[float]:
    """The values that rank 0 has, in every process."""
    if accelerator.num_processes == 1:
        return values
    mine = torch.tensor(values, device=accelerator.device)
    told = accelerator.reduce(mine if accelerator.is_main_process else torch.zeros_like(mine), reduction="sum")
    return [float(v) for v in told.tolist()]


def _agreed(here: bool, training: Training) -> bool:
    """Whether any process says so: all have to leave the loop after the same step."""
    accelerator = training.accelerator
    if accelerator.num_processes == 1:
        return here
    said = torch.tensor([float(here)], device=accelerator.device)
    return bool(accelerator.reduce(said, reduction="sum").item() > 0)
