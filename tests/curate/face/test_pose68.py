"""Head pose of 68 points: projected canonical vertices, rendered heads, and a whole faceset of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.extract import engine
from curate.extract.pipeline import Request, curate
from curate.face.backends import LANDMARKERS, Landmarker, make
from curate.face.mesh import canonical
from curate.face.pose import SURE, head_pose, matrix
from curate.face.pose68 import FIRST, MESH_OF_68, WEIGHTS, fit68, head_pose68
from curate.select.options import SelectionOptions
from curate.select.selection import select_faceset
from curate.turntable import View, hopper, painted, performance, render, truth, write_clip
from curate.types import Image, Landmarks

ANGLES = [(0, 0, 0), (30, 0, 0), (0, -20, 0), (0, 0, 25), (50, 15, -10), (-70, -25, 35)]


def sixty_eight(mesh: np.ndarray) -> np.ndarray:
    """(68, 3) out of (468 or more, 3): what has a vertex, and a jaw of nonsense that must not matter."""
    jaw = mesh[:FIRST] + np.random.default_rng(0).normal(0, 50, (FIRST, 3))
    return np.concatenate([jaw, mesh[list(MESH_OF_68)]]).astype(np.float32)


def flat(points: np.ndarray) -> np.ndarray:
    return points * (1, 1, 0)


def seen(yaw: float, pitch: float, roll: float, scale: float = 10.0) -> np.ndarray:
    turned = canonical().vertices @ matrix(yaw, pitch, roll).T * scale
    return sixty_eight(turned * (1, -1, -1) + (200, 150, 30))


@pytest.mark.parametrize("angles", ANGLES)
@pytest.mark.parametrize("with_depth", [True, False], ids=["3d", "2d"])
def test_pose_is_read_back(angles: tuple[float, float, float], with_depth: bool) -> None:
    points = seen(*angles)
    pose = head_pose68((points if with_depth else flat(points))[None])
    assert (pose.yaw[0], pose.pitch[0], pose.roll[0]) == pytest.approx(angles, abs=0.1)
    assert pose.fits[0] == pytest.approx(1)
    assert (pose.confidence[0] == pytest.approx(1)) == (abs(angles[0]) <= SURE)


def test_fit_gives_scale_and_place() -> None:
    points = seen(20, 5, -8, scale=7.5)
    both = fit68(np.stack([points, flat(points)]))
    assert both.scale == pytest.approx([7.5, 7.5], rel=1e-3)
    assert both.shift[0] == pytest.approx((200, -150, -30), abs=0.1)
    assert both.shift[1, :2] == pytest.approx((200, -150), abs=0.1)
    assert both.residual == pytest.approx([0, 0], abs=1e-3)


def test_faces_do_not_see_each_other() -> None:
    points = np.stack([seen(*a) if i % 2 else flat(seen(*a)) for i, a in enumerate(ANGLES)])
    points += np.random.default_rng(3).normal(0, 1, points.shape) * (1, 1, 0)
    together = head_pose68(points)
    alone = [head_pose68(p[None]).yaw[0] for p in points]
    assert together.yaw == pytest.approx(alone, abs=0.05)


def test_the_table_is_symmetrical_and_in_the_order_of_ibug() -> None:
    mirror = [26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46]
    mirror += [39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    v = canonical().vertices[list(MESH_OF_68)]
    assert v[np.array(mirror) - FIRST] * (-1, 1, 1) == pytest.approx(v, abs=0.01)
    assert all(v[i - FIRST, 0] < 0 for i in (17, 31, 36, 39, 48)), "the subject's right is on image left"
    assert set(WEIGHTS) <= set(range(FIRST, 68)) and len(MESH_OF_68) == 68 - FIRST


@pytest.mark.parametrize("points", [np.zeros((68, 3)), np.full((68, 3), 7.0), np.eye(68, 3)], ids=["0", "7", "few"])
def test_points_that_are_no_face_give_finite_numbers(points: np.ndarray) -> None:
    pose = head_pose68(points[None])
    assert np.isfinite([pose.yaw, pose.pitch, pose.roll, pose.confidence]).all()


def test_scattered_points_have_no_confidence() -> None:
    rng = np.random.default_rng(1)
    assert head_pose68(seen(0, 0, 0)[None] + rng.normal(0, 30, (1, 68, 3))).confidence[0] < 0.1


@pytest.fixture(scope="module")
def rendered() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses (N, 3) of rendered heads, their points as the landmarker sees them and as they are, (N, 468, 3) each."""
    landmarker = make(LANDMARKERS, "litert", "--landmarker")
    rng = np.random.default_rng(5)
    poses, found, known = [], [], []
    for number in range(18):
        yaw, pitch, roll = rng.uniform(-45, 45), rng.uniform(-20, 20), rng.uniform(-20, 20)
        view = View(yaw, pitch, roll, mouth=0.3 * (number % 3), brows=0.5 * (number % 2))
        head = (hopper(), painted(0), painted(1))[number % 3]
        points = truth(head, view, (240, 240))
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        region = np.array([*(low + high) / 2, *(1.5 * (high - low)), -np.radians(roll)])
        found.append(landmarker.landmark(render(head, view, (240, 240)), region).points[:468])
        known.append(points)
        poses.append((yaw, pitch, roll))
    return np.array(poses), np.array(found), np.array(known)


