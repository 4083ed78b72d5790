"""The watermark as a layer of a network: `watermark.Marker` in torch, so that an exported model marks what it draws.

Every linear step of the marker (averaging to the grid, blurs, DCT, enlarging) is a matrix, taken from the function of
OpenCV that the marker uses, by what it does to the unit vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from curate.types import Floats
from render.provenance import watermark
from render.provenance.watermark import AROUND, BLUR, BOUNDS, FLOOR, GRID, IN_FACES, MOST, PEAK, PILOT, PIXELS, TEXTURED
from render.provenance.watermark_code import codeword

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601, as OpenCV's grey."""


class Marking(nn.Module):
    """Layer that adds the watermark of an identifier to pictures (N, 3, S, S) in 0..1, in whole levels of 1/255."""

    luma: Tensor
    reduce: Tensor
    enlarge: Tensor
    wide: Tensor
    narrow: Tensor
    middle: Tensor
    flat: Tensor
    dct: Tensor
    weights: Tensor
    bits: Tensor
    cells: Tensor
    places: Tensor

    def __init__(self, identifier: int, size: int) -> None:
        super().__init__()
        grid, picture = np.eye(GRID, dtype=np.float32), np.eye(size, dtype=np.float32)
        cells, weights = watermark.whole_code(0)
        self.response = IN_FACES * min(PIXELS / size**2, 1.0) ** 0.5
        constants = {
            "luma": np.array(LUMA, np.float32)[:, None, None],
            "reduce": _columns(lambda x: cv2.resize(x, (1, GRID), interpolation=cv2.INTER_AREA), picture),
            "enlarge": _columns(lambda x: cv2.resize(x, (1, size), interpolation=cv2.INTER_CUBIC), grid),
            "wide": _columns(lambda x: cv2.GaussianBlur(x, (1, _reach(BLUR)), 1.0, sigmaY=BLUR), grid),
            "narrow": _columns(lambda x: cv2.GaussianBlur(x, (1, _reach(1.0)), 1.0, sigmaY=1.0), grid),
            "middle": _columns(lambda x: cv2.GaussianBlur(x, (1, _reach(1.5)), 1.0, sigmaY=1.5), grid),
            "flat": watermark.flat_levels(),
            "dct": _columns(cv2.dct, grid),
            "weights": weights,
            "bits": np.concatenate([np.ones(PILOT, np.float32), codeword(identifier)]),
        }
        for name, value in constants.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value, np.float32)))
        self.register_buffer("cells", torch.from_numpy(cells.ravel().astype(np.int64)))
        where = np.zeros((GRID * GRID,), np.int64)
        where[cells.ravel()] = np.arange(1, cells.size + 1)
        self.register_buffer("places", torch.from_numpy(where))
        self.gain: float = watermark.high_pass_gain(0)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, S, S) to the same shape."""
        levels = (pictures * 255).round()
        grid = self._both(self.reduce, (levels * self.luma).sum(1).round())
        pattern = self._both(self.enlarge, self._pattern(grid))
        return ((levels + pattern[:, None].round()).clamp(0, 255)) / 255

    def _pattern(self, grid: Tensor) -> Tensor:
        """(N, GRID, GRID) levels to add, see `Marker._pattern`."""
        detail = grid - self._both(self.wide, grid)
        deviation = (self._both(self.wide, detail * detail) + FLOOR**2).sqrt()
        mask = self._visibility(grid, deviation)
        response = (mask / deviation).mean((1, 2)).mul(self.gain).clamp(min=1e-6)[:, None]
        power = torch.full_like(response, float(GRID**2))
        host = self._project(detail / deviation) * self.bits
        return mask * self._spread(_amplitudes(host, response, power) * self.bits).clamp(-PEAK, PEAK)

    def _visibility(self, grid: Tensor, whitening: Tensor) -> Tensor:
        """(N, GRID, GRID), see `watermark.visibility`."""
        detail = grid - self._both(self.middle, grid)
        deviation = self._both(self.middle, detail * detail).clamp(min=0).sqrt()
        least = -torch.nn.functional.max_pool2d(-deviation[:, None], AROUND, 1, AROUND // 2)[:, 0]
        least = self._both(self.narrow, least)
        light = torch.minimum((least / TEXTURED[0]).clamp(max=1), TEXTURED[1] / least.clamp(min=TEXTURED[1]))
        shade = ((grid - 2) / 12).clamp(0, 1) * ((254 - grid) / 12).clamp(0, 1)
        plain = self._both(self.narrow, self.flat[grid.clamp(0, 255).long()]) * shade
        missing = self.response - (plain / whitening).mean((1, 2))
        share = missing / (plain * light / whitening).mean((1, 2)).clamp(min=1e-6)
        found: Tensor = plain * (1 + share.clamp(0, MOST)[:, None, None] * light)
        return found

    def _project(self, flat: Tensor) -> Tensor:
        """(N, GRID, GRID) to the values of pilot and bits (N, PILOT + BITS)."""
        spectrum = self._both(self.dct, flat).flatten(1)
        return (spectrum[:, self.cells].view(-1, *self.weights.shape) * self.weights).sum(1)

    def _spread(self, amplitudes: Tensor) -> Tensor:
        """(N, PILOT + BITS) to the pattern (N, GRID, GRID)."""
        values = (self.weights[None] * amplitudes[:, None]).flatten(1)
        with_none = torch.nn.functional.pad(values, (1, 0))
        return self._both(self.dct.T, with_none[:, self.places].view(-1, GRID, GRID))

    @staticmethod
    def _both(matrix: Tensor, pictures: Tensor) -> Tensor:
        """A matrix applied to the columns and rows of pictures (N, H, W)."""
        return matrix @ pictures @ matrix.T


def _amplitudes(host: Tensor, response: Tensor, budget: Tensor) -> Tensor:
    """(N, BITS), see `watermark._amplitudes`."""
    low, high = torch.zeros_like(response), 2 * response * budget.sqrt()
    amplitudes = torch.zeros_like(host)
    for _ in range(20):
        level = (low + high) / 2
        amplitudes = torch.minimum(torch.maximum(level - host, BOUNDS[0] * level), BOUNDS[1] * level) / response
        over = (amplitudes * amplitudes).sum(1, keepdim=True) > budget
        low, high = torch.where(over, low, level), torch.where(over, level, high)
    return amplitudes


def _columns(function: Callable[[Any], Any], unit: Floats) -> Floats:
    """Matrix of a linear function of one column of pixels."""
    found = [np.asarray(function(np.ascontiguousarray(column[:, None]))).ravel() for column in unit]
    return np.asarray(np.stack(found, 1), np.float32)


def _reach(sigma: float) -> int:
    """Side of the kernel that OpenCV takes for float pictures if none is given."""
    return round(sigma * 8 + 1) | 1
