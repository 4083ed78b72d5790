"""Before the first step: the call is checked, the folder made ready, the faces decoded, the run described."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from accelerate import Accelerator

from curate.dataset.faceset import Faceset
from curate.errors import UsageError, WorkError
from curate.types import Progress, Subject
from train.config import TrainConfig, check_resume, flag
from train.data import Side, clarity, load_side, usable_rows
from train.model import SIDES, parameter_counts
from train.run import OWN, Run, describe, is_run, open_run
from train.state import Training

log = logging.getLogger(__name__)


def check_call(facesets: dict[str, Faceset], resume: bool, force: bool, init: Path | None) -> None:
    """Raise UsageError for flags or facesets that do not go together, WorkError for a faceset without faces."""
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
    for faceset in facesets.values():
        usable_rows(faceset)


def prepare(out: Path, config: TrainConfig, subjects: dict[str, Subject], resume: bool, force: bool) -> Run | None:
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
        clear(out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "cache").mkdir(exist_ok=True)
    except OSError as error:
        raise WorkError(f"--out {out}: cannot be written ({error.strerror}); name another folder") from None
    return None


def clear(out: Path) -> None:
    """Remove what belongs to a run, and nothing else."""
    for name in OWN if out.is_dir() else ():
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def restarted() -> bool:
    """Whether torchrun has started this process again after one of them failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")


def load(
    facesets: dict[str, Faceset], config: TrainConfig, cache: Path, accelerator: Accelerator, progress: Progress
) -> dict[str, Side]:
    """Both sides; the first process of each machine decodes, its others wait for it."""
    sides: dict[str, Side] = {}
    footage = clarity(usable_rows(facesets["target"]))
    cache.mkdir(parents=True, exist_ok=True)
    with accelerator.local_main_process_first():
        for name, faceset in facesets.items():
            sides[name] = load_side(name, faceset, config, cache, accelerator.is_local_main_process, progress, footage)
    return sides


def describe_run(
    training: Training, facesets: dict[str, Faceset], subjects: dict[str, Subject], out: Path, init: Path | None
) -> Run:
    """What run.json says at the start."""
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
