"""One side of a training: its selected faces as pixels in memory order, split into training and held-out ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from curate.dataset.faceset import Faceset
from curate.errors import WorkError
from curate.types import Floats, Progress
from curate.words import quoted
from train import crop_cache
from train.augment import Limits
from train.clarity import CLARITY, clarity, matched
from train.config import TrainConfig
from train.drive import COLUMNS, Drive, rest_of, scores_of
from train.outlines import Outlines
from train.split import Split, chance, split

log = logging.getLogger(__name__)

OVERSAMPLE = 2
"""The cache has twice the network's size if the crops are that large, so that rotating a crop does not blur it."""
FRONTAL = 0.25
"""Sideways part of the unit vector to the light below which a face may be mirrored: its light is then at most 2 asin
0.25 = 29 degrees off, no more than the error of a single frame (see `curate.scores.lighting`)."""


@dataclass(frozen=True)
class Side:
    """Faces of the source or of the target."""

    name: str
    ids: tuple[str, ...]
    rows: pd.DataFrame
    """Rows of the faces, in order: face_id, clip, time, crop, matrix, cluster, group, yaw, pitch."""
    pixels: NDArray[np.uint8]
    """(N, C, C, 5 or more) RGB, mask, emphasis and outlines, a memory map."""
    split: Split
    cumulative: NDArray[np.float64]
    """(len(split.train),) cumulative probabilities of being drawn, ending at 1."""
    may_flip: NDArray[np.bool_]
    """(N,) whether the light comes roughly from the front."""
    limits: Limits
    """How far inputs are degraded."""
    scores: Floats
    """(N, len(train.drive.NAMES)) scores of the faces, counted from rest."""
    rest: Floats
    """(len(train.drive.NAMES),) rest of the subject, see `train.drive.rest_of`."""
    marks: Floats
    """(N, P, 3) landmarks in units of the crop's side."""
    drive: Drive | None = None
    """Scores that drive the network; None: they do not."""
    outlines: Outlines | None = None
    """Outlines that drive the network; None: they do not."""

    def draw(self, random: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Indices of `count` random training faces."""
        places = np.searchsorted(self.cumulative, random.random(count), side="right")
        return self.split.train[np.minimum(places, len(self.split.train) - 1)]

    def crops(self, indices: NDArray[np.int64]) -> Tensor:
        """Crops, masks, emphasis and outlines (B, 5 or more, C, C) uint8 of the given faces."""
        return torch.from_numpy(self.pixels[indices]).permute(0, 3, 1, 2)

    def faces(self, indices: NDArray[np.int64], size: int) -> tuple[Tensor, Tensor]:
        """Crops (B, 3, size, size) and masks (B, 1, size, size), not augmented, float32 in 0..1, downscaled by area."""
        images = F.interpolate(self.crops(indices).float() / 255, size=(size, size), mode="area")
        return images[:, :3], images[:, 3:4]

    def performance(self, indices: NDArray[np.int64], device: torch.device) -> Tensor | None:
        """(B, K) scores, or outlines, of the given faces as the network reads them to draw them as they are."""
        if self.outlines is not None:
            return self.outlines.plain(self.marks[indices]).to(device)
        if self.drive is None:
            return None
        return torch.from_numpy(self.drive.inputs(self.scores[indices])).to(device)

    def performed(self, indices: NDArray[np.int64], device: torch.device) -> Tensor | None:
        """(B, K) scores, or outlines, of the given target faces as the network reads them to swap."""
        if self.outlines is not None:
            return self.outlines.carried(self.marks[indices]).to(device)
        if self.drive is None:
            return None
        return torch.from_numpy(self.drive.performed(self.scores[indices])).to(device)


def load_side(
    name: str,
    faceset: Faceset,
    config: TrainConfig,
    cache: Path,
    build: bool,
    progress: Progress,
    footage: Mapping[str, float] | None = None,
) -> Side:
    """The selected faces of a faceset, through the cache folder, which is updated if `build`.

    `footage` is the `clarity` of the target's faceset; without it the side is degraded as the configuration says.
    Raises WorkError if there are no crops, or fewer than 8 faces.
    """
    rows = usable_rows(faceset)
    if build:
        crop_cache.update(faceset, rows, _cached_size(faceset, config), cache, name, progress, config)
    ids, pixels, marks = crop_cache.open_cache(cache, name)
    rows = rows.set_index("face_id").loc[list(ids)].reset_index()
    parts = split(rows["clip"].tolist(), rows["time"].to_numpy(float), config.held_out, config.guard)
    chances = chance(rows["cluster"].to_numpy()[parts.train], config.sampling)
    limits = matched(config, clarity(rows), footage or {}, faceset.settings.framing)
    if build:
        _log_side(name, len(rows), parts, limits, config)
    rest = rest_of(scores_of(faceset.table(list(COLUMNS), kept=True)))
    cumulative, front = np.cumsum(chances), light_from_front(rows)
    return Side(name, ids, rows, pixels, parts, cumulative, front, limits, scores_of(rows) - rest, rest, marks)


def _cached_size(faceset: Faceset, config: TrainConfig) -> int:
    """Side of the cached crops, pixels."""
    size = min(config.size * OVERSAMPLE, faceset.settings.crop_size)
    if size < config.size:
        log.warning(
            "%s: its crops have %d px and are enlarged to the network's %d px", faceset.folder, size, config.size
        )
        return config.size
    return size


def _log_side(name: str, faces: int, parts: Split, limits: Limits, config: TrainConfig) -> None:
    log.info(
        "%s: %d faces: %d for training, %d held out, with a gap of %.2g s between them",
        name, faces, len(parts.train), len(parts.held_out), parts.guard,
    )  # fmt: skip
    if limits != Limits(config.blur, config.compress):
        log.info(
            "%s: sharper than the target's footage, so inputs are blurred up to %.2g px and compressed up to %.2g",
            name, limits.blur * config.size, limits.compress,
        )  # fmt: skip


def light_from_front(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """(N,) whether the light is known and roughly frontal in the crop, which is the frame transformed by `matrix`."""
    x, y = (rows[name].to_numpy(np.float64, na_value=np.nan) for name in ("light_x", "light_y"))
    turn = np.stack(rows["matrix"].tolist())[:, :2].astype(np.float64)
    across = (turn[:, 0] * x - turn[:, 1] * y) / np.linalg.norm(turn, axis=1)
    return np.asarray(np.abs(across) < FRONTAL)


def usable_rows(faceset: Faceset) -> pd.DataFrame:
    """Selected rows that have a crop, in order of clip and time; raises WorkError if there are none."""
    names = ("face_id", "clip", "time", "crop", "matrix", "yaw", "pitch", "light_x", "light_y")
    rows = faceset.selected(list(dict.fromkeys([*names, *CLARITY, *COLUMNS])))
    rows["group"] = rows["group"].fillna("")
    folder = faceset.folder
    if rows.empty:
        raise WorkError(
            f"{folder} has no selected faces: select some with faceset select {quoted(folder)} --budget 500"
        )
    bare, again = (
        int(rows["crop"].isna().sum()),
        f"restore them from the footage with faceset prune {quoted(folder)} --restore",
    )
    if faceset.settings.crop_size and bare == len(rows):
        raise WorkError(f"{folder}: the selected faces have no crops: {again}")
    if faceset.settings.crop_size and bare:
        log.warning("%s: %d of %d selected faces have no crop and are left out: %s", folder, bare, len(rows), again)
    if faceset.settings.crop_size == 0:
        raise WorkError(
            f"{folder} was curated without crops: add them with faceset curate FOOTAGE --out {quoted(folder)} "
            "--crop-size 256"
        )
    rows = rows[rows["crop"].notna() & rows["matrix"].notna()]
    return rows.sort_values(["clip", "time", "face_id"], ignore_index=True)
