"""`faceset inspect` on a render that another tool made: a plain script pastes one face over another.

    python -m benchmarks.foreign --source VIDEO --target VIDEO [--frames 90] [--keep OUT.mp4]

The script: every frame of the target gets the source's best-fitting frame, laid on by the affine map of eyes, nose and
mouth, cut out along the landmarks' hull, its mean colour taken to the target's. No feather, no light, no grain. Printed
are the findings with the target as reference and without it.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from curate.extract.follow import follow
from curate.face.align import hull_mask
from curate.footage.video import decode, probe
from curate.types import Image
from reports.artifacts.inspect import inspect

POINTS = (33, 133, 362, 263, 1, 61, 291, 152)
"""Corners of the eyes and the mouth, tip of the nose, chin."""


def pasted(frame: Image, points: NDArray[np.floating], source: Image, marks: NDArray[np.floating]) -> Image:
    """One frame by the plain script."""
    pair = (marks[list(POINTS), :2], points[list(POINTS), :2])
    matrix, _ = cv2.estimateAffine2D(*(np.asarray(p, np.float32) for p in pair))
    height, width = frame.shape[:2]
    laid = cv2.warpAffine(source, matrix, (width, height)).astype(np.float32)
    # A little inside the hull: at its very edge lies the source's own background.
    hull = hull_mask(points, height, width) > 0.5
    hull = cv2.erode(hull.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    laid += frame[hull].mean(0) - laid[hull].mean(0)
    output = frame.copy()
    output[hull] = np.clip(laid[hull], 0, 255).astype(np.uint8)
    return output


def write(source: Path, target: Path, out: Path, frames: int) -> None:
    """The whole render, and beside it `out`.reference.mp4 with the target's same frames."""
    clips = [probe(p) for p in (source, target)]
    found = [follow(p, None, end=frames / c.fps).rows for p, c in zip((source, target), clips, strict=True)]
    theirs = {f.index: f.image for f in decode(clips[0]) if f.index < frames}
    marks = dict(zip(found[0]["frame"], found[0]["landmarks"], strict=True))
    poses = found[0][["frame", "yaw", "pitch", "roll"]].to_numpy(np.float64)
    where = found[1].set_index("frame")
    size = (clips[1].width, clips[1].height)
    paths = (out, out.with_suffix(".reference.mp4"))
    options = {"fps": clips[1].fps, "codec": "libx264", "output_params": ["-crf", "18"], "macro_block_size": 1}
    writers = [imageio_ffmpeg.write_frames(str(p), size, **options) for p in paths]
    for writer in writers:
        writer.send(None)
    for frame in decode(clips[1]):
        if frame.index >= frames:
            break
        image = frame.image
        if frame.index in where.index:
            row = where.loc[frame.index]
            apart = np.linalg.norm(poses[:, 1:] - row[["yaw", "pitch", "roll"]].to_numpy(np.float64), axis=1)
            near = int(poses[int(apart.argmin()), 0])
            image = pasted(image, row["landmarks"], theirs[near], marks[near])
        for writer, picture in zip(writers, (image, frame.image), strict=True):
            writer.send(np.ascontiguousarray(picture))
    for writer in writers:
        writer.close()


def main() -> None:
    """Print the findings and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--keep", type=Path)
    told = parser.parse_args()
    logging.disable(logging.WARNING)
    kinds = {}
    with tempfile.TemporaryDirectory() as folder:
        out = told.keep or Path(folder) / "foreign.mp4"
        write(told.source, told.target, out, told.frames)
        for name, reference in (("with", out.with_suffix(".reference.mp4")), ("without", None)):
            found = inspect(out, reference)
            print(f"{name} reference:")
            for f in found.findings:
                print(f"  {f.kind:12}{f.severity:8}{f.start:7.2f} to {f.end:6.2f} s{f.value:9.2f} {f.unit}")
            kinds[name] = sorted({f.kind for f in found.findings})
    print(json.dumps(kinds))


if __name__ == "__main__":
    main()
