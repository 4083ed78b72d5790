"""Evaluations of a run, in order: in the training's process, or in one of their own while training continues.

With a process of its own a step only waits until the mean weights are copied; a thread writes them to a file. The
figures are filled into the log's line of their step once they are there. An evaluation that falls due while another one
runs, or too soon after it, is left out, except at the last step and where the run's end depends on it (`--stop auto`).
Weights that wait for their evaluation stay on disk, so that a run that was killed evaluates them when it resumes. If
the process fails or is killed, the training's process evaluates instead.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError

from curate.errors import FacesetError
from curate.safe_io import one_line
from train import checkpoint
from train.config import TrainConfig
from train.evaluator import Child, GoneError, Task, evaluate, weights_of
from train.journal import Journal
from train.model import Swap
from train.run import Run
from train.scene import Scene, sheet_of

log = logging.getLogger(__name__)

PATIENCE = 3600.0
"""Longest wait for one evaluation, seconds."""
AT_A_SIGNAL = 15.0
"""The same where a signal ends the training."""
FAILURES = (FacesetError, SafetensorError, OSError, RuntimeError, ValueError, KeyError)


def is_apart(config: TrainConfig, device: torch.device) -> bool:
    """Whether evaluations have a process of their own."""
    return config.evaluate == "apart" or (config.evaluate == "auto" and device.type == "cuda")


class Evaluations:
    """Evaluations of a run, in rank 0.

    make: opens what an evaluation in this process needs. task: what a process of its own is started with; None: none.
    """

    def __init__(self, config: TrainConfig, out: Path, make: Callable[[], Scene], task: Task | None = None) -> None:
        self.config, self.out, self._make = config, out, make
        self._scene = make() if task is None else None
        self._child = None if task is None else Child(task)
        self._asked: deque[int | None] = deque()
        """Steps whose figures have not come yet; None: they are no longer wanted."""
        self._begun = -1e9
        self._reports = 0
        self._last = -1
        """The run's last step, once it is reached."""

    def here(self, model: Swap, step: int, last: bool) -> dict[str, float]:
        """Figures of a network, evaluated in this process; {} if that is done in another one."""
        return {} if self._scene is None else self._scene.evaluate(model, step, last)

    def begin(self, run: Run, journal: Journal, model: Swap, step: int, last: bool) -> Run:
        """After the step's line was logged: have the network evaluated, or report what `here` found.

        last: it is the run's last one, and not left out. Returns the run with what is known by now.
        """
        if self._child is None:
            self._show(journal, step)
            self._report(run, step)
            return run
        self._last = step if last else self._last
        if not (last or self.config.stop == "auto") and (
            self._asked or time.monotonic() - self._begun < self.config.evaluate_seconds
        ):
            return run
        run = self.collect(run, journal, PATIENCE)
        tensors = {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
        self._begun = time.monotonic()
        return self._ask(run, journal, step, lambda: checkpoint.write_tensors(weights_of(self.out, step), tensors))

    def resume(self, run: Run, journal: Journal, step: int) -> Run:
        """Evaluate what a run that was killed at or after `step` had not evaluated."""
        self._last = step if step >= self.config.steps else -1
        waiting = {int(m[1]): p for p in self.out.glob("evaluation/*") if (m := checkpoint.NAME.fullmatch(p.name))}
        for at, path in sorted(waiting.items()):
            if at <= step and journal.lacks_figures(at):
                run = self._ask(run, journal, at)
            else:
                path.unlink()
        return run

    def collect(self, run: Run, journal: Journal, patience: float = 0.0) -> Run:
        """The run with the figures that have come, which are filled into the log.

        With patience, seconds, it waits until none is missing.
        """
        until = time.monotonic() + patience
        while self._asked and self._child is not None:
            try:
                found = self._child.answer(max(0.0, until - time.monotonic()))
            except GoneError as error:
                return self._go_on(run, journal, str(error))
            if found is None:
                break
            run = self._taken(run, journal, found)
        return run

    def end(self, run: Run, journal: Journal, step: int, patience: float = PATIENCE) -> Run:
        """The run with the last figures, after the training report was written."""
        run = self.collect(run, journal, patience)
        self._report(run, step)
        until = time.monotonic() + patience
        try:
            while self._child is not None and self._reports and time.monotonic() < until:
                run = self._taken(run, journal, self._child.answer(max(0.0, until - time.monotonic())) or {})
        except GoneError as error:
            run = self._go_on(run, journal, str(error))
            self._report(run, step)
        return run

    def forget(self) -> None:
        """Leave out what has not come yet: the training has returned to an earlier step."""
        self._asked = deque(None for _ in self._asked)

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close()

    def _ask(self, run: Run, journal: Journal, step: int, write: Callable[[], object] | None = None) -> Run:
        """Have the weights of a step evaluated, which are on disk or are written."""
        self._asked.append(step)
        if self._child is not None:
            self._child.ask(write, evaluate=step, last=step == self._last)
            return run
        if write is not None:
            with suppress(OSError, SafetensorError):  # then there is nothing to evaluate, and that is said
                write()
        return self._evaluated(run, journal)

    def _go_on(self, run: Run, journal: Journal, reason: str) -> Run:
        """Go on without a process of its own, and evaluate here what it has not."""
        log.warning("the evaluations' process has ended (%s): they continue in the training's process", reason)
        self.close()
        self._child, self._scene = None, self._make()
        return self._evaluated(run, journal)

    def _evaluated(self, run: Run, journal: Journal) -> Run:
        """Evaluate here what is missing."""
        assert self._scene is not None
        for step in [step for step in self._asked if step is not None]:
            try:
                run = self._filled(run, journal, step, evaluate(self._scene, step, step == self._last))
            except FAILURES as error:
                log.warning("step %d is not evaluated: %s", step, one_line(error))
        self._asked.clear()
        return run

    def _taken(self, run: Run, journal: Journal, answer: dict[str, object]) -> Run:
        if "reported" in answer:
            self._reports -= 1
        if "lost" in answer and (step := self._asked.popleft()) is not None:
            log.warning("step %d is not evaluated, since its weights could not be written: %s", step, answer["lost"])
        figures = answer.get("figures")
        if isinstance(figures, dict) and (step := self._asked.popleft()) is not None:
            run = self._filled(run, journal, step, figures)
            self._report(run, step)
        return run

    def _filled(self, run: Run, journal: Journal, step: int, figures: dict[str, float]) -> Run:
        journal.fill(step, figures)
        self._show(journal, step)
        weights_of(self.out, step).unlink(missing_ok=True)
        return run.with_results(figures)

    def _show(self, journal: Journal, step: int) -> None:
        sheet = cv2.imread(str(sheet_of(self.out, step)))
        if sheet is not None:
            journal.picture(np.asarray(sheet[:, :, ::-1], np.uint8), step)

    def _report(self, run: Run, step: int) -> None:
        """Write the training report anew."""
        if self._scene is not None:
            self._scene.report(run, step)
        elif self._child is not None:
            self._child.ask(report=step, ended=run.ended)
            self._reports += 1
