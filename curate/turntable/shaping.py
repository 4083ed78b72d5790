"""Face shapes of nobody: the canonical mesh with other proportions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.face.mesh import AT, LEFT_EYE, RIGHT_EYE, canonical
from curate.turntable.mesh import Array, smoothstep


@dataclass(frozen=True)
class Shape:
    """How a face differs from the canonical one; 0 is no difference."""

    width: float = 0.0
    length: float = 0.0
    jaw: float = 0.0
    forehead: float = 0.0
    """Shares of the size."""
    eye_distance: float = 0.0
    """Centimetres that each eye moves outward."""
    eye_size: float = 0.0
    nose_length: float = 0.0
    """Centimetres forward."""
    nose_width: float = 0.0
    nose_bridge: float = 0.0
    """Centimetres forward."""
    lips: float = 0.0
    mouth_width: float = 0.0
    chin: float = 0.0
    """Centimetres forward."""
    cheeks: float = 0.0
    """Centimetres outward."""


FIRST_SHAPE = Shape(
    width=0.04,
    length=-0.03,
    jaw=0.10,
    forehead=0.03,
    eye_distance=0.18,
    eye_size=0.10,
    nose_length=-0.5,
    nose_width=0.22,
    nose_bridge=-0.2,
    lips=0.28,
    mouth_width=0.08,
    chin=-0.1,
    cheeks=0.25,
)


def random_shape(rng: np.random.Generator) -> Shape:
    """A shape clearly away from the canonical one."""
    spread = np.array([0.08, 0.09, 0.15, 0.06, 0.25, 0.16, 0.9, 0.30, 0.45, 0.42, 0.14, 0.55, 0.4])
    # Away from the middle: faces near the canonical one would look alike.
    amount = rng.uniform(0.45, 1.0, len(spread)) * rng.choice([-1.0, 1.0], len(spread))
    return Shape(*(float(value) for value in amount * spread))


def shaped(shape: Shape) -> Array:
    """(468, 3) the canonical mesh with another face's proportions."""
    mesh = canonical().vertices
    points = mesh.copy()
    x, y, z = mesh.T
    side = np.sign(x)
    jaw, forehead = smoothstep(1.0, 8.5, -y), smoothstep(3.0, 8.0, y)
    points[:, 0] *= 1 + shape.width + shape.jaw * jaw + shape.forehead * forehead
    points[:, 1] *= 1 + shape.length
    nose = np.exp(-((x / 1.5) ** 2) - ((y + 0.6) / 1.7) ** 2)
    bridge = np.exp(-((x / 1.0) ** 2) - ((y - 2.2) / 1.8) ** 2)
    points[:, 2] += shape.nose_length * nose * smoothstep(4.8, 6.5, z) + shape.nose_bridge * bridge
    points[:, 0] += shape.nose_width * x * np.exp(-((x / 2.2) ** 2) - ((y + 1.1) / 1.4) ** 2)
    for eye in (RIGHT_EYE, LEFT_EYE):
        centre = mesh[list(eye)].mean(axis=0)
        near = np.exp(-(((mesh - centre)[:, :2] / (2.0, 1.5)) ** 2).sum(axis=1))[:, None]
        points[:, 0] += shape.eye_distance * np.sign(centre[0]) * near[:, 0]
        points[:, :2] += shape.eye_size * near * (mesh - centre)[:, :2]
    mouth = mesh[[AT.lip_top, AT.lip_bottom]].mean(axis=0)
    near = np.exp(-(((mesh - mouth)[:, :2] / (2.6, 1.2)) ** 2).sum(axis=1))
    points[:, 1] += shape.lips * (mesh - mouth)[:, 1] * near
    points[:, 2] += 0.5 * shape.lips * near
    points[:, 0] += shape.mouth_width * x * near
    points[:, 2] += shape.chin * np.exp(-((x / 2.0) ** 2) - ((y + 8.6) / 1.6) ** 2)
    points[:, 0] += shape.cheeks * side * np.exp(-(((np.abs(x) - 5.5) / 1.8) ** 2) - ((y - 0.0) / 2.2) ** 2)
    return points
