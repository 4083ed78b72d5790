"""Summary of a finished render: files, figures, and notes on what the figures alone do not show."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.footage.flat import NOTE as LOOKS_LOG
from curate.footage.timeline import timeline
from curate.types import Clip
from curate.words import many
from render import mend, plan
from render.provenance.watermark_code import identifier_text

if TYPE_CHECKING:
    from train.run import Run

log = logging.getLogger(__name__)

EMPTY_MASK = "the mask is nearly empty; train longer, or try --mask hull"
MOST_TOLD = 6
"""Scores beyond the source's range that a note names."""


@dataclass(frozen=True)
class PersonSummary:
    """One of several people who are replaced."""

    run: str
    subject: str
    target: str
    report: str
    faces: int
    """Frames in which the target was found."""
    swapped: int
    findings: int


@dataclass(frozen=True)
class RenderSummary:
    """Files and figures of a finished render."""

    out: str
    report: str
    """Page of the artifact report; its figures are next to it as .json."""
    sidecar: str
    """The manifest as a separate file."""
    watermark: str
    frames: int
    swapped: int
    """Frames with the swapped face; the others pass through."""
    findings: int
    sound: int
    """Sound and subtitle streams copied."""
    resumed: int
    """Frames that an earlier call had finished."""
    notes: tuple[str, ...]
    """Problems that the figures alone do not show."""
    pixels_sha256: str
    """Hash of all frames without watermark, before encoding: equal for equal pixels."""
    seconds: float
    fps: float
    """Frames rendered per second, including everything."""
    people: tuple[PersonSummary, ...] = ()
    """Each person, where there are several."""
    settings: str | None = None
    """Settings file that --mend wrote; None if it changed nothing."""
    mended: tuple[mend.Mended, ...] = ()
    """What --mend changed."""


def summary_of(
    out: Path,
    sidecar: Path,
    made: plan.Plan,
    accounts: Sequence[dict[str, Any]],
    resumed: int,
    sound: int,
    seconds: float,
    notes: tuple[str, ...],
    people: tuple[PersonSummary, ...],
) -> RenderSummary:
    """Summary of a finished render; `people` has everybody, also a single person."""
    pixels = hashlib.sha256("".join(a["pixels_sha256"] for a in accounts).encode()).hexdigest()
    frames = sum(len(account["times"]) for account in accounts)
    return RenderSummary(
        str(out), people[0].report, str(sidecar), identifier_text(made.identifier), frames,
        sum(account["swapped"] for account in accounts), sum(own.findings for own in people), sound, resumed, notes,
        pixels, seconds, (frames - resumed) / max(seconds, 1e-9), people if len(people) > 1 else (),
    )  # fmt: skip


def counted(accounts: Sequence[dict[str, Any]], people: int) -> list[tuple[int, int]]:
    """Frames with a face and with the swapped face, of each person."""
    if people == 1:
        return [(sum(a["faces"] for a in accounts), sum(a["swapped"] for a in accounts))]
    rows = [a["people"] for a in accounts]
    return [(sum(r[n][0] for r in rows), sum(r[n][1] for r in rows)) for n in range(people)]


def people_of(
    runs: Sequence[Run], pages: Sequence[Path], counts: Sequence[tuple[int, int]], found: Sequence[int]
) -> tuple[PersonSummary, ...]:
    """Each person."""
    rows = zip(runs, pages, counts, found, strict=True)
    return tuple(
        PersonSummary(str(run.path), run.source.subject.name, run.target.subject.name, str(page), faces, swapped, n)
        for run, page, (faces, swapped), n in rows
    )


def beyond(folder: Path, runs: Sequence[Run]) -> tuple[str, ...]:
    """Notes on scores of the footage that go beyond a source's range, where swaps hold them at its edge."""
    notes = []
    for number, run in enumerate(runs):
        where = plan.load_face(plan.folder_of(folder, number))
        acted = [place.scores for place in where.values() if place.scores is not None]
        found = run.drive.beyond(np.stack(acted)) if run.drive is not None and acted else {}
        if found:
            shares = ", ".join(
                f"{name} in {100 * share:.0f} % of frames" for name, share in [*found.items()][:MOST_TOLD]
            )
            notes.append(
                f"the footage goes beyond the source's range, so the swap stops at the source's limits: {shares}"
            )
            log.warning("%s", notes[-1])
    return tuple(notes)


def of_footage(clip: Clip) -> tuple[str, ...]:
    """Notes on the footage that hold for the render as well: of the frames, log curves and alpha."""
    kept = [note for note in clip.notes if "alpha channel" in note or (note == LOOKS_LOG and not clip.lut)]
    notes = (*timeline(Path(clip.path)).notes, *kept)
    for note in notes:
        log.warning("%s: %s", clip.path, note)
    return notes


def notes_of(
    made: plan.Plan, times: list[int], counts: Sequence[tuple[int, int]], accounts: Sequence[dict[str, Any]]
) -> tuple[str, ...]:
    """Notes on frames that are missing, faces that are not shown, and faces that are seen several times."""
    notes = []
    several = sum(account.get("several", 0) for account in accounts)
    frames = made.end - made.first
    if len(times) != frames:
        notes.append(
            f"{frames - len(times)} of {many(frames, 'announced frame')} cannot be decoded; the frame before each is "
            "shown for longer instead"
        )
    for number, (faces, swapped) in enumerate(counts):
        if swapped < 0.5 * faces:
            whose = f" of {made.person(number).run}" if made.others else ""
            notes.append(
                f"the target's own face is shown in {faces - swapped} of {many(faces, 'frame')} with a face{whose}, "
                f"because {EMPTY_MASK}"
            )
    for note in notes:
        log.warning("%s: %s", made.clip.path, note)
    if several:
        shows = "shows" if several == 1 else "show"
        notes.append(
            f"{many(several, 'frame')} {shows} the face more than once; all are swapped (--faces one swaps one)"
        )
        log.info("%s", notes[-1])
    return tuple(notes)
