"""The training loop: set up or resume, step, log and evaluate, save.

Every random number of step n comes from a generator seeded with (seed, n, side), so a step depends on the weights
before it and on no other state: a resumed run is bit-identical to an uninterrupted one (on the CPU; GPUs add in a
different order each time).
"""

from __future__ import annotations

import logging
import math
import signal
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from curate.dataset import consent
from curate.dataset.faceset import Faceset, open_faceset
from curate.errors import StoppedError, WorkError
from curate.runtime.files import file_sha256
from curate.types import Progress, no_progress
from train import checkpoint, decoded
from train.compiling import compile_where_it_pays, go_without
from train.config import TrainConfig
from train.evaluations import AT_A_SIGNAL, PATIENCE, Evaluations, is_apart
from train.evaluator import Task
from train.folder_lock import held
from train.health import MAX_REWINDS, DivergedError, diverged, is_memory, is_read
from train.journal import Journal
from train.page import facts_of
from train.people import check_people
from train.performance import AXES
from train.processes import any_process, from_main, together
from train.room import choose, too_large
from train.run import Run, is_run, open_run
from train.scene import Scene
from train.schedule import end, should_cool
from train.signals import listen, name_of
from train.start import (
    after_restart,
    begin,
    check_call,
    describe_run,
    load,
    load_weights,
    resumed,
    with_batch_of,
)
from train.state import Training, make_accelerator, rewind, save, setup
from train.step import step
from train.window import Window, close_window

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """Result of a training."""

    steps: int
    resumed_from: int | None
    """Step of the checkpoint that was resumed; None for a new run."""
    loss: float
    """Mean of both sides over the last log line."""
    ssim: float
    """Held-out reconstruction, mean of both sides; see `train.measure.measure`."""
    seconds: float
    """Duration of this call."""
    ended: str
    """finished (all steps done) or plateau."""
    nearer: float | None
    """Share of held-out swaps whose identity is closer to the source than to the target; None: not measured."""
    performance: dict[str, dict[str, float]]
    """Per axis of `train.performance.AXES` the `correlation` and `slope` of held-out swaps; {}: not measured."""
    device_hours: float | None
    """Device hours of the whole run, one device per process."""
    cost: float | None
    """Their cost; None without a price."""


@dataclass(frozen=True)
class Due:
    """What has to be done after a step."""

    log: bool
    evaluate: bool
    cool: bool
    """Decide whether the cool-down begins."""
    save: bool
    ended: str
    """Why the loop ends here: finished, plateau, stopped by a signal; empty if it continues."""


def train(
    config: TrainConfig,
    source: Path | str,
    target: Path | str,
    out: Path | str,
    resume: bool = False,
    force: bool = False,
    init: Path | str | None = None,
    cache: Path | str | None = None,
    progress: Progress = no_progress,
) -> Summary:
    """Train on two facesets into the folder `out`.

    Resumes the run in `out` with `resume`, or if torchrun has restarted the processes; replaces it with `force`; starts
    from the encoder of the run `init`, or a whole prior. `cache`: folder on this machine's disk for the decoded crops.
    Raises ConsentError if a faceset has no subject or basis, UsageError for a wrong call, WorkError if the work fails
    or a signal stops it (then a checkpoint of that step can be resumed).
    """
    begun, out = time.perf_counter(), Path(out)
    init, cache = (Path(given) if given else None for given in (init, cache))
    resume, force = after_restart(out, resume, force)
    facesets = {"source": open_faceset(source), "target": open_faceset(target)}
    subjects = {name: consent.require(f.subject, str(f.folder)) for name, f in facesets.items()}
    check_call(facesets, config, resume, force, init)
    config = with_batch_of(out, config) if resume else config
    check_people(facesets, open_run(out) if resume else None)
    accelerator = make_accelerator(config)
    with together(accelerator), held(out) if accelerator.is_main_process else nullcontext():
        decode, main = cache or out / "cache", accelerator.is_main_process
        old = begin(out, config, subjects, subjects.values(), decode, resume, force) if main else None
        accelerator.wait_for_everyone()
        begun_before = open_run(out) if resume and is_run(out) else None
        sides = load(facesets, config, decode, accelerator, progress, begun_before, cache is None)
        training = setup(config, accelerator, sides)
        if not config.batch:
            choose(training)
        resumed_from = load_weights(training, out if resume else None, init)
        run = resumed(describe_run(training, facesets, subjects, out, init, cache), old, training)
        if accelerator.is_main_process:
            run = decoded.saved(run)
            if training.step < config.steps:
                (out / "model.safetensors").unlink(missing_ok=True)
        evaluations = evaluations_of(training, out, facesets, cache) if accelerator.is_main_process else None
        ended = finish(training, fit(training, run, evaluations, begun, progress))
        return summary(training, ended, resumed_from, begun)


