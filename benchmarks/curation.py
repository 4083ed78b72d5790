"""Does a curated selection train better? k faces chosen in several ways, a small autoencoder, faces held out.

    python -m benchmarks.curation FACESET... [--k 32 200] [--regimes plain ...] [--learners linear]

Blocks of 2 s are held out, with a guard of 0.5 s on both sides. From the rest k faces are chosen by `choose` and by the
rivals of `benchmarks.curation_rivals`; with `--few` by those alone that need no pixels. A learner is then made from
each choice, with the same seeds:

    nearest     none: a held-out face is reconstructed by the chosen crop that is most like it
    linear      a linear autoencoder: the main axes of the chosen crops, each of them moved, turned and scaled a little
    network     a convolutional autoencoder, --steps steps

Error is the mean absolute difference of held-out crops in percent: plain, balanced over k-means of their pixels, the
95th percentile, and balanced over our own kinds of faces. Regimes, made from each clip:

    plain       the clip as it is
    interview   its calmest second and a half, repeated with film noise until it makes up 90 %
    dirty       with a copy blurred by 2 px, and 5 % misread faces: pose and expression of another, crop out of place
    film        shots of a second in random order, a third of them dark, a third small, and 5 % faces of somebody else;
                those that are not the subject by their identity are left out for all, as extraction does
    mistaken    the same, but all faces of somebody else were taken for the subject's

The last table has the paired differences, rival minus ours: means over seeds, with 95 % intervals over clips.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.curation_rivals import METHODS, OURS, Pool, pixels_of, random
from curate.dataset.faceset import Faceset, open_faceset
from curate.select import coverage
from curate.select.space import Space

SIZE = 32
CALM_SECONDS, CALM_SHARE = 1.5, 0.9
BLOCK, GUARD = 2.0, 0.5
BLUR, SOFTER, MISREAD = 2.0, 0.45, 0.05
"""Pixels of the crop; Sharpness that such a blur costs (measured: 0.41 and 0.54 on two clips); share of faces."""
DARK, SMALL, STRANGERS = 0.3, 4, 0.05
"""Share of the light that is left; times by which a face is smaller; share of faces of somebody else."""
AXES, PICTURES = 24, 300
"""Of the linear autoencoder; pictures from which they are made, about."""
REGIMES = ("plain", "interview", "dirty", "film", "mistaken")
LEARNERS = ("nearest", "linear", "network")
FEW = (OURS, "uniform in time", "DFL most varied", "k-centre", "all faces")


@dataclass(frozen=True)
class Footage:
    """One clip in one regime: what may be chosen from, and what is held out."""

    clip: str
    regime: str
    pool: Pool
    held: np.ndarray
    pixels: np.ndarray
    """(H,) weights of the held-out faces that balance groups of like pixels."""
    kinds: np.ndarray
    """(H,) weights that balance our kinds."""


@dataclass(frozen=True)
class Result:
    clip: str
    regime: str
    method: str
    learner: str
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
    _one_thread()
    sets = [open_faceset(folder) for folder in args.facesets]
    results: list[Result] = []
    for i, faceset in enumerate(sets):
        other = open_faceset(args.strangers) if args.strangers else sets[i - 1]
        for footage in _regimes(faceset, other, args.regimes):
            for k in args.k:
                results += _compared(footage, k, args)
    _print(results)
    print(json.dumps([asdict(r) for r in results]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facesets", nargs="+", type=Path)
    parser.add_argument("--k", type=int, nargs="+", default=[32])
    parser.add_argument("--regimes", nargs="+", default=REGIMES, choices=REGIMES)
    parser.add_argument("--strangers", type=Path, help="faceset of somebody else, for the regimes film and mistaken")
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=LEARNERS[:2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--few", action="store_true")
    return parser.parse_args()


def _compared(f: Footage, k: int, args: argparse.Namespace) -> Iterator[Result]:
    names = FEW if args.few else tuple(METHODS)
    picked = {name: METHODS[name](f.pool, k) for name in names}
    for seed in range(args.seeds):
        every = picked | {"random": random(f.pool, k, seed)}
        for (name, rows), learner in itertools.product(every.items(), args.learners):
            if learner == "nearest" and seed and name != "random":
                continue  # nothing in it is drawn
            images = f.pool.images[rows]
            if learner == "network":
                errors = _train(images, f.held, args.steps, seed)
            else:
                errors = _linear(images, f.held, seed) if learner == "linear" else _nearest_error(images, f.held)
            balanced = [float(np.average(errors, weights=w)) for w in (f.pixels, f.kinds)]
            figures = (float(errors.mean()), balanced[0], float(np.quantile(errors, 0.95)), balanced[1])
            yield Result(f.clip, f.regime, name, learner, k, seed, *figures)


def _regimes(faceset: Faceset, other: Faceset, names: Sequence[str]) -> Iterator[Footage]:
    table, crops = _kept(faceset)
    images, time = np.stack([_small(c) for c in crops]), table["time"].to_numpy(float)
    phase = time % (2 * BLOCK + 2 * GUARD)
    free = np.flatnonzero(phase < BLOCK)
    held = np.flatnonzero((phase >= BLOCK + GUARD) & (phase < 2 * BLOCK + GUARD))
    space = Space.absolute(table)
    points = space.embed(table)
    kinds, pixels = coverage.demand(space, points[held]), _pixel_balance(images[held])
    pool, look = table.iloc[free].reset_index(drop=True), images[free]
    for regime in names:
        if regime == "interview":
            rows, seen = _interview(pool, look, _calm(free, points, time))
        elif regime == "dirty":
            blurred = np.stack([_small(cv2.GaussianBlur(crops[i], (0, 0), BLUR)) for i in free])
            rows, seen = _dirty(pool, look, blurred)
        elif regime in ("film", "mistaken"):
            rows, seen = _film(pool, look, [crops[i] for i in free], *_kept(other))
            if regime == "film":
                mine = _subject(rows, faceset)
                rows, seen = rows[mine].reset_index(drop=True), seen[mine]
        else:
            rows, seen = pool, look
        name = faceset.folder.name
        yield Footage(name, regime, Pool(rows, seen, space.embed(rows)), images[held], pixels, kinds)


def _subject(rows: pd.DataFrame, faceset: Faceset) -> np.ndarray:
    """(N,) which faces extraction would take for the subject's, by their identity."""
    subject, limit = faceset.identity(), faceset.grouping.same_person
    apart = [np.inf if v is None else float(np.linalg.norm(v - subject)) for v in rows["identity"]]
    return np.array(apart) <= limit


