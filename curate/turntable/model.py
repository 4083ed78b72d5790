"""Model of a synthetic head: its rest shape, and its movement with expression and pose."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face import pose
from curate.face.mesh import AT, INNER_LIPS, LEFT_EYE, RIGHT_EYE
from curate.turntable.anatomy import (
    EYE_BAG,
    MOUTH_BAG,
    ON_THE_EDGE,
    Eye,
    Hair,
    Rows,
    add_body,
    add_ears,
    add_eye,
    add_funnel,
    add_skull,
    add_teeth,
    eyeball,
    funnel,
)
from curate.turntable.mesh import (
    BODY,
    FACE,
    MOUTH,
    POINTS,
    RIM,
    Array,
    Build,
    Face,
    Ints,
    jaw_weights,
    smoothstep,
    subdivided,
    turn_jaw,
)

JAW_DEGREES = 20.0
"""How far the jaw turns at mouth opening 1."""
# The ring of points around each eye's ring: the crease above, the bag below; in the rings' order.
RIGHT_FOLD = (130, 25, 110, 24, 23, 22, 26, 112, 243, 190, 56, 28, 27, 29, 30, 247)
LEFT_FOLD = (359, 255, 339, 254, 253, 252, 256, 341, 463, 414, 286, 258, 257, 259, 260, 467)


@dataclass(frozen=True)
class Head:
    """Geometry, texture and rig of one head. Make it with `hopper()` or `painted(seed)`."""

    name: str
    landmarks: Array
    """(468, 3) the face at rest, mouth shut and eyes open, aligned to the canonical mesh by Procrustes; centimetres."""
    face: Face
    rest: Array
    """(N, 3) every vertex at rest; the first 468 are the landmarks."""
    jaw: Array
    """(N,) 0..1 how far each follows the jaw."""
    turns: Array
    """(N,) 0..1 how far each follows the head's rotation: the shoulders do not."""
    weld: NDArray[np.intp]
    uv: Array
    triangles: Ints
    part: Ints
    eyes: tuple[Eye, Eye]
    funnels: tuple[tuple[NDArray[np.intp], NDArray[np.intp], Rows], ...]
    """(ring, indices, rows) of the bags behind eyes and mouth, and of the skull's edge on the face's."""
    pyramid: tuple[NDArray[np.float32], ...]
    """The atlas (T, 2T, 3) linear light 0..1, each level half the size of the one before."""


def rest_shape(points: Array) -> Array:
    """(468, 3) with the lips closed, turned, shifted and scaled so that `curate.face.pose.fit_mesh` finds no turn
    in it."""
    shape = points.copy()
    lower, upper = list(INNER_LIPS[1:10]), list(INNER_LIPS[19:10:-1])
    shape[lower] = shape[upper] = (shape[lower] + shape[upper]) / 2
    fit = pose.fit_mesh((shape * (1, -1, -1))[None])
    return np.asarray((shape - fit.shift[0]) @ fit.rotation[0] / fit.scale[0])


def assemble(name: str, landmarks: Array, atlas: NDArray[np.float32], hair: Hair) -> Head:
    """A head around a face at rest (468, 3) with an atlas (T, 2T, 3) of linear albedo."""
    face = subdivided()
    points = face.refined(landmarks)
    jaw = jaw_weights(points)
    build = Build()
    build.points(points, face.uv * np.array([0.5, 1.0]), jaw)
    build.faces(face.triangles, FACE)
    ring = face.rings["oval"]
    edge, first = add_skull(build, ring, points[ring], jaw[ring], hair)
    add_ears(build, points[ring], hair.sides > 0.5)
    add_body(build, float(landmarks[AT.chin, 1]), float(np.abs(points[ring, 0]).max()) / 7.74)
    eyes, funnels = [], [(edge, first[None], ON_THE_EDGE)]
    for side in ("right", "left"):
        lids = face.rings[side]
        eye = add_eye(build, *eyeball(points[lids], 0.47 * float(np.ptp(points[lids, 0]))))
        eyes.append(eye)
        funnels.append((lids, add_funnel(build, lids, points, EYE_BAG, RIM), EYE_BAG))
    lips = face.rings["mouth"]
    funnels.append((lips, add_funnel(build, lips, points, MOUTH_BAG, MOUTH), MOUTH_BAG))
    add_teeth(build, landmarks[list(INNER_LIPS)])
    rest, part = np.concatenate(build.vertices), np.concatenate(build.part)
    turns = np.ones(len(rest))
    triangles = np.concatenate(build.triangles)
    low = np.unique(triangles[part == BODY])
    turns[low] = smoothstep(-6.0, 5.0, rest[low, 1] - landmarks[AT.chin, 1])
    levels = [atlas]
    while levels[-1].shape[0] > 64:
        levels.append(cv2.pyrDown(levels[-1]).astype(np.float32))
    return Head(
        name=name,
        landmarks=landmarks,
        face=face,
        rest=rest,
        jaw=np.concatenate(build.jaw),
        turns=turns,
        weld=np.concatenate(build.weld),
        uv=np.concatenate(build.uv),
        triangles=triangles,
        part=part,
        eyes=(eyes[0], eyes[1]),
        funnels=tuple(funnels),
        pyramid=tuple(levels),
    )


