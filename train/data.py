"""Two facesets to pictures in memory order: decoded once, masked, split in time, drawn evenly over clusters.

Also what augmentation has to know of them: whose light allows mirroring, how far a side is degraded to be like the
target's footage.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from curate.dataset.faceset import Faceset
from curate.errors import WorkError
from curate.face import align
from curate.runtime.files import atomic
from curate.types import Framing, Progress
from train.augment import Limits
from train.config import RANGES, TrainConfig

log = logging.getLogger(__name__)

FORMAT = 1
FEWEST = 8
BLOCK = 5
"""Held-out faces of about one block of time."""
OVERSAMPLE = 2
"""The cache is kept at twice the network's size where the crops have it, so that turning a crop does not blur it."""
FRONTAL = 0.25
"""Sideways part of the unit vector to the light below which a face may be mirrored: its light is then at most 2 asin
.25 = 29 degrees off, no more than a single frame is misread by (see `curate.scores.lighting`)."""
CLARITY = ("Sharpness", "CompressionArtifacts")
"""Columns that tell how clear the footage is."""
SCORED = 256
"""Side of the full-framing crop on which they are read, pixels."""
BLOCKINESS = 0.7
"""CompressionArtifacts that JPEG adds per unit of strength: the median of five photos at qualities 70 to 20. They lie
between .2 and 1.2, higher where there is less fine detail."""
HARSHEST = 0.7
"""No side is compressed more than this to be like the footage: at the network's size a block is mostly a larger part of
the face than in the footage."""


@dataclass(frozen=True)
class Split:
    """Which faces are trained on, which are kept to measure on; the rest stands guard between them."""

    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    guard: float
    """Seconds that were kept between them."""


