"""Expression: how much of it is identity or pose on real clips, and whether it follows known openings on heads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import spearmanr

from benchmarks.accuracy_heads import read, report_heads
from benchmarks.accuracy_table import Row, at_least, at_most, figure
from curate.face.backends.litert import LiteRTDetector, LiteRTLandmarker
from curate.face.mesh import BLENDSHAPES
from curate.face.pose import head_pose
from curate.face.track import Tracker
from curate.footage.video import decode, probe
from curate.scores import expression
from curate.scores.expression import AXES, GAZE
from curate.turntable import View

CLIPS = ("d0", "d3", "d6", "d9", "d10", "d18", "d19")
FACES = [i for i, name in enumerate(BLENDSHAPES) if i not in GAZE and name != "neutral"]
PLAIN = {"jawOpen": (0, 1), "smile": (1, 1), "blink": (2, -1)}
"""Axis to the plain mesh distance beside it, and its sign."""


def rows(quick: bool, clips: Path | None) -> list[Row]:
    """The table of expression."""
    found = []
    for number, head in enumerate(report_heads(clips, quick=quick)):
        wanted = views(60 if quick else 120, 70 + number)
        seen = read(head, wanted)
        read_out = _expressions(_of(seen.points[seen.found], seen.shapes[seen.found]))
        for name, truth in (("mouth opening", "mouth"), ("eye opening", "eyes")):
            known = np.array([getattr(v, truth) for v in wanted])[seen.found]
            axis = read_out.axes["jawOpen"] if truth == "mouth" else -read_out.axes["blink"]
            row = at_least("expression", f"{head.name}: {name}, Spearman within +-30 deg", _rank(axis, known), 0.95)
            found.append(row)
    if clips is None:
        return [*found, Row("expression", "real clips", None, "", "FACESET_CLIPS is not set", None)]
    return found + _real_rows([_footage(clips / f"{name}.mp4") for name in CLIPS if (clips / f"{name}.mp4").is_file()])


def views(count: int, seed: int) -> list[View]:
    """Every opening of mouth and eyes at every pose within 30 degrees."""
    r = np.random.default_rng(seed)
    return [
        View(
            yaw=float(r.uniform(-30, 30)), pitch=float(r.uniform(-20, 20)), roll=float(r.uniform(-10, 10)),
            mouth=float(r.uniform(0, 1)), eyes=float(r.uniform(0, 1)),
            smile=float(r.uniform(0, 1) * (r.random() < 0.5)), background=int(r.integers(5)),
        )
        for _ in range(count)
    ]  # fmt: skip


@dataclass(frozen=True)
class _Faces:
    shapes: np.ndarray
    gaze: np.ndarray
    distances: np.ndarray
    pose: np.ndarray

    def part(self, rows: np.ndarray) -> _Faces:
        return _Faces(self.shapes[rows], self.gaze[rows], self.distances[rows], self.pose[rows])

    def all(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.shapes, self.gaze, self.distances, self.pose


def _of(points: np.ndarray, shapes: np.ndarray) -> _Faces:
    pose = head_pose(points)
    gazes = np.stack([expression.gaze(s) for s in shapes])
    lengths = np.stack([expression.distances(p) for p in points])
    return _Faces(shapes, gazes, lengths, np.column_stack([pose.yaw, pose.pitch, pose.roll]))


def _expressions(faces: _Faces, neutral_from: _Faces | None = None) -> expression.Expressions:
    return expression.apply(expression.neutral_of(*(neutral_from or faces).all()), *faces.all())


def _footage(path: Path) -> _Faces:
    cv2.setNumThreads(1)
    tracker = Tracker(LiteRTDetector(), LiteRTLandmarker(), 10)
    seen = [faces[0].landmarks for frame in decode(probe(path)) if (faces := tracker.step(frame.image))]
    return _of(np.stack([s.points for s in seen]), np.stack([s.blendshapes for s in seen if s.blendshapes is not None]))


def _real_rows(clips: list[_Faces]) -> list[Row]:
    found = []
    for split, goal in (("every other second", 0.15), ("first half, tested on the second", None)):
        pairs = [_halves(f, split) for f in clips]
        tested = [_expressions(test, train) for train, test in pairs]
        for name in AXES:
            raw = _share([f.shapes[:, [expression.INDEX[n] for n in AXES[name]]].mean(1) for _, f in pairs])
            share = _share([e.axes[name] for e in tested])
            what = f"{name}: between-clip share, neutral from {split} (raw {raw:.2f})"
            found.append(at_most("expression", what, share, goal) if goal else figure("expression", what, share))
        leaks = _yaw_leaks([e.shapes[:, FACES] for e in tested], [test.pose[:, 0] for _, test in pairs])
        what = f"yaw from expression on an unseen clip, mean |r|, {split}"
        mean = float(np.abs(leaks).mean())
        found.append(at_most("expression", what, mean, 0.2) if goal else figure("expression", what, mean))
        found.append(figure("expression", "  the worst clip's |r|", float(np.abs(leaks).max())))
    for name, (column, sign) in PLAIN.items():
        inside = [np.corrcoef(_expressions(f).axes[name], sign * f.distances[:, column])[0, 1] for f in clips]
        found.append(
            at_least("expression", f"{name}: correlation with the mesh distance, worst clip", min(inside), 0.8)
        )
    return found


def _halves(faces: _Faces, split: str) -> tuple[_Faces, _Faces]:
    number = np.arange(len(faces.pose))
    first = (number // 25) % 2 == 0 if split == "every other second" else number < len(number) // 2
    return faces.part(np.flatnonzero(first)), faces.part(np.flatnonzero(~first))


def _share(values: list[np.ndarray]) -> float:
    """Share of the variance that lies between the clips."""
    joined = np.concatenate(values)
    return float(sum(len(v) * (v.mean() - joined.mean()) ** 2 for v in values) / ((joined - joined.mean()) ** 2).sum())


def _yaw_leaks(vectors: list[np.ndarray], yaws: list[np.ndarray]) -> np.ndarray:
    """Correlation of yaw with a ridge regression on expression that was fitted on the other clips, each clip alike."""
    found = []
    for left_out in range(len(vectors)):
        others = [i for i in range(len(vectors)) if i != left_out]
        x, y = np.concatenate([vectors[i] for i in others]), np.concatenate([yaws[i] for i in others])
        w = np.concatenate([np.full(len(yaws[i]), 1 / len(yaws[i])) for i in others])
        w /= w.sum()
        mean, spread = w @ x, x.std(0) + 1e-3
        z = (x - mean) / spread
        slope = np.linalg.solve(z.T @ (z * w[:, None]) + 0.02 * np.eye(z.shape[1]), z.T @ (w * (y - w @ y)))
        found.append(np.corrcoef((vectors[left_out] - mean) / spread @ slope, yaws[left_out])[0, 1])
    return np.array(found)


def _rank(a: np.ndarray, b: np.ndarray) -> float:
    return float(spearmanr(a, b).statistic)
