"""Footage in, curated faceset out. Imports none of the other packages."""

import os

os.environ.setdefault(
    "OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28)
)  # before OpenCV is loaded: `curate.damage.MOST_PIXELS`
