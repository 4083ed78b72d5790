"""Metadata of the footage in the output: tags, chapters and timecode; what the container cannot hold is named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

TECHNICAL = frozenset(
    "major_brand minor_version compatible_brands encoder comment duration software handler_name timecode".split()
)
"""Tags that are about the file itself, or that the render replaces."""
TECHNICAL_KIND = re.compile(
    r"uid|\w+_(uid|umid|ul)|product_\w+|toolkit_version\w*|company_name|application_platform|isft|wm/\w+|\w+-eng"
)
"""Tags of MXF, AVI and WMV about the program that wrote the file, and doubles by language."""
TIMECODE = re.compile(r"(\d{2}):(\d{2}):(\d{2})([:;.])(\d{2,3})")


def wanted(source: Any) -> dict[str, str]:
    """Tags of an open container, by lower-case names."""
    found = {key.lower(): value for key, value in source.metadata.items()}
    kept = {key: value for key, value in found.items() if key not in TECHNICAL and not TECHNICAL_KIND.fullmatch(key)}
    if "comment" in found and "description" not in kept:
        kept["description"] = found["comment"]
    return kept


def lost(wanted_tags: Mapping[str, str], written: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence about the tags that are not in the written file; nothing if all are."""
    there = {key.lower(): value for key, value in written.items()}
    missing = sorted(
        k for k, v in wanted_tags.items() if there.get(k, "")[:10] != v[:10] and k.split("-")[0] not in there
    )
    return (f"tags of the footage that this container cannot hold: {', '.join(missing)}",) if missing else ()


def chapters(source: Any, start: Fraction, end: Fraction | None) -> list[dict[str, Any]]:
    """Chapters of an open container, moved earlier by `start` and limited to `end`, both in seconds of the footage."""
    found: list[dict[str, Any]] = []
    for chapter in source.chapters():
        base = Fraction(chapter["time_base"])
        first = max(chapter["start"] * base, start)
        last = chapter["end"] * base if end is None else min(chapter["end"] * base, end)
        if first < last:
            times = {"start": round((first - start) * 1000), "end": round((last - start) * 1000)}
            found.append({**chapter, **times, "id": len(found), "time_base": Fraction(1, 1000)})
    return found


def timecode(source: Any, video: Any, frames: int, rate: Fraction) -> str:
    """Timecode of the footage's frame number `frames`; empty if the footage has none."""
    streams = [video, *(s for s in source.streams if s.type == "data")]
    for tags in [*(s.metadata for s in streams), source.metadata]:
        found = next((value for key, value in tags.items() if key.lower() == "timecode"), "")
        if TIMECODE.fullmatch(found.strip()):
            return later(found.strip(), frames, rate)
    return ""


def later(code: str, frames: int, rate: Fraction) -> str:
    """The timecode (SMPTE ST 12-1) some frames later; `;` counts drop frames, at 29.97 and 59.94 frames a second."""
    match = TIMECODE.fullmatch(code)
    if match is None:
        raise ValueError(f"{code} is no timecode")
    hours, minutes, seconds, number = (int(match[i]) for i in (1, 2, 3, 5))
    drop, nominal = match[4] != ":", max(round(rate), 1)
    dropped = nominal // 15 if drop else 0
    total = ((hours * 60 + minutes) * 60 + seconds) * nominal + number
    whole = hours * 60 + minutes
    total += frames - dropped * (whole - whole // 10)
    if drop:
        tens, rest = divmod(total, 600 * nominal - 9 * dropped)
        total += dropped * (9 * tens + max(rest - dropped, 0) // (60 * nominal - dropped))
    total %= 24 * 3600 * nominal
    clock, number = divmod(total, nominal)
    text = f"{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}{match[4]}{number:02}"
    return text
