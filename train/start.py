"""Start of a training, before its first step: call checked, folder prepared, faces and weights loaded."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from curate.dataset.faceset import MANIFEST, Faceset
from curate.errors import UsageError, WorkError
from curate.extract.normalise import Own
from curate.extract.table import calibration
from curate.types import Floats, Progress, Subject
from train import decoded
from train.clarity import clarity
from train.config import TrainConfig, check_resume, flag
from train.crop_cache import check_count
from train.data import Side, load_side, usable_rows
from train.drive import EXPRESSION, Drive, drive_of
from train.folder_lock import is_ours
from train.gaps import by_gaps
from train.growth import grows
from train.model import SIDES, parameter_counts
from train.outlines import Outlines
from train.processes import newest
from train.retarget import NONE, shape_of
from train.run import OWN, Run, describe, is_run, open_run
from train.schedule import end
from train.state import Training, check_init, check_known, restore, synchronise, take_encoder

log = logging.getLogger(__name__)

TOLD_AT_MOST = 6
"""Scores that are named in one message."""


def check_call(facesets: dict[str, Faceset], config: TrainConfig, resume: bool, force: bool, init: Path | None) -> None:
    """Raise UsageError for flags or facesets that exclude each other, WorkError for a faceset without faces."""
    if resume and force:
        raise UsageError("--resume and --force exclude each other: one continues the run, the other replaces it")
    if resume and init is not None and not restarted():
        raise UsageError("--resume and --init exclude each other: a resumed run has its encoder already")
    if init is not None:
        _check_people_of(check_init(init, config), facesets, config)
    framing = {name: f.settings.framing for name, f in facesets.items()}
    if framing["source"] != framing["target"]:
        raise UsageError(
            f"--source {facesets['source'].folder} has framing {framing['source']}, --target "
            f"{facesets['target'].folder} has {framing['target']}: curate one of them again with the other's --framing"
        )
    for faceset in facesets.values():
        check_count(faceset, len(usable_rows(faceset)))


def _check_people_of(begun: Run, facesets: dict[str, Faceset], config: TrainConfig) -> None:
    """Raise UsageError where a run is to be grown from that of other people."""
    sides = {"source": begun.source, "target": begun.target}
    for name, faceset in facesets.items() if grows(begun.config, config) and not begun.people else ():
        if faceset.subject is not None and faceset.subject.name != sides[name].subject.name:
            raise UsageError(
                f"--grow: the {name} of {begun.path} is {sides[name].subject.name}, not {faceset.subject.name}: use "
                "the same facesets, or --init without another --size"
            )


def prepare(out: Path, config: TrainConfig, subjects: dict[str, Subject], resume: bool, force: bool) -> Run | None:
    """Prepare the run's folder; returns the run to resume, or None. A folder with only a cache counts as empty."""
    if resume:
        run = open_run(out)
        check_known(run, "--resume")
        changed = check_resume(run.config, config)
        if changed:
            log.info("options changed since the run started: %s", ", ".join(map(flag, changed)))
        for name, side in (("source", run.source), ("target", run.target)):
            if side.subject.name != subjects[name].name:
                raise UsageError(
                    f"--resume: the {name} of {out} is {side.subject.name}, not {subjects[name].name}: start a new run"
                )
        return run
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: give a folder")
    check_free(out, force)
    try:
        clear(out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "cache").mkdir(exist_ok=True)
    except OSError as error:
        raise WorkError(f"--out {out} cannot be written ({error.strerror}): give another folder") from None
    return None


def begin(
    out: Path,
    config: TrainConfig,
    subjects: dict[str, Subject],
    people: Iterable[Subject],
    cache: Path,
    resume: bool,
    force: bool,
) -> Run | None:
    """`prepare`, with a note of whose faces are decoded into which folder."""
    before = decoded.earlier(out)
    old = prepare(out, config, subjects, resume, force)
    decoded.note(out, before, (subject.name for subject in people), cache)
    return old


