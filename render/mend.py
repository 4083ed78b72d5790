"""Mending of a render (`--mend`): faulty passages are composited again with other settings, and the best ones are kept.

For every stretch with findings, the settings that could help against their kinds are tried on its frames alone, each
alone and all together that help, and measured as the render itself. The best are kept if they leave less to find there
and nothing new elsewhere; from these the next round begins, until nothing helps. Then only the parts with changed
frames are rendered again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from render import part, plan
from render.compositing.compose import RADIUS
from render.compositing.schedule import RAMP, Stretch
from render.compositing.settings import RenderSettings
from render.plan import Plan, RenderPart
from render.stretches import changed, changes, words
from reports.artifact_page.passages import WEIGHT
from reports.artifacts.events import Finding
from reports.artifacts.kinds import by_name
from reports.artifacts.parts import InspectedPart
from reports.artifacts.report import ArtifactReport, merge
from reports.page.page import clock

ROUNDS = 8
"""Rounds at most; the settings of a round begin with the best of the one before."""
APART = 2 * RADIUS
"""Frames: findings that are nearer than this are one stretch."""
AROUND = 150
"""Frames on either side of a stretch that are judged together with it."""
REACH = RADIUS + RAMP
"""Frames on either side of a stretch whose pixels its settings change."""
FADED = 1.0
"""Seconds: only a stretch at most this long may show the footage's face."""
HALF = 0.5
"""The footage's face is shown if no other setting brings what is found down to this fraction."""

PASTED = 0.75
"""Least fraction of the pasted area that settings must leave: hiding the swap is no remedy."""

Change = Callable[[RenderSettings], dict[str, Any]]


def _other(now: str, first: str, second: str) -> str:
    return first if now != first else second


CHANGES: Mapping[str, Change] = {
    "wider feather": lambda s: {"feather": round(min(1.6 * s.mask.feather + 0.02, 0.4), 3)},
    "smaller mask": lambda s: {"erode": round(min(s.mask.erode + 0.03, 0.2), 3)},
    "other mask": lambda s: {"mask": _other(s.mask.mode, "hull", "both")},
    "colour by mkl": lambda s: {"colour": _other(s.colour, "mkl", "reinhard")},
    "colour by sot": lambda s: {"colour": _other(s.colour, "sot", "none")},
    "light as drawn": lambda s: {"relight": 0.0 if s.relight else 1.0},
    "other blend": lambda s: {"blend": _other(s.blend, "pyramid", "poisson")},
    "sharper": lambda s: {"sharpen": min(s.sharpen + 0.5, 2.0)},
    "softer": lambda s: {"sharpen": round(s.sharpen / 2, 3)},
    "plain": lambda s: {"sharpen": 0.0, "grain": False},
    "smoother": lambda s: {"smooth": min(2 * s.smooth + 1, 31)},
    "other occlusion": lambda s: {"occlusion": not s.occlusion},
    "keep the mouth": lambda s: {"keep": tuple(sorted({*s.mask.keep, "mouth"}))},
    "keep the eyes": lambda s: {"keep": tuple(sorted({*s.mask.keep, "eyes"}))},
    "fade": lambda s: {"opacity": 0.0},
}
"""Name to the settings that are changed, from those before."""
FADE = "fade"
"""Shows the footage's face."""
REMEDIES: Mapping[str, tuple[str, ...]] = {
    "missed": ("other mask", "other occlusion"),
    "frozen": ("smoother",),
    "popped": ("smoother", "other mask", "other occlusion", "smaller mask"),
    "hole": ("other mask", "other occlusion", "colour by mkl"),
    "flicker": ("colour by mkl", "colour by sot", "smoother", "other occlusion"),
    "colour": ("colour by mkl", "colour by sot", "light as drawn", "other blend"),
    "light": ("light as drawn", "other blend", "colour by mkl", "colour by sot"),
    "checkerboard": ("plain", "softer"),
    "false_detail": ("softer", "plain"),
    "ghost": ("smaller mask", "plain", "other mask"),
    "jitter": ("smoother", "smaller mask"),
    "geometry": ("smoother", "other mask", "keep the eyes"),
    "pose": ("smoother",),
    "misaligned": ("smoother", "keep the mouth"),
    "lips": ("keep the mouth",),
    "expression": ("keep the mouth", "keep the eyes"),
    "gaze": ("keep the eyes",),
    "soft": ("sharper", "other blend"),
    "edge": ("wider feather", "smaller mask", "other blend", "colour by mkl"),
}
"""Kind to what may help against it with the network as it is."""
UNFIT = ("missed",)
"""Kinds that the footage's face does not mend."""


@dataclass(frozen=True)
class Mended:
    """One stretch that was changed."""

    start: float
    """Seconds of the output."""
    end: float
    kinds: tuple[str, ...]
    """What had been found there."""
    settings: str
    """What was changed."""
    before: int
    """Frames within findings."""
    after: int

    def __str__(self) -> str:
        kinds = ", ".join(by_name()[name].title for name in self.kinds)
        return (
            f"{clock(self.start)} to {clock(self.end)} of the render ({kinds}): {self.settings}; affected frames "
            f"{self.before}, now {self.after}"
        )


