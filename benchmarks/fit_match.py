"""Fits the model that tells faces that do not match their surroundings, and prints its constants.

    python -m benchmarks.fit_match --clips DIR... --cache DIR [--leave CLIP...] > reports/artifacts/match_model.py

Positive are frames of clean swaps that were blurred, drawn with few pixels or pasted with a hard edge
(benchmarks/surrogates.py); negative are the clips as they are, the same blurred
as a whole, and clean swaps; all as they are and after x264 at
CRF 28. Every clip has the same weight, and so have both classes. To stderr goes the AUROC of every clip by a model that
was fitted without it. Clips named by --leave take no part.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from benchmarks.artifact_tables import auroc
from benchmarks.artifacts import coded
from benchmarks.surrogates import INJECTIONS, Fault, Footage, Scene, drawn_with, load, swapped
from curate.types import Image
from reports.artifacts.match import MOST, features, readable
from reports.artifacts.texture import texture
from reports.artifacts.view import Pyramid, face_view

FRAMES, STEP = 48, 8
REGULAR = 0.5
"""Inverse strength of the regularisation."""
INJECTED = ("blur sigma 1", "blur sigma 3", "hard edge")
FAULTS: dict[str, Fault] = {i.name: i.fault for i in INJECTIONS if i.name in INJECTED} | {
    f"{pixels} px": drawn_with(pixels) for pixels in (48, 64, 96)
}


SOFT = {"softer 1": 1.0, "softer 2": 2.0}
"""Footage that is soft everywhere, as an enlarged one is: nothing is wrong with its faces. Sigma in pixels."""
WEIGHT = 0.15
"""Weight of a frame of SOFT."""
SMALLEST = 0.5
"""Faces that are shrunk further than this to be measured show none of the faults, and are left out."""
SOUND = ("as it is", "swap", *SOFT)


def blurred(image: Image, sigma: float) -> Image:
    """The whole picture, blurred."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def read(image: Image, marks: np.ndarray) -> np.ndarray | None:
    """(24,) values of `texture.NAMES`."""
    view = face_view(Pyramid(image).grey, None, marks)
    if view is None or view.zoom < SMALLEST:
        return None
    return texture(view.output, view.zones, view.points(marks))


def rows(footage: Footage) -> list[dict[str, object]]:
    """Textures of a clip's frames, sound and faulty."""
    scene = Scene(footage, swapped(footage, 1))
    count = range(len(footage.frames))
    sets = {"as it is": footage.frames, "swap": [scene.clean(i) for i in count]}
    sets |= {name: [blurred(f, sigma) for f in footage.frames] for name, sigma in SOFT.items()}
    sets |= {name: [fault(scene, i, i) for i in count] for name, fault in FAULTS.items()}
    found: list[dict[str, object]] = []
    for name, frames in sets.items():
        for way, images in (("plain", frames), ("coded", coded(frames, footage.fps, 28))):
            for image, marks in zip(images, footage.marks, strict=True):
                values = None if marks is None else read(image, marks)
                if values is not None and readable(values[None].astype(np.float64))[0]:
                    found.append({"clip": footage.name, "set": name, "way": way, "values": values})
    return found


def fitted(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Middle, spread, weights (24,) and bias."""
    x, bad = features(np.stack(list(table["values"])).astype(np.float64)), ~table["set"].isin(SOUND)
    middle, spread = np.median(x, axis=0), np.maximum(x.std(0), 0.1)
    scaled = np.clip((x - middle) / spread, -MOST, MOST)
    size = table.groupby(["clip", bad])["set"].transform("size")
    model = LogisticRegression(C=REGULAR, max_iter=1000)
    weight = np.where(table["set"].isin(list(SOFT)), WEIGHT, 1.0) / size
    model.fit(scaled, bad, sample_weight=weight / weight.mean())
    return middle, spread, model.coef_[0], float(model.intercept_[0])


def scored(table: pd.DataFrame, model: tuple[np.ndarray, np.ndarray, np.ndarray, float]) -> np.ndarray:
    """Log-odds of a table's frames."""
    middle, spread, weights, bias = model
    x = features(np.stack(list(table["values"])).astype(np.float64))
    return np.asarray(np.clip((x - middle) / spread, -MOST, MOST) @ weights + bias)


def check(table: pd.DataFrame) -> None:
    """AUROC by fault of each clip, and its highest sound score, by a model fitted on the others."""
    for clip in table["clip"].unique():
        mine = table[table["clip"] == clip]
        values = pd.Series(scored(mine, fitted(table[table["clip"] != clip])), mine.index)
        good = values[mine["set"].isin(SOUND)]
        areas = {n: round(auroc(values[mine["set"] == n].to_numpy(), good.to_numpy()), 2) for n in FAULTS}
        print(clip[-20:], areas, "highest sound", round(float(good.quantile(0.95)), 2), file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--leave", nargs="*", default=())
    given = parser.parse_args()
    cv2.setNumThreads(1)
    found: list[dict[str, object]] = []
    for clip in sorted(p for folder in given.clips for p in folder.iterdir()):
        if (given.cache / f"{clip.stem}.npz").is_file() and not any(name in clip.stem for name in given.leave):
            whole = load(clip, given.cache, 0, FRAMES)
            near = [i for i in range(0, len(whole.frames), STEP) if whole.marks[i] is not None]
            if len(near) >= 4:
                frames, marks = [whole.frames[i] for i in near], [whole.marks[i] for i in near]
                found += rows(Footage(clip.stem, whole.fps or 25.0, frames, marks))
    table = pd.DataFrame(found)
    check(table)
    model = fitted(table)
    size = f"{table['clip'].nunique()} clips, {len(table)} frames"
    print(f'"""Coefficients of `match`, from `benchmarks/fit_match.py` on {size}."""\n')
    print("from __future__ import annotations\n")
    for name, values in zip(("MIDDLE", "SPREAD", "WEIGHTS"), model[:3], strict=True):
        listed = textwrap.fill(", ".join(f"{v:.3f}" for v in values) + ",", 114, initial_indent=4 * " ",
                               subsequent_indent=4 * " ")  # fmt: skip
        print(f"{name} = (\n{listed}\n)  # fmt: skip")
    print(f"BIAS = {model[3]:.3f}")


if __name__ == "__main__":
    main()
