"""The exceptions that a user may see, and their exit codes.

    FacesetError            an error of the call or the machine, reported in one line
    |-- UsageError          the call was wrong (exit 2): an option, a value, a path of the wrong kind
    |   `-- ConsentError    a faceset without a subject or basis was about to be used
    `-- WorkError           the work failed (exit 1): footage, disk, network, a missing package
        |-- FootageError    a file cannot be read as footage; `reason` becomes a row in the summary
        |-- StoppedError    Ctrl-C ended the work, which has saved its state (exit 130)
        |-- NobodyError     no face was found in the footage, or not the requested person
        |-- NoneEligibleError  no face passes the floors of a selection
        |-- WeightsError    weights are not in the cache and cannot be downloaded
        `-- MissingError    an optional package is not installed; the message contains the command

Everything else is a bug and raises as itself, with its traceback.
"""

from __future__ import annotations

from pathlib import Path


class FacesetError(Exception):
    """Base of all errors that are reported in one line: what happened, to which thing, and what to do."""

    exit_code = 1


class UsageError(FacesetError):
    """The call was wrong."""

    exit_code = 2


def check_file(path: Path, flag: str = "") -> None:
    """Raise UsageError unless `path` is a file; `flag` is the option that names it."""
    if not path.is_file():
        raise UsageError(f"{flag} {path}: {'is a folder' if path.is_dir() else 'no such file'}".strip())


class ConsentError(UsageError):
    """A face was about to be used without a named subject and a basis."""


class WorkError(FacesetError):
    """The call was right, the work failed."""


class StoppedError(WorkError):
    """Work that Ctrl-C ended after it had saved its state."""

    exit_code = 130


class FootageError(WorkError):
    """A file that cannot be read as footage."""


class NobodyError(WorkError):
    """Footage without a face, or without the requested person."""


class NoneEligibleError(WorkError):
    """Faces are kept, but none passes the floors."""


class WeightsError(WorkError):
    """Weights that are not in the cache and cannot be downloaded."""


class MissingError(WorkError):
    """A package that this feature needs is not installed."""
