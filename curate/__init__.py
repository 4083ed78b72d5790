"""Curation: footage in, faceset out. Imports none of the other packages."""

import os

# OpenCV reads it when it is loaded; the same as curate.safe_io.MOST_PIXELS.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))
