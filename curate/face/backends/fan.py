"""face-alignment (Bulat and Tzimiropoulos 2017): 68 points of the iBUG order with or without depth, and S3FD's faces.

The networks are the package's, the steps around them are done here: its own code reads every face upright and gives
whole pixels. Weights are the package's own, from the torch hub cache (`curate.face.backends.fan_weights`). They run
on a GPU where torch has one, else on one core: N processes beat N threads, and sums do not depend on the number of
cores.
"""

from __future__ import annotations

import codecs
import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import MissingError, WeightsError
from curate.face.backends.fan_weights import DETECTOR, LANDMARKER, LANDMARKER_2D, paths
from curate.safe_io import DAMAGED
from curate.types import Detection, Floats, Image, Landmarks

SIDE, CELLS = 256, 64
"""Pixels of the networks' input, and cells of their heat maps."""
FACE = 1 / 1.5
"""Side of the face's box over the region's (`curate.face.track.MARGIN`)."""
REACH, LIFT = 400 / 195 * FACE, 0.12 * FACE
"""Side of what the networks read, and how far above the region's middle its own lies, over the region's side: the
package's scale of 200 pixels for a box of 195, twice its side, and its shift of 0.12 box heights."""
STACKS = 4
"""Hourglasses one after another in the networks that find the points."""
LONGEST, LEAST = 480, 64
"""Pixels of the longer side to which a larger picture is shrunk for S3FD (1.5 s on one core for 480 x 360), and of both
to which a smaller one is filled up."""
MIN_SCORE = 0.5
EYES = ((0.3, 0.4), (0.7, 0.4))
"""Where the eyes lie in an upright face's box, in widths and heights."""


def _package(choice: str) -> Any:
    if importlib.util.find_spec("face_alignment") is None:
        raise MissingError(f"{choice}: the package face-alignment is not installed: pip install face-alignment")
    import face_alignment

    return face_alignment


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def _evaluating() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def _network(make: Callable[[], Any], weights: dict[str, Any]) -> Any:
    import torch

    with torch.device("meta"):  # no time is lost on first values
        network = make()
    network.to_empty(device="cpu").load_state_dict(weights)
    return network.eval().to(_device())


def _depth_weights(path: Path) -> dict[str, Any]:
    """The state of a training's checkpoint, which holds numpy's numbers too; nothing else is made of it.

    Raises WeightsError if it asks for more.
    """
    from numpy._core.multiarray import scalar

    numbers = [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, (codecs.encode, "_codecs.encode")]
    numbers += [type(np.dtype(name)) for name in ("f2", "f4", "f8", "i4", "i8", "?")]
    torch: Any = importlib.import_module("torch")
    try:
        with torch.serialization.safe_globals(numbers):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return {name.removeprefix("module."): w for name, w in checkpoint["state_dict"].items()}
    except (*DAMAGED, torch.serialization.pickle.UnpicklingError):
        raise WeightsError(
            f"{path}: is not a weights file, or tries to run code; download it again, or use "
            "--landmarker face-alignment-2d"
        ) from None


