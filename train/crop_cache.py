"""Cache of decoded crops: each selected face's crop, mask and emphasis, at the size of training, as raw pixels.

CACHE/source.u8     (N, C, C, 5) uint8: RGB, mask, emphasis (see train/emphasis.py)
CACHE/source.json   digest of what the pixels were made from, C, the faces' ids in order
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
from curate.types import Progress
from curate.words import quoted
from train.config import TrainConfig
from train.emphasis import emphasis

log = logging.getLogger(__name__)

FORMAT = 2
CHANNELS = 5
MIN_FACES = 8
"""Faces that a side needs."""


def update(
    faceset: Faceset, rows: pd.DataFrame, size: int, cache: Path, name: str, progress: Progress, config: TrainConfig
) -> None:
    """Fill a side's cache unless it is current. Raises WorkError if the disk refuses, or for fewer than 8 faces."""
    digest, store, label = _digest(faceset, rows, size, config), *_paths(cache, name)
    if _is_current(store, label, digest):
        return
    try:
        _fill(_decode(faceset, rows, size, config), faceset, rows, size, store, label, digest, progress)
    except OSError as error:
        raise WorkError(
            f"{store} cannot be written ({error.strerror}): it needs {len(rows) * size**2 * CHANNELS / 1e6:.0f} MB"
        ) from None


def open_cache(cache: Path, name: str) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """Ids of a side's faces and their pixels (N, C, C, 5), RGB, mask and emphasis, as a memory map."""
    store, label = _paths(cache, name)
    meta = json.loads(label.read_text(encoding="utf-8"))
    ids, size = tuple(meta["ids"]), meta["size"]
    return ids, np.memmap(store, np.uint8, "r", shape=(len(ids), size, size, CHANNELS))


def files(cache: Path) -> list[Path]:
    """Existing files of a cache folder, both sides, with what a killed process left half-written."""
    names = [f"{side}.{kind}" for side in ("source", "target") for kind in ("u8", "json")]
    return [p for name in names for pattern in (name, f".{name}.*") for p in sorted(cache.glob(pattern))]


def _paths(cache: Path, name: str) -> tuple[Path, Path]:
    return cache / f"{name}.u8", cache / f"{name}.json"


def _digest(faceset: Faceset, rows: pd.DataFrame, size: int, config: TrainConfig) -> str:
    where, weights = str(faceset.folder.resolve()), [config.eyes_weight, config.mouth_weight]
    facts = [FORMAT, where, faceset.settings.digest(), size, rows["face_id"].tolist(), weights]
    ours = set(rows["face_id"])
    corrected = corrections.read(faceset.folder).values()
    facts += [[row["face_id"], row["handles"], row["outline"]] for row in corrected if row["face_id"] in ours]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _is_current(store: Path, label: Path, digest: str) -> bool:
    try:
        meta = json.loads(label.read_text(encoding="utf-8"))
        return bool(
            meta["digest"] == digest and store.stat().st_size == len(meta["ids"]) * meta["size"] ** 2 * CHANNELS
        )
    except (OSError, ValueError, KeyError):
        return False


def _fill(
    decoded: Iterable[tuple[str, NDArray[np.uint8] | None]],
    faceset: Faceset,
    rows: pd.DataFrame,
    size: int,
    store: Path,
    label: Path,
    digest: str,
    progress: Progress,
) -> None:
    ids: list[str] = []
    with atomic(store) as temporary, temporary.open("wb") as stream:
        for done, (face, pixels) in enumerate(decoded, 1):
            if pixels is not None:
                ids.append(face)
                stream.write(pixels.tobytes())
            progress(f"decode {label.stem}", done, len(rows))
    if len(ids) < MIN_FACES:
        raise WorkError(
            f"{faceset.folder} has {len(ids)} usable faces, but training needs at least {MIN_FACES}: "
            f"faceset select {quoted(faceset.folder)} --budget 500"
        )
    with atomic(label) as temporary:
        temporary.write_text(json.dumps({"digest": digest, "size": size, "ids": ids}), encoding="utf-8")


def _decode(
    faceset: Faceset, rows: pd.DataFrame, size: int, config: TrainConfig
) -> Iterator[tuple[str, NDArray[np.uint8] | None]]:
    """Face id and (size, size, 5) uint8 of each row; None, with a warning, if its crop is unusable."""
    landmarks, outlines = faceset.landmarks(rows["face_id"]), corrections.outlines(faceset.folder)

    def one(face: str, crop: str, matrix: NDArray[np.floating]) -> NDArray[np.uint8] | None:
        """The crop with its mask and emphasis as further channels, or None."""
        if face not in landmarks:
            log.warning("face %s has no landmarks and is left out", face)
            return None
        try:
            image = faceset.crop(crop)
        except WorkError as error:
            log.warning("face %s is left out: %s", face, error)
            return None
        to_crop = np.asarray(matrix).reshape(2, 3)
        points = align.transform(landmarks[face], to_crop)
        if face in outlines:
            inside = align.outline_mask(align.transform(outlines[face], to_crop), *image.shape[:2])
        else:
            inside = align.hull_mask(points, *image.shape[:2])
        mask = np.round(inside * 255).astype(np.uint8)
        how = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
        more = emphasis(points, image.shape[0], image.shape[1], config)
        return np.asarray(cv2.resize(np.dstack([image, mask, more]), (size, size), interpolation=how), np.uint8)

    with ThreadPoolExecutor(2) as pool:
        yield from zip(rows["face_id"], pool.map(one, rows["face_id"], rows["crop"], rows["matrix"]), strict=True)
