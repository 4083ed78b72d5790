"""Head pose from 68 landmarks in iBUG order, by a fit of the matching vertices of the canonical mesh.

Points with depth are fitted as the mesh is (`curate.face.pose`), by weighted Procrustes. Points without (z is 0
everywhere) first get the depth that a scaled orthographic camera gives them (POS: DeMenthon and Davis 1995); a nose
that is longer than the canonical one then reads as a larger turn, by up to a fifth. The least squares of that camera
were no better. The jaw's 17 points have no vertices of their own, as they slide along the outline when the head
turns; lids and inner lips move with the expression. Neither is fitted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import canonical
from curate.face.pose import Doubles, Fit, HeadPose, euler, procrustes, trusted

# The vertex at each of the points 17..67: brows, nose, eyes, outer and inner lips; the subject's right side first.
MESH_OF_68: tuple[int, ...] = (
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
FIRST = 17
"""The first point that has a vertex."""
WEIGHTS: dict[int, float] = {
    **dict.fromkeys(range(17, 27), 0.2),  # brows are raised
    **dict.fromkeys(range(27, 36), 1.0),  # bone and gristle
    **dict.fromkeys((36, 39, 42, 45), 2.0),  # corners of the eyes
    **dict.fromkeys((48, 54), 0.3),  # corners of the mouth
}
"""Point to its weight in the fit, by how little it moves with the expression."""


def fit68(points: NDArray[np.floating]) -> Fit:
    """Fit the canonical mesh to landmarks (N, 68, 3): x, y pixels down, z pixels negative to camera or 0 everywhere.

    As `curate.face.pose.fit_mesh`; of faces without depth, the shift's z means nothing.
    """
    model = canonical().vertices[[MESH_OF_68[i - FIRST] for i in WEIGHTS]]
    seen = np.asarray(points, np.float64)[:, list(WEIGHTS)] * (1, -1, -1)
    weights = np.array(list(WEIGHTS.values()))
    weights /= weights.sum()
    flat = ~np.any(seen[..., 2], axis=1)
    if flat.any():
        seen[flat, :, 2] = _depth(seen[flat, :, :2], model, weights)
    return procrustes(seen, model, weights)


def _depth(seen: Doubles, model: Doubles, weights: Doubles) -> Doubles:
    """(N, K) depth in pixels of `seen` (N, K, 2), about its middle: that of `model` (K, 3) turned as POS finds it."""
    centred, root = model - weights @ model, np.sqrt(weights)[:, None]
    # The two upper rows of the scaled rotation as if all six numbers were free, then the rotation nearest to them.
    rows = np.einsum("dk,nki->nid", np.linalg.pinv(centred * root), seen * root)
    u, singular, vt = np.linalg.svd(rows, full_matrices=False)
    rotation = u @ vt
    toward = np.cross(rotation[:, 0], rotation[:, 1])
    return np.asarray(singular.mean(1)[:, None] * (toward @ centred.T))


def head_pose68(points: NDArray[np.floating]) -> HeadPose:
    """Poses of landmarks (N, 68, 3), degrees; signs, order and confidence as `curate.face.pose.head_pose`.

    Without its gain: these networks were trained on turned heads and do not flatten them.
    """
    fit = fit68(points)
    yaw, pitch, roll = euler(fit.rotation)
    return trusted(fit, yaw, pitch, roll)
