"""Colour tables: .cube files for log footage, and the table that maps HDR to SDR.

HDR (ITU-R BT.2100, PQ and HLG) becomes SDR (BT.709) by ITU-R BT.2446-1, method A: luminance is compressed in a
perceptual domain from 1000 to 100 cd/m2, colours follow; what lies outside BT.709 is clipped. HLG is first shown on a
display of 1000 cd/m2 (system gamma 1.2); PQ above 1000 cd/m2 is clipped.

ffmpeg's lut3d and lut1d apply the tables to 16 bits, lut3d by tetrahedral interpolation.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.footage.depth import Deep
from curate.runtime.cache import cache_folder
from curate.runtime.files import atomic
from curate.safe_io import DAMAGED, one_line

SIZE = 65
"""Points a side of the table for HDR."""
PEAK = 1000.0
"""cd/m2 of the display for which HDR is taken to be graded."""
WHITE = 100.0
"""cd/m2 of SDR white."""
LUMA = np.array([0.2627, 0.6780, 0.0593])
"""BT.2020."""
TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
"""Linear light, BT.2020 to BT.709 (ITU-R BT.2407-0, 2)."""
VERSION = 1


@dataclass(frozen=True)
class Table:
    """A table of colours in a .cube file."""

    path: str
    dimensions: int
    """1 or 3."""

    def apply(self, image: Deep) -> Deep:
        """(H, W, 3) uint16 RGB through the table."""
        height, width = image.shape[:2]
        changed = Path(self.path).stat().st_mtime_ns
        graph = _graph(self, width, height, changed, os.getpid(), threading.get_ident())
        graph.vpush(av.VideoFrame.from_ndarray(image, format="rgb48le"))
        found: Any = graph.vpull()
        return np.asarray(found.to_ndarray(), np.uint16)


@functools.lru_cache(4)
def _graph(table: Table, width: int, height: int, changed: int, process: int, thread: int) -> Any:
    """The filter graph of a table, which parses its file: one for each size of picture, file, process and thread."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb48le"), time_base=Fraction(1))
    how = "tetrahedral" if table.dimensions == 3 else "linear"
    nodes = graph.add(f"lut{table.dimensions}d", file=table.path, interp=how), graph.add("format", "rgb48le")
    graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()
    return graph


@functools.lru_cache(8)
def read(path: str) -> Table:
    """Table in a .cube file (Adobe, Cube LUT Specification 1.0). Raises UsageError."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        words = [word for line in lines if not line.lstrip().startswith(("#", "TITLE")) for word in line.split()]
        dimensions = 3 if "LUT_3D_SIZE" in words else 1 if "LUT_1D_SIZE" in words else 0
        if not dimensions:
            raise ValueError("it has neither LUT_3D_SIZE nor LUT_1D_SIZE")
        if wrong := next((w for w in words if _is_infinite(w)), ""):
            raise ValueError(f"{wrong} is not a finite number")
        table = Table(str(Path(path).resolve()), dimensions)
        table.apply(np.zeros((8, 8, 3), np.uint16))
    except DAMAGED as error:
        raise UsageError(f"--lut {path}: cannot be read as a .cube table ({one_line(error)})") from None
    return table


def _is_infinite(word: str) -> bool:
    """Whether a word of a table is a number, but no finite one: nan, inf, 1e999."""
    try:
        return not math.isfinite(float(word))
    except ValueError:
        return False


@functools.cache
def to_sdr(kind: str) -> Table:
    """The table from PQ or HLG, BT.2020, to SDR, BT.709; written to the cache once."""
    path = cache_folder() / "luts" / f"{kind.lower()}-{VERSION}.cube"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        axis = np.linspace(0, 1, SIZE)
        blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
        values = sdr(np.stack([red, green, blue], axis=-1).reshape(-1, 3), kind)
        with atomic(path) as temporary, temporary.open("w", encoding="ascii") as stream:
            stream.write(f"LUT_3D_SIZE {SIZE}\n")
            np.savetxt(stream, values, "%.6f")
    return Table(str(path), 3)


def sdr(values: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """(N, 3) SDR signal, BT.709, 0..1, of (N, 3) HDR signal, BT.2020, 0..1; `kind` is PQ or HLG."""
    light = np.clip((_pq(values) if kind == "PQ" else _hlg(values)) / PEAK, 0, 1)
    signal = light ** (1 / 2.4)
    bright = signal @ LUMA
    mapped = _compressed(bright)
    share = mapped / np.maximum(1.1 * bright, 1e-9)
    blue = share * (signal[:, 2] - bright) / 1.8814
    red = share * (signal[:, 0] - bright) / 1.4746
    luma = mapped - np.maximum(0.1 * red, 0)
    r, b = luma + 1.4746 * red, luma + 1.8814 * blue
    g = (luma - LUMA[0] * r - LUMA[2] * b) / LUMA[1]
    shown = np.clip(np.stack([r, g, b], axis=-1), 0, 1) ** 2.4 @ TO_709.T
    return np.asarray(np.clip(shown, 0, 1) ** (1 / 2.4))


def _compressed(bright: NDArray[np.float64]) -> NDArray[np.float64]:
    """SDR luma of HDR luma, both 0..1 (BT.2446-1, 4.2)."""
    high = 1 + 32 * (PEAK / 10_000) ** (1 / 2.4)
    low = 1 + 32 * (WHITE / 10_000) ** (1 / 2.4)
    seen = np.log(1 + (high - 1) * bright) / np.log(high)
    knee = np.where(seen < 0.9909, -1.1510 * seen**2 + 2.7811 * seen - 0.6302, 0.5 * seen + 0.5)
    curve = np.where(seen <= 0.7399, 1.0770 * seen, knee)
    return np.asarray((low**curve - 1) / (low - 1))


def _pq(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """cd/m2 of a PQ signal (BT.2100, table 4)."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = np.clip(values, 0, 1) ** (1 / m2)
    return np.asarray(10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1))


def _hlg(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """cd/m2 of an HLG signal on a display of 1000 cd/m2 (BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
    bright = scene @ LUMA
    return np.asarray(PEAK * np.maximum(bright, 1e-9)[:, None] ** 0.2 * scene)
