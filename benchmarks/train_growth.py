"""Growth against training at the final size from scratch, at equal CPU time: held-out SSIM at 128 px.

    python -m benchmarks.train_growth --clips DIR [--pair d6:d9] [--minutes 5] [--share 0.5] [--width 16] [--work DIR]

`scratch` trains at 128 px for all of the time. `grown` trains a network of 64 px for a share of it, then the same
network grown to 128 px for the rest. At every resolution both have the same number of channels: the small network has
twice the width. Each part has a learning rate of its own, with warm-up and half a cosine, and batch 8. SSIM is under
the face mask on held-out blocks, at 128 px: that of the small network is of its picture enlarged. CPU time is that of
the steps, on one thread; how many steps fit is measured before.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.train_quality import faceset, sides, speed
from benchmarks.train_recipes import CPU
from train.config import TrainConfig, config_of
from train.data import Side
from train.growth import grown_config
from train.measure import measure
from train.model import Swap, build, parameter_counts
from train.start import outlined
from train.state import make_accelerator, setup
from train.step import step

NAMES = ("ssim_face_source", "ssim_face_target", "ssim", "l1_face_source", "l1_face_target")


def trained(config: TrainConfig, faces: dict[str, Side], begin: Swap | None = None) -> tuple[Swap, float]:
    """The running mean of the weights after all steps, and CPU seconds; `begin`: a smaller network to start with."""
    begun = time.process_time()
    training = setup(config, make_accelerator(config), faces)
    for model in (training.model, training.ema) if begin is not None else ():
        model.load_state_dict(begin.state_dict(), strict=False)
    for _ in range(config.steps):
        step(training)
    training.feed.close()
    return training.ema, time.process_time() - begun


def within(config: TrainConfig, faces: dict[str, Side], minutes: float) -> TrainConfig:
    """The configuration with the steps that fit into so many minutes of CPU time."""
    return replace(config, steps=int(60 * minutes / speed(config, faces)))


def main() -> None:
    """Print one table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--pair", default="d6:d9")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--share", type=float, default=0.5, help="of the time, for the small network")
    parser.add_argument("--width", type=int, default=16, help="channels of the network that is not grown")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    logging.getLogger("train").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        pair = tuple(faceset(options.clips, name, work) for name in options.pair.split(":"))
        less: dict[str, Any] = {"device": "cpu", "batch": 8, "identity": 0, "performance": 0}
        wide = {"encoder_width": 2 * options.width, "decoder_width": 2 * options.width}
        own = {"encoder_width": options.width, "decoder_width": options.width}
        small = config_of("tiny", **less, **wide)
        large = grown_config("small", small, "tiny", {**less, "size": 128})
        scratch = config_of("tiny", **less, **own, size=128)
        faces = {n: sides(pair, c, work / f"cache-growth-{n}") for n, c in ((64, small), (128, large))}
        faces = {size: outlined(both, size) for size, both in faces.items()}
        rows = []

        def report(name: str, model: Swap, config: TrainConfig, spent: float) -> None:
            figures = measure(model, faces[128], 128, 8, CPU).figures
            count = parameter_counts(model)["all"]
            facts = {"name": name, "steps": config.steps, "seconds": spent, "parameters": count}
            rows.append(facts | {n: figures[n] for n in NAMES})
            values = " ".join(f"{figures[n]:.4f}" for n in NAMES)
            print(f"{name:10}{config.steps:6} steps {spent:5.0f} s {count / 1e6:6.2f} M  {values}", flush=True)

        print(" " * 39 + " ".join(NAMES))
        small = within(small, faces[64], options.share * options.minutes)
        large = within(large, faces[128], (1 - options.share) * options.minutes)
        scratch = within(scratch, faces[128], options.minutes)
        begin, spent = trained(small, faces[64])
        enlarged = build(large)
        enlarged.load_state_dict(begin.state_dict(), strict=False)
        report("small", enlarged, small, spent)
        grown, more = trained(large, faces[128], begin)
        report("grown", grown, large, spent + more)
        whole, spent = trained(scratch, faces[128])
        report("scratch", whole, scratch, spent)
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