@pytest.mark.parametrize(
    ("source", "with_depth", "limit"),
    [("truth", True, 2.0), ("truth", False, 4.0), ("landmarker", True, 3.5), ("landmarker", False, 4.5)],
)
def test_poses_of_rendered_heads(
    source: str, with_depth: bool, limit: float, rendered: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    poses, found, known = rendered
    points = np.stack([sixty_eight(p) for p in (known if source == "truth" else found)])
    pose = head_pose68(points if with_depth else flat(points))
    error = np.stack([pose.yaw, pose.pitch, pose.roll], 1) - poses
    error[:, 1] -= np.median(error[:, 1])  # absolute pitch depends on the face: `curate.face.pose.zero`
    assert np.abs(error).mean(0) == pytest.approx(np.zeros(3), abs=limit)
    assert np.abs(error[:, 2]).mean() < 1.5
    assert pose.confidence.min() > 0.5


def test_it_agrees_with_the_mesh(rendered: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    mesh, few = head_pose(rendered[1]), head_pose68(np.stack([sixty_eight(p) for p in rendered[1]]))
    assert np.corrcoef(mesh.yaw, few.yaw)[0, 1] > 0.99
    assert np.corrcoef(mesh.pitch, few.pitch)[0, 1] > 0.93


# ---- a faceset of faces with 68 points


class SixtyEight:
    """The default landmarker's points, those that iBUG has, and none of its blendshapes."""

    points = 68

    def __init__(self, depth: float) -> None:
        self._all: Landmarker = make(LANDMARKERS, "litert", "--landmarker")
        self._depth = depth

    def landmark(self, image: Image, region: np.ndarray) -> Landmarks:
        found = self._all.landmark(image, region)
        outline = found.points[[234, 93, 132, 58, 172, 150, 176, 148, 152, 377, 400, 379, 397, 288, 361, 323, 454]]
        points = np.concatenate([outline, found.points[list(MESH_OF_68)]]) * np.float32([1, 1, self._depth])
        return Landmarks(points, found.score, None)


@pytest.mark.parametrize("name", ["face-alignment", "face-alignment-2d"])
def test_a_faceset_of_68_points_has_poses_and_can_be_chosen_from(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LANDMARKERS, name, lambda: SixtyEight(0.0 if name.endswith("2d") else 1.0))
    engine._backends.cache_clear()
    views = performance(seed=3, frames=160)[::20]
    clip = write_clip(tmp_path / "clip.mp4", hopper(), views, (240, 240), 25)
    settings = (("landmarker", name), ("crop_size", 64))
    done = curate(Request((str(clip),), tmp_path / "set", "A", "research", settings=settings))
    engine._backends.cache_clear()
    table = done.table.set_index("frame")
    assert len(table) >= 7 and table["kept"].all() and (table["status"] == "ok").all()
    yaw = np.array([v.yaw for v in views])[table.index]
    assert np.abs(table["yaw"] - yaw).mean() < 5 and np.corrcoef(table["yaw"], yaw)[0, 1] > 0.97
    assert np.abs(table["roll"] - np.array([v.roll for v in views])[table.index]).mean() < 3
    for null in ("expression", "gaze", "lighting", "light_x", "InterEyeDistance", "EyesOpen", "MouthClosed"):
        assert table[null].isna().all(), null
    for known in ("Sharpness", "HeadSize", "DynamicRange", "UnderExposurePrevention", "landmark_confidence"):
        assert table[known].notna().all(), known
    choice = select_faceset(done.faceset, SelectionOptions("4"))
    assert choice.eligible >= 7 and len(choice.rows) == 4
    chosen = table.loc[table["face_id"].isin(choice.rows["face_id"]), "yaw"]
    assert np.ptp(chosen) > 0.6 * np.ptp(table["yaw"]), "chosen by what is left of the space: the pose"
