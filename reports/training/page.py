"""The training report: trend of held-out quality, previews, which training faces would help, time and cost."""

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
from reports.training.figures import Point, Quality, Trend, compact, last, points, sentence
from reports.training.held_out import Group, HeldOut, summary, worst_groups
from reports.training.text import as_text, hours, money, pace, rows, time_span, whole
from reports.training.timelapse import lapse

SHOWN = (4, 8)
"""Groups shown with pictures: the first number, or as many as stand out, up to the second."""
LISTED = 24
"""Most groups in the table; the JSON has all."""
FOLLOWED = {
    "jaw": "Mouth open", "lips": "Lips pursed", "smile": "Smile", "blink": "Eyes closed", "brow": "Brows up",
    "gaze_side": "Gaze, sideways", "gaze_up": "Gaze, up and down", "yaw": "Head, yaw", "pitch": "Head, pitch",
}  # fmt: skip
"""Axes of the performance, and their titles."""
ENLARGED = {
    "gaze_side": "gaze sideways", "brows": "brows", "mouth_wide": "lips sideways"
}  # fmt: skip
"""Movements that are drawn larger or smaller than the target's (`train/gains.py`), in words."""
SEEN = 0.05
"""A gain that is less than this from 1 is not mentioned."""
WEAK, DAMPED = 0.5, 0.6
"""Correlation below which swaps do not follow, slope below which they move too little."""
SIDE = 128
"""Pictures of faces, pixels."""


@dataclass(frozen=True)
class Training:
    """Data of one run's report."""

    name: str
    """Folder name of the run."""
    subjects: Mapping[str, str]
    """Side to name and basis."""
    config: Mapping[str, Any]
    """Settings, flat."""
    steps: int
    """Steps done."""
    asked: int
    """The length of the run."""
    ended: str
    """Empty while it trains, else why it ended: finished, plateau, stopped by SIGTERM ..."""
    parameters: int
    log: pd.DataFrame
    """Columns of log.csv, tidied (`train.trend.tidy`); any may be missing but step."""
    quality: Quality
    """Held-out quality over the steps of the log."""
    trend: Trend
    """Where it goes."""
    faces: Sequence[HeldOut]
    """All held-out faces of the last evaluation."""
    previews: Sequence[tuple[int, Path]]
    """(step, PNG sheet), in order of step."""
    facts: Mapping[str, Any]
    """Device, processes, precision, version, hashes ..., printed as they are."""
    currency: str = "$"


@dataclass(frozen=True)
class _Pair:
    """A held-out face as the page shows it; pictures are data URIs."""

    face: HeldOut
    where: str
    crop: str
    reconstruction: str


def write(training: Training, page: Path) -> Path:
    """Write the page and, next to it, its figures as JSON (same name, .json); returns the page's path."""
    log, groups = training.log, worst_groups(training.faces)
    reached = points(log, training.quality)
    values = {
        "title": f"Training: {training.name}",
        "verdict": verdict(training, groups),
        "remarks": remarks(training, groups),
        "training": training,
        "masked": training.quality.masked,
        "numbers": numbers(training),
        "charts": charts(log, training.quality),
        "lapse": lapse(training.previews),
        "groups": groups[:LISTED],
        "unlisted": len(groups) - len(groups[:LISTED]),
        "summary": summary(groups),
        "shown": [(g, [_pair(f) for f in g.worst]) for g in _shown(groups)],
        "points": compact(reached),
        "pace": pace(reached, last(log, "seconds"), training.currency),
        "performance": performance(log),
        "enlarged": enlarged(log),
        "priced": math.isfinite(last(log, "cost")),
        "config": rows(training.config),
        "facts": [("parameters", f"{training.parameters:,}"), *rows(training.facts)],
        "decimal": decimal,
        "time_span": time_span,
        "money": lambda value: money(value, training.currency),
    }
    words = {name: values[name] for name in ("verdict", "remarks", "summary")}
    return write_page(page, "training.html", values, words | to_json(training, groups, reached))


def verdict(training: Training, groups: Sequence[Group]) -> str:
    """One sentence on the whole run."""
    log, trend = training.log, training.trend
    if trend.state == "none" and not len(log) and training.ended:
        return f"The run ended before anything was logged ({training.ended})."
    words = sentence(trend, int(last(log, "step")) if len(log) else 0, last(log, "loss"))
    if trend.state == "rises" and training.ended:
        return f"{words} The run is undertrained: resume it with more steps."
    if trend.state != "flat":
        return words
    if any(g.stands_out for g in groups):
        return f"{words}, but better training faces would help."
    return f"{words}." if groups else f"{words}, but different training faces may help."


