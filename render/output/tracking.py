"""Head pose and tracking points of the footage's face, as files for Nuke, Blender and tables.

head.chan      frame tx ty tz rx ry rz: degrees, rotation order XYZ (Rz(roll) Ry(yaw) Rx(pitch), as everywhere), axes x
               right, y up, z to the camera; tx, ty: the face's middle in pixels from the frame's, tz 0
head.csv       the same with names: frame, time, yaw, pitch, roll, x, y (pixels from the upper left)
points.csv     frame, time, point, x, y: named points of the face, pixels from the upper left
Frames are numbered as the pictures are: from 0, at the footage's first frame.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.errors import UsageError, WorkError
from curate.face.mesh import AT
from curate.runtime.files import write_whole
from curate.types import Floats

NAMES = ("head.chan", "head.csv", "points.csv")


@dataclass(frozen=True)
class Head:
    """The face in one frame."""

    frame: int
    time: float
    """Seconds from the first frame of the render."""
    yaw: float
    pitch: float
    roll: float
    """Degrees."""
    points: Floats
    """(N, 3) pixels of the frame as stored."""


def check(folder: Path, force: bool) -> None:
    """Raises UsageError if the folder has such files already, unless `force`."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(f"--tracking {folder}: is a file; choose a folder")
    there = [name for name in NAMES if (folder / name).exists()]
    if there and not force:
        raise UsageError(f"--tracking {folder}: already contains {there[0]}; use --force to overwrite it")


def write(folder: Path, heads: Sequence[Head], size: tuple[int, int]) -> None:
    """Write the three files; `size` is the frame's, width and height. Raises WorkError."""
    middles = [head.points[:, :2].mean(axis=0) for head in heads]
    chan = "".join(
        f"{h.frame} {x - size[0] / 2:.3f} {size[1] / 2 - y:.3f} 0 {h.pitch:.4f} {h.yaw:.4f} {h.roll:.4f}\n"
        for h, (x, y) in zip(heads, middles, strict=True)
    )
    poses = [
        (h.frame, f"{h.time:.6f}", *(f"{v:.4f}" for v in (h.yaw, h.pitch, h.roll)), f"{x:.3f}", f"{y:.3f}")
        for h, (x, y) in zip(heads, middles, strict=True)
    ]
    points = [
        (h.frame, f"{h.time:.6f}", name, f"{h.points[i][0]:.3f}", f"{h.points[i][1]:.3f}")
        for h in heads
        for name, i in AT._asdict().items()
        if i < len(h.points)
    ]
    texts = {
        "head.chan": chan,
        "head.csv": _table(("frame", "time", "yaw", "pitch", "roll", "x", "y"), poses),
        "points.csv": _table(("frame", "time", "point", "x", "y"), points),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_whole(folder / name, text.encode())
    except OSError as error:
        raise WorkError(f"--tracking {folder}: cannot be written ({error.strerror}); choose another folder") from None


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return stream.getvalue()
