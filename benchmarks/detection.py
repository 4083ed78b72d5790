"""Detection on real film: per clip the share of frames with a face and with the subject's, the smallest face, the cost.

    python -m benchmarks.detection CLIP... [--seconds N] [--sets DIR] [--frames 150]

Every frame is read (see `benchmarks.skipping`, also for --seconds and --sets). CPU time is of decoding, finding the
faces and their landmarks in the first --frames frames.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.skipping import whole
from curate.dataset.faceset import Faceset
from curate.errors import FacesetError
from curate.extract.account import of_clip
from curate.face.backends.litert import LiteRTDetector, LiteRTLandmarker
from curate.face.track import Tracker
from curate.footage.video import decode, probe


@dataclass(frozen=True)
class Found:
    """Of one clip."""

    clip: str
    size: str
    frames: int
    with_face: float
    """Share of the frames that show a face, 0..1."""
    with_subject: float
    """Share of the frames with a kept face, 0..1."""
    smallest: float
    """Width of the smallest face in pixels."""
    ms: float
    """CPU milliseconds a frame."""

    def line(self) -> str:
        """One row of the table."""
        shares = f"{100 * self.with_face:.1f} % | {100 * self.with_subject:.1f} %"
        return f"| {self.clip} | {self.size} | {self.frames:,} | {shares} | {self.smallest:.0f} | {self.ms:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--frames", type=int, default=150)
    args = parser.parse_args()
    print("| clip | size | frames | with a face | with the subject | smallest face, px | CPU ms a frame |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in args.clips:
            try:
                faceset = whole(path, (args.sets or Path(folder)) / path.stem, args.seconds)
            except FacesetError as error:
                print(f"| {path.stem} | {error} |", flush=True)
                continue
            rows.append(found(path, faceset, cost(path, args.frames)))
            print(rows[-1].line(), flush=True)
    print(json.dumps({"benchmark": "detection", "clips": [asdict(row) for row in rows]}))


def found(path: Path, faceset: Faceset, ms: float) -> Found:
    """The figures of a clip from its faceset, in which every frame was read."""
    clip, table = faceset.clips[0], faceset.table(["frame", "width", "kept"])
    frames = of_clip(clip, faceset.parts()[clip.name]).decoded
    share = table["frame"].nunique() / frames
    mine = table.loc[table["kept"], "frame"].nunique() / frames
    return Found(path.stem, f"{clip.width}x{clip.height}", frames, share, mine, float(table["width"].min()), ms)


def cost(path: Path, frames: int) -> float:
    """CPU milliseconds a frame of decoding and finding faces with their landmarks."""
    tracker, count = Tracker(LiteRTDetector(), LiteRTLandmarker(), 10), 0
    began = time.process_time()
    for frame in itertools.islice(decode(probe(path)), frames):
        tracker.step(frame.image)
        count += 1
    return 1000 * (time.process_time() - began) / max(count, 1)


if __name__ == "__main__":
    main()
