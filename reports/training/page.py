"""The page of a training: where its held-out quality goes, what it looks like, which faces would help, what it took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.page.album import tile
from reports.page.curves import decimal
from reports.page.page import clock, percent, write_page
from reports.page.pictures import data_uri, jpeg
from reports.training.charts import charts
from reports.training.figures import Trend, compact, last, points, quality, sentence, tidy, trend
from reports.training.held_out import Group, HeldOut, summary, worst_groups
from reports.training.text import hours, money, pace, rows, said, spell, whole
from reports.training.timelapse import lapse

__all__ = ["HeldOut", "Training", "worst_groups", "write"]

SHOWN = (4, 8)
"""Groups with pictures: so many, or as many as stand out, but no more than the second."""
LISTED = 24
"""Groups in the table; the JSON has all."""
SIDE = 128


@dataclass(frozen=True)
class Training:
    """What a run's page is made of."""

    name: str
    """Folder name of the run."""
    subjects: Mapping[str, str]
    """Side to name and basis."""
    config: Mapping[str, Any]
    """Settings, flat."""
    steps: int
    """Done."""
    asked: int
    """The length of the run."""
    ended: str
    """Empty while it trains, else why it ended: finished, plateau, stopped by SIGTERM."""
    parameters: int
    log: pd.DataFrame
    """Columns of log.csv; any may be missing but step."""
    faces: Sequence[HeldOut]
    """All held-out faces that were measured."""
    previews: Sequence[tuple[int, Path]]
    """(step, PNG sheet), in order."""
    facts: Mapping[str, Any]
    """Device, processes, precision, version, hashes, ..., printed as they are."""
    currency: str = "$"


@dataclass(frozen=True)
class _Pair:
    face: HeldOut
    where: str
    crop: str
    reconstruction: str


def write(training: Training, page: Path) -> Path:
    """Write the page and, beside it, its figures as JSON (same name, .json); the page's path."""
    log, groups = tidy(training.log), worst_groups(training.faces)
    found, reached = trend(log), points(log)
    values = {
        "title": f"Training: {training.name}",
        "verdict": verdict(training, log, found, groups),
        "remarks": remarks(training, log, groups),
        "training": training,
        "masked": quality(log).masked,
        "numbers": numbers(training, log, found),
        "charts": charts(log),
        "lapse": lapse(training.previews),
        "groups": groups[:LISTED],
        "unlisted": len(groups) - len(groups[:LISTED]),
        "summary": summary(groups),
        "shown": [(g, [_pair(f) for f in g.worst]) for g in _shown(groups)],
        "points": compact(reached),
        "pace": pace(reached, last(log, "seconds"), training.currency),
        "priced": math.isfinite(last(log, "cost")),
        "config": rows(training.config),
        "facts": [("parameters", f"{training.parameters:,}"), *rows(training.facts)],
        "decimal": decimal,
        "spell": spell,
        "money": lambda value: money(value, training.currency),
    }
    told = {name: values[name] for name in ("verdict", "remarks", "summary")}
    return write_page(page, "training.html", values, told | to_json(training, log, found, groups))


def verdict(training: Training, log: pd.DataFrame, found: Trend, groups: Sequence[Group]) -> str:
    """One sentence on the whole run."""
    if found.state == "none" and not len(log) and training.ended:
        return f"It ended before anything was logged: {training.ended}."
    words = sentence(found, int(last(log, "step")) if len(log) else 0, last(log, "loss"))
    if found.state != "flat":
        return words
    if any(g.stands_out for g in groups):
        return f"{words}; different faces would."
    return f"{words}." if groups else f"{words}; different faces may."


def remarks(training: Training, log: pd.DataFrame, groups: Sequence[Group]) -> str:
    """How far it is, whose face the swaps have, and which group is the worst."""
    return " ".join(s for s in (_progress(training, log), _nearer(log), summary(groups) if groups else "") if s)


