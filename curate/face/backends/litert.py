"""MediaPipe's detector and landmarker on the LiteRT runtime, one thread each (N processes beat N threads).

Detector: BlazeFace full range (192 px), and the back-camera one (256 px, better at small faces) where it finds none.
Landmarker: face mesh v2 with irises (478 points) and 52 blendshapes; turned heads are read in a mirror as well, since
half of such a face is guessed, and the mean of two guesses is better than one.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import zipfile
from collections.abc import Iterator
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import MissingError
from curate.face.mesh import BLENDSHAPE_POINTS, mirrored
from curate.face.pose import euler, fit_mesh
from curate.face.weights import DETECTOR, DETECTOR_SMALL, LANDMARKER, fetch
from curate.types import Detection, Floats, Image, Landmarks

MIN_SCORE = 0.5
OVERLAP = 0.3
MIRROR_YAW, MIRROR_RANGE = 35.0, 10.0
"""Degrees of yaw from which on the mirror image of a face is read as well, and over which it gains its full weight: of
138 heads past 45 degrees in AFLW2000-3D the mean error falls from 8.0 to 7.4 degrees."""


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Suppress a line about its delegate that the runtime writes directly to file descriptor 2."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class _Network:
    def __init__(self, content: bytes) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise MissingError("the package ai-edge-litert is not installed: pip install ai-edge-litert") from None

        with _hushed():
            self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [d["index"] for d in self._interpreter.get_output_details()]

    def __call__(self, batch: Floats) -> list[Floats]:
        self._interpreter.set_tensor(self._input, batch)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(i) for i in self._outputs]


class LiteRTDetector:
    """See the module."""

    def __init__(self) -> None:
        self._full = _Network(fetch(DETECTOR).read_bytes())

    @functools.cached_property
    def _small(self) -> _Network:
        return _Network(fetch(DETECTOR_SMALL).read_bytes())

    def detect(self, image: Image) -> list[Detection]:
        """Faces with a score of 0.5 or better, best first."""
        found = _run_detector(self._full, image, 192, _anchors(192))
        return found or _run_detector(self._small, image, 256, _anchors(256))


@functools.cache
def _anchors(size: int) -> NDArray[np.float64]:
    """(A, 2) anchor centres in 0..1: one per 4-pixel cell at 192; two per 16-pixel and six per 32-pixel cell at 256."""
    grids = [(48, 1)] if size == 192 else [(16, 2), (8, 6)]
    centres = []
    for cells, repeat in grids:
        y, x = np.mgrid[:cells, :cells]
        grid = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells
        centres.append(np.repeat(grid, repeat, axis=0))
    return np.concatenate(centres)


def _run_detector(network: _Network, image: Image, size: int, anchors: NDArray[np.float64]) -> list[Detection]:
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    zoom = size / side
    fitted = cv2.resize(
        image, (max(round(width * zoom), 1), max(round(height * zoom), 1)), interpolation=cv2.INTER_AREA
    )
    canvas = np.zeros((size, size, 3), np.float32)
    y, x = round(top * zoom), round(left * zoom)
    canvas[y : y + fitted.shape[0], x : x + fitted.shape[1]] = fitted[: size - y, : size - x]
    boxes, logits = network(canvas[None] / 127.5 - 1)
    scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0].astype(np.float64), -80, 80)))
    keep = scores >= MIN_SCORE
    raw = boxes[0, keep].astype(np.float64).reshape(-1, 8, 2) / size
    scores = scores[keep]
    raw[:, 0] += anchors[keep]
    raw[:, 2:] += anchors[keep][:, None]
    pixels = raw * side
    pixels[:, 0] -= (left, top)
    pixels[:, 2:] -= (left, top)
    return _merge(pixels, scores)


def _merge(raw: NDArray[np.float64], scores: NDArray[np.float64]) -> list[Detection]:
    """Weighted non-maximum suppression (BlazeFace, Bazarevsky 2019): overlapping boxes are averaged by score."""
    corner = raw[:, 0] - raw[:, 1] / 2
    far = raw[:, 0] + raw[:, 1] / 2
    area = raw[:, 1].prod(1)
    order = list(np.argsort(-scores, kind="stable"))
    found = []
    while order:
        best = order[0]
        inter = np.clip(np.minimum(far[order], far[best]) - np.maximum(corner[order], corner[best]), 0, None).prod(1)
        same = inter / np.maximum(area[order] + area[best] - inter, 1e-9) > OVERLAP
        group = [i for i, s in zip(order, same, strict=True) if s] or [best]
        weight = scores[group] / scores[group].sum()
        mean = np.einsum("g,gkd->kd", weight, raw[group])
        (x, y), (w, h) = mean[0] - mean[1] / 2, mean[1]
        found.append(
            Detection(float(x), float(y), float(w), float(h), float(scores[best]), mean[2:].astype(np.float32))
        )
        order = [i for i, s in zip(order, same, strict=True) if not s and i != best]
    return found


class LiteRTLandmarker:
    """See the module."""

    points = 478
    _SIZE = 256

    def __init__(self, expressions: bool = True) -> None:
        """With `expressions` off, `landmark` gives no blendshapes, which takes less time."""
        self._expressions = expressions
        with zipfile.ZipFile(fetch(LANDMARKER)) as task:
            self._mesh = _Network(task.read("face_landmarks_detector.tflite"))
            self._blendshapes = _Network(task.read("face_blendshapes.tflite"))

    def landmark(self, image: Image, region: NDArray[np.float64]) -> Landmarks:
        """478 points, presence score, 52 blendshapes or None."""
        x, y, width, height, roll = region
        side = max(float(width), float(height))
        zoom = self._SIZE / side
        turn = zoom * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        matrix = np.column_stack([turn, self._SIZE / 2 - turn @ (x, y)])
        crop = cast(Image, cv2.warpAffine(image, matrix, (self._SIZE, self._SIZE), flags=cv2.INTER_LINEAR))
        points, score = self._read(crop)
        share = _mirrored_share(points)
        if share > 0:
            points = np.average([points, self._mirrored(crop)], axis=0, weights=[1 - share, share])
        back = np.linalg.inv(turn)
        points[:, :2] = (points[:, :2] - matrix[:, 2]) @ back.T
        points[:, 2] /= zoom
        return Landmarks(points.astype(np.float32), score, self.blendshapes(points) if self._expressions else None)

    def blendshapes(self, points: NDArray[np.floating]) -> Floats:
        """(52,) blendshapes 0..1 of landmarks (478, 2|3), whoever put them there."""
        shapes = self._blendshapes(np.asarray(points[None, BLENDSHAPE_POINTS, :2], np.float32))[0]
        return cast(Floats, shapes.reshape(-1).astype(np.float32))

    def _read(self, crop: Image) -> tuple[NDArray[np.float64], float]:
        """(478, 3) points in pixels of the crop, and the presence score."""
        outputs = self._mesh(np.asarray(crop, np.float32)[None] / np.float32(255))
        score = 1 / (1 + np.exp(-float(np.clip(outputs[1].reshape(-1)[0], -80, 80))))
        return outputs[0].reshape(-1, 3).astype(np.float64), score

    def _mirrored(self, crop: Image) -> NDArray[np.float64]:
        """(478, 3) points read from the crop's mirror image, in pixels of the crop itself."""
        points, _ = self._read(crop[:, ::-1])
        return np.asarray(points[mirrored()] * (-1, 1, 1) + (self._SIZE, 0, 0), np.float64)


def _mirrored_share(points: NDArray[np.float64]) -> float:
    """Weight of the mirror image, 0 to 0.5: turned heads are read twice, with a smooth beginning."""
    if not np.isfinite(points).all():
        return 0.0
    yaw = abs(float(euler(fit_mesh(points[None]).rotation)[0][0]))
    return 0.5 * float(np.clip((yaw - MIRROR_YAW) / MIRROR_RANGE, 0, 1))
