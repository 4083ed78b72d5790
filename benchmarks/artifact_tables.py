"""Counts and tables of `benchmarks.artifacts`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from benchmarks.surrogates import INJECTIONS
from reports.artifacts.kinds import by_name, limits

PLAIN, CODED = "plain", "CRF 23"


@dataclass
class Tally:
    """Results of one clip."""

    clip: str
    clean: dict[tuple[bool, str], pd.DataFrame] = field(default_factory=dict)
    alarms: list[tuple[str, bool, str, str, int, float]] = field(default_factory=list)
    """False alarms: clip, with reference, way, kind, first frame, value."""
    seconds: float = 0.0
    """Seconds of clean footage that were inspected."""
    faults: dict[tuple[str, bool, str], np.ndarray] = field(default_factory=dict)
    """Measure in the faulty frames, by fault, with reference, way."""
    named: dict[tuple[str, bool, str], tuple[bool, bool, tuple[str, ...]]] = field(default_factory=dict)
    """Found in time, named correctly, and kinds of all findings near it, by fault, with reference, way."""


def auroc(bad: np.ndarray, good: np.ndarray) -> float:
    """Area under the ROC curve of values that should be high against values that should be low; NaN counts as 0."""
    both = pd.Series(np.nan_to_num(np.concatenate([bad, good]))).rank().to_numpy()
    if not len(bad) or not len(good):
        return float("nan")
    return float((both[: len(bad)].sum() - len(bad) * (len(bad) + 1) / 2) / (len(bad) * len(good)))


def table(tallies: list[Tally]) -> list[dict[str, object]]:
    lines = []
    for injection in INJECTIONS:
        line: dict[str, object] = {"fault": injection.name, "kind": injection.kind}
        for reference in (True, False):
            limit = by_name()[injection.kind].limit(reference)
            for way in (PLAIN, CODED):
                key = (injection.name, reference, way)
                name = f"{'ref' if reference else 'alone'} {way}"
                bad = [t.faults[key] for t in tallies if key in t.faults]
                if limit is None or not bad:
                    continue
                good = [t.clean[reference, w][limit.measure] for t in tallies for w in (way, "as it is")
                        if (reference, w) in t.clean]  # fmt: skip
                if injection.kind == "lips":
                    good = [values.dropna() for values in good]
                line[name] = round(auroc(np.concatenate(bad), np.concatenate(good)), 3)
                hits = [t.named[key] for t in tallies if key in t.named]
                line[f"{name} found"] = f"{sum(h[0] for h in hits)}/{len(hits)}"
                line[f"{name} named"] = f"{sum(h[1] for h in hits)}/{len(hits)}"
        lines.append(line)
    return lines


def calibration(tallies: list[Tally]) -> None:
    for reference in (True, False):
        for kind, limit in limits(reference):
            for way in (PLAIN, CODED, "as it is"):
                good = [t.clean[reference, way][limit.measure].dropna() for t in tallies if (reference, way) in t.clean]
                worst = [float(v.nlargest(limit.frames).min()) if len(v) >= limit.frames else 0.0 for v in good]
                most = max(worst, default=0.0)
                print(f"{'ref  ' if reference else 'alone'} {kind.name:13s} {way:9s} threshold {limit.low:6.2f}"
                      f"  worst lasting {most:7.2f}  each {[round(w, 2) for w in worst]}")  # fmt: skip
