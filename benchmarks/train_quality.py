"""Held-out quality over CPU minutes: our trainer against a plain autoencoder of the same size with the peers' recipe.

    python -m benchmarks.train_quality --clips DIR [--pairs d6:d9 d3:d10] [--minutes 6] [--seeds 1] [--work DIR]
    python -m benchmarks.train_quality --clips DIR --identity 3000 [--preset tiny]

plain: the same layers with torch's own initial weights, faces drawn uniformly, the peers' warp, rotation, zoom and
shift, L1 and DSSIM over the whole crop, Adam at 5e-5 with betas 0.5 and 0.999 (faceswap's defaults), no warm-up, no
moving average of the weights; it is evaluated ten times and its best evaluation counts. `plain, fast` is the same at
our learning rate of 2e-3. ours: preset tiny, with as many steps as fit into 0.6 of the minutes. Quality is SSIM under
the face mask on held-out blocks of time, mean of both sides. Time is CPU seconds of the steps alone.
`--identity N` trains our preset for N steps and reports whose identity the held-out swaps have.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from curate.dataset.faceset import Faceset, open_faceset
from curate.extract.pipeline import Request, curate
from curate.select.options import SelectionOptions
from curate.select.selection import select_faceset
from train.config import TrainConfig, config_of
from train.data import Side, load_side
from train.feed import Feed
from train.fit import train
from train.loss import losses
from train.measure import measure
from train.model import SIDES, Swap, build
from train.state import make_accelerator, setup
from train.step import step

CPU = torch.device("cpu")
SHARE = 0.6
EVALUATIONS = 10


def faceset(clips: Path, name: str, work: Path) -> Faceset:
    """The clip curated, with a selection of 200."""
    out = work / name
    if not (out / "selection.parquet").is_file():
        footage = next(p for p in sorted(clips.iterdir()) if p.stem == name)
        made = curate(Request((str(footage),), out, name, "research", workers=2)).faceset
        select_faceset(made, SelectionOptions("200"))
    return open_faceset(out)


def sides(pair: tuple[Faceset, Faceset], config: TrainConfig, cache: Path) -> dict[str, Side]:
    """Both sides of a training."""
    both = zip(SIDES, pair, strict=True)
    return {name: load_side(name, each, config, cache, True, lambda *_: None) for name, each in both}


def plain(config: TrainConfig, faces: dict[str, Side], rate: float) -> tuple[Callable[[], None], Swap]:
    """Step function of the peers' recipe, and its network."""
    torch.manual_seed(config.seed)
    peers = replace(config, sampling="uniform", background=1.0, degrade=0.0, light=0.0, colour=0.0)
    model = build(peers)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.reset_parameters()
    optimizer = torch.optim.Adam(model.parameters(), rate, (0.5, 0.999), 1e-7, fused=True)
    feed, done = Feed(faces, peers, 0, 1, False), iter(range(10**9))

    def work() -> None:
        batches = feed.get(next(done))
        read, truth, masks = zip(*(batches[n].part(slice(None)).pictures(peers.size) for n in SIDES), strict=True)
        outputs = model(*read)
        total = sum(losses(o, t, m, peers)["total"] for o, t, m in zip(outputs, truth, masks, strict=True))
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()

    return work, model


def ours(config: TrainConfig, faces: dict[str, Side]) -> tuple[Callable[[], None], Swap]:
    """Step function of our trainer, and the moving average of its weights."""
    training = setup(config, make_accelerator(config), faces)
    return (lambda: step(training)), training.ema


def curve(
    work: Callable[[], None], model: Swap, faces: dict[str, Side], config: TrainConfig, seconds: float, steps: int
) -> Iterator[tuple[float, int, float]]:
    """(CPU seconds, steps, quality) of each evaluation, until the time is over or the steps are done."""
    spent, done, evaluation = 0.0, 0, 1
    while done < steps and spent < seconds:
        begun = time.process_time()
        work()
        spent += time.process_time() - begun
        done += 1
        if spent >= seconds * evaluation / EVALUATIONS or done == steps:
            figures = measure(model, faces, config.size, config.batch, CPU).figures
            yield spent, done, (figures["ssim_face_source"] + figures["ssim_face_target"]) / 2
            evaluation += 1


def speed(config: TrainConfig, faces: dict[str, Side]) -> float:
    """CPU seconds per step of our trainer."""
    work, _ = ours(config, faces)
    for _ in range(3):
        work()
    begun = time.process_time()
    for _ in range(10):
        work()
    return (time.process_time() - begun) / 10


def compare(pair: str, seed: int, minutes: float, clips: Path, work: Path) -> dict[str, object]:
    """Curves of ours and of the plain recipes on a pair of clips."""
    config = config_of("tiny", device="cpu", seed=seed, identity=0)
    both = tuple(faceset(clips, name, work) for name in pair.split(":"))
    faces = sides(both, config, work / f"cache-{pair.replace(':', '-')}")
    seconds = 60 * minutes
    found: dict[str, object] = {"pair": pair, "seed": seed}
    goals = {}
    for name, rate in (("plain", 5e-5), ("plain, fast", 2e-3)):
        found[name] = list(curve(*plain(config, faces, rate), faces, config, seconds, 10**9))
        goals[name] = max(quality for _, _, quality in found[name])
        print(f"{pair:10}{seed:5}  {name:12}{goals[name]:8.4f} best in {minutes:g} min", flush=True)
    steps = int(SHARE * seconds / speed(config, faces))
    planned = replace(config, steps=steps)
    found["ours"] = list(curve(*ours(planned, faces), faces, planned, SHARE * seconds, steps))
    for name, goal in goals.items():
        reached = next((spent for spent, _, quality in found["ours"] if quality >= goal), None)
        found[f"share, {name}"] = None if reached is None else reached / seconds
    shares = ", ".join("never" if found[f"share, {n}"] is None else f"{found[f'share, {n}']:.2f}" for n in goals)
    print(f"{pair:10}{seed:5}  {'ours':12}{found['ours'][-1][2]:8.4f} in {SHARE:g} of it; reaches theirs in {shares}")
    return found


def identity(pair: str, steps: int, preset: str, clips: Path, work: Path) -> dict[str, object]:
    """Identity figures of held-out swaps after a training."""
    source, target = (faceset(clips, name, work) for name in pair.split(":"))
    config = config_of(preset, steps=steps, device="cpu", identity=64, preview_every=max(1, steps // 4))
    run = work / f"run-{preset}-{steps}"
    done = train(config, source.folder, target.folder, run, force=run.exists())
    results = json.loads((run / "run.json").read_text())["results"]
    names = ("nearer", "identity_source", "identity_target", "ssim_face_source", "ssim_face_target")
    figures = {name: results[name] for name in names}
    print(f"{pair} {preset} {steps} steps, {done.seconds / 60:.1f} min: {figures}")
    return {"pair": pair, "preset": preset, "steps": steps, "seconds": done.seconds, **figures}


def main() -> None:
    """Print one table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--pairs", nargs="+", default=["d6:d9", "d3:d10"])
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--identity", type=int, default=0)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    logging.getLogger("train").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        if options.identity:
            print(json.dumps(identity(options.pairs[0], options.identity, options.preset, options.clips, work)))
            return
        print(f"{'pair':10}{'seed':>5}  {'':12}{'SSIM':>8}")
        pairs = [(pair, seed) for pair in options.pairs for seed in range(options.seeds)]
        print(json.dumps([compare(pair, seed, options.minutes, options.clips, work) for pair, seed in pairs]))


if __name__ == "__main__":
    main()
