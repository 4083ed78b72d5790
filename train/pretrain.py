"""Pretraining: a network that has drawn many people, from which `faceset train --init PRIOR` begins.

All facesets are one pool, and both sides draw from it through one decoder. A prior draws nobody in particular: it is
never rendered, and it is forgotten with any of its people.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from accelerate import Accelerator
from numpy.typing import NDArray

from curate.dataset import consent
from curate.dataset.faceset import Faceset, open_faceset
from curate.errors import UsageError
from curate.types import Floats, Progress, Subject, no_progress
from train import decoded
from train.augment import Limits
from train.config import TrainConfig
from train.crop_cache import channels, check_count
from train.data import Side, load_side, usable_rows
from train.drive import drive_of
from train.fit import Summary, evaluations_of, finish, fit, summary
from train.folder_lock import held
from train.model import SIDES, parameter_counts
from train.outlines import Outlines
from train.processes import from_main, together
from train.room import choose
from train.run import Run, SideInfo, describe, is_run, open_run
from train.split import Split
from train.start import after_restart, begin, launch, load_weights, places, resumed, with_batch_of
from train.state import Training, make_accelerator, setup

LEAST = 2
"""Facesets that a prior needs."""


def pretrain(
    config: TrainConfig,
    folders: Sequence[Path],
    out: Path,
    resume: bool = False,
    force: bool = False,
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> Summary:
    """Train one network on many people's facesets into the folder `out`; as `train.fit.train`, without swaps.

    Raises ConsentError if a faceset has no subject or basis, UsageError for a wrong call, WorkError if the work fails.
    """
    begun = time.perf_counter()
    resume, force = after_restart(out, resume, force)
    config = with_batch_of(out, config) if resume else config
    facesets = [open_faceset(folder) for folder in folders]
    subjects = [consent.require(faceset.subject, str(faceset.folder)) for faceset in facesets]
    _check(facesets, resume, force)
    everyone = _everyone(subjects)
    accelerator = make_accelerator(config)
    with together(accelerator), held(out) if accelerator.is_main_process else nullcontext():
        old = None
        if accelerator.is_main_process:
            sides = dict.fromkeys(SIDES, everyone)
            old = begin(out, config, sides, subjects, cache or out / "cache", resume, force)
        accelerator.wait_for_everyone()
        drive = open_run(out).drive if resume and is_run(out) else None
        side, counts = _pool(facesets, config, cache or out / "cache", accelerator, progress)
        if config.drive == "scores":
            side = replace(side, drive=drive or drive_of(side.scores, side.scores, side.rest))
        if config.drive == "outlines":
            side = replace(side, outlines=Outlines(config.size, points=side.marks.shape[1]))
        training = setup(config, accelerator, {name: replace(side, name=name) for name in SIDES}, one_decoder=True)
        if not config.batch:
            choose(training)
        resumed_from = load_weights(training, out if resume else None, None)
        run = resumed(_run_of(out, training, facesets, subjects, counts, cache), old, training)
        if accelerator.is_main_process:
            run = decoded.saved(run)
        evaluations = evaluations_of(training, out) if accelerator.is_main_process else None
        run = finish(training, fit(training, run, evaluations, begun, progress))
        from_main(accelerator, [0.0])
        return summary(training, run, resumed_from, begun)


def _run_of(
    out: Path,
    training: Training,
    facesets: Sequence[Faceset],
    subjects: Sequence[Subject],
    counts: Sequence[int],
    cache: Path | None,
) -> Run:
    """The record of a prior at its start; every process has to call it."""
    config, side, everyone = training.config, training.sides[SIDES[0]], _everyone(subjects)
    people = tuple(describe(*each) for each in zip(facesets, subjects, counts, strict=True))
    whole = SideInfo(everyone, (), "", (), sum(counts))
    held = tuple(side.ids[i] for i in side.split.held_out)
    return Run(
        out, config, config.size, facesets[0].settings.framing, whole, whole, training.step,
        parameter_counts(training.model)["all"], held_out=dict.fromkeys(SIDES, held), drive=side.drive,
        outlines=side.outlines, people=people, caches=places(cache), launch=launch(),
    )  # fmt: skip


def _check(facesets: Sequence[Faceset], resume: bool, force: bool) -> None:
    if resume and force:
        raise UsageError("--resume and --force exclude each other: one continues the run, the other replaces it")
    if len({faceset.folder.resolve() for faceset in facesets}) < LEAST:
        raise UsageError(f"a prior needs at least {LEAST} facesets, of different people: give more folders")
    for faceset in facesets[1:]:
        if faceset.settings.framing != facesets[0].settings.framing:
            raise UsageError(
                f"{facesets[0].folder} has framing {facesets[0].settings.framing}, {faceset.folder} has "
                f"{faceset.settings.framing}: curate one of them again with the other's --framing"
            )
    for faceset in facesets:
        check_count(faceset, len(usable_rows(faceset)))


def _everyone(subjects: Sequence[Subject]) -> Subject:
    """All people as one subject, for the record of a prior; without a basis, so that nothing renders it."""
    return Subject(", ".join(sorted({subject.name for subject in subjects})), None)


def _pool(
    facesets: Sequence[Faceset], config: TrainConfig, cache: Path, accelerator: Accelerator, progress: Progress
) -> tuple[Side, list[int]]:
    """One side with the faces of all, every faceset drawn equally often; and the number of faces of each."""
    cache.mkdir(parents=True, exist_ok=True)
    with accelerator.local_main_process_first():
        main = accelerator.is_local_main_process
        sides = [load_side(f"people-{i}", f, config, cache, main, progress) for i, f in enumerate(facesets)]
        path = cache / "pool.u8"
        if main:
            with path.open("wb") as stream:
                for side in sides:
                    stream.write(_at(side, max(s.pixels.shape[1] for s in sides)).tobytes())
    size = max(s.pixels.shape[1] for s in sides)
    counts = [len(side.ids) for side in sides]
    pixels = np.memmap(path, np.uint8, "r", shape=(sum(counts), size, size, channels(config)))
    return pooled(sides, pixels, config), counts


def pooled(sides: Sequence[Side], pixels: NDArray[np.uint8], config: TrainConfig) -> Side:
    """Several sides as one, whose faces are `pixels`; each is drawn from equally often."""
    first = np.cumsum([0, *(len(side.ids) for side in sides)])[:-1]
    chances = [np.diff(side.cumulative, prepend=0.0) / len(sides) for side in sides]
    parts = Split(
        np.concatenate([side.split.train + at for side, at in zip(sides, first, strict=True)]),
        np.concatenate([side.split.held_out + at for side, at in zip(sides, first, strict=True)]),
        max(side.split.guard for side in sides),
    )
    return Side(
        "people",
        tuple(face for side in sides for face in side.ids),
        pd.concat([side.rows for side in sides], ignore_index=True),
        pixels,
        parts,
        np.cumsum(np.concatenate(chances)),
        np.concatenate([side.may_flip for side in sides]),
        Limits(config.blur, config.compress),
        np.concatenate([side.scores for side in sides]),
        np.zeros_like(sides[0].rest),
        _marks(sides, config),
    )


def _marks(sides: Sequence[Side], config: TrainConfig) -> Floats:
    """The landmarks of all sides; raises UsageError where outlines of a different number drive the network."""
    counts = {side.marks.shape[1] for side in sides}
    if len(counts) == 1:
        return np.concatenate([side.marks for side in sides])
    if config.drive == "outlines":
        raise UsageError(
            f"--drive outlines: the facesets have {min(counts)} and {max(counts)} landmarks: curate all with the same "
            "--landmarker, or use --drive picture"
        )
    return np.zeros((sum(len(side.ids) for side in sides), 0, 3), np.float32)


def _at(side: Side, size: int) -> NDArray[np.uint8]:
    """The side's pixels, enlarged to (N, size, size, C)."""
    if side.pixels.shape[1] == size:
        return side.pixels
    repeat = size // side.pixels.shape[1]
    return np.asarray(side.pixels).repeat(repeat, 1).repeat(repeat, 2)
