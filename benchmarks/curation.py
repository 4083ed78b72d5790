"""Does a curated selection train better? k faces chosen in several ways, one tiny autoencoder, faces held out.

    python -m benchmarks.curation --clips DIR [--names d3 d6 d9 d10] [--k 32] [--steps 600] [--seeds 5] [--work DIR]

Blocks of 2 s are held out, with a guard of 0.5 s on both sides. From the rest k faces are chosen by `choose` and by its
rivals: at random, evenly in time, evenly after near-duplicates are dropped, DeepFaceLab's "best faces", k-centre in
our space, k-medoids and facility location on pixels, SemDeDup on pixels (Abbas et al. 2023), and by the formula of
fiftyone.brain's uniqueness (distance to the three nearest neighbours) on pixels. The same autoencoder is then trained
for the same number of steps from the same seeds on each, and on all faces. Error is the mean absolute difference of
held-out crops in percent: plain, balanced over k-means of their pixels, and the 95th percentile; and balanced over our
own kinds of faces. Regimes, made from each clip:

    plain       the clip as it is
    interview   its calmest second and a half, repeated with film noise until it makes up 90 %
    dirty       with a copy blurred by 2 px, and 5 % misread faces: pose and expression of another, crop out of place

With --steps 0 nothing is trained: the error is that of the chosen crop that is most like the held-out one.

The last table has the paired differences, rival minus ours, over clips and seeds with 95 % intervals.
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
from scipy import stats

from curate.dataset.faceset import Faceset
from curate.extract.pipeline import Request, curate
from curate.select import coverage
from curate.select.options import Budget
from curate.select.selection import choose
from curate.select.similarity import net, squared
from curate.select.space import Space

SIZE = 32
CALM_SECONDS, CALM_SHARE = 1.5, 0.9
BLOCK, GUARD = 2.0, 0.5
BLUR, SOFTER, MISREAD = 2.0, 0.45, 0.05
"""Pixels of the crop; Sharpness that such a blur costs (measured: 0.41 and 0.54 on two clips); share of faces."""
REGIMES = ("plain", "interview", "dirty")


@dataclass(frozen=True)
class Footage:
    """One clip in one regime: what may be chosen from, and what is held out."""

    clip: str
    regime: str
    pool: pd.DataFrame
    images: np.ndarray
    """(N, SIZE, SIZE, 3) uint8 of the pool."""
    held: np.ndarray
    pixels: np.ndarray
    """(H,) weights of the held-out faces that balance groups of like pixels."""
    kinds: np.ndarray
    """(H,) weights that balance our kinds."""
    points: np.ndarray
    """(N, D) of the pool in the absolute space."""


@dataclass(frozen=True)
class Result:
    clip: str
    regime: str
    method: str
    k: int
    seed: int
    plain: float
    pixels: float
    """Balanced over k-means of the held-out crops' pixels."""
    worst: float
    """95th percentile of the held-out faces' errors."""
    kinds: float
    """Balanced over our kinds of faces."""


def main() -> None:
    args = _arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    jobs = []
    for name in args.names:
        faceset = _curated(args.clips / f"{name}.mp4", args.work / name)
        for footage in _regimes(name, faceset):
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
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("/tmp/faceset-curation"))
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def _curated(clip: Path, out: Path) -> Faceset:
    return curate(Request((str(clip),), out, clip.stem, "research", workers=2)).faceset


def _regimes(name: str, faceset: Faceset) -> Iterator[Footage]:
    table = faceset.table()
    table = table[table["kept"] & table["yaw"].notna()].sort_values("frame", ignore_index=True)
    crops = [faceset.crop(c) for c in table["crop"]]
    images, time = np.stack([_small(c) for c in crops]), table["time"].to_numpy(float)
    blurred = np.stack([_small(cv2.GaussianBlur(c, (0, 0), BLUR)) for c in crops])
    phase = time % (2 * BLOCK + 2 * GUARD)
    free = np.flatnonzero(phase < BLOCK)
    held = np.flatnonzero((phase >= BLOCK + GUARD) & (phase < 2 * BLOCK + GUARD))
    space = Space.absolute(table)
    points = space.embed(table)
    kinds, pixels = coverage.demand(space, points[held]), _pixel_balance(images[held])
    pool = table.iloc[free].reset_index(drop=True)
    for regime in REGIMES:
        rows, look = pool, images[free]
        if regime == "interview":
            rows, look = _interview(pool, look, _calm(free, points, time))
        elif regime == "dirty":
            rows, look = _dirty(pool, look, blurred[free])
        yield Footage(name, regime, rows, look, images[held], pixels, kinds, space.embed(rows))


