"""Faces of a faceset as small pictures for a page, each of them once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from curate.dataset.faceset import Faceset
from curate.errors import WorkError
from curate.types import Image
from reports.page.pictures import data_uri, jpeg

SIDE = 112
QUALITY = 76


def read_crop(faceset: Faceset, path: str) -> Image | None:
    """The crop, or None where the file is gone: a page about a faceset without its crops has fewer pictures."""
    try:
        return faceset.crop(path)
    except WorkError:
        return None


def tile(image: Image, size: int) -> Image:
    """(size, size, 3) of a crop."""
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


@dataclass
class Album:
    """The pictures of one page."""

    faceset: Faceset
    prefix: str = "face"
    """Begins the keys; one for each faceset of a page."""
    pictures: dict[str, str] = field(default_factory=dict)
    """Key to data URI, in order of first use."""
    _keys: dict[str, str | None] = field(default_factory=dict)

    def key(self, crop: object) -> str | None:
        """Key of the picture of a crop's path; None for no path, or where the file cannot be read."""
        if not isinstance(crop, str) or not crop:
            return None
        if crop not in self._keys:
            image = read_crop(self.faceset, crop)
            self._keys[crop] = None if image is None else f"{self.prefix}-{len(self.pictures)}"
            if image is not None:
                self.pictures[f"{self.prefix}-{len(self.pictures)}"] = data_uri(
                    jpeg(tile(image, SIDE), quality=QUALITY)
                )
        return self._keys[crop]

    def uris(self, crops: Iterable[object]) -> tuple[str, ...]:
        """Data URIs of crops; one that cannot be read is left out."""
        found = (read_crop(self.faceset, crop) for crop in crops if isinstance(crop, str))
        return tuple(data_uri(jpeg(tile(image, SIDE), quality=QUALITY)) for image in found if image is not None)