class FanLandmarker:
    """See the module. Tells nothing but points and score, the mean height of the heat maps' peaks.

    Without blendshapes a face has no expression, and without the mesh no light, InterEyeDistance, EyesOpen,
    MouthClosed, IlluminationUniformity, NaturalColour or FaceOcclusionPrevention: these stay null. Head pose comes
    from `curate.face.pose68`.
    """

    points = 68

    def __init__(self, flat: bool = False) -> None:
        choice = LANDMARKER_2D if flat else LANDMARKER
        _package(choice)
        files = paths(choice)
        import torch
        from face_alignment.models import FAN, ResNetDepth

        self._points = _network(lambda: FAN(STACKS), torch.load(files[0], map_location="cpu", weights_only=True))
        self._depth: Any = None
        if not flat:
            self._depth = _network(ResNetDepth, _depth_weights(files[1]))

    def landmark(self, image: Image, region: NDArray[np.float64]) -> Landmarks:
        """68 points with z, or with z = 0; no blendshapes."""
        x, y, width, height, roll = region
        side = max(float(width), float(height))
        turn = SIDE / (REACH * side) * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        middle = np.array([x + LIFT * side * np.sin(roll), y - LIFT * side * np.cos(roll)])
        matrix = np.column_stack([turn, (SIDE - 1) / 2 - turn @ middle])
        crop = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
        cells, score, depth = self._run(np.asarray(crop.transpose(2, 0, 1) / np.float32(255), np.float32))
        # A cell is 4 pixels wide: the middle of cell 0 lies between pixels 1 and 2.
        flat = (4 * cells + 1.5 - matrix[:, 2]) @ np.linalg.inv(turn).T
        z = (depth.mean() - depth) * REACH * side / SIDE
        return Landmarks(np.column_stack([flat, z]).astype(np.float32), score, None)

    def _run(self, crop: Floats) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
        """(68, 2) cells, score, and (68,) depth in pixels of the crop (3, 256, 256), more toward the camera."""
        import torch

        with _evaluating():
            picture = torch.from_numpy(np.ascontiguousarray(crop)).to(_device())[None]
            maps = self._points(picture)[-1][0].cpu().numpy()
            cells, heights = peaks(maps)
            depth = np.zeros(self.points)
            if self._depth is not None:
                marks = torch.from_numpy(_marks(4 * cells + 2)).to(_device())[None]
                depth = self._depth(torch.cat([picture, marks], 1))[0].cpu().numpy().astype(np.float64)
        return cells, float(np.clip(heights.mean(), 0, 1)), depth


def peaks(maps: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(P, 2) x, y of the highest cells of heat maps (P, C, C), a quarter toward the higher neighbours; (P,) heights."""
    count, size = maps.shape[:2]
    best = maps.reshape(count, -1).argmax(1)
    y, x = np.divmod(best, size)
    row, padded = np.arange(count), np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
    right = padded[row, y + 1, x + 2] - padded[row, y + 1, x]
    down = padded[row, y + 2, x + 1] - padded[row, y, x + 1]
    inside = (x > 0) & (x < size - 1) & (y > 0) & (y < size - 1)
    quarter = 0.25 * np.sign(np.stack([right, down], 1)) * inside[:, None]
    return np.stack([x, y], 1) + quarter, maps.reshape(count, -1).max(1).astype(np.float64)


def _marks(points: NDArray[np.float64]) -> Floats:
    """(P, 256, 256) a blot at each point, as the depth network was trained with."""
    from face_alignment.utils import draw_gaussian

    maps = np.zeros((len(points), SIDE, SIDE), np.float32)
    for blank, point in zip(maps, points, strict=True):
        draw_gaussian(blank, point, 2)
    return maps


class SfdDetector:
    """S3FD (Zhang 2017) as face-alignment ships it. It gives no keypoints: `EYES` says where they are taken to be."""

    def __init__(self) -> None:
        _package(DETECTOR)
        (file,) = paths(DETECTOR)
        from face_alignment.detection.sfd import FaceDetector

        self._network: Any = FaceDetector(device=_device(), path_to_detector=str(file), filter_threshold=MIN_SCORE)

    def detect(self, image: Image) -> list[Detection]:
        """Faces with a score of 0.5 or better, best first."""
        height, width = image.shape[:2]
        zoom = min(LONGEST / max(height, width), 1.0)
        size = (max(round(width * zoom), 1), max(round(height * zoom), 1))
        fitted = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if zoom < 1 else image
        canvas = np.zeros((max(size[1], LEAST), max(size[0], LEAST), 3), np.uint8)
        canvas[: size[1], : size[0]] = fitted
        with _evaluating():
            rows = self._network.detect_from_image(canvas)
        found = []
        for *corners, score in np.asarray(rows, np.float64).reshape(-1, 5).tolist():
            x, y, right, bottom = (place / zoom for place in corners)
            eyes = np.add(np.multiply(EYES, (right - x, bottom - y)), (x, y)).astype(np.float32)
            found.append(Detection(x, y, right - x, bottom - y, min(score, 1.0), eyes))
        return sorted(found, key=lambda d: -d.score)
