from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curate.face import align
from curate.face.mesh import canonical
from curate.face.pose import SURE, corrected, euler, fit_mesh, head_pose, matrix


def seen(
    yaw: float, pitch: float, roll: float, scale: float = 10.0, at: tuple[float, float] = (200, 150)
) -> np.ndarray:
    """The canonical head as a landmarker would report it: (468, 3), y down, z negative to the camera."""
    turned = canonical().vertices @ matrix(yaw, pitch, roll).T * scale
    return turned * (1, -1, -1) + (*at, 0)


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (0, -20, 0), (0, 0, 25), (50, 15, -10), (-60, -25, 35)])
def test_pose_is_read_back(angles: tuple[float, float, float]) -> None:
    pose = head_pose(seen(*angles)[None])
    expected = [float(angle[0]) for angle in corrected(*(np.array([float(a)]) for a in angles))]
    assert (pose.yaw[0], pose.pitch[0], pose.roll[0]) == pytest.approx(expected, abs=0.01)
    assert pose.fits[0] == pytest.approx(1)
    assert (pose.confidence[0] == pytest.approx(1)) == (abs(pose.yaw[0]) <= SURE)


def test_euler_inverts_matrix() -> None:
    rng = np.random.default_rng(0)
    angles = rng.uniform(-80, 80, (50, 3))
    assert np.stack(euler(matrix(*angles.T)), 1) == pytest.approx(angles)


def test_signs_are_those_of_iso_39794_5() -> None:
    nose = np.array([0, 0, 1.0])
    crown = np.array([0, 1.0, 0])
    assert (matrix(30, 0, 0) @ nose)[0] > 0  # to its own left is image right
    assert (matrix(0, 30, 0) @ nose)[1] < 0  # looks down
    assert (matrix(0, 0, 30) @ crown)[0] < 0  # toward its own right shoulder is image left


def test_a_mesh_that_is_no_face_has_no_confidence() -> None:
    rng = np.random.default_rng(1)
    assert head_pose(seen(0, 0, 0)[None] + rng.normal(0, 30, (1, 468, 3))).confidence[0] < 0.1


def test_fit_gives_scale_and_place() -> None:
    fit = fit_mesh(seen(20, 5, -8, scale=7.5)[None])
    assert fit.scale[0] == pytest.approx(7.5)
    assert fit.shift[0][:2] == pytest.approx((200, -150))


@pytest.mark.parametrize("framing", ["face", "full", "head"])
def test_the_crop_is_upright_centred_and_neither_zoomed_nor_shifted_by_a_turn(framing) -> None:
    straight = seen(0, 0, 0)
    flat = align.transform(straight, align.crop_matrix(straight, framing, 256))
    tilted = seen(0, 0, 30, scale=4, at=(80, 90))
    turned = align.transform(tilted, align.crop_matrix(tilted, framing, 256))
    assert turned == pytest.approx(flat, abs=0.05)
    side = seen(45, 0, 0)
    zoom = [np.hypot(*align.crop_matrix(p, framing, 256)[:, 0]) for p in (straight, side)]
    assert zoom[0] == pytest.approx(zoom[1])


def test_sixty_eight_points_align_like_the_mesh() -> None:
    points = np.zeros((68, 3))
    v = seen(0, 0, 20, scale=6, at=(120, 140))
    points[36:42], points[42:48] = v[[33, 133]].mean(0), v[[362, 263]].mean(0)
    points[33], points[48], points[54] = v[2], v[61], v[291]
    assert align.crop_matrix(points, "full", 128) == pytest.approx(align.crop_matrix(v, "full", 128), abs=3)


def test_warp_takes_the_face_out_of_the_frame() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    points = seen(0, 0, 0, scale=10, at=(250, 120))
    image[100:140, 230:270] = (255, 0, 0)
    crop = align.warp(image, align.crop_matrix(points, "full", 128), 128)
    assert crop.shape == (128, 128, 3)
    assert crop[60:70, 60:70, 0].min() > 200
    assert crop[:10].max() == 0


def test_warp_does_not_alias_when_it_shrinks() -> None:
    image = np.zeros((800, 800, 3), np.uint8)
    image[::2] = 255  # a line pattern far beyond the crop's resolution
    crop = align.warp(image, np.array([[0.1, 0, 0], [0, 0.1, 0]]), 80)
    assert crop[5:-5, 5:-5].std() < 12


@pytest.mark.parametrize("zoom", [0.2, 0.35, 0.49, 0.51, 0.65, 0.8, 0.9])
def test_warp_keeps_the_detail_of_an_area_resize_at_every_zoom(zoom: float) -> None:
    noise = np.random.default_rng(0).normal(128, 60, (600, 600, 3))
    image = np.clip(cv2.GaussianBlur(noise, (0, 0), 1.2) * 2 - 128, 0, 255).astype(np.uint8)
    size = round(500 * zoom)
    zoom = size / 500
    for degrees in (0.0, 7.0):
        turn = cv2.getRotationMatrix2D((300, 300), degrees, zoom)
        turn[:, 2] += (size - 1) / 2 - 300
        crop = align.warp(image, turn, size)
        plain = cv2.resize(image[50:550, 50:550], (size, size), interpolation=cv2.INTER_AREA)
        inner = slice(size // 5, -size // 5)
        assert detail(crop[inner, inner]) == pytest.approx(detail(plain[inner, inner]), rel=0.12)


def test_warp_has_no_step_in_detail_between_neighbouring_zooms() -> None:
    noise = np.random.default_rng(1).normal(128, 60, (600, 600, 3))
    image = np.clip(cv2.GaussianBlur(noise, (0, 0), 1.2) * 2 - 128, 0, 255).astype(np.uint8)
    sweep = np.geomspace(0.3, 1.5, 60)
    turns = [cv2.getRotationMatrix2D((300, 300), 7.0, zoom) - ((0, 0, 172), (0, 0, 172)) for zoom in sweep]
    crops = [align.warp(image, turn, 256) for turn in turns]
    found = np.array([detail(crop[40:-40, 40:-40]) for crop in crops])
    assert np.abs(np.diff(np.log(found))).max() < 0.12


def detail(image: NDArray[np.uint8]) -> float:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(cv2.Laplacian(grey, cv2.CV_32F).std())


def test_hull_mask_covers_the_face_only() -> None:
    points = seen(0, 0, 0, scale=10, at=(150, 150))
    mask = align.hull_mask(points, 300, 300)
    assert mask[150, 150] == 1
    assert mask[5, 5] == 0
    polygon = align.hull(points)
    area = 0.5 * abs(
        np.dot(polygon[:, 0], np.roll(polygon[:, 1], 1)) - np.dot(polygon[:, 1], np.roll(polygon[:, 0], 1))
    )
    assert mask.sum() == pytest.approx(area, rel=0.02)
