"""Motion blur and landmarks that jump, on real clips: streaks and mixed frames against defocus, noise against none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import spearmanr

from benchmarks.accuracy_table import Row, at_least, at_most, figure
from curate.face import align
from curate.face.backends.litert import LiteRTDetector, LiteRTLandmarker
from curate.face.track import Tracker
from curate.footage.video import decode, probe
from curate.scores import motion, steadiness
from curate.types import Floats, Frame, Image

MIXED, APART, FIRST = 7, 30, 250
"""Frames in one mix and between two, and frames of a clip that are read."""
STREAK, DEFOCUS = 0.02, 0.015
"""Length of the streak and width of the defocus over the face's width."""
FAST, CALM = 6.0, 2.0
"""Pixels of the crop by which landmarks move while frames are mixed: more is fast, less is calm."""
NOISE = (0.0, 0.1, 0.2, 0.4, 0.8)
"""Percent of the face's height: noise of the landmarks."""


@dataclass(frozen=True)
class Window:
    """MIXED frames in a row."""

    images: tuple[Image, ...]
    points: Floats
    """(MIXED, 478, 3) landmarks of its face."""
    times: tuple[float, ...]


def rows(quick: bool, clips: Path | None) -> list[Row]:
    """The table of motion."""
    if clips is None:
        return [Row("quality", "motion on real clips", None, "", "FACESET_CLIPS is not set", None)]
    paths = sorted(clips.glob("*.mp4"))
    windows = [w for path in (paths[::3] if quick else paths) for w in _windows(path)]
    moved = np.array([_moved(w) for w in windows])
    blurs = {name: np.array([_blur(w, make) for w in windows]) for name, make in KINDS.items()}
    calm, fast = moved < CALM, moved > FAST
    where = f"{len(windows)} real faces"
    found = [
        at_least("quality", f"MotionBlur: streak of 2 % over none, AUROC, {where}", _auroc(blurs, "streak"), 0.9),
        at_most("quality", "  defocus over none, AUROC", _auroc(blurs, "defocus"), 0.6),
    ]
    if calm.any() and fast.any():
        above = blurs["mixed"][fast][:, None] > blurs["none"][calm]
        found.append(figure("quality", "  7 frames of a fast head mixed over calm ones, AUROC", above.mean()))
    ranks = [spearmanr(NOISE, _jumps(w)).statistic for w in windows]
    found.append(at_least("quality", "LandmarkJump along noise, Spearman, mean", float(np.mean(ranks)), 0.95))
    found.append(figure("quality", "  without noise, median", float(np.median([_jumps(w)[0] for w in windows])), "cm"))
    return found


def _windows(path: Path) -> Iterator[Window]:
    tracker, held = Tracker(LiteRTDetector(), LiteRTLandmarker(), 10), list[Frame]()
    for frame in decode(probe(path)):
        if frame.index >= FIRST:
            return
        if frame.index % APART < MIXED:
            held = [frame] if frame.index % APART == 0 else [*held, frame]
        if frame.index % APART != MIXED - 1 or len(held) < MIXED:
            continue
        tracker.cut()
        seen = [faces[0] for one in held if (faces := tracker.step(one.image))]
        if len(seen) == MIXED and len({s.track for s in seen}) == 1:
            points = np.stack([s.landmarks.points for s in seen])
            yield Window(tuple(f.image for f in held), points, tuple(float(f.time) for f in held))


def _middle(w: Window) -> Image:
    return w.images[MIXED // 2]


def _mixed(w: Window) -> Image:
    return np.asarray(np.mean([image.astype(np.float32) for image in w.images], axis=0) + 0.5, np.uint8)


def _width(w: Window) -> float:
    return float(np.ptp(w.points[MIXED // 2, :, 0]))


def _streaked(w: Window) -> Image:
    """A streak along a direction that is another in every face."""
    length = 1 + 2 * round(STREAK * _width(w))
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length // 2, length // 2), float(w.points[0, 0].sum() % 180), 1)
    turned = cv2.warpAffine(line, turn, (length, length))
    return np.asarray(cv2.filter2D(_middle(w), -1, turned / turned.sum()), np.uint8)


def _soft(w: Window) -> Image:
    return np.asarray(cv2.GaussianBlur(_middle(w), (0, 0), DEFOCUS * _width(w)), np.uint8)


KINDS: dict[str, Callable[[Window], Image]] = {"none": _middle, "streak": _streaked, "defocus": _soft, "mixed": _mixed}


def _blur(w: Window, make: Callable[[Window], Image]) -> float:
    points = w.points[MIXED // 2]
    to_crop = align.crop_matrix(points, "full", 256)
    crop = align.warp(make(w), to_crop, 256)
    grey = np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.float32)
    return motion.blur(grey, align.transform(points, to_crop))


def _moved(w: Window) -> float:
    """Pixels of the crop by which the landmarks move from the first to the last frame."""
    to_crop = align.crop_matrix(w.points[MIXED // 2], "full", 256)
    first, last = (align.transform(w.points[i], to_crop) for i in (0, -1))
    return float(np.linalg.norm(last - first, axis=1).mean())


def _jumps(w: Window) -> list[float]:
    """Median LandmarkJump of a window with each of the levels of NOISE."""
    random, height = np.random.default_rng(0), float(np.ptp(w.points[0, :, 1]))
    noise = random.normal(0, height / 100, w.points.shape)
    return [float(np.nanmedian(steadiness.jumps(w.points + level * noise, np.array(w.times)))) for level in NOISE]


def _auroc(blurs: dict[str, np.ndarray], name: str) -> float:
    return float((blurs[name][:, None] > blurs["none"]).mean())
