"""`faceset pretrain`."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from faceset import console, messages
from faceset.options import Force, Given, Json, Quiet, faceset_at, local_only, takes
from train.config import TrainConfig, config_of


@takes(TrainConfig)
def pretrain(
    facesets: Annotated[
        list[Path], typer.Argument(metavar="FACESET...", help="Facesets of different people.", callback=faceset_at)
    ],
    out: Annotated[Path, typer.Option(metavar="PRIOR", help="Folder of the prior.", callback=local_only)],
    given: Given,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint.")] = False,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Local folder for decoded faces. [default: OUT/cache]")
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on many people, from which `faceset train --init PRIOR` starts.

    Every faceset needs a subject and a basis. A prior cannot be rendered.
    """
    values = dict(given[TrainConfig])
    preset = values.pop("preset", None)
    progress = console.progress(quiet)
    from train.pretrain import pretrain as run
    from train.run import resumed_config

    config = resumed_config(out, preset, **values) if resume else config_of(preset or "small", **values)
    done = run(config, facesets, out, resume, force, cache, progress)
    if os.environ.get("RANK", "0") == "0":
        console.say(as_json, asdict(done), messages.trained(out))
