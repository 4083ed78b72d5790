"""Data types of faceset as frozen dataclasses. Imports numpy only.

Angles are degrees with the signs of ISO/IEC 39794-5: yaw > 0 turns to the subject's own left (image right), pitch > 0
looks down, roll > 0 tilts toward its own right shoulder (counter-clockwise in the image). Axes of head and light: x to
image right, y up, z to the camera; R = Rz(roll) Ry(yaw) Rx(pitch) applied to column vectors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from curate.settings import Basis

Image = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB."""
Floats = NDArray[np.float32]
Looks = Sequence[float] | Sequence[Sequence[float]] | NDArray[np.floating]
"""Identity vectors of one person: (128,), or (L, 128) for several looks."""


@dataclass(frozen=True)
class Clip:
    """One video file (or one folder of photos), or a stretch of it."""

    name: str
    """Unique in the faceset, safe as a folder name."""
    path: str
    """Where the footage lay when it was read, absolute."""
    sha256: str
    """Of the file's bytes; of the sorted photos' hashes for a folder."""
    kind: Literal["video", "photos"]
    width: int
    height: int
    """Size as shown: upright, and with square pixels."""
    frames: int
    fps: float
    """Average rate in frames a second; 0 for photos."""
    duration: float
    """Seconds."""
    start: float | None = None
    end: float | None = None
    """The stretch [start, end) in seconds that was asked for; None: to the clip's own edge."""
    audio: bool = False
    size: int = 0
    """Bytes of the file, or of all photos; 0: not known (a faceset of format 1)."""
    announced: int = 0
    """Frames that the file announces, in its index or by its packets; 0: not known (an older faceset)."""
    notes: tuple[str, ...] = ()
    """Sentences about what reading does to this footage: deinterlaced, tone-mapped, timestamps that restart."""
    lut: str = ""
    """Path of the .cube table that is applied on reading; empty for none."""

    @property
    def seconds(self) -> float:
        """Length of the stretch that is used."""
        end = self.duration if self.end is None else min(self.end, self.duration)
        return max(end - (self.start or 0.0), 0.0)


@dataclass(frozen=True)
class Entry:
    """A key frame's packet, at which decoding can begin."""

    number: int
    """Position among the stream's packets, in the order of the file."""
    pts: int | None
    dts: int | None
    """Timestamps as the demuxer gives them."""


@dataclass(frozen=True)
class Access:
    """How the frames of a segment are reached."""

    entries: tuple[Entry, ...] = ()
    """Key frames to start from, the nearest first; empty: from the start of the file."""
    counted: bool = False
    """Timestamps follow the order of decoding (AVI, raw streams): frames are counted as they leave the decoder."""
    epochs: tuple[tuple[int, int], ...] = ((0, 0),)
    """(number of the first packet, offset of its timestamps) of every stretch between restarts of the timestamps."""
    damaged: bool = False
    """The demuxer calls a packet damaged: frames are decoded one by one, since decoders that work on several at once
    lose the good ones that wait behind it at the end of a file."""


@dataclass(frozen=True)
class Segment:
    """A span of one clip, [start, end) in the clip's time base, cut at key frames."""

    clip: str
    index: int
    start: int
    end: int
    first_frame: int
    """Presentation index in the clip of the first frame at or after `start`."""
    pts: tuple[int, ...]
    """Presentation timestamps of its frames, sorted: a frame's index does not move when another is damaged."""
    access: Access = Access()
    origin: int = 0
    """Presentation timestamp of the clip's first frame."""

    @property
    def key(self) -> str:
        """Name of the segment's part: `<clip>-<segment>`."""
        return f"{self.clip}-{self.index:04d}"


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    index: int
    """0-based presentation index in the clip; a label."""
    pts: int
    time: Fraction
    """Presentation time in seconds, exact."""
    convert: Callable[[], Image]
    """Makes `image`; called at most once."""
    convert_luma: Callable[[], NDArray[np.uint8]]
    convert_deep: Callable[[], NDArray[np.uint16]] | None = None
    """Makes `deep`; None unless it was decoded so."""
    square: tuple[float, float] = (1.0, 1.0)
    """Factors of x and y from this picture's pixels to square ones."""

    @functools.cached_property
    def image(self) -> Image:
        """The upright picture; conversion costs more than decoding, so it happens when it is first asked for."""
        return self.convert()

    @functools.cached_property
    def luma(self) -> NDArray[np.uint8]:
        """(H, W) uint8 brightness of the upright picture, as stored (full or limited range): nearly free."""
        return self.convert_luma()

    @functools.cached_property
    def deep(self) -> NDArray[np.uint16]:
        """(H, W, 3) uint16 RGB 0..65535 of the same picture; ValueError unless decoded with a depth of 16."""
        if self.convert_deep is None:
            raise ValueError("the frame was decoded with a depth of 8 bits")
        return self.convert_deep()


@dataclass(frozen=True)
class Detection:
    """One face found by a detector, in pixels of the image that was given."""

    x: float
    y: float
    width: float
    height: float
    score: float
    """0..1."""
    keypoints: Floats
    """(K, 2) pixels; the first two are the subject's right and left eye."""


@dataclass(frozen=True)
class Landmarks:
    """What a landmarker saw."""

    points: Floats
    """(478, 3) or (68, 3): x, y in pixels of the image that was given, z in pixels, negative toward the camera."""
    score: float
    """0..1, that there is a face."""
    blendshapes: Floats | None
    """(52,) 0..1 in the order of `curate.face.mesh.BLENDSHAPES`, or None where the landmarker has none."""


@dataclass(frozen=True)
class Pose:
    """Rotation of the head in degrees, with a confidence in 0..1."""

    yaw: float
    pitch: float
    roll: float
    confidence: float


@dataclass(frozen=True)
class Subject:
    """Whose face a faceset holds, and on which basis it may be used."""

    name: str
    basis: Basis | None
    evidence: str | None = None
    """Path of a document (release form, licence) that shows the basis."""
    evidence_sha256: str | None = None


@dataclass(frozen=True)
class Anchor:
    """Who the subject is: later footage is matched with it, and nobody else becomes the subject without being asked."""

    how: Literal["majority", "person", "reference"]
    """How it was set: the person with the most faces, --person, or --reference."""
    looks: tuple[tuple[float, ...], ...]
    """One identity vector for each look."""
    identifier: str
    """Identity model that gave the vectors."""
    tracks: tuple[str, ...] = ()
    """Ids of the first faces of the longest tracks from which it was set."""


@dataclass(frozen=True)
class Failure:
    """A footage file that could not be used."""

    path: str
    reason: str


class Progress(Protocol):
    """What a long stage calls as it goes on; the command line draws it."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` units of `stage` are finished."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Draws nothing."""
