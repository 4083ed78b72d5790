"""Degraded tracks compared like with like: people's sharp chips are made as soft as the track's, or as hidden.

The vector of a small or blurred face, or of one whose lower half is hidden, is far from its person's other vectors
because of the picture, not because of the person. Only people who are not the subject by their vectors but may be are
compared again, so that footage of one person costs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.extract.parts import chips
from curate.extract.tracks import Tracks
from curate.face.backends import IDENTIFIERS, Identifier, make
from curate.types import Floats, Image

LIKE = 0.84
"""Distance from the subject, compared like with like and relative to the limit of one person, below which a person is
the subject. Chosen on the first cast of benchmarks/people.py."""
STANDS_OUT = 0.2
"""How much nearer the subject must be than everybody else, relative to that limit."""
WORTH = 1.4
"""Distance as it was read, relative to that limit, up to which a person is compared again."""
MOST = 100
"""People who are compared again, at most; the nearest ones."""
RIVALS = 8
"""People who are compared besides the subject: those that are nearest as they were read."""
CHIPS = 3
"""Chips of a person that are compared."""
SOFT = 1.0
"""Blur (standard deviation in pixels of a chip of 150) that the subject's chips need for a softer track, at least."""
LEVELS = (0.0, SOFT, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)
"""Blurs that are tried."""
SIDE = 150
"""Width of the chips for which these are meant."""
SCALES = (1.0, 2.0, 4.0, 8.0)
"""Blurs between which a chip's detail is measured; the last ones are the measure of the others."""
FLOOR = 0.1
"""Share of detail below which it is noise."""
FACE = (slice(30, 125), slice(35, 115))
"""Rows and columns of the face in a chip of 150."""
HIDDEN = 88
"""Row of a chip of 150 from which on the lower face is hidden: below the tip of the nose."""
MEASURED = ("dlib",)
"""Identity models for which these limits were measured; tracks of others are not compared."""


def detail(chip: Image) -> NDArray[np.float64]:
    """(3,) log share of the detail of three scales, fine to coarse, in a face's chip (S, S, 3)."""
    grey = cv2.cvtColor(cv2.resize(chip, (SIDE, SIDE)), cv2.COLOR_RGB2GRAY).astype(np.float32)
    levels = [grey, *(cv2.GaussianBlur(grey, (0, 0), scale) for scale in SCALES)]
    sizes = np.array([float((a - b)[FACE].std()) for a, b in itertools.pairwise(levels)])
    return np.asarray(np.log(sizes[:-1] / max(sizes[-1], 1e-3) + FLOOR), np.float64)


def blurred(chip: Image, level: float) -> Image:
    """The chip (S, S, 3) blurred by `level`, pixels of a chip of 150."""
    return cast(Image, cv2.GaussianBlur(chip, (0, 0), level * len(chip) / SIDE)) if level else chip


def ladder(chip: Image) -> NDArray[np.float64]:
    """(L, 3) detail of a chip blurred by each of LEVELS."""
    return np.stack([detail(blurred(chip, level)) for level in LEVELS])


