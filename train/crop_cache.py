"""Cache of decoded crops, at the size of training, as raw pixels: each selected face's crop and what belongs to it.

CACHE/source.u8     (N, C, C, 5 or more) uint8: RGB, mask, emphasis (train/emphasis.py), outlines (train/outlines.py)
CACHE/source.f32    (N, P, 3) float32 landmarks in units of the crop's side
CACHE/source.json   digest of what the pixels were made from, C, P, the faces' ids in order
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset import corrections
from curate.dataset.faceset import Faceset
from curate.errors import WorkError
from curate.face import align
from curate.runtime.files import atomic
from curate.safe_io import DAMAGED
from curate.types import Floats, Progress
from curate.words import quoted
from train.config import TrainConfig
from train.emphasis import emphasis
from train.outlines import MAPS, draw

log = logging.getLogger(__name__)

FORMAT = 3
CHANNELS = 5
"""RGB, mask and emphasis."""
Decoded = tuple[NDArray[np.uint8], Floats]
"""Pixels (size, size, channels) and landmarks (P, 3) of a face."""
MIN_FACES = 8
"""Faces that a side needs."""


def update(
    faceset: Faceset, rows: pd.DataFrame, size: int, cache: Path, name: str, progress: Progress, config: TrainConfig
) -> None:
    """Fill a side's cache unless it is current. Raises WorkError if the disk refuses, or for fewer than 8 faces."""
    digest, (store, label) = _digest(faceset, rows, size, config), _paths(cache, name)
    if _is_current(store, label, digest):
        return
    try:
        _fill(
            _decode(faceset, rows, size, config), faceset, rows, (size, size, channels(config)), store, digest, progress
        )
    except OSError as error:
        needed = len(rows) * size**2 * channels(config) / 1e6
        raise WorkError(f"{store} cannot be written ({error.strerror}): it needs {needed:.0f} MB") from None


def check_count(faceset: Faceset, faces: int) -> None:
    """Raise WorkError for fewer than MIN_FACES faces of a faceset."""
    if faces < MIN_FACES:
        raise WorkError(
            f"{faceset.folder} has {faces} usable faces, but training needs at least {MIN_FACES}: "
            f"faceset select {quoted(faceset.folder)} --budget 500"
        )


def channels(config: TrainConfig) -> int:
    """Channels of the cached pixels."""
    return CHANNELS + (len(MAPS) if config.drive == "outlines" else 0)


def open_cache(cache: Path, name: str) -> tuple[tuple[str, ...], NDArray[np.uint8], Floats]:
    """Ids of a side's faces, their pixels (N, C, C, 5 or more) as a memory map, and their landmarks (N, P, 3)."""
    store, label = _paths(cache, name)
    meta = json.loads(label.read_text(encoding="utf-8"))
    ids, size = tuple(meta["ids"]), meta["size"]
    pixels = np.memmap(store, np.uint8, "r", shape=(len(ids), size, size, meta["channels"]))
    marks = np.fromfile(store.with_suffix(".f32"), np.float32).reshape(len(ids), meta["points"], 3)
    return ids, pixels, marks


def files(cache: Path) -> list[Path]:
    """Existing files of a cache folder, both sides or all people, with what a killed process left half-written."""
    sides = ("source", "target", "people-[0-9]*")
    names = ["pool.u8", *(f"{side}.{kind}" for kind in ("u8", "f32", "json") for side in sides)]
    return [p for name in names for pattern in (name, f".{name}.*") for p in sorted(cache.glob(pattern))]


def own_files(cache: Path) -> list[Path]:
    """The same without labels that are another's files; the labels last."""
    return [path for path in files(cache) if path.suffix != ".json" or _is_label(path)]


def is_cache(folder: Path) -> bool:
    """Whether a folder's files are decoded faces, and not another's that bear these names."""
    return any(path.suffix == ".json" and _is_label(path) for path in files(folder))