def _progress(training: Training, log: pd.DataFrame) -> str:
    done, asked = f"{training.steps:,}", f"{training.asked:,}"
    if training.ended == "finished":
        return f"Finished, {done} steps."
    if training.ended:
        return f"Ended at step {done} of {asked}: {training.ended}."
    left = (training.asked - training.steps) * _pace_now(log)
    return f"Still training, step {done} of {asked}{f', about {spell(left)} left' if left > 0 else ''}."


def _pace_now(log: pd.DataFrame) -> float:
    """Seconds a step over the last tenth of the lines; NaN if unknown."""
    if "seconds" not in log:
        return math.nan
    known = log.dropna(subset=["seconds"])
    if len(known) < 2:
        return math.nan
    first, end = known.iloc[-max(len(known) // 10, 2)], known.iloc[-1]
    return float((end["seconds"] - first["seconds"]) / (end["step"] - first["step"]))


def _nearer(log: pd.DataFrame) -> str:
    share = last(log, "nearer")
    if not share < 0.5:
        return ""
    return f"Only {percent(share)} of the swaps are nearer to the source: the others keep the target's face."


def numbers(training: Training, log: pd.DataFrame, found: Trend) -> list[tuple[str, str, str]]:
    """Name, value and what stands small beside it."""
    masked = quality(log).masked
    sides = [(s, last(log, f"ssim_{'face_' if masked else ''}{s}")) for s in ("source", "target")]
    both = ", ".join(f"{s} {decimal(v)}" for s, v in sides if math.isfinite(v))
    name = "SSIM under the mask" if masked else "SSIM, whole crop"
    cost, speed = last(log, "cost"), last(log, "images_per_second")
    paid = ("Cost", money(cost, training.currency), "") if math.isfinite(cost) else ("Speed", whole(speed), "images/s")
    return [
        ("Steps", f"{training.steps:,}", f"of {training.asked:,}" if training.steps != training.asked else ""),
        (name, decimal(found.level), both),
        ("Swaps nearer to source", percent(last(log, "nearer")), ""),
        ("Device hours", hours(last(log, "device_hours")), ""),
        paid,
    ]


def _shown(groups: Sequence[Group]) -> list[Group]:
    """Those that stand out first."""
    ordered = sorted(groups, key=lambda g: not g.stands_out)
    return ordered[: min(max(sum(g.stands_out for g in groups), SHOWN[0]), SHOWN[1])]


def _pair(face: HeldOut) -> _Pair:
    angles = [
        f"{n} {v:+.0f}°".replace("-", "−") for n, v in (("yaw", face.yaw), ("pitch", face.pitch)) if math.isfinite(v)
    ]
    at = f"{face.clip} {clock(face.time)}" if math.isfinite(face.time) else face.clip
    where = ", ".join([at, *angles])
    crop, again = (data_uri(jpeg(tile(i, SIDE), quality=80)) for i in (face.crop, face.reconstruction))
    return _Pair(face, where, crop, again)


def to_json(training: Training, log: pd.DataFrame, found: Trend, groups: Sequence[Group]) -> dict[str, Any]:
    """The page's figures as JSON values."""
    measured = log[np.isin(log["step"], quality(log).steps)]
    return {
        "name": training.name,
        "subjects": dict(training.subjects),
        "steps": training.steps,
        "asked": training.asked,
        "ended": training.ended,
        "parameters": training.parameters,
        "trend": asdict(found),
        "now": {str(name): last(log, str(name)) for name in log},
        "measured": measured.to_dict("list"),
        "groups": [
            {k: v for k, v in vars(g).items() if k != "worst"}
            | {"advice": g.advice, "worst": [f.face_id for f in g.worst]}
            for g in groups
        ],
        "points": [asdict(p) for p in points(log)],
        "previews": [step for step, _ in training.previews],
        "config": {k: _plain(v) for k, v in training.config.items()},
        "facts": {k: _plain(v) for k, v in training.facts.items()},
        "currency": training.currency,
    }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else said(value)
