"""Fits constants of the scores and prints them.

python -m benchmarks.calibrate               expression, on the calibration heads
python -m benchmarks.calibrate --real DIR    head pose and light, on real truth (see accuracy.py)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks import accuracy_expression, real_fits
from benchmarks.accuracy_heads import calibration_heads, read
from benchmarks.real_data import read_aflw, read_yale
from curate.face.pose import head_pose, zero
from curate.scores.expression import DISTANCES, distances

RIDGE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder with aflw2000/ and yaleb/")
    folder = parser.parse_args().real
    if folder is not None:
        faces = read_aflw(folder)
        gains = real_fits.fit_gains(faces)
        print(f"GAINS = {tuple(round(gain, 3) for gain in gains)}")
        weights = real_fits.fit_weights(faces, gains, real_fits.calibration_faces())
        print(f"WEIGHTS = {tuple(tuple(round(x, 2) for x in axis) for axis in weights)}")
        data = read_yale(folder)
        truth = np.einsum("nji,nj->ni", data.upright, data.truth)
        bias = real_fits.fit_bias(real_fits.raw_light(data), truth)
        print(f"BIAS = {tuple(tuple(round(float(x), 3) for x in axis) for axis in bias)}")
        return
    for name, known in (("mouth opening", "mouth"), ("eye opening", "eyes")):
        print(f"TILTS[{name!r}] = ({', '.join(f'{t:.3f}' for t in tilts(name, known))})")


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
