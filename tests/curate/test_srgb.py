"""The sRGB transfer function against values of the standard, and both ways."""

import numpy as np
import pytest

from curate.srgb import decoded, decoded8, encoded8


def test_srgb_curve() -> None:
    assert decoded8(np.array([0, 128, 255])) == pytest.approx([0, 0.2159, 1], abs=1e-4)
    assert decoded(np.array([0.0, 0.04045, 0.5, 1.0])) == pytest.approx([0, 0.0031308, 0.21404, 1], abs=1e-5)


def test_every_8_bit_value_comes_back() -> None:
    values = np.arange(256, dtype=np.uint8)
    assert np.abs(encoded8(decoded8(values)).astype(int) - values).max() <= 1
    assert (encoded8(decoded8(values))[16:] == values[16:]).all()


def test_light_beyond_the_range_is_clipped() -> None:
    assert encoded8(np.array([-1.0, 0.0, 1.0, 7.0], np.float32)).tolist() == [0, 0, 255, 255]
