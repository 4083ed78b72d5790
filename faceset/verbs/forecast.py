"""`faceset forecast`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from curate.errors import UsageError
from faceset import console, messages
from faceset.options import Json, Quiet


def forecast(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A training run with a few evaluations.")],
    steps: Annotated[int | None, typer.Option(metavar="N", help="Step to forecast.")] = None,
    hours: Annotated[float | None, typer.Option(metavar="X", help="Or: hours of training from now.")] = None,
    price: Annotated[float | None, typer.Option(metavar="X", help="Price per device-hour; default: the run's.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Forecast a run's held-out quality after more steps, and compare its earlier forecasts with what came."""
    if steps is not None and hours is not None:
        raise UsageError("--steps and --hours exclude each other: give one of them")
    if hours is not None and not 0 < hours < 1e5:
        raise UsageError(f"--hours {hours}: must be more than 0")
    console.progress(quiet)
    from train import forecast as forecasts
    from train.run import open_run

    opened = open_run(run)
    log = forecasts.read_log(run)
    made = None
    if steps is not None or hours is not None:
        at = steps if steps is not None else forecasts.step_after(log, hours or 0.0)
        made = forecasts.forecast(log, at, opened.config, opened.config.price if price is None else price)
        forecasts.keep(run, made)
    rows = [asdict(c.forecast) | {"came": c.came, "held": c.held}
            for c in forecasts.check(forecasts.kept(run), log)]  # fmt: skip
    found = {"run": str(run), "forecast": None if made is None else asdict(made), "earlier": rows}
    console.say(as_json, found, messages.forecast)
