"""The page index.html of a project, and its figures as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from curate.words import are, many
from reports.page.page import write_page


@dataclass(frozen=True)
class Link:
    """A result that the page links."""

    words: str
    href: str
    """Relative to the page."""


@dataclass(frozen=True)
class Note:
    """One finding about a result: what it is about, and the verdict of its report."""

    about: str
    text: str
    link: Link | None = None


@dataclass(frozen=True)
class Card:
    """One subject, or one pair with its renders."""

    title: str
    state: str
    """done, failed or waiting."""
    notes: tuple[Note, ...]
    pictures: tuple[str, ...]
    """Data URIs."""
    caption: str
    """What the pictures show."""
    links: tuple[Link, ...] = ()
    problems: tuple[str, ...] = ()
    """What failed, and what to do."""


@dataclass(frozen=True)
class StepRow:
    """One step of the last run."""

    words: str
    state: str
    seconds: float
    problem: str


@dataclass(frozen=True)
class Overview:
    """Everything that the page shows."""

    title: str
    pairs: tuple[Card, ...]
    subjects: tuple[Card, ...]
    steps: tuple[StepRow, ...]
    facts: tuple[tuple[str, str], ...] = ()


def write(overview: Overview, path: Path) -> Path:
    """Write the page, with its figures next to it as .json; returns the page's path."""
    values = {
        "title": f"Project: {overview.title}",
        "verdict": verdict(overview),
        "remarks": remarks(overview),
        "overview": overview,
    }
    data = asdict(overview)
    for card in (*data["pairs"], *data["subjects"]):
        card["pictures"] = len(card["pictures"])
    return write_page(path, "overview.html", values, {n: values[n] for n in ("verdict", "remarks")} | data)


def verdict(overview: Overview) -> str:
    """A sentence on how far the project is."""
    done = sum(card.state == "done" for card in overview.pairs)
    total = len(overview.pairs)
    if not total:
        return f"{many(len(overview.subjects), 'faceset')}; the project file lists no pair to train."
    if done == total:
        return "The pair is trained and rendered." if total == 1 else f"All {total} pairs are trained and rendered."
    failed = _failed(overview.steps)
    words = f"{done} of {many(total, 'pair')} {are(done)} trained and rendered"
    return f"{words}; {failed} failed." if failed else f"{words}."


def remarks(overview: Overview) -> str:
    """What to do next: fix what failed first; else what the last report of the first pair says."""
    for card in (*overview.subjects, *overview.pairs):
        if card.state == "failed":
            return f"Next: {card.problems[0]}"
    for card in overview.pairs:
        if card.state == "done" and card.notes:
            return f"{card.title}: {card.notes[-1].text}"
    return ""


def _failed(steps: Sequence[StepRow]) -> str:
    failed = sum(step.state == "failed" for step in steps)
    return many(failed, "step") if failed else ""
