"""Footage arguments: paths, time ranges, folders, and the suffixes of videos and photos."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from curate.errors import FootageError, UsageError

VIDEO_SUFFIXES = frozenset(
    ".mp4 .mov .m4v .mkv .webm .avi .mxf .mts .m2ts .m2t .ts .mpg .mpeg .m2v .vob .mod .tod .wmv .asf .flv .f4v .3gp "
    ".3g2 .ogv .y4m .gif .dv .h264 .264 .avc .h265 .265 .hevc .ivf .obu".split()
)
HEIF_SUFFIXES = frozenset((".heic", ".heif"))
"""Photos that need the extra `heif`."""
PILLOW_SUFFIXES = frozenset(".avif .jp2 .j2k .jpx".split())
PHOTO_SUFFIXES = frozenset(".jpg .jpeg .png .webp .bmp .tif .tiff".split()) | HEIF_SUFFIXES | PILLOW_SUFFIXES
_RANGE = re.compile(r"^(?P<path>.+)@(?P<start>[\d:.]*)-(?P<end>[\d:.]*)$", re.DOTALL)


@dataclass(frozen=True)
class Footage:
    """A path from the command line and its time range in seconds."""

    path: Path
    start: float | None = None
    end: float | None = None


def parse_footage(text: str) -> Footage:
    """Path and time range of `clip.mp4` or `clip.mp4@00:10-01:20` (either end may be left out)."""
    if not text.strip():
        raise UsageError("FOOTAGE is empty: name a video, a folder or a URL")
    match = _RANGE.match(text)
    if match is None or Path(text).exists():
        return Footage(Path(text))
    start, end = _seconds(match["start"], text), _seconds(match["end"], text)
    if start is not None and end is not None and end <= start:
        raise UsageError(f"{text}: the range ends before it starts")
    return Footage(Path(match["path"]), start, end)


def _seconds(text: str, whole: str) -> float | None:
    if not text:
        return None
    try:
        seconds = 0.0
        for field in text.split(":"):
            seconds = seconds * 60 + float(field)
    except ValueError:
        raise UsageError(f"{whole}: {text!r} is not a time; write 01:20 or 80.5") from None
    return seconds


def expand(footage: Footage) -> list[Footage]:
    """Clips of a path: itself, or the videos in a folder and its sub-folders (a folder of photos is one clip).

    Raises FootageError for a path that does not exist or a folder without footage.
    """
    if not footage.path.exists():
        raise UsageError(f"{footage.path}: no such file or folder")
    if not footage.path.is_dir():
        return [footage]
    found = []
    for folder in [footage.path, *sorted(p for p in footage.path.rglob("*") if p.is_dir())]:
        found += [Footage(p) for p in _visible(folder) if p.suffix.lower() in VIDEO_SUFFIXES]
        if photos(folder):
            found.append(Footage(folder))
    if not found:
        raise FootageError(f"{footage.path}: the folder contains neither videos nor photos")
    return found


def photos(folder: Path) -> list[Path]:
    """The photos in a folder, sorted by name."""
    return [p for p in _visible(folder) if p.suffix.lower() in PHOTO_SUFFIXES]


def _visible(folder: Path) -> list[Path]:
    """Files of a folder, sorted, without hidden ones: `._clip.mp4` is what macOS keeps about clip.mp4, no video."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and (p.is_file() or _dangling(p)))


def _dangling(path: Path) -> bool:
    """Whether a link points to nothing: that is a failure, not a file that is left out."""
    return path.is_symlink() and not path.exists()