def fit(training: Training, run: Run, evaluations: Evaluations | None, begun: float, progress: Progress) -> Run:
    """Do the remaining steps; returns the run with its results. Rank 0 has the evaluations.

    Raises WorkError if a signal stops it, the training diverges again and again, or memory runs out.
    """
    journal = Journal(run.path, training.step) if evaluations is not None else None
    window = Window(training)
    compile_where_it_pays(training)
    try:
        if journal and evaluations:
            run = evaluations.resume(run, journal, training.step)
        with listen() as caught:
            while training.step < end(training.config, training.cooling):
                if not _try_step(training, run):
                    journal, window = _rewound(journal, evaluations, run, training), Window(training)
                    continue
                if journal and evaluations:
                    progress("train", training.step, end(training.config, training.cooling))
                    run = evaluations.collect(run, journal)
                due = _due(training, caught)
                if due.log:
                    run = close_window(training, run, journal, evaluations, due.evaluate, window, begun)
                    window = Window(training)
                if due.cool:
                    _cool(training, journal)
                if due.save:
                    run = _save(training, run, journal, evaluations, due.ended, begun)
                if due.ended.startswith("stopped"):
                    raise (StoppedError if signal.SIGINT in caught else WorkError)(
                        f"{due.ended} at step {training.step}; a checkpoint was saved, continue with --resume"
                    )
    finally:
        training.feed.close()
        if evaluations:
            evaluations.close()
        if journal:
            journal.close()
    return run


def _save(
    training: Training, run: Run, journal: Journal | None, evaluations: Evaluations | None, ended: str, begun: float
) -> Run:
    """Write a checkpoint; at the end also the last evaluation's figures and the training report."""
    stopped = ended.startswith("stopped")
    if ended and not stopped and journal and evaluations:
        run = evaluations.collect(run, journal, PATIENCE)
    run = save(training, replace(run, ended=ended or run.ended), time.perf_counter() - begun)
    if ended and journal and evaluations:
        run = evaluations.end(run, journal, training.step, AT_A_SIGNAL if stopped else PATIENCE)
        if stopped:  # whoever sends a signal may not wait for long, so the checkpoint came first
            run.save()
    return run


def evaluations_of(
    training: Training, out: Path, facesets: dict[str, Faceset] | None = None, cache: Path | None = None
) -> Evaluations:
    """The evaluations of a run whose run.json is written; without facesets nothing looks at swaps."""
    config, device, facts = training.config, training.accelerator.device, facts_of(training.accelerator)

    def scene() -> Scene:
        return Scene(config, training.sides, facesets, device, out, facts)

    if not facesets or not is_apart(config, device):
        return Evaluations(config, out, scene)
    folders = {name: str(faceset.folder.resolve()) for name, faceset in facesets.items()}
    task = Task(str(out.resolve()), folders, str((cache or out / "cache").resolve()), str(device), facts)
    return Evaluations(config, out, scene, task)


