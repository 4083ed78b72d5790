"""Does a curated selection train better? k faces chosen in several ways, one tiny autoencoder, faces held out.

    python benchmarks/curation.py --clips DIR [--names d3 d6 d9 d10] [--k 32] [--steps 600] [--seeds 2] [--work DIR]

Every other second of a clip is held out. From the rest k faces are chosen at random (3 draws), evenly in time, the
first k, by DeepFaceLab's "best faces" (a yaw bin for every face asked for, the sharpest ten quotas of each bin, of
those the one whose grey histogram is least like the others'), by k-centre in the diversity space, and by `choose`. The
same autoencoder is then trained the same number of steps from the same seeds on each, and on all faces. Error is the
mean absolute difference of held-out crops in percent: plain, and balanced, where every kind of face counts alike.
Two regimes: the clip as it is; and redundant, as hours of footage are: its calmest second and a half repeated until
it makes up 90 %.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from curate.dataset.faceset import Faceset
from curate.extract.pipeline import Request, curate
from curate.select import coverage
from curate.select.options import Budget
from curate.select.selection import choose
from curate.select.similarity import squared
from curate.select.space import Space

SIZE = 48
CALM_SECONDS, CALM_SHARE = 1.5, 0.9
DRAWS = 3


@dataclass(frozen=True)
class Footage:
    """One clip in one regime: what may be chosen from, and what is held out."""

    clip: str
    regime: str
    pool: pd.DataFrame
    images: np.ndarray
    """(N, SIZE, SIZE, 3) uint8 of the pool."""
    held: np.ndarray
    balance: np.ndarray
    """(H,) weights of the held-out faces."""
    points: np.ndarray
    held_points: np.ndarray
    space: Space


@dataclass(frozen=True)
class Result:
    clip: str
    regime: str
    method: str
    k: int
    seed: int
    plain: float
    balanced: float
    worst: float
    """95th percentile of the held-out faces' errors."""
    distance: float
    """Mean distance of held-out faces to the nearest chosen one, in the diversity space."""
    coverage: float
    """Of the pool by the chosen."""


