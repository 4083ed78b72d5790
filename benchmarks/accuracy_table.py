"""Rows of the accuracy table."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One figure with its goal."""

    area: str
    what: str
    value: float | None
    """None: could not be measured; `goal` says what is missing."""
    unit: str
    goal: str
    ok: bool | None
    """None: no goal."""

    def line(self) -> str:
        value = "-" if self.value is None else f"{self.value:.3g}"
        mark = {True: "yes", False: "NO", None: ""}[self.ok]
        return f"{self.area:11}{self.what:66}{value:>9} {self.unit:6}{self.goal:22}{mark}"

    def json(self) -> dict[str, object]:
        return asdict(self)


def at_most(area: str, what: str, value: float, limit: float, unit: str = "") -> Row:
    """A figure that is to be `limit` or less."""
    return Row(area, what, float(value), unit, f"<= {limit:g}", bool(value <= limit))


def at_least(area: str, what: str, value: float, limit: float, unit: str = "") -> Row:
    """A figure that is to be `limit` or more."""
    return Row(area, what, float(value), unit, f">= {limit:g}", bool(value >= limit))


def figure(area: str, what: str, value: float, unit: str = "") -> Row:
    """A figure without a goal."""
    return Row(area, what, float(value), unit, "", None)
