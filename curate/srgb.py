"""The sRGB transfer function, both ways (IEC 61966-2-1): light in 0..1, values in 0..1 or of 8 bits; and CIELAB."""

from __future__ import annotations

import functools
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats, Image

Real = TypeVar("Real", bound=np.floating)
LEVELS = 4095
"""Levels of linear light in the table of `encoded8`, less one."""


def decoded(value: NDArray[Real]) -> NDArray[Real]:
    """Linear light 0..1 of sRGB values 0..1, any shape; float32 or float64 as given."""
    return np.asarray(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4))


def decoded8(image: NDArray[np.integer]) -> Floats:
    """Linear light 0..1 float32 of 8-bit sRGB values, any shape."""
    return np.asarray(_light()[image], np.float32)


def encoded8(light: NDArray[np.floating]) -> Image:
    """8-bit sRGB values of linear light, any shape; light is clipped to 0..1 and rounded to 4096 levels."""
    return np.asarray(_values()[np.clip(light * LEVELS + 0.5, 0, LEVELS).astype(np.uint16)])


def lab(value: NDArray[np.floating]) -> Floats:
    """CIELAB (D65) float32 of sRGB values 0..1, (H, W, 3): L* 0..100, a* and b*, exact to 0.03.

    OpenCV's own conversion from sRGB interpolates in a coarse table and is off by up to 0.5.
    """
    return np.asarray(cv2.cvtColor(decoded(value.astype(np.float32)), cv2.COLOR_LRGB2LAB), np.float32)


@functools.cache
def _light() -> Floats:
    return decoded(np.arange(256) / 255).astype(np.float32)


@functools.cache
def _values() -> Image:
    light = np.arange(LEVELS + 1) / LEVELS
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * value).astype(np.uint8)
