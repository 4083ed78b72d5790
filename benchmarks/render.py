"""Benchmark of a render's edge, colour and flicker against a plain paste of the same network output, and of its speed.

    python -m benchmarks.render RUN --footage VIDEO [--frames 240] [--options] [--mask hull] [--speed] [--rounds 2]

plain: the mesh's hull under a Gaussian of 0.03 of the face's size, each frame's mean colour matched to the footage's
(faceswap's "average colour"), nothing smoothed over time. Both get the same network output, and are measured by the
artifact report with the same outline. `--options` measures every combination of colour method and blending mode.

Speed: decoding, finding the face, the network and encoding, each alone on one core, against the whole render in one
process; CPU seconds, including the encoder's, and wall seconds; the minimum of `--rounds` runs. `--mask hull` shows the
face of a network that draws no mask yet; `--speed` measures nothing else.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd

from curate.extract.follow import follow
from curate.face.align import hull_mask, transform
from curate.footage.video import decode, probe
from curate.settings import Framing
from curate.types import Floats, Frame, Image
from render import part, pipeline
from render.compositing import blend, occlusion
from render.compositing.colour import METHODS
from render.compositing.compose import compose
from render.compositing.settings import MaskSettings, RenderSettings
from render.compositing.swap import Place, Swapped, places, swap_frames
from render.options import RenderOptions
from render.output import encode
from render.output.coding import coding_for
from render.output.footage_format import check_footage
from reports.artifacts.inspector import Inspector
from train.run import load_swapper, open_run

SHOWN = ("edge", "colour", "flicker")
Faces = list[tuple[Frame, Swapped | None]]


def plain(faces: Faces) -> Iterator[tuple[Frame, Image]]:
    """Frames with a plain paste, as other programs do by default."""
    for frame, face in faces:
        if face is None:
            yield frame, frame.image
            continue
        size = len(face.rgb)
        hull = hull_mask(transform(face.place.landmarks, face.matrix), size, size)
        mask = np.asarray(cv2.GaussianBlur(hull, (0, 0), 0.03 * float(hull.sum()) ** 0.5), np.float32)
        shift = ((face.footage - face.rgb) * mask[..., None]).sum((0, 1)) / max(float(mask.sum()), 1.0)
        rgb: Floats = np.asarray(np.clip(face.rgb + shift, 0, 1), np.float32)
        yield frame, blend.paste(frame.image, rgb, mask, face.matrix)[0]


def measured(images: Iterator[tuple[Frame, Image]], where: dict[int, Place], fps: float) -> pd.DataFrame:
    """Measures of the artifact report, with the outline of the landmarks."""
    inspector = Inspector(fps, has_reference=True)
    for frame, image in images:
        place = where.get(frame.index)
        inspector.add(frame.index, float(frame.time), image, frame.image, None if place is None else place.landmarks)
    return inspector.finish().measures


def least(job: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """CPU and wall seconds of the fastest of some runs."""
    times = []
    for _ in range(rounds):
        began, before = time.perf_counter(), os.times()
        job()
        after = os.times()
        times.append((sum(after[:4]) - sum(before[:4]), time.perf_counter() - began))
    return min(times)


def main() -> None:
    """Print two tables and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--footage", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--options", action="store_true")
    parser.add_argument("--mask", default=MaskSettings().mode)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    cv2.setNumThreads(1)
    clip = probe(args.footage)
    seconds = args.frames / clip.fps
    opened = open_run(args.run)
    swapper, framing = load_swapper(opened, "cpu"), cast(Framing, opened.framing)
    identity = json.loads((args.run / "run.json").read_text())["target"]["identity"] or None
    where = places(follow(args.footage, identity, end=seconds).rows)
    frames = [f for f in decode(clip) if f.index < args.frames]

    def network() -> Faces:
        with part.one_thread("cpu"):
            return list(swap_frames(frames, where, swapper, framing, MaskSettings(args.mask), reconstruct=True))

    found: dict[str, Any] = {}
    if not args.speed:
        found = appearance(args, network(), where, clip.fps)
    found["seconds"] = speed(args, clip, frames, network, seconds)
    print(json.dumps(found))


def appearance(args: argparse.Namespace, faces: Faces, where: dict[int, Place], fps: float) -> dict[str, Any]:
    """Edge, colour and flicker of every variant."""
    typical = occlusion.learn([f.error for _, f in faces[:: max(len(faces) // 48, 1)] if f and f.error is not None])

    def ours(settings: RenderSettings) -> Iterator[tuple[Frame, Image]]:
        return ((c.frame, c.image) for c in compose(faces, settings, typical))

    variants = {"plain": plain(faces), "ours": ours(RenderSettings())}
    if args.options:
        for method in METHODS:
            for mode in blend.MODES:
                variants[f"{method} {mode}"] = ours(RenderSettings(colour=method, blend=mode))
    found: dict[str, Any] = {}
    print(f"{'':18}" + "".join(f"{f'{m} median':>16}{f'{m} 95 %':>14}" for m in SHOWN))
    for name, images in variants.items():
        table = measured(images, where, fps)
        found[name] = {m: [float(table[m].quantile(q)) for q in (0.5, 0.95)] for m in SHOWN}
        print(f"{name:18}" + "".join(f"{a:16.3f}{b:14.3f}" for a, b in found[name].values()))
    return found


def speed(args: argparse.Namespace, clip: Any, frames: list[Frame], network: Callable[[], Faces], end: float) -> Any:
    """Seconds of every stage alone, and of the whole render."""
    footage_format = check_footage(args.footage)
    coding = coding_for(footage_format)

    def encoding() -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            encode.encoder(
                Path(folder) / "x",
                clip.width,
                clip.height,
                Fraction(clip.fps).limit_denominator(1001),
                footage_format,
                coding,
            ) as write,
        ):
            for frame in frames:
                write(frame.image)

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            settings = RenderSettings(mask=MaskSettings(args.mask))
            options = RenderOptions(settings, span=f"0-{end:.3f}", device="cpu", workers=1)
            pipeline.render(args.run, args.footage, Path(folder) / "out.mp4", options)

    segment = part.segment(clip, range(args.frames))
    jobs: dict[str, Callable[[], Any]] = {
        "decode": lambda: [f.image for f in decode(clip, segment)],
        "find": lambda: follow(args.footage, None, end=end).rows,
        "network": network,
        "encode": encoding,
        "render": whole,
    }
    taken = {name: least(job, args.rounds) for name, job in jobs.items()}
    found = {}
    for place, kind in enumerate(("processor", "wall")):
        t = {name: values[place] for name, values in taken.items()}
        alone = t["decode"] + t["network"] + t["encode"]
        t["ratio"] = t["render"] / (alone + t["find"])
        t["ratio_without_find"] = (t["render"] - t["find"]) / alone
        found[kind] = t
        print("\n" + f"{kind:10}" + "".join(f"{name:>20}" for name in t))
        print(" " * 10 + "".join(f"{value:20.2f}" for value in t.values()))
    return found


if __name__ == "__main__":
    main()
