"""Plan of a project: the steps that are due, why, and what they take in time, disk space and money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curate.runtime import disk
from faceset.project.estimate import cost
from faceset.project.file import Project
from faceset.project.state import read_state
from faceset.project.steps import due, steps_of


@dataclass(frozen=True)
class Planned:
    """One step of the plan."""

    name: str
    words: str
    due: bool
    why: str
    seconds: float
    size: float
    """Bytes."""
    measured: bool
    """The time is from this project or machine, not from another machine's figures."""


def plan(project: Project) -> list[Planned]:
    """All steps; those that are due with their estimates. Raises UsageError for footage that does not exist."""
    state = read_state(project.results)
    found: list[Planned] = []
    ahead: set[str] = set()
    for step in steps_of(project):
        asked = due(project, state, step, ahead)
        if not asked.due:
            found.append(Planned(step.name, step.words, False, asked.why, 0.0, 0.0, True))
            continue
        ahead.add(step.name)
        takes = cost(project, state, step)
        found.append(Planned(step.name, step.words, True, asked.why, takes.seconds, takes.size, takes.measured))
    return found


def summary(project: Project, found: list[Planned]) -> dict[str, Any]:
    """The plan as JSON values, with its totals."""
    seconds = sum(p.seconds for p in found)
    return {
        "project": str(project.folder),
        "steps": [vars(p) for p in found],
        "due": sum(p.due for p in found),
        "seconds": round(seconds, 1),
        "bytes": round(sum(p.size for p in found)),
        "free": disk.free(project.folder),
        "cost": round(seconds / 3600 * project.price, 2) if project.price else None,
    }
