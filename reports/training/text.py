"""Time, money and settings of a training as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.page.curves import decimal
from reports.training.figures import Point


def spell(seconds: float) -> str:
    """Seconds as 35 s, 12 min, 3.2 h, 2.1 days; a dash for NaN."""
    if not math.isfinite(seconds):
        return "–"
    for unit, size in (("days", 172800.0), ("h", 5400.0), ("min", 90.0)):
        if seconds >= size:
            value = seconds / {"days": 86400, "h": 3600, "min": 60}[unit]
            return f"{value:.{0 if value >= 9.95 else 1}f} {unit}"
    return f"{seconds:.{0 if seconds >= 9.95 else 1}f} s"


def money(value: float, currency: str) -> str:
    """$ 1.23, and below a cent $ 0.0012; a dash for NaN."""
    if not math.isfinite(value):
        return "–"
    return f"{currency} {value:,.{2 if value >= 0.095 or value == 0 else 4}f}"


def pace(reached: Sequence[Point], now: float, currency: str) -> str:
    """What the last hundredth took, one ten before, and that nothing came since; `now` in seconds. May be empty."""
    if not reached or not math.isfinite(reached[-1].took):
        return ""
    end = reached[-1]
    paid = f" and {money(end.paid, currency)}" if math.isfinite(end.paid) else ""
    then = reached[-11].took if len(reached) > 11 else math.nan
    before = f"; ten points earlier one took {spell(then)}" if math.isfinite(then) else ""
    since = f" No other came in the {spell(now - end.seconds)} since." if now - end.seconds > end.took else ""
    return f"The last point, to {decimal(end.ssim)}, took {spell(end.took)}{paid}{before}.{since}"


def hours(value: float) -> str:
    """Device hours; a dash for NaN."""
    return f"{value:,.{1 if value >= 9.95 else 2}f}" if math.isfinite(value) else "–"


def whole(value: float) -> str:
    """12,345; a dash for NaN."""
    return f"{value:,.0f}" if math.isfinite(value) else "–"


def rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as text, for a table."""
    return [(str(name).replace("_", " "), said(v)) for name, v in values.items()]


def said(value: Any) -> str:
    """One value as text."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {said(v)}" for k, v in value.items()) or "none"
    return ", ".join(map(said, value)) or "none" if isinstance(value, list | tuple) else str(value)