def _kept(faceset: Faceset) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """The kept faces in order of time, and their crops."""
    table = faceset.table()
    table = table[table["kept"] & table["yaw"].notna()].sort_values(["clip", "frame"], ignore_index=True)
    return table, [faceset.crop(c) for c in table["crop"]]


def _pixel_balance(images: np.ndarray) -> np.ndarray:
    """(H,) weights with which every group of k-means on pixels counts alike."""
    from sklearn.cluster import KMeans

    labels = KMeans(min(16, len(images)), n_init=3, random_state=0).fit_predict(pixels_of(images))
    return 1 / np.bincount(labels)[labels]


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


def _film(
    pool: pd.DataFrame, images: np.ndarray, crops: list[np.ndarray], other: pd.DataFrame, strangers: list[np.ndarray]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Shots of the pool in random order, a third dark and a third small, with a few faces of somebody else."""
    rng = np.random.default_rng(0)
    shot = (pool["time"] // 1.0).to_numpy(int)
    order = rng.permutation(np.unique(shot))
    rows, look = pool.copy(), images.copy()
    names = [c for c in ("UnderExposurePrevention", "Sharpness", "InterEyeDistance") if c in rows]
    rows[names] = rows[names].astype(float)
    for place, number in enumerate(order.tolist()):
        for i in np.flatnonzero(shot == number).tolist():
            if place % 3 == 1:
                look[i] = (look[i] * DARK).astype(np.uint8)
                rows.at[i, "lighting"] = rows.at[i, "lighting"] + np.float32([0, 0, 0, np.log2(DARK) * 2.2, 0, 0])
            elif place % 3 == 2:
                tiny = cv2.resize(crops[i], None, fx=1 / SMALL, fy=1 / SMALL, interpolation=cv2.INTER_AREA)
                look[i] = _small(cv2.resize(tiny, crops[i].shape[1::-1], interpolation=cv2.INTER_CUBIC))
                rows.at[i, "Sharpness"] -= SOFTER
                rows.at[i, "InterEyeDistance"] /= SMALL
    begins = np.argsort(order)[np.searchsorted(np.unique(shot), shot)]
    rows["time"] = begins + rows["time"] % 1.0
    count = min(round(STRANGERS * len(rows)), len(other))
    start = int(rng.integers(0, max(len(other) - count, 1)))
    foreign = other.iloc[start : start + count].assign(time=rows["time"].max() + 2 + np.arange(count) / 25)
    joined = pd.concat([rows, foreign.assign(clip=rows["clip"].iloc[0])], ignore_index=True)
    seen = np.concatenate([look, np.stack([_small(c) for c in strangers[start : start + count]])])
    order = np.argsort(joined["time"].to_numpy(float), kind="stable")
    return joined.iloc[order].reset_index(drop=True), seen[order]


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


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _nearest_error(images: np.ndarray, held: np.ndarray) -> np.ndarray:
    """(H,) mean absolute difference in percent of each held-out crop to the chosen one that is most like it."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    return np.array([np.abs(flat - one.reshape(-1)).mean(1).min() for one in held.astype(np.float32)]) / 2.55


def _linear(images: np.ndarray, held: np.ndarray, seed: int) -> np.ndarray:
    """(H,) mean absolute error in percent of held-out images, projected on AXES main axes of the images."""
    rng = np.random.default_rng(seed)
    made = []
    for image in images[:: max(1, len(images) // PICTURES)]:
        for _ in range(max(1, PICTURES // len(images))):
            turn = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), rng.normal(0, 2.3), rng.normal(1, 0.04))
            turn[:, 2] += rng.normal(0, 0.02 * SIZE, 2)
            made.append(cv2.warpAffine(image, turn, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE).reshape(-1))
    data = np.stack(made).astype(np.float32)
    centre = data.mean(0)
    data -= centre
    values, vectors = np.linalg.eigh(data @ data.T)
    axes = data.T @ vectors[:, -AXES:] / np.sqrt(np.maximum(values[-AXES:], 1e-3))
    asked = held.reshape(len(held), -1).astype(np.float32) - centre
    return np.abs(asked - asked @ axes @ axes.T).mean(1) / 2.55


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
GROUPS = ["learner", "regime", "k"]


def _print(results: list[Result]) -> None:
    table = pd.DataFrame([asdict(r) for r in results])
    means = table.groupby([*GROUPS, "method"])[YARDSTICKS].mean()
    print(means.sort_values([*GROUPS, "pixels"]).round(3).to_string())
    print("rival minus ours (above 0: ours is better), mean and half of the 95 % interval over clips")
    for (learner, regime, k, method), mean, half in differences(table):
        cells = "  ".join(f"{y} {mean[y]:+.3f} +-{half[y]:.3f}" for y in YARDSTICKS)
        print(f"{learner:9}{regime:10}{k:5} {method:28} {cells}")


def differences(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str, int, str], pd.Series, pd.Series]]:
    """Learner, regime, k and rival; rival minus ours, mean over clips; half of its 95 % interval."""
    each = table.groupby(["clip", *GROUPS, "method"])[YARDSTICKS].mean().reset_index()
    keys = ["clip", *GROUPS]
    ours = each[each["method"] == OURS].set_index(keys)[YARDSTICKS]
    for key, rows in each[each["method"] != OURS].groupby([*GROUPS, "method"]):
        apart = rows.set_index(keys)[YARDSTICKS] - ours.reindex(rows.set_index(keys).index)
        yield key, apart.mean(), stats.t.ppf(0.975, max(len(apart) - 1, 1)) * apart.std() / np.sqrt(len(apart))


if __name__ == "__main__":
    main()