def expressed(head: Head, mouth: float, eyes: float, smile: float, brows: float, gaze: tuple[float, float]) -> Array:
    """(N, 3) every vertex after the expression, before the pose.

    Values 0..1 as in `View`; gaze (yaw, pitch) in degrees with the pose's signs.
    """
    points = head.landmarks.copy()
    rest = head.landmarks
    for corner, side in ((AT.mouth_right, -1.0), (AT.mouth_left, 1.0)):
        points += _bump(rest, rest[corner], 1.5) * smile * np.array([0.45 * side, 0.55, -0.3])
        cheek = rest[corner] + np.array([1.4 * side, 2.6, 0.0])
        points += _bump(rest, cheek, 1.6) * smile * np.array([0.1 * side, 0.25, 0.25])
    for brow in (105, 334):
        points += _bump(rest, rest[brow], 1.6) * brows * np.array([0.0, 0.7, 0.0])
    points = turn_jaw(points, head.jaw[:POINTS], JAW_DEGREES * mouth)
    for ring, fold in ((RIGHT_EYE, RIGHT_FOLD), (LEFT_EYE, LEFT_FOLD)):
        _close(points, np.array(ring), np.array(fold), eyes)
    points = head.face.refined(points)
    for eye in head.eyes:
        _rest_on(points, eye)
    out = np.concatenate([points, turn_jaw(head.rest, head.jaw, JAW_DEGREES * mouth)[len(points) :]])
    for hole, index, rows in head.funnels:
        out[index] = funnel(points[hole], rows)
    turn = pose.matrix(gaze[0], gaze[1], 0.0)
    for eye in head.eyes:
        out[eye.index] = (head.rest[eye.index] - eye.centre) @ turn.T + eye.centre
    return out


def _bump(points: Array, centre: Array, width: float) -> Array:
    """(N, 1) 1 at the centre, falling off over `width` centimetres."""
    return np.asarray(np.exp(-((points - centre) ** 2).sum(axis=1, keepdims=True) / (2 * width**2)))


def _close(points: Array, ring: Ints, fold: Ints, opening: float) -> None:
    """Moves the lids, in place: they meet low, where real ones do; the skin above follows."""
    lower, upper = ring[1:8], ring[:8:-1]
    meet = points[lower] + 0.12 * (points[upper] - points[lower])
    shift = (meet - points[upper]) * (1.0 - opening)
    points[upper] += shift
    points[lower] += (meet - points[lower]) * (1.0 - opening)
    points[fold[:8:-1]] += 0.3 * shift


def _rest_on(points: Array, eye: Eye) -> None:
    """Lifts the skin onto the eyeball wherever it would cut into it, in place."""
    reach = ((points[:, :2] - eye.centre[:2]) ** 2).sum(axis=1)
    near = np.flatnonzero(reach < (0.98 * eye.radius) ** 2)
    surface = eye.centre[2] + np.sqrt((1.05 * eye.radius) ** 2 - reach[near])
    points[near, 2] = np.maximum(points[near, 2], surface)


def normals(head: Head, points: Array) -> Array:
    """(N, 3) smooth unit normals, outward."""
    a, b, c = (points[head.triangles[:, k]] for k in range(3))
    facet = np.cross(b - a, c - a)
    target = head.weld[head.triangles]
    total = np.stack(
        [np.bincount(target.ravel(), np.repeat(facet[:, k], 3), minlength=len(points)) for k in range(3)], axis=-1
    )[head.weld]
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))
