"""Machine-readable output: results as one JSON object, logs as one JSON object per line."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from curate.errors import UsageError

VARIABLE = "FACESET_LOG"
"""Environment variable: json makes every line on stderr a JSON object; text, the default, is for people."""


def json_logs() -> bool:
    """Whether logs are written as JSON; raises UsageError if the variable is neither json nor text."""
    asked = os.environ.get(VARIABLE) or "text"
    if asked not in ("json", "text"):
        raise UsageError(f"{VARIABLE}={asked}: must be json or text")
    return asked == "json"


def to_json(result: Mapping[str, Any]) -> str:
    """Result as strict JSON (RFC 8259) on one line: floats that are not finite become null, paths strings.

    Bytes of file names that are no UTF-8 are escapes, which `json.loads` and `os.fsencode` make bytes again.
    """
    text = json.dumps(_strict(result), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_strict(v) for v in value]
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return _strict(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def log_line(level: str, logger: str, message: str, when: float | None = None, **more: Any) -> str:
    """One line of a log: {time (ISO 8601, UTC, milliseconds), level, logger, message} and what else is known."""
    moment = datetime.now(UTC) if when is None else datetime.fromtimestamp(when, UTC)
    time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return to_json({"time": time, "level": level, "logger": logger, "message": message, **more})


class JsonLines(logging.Formatter):
    """A logging formatter that writes `log_line`; the traceback of an exception is its field `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """See `log_line`."""
        more = {"traceback": self.formatException(record.exc_info)} if record.exc_info else {}
        return log_line(record.levelname.lower(), record.name, record.getMessage(), record.created, **more)
