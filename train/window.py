"""The steps between two log lines: their speed and means, and the evaluation at their end where one is due."""

from __future__ import annotations

import time
from collections.abc import Sequence

from train import page, preview
from train.config import TrainConfig
from train.identity import Judge
from train.journal import Journal
from train.measure import measure
from train.performance import Stage
from train.run import Run
from train.schedule import end
from train.state import Training, means


class Window:
    """Wall-clock time, and time spent waiting for data, since the previous log line."""

    def __init__(self, training: Training) -> None:
        self._feed, self._begun, self._waited = training.feed, time.perf_counter(), training.feed.waited

    def seconds(self) -> float:
        """Seconds since the previous log line, evaluating and saving included."""
        return max(time.perf_counter() - self._begun, 1e-9)

    def waited(self) -> float:
        """Share of that time in which steps waited for data."""
        return (self._feed.waited - self._waited) / self.seconds()


def close_window(
    training: Training,
    run: Run,
    journal: Journal | None,
    judges: Sequence[Judge | Stage],
    evaluating: bool,
    window: Window,
    begun: float,
) -> Run:
    """Write a log line, with an evaluation and a new report if `evaluating`; returns the run with its new results.

    Every process has to call it; rank 0, which has the journal, writes.
    """
    config, accelerator = training.config, training.accelerator
    figures, steps, seconds, waited = means(training), training.counted, window.seconds(), window.waited()
    training.sums, training.counted = None, 0
    if journal is None:
        return run
    loss = (figures["total_source"] + figures["total_target"]) / 2
    images = 2 * config.batch * accelerator.num_processes * steps / seconds
    line: dict[str, float] = {"step": training.step, "images_per_second": images, "waited": waited}
    line |= {"lr": training.optimizer.param_groups[0]["lr"], "loss": loss, **figures}
    evaluated = evaluate(training, run, journal, judges) if evaluating else {}
    line |= evaluated
    line["seconds"] = training.seconds + time.perf_counter() - begun
    spent = device_cost(config, line["seconds"], accelerator.num_processes)
    last = end(config, training.cooling)
    journal.line(line | spent, last, (last - training.step) * seconds / max(steps, 1))
    run = run.with_results({"loss": loss, **evaluated, **spent})
    if evaluating:
        page.write(run, training, journal)
    return run


def evaluate(training: Training, run: Run, journal: Journal, judges: Sequence[Judge | Stage]) -> dict[str, float]:
    """Figures of the running mean of the weights on held-out faces; also writes a preview sheet."""
    config, device = training.config, training.accelerator.device
    found = measure(training.ema, training.sides, config.size, config.batch, device)
    sheet = preview.sheet(training.ema, training.sides, config.size, device)
    preview.write(run.path / "previews" / f"step-{training.step}.png", sheet)
    journal.picture(sheet, training.step)
    training.evaluation = found
    figures = dict(found.figures)
    for judge in judges:
        figures |= judge.evaluate(training.ema, config.size, device)
    return figures


def device_cost(config: TrainConfig, seconds: float, processes: int) -> dict[str, float]:
    """Device hours (one device per process), and their cost if a price was given."""
    hours = seconds * processes / 3600
    return {"device_hours": hours, "cost": hours * config.price} if config.price else {"device_hours": hours}
