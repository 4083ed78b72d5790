"""face-alignment's 3-D network (Bulat and Tzimiropoulos 2017): 68 points of the iBUG order.

Its weights are the package's own, from the torch hub cache; they are not among `curate.models.WEIGHTS`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import urllib.error
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.errors import WeightsError
from curate.types import Image, Landmarks

log = logging.getLogger(__name__)


class FanLandmarker:
    """See the module. Gives no blendshapes, so faces found with it have no expression."""

    points = 68

    def __init__(self) -> None:
        import torch
        from face_alignment import FaceAlignment, LandmarksType
        from face_alignment.api import models_urls

        try:
            with open(os.devnull, "w") as quiet, contextlib.redirect_stderr(quiet):
                self._network: Any = FaceAlignment(
                    LandmarksType.THREE_D,
                    device="cuda" if torch.cuda.is_available() else "cpu",
                    face_detector="folder",  # boxes are given: it needs no detector of its own
                    flip_input=False,
                    compile=False,
                )
        except (urllib.error.URLError, OSError) as error:
            folder = os.path.join(torch.hub.get_dir(), "checkpoints")
            urls = " and ".join(models_urls[name] for name in ("3DFAN-4", "depth"))
            raise WeightsError(
                f"--landmarker face-alignment: its weights cannot be fetched ({getattr(error, 'reason', error)}): "
                f"put {urls} into {folder}"
            ) from None

    def landmark(self, image: Image, region: NDArray[np.float64]) -> Landmarks:
        """68 points, x, y in pixels, z in pixels negative to the camera; the score is the heat maps' mean peak."""
        x, y, width, height, _ = region
        box = np.array([x - width / 3, y - height / 3, x + width / 3, y + height / 3])
        points, scores, _ = self._network.get_landmarks_from_image(
            image, detected_faces=[box], return_landmark_score=True
        )
        found = np.asarray(points[0], np.float32)
        found[:, 2] -= found[:, 2].mean()
        return Landmarks(found, float(np.clip(np.mean(scores[0]), 0, 1)), None)
