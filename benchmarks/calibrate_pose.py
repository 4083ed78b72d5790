"""Fits the constants of curate/pose.py on the calibration heads, and prints them."""

from __future__ import annotations

import numpy as np

from benchmarks.accuracy_heads import calibration_heads, read
from benchmarks.accuracy_pose import views
from curate.pose import euler, fit_mesh

REACH = 62.0


def main() -> None:
    truth, found = [], []
    for number, head in enumerate(calibration_heads()):
        wanted = views(140, 100 + number, 75)
        seen = read(head, wanted)
        yaw = np.array([v.yaw for v in wanted])[seen.found]
        near = np.abs(yaw) < REACH
        truth.append(yaw[near])
        found.append(euler(fit_mesh(seen.points[seen.found]).rotation)[0][near])
    t, f = np.concatenate(truth), np.concatenate(found)
    print(f"YAW_GAIN = {(f @ t) / (f @ f):.3f}")


if __name__ == "__main__":
    main()