def check_free(out: Path, force: bool) -> None:
    """Raise UsageError where a run cannot be written to `out`: --force replaces a run, and no other folder."""
    if not out.is_dir() or all(p.name == "cache" or is_ours(p) for p in out.iterdir()):
        return
    if not is_run(out) or (out / MANIFEST).exists():
        raise UsageError(f"--out {out} already exists and is not a run: give another folder")
    if not force:
        raise UsageError(f"--out {out} already exists: use --resume to continue it or --force to replace it")


def clear(out: Path) -> None:
    """Remove the files of a run, and nothing else."""
    for name in OWN if out.is_dir() else ():
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def restarted() -> bool:
    """Whether torchrun has restarted this process after one of them failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")


def after_restart(out: Path, resume: bool, force: bool) -> tuple[bool, bool]:
    """`--resume` and `--force` as they are meant after torchrun has restarted the processes: both only once.

    The run that this launch began is resumed, any other is treated as at the first start.
    """
    if not restarted() or not is_run(out):
        return resume, force
    begun = open_run(out).launch == launch()
    return resume or begun, force and not begun


def launch() -> str:
    """Name of this launch, the same after a restart; empty without torchrun."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "")


def with_batch_of(out: Path, config: TrainConfig) -> TrainConfig:
    """The configuration with the batch of the run in `out` instead of `--batch auto`."""
    return config if config.batch else replace(config, batch=open_run(out).config.batch)


def load(
    facesets: dict[str, Faceset],
    config: TrainConfig,
    cache: Path,
    accelerator: Accelerator,
    progress: Progress,
    begun: Run | None = None,
    shared: bool = False,
) -> dict[str, Side]:
    """Both sides; the first process of each machine decodes the crops, the others wait for it.

    begun: the run that is resumed, which has its scores or outlines already. shared: other machines may write the same
    folder, so that the first process of all decodes before them; they find it done, or decode into their own folder.
    """
    sides: dict[str, Side] = {}
    footage = clarity(usable_rows(facesets["target"]))
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--cache {cache}: cannot be made ({error.strerror}): give a folder that can be written"
        ) from None

    def loaded(build: bool) -> None:
        for name, faceset in facesets.items():
            sides[name] = load_side(name, faceset, config, cache, build, progress, footage)

    first = shared and accelerator.is_main_process
    if first:
        loaded(True)
    accelerator.wait_for_everyone()
    with accelerator.local_main_process_first():
        loaded(accelerator.is_local_main_process and not first)
    if config.sampling == "gaps":
        sides["source"] = by_gaps(sides["source"], sides["target"])
    if config.drive == "outlines":
        kept = None if begun is None or begun.outlines is None else replace(begun.outlines, gains=NONE)
        return outlined(sides, config.size, kept, accelerator.is_main_process)
    if config.drive == "picture":
        return sides
    drive = None if begun is None else begun.drive
    own = calibrated(facesets["target"]) if drive is None else None
    return driven(sides, drive, own, accelerator.is_main_process)


def as_begun(sides: dict[str, Side], run: Run) -> dict[str, Side]:
    """Both sides with what drives a run, as it has it."""
    if run.outlines is not None:
        return outlined(sides, run.size, replace(run.outlines, gains=NONE), report=False)
    return sides if run.drive is None else driven(sides, run.drive, report=False)


def outlined(
    sides: dict[str, Side], size: int, outlines: Outlines | None = None, report: bool = True
) -> dict[str, Side]:
    """Both sides driven by outlines: `outlines`, or else with the shapes of their training faces.

    Raises UsageError if their landmarks differ in number.
    """
    counts = {side.marks.shape[1] for side in sides.values()}
    if len(counts) > 1:
        raise UsageError(
            f"--drive outlines: the facesets have {min(counts)} and {max(counts)} landmarks: curate both with the same "
            "--landmarker, or use --drive picture"
        )
    shapes = {name: shape_of(side.marks[side.split.train]) for name, side in sides.items()}
    outlines = outlines or Outlines(size, shapes["source"], shapes["target"], counts.pop())
    if report:
        trained = {name: side.scores[side.split.train] for name, side in sides.items()}
        ranges = drive_of(trained["source"], trained["target"], sides["target"].rest)
        _tell(ranges, trained["target"], "what swaps show there is extrapolated")
    return {name: replace(side, outlines=outlines) for name, side in sides.items()}


