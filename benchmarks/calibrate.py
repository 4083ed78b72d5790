"""Fits the constants of curate/face/pose.py and curate/scores/expression.py on the calibration heads, and prints
them."""

from __future__ import annotations

import numpy as np

from benchmarks import accuracy_expression, accuracy_pose
from benchmarks.accuracy_heads import calibration_heads, read
from curate.face.pose import euler, fit_mesh, head_pose, zero
from curate.scores.expression import DISTANCES, distances

REACH = 62.0
RIDGE = 1e-3


def main() -> None:
    print(f"YAW_GAIN = {yaw_gain():.3f}")
    for name, truth in (("mouth opening", "mouth"), ("eye opening", "eyes")):
        print(f"TILTS[{name!r}] = ({', '.join(f'{t:.3f}' for t in tilts(name, truth))})")


def yaw_gain() -> float:
    """Least squares of the true yaw on the fit's."""
    truth, found = [], []
    for number, head in enumerate(calibration_heads()):
        wanted = accuracy_pose.views(140, 100 + number, 75)
        seen = read(head, wanted)
        yaw = np.array([v.yaw for v in wanted])[seen.found]
        near = np.abs(yaw) < REACH
        truth.append(yaw[near])
        found.append(euler(fit_mesh(seen.points[seen.found]).rotation)[0][near])
    t, f = np.concatenate(truth), np.concatenate(found)
    return float((f @ t) / (f @ f))


def tilts(name: str, truth: str) -> np.ndarray:
    """(5,) ridge regression of the known opening on the measured one and its products with the pose, every head about
    its own mean; over the weight of the measured one, so that cm stay cm."""
    x, y = [], []
    for number, head in enumerate(calibration_heads()):
        wanted = accuracy_expression.views(240, 170 + number)
        seen = read(head, wanted)
        points = seen.points[seen.found]
        pose = head_pose(points)
        opening = np.stack([distances(p) for p in points])[:, DISTANCES.index(name)].astype(np.float64)
        yaw, pitch = pose.yaw / 30, (pose.pitch - zero(pose.pitch, pose.yaw, pose.confidence)) / 30
        terms = np.column_stack([opening, pitch, pitch**2, pitch * opening, yaw**2, yaw**2 * opening])
        known = np.array([getattr(v, truth) for v in wanted])[seen.found]
        x.append(terms - terms.mean(0))
        y.append(known - known.mean())
    terms, known = np.concatenate(x), np.concatenate(y)
    spread = terms.std(0)
    scaled = terms / spread
    weights = np.linalg.solve(scaled.T @ scaled + RIDGE * len(known) * np.eye(6), scaled.T @ known) / spread
    return np.asarray(weights[1:] / weights[0])


if __name__ == "__main__":
    main()
