"""Does a curated selection train a better swap? Films made for it, k faces chosen in several ways, our own trainer.

    python -m benchmarks.curation_trained --clips DIR --work DIR [--pairs d6:d9 ...] [--k 200] [--steps 500]

A film is made of each source's clip, as a video, without the blocks of 2 s (and guards of 0.5 s) that are held out:

    interview   its calmest second and a half, to and fro with film noise, is 90 % of the frames
    dirty       the clip, a dissolve into a shot of somebody else, and a blurred copy

Film and clip are curated as one faceset. From the kept faces of the film k are chosen by `choose` and by rivals
(`benchmarks.curation_rivals`); each choice trains the preset tiny for the same number of steps against the same 200
faces of the target, with all chosen faces equally likely. Columns: SSIM under the face mask of the source's held-out
faces and of the target's; SSIM of eyes and mouth; distance of swaps to the source's identity; mean correlation of the
movements of swaps with the target's (`train/performance.py`), and of their slopes' distance to 1.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from benchmarks import train_recipes
from benchmarks.curation import BLOCK, CALM_SHARE, GUARD, _calm, _kept, _small
from benchmarks.curation_rivals import METHODS, OURS, Pool, random
from benchmarks.train_quality import faceset as curated
from curate.dataset.faceset import Faceset, open_faceset
from curate.extract.pipeline import Request, curate
from curate.select.space import Space
from train import data, performance
from train.config import TrainConfig, config_of
from train.data import Side, load_side
from train.identity import judge_for
from train.measure import measure
from train.performance import AXES, stage_for
from train.split import Split
from train.start import outlined

BLUR = 0.02
"""Sigma of the blurred copy, in units of the face's width."""
DISSOLVE = 18
"""Frames of a dissolve."""
METHODS_HERE = (OURS, "uniform in time", "random", "k-centre", "DFL most varied", "all faces")
TESTED = 150


def frames_of(path: Path) -> tuple[list[np.ndarray], float]:
    """All frames of a clip (H, W, 3) uint8 BGR, and its frames per second."""
    video = cv2.VideoCapture(str(path))
    found = []
    while (read := video.read())[0]:
        found.append(read[1])
    return found, float(video.get(cv2.CAP_PROP_FPS))


def is_free(time: np.ndarray) -> np.ndarray:
    """(N,) whether a frame may be in the film."""
    return time % (2 * BLOCK + 2 * GUARD) < BLOCK


def is_held(time: np.ndarray) -> np.ndarray:
    """(N,) whether a face is held out."""
    phase = time % (2 * BLOCK + 2 * GUARD)
    return (phase >= BLOCK + GUARD) & (phase < 2 * BLOCK + GUARD)


def film(regime: str, own: Faceset, clip: Path, stranger: Path) -> Iterator[np.ndarray]:
    """Frames of the film of a regime."""
    frames, rate = frames_of(clip)
    free = np.flatnonzero(is_free(np.arange(len(frames)) / rate))
    if regime == "dirty":
        yield from _dirty([frames[i] for i in free], stranger, _face_width(own))
        return
    table, _ = _kept(own)
    time = table["time"].to_numpy(float)
    rows = np.flatnonzero(is_free(time))
    calm = _calm(rows, Space.absolute(table).embed(table), time)
    first, last = (round(time[rows[at]] * rate) for at in (calm[0], calm[-1]))
    held = list(range(first, last + 1))
    yield from (frames[i] for i in np.setdiff1d(free, held))
    rng, loop = np.random.default_rng(0), held + held[-2:0:-1]
    for i in range(round(CALM_SHARE / (1 - CALM_SHARE) * (len(free) - len(held)))):
        frame = frames[loop[i % len(loop)]]
        yield np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)


def _dirty(frames: list[np.ndarray], stranger: Path, width: float) -> Iterator[np.ndarray]:
    height, wide = frames[0].shape[:2]
    other = [cv2.resize(f, (wide, height)) for f in frames_of(stranger)[0][: 4 * DISSOLVE]]
    yield from frames[:-DISSOLVE]
    for i, (a, b) in enumerate(zip(frames[-DISSOLVE:], other[:DISSOLVE], strict=True)):
        yield cv2.addWeighted(a, 1 - (i + 1) / (DISSOLVE + 1), b, (i + 1) / (DISSOLVE + 1), 0)
    yield from other[DISSOLVE:]
    yield from (cv2.GaussianBlur(f, (0, 0), BLUR * width) for f in frames)


def _face_width(own: Faceset) -> float:
    box = own.table(["width"], kept=True)["width"]
    return float(box.median())


