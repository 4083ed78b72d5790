"""What `--every auto` skips: how often a skipped face is another kind than the one that stands for it, and lost blinks.

    python -m benchmarks.skipping CLIP... [--seconds N] [--sets DIR]

Every clip, or its first N seconds, is curated with every frame read; then it is decided frame by frame what
`--every auto` would have skipped. With --sets, these facesets are kept in DIR and are not made again. A skipped face is
another kind where its similarity to the face that was read before it is below `curate.select.kinds.SAME_KIND`, in the
space of the clip's own faces. A blink is a run of 3 frames or more in which the eyes are less than half as open as
usual; it is lost if none is read.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from curate.dataset.faceset import Faceset, is_faceset, open_faceset
from curate.errors import FacesetError
from curate.extract.pipeline import Request, curate
from curate.face.track import Seen
from curate.footage.skip import Limits, Parts, Watch
from curate.footage.video import decode, segments
from curate.safe_io import read_parquet
from curate.select.kinds import SAME_KIND
from curate.select.space import Space
from curate.types import Landmarks

LEAST_BLINK, CLOSED = 3, 0.5
WHOLE = 86_400.0
"""Seconds of a segment that holds all of a clip."""


@dataclass(frozen=True)
class Skipped:
    """What became of one clip; the counts of several add up."""

    frames: int = 0
    read: int = 0
    judged: int = 0
    """Skipped frames that show the subject."""
    other: int = 0
    """Of these, another kind than what was read before them."""
    blinks: int = 0
    lost: int = 0

    def __add__(self, more: Skipped) -> Skipped:
        return Skipped(*(getattr(self, name) + getattr(more, name) for name in self.__dataclass_fields__))

    def line(self, name: str) -> str:
        """One row of the table."""
        share = 100 * self.other / self.judged if self.judged else 0.0
        return (
            f"{name[:34]:35}{self.frames:7}{100 * (1 - self.read / max(self.frames, 1)):9.1f} %{share:9.2f} %"
            f"{self.blinks:8}{self.lost:6}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--seconds", type=int, default=0)
    args = parser.parse_args()
    total = Skipped()
    print(f"{'clip':35}{'frames':>7}{'skipped':>11}{'other kind':>11}{'blinks':>8}{'lost':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for path in args.clips:
            try:
                faceset = whole(path, (args.sets or Path(folder)) / path.stem, args.seconds)
            except FacesetError as error:
                print(f"{path.stem[:34]:35}{error}")
                continue
            found = judged(faceset, *read_frames(faceset, (Limits(),)))
            total += found
            print(found.line(path.stem), flush=True)
    print(total.line("all"))
    print(json.dumps({"benchmark": "skipping", **vars(total)}))


def whole(path: Path, out: Path, seconds: int = 0) -> Faceset:
    """The faceset of a clip, or of its first seconds, with every frame read; made if it is not there."""
    if not (is_faceset(out) and open_faceset(out).table_path.is_file()):
        curate(Request((f"{path}@0-{seconds}" if seconds else str(path),), out, "clip", "research"))
    return open_faceset(out)


def read_frames(faceset: Faceset, limits: Sequence[Limits]) -> list[list[int]]:
    """Frames of the footage, and then those that `--every auto` would read with each of the limits, in order."""
    clip, faces = faceset.clips[0], _faces(faceset)
    watches, every = [(Watch(limit), list[int]()) for limit in limits], list[int]()
    for frame in (f for segment in segments(clip, WHOLE) for f in decode(clip, segment)):
        every.append(frame.index)
        for watch, read in watches:
            if not watch.still(frame.luma):
                read.append(frame.index)
                watch.remember(frame.luma, faces.get(frame.index, []))
    return [every, *(read for _, read in watches)]


def _faces(faceset: Faceset) -> dict[int, list[Parts]]:
    """Boxes of the faces in each frame, from the parts."""
    found: dict[int, list[Parts]] = {}
    for paths in faceset.parts().values():
        for path in paths:
            rows = read_parquet(path, columns=["frame", "x", "y", "width", "height", "landmarks"])
            for row in rows.itertuples():
                points = np.asarray(row.landmarks, np.float32).reshape(-1, 3)
                seen = Seen(0, np.array([row.x, row.y, row.width, row.height]), Landmarks(points, 1.0, None), 1.0)
                found.setdefault(int(row.frame), []).append(Parts(seen.box, seen.details))
    return found


def judged(faceset: Faceset, every: list[int], read: list[int]) -> Skipped:
    """What the frames that were not read would have shown."""
    table, frames = faceset.table(), len(every)
    rows = table[table["kept"]].sort_values("frame").reset_index(drop=True)
    if not len(rows):
        return Skipped(frames, len(read))
    space = Space.fit(rows)
    points = dict(zip(rows["frame"].tolist(), space.embed(rows), strict=True))
    before = np.array(read)
    other = judged = 0
    for frame in sorted(set(points) - set(read)):
        stands = int(before[np.searchsorted(before, frame) - 1])
        apart = float(np.square(points[frame] - points[stands]).sum()) if stands in points else np.inf
        judged, other = judged + 1, other + bool(np.exp(-apart / (2 * space.width**2)) < SAME_KIND)
    shut = blinks(rows)
    return Skipped(frames, len(read), judged, other, len(shut), sum(not set(run) & set(read) for run in shut))


def blinks(rows: pd.DataFrame) -> list[list[int]]:
    """All frames of each blink, of faces in order of frames."""
    frames, opening = rows["frame"].to_numpy(np.int64), rows["EyesOpen"].to_numpy(np.float64)
    closed = opening < CLOSED * np.nanmedian(opening)
    runs: list[list[int]] = []
    for frame in frames[closed].tolist():
        if runs and frame == runs[-1][-1] + 1:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return [run for run in runs if len(run) >= LEAST_BLINK]


if __name__ == "__main__":
    main()