def _pixel_balance(images: np.ndarray) -> np.ndarray:
    """(H,) weights with which every group of k-means on pixels counts alike."""
    from sklearn.cluster import KMeans

    labels = KMeans(min(16, len(images)), n_init=3, random_state=0).fit_predict(_pixels(images))
    return 1 / np.bincount(labels)[labels]


def _pixels(images: np.ndarray) -> np.ndarray:
    """(N, 256) grey pixels at 16 x 16, mean 0, length 1."""
    grey = np.stack(
        [cv2.resize(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), (16, 16), interpolation=cv2.INTER_AREA) for i in images]
    )
    flat = grey.reshape(len(grey), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _interview(pool: pd.DataFrame, images: np.ndarray, calm: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """The pool with the rows `calm` put in again and again, with noise, until they make up CALM_SHARE."""
    rng = np.random.default_rng(0)
    times = max(1, round(CALM_SHARE / (1 - CALM_SHARE) * (len(pool) - len(calm)) / len(calm)))
    again = np.tile(calm, times)
    held = pool.iloc[again].reset_index(drop=True)
    held["yaw"] += rng.normal(0, 0.2, len(held))
    held["expression"] = [e + rng.normal(0, 0.01, len(e)).astype(np.float32) for e in held["expression"]]
    held["frame"] = pool["frame"].max() + 1 + np.arange(len(held))
    held["time"] = pool["time"].max() + (1 + np.arange(len(held))) * np.median(np.diff(pool["time"]))
    held["face_id"] = [f"{face}-{i:06d}" for i, face in enumerate(held["face_id"])]
    noisy = np.clip(images[again] + rng.normal(0, 2, (len(again), *images.shape[1:])), 0, 255).astype(np.uint8)
    rest = np.setdiff1d(np.arange(len(pool)), calm)
    return pd.concat([pool.iloc[rest], held], ignore_index=True), np.concatenate([images[rest], noisy])


def _dirty(pool: pd.DataFrame, images: np.ndarray, blurred: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """The pool and its blurred copy, with misread faces in both."""
    rng = np.random.default_rng(0)
    soft = pool.assign(clip="soft", face_id="soft-" + pool["face_id"])
    soft["Sharpness"] -= np.float32(SOFTER)
    soft["yaw"] += rng.normal(0, 0.2, len(soft))
    rows, look = pd.concat([pool, soft], ignore_index=True), np.concatenate([images, blurred])
    wrong = rng.choice(len(rows), round(MISREAD * len(rows)), replace=False)
    for row in wrong.tolist():
        rows.loc[row, ["yaw", "pitch"]] = rng.uniform(-60, 60), rng.uniform(-40, 40)
        rows.at[row, "expression"] = rng.uniform(-0.2, 0.6, 52).astype(np.float32)
        turn = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), rng.uniform(-40, 40), rng.uniform(0.6, 1.6))
        turn[:, 2] += rng.uniform(-0.3, 0.3, 2) * SIZE
        look[row] = cv2.warpAffine(look[row], turn, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
    return rows, look


def _small(crop: np.ndarray) -> np.ndarray:
    return cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _calm(free: np.ndarray, points: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Positions in `free` of the calmest stretch of CALM_SECONDS."""
    best, calm = np.inf, np.arange(1)
    for start in range(len(free)):
        rows = np.flatnonzero((time[free] >= time[free[start]]) & (time[free] < time[free[start]] + CALM_SECONDS))
        spread = float(points[free[rows]].std(0).sum()) if len(rows) >= 10 else np.inf
        if spread < best:
            best, calm = spread, rows
    return calm


Chooser = Callable[[Footage, int], np.ndarray]


def _uniform(f: Footage, k: int) -> np.ndarray:
    return np.unique(np.linspace(0, len(f.pool) - 1, k).round().astype(int))


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


def _without_near(f: Footage, k: int) -> np.ndarray:
    """Evenly in time from what is left when of like pictures in a row one stays (as much as leaves 4 k or more)."""
    pixels = _pixels(f.images)
    for radius in np.linspace(0.6, 0.0, 25):
        left = np.sort(net(pixels, float(radius), len(pixels))[0])
        if len(left) >= min(4 * k, len(pixels)):
            break
    return left[np.unique(np.linspace(0, len(left) - 1, k).round().astype(int))]


def _medoids(f: Footage, k: int) -> np.ndarray:
    """The picture nearest to each centre of k-means on pixels."""
    from sklearn.cluster import KMeans

    pixels = _pixels(f.images)
    centres = KMeans(min(k, len(pixels)), n_init=1, random_state=0).fit(pixels).cluster_centers_
    return np.unique(squared(centres, pixels).argmin(1))


def _facility(f: Footage, k: int) -> np.ndarray:
    """Facility location on pixels, greedy, cosine similarity, without balance or quality (as apricot's)."""
    pixels = _pixels(f.images)
    similar = pixels @ pixels[:: max(1, len(pixels) // 3000)].T
    best, chosen = np.full(similar.shape[1], -1, np.float32), []
    for _ in range(min(k, len(pixels))):
        gains = np.maximum(similar - best, 0).sum(1)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        best = np.maximum(best, similar[chosen[-1]])
    return np.array(chosen)


def _semdedup(f: Footage, k: int) -> np.ndarray:
    """SemDeDup: in each group of k-means pairs that are too alike lose one, the limit set so that k are left."""
    from sklearn.cluster import KMeans

    pixels = _pixels(f.images)
    labels = KMeans(min(8, len(pixels)), n_init=1, random_state=0).fit_predict(pixels)
    order = np.random.default_rng(0).permutation(len(pixels))
    closest = np.zeros(len(pixels))
    for group in range(labels.max() + 1):
        rows = order[labels[order] == group]
        similar = np.triu(pixels[rows] @ pixels[rows].T, 1)
        closest[rows] = similar.max(0)
    return np.argsort(closest, kind="stable")[:k]


def _unique(f: Footage, k: int) -> np.ndarray:
    """fiftyone.brain's uniqueness: 0.6, 0.3 and 0.1 of the distances to the three nearest neighbours."""
    from sklearn.neighbors import NearestNeighbors

    pixels = _pixels(f.images)
    near, _ = NearestNeighbors(n_neighbors=4).fit(pixels).kneighbors(pixels)
    return np.argsort(-(near[:, 1:] @ np.array([0.6, 0.3, 0.1])), kind="stable")[:k]


def _random(f: Footage, k: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(f.pool), min(k, len(f.pool)), replace=False)


OURS = "ours"
METHODS: dict[str, Chooser] = {
    OURS: _ours,
    "uniform in time": _uniform,
    "uniform, no near-duplicates": _without_near,
    "DFL best faces": _dfl,
    "k-centre": _k_centre,
    "k-medoids on pixels": _medoids,
    "facility location on pixels": _facility,
    "SemDeDup on pixels": _semdedup,
    "uniqueness on pixels": _unique,
    "all faces": lambda f, k: np.arange(len(f.pool)),
}
Job = tuple[str, str, str, int, int, int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _jobs(f: Footage, k: int, steps: int, seeds: int) -> Iterator[Job]:
    picked = {name: METHODS[name](f, k) for name in METHODS}
    for seed in range(seeds):
        for name, rows in (picked | {"random": _random(f, k, seed)}).items():
            yield (f.clip, f.regime, name, len(rows), seed, steps, f.images[rows], f.held, f.pixels, f.kinds)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _run(job: Job) -> Result:
    clip, regime, name, k, seed, steps, images, held, pixels, kinds = job
    errors = _train(images, held, steps, seed) if steps else _nearest_error(images, held)
    balanced = (float(np.average(errors, weights=w)) for w in (pixels, kinds))
    plain, worst = float(errors.mean()), float(np.quantile(errors, 0.95))
    return Result(clip, regime, name, k, seed, plain, next(balanced), worst, next(balanced))


def _nearest_error(images: np.ndarray, held: np.ndarray) -> np.ndarray:
    """(H,) mean absolute difference in percent of each held-out crop to the chosen one that is most like it."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    return np.array([np.abs(flat - one.reshape(-1)).mean(1).min() for one in held.astype(np.float32)]) / 2.55


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


YARDSTICKS = ["plain", "pixels", "worst", "kinds"]


def _print(results: list[Result]) -> None:
    table = pd.DataFrame([asdict(r) for r in results])
    print(table.groupby(["regime", "method"])[YARDSTICKS].mean().sort_values(["regime", "pixels"]).round(3).to_string())
    keys = ["clip", "regime", "seed"]
    ours = table[table["method"] == OURS].set_index(keys)[YARDSTICKS]
    print("rival minus ours (above 0: ours is better), mean and half of the 95 % interval over clips and seeds")
    for (regime, method), rows in table[table["method"] != OURS].groupby(["regime", "method"]):
        apart = rows.set_index(keys)[YARDSTICKS] - ours.reindex(rows.set_index(keys).index)
        half = stats.t.ppf(0.975, max(len(apart) - 1, 1)) * apart.std() / np.sqrt(len(apart))
        cells = "  ".join(f"{y} {apart[y].mean():+.3f} +-{half[y]:.3f}" for y in YARDSTICKS)
        print(f"{regime:10} {method:28} {cells}")


if __name__ == "__main__":
    main()