def calibrated(faceset: Faceset) -> Own | None:
    """The calibration of a faceset; None, with a warning, if its parts are gone."""
    try:
        return calibration(faceset)
    except WorkError as error:
        log.warning("renders of short footage read expressions less well: %s", error)
        return None


def driven(
    sides: dict[str, Side], drive: Drive | None = None, own: Own | None = None, report: bool = True
) -> dict[str, Side]:
    """Both sides with the scores that drive the network: `drive`, or else those that both have.

    own: the target's calibration.
    """
    trained = {name: side.scores[side.split.train] for name, side in sides.items()}
    drive = drive or drive_of(trained["source"], trained["target"], sides["target"].rest, own)
    if report and not set(EXPRESSION) & set(drive.names):
        log.warning(
            "expression and gaze do not drive the swap, since a faceset has none: curate both with --landmarker litert"
        )
    if report:
        _tell(drive, trained["target"], "swaps stop at its limits")
    return {name: replace(side, drive=drive) for name, side in sides.items()}


def _tell(drive: Drive, scores: Floats, consequence: str) -> None:
    """Warn of scores of the target's faces that lie beyond the source's range."""
    if beyond := drive.beyond(scores):
        told = [f"{name} {100 * share:.0f} %" for name, share in beyond.items()][:TOLD_AT_MOST]
        log.warning(
            "the target goes beyond the source's range, and %s (share of faces): %s", consequence, ", ".join(told)
        )


def load_weights(training: Training, out: Path | None, init: Path | None) -> int | None:
    """Load the newest checkpoint of the run in `out`, or else the encoder of the run `init`; the checkpoint's step.

    A run in `out` without a checkpoint is initialised as it was when it began.
    """
    saved = newest(training.accelerator, out / "checkpoints") if out is not None else None
    if saved is not None:
        restore(training, saved)
        synchronise(training)
        return saved.step
    if out is not None and is_run(out) and (begun := open_run(out).init):
        init = Path(begun)
    if init is not None:
        take_encoder(training, init)
    synchronise(training)
    return None


def resumed(run: Run, old: Run | None, training: Training) -> Run:
    """The run with the results so far of the run that it resumes, if there is one."""
    if old is None:
        small = open_run(Path(run.init)) if run.init else None
        if small is not None and grows(small.config, run.config) and small.held_out != run.held_out:
            log.warning("%s: its facesets changed; some held-out faces may have been trained on before", small.path)
        return run
    if old.held_out != run.held_out:
        log.warning("%s: its facesets changed; some held-out faces may have been trained on before", run.path)
    ended = old.ended if training.step >= end(training.config, training.cooling) else ""
    caches = tuple(dict.fromkeys((*(old.caches or ()), *(run.caches or ()))))
    return replace(
        run,
        caches=None if old.caches is None and not caches else caches,
        init=old.init,
        results=old.results,
        ended=ended,
    )


def describe_run(
    training: Training,
    facesets: dict[str, Faceset],
    subjects: dict[str, Subject],
    out: Path,
    init: Path | None,
    cache: Path | None = None,
) -> Run:
    """The run as run.json describes it at the start; every process has to call it."""
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
        drive=sides["source"].drive,
        outlines=sides["source"].outlines,
        caches=places(cache),
        launch=launch(),
    )


def places(cache: Path | None) -> tuple[tuple[str, str], ...]:
    """The cache folder on every machine of this training; `faceset forget` finds it there."""
    if cache is None:
        return ()
    return tuple((machine, str(cache.resolve())) for machine in sorted(set(gather_object([socket.gethostname()]))))
