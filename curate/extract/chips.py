"""Chips of a track: the pictures of its face from which identity is read, spread over the track.

The best face of every few frames is held until it is known which frames are blended. Of the others the best of a window
is a candidate. A few of them are read; where two neighbours disagree, all candidates between them are, so that the
place where a track changes from one person to another is known to a few frames.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from curate.face.backends import Identifier
from curate.scores.identity import SAME_PERSON
from curate.types import Floats, Image

HELD = 3
"""Frames of which the best face is held."""
WINDOW = 10
"""Frames of which the best face that is held is a candidate."""
GROUP = 5
"""Candidates of which the best is read."""
LEAST = 3
"""Candidates that are read at least, if there are so many."""


@dataclass(frozen=True)
class _Held:
    score: float
    row: int
    frame: int
    png: bytes

    def chip(self) -> Image:
        read = cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_COLOR)
        return np.ascontiguousarray(np.asarray(read, np.uint8)[:, :, ::-1])


@dataclass
class Chips:
    """Faces of one track that are held, by their place in the track."""

    best: dict[int, _Held] = field(default_factory=dict)

    def wants(self, score: float, frame: int) -> bool:
        """Whether a face of this score would be held."""
        held = self.best.get(frame // HELD)
        return held is None or score > held.score

    def add(self, score: float, frame: int, row: int, chip: Image) -> None:
        """Hold a face in place of the one near it; `row` is its number in the part."""
        _, data = cv2.imencode(".png", np.ascontiguousarray(chip[:, :, ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        self.best[frame // HELD] = _Held(score, row, frame, data.tobytes())

    def read(self, identifier: Identifier, blended: Collection[int]) -> dict[int, Floats]:
        """Identity vectors by row. Faces in `blended` frames are read only where a track has no others."""
        found: dict[int, Floats] = {}
        for span in self._spans(blended):
            first = _some(span)
            for candidate in first:
                found[candidate.row] = identifier.identify(candidate.chip())
            for a, b in itertools.pairwise(first):
                if float(np.linalg.norm(found[a.row] - found[b.row])) > SAME_PERSON:
                    between = [c for c in span if a.frame < c.frame < b.frame]
                    found |= {c.row: identifier.identify(c.chip()) for c in between}
        return found

    def chip(self, row: int) -> Image:
        """The picture of a row that `read` has given. Raises KeyError for one that is not held."""
        return {held.row: held for held in self.best.values()}[row].chip()

    def _spans(self, blended: Collection[int]) -> Iterator[list[_Held]]:
        """Candidates of each run without a blended frame in it."""
        ordered = [self.best[place] for place in sorted(self.best)]
        marks = sorted(blended)
        clear = [c for c in ordered if c.frame not in blended] or ordered
        for _, span in itertools.groupby(clear, lambda c: sum(mark < c.frame for mark in marks)):
            windows = itertools.groupby(span, lambda c: c.frame // WINDOW)
            yield [max(window, key=lambda c: c.score) for _, window in windows]


def _some(span: list[_Held]) -> list[_Held]:
    """The best of each group, in order."""
    groups = min(len(span), max(LEAST, math.ceil(len(span) / GROUP)))
    parts = np.array_split(np.arange(len(span)), groups)
    return [max((span[i] for i in part), key=lambda c: c.score) for part in parts]
