"""Small JPEG pictures for pages, and the worst frames that are kept while a video runs by."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from curate.types import Image

HEIGHT = 240
LEAST = 200
"""So many pictures of one kind may be held before neighbours are thinned out."""


@dataclass(frozen=True)
class Picture:
    """The face in one frame, as JPEG."""

    frame: int
    output: bytes
    reference: bytes | None

    @classmethod
    def of(cls, frame: int, output: Image, reference: Image | None) -> Picture:
        """The picture of a frame's face (H, W, 3) uint8 RGB, and of its reference, at most HEIGHT pixels high."""
        return cls(frame, jpeg(output, HEIGHT), None if reference is None else jpeg(reference, HEIGHT))


def jpeg(image: Image, height: int | None = None, quality: int = 85) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG, shrunk to at most `height` pixels."""
    if height is not None and image.shape[0] > height:
        width = max(round(image.shape[1] * height / image.shape[0]), 1)
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be written as JPEG")
    return data.tobytes()


def data_uri(picture: bytes) -> str:
    """A JPEG as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode("ascii")


def difference(one: bytes, other: bytes, gain: float = 4.0) -> bytes:
    """Absolute difference of two JPEGs of the same size, amplified, as JPEG; ValueError if their sizes differ."""
    a, b = (cv2.imdecode(np.frombuffer(p, np.uint8), cv2.IMREAD_COLOR) for p in (one, other))
    if a is None or b is None or a.shape != b.shape:
        raise ValueError("the two pictures cannot be compared")
    apart = cv2.convertScaleAbs(cv2.absdiff(a, b), alpha=gain)
    return jpeg(np.asarray(apart[:, :, ::-1], np.uint8), quality=75)


@dataclass
class Gallery:
    """Keeps the worst frame of every stretch of frames, per kind; stretches double when there are too many."""

    _stretch: dict[str, int] = field(default_factory=dict)
    _held: dict[str, dict[int, tuple[float, Picture]]] = field(default_factory=dict)

    def wants(self, kind: str, frame: int, value: float) -> bool:
        """Whether a frame would be kept if it were offered."""
        held = self._held.get(kind, {}).get(frame // self._stretch.get(kind, 8))
        return held is None or value > held[0]

    def offer(self, kind: str, value: float, picture: Picture) -> None:
        """Keep this picture if its frame is the worst of its stretch so far."""
        if not self.wants(kind, picture.frame, value):
            return
        held = self._held.setdefault(kind, {})
        held[picture.frame // self._stretch.setdefault(kind, 8)] = (value, picture)
        while len(self._held[kind]) > LEAST:
            self._thin(kind)

    def rows(self) -> Iterator[tuple[str, int, float, int, bytes, bytes | None]]:
        """Kind, stretch, value, frame and the JPEGs of all that is held, in a fixed order."""
        for kind in sorted(self._held):
            for _, (value, picture) in sorted(self._held[kind].items()):
                yield kind, self._stretch[kind], value, picture.frame, picture.output, picture.reference

    def put(self, kind: str, stretch: int, value: float, picture: Picture) -> None:
        """Take a row of another gallery in; the result is the one that a single gallery would hold."""
        held = self._held.setdefault(kind, {})
        self._stretch.setdefault(kind, 8)
        while self._stretch[kind] < stretch:
            self._thin(kind)
            held = self._held[kind]
        slot = picture.frame // self._stretch[kind]
        if slot not in held or held[slot][0] < value:
            held[slot] = (value, picture)
        while len(self._held[kind]) > LEAST:
            self._thin(kind)

    def _thin(self, kind: str) -> None:
        self._stretch[kind] *= 2
        merged: dict[int, tuple[float, Picture]] = {}
        for value, picture in self._held[kind].values():
            slot = picture.frame // self._stretch[kind]
            if slot not in merged or merged[slot][0] < value:
                merged[slot] = (value, picture)
        self._held[kind] = merged

    def worst(self, kind: str, first: int, last: int) -> Picture | None:
        """The worst picture of a kind between two frames (both included)."""
        inside = [h for h in self._held.get(kind, {}).values() if first <= h[1].frame <= last]
        return max(inside, key=lambda h: h[0])[1] if inside else None

    def nearest(self, frame: int) -> Picture | None:
        """Of the pictures that are held for no kind of its own ("any") the one nearest to a frame."""
        held = [h[1] for h in self._held.get("any", {}).values()]
        return min(held, key=lambda p: abs(p.frame - frame), default=None)
