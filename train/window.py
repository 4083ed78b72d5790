"""The steps between two log lines: their speed and means, and the evaluation at their end where one is due."""

from __future__ import annotations

import time

from train.config import TrainConfig
from train.evaluations import Evaluations
from train.journal import Journal
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
    evaluations: Evaluations | None,
    evaluating: bool,
    window: Window,
    begun: float,
) -> Run:
    """Write a log line, and have the weights evaluated if `evaluating`; returns the run with its new results.

    Every process has to call it; rank 0, which has the journal and the evaluations, writes.
    """
    config, accelerator = training.config, training.accelerator
    figures, steps, seconds, waited = means(training), training.counted, window.seconds(), window.waited()
    training.sums, training.counted = None, 0
    if journal is None or evaluations is None:
        return run
    loss = (figures["total_source"] + figures["total_target"]) / 2
    images = 2 * config.batch * accelerator.num_processes * steps / seconds
    line: dict[str, float] = {"step": training.step, "images_per_second": images, "waited": waited}
    line |= {"lr": training.optimizer.param_groups[0]["lr"], "loss": loss, **figures}
    last = end(config, training.cooling)
    evaluated = evaluations.here(training.ema, training.step, training.step == last) if evaluating else {}
    line |= evaluated
    line["seconds"] = training.seconds + time.perf_counter() - begun
    spent = device_cost(config, line["seconds"], accelerator.num_processes)
    journal.line(line | spent, last, (last - training.step) * seconds / max(steps, 1))
    run = run.with_results({"loss": loss, **evaluated, **spent})
    if evaluating:
        run = evaluations.begin(run, journal, training.ema, training.step, last=training.step == last)
    return run


def device_cost(config: TrainConfig, seconds: float, processes: int) -> dict[str, float]:
    """Device hours (one device per process), and their cost if a price was given."""
    hours = seconds * processes / 3600
    return {"device_hours": hours, "cost": hours * config.price} if config.price else {"device_hours": hours}
