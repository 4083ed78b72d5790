"""Overhead of the trainer over a plain torch loop of the same layers; images per second and memory of every preset.

    python -m benchmarks.train_speed [--rounds 6] [--steps 4]

The plain loop has the same network (51 M parameters, as faceswap's "lightweight"), the same losses and optimiser, and
one batch kept in memory: no data, no augmentation, no moving average, no clipping, no log. The two take turns, so that
other work on the machine affects both; figures are medians of CPU seconds per step. `machine` is the speed of the
machine's own matrix product (float32, 2048 squared) on the same threads.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import statistics
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from train.augment import Limits
from train.config import PRESETS, TrainConfig
from train.crop_cache import channels
from train.data import Side
from train.drive import NAMES, drive_of
from train.loss import losses
from train.memory import estimate
from train.model import SIDES, build, parameter_counts
from train.outlines import MAPS, Outlines
from train.split import Split
from train.state import make_accelerator, setup
from train.step import step

LIGHTWEIGHT = TrainConfig(
    size=64, encoder_width=96, decoder_width=96, latent=512, residuals=1, batch=16, device="cpu", identity=0
)
FACES = 64


def side(name: str, config: TrainConfig) -> Side:
    """Side of noise faces, at twice the network's size like the cache."""
    rng = np.random.default_rng(SIDES.index(name))
    small = rng.integers(0, 255, (FACES, 8, 8, channels(config)), np.uint8)
    pixels = np.stack([cv2.resize(s, (2 * config.size, 2 * config.size)) for s in small])
    scores = rng.normal(size=(FACES, len(NAMES))).astype(np.float32)
    nothing = np.zeros(len(NAMES), np.float32)
    everything = np.arange(FACES)
    ids = tuple(map(str, everything))
    rows = pd.DataFrame({"face_id": ids})
    chances = np.full(FACES, 1 / FACES)
    return Side(
        name,
        ids,
        rows,
        pixels,
        Split(everything[8:], everything[:8], 0.0),
        np.cumsum(chances[8:]),
        everything < 0,
        Limits(config.blur, config.compress),
        scores,
        nothing,
        np.zeros((FACES, 478, 3), np.float32),
        drive_of(scores, scores, nothing) if config.drive == "scores" else None,
        Outlines(config.size) if config.drive == "outlines" else None,
    )


def ours(config: TrainConfig):
    """Step function of the trainer, and its state."""
    training = setup(config, make_accelerator(config), {name: side(name, config) for name in SIDES})
    return (lambda: step(training)), training


def plain(config: TrainConfig):
    """Step function of the plain loop."""
    model = build(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, fused=True)
    faces = torch.rand(2, config.batch, 3, config.size, config.size).contiguous(memory_format=torch.channels_last_3d)
    read = [x.contiguous(memory_format=torch.channels_last) for x in faces]
    mask = (torch.rand(config.batch, 1, config.size, config.size) > 0.5).float()
    maps = torch.rand(2 * config.batch, len(MAPS), config.size, config.size)
    acts = (maps,) if config.drive == "outlines" else ()

    def work() -> None:
        outputs = model(*read, *acts)
        total = sum(losses(o, t, mask, config)["total"] for o, t in zip(outputs, read, strict=True))
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()

    return work


def timed(work, steps: int) -> tuple[float, float]:
    """CPU and wall seconds per step."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(steps):
        work()
    return (time.process_time() - cpu) / steps, (time.perf_counter() - wall) / steps


def overhead(rounds: int, steps: int) -> dict[str, float]:
    """Figures of ours against the plain loop."""
    config = replace(LIGHTWEIGHT, steps=10**6)
    mine, training = ours(config)
    other = plain(config)
    timed(mine, 2), timed(other, 2)
    waited, begun = training.feed.waited, 0.0
    figures: dict[str, list[tuple[float, float]]] = {"ours": [], "plain": []}
    for number in range(rounds):
        for name, work in (("ours", mine), ("plain", other))[:: 1 if number % 2 else -1]:
            figures[name].append(timed(work, steps))
            begun += figures[name][-1][1] * steps if name == "ours" else 0
    training.feed.close()
    cpu = {name: statistics.median(c for c, _ in values) for name, values in figures.items()}
    wall = {name: statistics.median(w for _, w in values) for name, values in figures.items()}
    with FlopCounterMode(display=False) as counter:
        other()
    operations = counter.get_total_flops()
    return {
        "parameters": parameter_counts(training.model)["all"],
        "ours_cpu": cpu["ours"],
        "plain_cpu": cpu["plain"],
        "cpu_ratio": statistics.median(a[0] / b[0] for a, b in zip(figures["ours"], figures["plain"], strict=True)),
        "wall_ratio": statistics.median(a[1] / b[1] for a, b in zip(figures["ours"], figures["plain"], strict=True)),
        "waited": (training.feed.waited - waited) / begun,
        "gflop_per_image": operations / (2 * config.batch) / 1e9,
        "step_gflops": operations / wall["ours"] / 1e9,
    }


def machine() -> float:
    """GFLOP/s of the fastest of five matrix products."""
    a = torch.rand(2048, 2048)
    best = min(timed(lambda: a @ a, 3)[1] for _ in range(5))
    return 2 * 2048**3 / best / 1e9


def peak() -> int:
    """Peak memory of this process in bytes (Linux; `ru_maxrss` would include its parent's)."""
    line = next(li for li in Path("/proc/self/status").read_text().splitlines() if li.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def preset(name: str, steps: int, queue) -> None:
    """Images per second, peak memory and operations per image, measured in a separate process."""
    before = peak()
    config = replace(PRESETS[name], device="cpu", identity=0)
    work, training = ours(config)
    timed(work, 1)
    _, seconds = timed(work, steps)
    most = peak() - before
    with FlopCounterMode(display=False) as counter:
        work()
    training.feed.close()
    queue.put((2 * config.batch / seconds, most, counter.get_total_flops() / (2 * config.batch)))


def main() -> None:
    """Print one table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    logging.getLogger("train").setLevel(logging.ERROR)
    found: dict[str, object] = {"threads": torch.get_num_threads(), "machine_gflops": machine()}
    lightweight = overhead(options.rounds, options.steps)
    lightweight["share_of_peak"] = lightweight["step_gflops"] / float(str(found["machine_gflops"]))
    found["lightweight"] = lightweight
    for key, value in lightweight.items():
        print(f"{key:18}{value:14.4g}")
    print(
        f"\n{'preset':8}{'px':>5}{'batch':>7}{'images/s':>10}{'GFLOP/image':>13}{'GB estimated':>13}{'GB measured':>13}"
    )
    context = multiprocessing.get_context("spawn")
    for name, config in PRESETS.items():
        queue = context.Queue()
        process = context.Process(target=preset, args=(name, 2 if name == "full" else 5, queue))
        process.start()
        rate, most, operations = queue.get()
        process.join()
        found[name] = {"images_per_second": rate, "bytes": most, "flops": operations, "reckoned": estimate(config)}
        print(
            f"{name:8}{config.size:5}{config.batch:7}{rate:10.2f}{operations / 1e9:13.2f}"
            f"{estimate(config) / 1e9:13.2f}{most / 1e9:13.2f}"
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
