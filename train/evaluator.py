"""A process of its own that evaluates a run: `python -m train.evaluator`, started by `train.evaluations`.

It reads one JSON object a line from stdin: first `Task`, then {"evaluate": step, "last": bool}, whose weights lie in
the run's folder, and {"report": step, "ended": word}. It answers each with one line on stdout, {"figures": {...}} or
{"reported": true}. {"level": n, "message": text} is a line of the log. It ends with stdin.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from curate.dataset.faceset import open_faceset
from curate.records import record
from curate.safe_io import one_line, printable
from train.data import load_side
from train.model import build
from train.run import Run, open_run
from train.scene import Scene
from train.start import as_begun

log = logging.getLogger(__name__)

NICE = 5
"""How far it stands back for the training, whose threads it shares the processor with."""
GRACE = 2.0
"""Seconds that it has to end by itself."""


@dataclass(frozen=True)
class Task:
    """What the process is started with."""

    out: str
    """The run's folder, which has a run.json."""
    facesets: dict[str, str]
    """Side to the faceset's folder."""
    cache: str
    """Folder of the decoded crops, which are all there."""
    device: str
    facts: dict[str, Any]
    """See `train.scene.Scene`."""

    def line(self) -> str:
        """As the process reads it."""
        return json.dumps(asdict(self))


def weights_of(out: Path, step: int) -> Path:
    """Where the weights lie that are to be evaluated."""
    return out / "evaluation" / f"step-{step}.safetensors"


def scene_of(task: Task) -> Scene:
    """The run's held-out faces and what reads their swaps, opened anew."""
    out = Path(task.out)
    run = open_run(out)
    facesets = {name: open_faceset(Path(folder)) for name, folder in task.facesets.items()}
    sides = {
        name: load_side(name, faceset, run.config, Path(task.cache), False, lambda *_: None)
        for name, faceset in facesets.items()
    }
    sides = as_begun(sides, run)
    return Scene(run.config, sides, facesets, torch.device(task.device), out, task.facts)


def evaluate(scene: Scene, step: int, last: bool) -> dict[str, float]:
    """Figures of the weights that wait for their evaluation."""
    model = build(scene.config).requires_grad_(False)
    model.load_state_dict(load_file(str(weights_of(scene.out, step))))
    return scene.evaluate(model.to(scene.device), step, last)


class GoneError(Exception):
    """The process has ended; the message says why."""


class Child:
    """The process, as the training sees it."""

    def __init__(self, task: Task) -> None:
        folder = weights_of(Path(task.out), 0).parent
        folder.mkdir(exist_ok=True)
        self._errors = (folder / "errors.txt").open("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "train.evaluator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,  # so that Ctrl-C does not reach it
        )
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, name="evaluator", daemon=True)
        self._listener.start()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="evaluator")
        self._writer.submit(self._write, task.line(), None)

    def ask(self, before: Callable[[], object] | None = None, **values: Any) -> None:
        """Ask a question, after `before` is done, in a thread; the answer is {"lost": reason} if it fails.

        That the process has ended is found out when the answer is awaited.
        """
        self._writer.submit(self._write, json.dumps(values), before)

    def answer(self, patience: float) -> dict[str, Any] | None:
        """The next answer; None if none has come within so many seconds. Raises GoneError."""
        try:
            found = self._answers.get(timeout=patience) if patience else self._answers.get_nowait()
        except queue.Empty:
            return None
        if found is None:
            self._answers.put(None)
            raise GoneError(self._reason())
        return found

    def close(self) -> None:
        """End it, whatever it does."""
        self._writer.shutdown()
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(GRACE if self._process.poll() is None else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(GRACE)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()
        with suppress(OSError):  # weights may wait there
            Path(self._errors.name).unlink()
            Path(self._errors.name).parent.rmdir()

    def _write(self, line: str, before: Callable[[], object] | None) -> None:
        try:
            if before is not None:
                before()
        except (OSError, SafetensorError) as error:
            self._answers.put({"lost": one_line(error)})
            return
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        """Pass on answers, and lines of the log."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                found = json.loads(line)
            except ValueError:  # cut off by its end
                break
            if "message" in found:
                log.log(int(found["level"]), "%s", found["message"])
            else:
                self._answers.put(found)
        self._answers.put(None)

    def _reason(self) -> str:
        """Why it has ended, in one line."""
        try:
            status = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return "it no longer answers"
        if status < 0:
            return f"killed by {signal.Signals(-status).name}"
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return printable(lines[-1])[:200] if lines else f"exit code {status}"


class Forwarded(logging.Handler):
    """Lines of the log that the training's process writes."""

    def __init__(self, answers: IO[str]) -> None:
        super().__init__(logging.INFO)
        self.answers = answers

    def emit(self, line: logging.LogRecord) -> None:
        answer(self.answers, level=line.levelno, message=line.getMessage())


def answer(answers: IO[str], **values: Any) -> None:
    """Write one line."""
    answers.write(json.dumps(values) + "\n")
    answers.flush()


def serve(questions: IO[str], answers: IO[str]) -> None:
    """Answer until stdin ends."""
    scene = scene_of(record(Task, json.loads(questions.readline())))
    for line in questions:
        asked = json.loads(line)
        if "evaluate" in asked:
            answer(answers, figures=evaluate(scene, asked["evaluate"], asked["last"]))
        else:
            run: Run = replace(open_run(scene.out), ended=asked["ended"])
            scene.report(run, asked["report"])
            answer(answers, reported=True)


def main() -> None:
    """Serve on stdin and stdout; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes, they are the training's, which ends this
        signal.signal(number, signal.SIG_IGN)
    with suppress(AttributeError, OSError):
        os.nice(NICE)
    torch.set_float32_matmul_precision("high")
    logger = logging.getLogger()
    logger.setLevel(logging.WARNING)
    logger.addHandler(Forwarded(answers))
    with suppress(BrokenPipeError):
        serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