@dataclass(frozen=True)
class Side:
    """The faces of the source or of the target."""

    name: str
    ids: tuple[str, ...]
    rows: pd.DataFrame
    """The faces' rows, in order: face_id, clip, time, crop, matrix, cluster, group, yaw, pitch."""
    pixels: NDArray[np.uint8]
    """(N, C, C, 4) RGB and mask, a memory map."""
    split: Split
    cumulative: NDArray[np.float64]
    """(len(split.train),) running sum of the chances to be drawn, ends at 1."""
    may_flip: NDArray[np.bool_]
    """(N,) whose light comes from about the front."""
    limits: Limits
    """How far what the network reads of them is degraded."""

    def draw(self, random: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Indices of `count` random faces to train on."""
        places = np.searchsorted(self.cumulative, random.random(count), side="right")
        return self.split.train[np.minimum(places, len(self.split.train) - 1)]

    def crops(self, indices: NDArray[np.int64]) -> Tensor:
        """(B, 4, C, C) uint8 of the given faces."""
        return torch.from_numpy(self.pixels[indices]).permute(0, 3, 1, 2)

    def faces(self, indices: NDArray[np.int64], size: int) -> tuple[Tensor, Tensor]:
        """Crops (B, 3, size, size) and masks (B, 1, size, size) as they are, float32 in 0..1, shrunk by area."""
        images = F.interpolate(self.crops(indices).float() / 255, size=(size, size), mode="area")
        return images[:, :3], images[:, 3:]


def load_side(
    name: str,
    faceset: Faceset,
    config: TrainConfig,
    cache: Path,
    build: bool,
    progress: Progress,
    footage: Mapping[str, float] | None = None,
) -> Side:
    """The selected faces of a faceset through the cache folder, which is filled if `build` and it is out of date.

    `footage` is the `clarity` of the target's faceset; without it the side is degraded as the configuration says.
    Raises WorkError if there are no crops, or fewer than 8 faces.
    """
    rows = usable_rows(faceset)
    size = min(config.size * OVERSAMPLE, faceset.settings.crop_size)
    if size < config.size:
        log.warning("%s: its crops have %d px, the network %d: they are enlarged", faceset.folder, size, config.size)
        size = config.size
    digest = _digest(faceset, rows, size)
    store, label = cache / f"{name}.u8", cache / f"{name}.json"
    if build and not _is_current(store, label, digest):
        try:
            _fill(faceset, rows, size, store, label, digest, progress)
        except OSError as error:
            raise WorkError(
                f"{store}: cannot be written ({error.strerror}): it takes {_megabytes(rows, size)}"
            ) from None
    meta = json.loads(label.read_text(encoding="utf-8"))
    pixels = np.memmap(store, np.uint8, "r", shape=(len(meta["ids"]), size, size, 4))
    rows = rows.set_index("face_id").loc[meta["ids"]].reset_index()
    parts = split(rows["clip"].tolist(), rows["time"].to_numpy(float), config.held_out, config.guard)
    chances = chance(rows["cluster"].to_numpy()[parts.train], config.sampling)
    log.log(
        logging.INFO if build else logging.DEBUG,
        "%s: %d faces, %d trained on, %d held out, guard %.2g s",
        name, len(rows), len(parts.train), len(parts.held_out), parts.guard,
    )  # fmt: skip
    limits = matched(config, clarity(rows), footage or {}, faceset.settings.framing)
    if build and limits != Limits(config.blur, config.compress):
        log.info(
            "%s: clearer than the target's footage, so read with blur to %.2g px and compression to %.2g",
            name, limits.blur * config.size, limits.compress,
        )  # fmt: skip
    return Side(name, tuple(meta["ids"]), rows, pixels, parts, np.cumsum(chances), light_from_front(rows), limits)


def clarity(rows: pd.DataFrame) -> dict[str, float]:
    """Medians of the columns in `CLARITY`; NaN where no row has a value."""
    return {name: float(rows[name].astype(np.float64).median()) for name in CLARITY}


def matched(
    config: TrainConfig, own: Mapping[str, float], footage: Mapping[str, float], framing: Framing = "full"
) -> Limits:
    """How far a side is degraded so that its degraded faces are about as clear as the target's footage.

    `own` and `footage` are their `clarity`. Where the amplitude falls as one over the frequency, as in most pictures,
    the gradients behind a Gaussian of width w have energy 1 / w^2, so that Sharpness (widths 1 and 3 px) of a picture
    blurred by s is log(8 / (1 + s^2)): the difference of two s^2 is the blur between them (in five photos at most
    35 % off from 1 px on). Blur and compression are drawn evenly from 0 to their limits: these are raised so that the
    mean squared blur, and the mean strength, rise by the difference. A limit of 0 stays, as does one where the footage
    is clearer or a median is not known.
    """
    sharp, blocky = (own.get(name, np.nan) for name in CLARITY)
    soft, coarse = (footage.get(name, np.nan) for name in CLARITY)
    squared = 8 * max(float(np.nan_to_num(np.exp(-soft) - np.exp(-sharp))), 0.0)
    share = np.sqrt(squared) / SCORED * align.FRAMES["full"][0] / align.FRAMES[framing][0]
    harsher = max(float(np.nan_to_num(coarse - blocky)), 0.0) / BLOCKINESS
    blur, strength = float(np.hypot(config.blur, np.sqrt(3) * share)), config.compress + 2 * harsher
    return Limits(
        blur=max(config.blur, min(blur, RANGES["blur"][1])) if config.blur else 0.0,
        compress=max(config.compress, min(strength, HARSHEST)) if config.compress else 0.0,
    )


def light_from_front(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """(N,) whose light is known and comes from about the front in the crop, which is the frame turned by `matrix`."""
    x, y = (rows[name].to_numpy(np.float64, na_value=np.nan) for name in ("light_x", "light_y"))
    turn = np.stack(rows["matrix"].tolist())[:, :2].astype(np.float64)
    across = (turn[:, 0] * x - turn[:, 1] * y) / np.linalg.norm(turn, axis=1)
    return np.asarray(np.abs(across) < FRONTAL)


def split(clips: Sequence[str], times: NDArray[np.floating], share: float, guard: float) -> Split:
    """Hold out blocks of faces that follow each other in time, with a gap to what is trained on.

    Face i was seen in clips[i] at times[i] seconds; the faces stand in order of clip and time. About share * N of them,
    in blocks of about 5 spread evenly, are held out. Faces of the same clip nearer than `guard` seconds to one of them
    are in neither part: neighbouring frames are almost the same picture. Where that would leave less than half of the
    faces to train on, the guard is halved until it does not.
    """
    count = len(times)
    held = max(1, round(share * count))
    blocks = max(1, round(held / BLOCK))
    taken = np.zeros(count, bool)
    for block in range(blocks):
        size = held * (block + 1) // blocks - held * block // blocks
        first = round((block + 0.5) * count / blocks - size / 2)
        taken[first : first + size] = True
    names = np.asarray(clips)
    near = _distance(names, np.asarray(times, float), taken)
    while ((near > guard) & ~taken).sum() * 2 < count and guard > 0:
        guard = guard / 2 if guard > 1e-3 else 0.0
    train = ~taken & (near > guard) if guard else ~taken
    return Split(np.flatnonzero(train), np.flatnonzero(taken), guard)


def chance(clusters: NDArray[np.generic], sampling: str) -> NDArray[np.float64]:
    """(N,) how likely each face is drawn, sum 1: every cluster, or with "uniform" every face, equally often."""
    if sampling == "uniform":
        return np.full(len(clusters), 1 / len(clusters))
    _, inverse, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    return np.asarray(1 / (sizes[inverse] * len(sizes)), np.float64)


def _distance(clips: NDArray[np.str_], times: NDArray[np.float64], taken: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) seconds to the nearest taken face of the same clip; infinite where the clip has none."""
    near = np.full(len(times), np.inf)
    for clip in np.unique(clips[taken]):
        own = clips == clip
        marks = np.sort(times[own & taken])
        after = np.searchsorted(marks, times[own]).clip(0, len(marks) - 1)
        before = (after - 1).clip(0)
        near[own] = np.minimum(np.abs(times[own] - marks[after]), np.abs(times[own] - marks[before]))
    return near


def usable_rows(faceset: Faceset) -> pd.DataFrame:
    """The selected rows that have a crop, in order of clip and time; raises WorkError if there are none."""
    names = ("face_id", "clip", "time", "crop", "matrix", "yaw", "pitch", "light_x", "light_y")
    rows = faceset.selected([*names, *CLARITY])
    rows["group"] = rows["group"].fillna("")
    folder = faceset.folder
    if rows.empty:
        raise WorkError(f"{folder} has no selected faces: faceset select {folder} --budget 500 chooses some")
    bare, again = int(rows["crop"].isna().sum()), f"faceset prune {folder} --restore makes them from the footage"
    if faceset.settings.crop_size and bare == len(rows):
        raise WorkError(f"{folder}: no selected face has its crop: {again}")
    if faceset.settings.crop_size and bare:
        log.warning("%s: %d of %d selected faces have no crop and are left out: %s", folder, bare, len(rows), again)
    if faceset.settings.crop_size == 0:
        raise WorkError(f"{folder} was curated without crops: faceset curate FOOTAGE --out {folder} --crop-size 256")
    rows = rows[rows["crop"].notna() & rows["matrix"].notna()]
    return rows.sort_values(["clip", "time", "face_id"], ignore_index=True)


def _digest(faceset: Faceset, rows: pd.DataFrame, size: int) -> str:
    facts = [FORMAT, str(faceset.folder.resolve()), faceset.settings.digest(), size, rows["face_id"].tolist()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _is_current(store: Path, label: Path, digest: str) -> bool:
    try:
        meta = json.loads(label.read_text(encoding="utf-8"))
        return bool(meta["digest"] == digest and store.stat().st_size == len(meta["ids"]) * meta["size"] ** 2 * 4)
    except (OSError, ValueError, KeyError):
        return False


def _fill(
    faceset: Faceset, rows: pd.DataFrame, size: int, store: Path, label: Path, digest: str, progress: Progress
) -> None:
    ids: list[str] = []
    with atomic(store) as temporary, temporary.open("wb") as stream:
        for done, (face, pixels) in enumerate(_decode(faceset, rows, size), 1):
            if pixels is not None:
                ids.append(face)
                stream.write(pixels.tobytes())
            progress(f"decode {label.stem}", done, len(rows))
    if len(ids) < FEWEST:
        raise WorkError(
            f"{faceset.folder} gives {len(ids)} faces to train on, at least {FEWEST} are needed: "
            f"faceset select {faceset.folder} --budget 500"
        )
    with atomic(label) as temporary:
        temporary.write_text(json.dumps({"digest": digest, "size": size, "ids": ids}), encoding="utf-8")


def _megabytes(rows: pd.DataFrame, size: int) -> str:
    return f"{len(rows) * size**2 * 4 / 1e6:.0f} MB"


def _decode(faceset: Faceset, rows: pd.DataFrame, size: int) -> Iterator[tuple[str, NDArray[np.uint8] | None]]:
    """Face id and (size, size, 4) uint8 of each row; None, and a line in the log, where a crop cannot be used."""
    landmarks = faceset.landmarks(rows["face_id"])

    def one(face: str, crop: str, matrix: NDArray[np.floating]) -> NDArray[np.uint8] | None:
        """The crop with its mask as fourth channel, or None."""
        if face not in landmarks:
            log.warning("face %s: no landmarks, left out", face)
            return None
        try:
            image = faceset.crop(crop)
        except WorkError as error:
            log.warning("face %s left out: %s", face, error)
            return None
        points = align.transform(landmarks[face], np.asarray(matrix).reshape(2, 3))
        mask = np.round(align.hull_mask(points, *image.shape[:2]) * 255).astype(np.uint8)
        how = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(np.dstack([image, mask]), (size, size), interpolation=how), np.uint8)

    with ThreadPoolExecutor(2) as pool:
        yield from zip(rows["face_id"], pool.map(one, rows["face_id"], rows["crop"], rows["matrix"]), strict=True)