@dataclass(frozen=True)
class Trial:
    """Settings to try on the frames [first, end) of the footage; its measures go to `path`."""

    folder: Path
    path: Path
    first: int
    end: int
    stretches: tuple[Stretch, ...]
    own: Stretch
    """The one that is tried."""

    def __str__(self) -> str:
        return f"frames {self.first} to {self.end - 1}"


Ranked = tuple[float, float, Trial]
"""What is left to find with a trial, what there was, and the trial."""
Run = Callable[[Callable[[Trial], None], Sequence[Trial]], None]
"""Does all trials, in whatever processes."""


def measure(trial: Trial) -> None:
    """Composite and measure the frames of a trial."""
    made = plan.load(trial.folder)
    assert made is not None
    part.measured(replace(made, stretches=trial.stretches), trial.folder, trial.first, trial.end).save(trial.path)


def search(folder: Path, made: Plan, run: Run) -> Plan:
    """The plan with the best settings of every stretch with findings; the given one where nothing helps."""
    judged = _Judged(made, _rows(folder, made))
    tried: set[tuple[int, int, RenderSettings]] = set()
    for _ in range(ROUNDS):
        base = judged.report(judged.rows)
        single = [
            (first, end, settings)
            for first, end, kinds in spans(base, made)
            for settings in candidates(kinds, made.schedule.at((first + end) // 2), (end - first) / judged.fps)
        ]
        helpful = judged.helpful(_run(folder, made, run, single, tried))
        for stretch, ranked in judged.helpful(_run(folder, made, run, _together(made, helpful), tried)).items():
            helpful[stretch] += ranked
        better = [_best(ranked) for ranked in helpful.values()]
        if not better:
            break
        for trial in better:
            made = replace(made, stretches=with_stretch(made, trial.own))
        judged.take(better)
    return made


def _run(
    folder: Path, made: Plan, run: Run, wanted: Sequence[tuple[int, int, RenderSettings]], tried: set[Any]
) -> list[Trial]:
    """The trials of settings on stretches that were not tried yet."""
    trials = []
    for first, end, settings in wanted:
        if (first, end, settings) not in tried:
            tried.add((first, end, settings))
            own = Stretch(first, end, settings)
            low, high = max(first - REACH, made.first), min(end + REACH, made.end)
            path = folder / f"trial-{len(tried)}.parquet"
            trials.append(Trial(folder, path, low, high, with_stretch(made, own), own))
    if trials:
        run(measure, trials)
    return trials


def _together(made: Plan, helpful: Mapping[tuple[int, int], list[Ranked]]) -> list[tuple[int, int, RenderSettings]]:
    """For every stretch the changes that help, all at once; of two of the same setting the better one."""
    found = []
    for (first, end), ranked in helpful.items():
        now = made.schedule.at((first + end) // 2)
        all_changes: dict[str, Any] = {}
        for _, _, trial in sorted(ranked, key=lambda one: -one[0]):
            if trial.own.settings.opacity:
                all_changes |= changes(trial.own.settings, now)
        if len(all_changes) > 1:
            found.append((first, end, changed(now, all_changes)))
    return found


class _Judged:
    """Measured frames, and what is found in them."""

    def __init__(self, made: Plan, rows: dict[int, dict[str, Any]]) -> None:
        self.fps, self.rows, self._unmended = made.clip.fps or 25.0, rows, dict(rows)

    def report(self, rows: Mapping[int, dict[str, Any]]) -> ArtifactReport:
        return merge([InspectedPart(tuple(rows[i] for i in sorted(rows)))], self.fps, has_reference=True)

    def take(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            self.rows |= _numbered(InspectedPart.load(trial.path))

    def helpful(self, trials: Sequence[Trial]) -> dict[tuple[int, int], list[Ranked]]:
        """The trials of each stretch that leave less to find than there is, and nothing new elsewhere."""
        found: dict[tuple[int, int], list[Ranked]] = {}
        for trial in trials:
            first, end = trial.own.first, trial.own.end
            window = {i: row for i, row in self.rows.items() if first - AROUND <= i < end + AROUND}
            before = self.report(window)
            new = _numbered(InspectedPart.load(trial.path))
            after = self.report(window | new)
            if worse_elsewhere(before, after, first, end):
                continue
            if trial.own.settings.opacity and hides(self._unmended, new, first, end):
                continue
            left, was = (badness(r, first - REACH, end + REACH) for r in (after, before))
            more = len(affected(after, first, end)) > len(affected(before, first, end))
            if left < was and not more:
                found.setdefault((first, end), []).append((left, was, trial))
        return found


def _best(ranked: Sequence[Ranked]) -> Trial:
    """The best of some trials; the footage's face only where nothing else brings the findings down to HALF."""
    plain = [one for one in ranked if one[2].own.settings.opacity and one[0] <= HALF * one[1]]
    return min(plain or ranked, key=lambda one: one[0])[2]


def spans(report: ArtifactReport, made: Plan) -> list[tuple[int, int, tuple[str, ...]]]:
    """Stretches of frames [first, end) with findings, and the kinds that were found; neighbours are joined."""
    found: list[tuple[int, int, set[str]]] = []
    for f in sorted(report.findings, key=lambda f: f.first_frame):
        if found and f.first_frame - found[-1][1] < APART:
            first, end, kinds = found.pop()
            found.append((first, max(end, f.last_frame + 1), {*kinds, f.kind}))
        else:
            found.append((f.first_frame, f.last_frame + 1, {f.kind}))
    order = list(by_name())
    return [(max(a, made.first), min(b, made.end), tuple(sorted(k, key=order.index))) for a, b, k in found]


def candidates(kinds: Sequence[str], now: RenderSettings, seconds: float) -> list[RenderSettings]:
    """Settings to try against kinds of artifacts in a stretch of some seconds that has the settings `now`."""
    changes = [change for kind in kinds for change in REMEDIES.get(kind, ())]
    if seconds <= FADED and not set(kinds) & set(UNFIT):
        changes.append(FADE)
    found = dict.fromkeys(changed(now, CHANGES[change](now)) for change in changes)
    return [settings for settings in found if settings != now]


def with_stretch(made: Plan, new: Stretch) -> tuple[Stretch, ...]:
    """The plan's stretches with a new one in place of what it covers of the others."""
    kept = []
    for old in made.stretches:
        for first, end in ((old.first, min(old.end, new.first)), (max(old.first, new.end), old.end)):
            if first < end:
                kept.append(Stretch(first, end, old.settings))
    return tuple(sorted([*kept, new], key=lambda s: s.first))


def badness(report: ArtifactReport, first: int, end: int) -> float:
    """Sum over the findings of their weight by severity times their frames within [first, end)."""
    return float(sum(WEIGHT[f.severity] * len(_frames(f, first, end)) for f in report.findings))


def affected(report: ArtifactReport, first: int, end: int) -> set[int]:
    """Frames within [first, end) that lie in a finding."""
    return {i for f in report.findings for i in _frames(f, first, end)}


def _frames(finding: Finding, first: int, end: int) -> range:
    return range(max(finding.first_frame, first), min(finding.last_frame + 1, end))


def worse_elsewhere(before: ArtifactReport, after: ArtifactReport, first: int, end: int) -> bool:
    """Whether frames outside the stretch lie in findings that did not before, or any frame of it in more of them."""
    everything = (-1, np.iinfo(np.int64).max)
    new = affected(after, *everything) - affected(before, *everything)
    return any(not first <= i < end for i in new)


def hides(before: Mapping[int, dict[str, Any]], after: Mapping[int, dict[str, Any]], first: int, end: int) -> bool:
    """Whether less than PASTED of the area that was pasted within [first, end) still is."""
    was, now = (sum(rows.get(i, {}).get("pasted", 0.0) for i in range(first, end)) for rows in (before, after))
    return bool(now < PASTED * was)


def _rows(folder: Path, made: Plan) -> dict[int, dict[str, Any]]:
    return {
        frame: row
        for each in made.parts
        for frame, row in _numbered(InspectedPart.load(each.path(folder, ".parquet"))).items()
    }


def _numbered(inspected: InspectedPart) -> dict[int, dict[str, Any]]:
    return {int(row["frame"]): row for row in inspected.rows}


def touched(before: Plan, after: Plan) -> list[RenderPart]:
    """Parts whose pixels differ between two plans."""
    old, new = set(before.stretches), set(after.stretches)
    spans = [(s.first - REACH, s.end + REACH) for s in old ^ new]
    return [each for each in after.parts if any(first < each.end and end > each.first for first, end in spans)]


def account(before: ArtifactReport, after: ArtifactReport, made: Plan) -> tuple[Mended, ...]:
    """What was changed, stretch by stretch."""
    times = dict(zip(after.measures["frame"].tolist(), after.measures["time"].tolist(), strict=True))
    found = []
    for s in made.stretches:
        inside = [i for i in range(s.first, s.end) if i in times]
        text = words(s.settings, made.settings)
        if not inside or not text:
            continue
        kinds = tuple(dict.fromkeys(f.kind for f in before.findings if _frames(f, s.first, s.end)))
        counts = [len(affected(report, s.first, s.end)) for report in (before, after)]
        found.append(Mended(times[inside[0]], times[inside[-1]] + 1 / after.fps, kinds, text, *counts))
    return tuple(found)


def left(report: ArtifactReport) -> tuple[str, ...]:
    """Sentences about what no settings removed, a kind each, with what would likely help."""
    kinds = dict.fromkeys(f.kind for f in report.findings)
    return tuple(
        f"--mend did not remove this: {by_name()[k].phrase}; {by_name()[k].own_advice or by_name()[k].advice}"
        for k in kinds
    )
