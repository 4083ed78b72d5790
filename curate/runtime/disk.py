"""Disk space of a faceset: the estimate before extraction, the size afterwards."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from curate.settings import Settings

ROW = 11_000
"""Bytes of a face's row in its part and in the table, compressed."""
PIXEL = 0.45
"""Bytes of a crop's pixel (JPEG, quality 95, 4:4:4)."""


def a_face(settings: Settings) -> float:
    """Bytes of one face: its crop and its row."""
    return ROW + PIXEL * settings.crop_size**2


def needed(frames: int, settings: Settings) -> int:
    """Bytes that one face from each of the frames takes; with --every auto, an upper bound."""
    return int(frames / max(settings.every, 1) * a_face(settings))


def free(folder: Path) -> int:
    """Free bytes on the folder's disk."""
    return shutil.disk_usage(folder).free


def used(folder: Path) -> int:
    """Bytes of all files in the folder."""
    total, folders = 0, [str(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def text(size: float) -> str:
    """Readable size: 1.2 GB, 340 MB, less than 1 MB."""
    if size < 1e6:
        return "less than 1 MB"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
