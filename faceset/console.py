"""What verbs print: results on stdout, progress, logs and errors on stderr."""

from __future__ import annotations

import difflib
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import typer

from curate.words import visible


def say(as_json: bool, result: dict[str, Any], text: Callable[[dict[str, Any]], str]) -> None:
    """Print a result: one JSON object, or as `text` puts it, with control characters in its words as escapes."""
    from curate.runtime.logs import to_json

    shown = to_json(result) if as_json else "\n".join(map(visible, text(_visible(result)).split("\n")))
    typer.echo(shown)


def _visible(value: Any) -> Any:
    """A result whose strings (names, paths, what others wrote) are one line each."""
    if isinstance(value, dict):
        return {_visible(key): _visible(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_visible(item) for item in value]
    return type(value)(visible(str(value))) if isinstance(value, str | Path) else value


def progress(quiet: bool) -> Any:
    """Set up logging; a progress bar, or nothing where `quiet`."""
    from curate.runtime.progress import Bar, set_up_logging
    from curate.types import no_progress

    set_up_logging(quiet)
    return no_progress if quiet else Bar()


def wrong_call(error: Any) -> str:
    """One line about a call that the parser refuses (a typer.TyperException): which word, what is wrong with it."""
    param, text = getattr(error, "param", None), str(getattr(error, "message", error))
    if hasattr(error, "possibilities"):
        near = difflib.get_close_matches(error.option_name, error.possibilities or (), 1)
        text = f"{error.option_name}: no such option" + (f"; did you mean {near[0]}?" if near else "")
        given = next((w for w in sys.argv[1:] if w.startswith(error.option_name) and Path(w).exists()), "")
        text = f"{given}: looks like an option; write ./{given}" if given else text
    elif hasattr(error, "option_name"):
        text = f"{error.option_name}: needs a value"
    elif hasattr(error, "param_type"):
        text = f"{_name_of(param)} is missing"
    elif param is not None:
        kind = "whole number" if "integer" in text else "number" if "number" in text else ""
        text = f"{_name_of(param)}{_given(param)}: " + (f"must be a {kind}" if kind else text)
    elif match := re.fullmatch(r"No such command '(.*)'\.", text):
        text = f"{match[1]}: no such verb"
    elif match := re.fullmatch(r"Got unexpected extra argument\(?s?\)? \((.*)\)", text):
        text = f"{match[1]}: unexpected; quote names that contain spaces"
    verb = "" if text.endswith("no such verb") else next((f" {w}" for w in sys.argv[1:2] if w[:1] != "-"), "")
    return f"{text.rstrip('.')} (see faceset{verb} --help)"


def _name_of(param: Any) -> str:
    """The option's longest flag, or the argument's name as --help has it."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    return str(max(param.opts, key=len))


def _given(param: Any) -> str:
    """The option's value on the command line, after a space; empty where it is not found."""
    words = iter(sys.argv)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in param.opts:
            return f" {value if equals else next(words, '')}"
    return ""


def fail(message: str, code: int) -> int:
    """Print an error: one line on stderr, with --json also one object on stdout; returns the exit code."""
    from curate.runtime.logs import VARIABLE, log_line, to_json

    as_lines = os.environ.get(VARIABLE) == "json"
    sys.stderr.write((log_line("error", "faceset", message) if as_lines else f"faceset: {visible(message)}") + "\n")
    if _as_json():
        typer.echo(to_json({"error": message, "exit": code}))
    return code


def place_of(error: OSError) -> str:
    """The file that an error is about, or was to be; of a temporary file the folder that it was to be in."""
    name = str(error.filename2 or error.filename or "")
    path = Path(name)
    if not name:
        return "writing"
    return f"the folder {path.parent}" if path.name.startswith(".") else name


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
