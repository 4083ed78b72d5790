"""Recipes of training side by side at equal CPU time: quality, identity, and how far swaps follow the performance.

    python -m benchmarks.train_recipes --clips DIR [--pairs d6:d9 d9:d6] [--minutes 3] [--seeds 3] [--only NAME ...]
                                       [--steps N] [--set JSON] [--work DIR] [--sheets DIR] [--keep DIR]
                                       [--prior DIR]

Preset tiny, one thread. Every recipe trains for the same CPU time (its steps take the least time measured before, in
turns), or for N steps with `--steps`. Columns: SSIM under
the face mask on held-out blocks of either side; the same in eyes and mouth, mean of both sides; distance of swaps to
the source's identity, and the share nearer to the source; then per movement the correlation of swaps with the target
(train/performance.py) and in brackets the slope. Swaps are of up to 150 faces of the target, evenly spread over its
footage; the source's decoder has seen none of them. `--sheets` writes pictures: target above, swap below. `--set`
changes options of all recipes, and `--keep` writes the weights.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from benchmarks.train_quality import faceset, sides, speed
from curate.dataset.faceset import Faceset
from train import performance
from train.config import TrainConfig, config_of
from train.data import Side
from train.drive import COLUMNS
from train.gaps import by_gaps
from train.identity import judge_for, paste
from train.loss import ssim
from train.measure import measure
from train.model import SIDES, Swap, picture
from train.performance import AXES, Stage, stage_for
from train.start import driven, outlined
from train.state import make_accelerator, setup, take_encoder
from train.step import step

CPU = torch.device("cpu")
TODAY: dict[str, Any] = {"drive": "picture", "eyes_weight": 1.0, "mouth_weight": 1.0}
SCORES: dict[str, Any] = {**TODAY, "drive": "scores"}
EMPHASIS: dict[str, Any] = {"eyes_weight": 3.0, "mouth_weight": 2.0}
OUTLINES: dict[str, Any] = {**TODAY, **EMPHASIS, "drive": "outlines"}
RECIPES: dict[str, dict[str, Any]] = {
    "picture": TODAY,
    "scores": SCORES,
    "scores, modulated": {**SCORES, "modulation": True},
    "scores, no dropout": {**SCORES, "picture_dropout": 0.0},
    "picture + emphasis": {**TODAY, **EMPHASIS},
    "scores + emphasis": {**SCORES, **EMPHASIS},
    "scores + two windows": {**SCORES, "ssim_windows": "two"},
    "scores + phases": {**SCORES, "phases": 0.25},
    "scores + pyramid": {**SCORES, "perceptual_weight": 0.5},
    "outlines": OUTLINES,
    "outlines, no emphasis": {**OUTLINES, **TODAY, "drive": "outlines"},
    "outlines + two windows": {**OUTLINES, "ssim_windows": "two"},
    "outlines + phases": {**OUTLINES, "phases": 0.25},
    "outlines + gaps": {**OUTLINES, "sampling": "gaps"},
    "outlines + tint": {**OUTLINES, "tint": 0.5},
    "outlines + prior": OUTLINES,
    "outlines, all of them": {**OUTLINES, "ssim_windows": "two", "phases": 0.25, "sampling": "gaps", "tint": 0.5},
    "all": {**SCORES, **EMPHASIS, "ssim_windows": "two", "phases": 0.25},
}


@dataclass(frozen=True)
class Cast:
    """A pair of facesets, ready for one recipe."""

    facesets: dict[str, Faceset]
    sides: dict[str, Side]
    emphasised: dict[str, Side]
    """The same faces with eyes and mouth marked, whatever the recipe weighs."""
    stage: Stage


def cast(pair: str, config: TrainConfig, clips: Path, work: Path) -> Cast:
    """Both facesets of `source:target`."""
    found = {side: faceset(clips, name, work) for side, name in zip(SIDES, pair.split(":"), strict=True)}
    both = (found["source"], found["target"])
    folder = work / f"cache-{pair.replace(':', '-')}"
    faces = sides(both, config, folder / f"{config.drive}-{config.eyes_weight:g}")
    marked = sides(both, replace(config, **EMPHASIS, drive="picture"), folder / "marked")
    faces = driven(faces) if config.drive == "scores" else faces
    faces = outlined(faces, config.size) if config.drive == "outlines" else faces
    if config.sampling == "gaps":
        faces["source"] = by_gaps(faces["source"], faces["target"])
    stage = stage_for(found["target"], faces["target"], config)
    assert stage is not None
    return Cast(found, faces, marked, stage)


def everywhere(found: Faceset, side: Side, most: int) -> pd.DataFrame:
    """Faces of the whole footage instead of its held-out blocks, which are a second or two in these clips."""
    names = list(dict.fromkeys(["face_id", "clip", "time", "crop", "matrix", *COLUMNS]))
    table = found.table(names, kept=True).dropna(subset=["crop", "matrix"]).sort_values(["clip", "time"])
    return table.iloc[np.unique(np.linspace(0, len(table) - 1, most).round().astype(int))].reset_index(drop=True)


def trained(config: TrainConfig, faces: dict[str, Side], prior: Path | None) -> tuple[Swap, float]:
    """The running mean of the weights after all steps, and CPU seconds of the steps."""
    training, spent = setup(config, make_accelerator(config), faces), 0.0
    if prior is not None:
        take_encoder(training, prior)
    for _ in range(config.steps):
        begun = time.process_time()
        step(training)
        spent += time.process_time() - begun
    training.feed.close()
    return training.ema, spent


def parts(model: Swap, config: TrainConfig, here: Cast) -> float:
    """SSIM of held-out reconstructions in eyes and mouth, mean of both sides."""
    found = []
    for name in SIDES:
        held = here.sides[name].split.held_out
        crops, _ = here.sides[name].faces(held, config.size)
        with torch.inference_mode():
            rgb, _ = picture(model.through(crops, name, here.sides[name].performance(held, CPU)))
            marked = here.emphasised[name].crops(held)[:, 4:5].float()
            region = torch.nn.functional.interpolate(marked, size=(config.size, config.size), mode="area") / 255
            found.append(float(ssim(rgb, crops, region).mean()))
    return float(np.mean(found))


def run(name: str, pair: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Figures of one recipe."""
    changes = {"identity": 64, "performance": 150, **RECIPES[name], **options.set}
    config = config_of("tiny", device="cpu", seed=seed, **changes)
    here = cast(pair, config, options.clips, options.work)
    steps = options.steps or int(60 * options.minutes / options.costs[name])
    config = replace(config, steps=steps)
    model, spent = trained(config, here.sides, options.prior if name.endswith("prior") else None)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), options.keep / f"{pair.replace(':', '-')}-{name.replace(' ', '_')}-{seed}.pt")
    figures = dict(measure(model, here.sides, config.size, config.batch, CPU).figures)
    judge = judge_for(here.facesets, here.sides["target"], config)
    figures |= {} if judge is None else judge.evaluate(model, config.size, CPU)
    figures |= here.stage.evaluate(model, config.size, CPU)
    figures["ssim_parts"] = parts(model, config, here)
    if options.sheets is not None:
        options.sheets.mkdir(parents=True, exist_ok=True)
        path = options.sheets / f"{pair.replace(':', '-')}-{name.replace(' ', '_')}-{seed}.png"
        cv2.imwrite(str(path), sheet(model, config, here.stage)[:, :, ::-1])
    return {"recipe": name, "pair": pair, "seed": seed, "steps": steps, "seconds": spent, **figures}