def softness(steps: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """Blur, one of LEVELS, by which a chip with this `ladder` (L, 3) comes nearest to the detail `wanted` (3,)."""
    return LEVELS[int(np.square(steps - wanted).sum(axis=1).argmin())]


def upper(chip: Image) -> Image:
    """The chip (S, S, 3) with its lower face grey."""
    share = np.zeros((*chip.shape[:2], 1), np.float32)
    share[round(HIDDEN * len(chip) / SIDE) :] = 1
    share = cv2.GaussianBlur(share, (0, 0), 3.0 * len(chip) / SIDE)[..., None]
    return (chip * (1 - share) + 128 * share).astype(np.uint8)


@dataclass(eq=False)
class Degraded:
    """People of a faceset, compared as badly as they are seen."""

    found: Tracks
    people: Sequence[Sequence[int]]
    """Tracks of each person."""
    centres: NDArray[np.float64]
    """(P, 128) mean identity of each person."""
    identifier: str
    same: float
    """Limit of one person."""
    _network: Identifier | None = None
    _chips: dict[int, list[Image]] = field(default_factory=dict)
    _vectors: dict[tuple[int, int, float, bool], Floats] = field(default_factory=dict)
    _ladders: dict[tuple[int, int], NDArray[np.float64]] = field(default_factory=dict)

    def joined(self, subject: Iterable[int]) -> list[int]:
        """The people who are the `subject`, people as well, seen softly or half hidden: near, and nobody else is."""
        ours = sorted(subject)
        if self.identifier not in MEASURED or not ours:
            return []
        apart = np.stack([np.linalg.norm(self.centres - self.centres[own], axis=1) for own in ours]).min(axis=0)
        order = [int(other) for other in np.argsort(apart, kind="stable") if apart[other] < WORTH * self.same]
        others = [other for other in order if other not in ours]
        return [other for other in others[:MOST] if self._is(other, ours)]

    def _is(self, other: int, ours: list[int]) -> bool:
        """Whether a person is one of `ours`: near, made as soft as it or else with the lower face hidden, and no rival.

        Not both at once: soft upper halves of strangers are alike.
        """
        mine, seen = set(self.people[other]), {track for own in ours for track in self.people[own]}
        together = any((a in mine and b in seen) or (b in mine and a in seen) for a, b in self.found.together)
        if together or not self._read(other):
            return False
        wanted = np.mean([detail(chip) for chip in self._read(other)], axis=0)
        levels = [self._softness(one, i, wanted) for one in ours for i in range(len(self._read(one)))]
        if not levels:
            return False
        hidden = float(np.median(levels)) < SOFT  # as sharp as the subject, and yet far from it
        own = self._vector(other, hidden)

        def distance(person: int) -> float:
            """Distance of a person, made as soft or as hidden."""
            return float(np.linalg.norm(own - self._vector(person, hidden, None if hidden else wanted)))

        nearest = min(distance(person) for person in ours if self._read(person))
        if nearest >= LIKE * self.same:
            return False
        order = np.argsort(np.linalg.norm(self.centres - self.centres[other], axis=1), kind="stable").tolist()
        rivals = [person for person in order if person not in (other, *ours)][:RIVALS]
        if not all(self._read(rival) for rival in rivals):  # of an older version, or pruned: nobody speaks for them
            return False
        return all(distance(rival) - nearest >= STANDS_OUT * self.same for rival in rivals)

    def _read(self, person: int) -> list[Image]:
        """CHIPS chips of a person, of its longest tracks; none in parts of older versions."""
        if person not in self._chips:
            tracks = sorted((self.found.tracks[i] for i in self.people[person]), key=lambda t: (-t.frames, t.face))
            turns = max((len(t.chips) for t in tracks), default=0)
            order = [t.chips[len(t.chips) // 2 - turn] for turn in range(turns) for t in tracks if turn < len(t.chips)]
            self._chips[person] = chips(order[:CHIPS])
        return self._chips[person]

    def _softness(self, person: int, number: int, wanted: NDArray[np.float64]) -> float:
        key = (person, number)
        if key not in self._ladders:
            self._ladders[key] = ladder(self._read(person)[number])
        return softness(self._ladders[key], wanted)

    def _vector(self, person: int, hidden: bool, wanted: NDArray[np.float64] | None = None) -> Floats:
        """(128,) mean identity of a person's chips, the lower face `hidden`, blurred to the detail `wanted` (3,)."""
        if self._network is None:
            self._network = make(IDENTIFIERS, self.identifier, "--identifier")
        found = []
        for number, chip in enumerate(self._read(person)):
            key = (person, number, 0.0 if wanted is None else self._softness(person, number, wanted), hidden)
            if key not in self._vectors:
                soft = blurred(chip, key[2])
                self._vectors[key] = self._network.identify(upper(soft) if hidden else soft)
            found.append(self._vectors[key])
        return np.asarray(np.mean(found, axis=0), np.float32)
