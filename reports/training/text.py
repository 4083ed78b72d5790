"""Text for the numbers of a training report: time, money and settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.page.curves import decimal
from reports.training.figures import Point


def time_span(seconds: float) -> str:
    """Seconds as 35 s, 12 min, 3.2 h, 2.1 days; a dash for NaN."""
    if not math.isfinite(seconds):
        return "–"
    for unit, size in (("days", 172800.0), ("h", 5400.0), ("min", 90.0)):
        if seconds >= size:
            value = seconds / {"days": 86400, "h": 3600, "min": 60}[unit]
            return f"{value:.{0 if value >= 9.95 else 1}f} {unit}"
    return f"{seconds:.{0 if seconds >= 9.95 else 1}f} s"


def money(value: float, currency: str) -> str:
    """$ 1.23, and below a cent $ 0.0012; without a currency only the number; a dash for NaN."""
    if not math.isfinite(value):
        return "–"
    return f"{currency} {value:,.{2 if value >= 0.095 or value == 0 else 4}f}".strip()


def pace(reached: Sequence[Point], now: float, currency: str) -> str:
    """Sentences on the time for the last 0.01 of SSIM, the one ten before, and the time since; `now` in seconds.

    Empty if fewer than two points were reached.
    """
    if not reached or not math.isfinite(reached[-1].took):
        return ""
    end = reached[-1]
    paid = f" and cost {money(end.paid, currency)}" if math.isfinite(end.paid) else ""
    then = reached[-11].took if len(reached) > 11 else math.nan
    before = f"; ten gains earlier, one took {time_span(then)}" if math.isfinite(then) else ""
    since = now - end.seconds
    none = f" There has been no further gain in the {time_span(since)} since." if since > end.took else ""
    return f"The last gain, to {decimal(end.ssim)}, took {time_span(end.took)}{paid}{before}.{none}"


def hours(value: float) -> str:
    """Device hours; a dash for NaN."""
    return f"{value:,.{1 if value >= 9.95 else 2 if value >= 0.095 else 4}f}" if math.isfinite(value) else "–"


def whole(value: float) -> str:
    """12,345; a dash for NaN."""
    return f"{value:,.0f}" if math.isfinite(value) else "–"


def rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as text, for a table."""
    return [(str(name).replace("_", " "), as_text(v)) for name, v in values.items()]


def as_text(value: Any) -> str:
    """One setting as text."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {as_text(v)}" for k, v in value.items()) or "none"
    return ", ".join(map(as_text, value)) or "none" if isinstance(value, list | tuple) else str(value)
