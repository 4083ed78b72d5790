"""Code of the watermark: a 48-bit identifier and its CRC-16, decoded from 64 soft values.

The score of a reading is the cosine of the soft values and the decoded codeword. Without a watermark the pseudorandom
signs of the code make the direction of the soft values uniform on the sphere, so the probability that any of the 2^48
valid codewords exceeds the threshold is bounded by 2^48 spherical caps: `false_positive_bound`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError

IDENTIFIER_BITS = 48
BITS = 64
THRESHOLD = 0.90
"""Minimum score of a reading; at most 3.0e-10 of unmarked windows reach it (`false_positive_bound`)."""
KNOWN_THRESHOLD = 0.75
"""Minimum score of a known identifier; at most 4e-13 of unmarked windows reach it, for each identifier."""
DOUBTED = 6
"""Number of weakest bits that may be wrong, at most two at once: a list decoder (Chase 1972)."""
_TEXT = re.compile(r"fs-([0-9a-f]{12})")


@dataclass(frozen=True)
class Codeword:
    """Codeword decoded from 64 soft values."""

    identifier: int
    """0 .. 2^48 - 1."""
    score: float
    """Cosine of soft values and codeword: THRESHOLD .. 1, of a known identifier from KNOWN_THRESHOLD."""


def identifier_text(identifier: int) -> str:
    """Text of an identifier: `fs-` and twelve hexadecimal digits. Raises ValueError outside 0 .. 2^48 - 1."""
    return f"fs-{_checked(identifier):012x}"


def parse_identifier(text: str) -> int:
    """Identifier from the text that `identifier_text` gives. Raises UsageError for anything else."""
    match = _TEXT.fullmatch(text.strip().lower())
    if match is None:
        raise UsageError(f"{text!r} is not a watermark; write it as verify does, such as fs-1a2b3c4d5e6f")
    return int(match[1], 16)


def codeword(identifier: int) -> NDArray[np.float32]:
    """Codeword (64,) float32 of -1 and +1: the identifier, most significant bit first, and CRC-16 (CCITT, 0xFFFF)."""
    body = _checked(identifier).to_bytes(6, "big")
    bits = np.unpackbits(np.frombuffer(body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big"), np.uint8))
    return (bits.astype(np.float32) * 2) - 1


def decode(soft: NDArray[np.floating]) -> Codeword | None:
    """Valid codeword nearest to soft values (64,), any scale; None if there is none above the threshold.

    Up to two of the six weakest bits are flipped if the checksum requires it.
    """
    strength = np.abs(soft)
    length = float(np.sqrt((soft.astype(np.float64) ** 2).sum()))
    total = float(strength.sum())
    if not np.isfinite(length) or total < THRESHOLD * length * BITS**0.5 or length == 0:
        return None
    bits = soft > 0
    weakest = [int(i) for i in np.argsort(strength, kind="stable")[:DOUBTED]]
    flips = [(), *((i,) for i in weakest), *combinations(weakest, 2)]
    for flip in sorted(flips, key=lambda f: float(strength[list(f)].sum())):
        score = (total - 2 * float(strength[list(flip)].sum())) / (length * BITS**0.5)
        if score < THRESHOLD:
            return None
        tried = bits.copy()
        tried[list(flip)] ^= True
        data = np.packbits(tried).tobytes()
        if binascii.crc_hqx(data[:6], 0xFFFF) == int.from_bytes(data[6:], "big"):
            return Codeword(int.from_bytes(data[:6], "big"), score)
    return None


class Known:
    """Identifiers that a reading may be compared with: far fewer than 2^48, so that less of a score is enough."""

    def __init__(self, identifiers: Sequence[int]) -> None:
        self._identifiers = list(identifiers)
        self._words = np.stack([codeword(i) for i in identifiers]) if identifiers else np.zeros((0, BITS), np.float32)

    def nearest(self, soft: NDArray[np.floating]) -> Codeword | None:
        """The identifier nearest to soft values (64,), any scale; None if its score is below KNOWN_THRESHOLD."""
        length = float(np.sqrt((soft.astype(np.float64) ** 2).sum())) * BITS**0.5
        if not self._identifiers or not np.isfinite(length) or length == 0:
            return None
        scores = self._words @ soft / length
        best = int(scores.argmax())
        return Codeword(self._identifiers[best], float(scores[best])) if scores[best] >= KNOWN_THRESHOLD else None

    def bound(self, score: float) -> float:
        """Upper bound of the rate at which an unmarked window scores as much with any of the identifiers."""
        return len(self._identifiers) * _cap(score)


def false_positive_bound(threshold: float = THRESHOLD) -> float:
    """Upper bound of the false-positive rate per unmarked window: 2^48 caps of the sphere in 64 dimensions."""
    return 2.0**IDENTIFIER_BITS * _cap(threshold)


def _cap(cosine: float) -> float:
    """Share of the sphere in 64 dimensions within this cosine of one point."""
    from scipy.special import betainc

    return float(0.5 * betainc((BITS - 1) / 2, 0.5, max(1 - cosine**2, 0.0)))


def _checked(identifier: int) -> int:
    if not 0 <= identifier < 1 << IDENTIFIER_BITS:
        raise ValueError(f"watermark identifier {identifier}: must be in 0 .. 2^48 - 1")
    return identifier