def main() -> None:
    args = _arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    jobs = []
    for name in args.names:
        faceset = _curated(args.clips / f"{name}.mp4", args.work / name)
        for footage in _regimes(name, faceset):
            if args.regime in (footage.regime, "both"):
                jobs += list(_jobs(footage, args.k, args.steps, args.seeds))
    with ProcessPoolExecutor(args.workers, get_context("spawn"), initializer=_one_thread) as pool:
        results = list(pool.map(_run, jobs))
    _print(results)
    print(json.dumps([asdict(r) for r in results]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=["d3", "d6", "d9", "d10"])
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--regime", choices=("as it is", "redundant", "both"), default="both")
    parser.add_argument("--work", type=Path, default=Path("/tmp/faceset-curation"))
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def _curated(clip: Path, out: Path) -> Faceset:
    return curate(Request((str(clip),), out, clip.stem, "research", workers=2)).faceset


def _regimes(name: str, faceset: Faceset) -> Iterator[Footage]:
    table = faceset.table()
    table = table[table["kept"] & table["yaw"].notna()].sort_values("frame", ignore_index=True)
    images = np.stack([_small(faceset.crop(c)) for c in table["crop"]])
    space = Space.absolute(table)
    points = space.embed(table)
    second = table["time"].astype(int).to_numpy()
    free, held = np.flatnonzero(second % 2 == 0), np.flatnonzero(second % 2 == 1)
    balance = coverage.demand(space, points[held])
    for regime, rows in (("as it is", free), ("redundant", _redundant(free, points, table["time"].to_numpy()))):
        pool = table.iloc[rows].reset_index(drop=True)
        pool["face_id"] = [f"{face}-{i:06d}" for i, face in enumerate(pool["face_id"])]
        yield Footage(name, regime, pool, images[rows], images[held], balance, points[rows], points[held], space)


def _small(crop: np.ndarray) -> np.ndarray:
    return cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _redundant(free: np.ndarray, points: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Rows of the pool with its calmest stretch put in again and again, in place, until it makes up CALM_SHARE."""
    best, calm = np.inf, free[:1]
    for start in free:
        rows = free[(time[free] >= time[start]) & (time[free] < time[start] + CALM_SECONDS)]
        spread = float(points[rows].std(0).sum()) if len(rows) >= 10 else np.inf
        if spread < best:
            best, calm = spread, rows
    rest = np.setdiff1d(free, calm)
    times = max(1, round(CALM_SHARE / (1 - CALM_SHARE) * len(rest) / len(calm)))
    return np.concatenate([rest[rest < calm[0]], np.tile(calm, times), rest[rest > calm[0]]])


Chooser = Callable[[Footage, int], np.ndarray]


def _uniform(f: Footage, k: int) -> np.ndarray:
    return np.unique(np.linspace(0, len(f.pool) - 1, k).round().astype(int))


def _first(f: Footage, k: int) -> np.ndarray:
    return np.arange(min(k, len(f.pool)))


def _ours(f: Footage, k: int) -> np.ndarray:
    chosen = choose(f.pool, Budget(k, str(k))).rows["face_id"]
    return pd.Index(f.pool["face_id"]).get_indexer(pd.Index(chosen))


def _k_centre(f: Footage, k: int) -> np.ndarray:
    """Gonzalez 1985: the next is the farthest from all so far; begins in the middle."""
    chosen = [int(np.square(f.points - f.points.mean(0)).sum(1).argmin())]
    near = squared(f.points, f.points[chosen])[:, 0]
    while len(chosen) < min(k, len(f.pool)):
        chosen.append(int(near.argmax()))
        near = np.minimum(near, squared(f.points, f.points[chosen[-1:]])[:, 0])
    return np.array(chosen)


def _dfl(f: Footage, k: int) -> np.ndarray:
    """DeepFaceLab's best faces with k yaw bins, so that the quota of a bin is one face; what is missing is drawn in
    order of sharpness."""
    yaw, sharp = f.pool["yaw"].to_numpy(float), f.pool["Sharpness"].to_numpy(float)
    edges = np.linspace(yaw.min(), yaw.max() + 1e-6, k + 1)
    chosen: list[int] = []
    for low, high in itertools.pairwise(edges):
        rows = np.flatnonzero((yaw >= low) & (yaw < high))
        rows = rows[np.argsort(-sharp[rows], kind="stable")][:10]
        if len(rows):
            histograms = [_histogram(f.images[i]) for i in rows]
            unlike = [sum(cv2.compareHist(a, b, cv2.HISTCMP_BHATTACHARYYA) for b in histograms) for a in histograms]
            chosen.append(int(rows[int(np.argmax(unlike))]))
    spare = [int(i) for i in np.argsort(-sharp, kind="stable") if int(i) not in set(chosen)]
    return np.array((chosen + spare)[:k])


def _histogram(image: np.ndarray) -> np.ndarray:
    return cv2.calcHist([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)], [0], None, [256], [0, 256])


def _draw(number: int) -> Chooser:
    return lambda f, k: np.random.default_rng(number).choice(len(f.pool), min(k, len(f.pool)), replace=False)


METHODS: dict[str, Chooser] = {
    "ours": _ours,
    "uniform in time": _uniform,
    "DFL best faces": _dfl,
    "k-centre": _k_centre,
    "first k": _first,
    **{f"random {n}": _draw(n) for n in range(DRAWS)},
    "all faces": lambda f, k: np.arange(len(f.pool)),
}
Job = tuple[str, str, str, int, int, int, np.ndarray, np.ndarray, np.ndarray, float, float]


def _jobs(f: Footage, k: int, steps: int, seeds: int) -> Iterator[Job]:
    wanted = [(name, k) for name in METHODS] + [("uniform in time", 2 * k)]
    for name, count in wanted:
        rows = METHODS[name](f, count)
        chosen = f.points[rows]
        far = float(np.sqrt(squared(f.held_points, chosen).min(1)).mean())
        covers = coverage.coverage(f.space, f.points, chosen, coverage.demand(f.space, f.points))
        for seed in range(seeds):
            yield (f.clip, f.regime, name, len(rows), seed, steps, f.images[rows], f.held, f.balance, far, covers)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _run(job: Job) -> Result:
    clip, regime, name, k, seed, steps, images, held, balance, far, covers = job
    errors = _train(images, held, steps, seed)
    balanced = float(np.average(errors, weights=balance))
    return Result(
        clip, regime, name, k, seed, float(errors.mean()), balanced, float(np.quantile(errors, 0.95)), far, covers
    )


def _train(images: np.ndarray, held: np.ndarray, steps: int, seed: int, batch: int = 16) -> np.ndarray:
    """(H,) mean absolute error in percent of the held-out images (H, S, S, 3)."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)

    def block(a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(a, b, 5, 2, 2), nn.LeakyReLU(0.1))

    def up(a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(a, 4 * b, 3, 1, 1), nn.LeakyReLU(0.1), nn.PixelShuffle(2))

    cells = SIZE // 8
    model = nn.Sequential(
        block(3, 24), block(24, 48), block(48, 96), nn.Flatten(), nn.Linear(96 * cells**2, 96),
        nn.Linear(96, 96 * cells**2), nn.Unflatten(1, (96, cells, cells)), up(96, 48), up(48, 24), up(24, 16),
        nn.Conv2d(16, 3, 3, 1, 1), nn.Sigmoid(),
    )  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    data = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    for _ in range(steps):
        real = data[rng.integers(0, len(data), batch)]
        turn = torch.from_numpy(rng.normal(0, 0.04, (batch, 2, 3)).astype(np.float32)) + torch.eye(2, 3)
        grid = nn.functional.affine_grid(turn, list(real.shape), align_corners=False)
        real = nn.functional.grid_sample(real, grid, padding_mode="border", align_corners=False)
        loss = (model(real) - real).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        wanted = torch.from_numpy(held).permute(0, 3, 1, 2).float() / 255
        errors = [(model(part) - part).abs().mean((1, 2, 3)) for part in wanted.split(256)]
    return 100 * torch.cat(errors).numpy()


def _print(results: list[Result]) -> None:
    table = pd.DataFrame([asdict(r) for r in results])
    table["method"] = table["method"].str.replace(r"random \d", "random", regex=True)
    table.loc[table["method"].ne("all faces") & table["k"].gt(table["k"].min()), "method"] += " (2k)"
    keys = ["regime", "clip", "method"]
    lines = table.groupby(keys)[["plain", "balanced", "worst", "distance", "coverage"]].mean()
    lines["spread"] = table.groupby(keys)["balanced"].agg(lambda v: v.max() - v.min())
    print(lines.round(3).to_string())
    print(lines.groupby(["regime", "method"]).mean().sort_values(["regime", "balanced"]).round(3).to_string())


if __name__ == "__main__":
    main()
