"""Span of a performance: the directions in which one subject's scores vary together, and how far.

Scores move together: a smile lifts cheeks and narrows eyes. Each may lie in the source's range while their combination
does not, and a decoder that never saw it blurs. The nearest combination within the span is one that it knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.types import Floats

SHARE = 0.95
"""Share of the variance that the directions keep; of 0.9, 0.95 and 0.98 the best on the pair of docs/evidence.md."""
EDGE = 0.005
"""Share of the faces at either end of a direction that do not count for its range."""
LEAST = 8
"""Faces that a span needs."""


@dataclass(frozen=True)
class Span:
    """Principal components of the inputs (N, K) of `train.drive`, and the range in each; stored in run.json."""

    mean: tuple[float, ...]
    """(K,)"""
    axes: tuple[tuple[float, ...], ...]
    """(M, K) orthonormal rows, the widest first."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    """(M,) range along each."""

    def __post_init__(self) -> None:
        if not len(self.axes) == len(self.low) == len(self.high) or {*map(len, self.axes)} - {len(self.mean)}:
            raise ValueError("the span's directions and ranges differ in number")
        numbers = [*self.mean, *self.low, *self.high, *(value for axis in self.axes for value in axis)]
        if not np.isfinite(numbers).all():
            raise ValueError("a number of the span is not finite")

    def nearest(self, inputs: Floats) -> Floats:
        """The points within the span nearest to inputs (N, K)."""
        mean, axes = np.array(self.mean, np.float32), np.array(self.axes, np.float32).reshape(-1, len(self.mean))
        along = np.clip((inputs - mean) @ axes.T, np.array(self.low), np.array(self.high))
        return np.asarray(mean + along @ axes, np.float32)


def span_of(inputs: Floats, share: float = SHARE) -> Span | None:
    """Span of inputs (N, K); None for fewer than LEAST faces."""
    if len(inputs) < LEAST:
        return None
    values = np.asarray(inputs, np.float64)
    mean = values.mean(0)
    _, lengths, axes = np.linalg.svd(values - mean, full_matrices=False)
    if not lengths.any():
        return Span(tuple(mean.tolist()), (), (), ())
    kept = 1 + int(np.searchsorted(np.cumsum(lengths**2) / np.sum(lengths**2), share))
    along = (values - mean) @ axes[:kept].T
    low, high = np.quantile(along, (EDGE, 1 - EDGE), axis=0)
    rows = tuple(map(tuple, axes[:kept].tolist()))
    return Span(tuple(mean.tolist()), rows, tuple(low.tolist()), tuple(high.tolist()))