def _is_label(path: Path) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except DAMAGED:
        return False
    return isinstance(found, dict) and {"digest", "ids"} <= set(found)


def _paths(cache: Path, name: str) -> tuple[Path, Path]:
    return cache / f"{name}.u8", cache / f"{name}.json"


def _digest(faceset: Faceset, rows: pd.DataFrame, size: int, config: TrainConfig) -> str:
    where, weights = str(faceset.folder.resolve()), [config.eyes_weight, config.mouth_weight]
    facts = [FORMAT, where, faceset.settings.digest(), size, rows["face_id"].tolist(), weights, channels(config)]
    ours = set(rows["face_id"])
    corrected = corrections.read(faceset.folder).values()
    facts += [[row["face_id"], row["handles"], row["outline"]] for row in corrected if row["face_id"] in ours]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _is_current(store: Path, label: Path, digest: str) -> bool:
    try:
        meta = json.loads(label.read_text(encoding="utf-8"))
        whole = len(meta["ids"]) * meta["size"] ** 2 * meta["channels"]
        marks = len(meta["ids"]) * meta["points"] * 12
        sizes = (store.stat().st_size, store.with_suffix(".f32").stat().st_size)
        return bool(meta["digest"] == digest and sizes == (whole, marks))
    except DAMAGED:
        return False


def _fill(
    decoded: Iterable[tuple[str, Decoded | None]],
    faceset: Faceset,
    rows: pd.DataFrame,
    shape: tuple[int, int, int],
    store: Path,
    digest: str,
    progress: Progress,
) -> None:
    ids: list[str] = []
    marks: list[Floats] = []
    with atomic(store) as temporary, temporary.open("wb") as stream:
        for done, (face, found) in enumerate(decoded, 1):
            if found is not None:
                ids.append(face)
                marks.append(found[1])
                stream.write(found[0].tobytes())
            progress(f"decode {store.stem}", done, len(rows))
    check_count(faceset, len(ids))
    with atomic(store.with_suffix(".f32")) as temporary:
        np.stack(marks).tofile(temporary)
    facts = {"digest": digest, "size": shape[0], "channels": shape[2], "points": len(marks[0]), "ids": ids}
    with atomic(store.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(facts), encoding="utf-8")


def _decode(
    faceset: Faceset, rows: pd.DataFrame, size: int, config: TrainConfig
) -> Iterator[tuple[str, Decoded | None]]:
    """Face id, pixels and landmarks of each row; None, with a warning, if its crop is unusable."""
    landmarks, corrected = faceset.landmarks(rows["face_id"]), corrections.outlines(faceset.folder)

    def one(face: str, crop: str, matrix: NDArray[np.floating]) -> Decoded | None:
        """The crop with its mask, emphasis and outlines as further channels, and its landmarks; or None."""
        if face not in landmarks:
            log.warning("face %s has no landmarks and is left out", face)
            return None
        try:
            image = faceset.crop(crop)
        except WorkError as error:
            log.warning("face %s is left out: %s", face, error)
            return None
        to_crop = np.asarray(matrix).reshape(2, 3)
        marks = align.in_crop(landmarks[face], to_crop, image.shape[0])
        points = marks[:, :2] * image.shape[0] - 0.5
        if face in corrected:
            inside = align.outline_mask(align.transform(corrected[face], to_crop), *image.shape[:2])
        else:
            inside = align.hull_mask(points, *image.shape[:2])
        layers = [image, np.round(inside * 255).astype(np.uint8)]
        layers.append(emphasis(points, image.shape[0], image.shape[1], config))
        how = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
        pixels = [cv2.resize(layer, (size, size), interpolation=how) for layer in layers]
        pixels += [draw(marks, size)] if config.drive == "outlines" else []
        return np.dstack(pixels).astype(np.uint8, copy=False), marks

    with ThreadPoolExecutor(2) as pool:
        yield from zip(rows["face_id"], pool.map(one, rows["face_id"], rows["crop"], rows["matrix"]), strict=True)