def prepared(name: str, regime: str, stranger: str, options: argparse.Namespace) -> Faceset:
    """Faceset of the film and of the clip."""
    out = options.work / f"{name}-{regime}"
    if not (out / "faces.parquet").is_file():
        own = curated(options.clips, name, options.work)
        clip, other = (next(p for p in sorted(options.clips.iterdir()) if p.stem == n) for n in (name, stranger))
        made = options.work / f"{name}-{regime}.mp4"
        frames, writer = film(regime, own, clip, other), None
        for frame in frames:
            if writer is None:
                writer = cv2.VideoWriter(str(made), cv2.VideoWriter_fourcc(*"mp4v"), 30, frame.shape[1::-1])
            writer.write(frame)
        assert writer is not None
        writer.release()
        curate(Request((str(clip), str(made)), out, name, "research"))
    return open_faceset(out)


def pool_of(faces: Faceset, clip: str) -> tuple[Pool, pd.DataFrame]:
    """What may be chosen, and the held-out faces."""
    table, crops = _kept(faces)
    whole = table["clip"] == clip
    held = table[whole & is_held(table["time"].to_numpy(float))]
    held = held.iloc[np.unique(np.linspace(0, len(held) - 1, TESTED).round().astype(int))]
    rows = np.flatnonzero(~whole)
    free = table.iloc[rows].reset_index(drop=True)
    return Pool(free, np.stack([_small(crops[i]) for i in rows]), Space.absolute(table).embed(free)), held


def side_of(faces: Faceset, chosen: pd.DataFrame, held: pd.DataFrame, config: TrainConfig, cache: Path) -> Side:
    """The chosen faces for training, the others held out."""
    rows = pd.concat([chosen, held]).assign(cluster=0, group="")
    rows = rows.sort_values(["clip", "time", "face_id"], ignore_index=True)
    own = data.usable_rows
    data.usable_rows = lambda _: rows
    try:
        side = load_side("source", faces, config, cache, True, lambda *_: None)
    finally:
        data.usable_rows = own
    train = np.flatnonzero(np.isin(side.ids, chosen["face_id"]))
    test = np.flatnonzero(np.isin(side.ids, held["face_id"]))
    cumulative = np.arange(1, len(train) + 1) / len(train)
    return replace(side, split=Split(train, test, GUARD), cumulative=cumulative)


def run(pair: str, regime: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Figures of every method."""
    source, target = pair.split(":")
    faces = prepared(source, regime, target, options)
    clip = curated(options.clips, source, options.work).table(["clip"])["clip"].iloc[0]
    pool, held = pool_of(faces, clip)
    goal = curated(options.clips, target, options.work)
    for seed in range(options.seeds):
        config = config_of("tiny", device="cpu", seed=seed, steps=options.steps, identity=64, performance=100)
        config = replace(config, sampling="uniform")
        other = load_side("target", goal, config, options.work / f"target-{target}", True, lambda *_: None)
        for name in options.methods:
            picked = random(pool, options.k, seed) if name == "random" else METHODS[name](pool, options.k)
            chosen = pool.table.iloc[np.unique(picked)]
            cache = options.work / "cache" / f"{pair}-{regime}-{name}-{options.k}-{seed}".replace(" ", "_")
            both = outlined({"source": side_of(faces, chosen, held, config, cache), "target": other}, config.size)
            yield {"pair": pair, "regime": regime, "seed": seed, "method": name, "chosen": len(chosen)} | figures(
                config, both, {"source": faces, "target": goal}
            )


def figures(config: TrainConfig, both: dict[str, Side], facesets: dict[str, Faceset]) -> dict[str, float]:
    """Figures of one training."""
    cpu = torch.device("cpu")
    stage = stage_for(facesets["target"], both["target"], config)
    judge = judge_for(facesets, both["target"], config)
    assert stage is not None
    assert judge is not None
    model, _ = train_recipes.trained(config, both, None)
    found = dict(measure(model, both, config.size, config.batch, cpu).figures)
    found |= judge.evaluate(model, config.size, cpu) | stage.evaluate(model, config.size, cpu)
    slopes = [abs(found[f"slope_{axis}"] - 1) for axis in AXES if f"slope_{axis}" in found]
    follows = [found[f"follows_{axis}"] for axis in AXES if f"follows_{axis}" in found]
    return {
        "ssim_source": found["ssim_face_source"],
        "ssim_target": found["ssim_face_target"],
        "identity": found["identity_source"],
        "follows": float(np.mean(follows)),
        "slope_off": float(np.mean(slopes)),
    }


def main() -> None:
    """Print a line for each training, and a table of means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pairs", nargs="+", default=["d6:d9", "d9:d6", "d3:d10"])
    parser.add_argument("--regimes", nargs="+", default=["interview", "dirty"], choices=["interview", "dirty"])
    parser.add_argument("--methods", nargs="+", default=METHODS_HERE, choices=METHODS_HERE)
    parser.add_argument("--k", type=int, default=200)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("train").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    performance.held_out_rows = train_recipes.everywhere
    lines = []
    for regime in options.regimes:
        for pair in options.pairs:
            for line in run(pair, regime, options):
                lines.append(line)
                print(json.dumps(line), flush=True)
    table = pd.DataFrame(lines).drop(columns=["pair", "seed", "chosen"])
    print(table.groupby(["regime", "method"]).mean().round(3).to_string())


if __name__ == "__main__":
    main()
