"""Accuracy of head pose and light on published benchmarks: AFLW2000-3D and the Extended Yale Face Database B.

The constants of both scores were fitted on one half of these sets. There, figures are by two folds: each half of it is
read with constants that the other half gives. On any other pictures they are the tool's own.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from benchmarks import real_fits
from benchmarks.real_data import Aflw, Yale, fitted_here, read_aflw, read_yale
from curate.extract.normalise import soft_light
from curate.face.pose import head_pose
from curate.scores import albedo, lighting

SUBSETS = ((-1, 12), (12, 25), (25, 50), (50, 77), (77, 180))
"""Degrees between light and camera axis, as that database's papers split it."""
OFF_AXIS = 15
"""Degrees of azimuth from which on a light has a side."""
SURE, EDGES = 0.5, (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Confidence from which on a face counts as sure, and the ends of the bins of confidence."""
PUBLISHED = {
    "aflw2000": "6DRepNet 3.97 (2022), best of 2026 3.72, FDN 4.42, WHENet 5.42, FSA-Net 5.07",
    "yaleb": "none that is comparable",
}
Figures = dict[str, float | int | list[float | None] | None]


def measure(folder: Path) -> dict[str, Figures]:
    """Figures of both sets under `folder`, by name; a set that is missing is left out."""
    folds, found = fitted_here(folder), {}
    if (folder / "aflw2000" / "truth.csv").is_file():
        data = read_aflw(folder)
        found["aflw2000"] = pose_figures(data, real_fits.folded_errors(data) if folds else real_fits.errors(data))
    if any((folder / "yaleb").glob("*.pgm")):
        light = read_yale(folder)
        alone = real_fits.folded_light(light) if folds else single(light)
        found["yaleb"] = light_figures(light, taken(light, alone))
    return found


def pose_figures(data: Aflw, error: np.ndarray) -> Figures:
    """Mean absolute errors in degrees of the published angles (N, 3), over the faces that were found."""
    found, turned = data.found, np.abs(data.published[:, 0])
    near = found & (turned <= 60)
    sure = np.zeros(len(found), bool)
    sure[found] = head_pose(data.points[found]).confidence > SURE
    yaw, pitch, roll = error[found].mean(0)
    near_yaw, near_pitch, near_roll = error[near].mean(0)
    faces, off = _bins(data, error)
    return {
        "found": int(found.sum()), "n": len(found), "yaw": yaw, "pitch": pitch, "roll": roll,
        "mean": float(error[found].mean()), "yaw60": near_yaw, "pitch60": near_pitch, "roll60": near_roll,
        "yaw_60_75": _mean(error[found & (turned > 60) & (turned <= 75), 0]),
        "yaw_75_90": _mean(error[found & (turned > 75) & (turned <= 90), 0]),
        "confident_share": float(sure.mean()), "confident_mean": _mean(error[sure]),
        "confidence_faces": faces, "confidence_error": off,
    }  # fmt: skip


def _bins(data: Aflw, error: np.ndarray) -> tuple[list[float | None], list[float | None]]:
    """Faces whose confidence lies between two neighbours of EDGES, and their mean error in degrees."""
    confidence, off = head_pose(data.points[data.found]).confidence, error[data.found].mean(1)
    inside = [(confidence >= low) & (confidence < high + (high == 1)) for low, high in itertools.pairwise(EDGES)]
    return [float(rows.sum()) for rows in inside], [_mean(off[rows]) for rows in inside]


def single(data: Yale) -> np.ndarray:
    """(N, 3) directions in the upright crops' axes, from one frame each."""
    out = np.full((len(data.colours), 3), np.nan)
    for i, (colours, upright) in enumerate(zip(data.colours, data.upright, strict=True)):
        light = lighting.estimate(colours, upright)
        if light is not None:
            out[i] = light.direction
    return out


def taken(data: Yale, alone: np.ndarray) -> np.ndarray:
    """(N, 3) what the tool takes, a person's pictures being one footage: `alone`, or by the albedo in soft light."""
    out = alone.copy()
    for person in np.unique(data.person):
        rows = np.flatnonzero((data.person == person) & data.found)
        fitted = albedo.fit(data.colours[rows], data.upright[rows])
        if fitted is None or not soft_light(data.colours[rows]):
            continue
        rows = rows[lighting.black(data.colours[rows]) <= lighting.BLACK_SHARE]
        out[rows] = albedo.read(fitted, data.colours[rows], data.upright[rows]).direction
    return out


def light_figures(data: Yale, direction: np.ndarray) -> Figures:
    """Angles in degrees between read and true directions, over the pictures that were read."""
    read = np.isfinite(direction).all(1)
    angle = np.degrees(np.arccos(np.clip((direction * data.truth).sum(1), -1, 1)))
    off = read & (np.abs(data.azimuth) >= OFF_AXIS)
    right = np.sign(direction[:, 0]) == np.sign(data.truth[:, 0])
    axis = np.degrees(np.arccos(np.cos(np.radians(data.azimuth)) * np.cos(np.radians(data.elevation))))
    return {
        "n": len(read), "read": int(read.sum()), "mean": _mean(angle[read]),
        "median": float(np.median(angle[read])), "p90": float(np.quantile(angle[read], 0.9)), "side": _mean(right[off]),
        "by_subset": [_mean(angle[read & (axis > low) & (axis <= high)]) for low, high in SUBSETS],
    }  # fmt: skip


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def show(found: dict[str, Figures], folds: bool) -> None:
    """Print the figures beside the published ones."""
    print(
        "figures by two folds: the constants were fitted on this folder" if folds else "figures of the tool's constants"
    )
    for name, figures in found.items():
        print(f"{name}; published: {PUBLISHED[name]}")
        for key, value in figures.items():
            many = value if isinstance(value, list) else [value]
            print(f"  {key:17}" + " ".join("-" if v is None else f"{v:.4g}" for v in many))
