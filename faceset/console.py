"""What verbs print: results on stdout, progress, logs and errors on stderr."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import typer


def say(as_json: bool, result: dict[str, Any], text: Callable[[dict[str, Any]], str]) -> None:
    """Print a result: one JSON object, or as `text` puts it."""
    from curate.runtime.logs import to_json

    typer.echo(to_json(result) if as_json else text(result))


def progress(quiet: bool) -> Any:
    """Set up logging; a progress bar, or nothing where `quiet`."""
    from curate.runtime.progress import Bar, set_up_logging
    from curate.types import no_progress

    set_up_logging(quiet)
    return no_progress if quiet else Bar()


def fail(message: str, code: int) -> int:
    """Print an error: one line on stderr, with --json also one object on stdout; returns the exit code."""
    from curate.runtime.logs import VARIABLE, log_line, to_json

    as_lines = os.environ.get(VARIABLE) == "json"
    sys.stderr.write((log_line("error", "faceset", message) if as_lines else f"faceset: {message}") + "\n")
    if _as_json():
        typer.echo(to_json({"error": message, "exit": code}))
    return code


def bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An exception that is not the user's error: its traceback, in the form that was asked for."""
    from curate.runtime.logs import VARIABLE, log_line, to_json

    message = f"{kind.__name__}: {error}"
    if _as_json():
        typer.echo(to_json({"error": message, "exit": 1}))
    if os.environ.get(VARIABLE) == "json":
        lines = "".join(traceback.format_exception(kind, error, trace))
        sys.stderr.write(log_line("critical", "faceset", message, traceback=lines) + "\n")
    else:
        sys.__excepthook__(kind, error, trace)


def _as_json() -> bool:
    """Whether this process prints the JSON object; under torchrun only the first does."""
    return "--json" in sys.argv and os.environ.get("RANK", "0") == "0"