def finish(training: Training, run: Run) -> Run:
    """Write the final weights and their hash; every process has to call it, rank 0 writes."""
    if training.accelerator.is_main_process:
        weights = run.path / "model.safetensors"
        checkpoint.write_tensors(weights, training.ema.state_dict())
        run = replace(run.with_gains(), weights_sha256=file_sha256(weights))
        run.save()
    training.accelerator.wait_for_everyone()
    return run


def _try_step(training: Training, run: Run) -> bool:
    """Do a step; False if the training had diverged and returned to its last good state instead."""
    done = _stepped(training, run)
    if done is None:  # only here is the failed pass free: an exception that is handled keeps its frames
        raise too_large(training)
    return done


def _stepped(training: Training, run: Run) -> bool | None:
    """As `_try_step`; None if memory ran out."""
    try:
        step(training)
    except DivergedError as error:
        if training.rewinds >= MAX_REWINDS:
            raise diverged(str(error), training.config) from None
        rewind(training, run.path / "checkpoints", Path(run.init) if run.init else None)
        log.warning("%s: returning to step %d at half the learning rate", error, training.step)
        return False
    except Exception as error:
        if is_memory(error):
            return None
        if not go_without(training, error):
            raise
    else:
        return True
    return _stepped(training, run)


def _rewound(journal: Journal | None, evaluations: Evaluations | None, run: Run, training: Training) -> Journal | None:
    """The journal without the lines after the step that the training returned to."""
    if journal is None or evaluations is None:
        return None
    journal.close()
    evaluations.forget()
    return Journal(run.path, training.step)


def _due(training: Training, caught: list[int]) -> Due:
    """What the step that was just done calls for; the same in every process, which all have to call it."""
    config, now = training.config, training.step
    last, read = now == end(config, training.cooling), is_read(training, now)
    stopped = read and any_process(training.accelerator, bool(caught))
    evaluate = last or bool(config.preview_every and now % config.preview_every == 0)
    ended = ""
    if last:
        ended = "plateau" if now < config.steps else "finished"
    elif stopped:
        ended = f"stopped by {name_of(caught)}"
    return Due(
        log=(evaluate or now % config.log_every == 0) and training.counted > 0,
        evaluate=evaluate,
        cool=evaluate and not last and config.stop == "auto" and training.cooling is None,
        # Not after a skipped step: the state may be what makes the steps fail.
        save=bool(ended) or (now % config.save_every == 0 and not training.skipped),
        ended=ended,
    )


def _cool(training: Training, journal: Journal | None) -> None:
    """Begin the cool-down if it is time; rank 0, which has the log, decides."""
    now = journal is not None and should_cool(training.config, training.step, journal.table())
    if from_main(training.accelerator, [float(now)])[0]:
        training.cooling = training.step
        log.log(
            logging.INFO if training.accelerator.is_main_process else logging.DEBUG,
            "held-out quality has stopped rising at step %d: cooling down until step %d",
            training.step, end(training.config, training.cooling),
        )  # fmt: skip


def summary(training: Training, run: Run, resumed_from: int | None, begun: float) -> Summary:
    """The summary of a run, the same in every process."""
    kinds = {"correlation": "follows", "slope": "slope"}
    figures = {(axis, kind): f"{name}_{axis}" for axis in AXES for kind, name in kinds.items()}
    names = ("loss", "ssim", "nearer", "device_hours", "cost", *figures.values())
    loss, ssim, *others = from_main(training.accelerator, [run.results.get(name, math.nan) for name in names])
    nearer, hours, cost, *follows = [None if math.isnan(value) else value for value in others]
    performance: dict[str, dict[str, float]] = {}
    for (axis, kind), value in zip(figures, follows, strict=True):
        if value is not None:
            performance.setdefault(axis, {})[kind] = value
    seconds = time.perf_counter() - begun
    return Summary(training.step, resumed_from, loss, ssim, seconds, run.ended, nearer, performance, hours, cost)
