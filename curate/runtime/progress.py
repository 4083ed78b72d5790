"""Progress and logs on stderr: a progress bar on a terminal, an occasional line elsewhere.

With FACESET_LOG=json every line is a JSON object, see `curate.runtime.logs`.
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

from curate.runtime.logs import JsonLines, json_logs, log_line
from curate.words import visible

LINE_EVERY = 10.0
"""Seconds between lines if stderr is not a terminal."""


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        self.setStream(sys.stderr)
        super().emit(record)


class _Visible(logging.Formatter):
    """A message in one line, whatever is in a file's name; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """See `curate.words.visible`."""
        return visible(super().formatMessage(record))


def set_up_logging(quiet: bool) -> None:
    """Set up logging: warnings (and, unless quiet, information) of our packages as plain lines on stderr."""
    handler = _Stderr()
    handler.setFormatter(JsonLines() if json_logs() else _Visible("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.captureWarnings(json_logs())
    for name in ("faceset", "curate", "reports", "train", "render"):
        logging.getLogger(name).setLevel(logging.WARNING if quiet else logging.INFO)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds // 3600:.0f} h {seconds % 3600 / 60:.0f} min"


@dataclass
class Bar:
    """Progress that draws `stage done/total rate time-left`; as JSON also the end of every stage."""

    _bar: Any = None
    _task: Any = None
    _stage: str = ""
    _began: float = 0.0
    _first: int = 0
    _drawn: float = 0.0
    _json: bool = field(default_factory=json_logs)
    _tty: bool = field(default_factory=lambda: sys.stderr.isatty() and not json_logs())

    def __call__(self, stage: str, done: int, total: int) -> None:
        """See `curate.types.Progress`."""
        now = time.monotonic()
        if stage != self._stage:
            self.close()
            self._stage, self._began, self._first, self._drawn = stage, now, done, now
            if self._tty:
                self._open(stage, total)
        if self._tty:
            self._bar.update(self._task, completed=done, total=total, text=self._rate(done, total, now))
        elif (now - self._drawn >= LINE_EVERY and done < total) or (self._json and done >= total):
            self._drawn = now
            line = f"{stage} {done}/{total} {self._rate(done, total, now)}"
            if self._json:
                line = log_line("info", "progress", line, stage=stage, done=done, total=total)
            sys.stderr.write(f"{line}\n")
        if done >= total:
            self.close()

    def _rate(self, done: int, total: int, now: float) -> str:
        rate = (done - self._first) / max(now - self._began, 1e-6)
        if rate <= 0 or done >= total:
            return f"{rate:.1f}/s"
        return f"{rate:.1f}/s, {_duration((total - done) / rate)} left"

    def _open(self, stage: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(stage, total=total, text="")
        self._bar.start()

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None
        self._stage = ""
