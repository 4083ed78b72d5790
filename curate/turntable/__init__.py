"""Synthetic heads at known pose, light and expression: the footage of the demo and the ground truth of the tests.

`render(head, view, size)` draws a head, `truth(head, view, size)` tells where its 468 landmarks are. Axes, signs and
units are those of `curate.types`: x to image right, y up, z to the camera, degrees, R = Rz(roll) Ry(yaw) Rx(pitch) on
column vectors. Light is Lambertian on smooth normals plus a constant ambient, worked out in linear light and stored as
sRGB; no shadows are cast.
"""

from curate.turntable.drawing import focal_length, render, truth
from curate.turntable.film import performance, write_clip, write_pictures
from curate.turntable.model import Head
from curate.turntable.painting import painted
from curate.turntable.portrait import hopper, photographed
from curate.turntable.view import View

__all__ = [
    "Head",
    "View",
    "focal_length",
    "hopper",
    "painted",
    "performance",
    "photographed",
    "render",
    "truth",
    "write_clip",
    "write_pictures",
]