def costs(options: argparse.Namespace, rounds: int = 5) -> dict[str, float]:
    """CPU seconds of a step of every recipe: the least of several rounds in turns, so that a busy machine is fair."""
    found: dict[str, float] = {}
    for _ in range(rounds):
        for name in options.only:
            config = config_of(
                "tiny", device="cpu", **{"identity": 64, "performance": 150, **RECIPES[name], **options.set}
            )
            here = cast(options.pairs[0], config, options.clips, options.work)
            found[name] = min(found.get(name, math.inf), speed(config, here.sides))
    return found


def sheet(model: Swap, config: TrainConfig, stage: Stage, count: int = 10) -> np.ndarray:
    """Crops of the target above their swaps."""
    columns = []
    for place in np.linspace(0, len(stage.crops) - 1, count).round().astype(int):
        scores = None if stage.inputs is None else stage.inputs[place : place + 1]
        swap = paste(model, stage.crops[place], config.size, CPU, scores)
        columns.append(np.vstack([cv2.resize(image, (160, 160)) for image in (stage.crops[place], swap)]))
    return np.hstack(columns)


def line(found: dict[str, Any]) -> Iterator[str]:
    """A row of the table."""
    yield f"{found['pair']:8}{found['seed']:3} {found['recipe']:22}{found['steps']:6}{found['seconds']:6.0f} s"
    names = ("ssim_face_source", "ssim_face_target", "ssim_parts", "identity_source", "nearer")
    yield "".join(f"{found.get(name, math.nan):7.3f}" for name in names)
    for axis in AXES:
        yield f"{axis} {found.get(f'follows_{axis}', math.nan):.2f} ({found.get(f'slope_{axis}', math.nan):.2f})"


def main() -> None:
    """Print one table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--pairs", nargs="+", default=["d6:d9", "d9:d6", "d3:d10"])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[*RECIPES], default=[*RECIPES])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--set", type=json.loads, default={}, help="options of all recipes, a JSON object")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--prior", type=Path, help="of `faceset pretrain`, for the recipe that begins with one")
    options = parser.parse_args()
    if options.prior is None:
        options.only = [name for name in options.only if not name.endswith("prior")]
    logging.getLogger("train").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    performance.held_out_rows = everywhere
    with tempfile.TemporaryDirectory() as temporary:
        options.work = options.work or Path(temporary)
        options.work.mkdir(parents=True, exist_ok=True)
        options.costs = {} if options.steps else costs(options)
        print(json.dumps(options.costs), flush=True)
        found = []
        for seed in range(options.seeds):
            for pair in options.pairs:
                for name in options.only:
                    found.append(run(name, pair, seed, options))
                    print("  ".join(line(found[-1])), flush=True)
        print(json.dumps(found))


if __name__ == "__main__":
    main()
