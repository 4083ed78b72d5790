"""The exceptions that a user may see, and their exit codes.

    FacesetError            anything that is the user's or the machine's, told in one line
    |-- UsageError          the call was wrong (exit 2): a flag, a value, a path that is of the wrong kind
    |   `-- ConsentError    a faceset without subject or basis was about to be used
    `-- WorkError           the work failed (exit 1): footage, disk, network, a missing package
        |-- FootageError    a file cannot be read as footage; `reason` becomes a row in the summary
        |-- NobodyError     the footage shows nobody, or nobody like the one who was asked for
        |-- WeightsError    weights are neither cached nor to be had
        `-- MissingError    an optional package is not installed; the message holds the command

Everything else is a bug and raises as itself, with its traceback.
"""

from __future__ import annotations


class FacesetError(Exception):
    """Base of all errors that are told in one line: what was wrong, with what value, what to do."""

    exit_code = 1


class UsageError(FacesetError):
    """The call was wrong."""

    exit_code = 2


class ConsentError(UsageError):
    """A face was about to be used without a named subject and a basis."""


class WorkError(FacesetError):
    """The call was right, the work failed."""


class FootageError(WorkError):
    """A file that cannot be read as footage."""


class NobodyError(WorkError):
    """Footage that shows nobody, or nobody like the one who was asked for."""


class WeightsError(WorkError):
    """Weights that are neither in the cache nor to be had from their sources."""


class MissingError(WorkError):
    """A package that this feature needs is not installed."""
