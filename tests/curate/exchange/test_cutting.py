"""Frames for faces that are cut again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from curate.exchange.cutting import with_frames
from curate.footage.video import probe
from curate.settings import Settings


class OneClip:
    """A faceset of one clip, as far as cutting asks."""

    settings = Settings()

    def __init__(self, photo: Path) -> None:
        self.clips = (probe(photo),)


def test_a_single_photo_is_found_again(tmp_path: Path) -> None:
    photo = tmp_path / "face.png"
    cv2.imwrite(str(photo), np.full((40, 60, 3), 90, np.uint8))
    rows = pd.DataFrame({"clip": ["face"], "segment": [0], "frame": [0], "face_id": ["a"]})
    faceset: Any = OneClip(photo)
    assert [frame is not None for _, frame in with_frames(faceset, rows)] == [True]
    photo.write_bytes(photo.read_bytes() + b"x")
    assert [frame is not None for _, frame in with_frames(faceset, rows)] == [False]
