from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from curate.records import record
from train.span import LEAST, Span, span_of


def line(count: int = 200) -> np.ndarray:
    """Faces (N, 3) that vary along (1, 1, 0) from -1 to 1, with a little noise."""
    along = np.linspace(-1, 1, count)[:, None] * np.array([[1, 1, 0.0]])
    return (along + np.random.default_rng(0).normal(0, 1e-3, (count, 3)) + (0, 0, 5)).astype(np.float32)


def test_a_combination_that_was_never_seen_becomes_the_nearest_that_was() -> None:
    span = span_of(line())
    assert span is not None and len(span.axes) == 1
    inside, off, far = span.nearest(np.array([[0.5, 0.5, 5], [1, -1, 5], [9, 9, 9]], np.float32))
    assert inside == pytest.approx([0.5, 0.5, 5], abs=0.01)
    assert off == pytest.approx([0, 0, 5], abs=0.01)
    assert far == pytest.approx([0.99, 0.99, 5], abs=0.02)


def test_a_face_that_never_moves_has_one_point() -> None:
    span = span_of(np.ones((20, 3), np.float32))
    assert span is not None and span.nearest(np.full((2, 3), 7, np.float32)).tolist() == [[1, 1, 1]] * 2
    assert span_of(line()[: LEAST - 1]) is None


def test_a_span_survives_run_json() -> None:
    span = span_of(line())
    assert record(Span, json.loads(json.dumps(asdict(span)))) == span
    with pytest.raises(ValueError, match="differ in number"):
        Span((0.0,), ((1.0, 0.0),), (0.0,), (1.0,))
    with pytest.raises(ValueError, match="not finite"):
        Span((0.0,), ((1.0,),), (0.0,), (float("inf"),))
