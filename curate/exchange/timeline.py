"""The minutes worth keeping as a timeline for an editor: OpenTimelineIO (.otio) or an edit decision list (.edl)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from curate.dataset.faceset import Faceset
from curate.errors import WorkError
from curate.footage.remote import is_url
from curate.runtime.files import atomic
from curate.select.keep import Window
from curate.types import Clip
from curate.words import visible

FORMATS = (".otio", ".edl", ".mp4")


@dataclass(frozen=True)
class Cut:
    """A piece of one clip, in whole frames."""

    clip: Clip
    first: int
    """Frames from the clip's beginning."""
    last: int
    """The first frame that is not shown."""

    @property
    def seconds(self) -> float:
        """Length."""
        return (self.last - self.first) / self.clip.fps


def cuts_of(faceset: Faceset, windows: Sequence[Window], begins: Mapping[str, float]) -> tuple[Cut, ...]:
    """The windows in whole frames, in the order of the faceset's clips; clips that are photos are passed over.

    `begins`: clip to the timestamp of its first frame. Raises WorkError where nothing is left.
    """
    found = []
    for clip in faceset.clips:
        if clip.fps <= 0:
            continue
        for window in windows:
            if window.clip != clip.name:
                continue
            zero = begins.get(clip.name, 0.0)
            first = max(round((window.start - zero) * clip.fps), 0)
            last = round((window.end - zero) * clip.fps)
            if last > first:
                found.append(Cut(clip, first, last))
    if not found:
        raise WorkError(f"{faceset.folder} has no footage worth keeping: it contains photos only, or no face is kept")
    return tuple(found)


def write_otio(out: Path, cuts: Sequence[Cut], name: str) -> None:
    """One video track of the cuts as OpenTimelineIO's JSON (schema Timeline.1, Clip.2; Academy Software Foundation)."""
    track = _schema("Track.1", name="worth keeping", kind="Video", children=[_otio_clip(cut) for cut in cuts])
    stack = _schema("Stack.1", name="tracks", children=[track])
    timeline = _schema("Timeline.1", name=name, global_start_time=None, tracks=stack)
    with atomic(out) as temporary:
        temporary.write_text(json.dumps(timeline, indent=1), encoding="utf-8")


def _otio_clip(cut: Cut) -> dict[str, Any]:
    clip = cut.clip
    media = _schema(
        "ExternalReference.1",
        name=Path(clip.path).name,
        target_url=_address(clip.path),
        available_range=_range(0, max(round(clip.duration * clip.fps), cut.last), clip.fps),
        available_image_bounds=None,
    )
    return _schema(
        "Clip.2",
        name=clip.name,
        source_range=_range(cut.first, cut.last - cut.first, clip.fps),
        effects=[],
        markers=[],
        enabled=True,
        media_references={"DEFAULT_MEDIA": media},
        active_media_reference_key="DEFAULT_MEDIA",
    )


def _address(path: str) -> str:
    """Of the footage: an address as it is, a place on this machine as a file's, a relative one as it is."""
    if is_url(path):
        return path
    return Path(path).as_uri() if Path(path).is_absolute() else quote(path)


def _schema(kind: str, /, **values: Any) -> dict[str, Any]:
    return {"OTIO_SCHEMA": kind, "metadata": {}, **values}


def _range(start: int, length: int, rate: float) -> dict[str, Any]:
    begins, lasts = ({"OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": float(v)} for v in (start, length))
    return {"OTIO_SCHEMA": "TimeRange.1", "start_time": begins, "duration": lasts}


def write_edl(out: Path, cuts: Sequence[Cut], name: str) -> None:
    """The cuts as an edit decision list (CMX 3600), non-drop-frame, at the rate of the first clip.

    Time codes count from the beginning of each file; reels are numbered, and a comment names the file.
    """
    with atomic(out) as temporary:
        temporary.write_text(
            "\n".join([f"TITLE: {visible(name)}", "FCM: NON-DROP FRAME", "", *_events(cuts)]), encoding="utf-8"
        )


def _events(cuts: Sequence[Cut]) -> Iterator[str]:
    rate = cuts[0].clip.fps
    reels = {cut.clip.name: f"A{number:03d}" for number, cut in enumerate({c.clip.name: c for c in cuts}.values(), 1)}
    record = 0
    for number, cut in enumerate(cuts, 1):
        length = max(round(cut.seconds * rate), 1)
        source = round(cut.first / cut.clip.fps * rate)
        times = (source, source + length, record, record + length)
        yield f"{number:03d}  {reels[cut.clip.name]:8} V     C        " + " ".join(_code(t, rate) for t in times)
        yield f"* FROM CLIP NAME: {visible(Path(cut.clip.path).name)}"
        record += length


def _code(frames: int, rate: float) -> str:
    """HH:MM:SS:FF."""
    each = max(round(rate), 1)
    seconds, rest = divmod(frames, each)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{rest:02d}"
