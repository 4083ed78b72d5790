"""Account of a clip's frames: those that the file announces, those that were decoded, those that were read.

Every part stores what became of its segment's frames; here the parts of a clip are added up, and a difference becomes a
sentence with its time and reason.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.dataset.faceset import Faceset
from curate.extract.segment import part_info
from curate.footage.flat import NOTE as LOOKS_LOG
from curate.footage.opening import plain_name
from curate.footage.reader import Account, Gap, Size, unpacked
from curate.types import Clip
from curate.words import are, many

SHOWN = 4
"""Gaps that a sentence names."""
INVERTED = 2, 0.25
"""Least number and share of upside-down faces among those that were checked."""


@dataclass(frozen=True)
class Frames:
    """Frames of one clip."""

    announced: int
    decoded: int
    read: int
    """Without those that `--every` passes over."""
    skipped: int
    notes: tuple[str, ...]


def of_clip(clip: Clip, parts: Sequence[Path]) -> Frames:
    """The frames of a clip, from its parts."""
    infos = [info for path in parts if (info := part_info(path)) is not None]
    stored = [unpacked(info.account) or Account(info.frames) for info in infos]
    gaps = [gap for account in stored for gap in account.gaps]
    sizes = [size for account in stored for size in account.sizes]
    announced = sum(info.planned or info.frames for info in infos)
    if clip.end is None:
        announced += max(clip.announced - clip.frames, 0)
    said = [note for note in clip.notes if not (clip.lut and note == LOOKS_LOG)]
    notes = [*said, *_missing(clip, gaps, announced), *_changes(sizes), *_upside_down(clip, stored)]
    return Frames(
        announced,
        sum(account.decoded for account in stored),
        sum(info.frames for info in infos),
        sum(info.skipped for info in infos),
        tuple(f"{clip.name}: {note}" for note in notes),
    )


def notes(faceset: Faceset) -> tuple[str, ...]:
    """Sentences about the reading of all clips."""
    parts = faceset.parts()
    return tuple(note for clip in faceset.clips for note in of_clip(clip, parts.get(clip.name, [])).notes)


def _missing(clip: Clip, gaps: Sequence[Gap], announced: int) -> list[str]:
    if not gaps:
        return []
    count = sum(gap.frames for gap in gaps)
    if clip.kind == "photos":
        return [f"{count} of {many(announced, 'photo')} cannot be read"]
    named = ", ".join(map(_named, gaps[:SHOWN]))
    more = f" and {many(len(gaps) - SHOWN, 'more stretch', 'more stretches')}" if len(gaps) > SHOWN else ""
    return [f"{count} of {many(announced, 'announced frame')} {are(count)} missing: {named}{more}"]


def _named(gap: Gap) -> str:
    them = "it" if gap.frames == 1 else "them"
    reason = f"the decoder calls {them} damaged" if gap.damaged else "the decoder gives no picture"
    time = f"at {gap.first:.2f} s" if gap.frames == 1 else f"{gap.first:.2f}-{gap.last:.2f} s"
    return f"{time} ({gap.frames}: {reason})"


def _upside_down(clip: Clip, stored: Sequence[Account]) -> list[str]:
    """A sentence if many faces that were checked are read better upside down."""
    looks, inverted = sum(a.looks for a in stored), sum(a.inverted for a in stored)
    if inverted < max(INVERTED[0], INVERTED[1] * looks):
        return []
    found = f"{inverted} of {many(looks, 'face')} that were checked {are(inverted)} read better so"
    said = f"its faces look upside down ({found}); if they are, landmarks and crops are wrong: turn"
    if clip.kind == "photos":
        return [f"{said} the photos and curate them again"]
    path = Path(clip.path)
    names = plain_name(path), plain_name(path.with_name(f"{path.stem}-upright.mov"))
    command = shlex.join(["ffmpeg", "-display_rotation", "180", "-i", names[0], "-c", "copy", names[1]])
    return [f"{said} it and curate the result: {command}"]


def _changes(sizes: Sequence[Size]) -> list[str]:
    """A sentence for every change of the picture's size."""
    return [
        f"the picture changes its size from {a.width}x{a.height} to {b.width}x{b.height} at {b.seconds:.2f} s"
        for a, b in itertools.pairwise(sizes)
        if (a.width, a.height) != (b.width, b.height)
    ][:SHOWN]
