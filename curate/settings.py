"""Settings of extraction: what a part contains depends on them. Standard library only, so that `--help` is quick."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from curate.errors import UsageError
from curate.options import check, option

Basis = Literal["self", "release", "public-domain", "research"]
BASES: tuple[Basis, ...] = ("self", "release", "public-domain", "research")
Framing = Literal["face", "full", "head"]
FRAMINGS: tuple[Framing, ...] = ("face", "full", "head")
AUTO = 0
"""`Settings.every` for `--every auto`."""
MOST_FRAMES = 1_000_000
"""Maximum number of frames from one that is read, or detected in, to the next."""
BACKENDS = "curate.face.backends"


def parse_every(text: str) -> int:
    """`--every`: a whole number from 1, or auto. Raises UsageError."""
    if text.isdecimal() and len(text) <= len(str(MOST_FRAMES)) and 0 < int(text) <= MOST_FRAMES:
        return int(text)
    if text != "auto":
        raise UsageError(f"--every {text}: must be a whole number from 1 to {MOST_FRAMES}, or auto")
    return AUTO


@dataclass(frozen=True)
class Settings:
    """Everything that changes what a part contains. Another value makes existing parts stale."""

    every: int = option(1, "Read every Nth frame; auto skips frames in which nothing changes.",
        metavar="N|auto", suggestions=("auto", "1", "5", "10"), parse=parse_every)  # fmt: skip
    """AUTO: see `curate.footage.skip`."""
    detect_every: int = option(10, "Run the detector every N frames, and whenever a track is lost.",
                              low=1, high=MOST_FRAMES)  # fmt: skip
    segment_seconds: float = option(8.0, "Target length of a segment, in seconds.", low=0.1, high=86_400)
    """A segment ends at a key frame."""
    framing: Framing = option("full", "How much of the head a crop shows.", choices=FRAMINGS)
    crop_size: int = option(256, "Side of the crops, in pixels; 0 writes no crops.", low=0, high=2048)
    detector: str = option("litert", "Face detector.", choices=f"{BACKENDS}:DETECTORS")
    landmarker: str = option("litert", "Landmark model.", choices=f"{BACKENDS}:LANDMARKERS")
    identifier: str = option("dlib", "Identity model, which tells people apart.", choices=f"{BACKENDS}:IDENTIFIERS")
    lut: str = option("", "Colour table (.cube) that is applied to log footage on reading.", metavar="FILE")
    scores: int = 6
    """Version of the scores: parts with another one are stale."""
    models: dict[str, str] = field(default_factory=dict)
    """Name to SHA-256 of the weights, and of the colour table, in use."""

    def __post_init__(self) -> None:
        if self.every < AUTO:
            raise UsageError(f"--every {self.every}: must be at least 1, or auto")
        check(self)
        if self.every < AUTO:
            raise UsageError(f"--every {self.every}: must be at least 1, or auto")
        if 0 < self.crop_size < 32:
            raise UsageError(f"--crop-size {self.crop_size}: must be 32 to 2048 pixels, or 0 for no crops")

    def digest(self) -> str:
        """Hex SHA-256 of the settings: parts with another digest are stale."""
        values = asdict(self)
        del values["lut"]  # its hash is among the models; where it lies does not matter
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Grouping:
    """How faces become people. It changes the table, not the parts, so nothing is extracted again."""

    same_person: float = option(0.5, "Largest identity distance within a person; less separates people who look alike.",
        low=0.1, high=1.0)  # fmt: skip

    def __post_init__(self) -> None:
        check(self)
