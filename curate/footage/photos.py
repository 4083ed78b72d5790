"""Photos: a folder of them is a clip, each photo a frame and a shot of its own, its timestamp its index."""

from __future__ import annotations

import functools
import importlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import FootageError
from curate.footage.depth import widen
from curate.footage.paths import HEIF_SUFFIXES, PILLOW_SUFFIXES, photos
from curate.footage.reader import Account
from curate.footage.source import Stamp, footage_sha256, stamp
from curate.safe_io import DAMAGED, MOST_PIXELS, one_line
from curate.types import Clip, Failure, Frame, Image, Segment

log = logging.getLogger(__name__)

EXTRA = "pip install 'faceset[heif]'"
NO_PICTURE = "it is no picture that can be decoded"
PER_SEGMENT = 200
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8", 0xDA, b"\xff\xd9"


@dataclass(frozen=True)
class Survey:
    """What a clip of photos contains."""

    sizes: tuple[tuple[int, int], ...]
    """Height and width of every readable photo."""
    failures: tuple[Failure, ...]


def files_of(path: Path) -> list[Path]:
    """The photos of a clip: of a folder, or the one."""
    return photos(path) if path.is_dir() else [path]


def probe(path: Path, name: str | None) -> Clip:
    """A clip of photos. Raises FootageError if none can be read."""
    found = survey(path)
    if not found.sizes:
        missing = next((f.reason for f in found.failures if EXTRA in f.reason), "")
        raise FootageError(missing or f"{path}: it contains no readable photo")
    height, width = (max(side) for side in zip(*found.sizes, strict=True))
    count = len(files_of(path))
    return Clip(
        name or path.stem, str(path.resolve()), footage_sha256(path), "photos", width, height, count, 0.0, 0.0,
        size=stamp(path).size, announced=count,
    )  # fmt: skip


def survey(path: Path) -> Survey:
    """Sizes of a clip's photos, and those that cannot be read, with the reason; every photo is decoded once."""
    return _survey(path, stamp(path))


@functools.lru_cache(64)
def _survey(path: Path, _at: Stamp) -> Survey:
    sizes, failures = [], []
    for file in files_of(path):
        try:
            sizes.append(read(file).shape[:2])
        except FootageError as error:
            failures.append(Failure(str(file), str(error)))
    return Survey(tuple((h, w) for h, w in sizes), tuple(failures))


def read(path: Path) -> Image:
    """(H, W, 3) uint8 RGB of a photo, upright by its EXIF orientation. Raises FootageError."""
    try:
        data = path.read_bytes()
        if not data:
            raise ValueError("it is empty")
        suffix = path.suffix.lower()
        if suffix in HEIF_SUFFIXES | PILLOW_SUFFIXES:
            return _by_pillow(path, data, suffix in HEIF_SUFFIXES)
        if data[:2] == JPEG_START and JPEG_END not in data[_scan(data) :]:
            raise ValueError("it is cut short")
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(NO_PICTURE)
    except DAMAGED as error:
        raise FootageError(f"{path}: cannot be read as a photo ({one_line(error)})") from None
    return np.ascontiguousarray(image[:, :, ::-1]).astype(np.uint8, copy=False)


def _scan(data: bytes) -> int:
    """Where the first scan of a JPEG begins: thumbnails with end marks of their own lie in segments before it."""
    place = len(JPEG_START)
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != JPEG_SCAN:
        fill = data[place + 1] == 0xFF
        place += 1 if fill else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return min(place, len(data))


def _by_pillow(path: Path, data: bytes, heif: bool) -> Image:
    from PIL import Image as Pictures
    from PIL import ImageOps, UnidentifiedImageError

    if heif:
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            raise FootageError(f"{path}: HEIC photos need pillow-heif; run {EXTRA}") from None
    try:
        with Pictures.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError("it is too large")
            return np.array(ImageOps.exif_transpose(picture).convert("RGB"), np.uint8)
    except UnidentifiedImageError:
        raise ValueError(NO_PICTURE) from None
    except (SyntaxError, Pictures.DecompressionBombError) as error:
        raise ValueError(one_line(error)) from None


def segments(clip: Clip) -> list[Segment]:
    """Segments of a clip of photos."""
    starts = range(0, clip.frames, PER_SEGMENT)
    ends = [min(s + PER_SEGMENT, clip.frames) for s in starts]
    return [
        Segment(clip.name, i, s, e, s, tuple(range(s, e))) for i, (s, e) in enumerate(zip(starts, ends, strict=True))
    ]


def decode(clip: Clip, segment: Segment | None, depth: int, account: Account) -> Iterator[Frame]:
    """The readable photos of a segment, or of the whole clip."""
    files, seen = files_of(Path(clip.path)), set[int]()
    for index in segment.pts if segment else range(len(files)):
        try:
            image = read(files[index])
        except FootageError as error:
            log.warning("%s", error)
            continue
        seen.add(index)
        account.decoded += 1
        yield _frame(index, image, depth)
    if segment is not None:
        account.close(segment, seen, Fraction(1))


def _frame(index: int, image: Image, depth: int) -> Frame:
    def luma() -> NDArray[np.uint8]:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)

    deep = (lambda: widen(image)) if depth == 16 else None
    return Frame(index, index, Fraction(index), lambda: image, luma, deep)
