"""`faceset train`."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from curate.errors import UsageError
from faceset import console, messages
from faceset.options import Engine, Force, Given, Json, Quiet, check_engine, faceset_at, local_only, needs_ray, takes
from train.config import TrainConfig, config_of


def _config(
    out: Path, resume: bool, grow: Path | None, init: Path | None, preset: str | None, values: dict[str, Any]
) -> TrainConfig:
    """Configuration of the run that is begun or resumed."""
    from train.run import open_run, resumed_config

    if grow is None:
        return resumed_config(out, preset, **values) if resume else config_of(preset or "small", **values)
    if resume:
        raise UsageError("--resume and --grow exclude each other: a resumed run has its network already")
    if init is not None:
        raise UsageError("--init and --grow exclude each other: a grown run has the whole network of the smaller one")
    from train.growth import grown_config

    small = open_run(grow)
    if small.people:
        raise UsageError(f"--grow {grow}: is a prior of many people: start from it with --init")
    return grown_config(str(grow), small.config, preset, values)


@takes(TrainConfig)
def train(
    source: Annotated[Path, typer.Option(metavar="DIR", help="Faceset that gives the face.", callback=faceset_at)],
    target: Annotated[
        Path, typer.Option(metavar="DIR", help="Faceset whose performance is kept.", callback=faceset_at)
    ],
    out: Annotated[Path, typer.Option(metavar="PATH", help="Folder of the run.", callback=local_only)],
    given: Given,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint.")] = False,
    init: Annotated[
        Path | None, typer.Option(metavar="PRIOR", help="Initialise from this prior, or the encoder from this run.")
    ] = None,
    grow: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Continue this smaller run of the same faces at a larger size.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Local folder for decoded faces. [default: OUT/cache]")
    ] = None,
    engine: Engine = "local",
    workers: Annotated[int, typer.Option(metavar="N", help="Number of processes with --engine ray.")] = 1,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the face-swap network on two facesets; defaults are those of --preset small.

    For several GPUs or machines, start it with torchrun or accelerate launch.
    """
    check_engine(engine)
    if workers != 1:
        needs_ray("--workers", engine)
    values = dict(given[TrainConfig])
    preset = values.pop("preset", None)
    progress = console.progress(quiet)
    config = _config(out, resume, grow, init, preset, values)
    if engine == "ray":
        from train.on_ray import train_on_ray

        done = train_on_ray(config, source, target, out, workers, resume, force, init or grow, cache)
    else:
        from train.fit import train as run

        done = run(config, source, target, out, resume, force, init or grow, cache, progress)
    if os.environ.get("RANK", "0") == "0":  # under torchrun the first process speaks for all
        console.say(as_json, asdict(done), messages.trained(out))
