"""Footage from the command line, added to a faceset's list of clips."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.dataset.faceset import Faceset
from curate.errors import FootageError, UsageError, WorkError
from curate.footage import photos, remote
from curate.footage.paths import Footage, expand, parse_footage
from curate.footage.video import probe
from curate.types import Clip, Failure, Progress, no_progress

LONGEST = 150
"""Bytes of a clip's name: parts of names of 255 are added to it, and some tools limit the whole path to 260."""
DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices (learn.microsoft.com, Naming Files, Paths, and Namespaces)."""


@dataclass(frozen=True)
class Far:
    """A video at a URL, with the range that was asked for, in seconds."""

    url: str
    start: float | None
    end: float | None


log = logging.getLogger(__name__)


def probe_all(
    footage: Sequence[str], old: Faceset | None, progress: Progress = no_progress
) -> tuple[list[Clip], list[Failure], frozenset[str]]:
    """The faceset's clips with the added ones, those that cannot be used, and the URLs that the command line named.

    Raises UsageError for a wrong name, WorkError when nothing at all is usable.
    """
    clips = [_current(clip) for clip in old.clips] if old else []
    failed: list[Failure] = []
    wanted: list[Footage | Far] = []
    for text in footage:
        try:
            wanted += _expand(text)
        except FootageError as error:
            failed.append(Failure(text, str(error)))
    if not footage and not clips:
        raise UsageError("FOOTAGE is missing: give videos, folders of videos, or folders of photos")
    for done, one in enumerate(wanted):
        progress("probing", done, len(wanted))
        try:
            clip = _probe(one)
        except FootageError as error:
            failed.append(Failure(one.url if isinstance(one, Far) else str(one.path), str(error)))
            failed += _photos_of(one)
            continue
        _take_in(clips, clip)
        if clip.kind == "photos":
            failed += photos.survey(Path(clip.path)).failures
    progress("probing", len(wanted), len(wanted))
    if not clips:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise WorkError(f"none of the footage is usable: {failed[0].reason}{more}")
    return clips, failed, frozenset(one.url for one in wanted if isinstance(one, Far))


def _photos_of(wanted: Footage | Far) -> Sequence[Failure]:
    """The photos of a folder of which none can be read, each with its reason."""
    if isinstance(wanted, Far) or not wanted.path.is_dir():
        return ()
    return photos.survey(wanted.path).failures


def _current(clip: Clip) -> Clip:
    """The clip, probed again if an older version did it, which may have seen other frames or another size."""
    if clip.announced or not Path(clip.path).exists():
        return clip
    try:
        again = probe(Path(clip.path), clip.start, clip.end, clip.name)
    except FootageError:
        return clip
    return again if again.sha256 == clip.sha256 else clip


def _expand(text: str) -> Sequence[Footage | Far]:
    if not remote.is_url(text):
        return expand(parse_footage(text))
    url, start, end = remote.split(text)
    return [Far(each, start, end) for each in remote.expand(url)]


def _probe(wanted: Footage | Far) -> Clip:
    if isinstance(wanted, Footage):
        if not _is_unicode(str(wanted.path)):
            raise FootageError(f"{wanted.path}: its name is not UTF-8, so no faceset can store it; rename it")
        if wanted.path.is_symlink() and not wanted.path.exists():
            raise FootageError(f"{wanted.path}: is a link to {os.readlink(wanted.path)}, which does not exist")
        return probe(wanted.path, wanted.start, wanted.end)
    clip = replace(probe(remote.fetch(wanted.url), wanted.start, wanted.end), path=wanted.url)
    remote.make_room(clip)
    return clip


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _take_in(clips: list[Clip], clip: Clip) -> None:
    """Add a clip under a unique name, or update the path of a clip that is known."""
    for i, known in enumerate(clips):
        if (known.sha256, known.start, known.end) == (clip.sha256, clip.start, clip.end):
            if Path(known.path).name != Path(clip.path).name and Path(known.path).exists():
                log.warning("%s is the same file as %s and is used once", clip.path, known.path)
            clips[i] = replace(clip, name=known.name)
            return
        if known.sha256 == clip.sha256 and overlaps(known, clip):
            raise UsageError(
                f"{clip.path}: this range overlaps one that is in the faceset already: give ranges that do not overlap"
            )
    clips.append(replace(clip, name=free_name(storable(clip.name), {c.name for c in clips})))


def storable(name: str) -> str:
    """The name as every file system can store it, also those of Windows and of portable disks: not too long either."""
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", name).encode()[:LONGEST].decode(errors="ignore").strip(". ") or "clip"
    return f"{name}_" if DEVICE.fullmatch(name) else name


def free_name(base: str, taken: Collection[str]) -> str:
    """The name, with a number behind it if it is taken, also by a name that some file systems take for the same."""
    name, count, known = base, 2, {_alike(other) for other in taken}
    while _alike(name) in known:
        name, count = f"{base}-{count}", count + 1
    return name


def _alike(name: str) -> str:
    """The same for names that differ in upper and lower case or in the form of their accents alone."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def overlaps(a: Clip, b: Clip) -> bool:
    """Whether two ranges of one file share a moment."""
    starts, ends = (a.start or 0.0, b.start or 0.0), (a.end or float("inf"), b.end or float("inf"))
    return max(starts) < min(ends)