def remarks(training: Training, groups: Sequence[Group]) -> str:
    """Sentences on the progress of the run, on swaps that keep the target's identity, and on the weakest group."""
    found = (_progress(training), _kept_identity(training.log), summary(groups) if groups else "")
    return " ".join(s for s in found if s)


def _progress(training: Training) -> str:
    done, asked = f"{training.steps:,}", f"{training.asked:,}"
    if training.ended == "finished":
        return f"Training finished after {done} steps."
    if training.ended == "plateau":
        return f"Training ended at step {done} of at most {asked}, because held-out quality had stopped rising."
    if training.ended:
        return f"Training was {training.ended} at step {done} of {asked}."
    left = (training.asked - training.steps) * _seconds_per_step(training.log)
    return f"Training is at step {done} of {asked}{f', with about {time_span(left)} left' if left > 0 else ''}."


def _seconds_per_step(log: pd.DataFrame) -> float:
    """Seconds per step over the last tenth of the lines; NaN if unknown."""
    if "seconds" not in log:
        return math.nan
    known = log.dropna(subset=["seconds"])
    if len(known) < 2:
        return math.nan
    first, end = known.iloc[-max(len(known) // 10, 2)], known.iloc[-1]
    return float((end["seconds"] - first["seconds"]) / (end["step"] - first["step"]))


def _kept_identity(log: pd.DataFrame) -> str:
    share = last(log, "nearer")
    if not share < 0.5:
        return ""
    few = f"Only {percent(share)} of the swaps resemble" if share >= 0.005 else "None of the swaps resembles"
    return f"{few} the source more than the target{': the others keep its identity' if share >= 0.005 else ''}."


def numbers(training: Training) -> list[tuple[str, str, str]]:
    """Rows of name, value and detail: the key figures at the top of the page."""
    log, masked = training.log, training.quality.masked
    sides = [(s, last(log, f"ssim_{'face_' if masked else ''}{s}")) for s in ("source", "target")]
    both = ", ".join(f"{s} {decimal(v)}" for s, v in sides if math.isfinite(v))
    name = "Held-out SSIM, face" if masked else "Held-out SSIM, whole crop"
    cost, speed = last(log, "cost"), last(log, "images_per_second")
    known = math.isfinite(last(log, "follows"))
    followed = [("Performance followed", decimal(last(log, "follows")), "mean correlation")] if known else []
    paid = ("Cost", money(cost, training.currency), "") if math.isfinite(cost) else ("Speed", whole(speed), "images/s")
    return [
        ("Steps", f"{training.steps:,}", f"of {training.asked:,}" if training.steps != training.asked else ""),
        (name, decimal(training.trend.level), both),
        ("Swaps closer to source", percent(last(log, "nearer")), ""),
        *followed,
        ("Device hours", hours(last(log, "device_hours")), ""),
        paid,
    ]


def performance(log: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    """Rows of name, correlation, slope and a remark: how held-out swaps follow the target, as last measured."""
    found = []
    for axis, title in FOLLOWED.items():
        correlation, slope = last(log, f"follows_{axis}"), last(log, f"slope_{axis}")
        if math.isfinite(correlation):
            weak = correlation < WEAK
            damped = "" if slope >= DAMPED else "too little movement"
            found.append((title, decimal(correlation), decimal(slope), "not followed" if weak else damped))
    return found


def enlarged(log: pd.DataFrame) -> str:
    """Which movements are drawn larger or smaller than the target's, in words; empty if none is."""
    gains = {words: last(log, f"gain_{name}") for name, words in ENLARGED.items()}
    return ", ".join(f"{words} × {decimal(gain)}" for words, gain in gains.items() if abs(gain - 1) >= SEEN)


def _shown(groups: Sequence[Group]) -> list[Group]:
    """Groups to show with pictures, those that stand out first."""
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


def to_json(training: Training, groups: Sequence[Group], reached: Sequence[Point]) -> dict[str, Any]:
    """The page's figures as JSON values."""
    log = training.log
    evaluated = log[np.isin(log["step"], training.quality.steps)]
    return {
        "name": training.name,
        "subjects": dict(training.subjects),
        "steps": training.steps,
        "asked": training.asked,
        "ended": training.ended,
        "parameters": training.parameters,
        "trend": asdict(training.trend),
        "now": {str(name): last(log, str(name)) for name in log},
        "measured": evaluated.to_dict("list"),
        "groups": [
            {k: v for k, v in vars(g).items() if k != "worst"}
            | {"advice": g.advice, "worst": [f.face_id for f in g.worst]}
            for g in groups
        ],
        "points": [asdict(p) for p in reached],
        "previews": [step for step, _ in training.previews],
        "config": {k: _plain(v) for k, v in training.config.items()},
        "facts": {k: _plain(v) for k, v in training.facts.items()},
        "currency": training.currency,
    }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else as_text(value)
