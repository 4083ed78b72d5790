"""Hands in front of the face in real renders: share of their pixels that stays visible, against masks drawn by hand.

    python -m benchmarks.occlusion RUN... --clips DIR

The masks of 35 frames of three clips are polygons in frame pixels (occlusion_masks.json). A run judges the clips of its
target, and with --arch df also those of its source, with the two decoders exchanged: they are trained alike. Each clip
is followed, swapped and composited as `faceset render` does it, with the mask's default settings, once with occlusion
and once without. Of the pixels inside the face's outline, `hand kept` is the share of those under a polygon whose mask
is below one half. `face lost` is the share of the pixels outside the polygons that the swap covers without occlusion
(mask of at least one half) and no longer covers with it. Frames without a polygon are controls.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.extract.follow import follow
from curate.face.align import hull_mask
from curate.footage.video import decode, probe
from curate.settings import Framing
from curate.types import Floats, Frame
from render import part
from render.compositing import occlusion
from render.compositing.compose import compose
from render.compositing.settings import RenderSettings
from render.compositing.swap import Swapped, places, swap_frames
from train.run import Run, Swapper, load_swapper, open_run

MASKS = Path(__file__).with_name("occlusion_masks.json")
SHOWN = 0.5
"""Opacity from which a pixel counts as swapped."""
Masks = dict[int, list[NDArray[np.float64]]]
"""Polygons (N, 2) by frame number."""


@dataclass(frozen=True)
class Counts:
    """Pixels inside the outline of the face; the counts of several frames add up."""

    frames: int = 0
    hand: int = 0
    """Pixels of occluders."""
    kept: int = 0
    """Of these, those that the render leaves visible."""
    kept_without: int = 0
    """The same with occlusion switched off: what the soft edge leaves out anyhow."""
    face: int = 0
    """Other pixels that the swap covers with occlusion switched off."""
    lost: int = 0
    """Of these, those that it no longer covers."""

    def __add__(self, more: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(more, name) for name in self.__dataclass_fields__))

    @property
    def iou(self) -> float:
        """Intersection over union of the drawn occluders and of those found, where the swap would cover them."""
        found = self.kept - self.kept_without
        return found / max(self.hand - self.kept_without + self.lost, 1)

    def line(self, name: str) -> str:
        """One row of the table."""
        kept, without = (f"{100 * n / self.hand:.1f} %" if self.hand else "" for n in (self.kept, self.kept_without))
        iou = f"{self.iou:.2f}" if self.hand else ""
        lost = 100 * self.lost / max(self.face, 1)
        return f"{name[:40]:41}{self.frames:7}{self.hand:9}{kept:>11}{without:>13}{lost:9.2f} %{iou:>7}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--clips", type=Path, required=True)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    drawn = masks()
    rows: dict[str, Counts] = {}
    print(f"{'clip':41}{'frames':>7}{'hand px':>9}{'hand kept':>11}{'without':>13}{'face lost':>11}{'IoU':>7}")
    for opened, swapper in (way for run in args.runs for way in ways(open_run(run))):
        for name in sorted(set(drawn) & {name for name, _ in opened.target.clips}):
            video = next(path for path in args.clips.iterdir() if path.stem == name)
            found = judged(opened, swapper, video, drawn[name])
            for kind, hand in (("occluded", True), ("controls", False)):
                some = sum((c for c in found.values() if bool(c.hand) is hand), Counts())
                if some.frames:
                    rows[f"{name}, {kind}"] = some
                    print(some.line(f"{name}, {kind}"), flush=True)
    total = sum(rows.values(), Counts())
    print(total.line("all"))
    print(json.dumps({"benchmark": "occlusion", "clips": {k: vars(v) for k, v in rows.items()}, **vars(total)}))


def exchanged(opened: Run) -> Run:
    """The run with source and target exchanged."""
    drawn = opened.outlines
    back = None if drawn is None else replace(drawn, source=drawn.target, target=drawn.source)
    return replace(opened, source=opened.target, target=opened.source, outlines=back)


def ways(opened: Run) -> list[tuple[Run, Swapper]]:
    """The run and its network; of df also the other way round."""
    ours = load_swapper(opened, "cpu")
    if opened.config.arch != "df":
        return [(opened, ours)]
    other = exchanged(opened)
    theirs = load_swapper(other, "cpu")
    theirs.model.source, theirs.model.target = theirs.model.target, theirs.model.source
    return [(opened, ours), (other, theirs)]


def masks() -> dict[str, Masks]:
    """The drawn occluders of each clip, by its name."""
    listed = json.loads(MASKS.read_text(encoding="utf-8"))
    return {
        clip: {int(frame): [np.array(p, np.float64) for p in polygons] for frame, polygons in frames.items()}
        for clip, frames in listed.items()
    }


def judged(opened: Run, swapper: Swapper, video: Path, drawn: Masks) -> dict[int, Counts]:
    """Counts of the frames that have masks, by frame number."""
    faces, cuts = swapped(opened, swapper, video)
    typical = occlusion.learn(spread(faces))
    settings = RenderSettings(colour="none", blend="feather", grain=False)  # do not change the mask, and take time
    plain = replace(settings, occlusion=False)
    pair = (compose(faces, s, typical, cuts=cuts) for s in (settings, plain))
    found = {}
    for ours, without in zip(*pair, strict=True):
        polygons = drawn.get(ours.frame.index)
        if polygons is None or ours.face is None or ours.mask is None or without.mask is None:
            continue
        height, width = ours.mask.shape
        inside = hull_mask(ours.face.place.landmarks, height, width) > 0.5
        found[ours.frame.index] = counted(ours.mask, without.mask, inside, filled(polygons, height, width))
    return found


def swapped(opened: Run, swapper: Swapper, video: Path) -> tuple[list[tuple[Frame, Swapped | None]], tuple[int, ...]]:
    """Every frame of the video with its swapped face, as a render makes it, and the frames at which shots begin."""
    followed = follow(video, np.array(opened.target.known) if opened.target.known else None)
    framing, mask = cast(Framing, opened.framing), RenderSettings().mask
    with part.one_thread("cpu"):
        where = places(followed.rows)
        found = list(swap_frames(decode(probe(video)), where, swapper, framing, mask, reconstruct=True))
    return found, followed.cuts


def spread(faces: list[tuple[Frame, Swapped | None]]) -> list[Floats]:
    """Reconstruction errors of the frames from which a render learns the typical one."""
    errors = [face.error for _, face in faces if face is not None and face.error is not None]
    return [errors[i] for i in np.unique(np.linspace(0, len(errors) - 1, occlusion.FRAMES).round().astype(int))]


def filled(polygons: list[NDArray[np.float64]], height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) whether a pixel is under one of the polygons (N, 2); pixel centres lie at whole numbers."""
    image = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(image, [np.round(16 * polygon).astype(np.int32)], 1, shift=4)
    return image > 0


def counted(mask: Floats, without: Floats, inside: NDArray[np.bool_], drawn: NDArray[np.bool_]) -> Counts:
    """Counts of one frame from the masks (H, W) with and without occlusion."""
    hand, face = inside & drawn, inside & ~drawn & (without >= SHOWN)
    kept, kept_without, lost = (int(np.sum(a)) for a in (hand & (mask < SHOWN), hand & (without < SHOWN),
                                                         face & (mask < SHOWN)))  # fmt: skip
    return Counts(1, int(hand.sum()), kept, kept_without, int(face.sum()), lost)


if __name__ == "__main__":
    main()
