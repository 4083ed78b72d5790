"""Canonical face mesh from the landmarker's weights, and names for its points.

468 vertices in centimetres, x to image right for a face seen from the front, y up, z to the camera (MediaPipe's
canonical face model); the landmarker's points 468..477 are the two irises.
"""

from __future__ import annotations

import functools
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.face.weights import LANDMARKER, fetch

# The order of the blendshape network's output (ARKit names; MediaPipe FaceLandmarker).
BLENDSHAPES: tuple[str, ...] = tuple(
    """
    neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft
    cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight
    eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft
    eyeWideRight jawForward jawLeft jawOpen jawRight mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft
    mouthFrownRight mouthFunnel mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight
    mouthPucker mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft
    mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight noseSneerLeft
    noseSneerRight
    """.split()
)

# The 146 mesh points that the blendshape network reads, in its order (MediaPipe face_blendshapes_graph.cc).
BLENDSHAPE_POINTS: tuple[int, ...] = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80, 81,
    82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154,
    155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263,
    267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321,
    323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387,
    388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
)  # fmt: skip

# The outline of the face in order around it (MediaPipe FACEMESH_FACE_OVAL).
FACE_OVAL: tuple[int, ...] = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
RIGHT_EYE: tuple[int, ...] = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE: tuple[int, ...] = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
LIPS: tuple[int, ...] = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS: tuple[int, ...] = (
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
MIRRORED_IRISES = (473, 476, 475, 474, 477, 468, 471, 470, 469, 472)
"""What a mirror makes of the irises' points 468..477."""
RIGHT_BROW: tuple[int, ...] = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW: tuple[int, ...] = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)


class Corner(NamedTuple):
    """Indices of the points used by measures ("right" is the subject's right, on image left)."""

    right_eye_outer: int = 33
    right_eye_inner: int = 133
    left_eye_inner: int = 362
    left_eye_outer: int = 263
    right_eye_top: int = 159
    right_eye_bottom: int = 145
    left_eye_top: int = 386
    left_eye_bottom: int = 374
    nose_tip: int = 1
    nose_base: int = 2
    mouth_right: int = 61
    mouth_left: int = 291
    lip_top: int = 13
    lip_bottom: int = 14
    chin: int = 152
    forehead: int = 10
    right_iris: int = 468
    left_iris: int = 473


AT = Corner()


@dataclass(frozen=True)
class Mesh:
    """The canonical mesh."""

    vertices: NDArray[np.float64]
    """(468, 3) centimetres; x image right, y up, z to the camera."""
    uv: NDArray[np.float64]
    """(468, 2) texture coordinates in 0..1."""
    triangles: NDArray[np.int32]
    """(898, 3) vertex indices, counter-clockwise seen from outside."""
    basis: NDArray[np.int32]
    """(33,) the points on which MediaPipe fits the head pose (weights in `basis_weights`)."""
    basis_weights: NDArray[np.float64]


@functools.cache
def canonical() -> Mesh:
    """The canonical mesh out of the landmarker's weights (a small protobuf: GeometryPipelineMetadata)."""
    with zipfile.ZipFile(fetch(LANDMARKER)) as task:
        data = task.read("geometry_pipeline_metadata_landmarks.binarypb")
    buffer: list[float] = []
    indices: list[int] = []
    basis: list[int] = []
    weights: list[float] = []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            for inner, item in _fields(value):
                if inner == 3 and isinstance(item, bytes):
                    buffer += struct.unpack(f"<{len(item) // 4}f", item)
                elif inner == 4 and isinstance(item, int):
                    indices.append(item)
        elif number == 2 and isinstance(value, bytes):
            pair = dict(_fields(value))
            index, weight = pair.get(1, 0), pair[2]
            assert isinstance(index, int) and isinstance(weight, bytes)
            basis.append(index)
            weights.append(struct.unpack("<f", weight)[0])
    points = np.array(buffer).reshape(-1, 5)
    return Mesh(
        points[:, :3],
        points[:, 3:],
        np.array(indices, np.int32).reshape(-1, 3),
        np.array(basis, np.int32),
        np.array(weights),
    )


@functools.cache
def mirrored() -> NDArray[np.int64]:
    """(478,) the point that each of the landmarker's points becomes in a mirror."""
    vertices = canonical().vertices
    there = np.square(vertices[:, None] - vertices * (-1, 1, 1)).sum(2).argmin(1)
    return np.concatenate([there, MIRRORED_IRISES])


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) pairs of a protobuf message; only the wire types that occur here."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            number, at = _varint(data, at)
            yield tag >> 3, number
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind == 5:
            size = 4
        else:
            raise ValueError(f"protobuf wire type {kind}")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
