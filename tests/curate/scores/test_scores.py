"""Expression, lighting and quality measures on inputs whose answer is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from curate.face.align import crop_matrix, transform
from curate.face.mesh import BLENDSHAPES, canonical
from curate.face.pose import matrix
from curate.schema import QUALITY
from curate.scores import expression, lighting, quality


def face(yaw: float = 0.0) -> np.ndarray:
    turned = canonical().vertices @ matrix(yaw, 0, 0).T * 10
    points = turned * (1, -1, -1) + (128, 128, 0)
    return np.concatenate([points, np.repeat(points[[33, 263]], 5, 0)])


def shaded(light: np.ndarray, ambient: float, key: float, yaw: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A grey Lambertian head painted triangle by triangle, linear light encoded as sRGB."""
    mesh = canonical()
    points = transform(face(yaw), crop_matrix(face(yaw), "full", 128))
    image = np.full((128, 128, 3), 40, np.uint8)
    v = mesh.vertices @ matrix(yaw, 0, 0).T
    a, b, c = (v[mesh.triangles[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    for i in np.argsort((a + b + c)[:, 2]):
        linear = 0.5 * (ambient + key * max(float(normal[i] @ light), 0))
        level = 255 * (1.055 * min(linear, 1) ** (1 / 2.4) - 0.055)
        cv2.fillConvexPoly(image, np.round(points[mesh.triangles[i], :2]).astype(np.int32), (level,) * 3)
    return image, points


def read(image: np.ndarray, points: np.ndarray, rotation: np.ndarray | None = None) -> lighting.Light | None:
    turn = np.eye(3) if rotation is None else rotation
    return lighting.estimate(lighting.skin_colours(image, points, turn), turn)


@pytest.mark.parametrize("light", [(0.7, 0.2, 0.7), (-0.7, 0.2, 0.7), (0, 0.7, 0.7), (0, 0, 1)])
def test_light_direction_on_a_lambertian_head(light: tuple[float, float, float]) -> None:
    unit = np.array(light) / np.linalg.norm(light)
    image, points = shaded(unit, 0.3, 0.9)
    found = read(image, points)
    assert found is not None
    angle = np.degrees(np.arccos(np.clip(found.direction @ unit, -1, 1)))
    assert angle < 15
    assert 0.5 < found.contrast <= 1


def test_light_of_a_turned_head_is_in_the_camera_axes() -> None:
    unit = np.array([0.6, 0.2, 0.77])
    image, points = shaded(unit, 0.3, 0.9, yaw=30)
    found = read(image, points, matrix(30, 0, 0))
    assert found is not None and found.direction[0] > 0.3


def test_exposure_and_colour_of_the_light() -> None:
    image, points = shaded(np.array([0, 0, 1.0]), 0.5, 0.4)
    base = read(image, points)
    warm = read((image * (1, 0.8, 0.6)).astype(np.uint8), points)
    assert base is not None and warm is not None
    assert base.warmth == pytest.approx(0, abs=0.02)
    assert warm.warmth > 1 and warm.exposure < base.exposure


def test_too_little_skin_gives_no_light() -> None:
    assert read(np.full((128, 128, 3), 255, np.uint8), face()) is None


def test_directions_of_light_are_even_on_the_sphere() -> None:
    d, shading = lighting.sphere(500)
    assert np.linalg.norm(d, axis=1) == pytest.approx(np.ones(500))
    assert np.abs(d.mean(0)).max() < 0.02
    assert shading.shape == (len(lighting.skin()[0]), 500) and shading.min() == 0 and 0.9 < shading.max() <= 1.0001


def test_bias_of_the_light_treats_left_and_right_alike() -> None:
    d = lighting.sphere(50)[0]
    there, mirrored = lighting.unbiased(d), lighting.unbiased(d * (-1, 1, 1))
    assert mirrored * (-1, 1, 1) == pytest.approx(there)
    assert lighting.unbiased(d, lighting.NO_BIAS) == pytest.approx(d)


def test_black_share_tells_hard_light_from_soft() -> None:
    hard, soft = shaded(np.array([1.0, 0, 0]), 0.0, 0.9), shaded(np.array([1.0, 0, 0.5]), 0.3, 0.6)
    found = lighting.black(np.stack([lighting.skin_colours(*one, np.eye(3)) for one in (hard, soft)]))
    assert found[0] > lighting.BLACK_SHARE > found[1]
    assert lighting.black(np.zeros((1, len(lighting.skin()[0]), 3), np.uint8))[0] == 0


def test_gaze_signs() -> None:
    b = np.zeros(52, np.float32)
    b[[BLENDSHAPES.index("eyeLookOutLeft"), BLENDSHAPES.index("eyeLookInRight")]] = 0.8
    b[[BLENDSHAPES.index("eyeLookUpLeft"), BLENDSHAPES.index("eyeLookUpRight")]] = 0.5
    assert expression.gaze(b) == pytest.approx([0.8, 0.5])


@pytest.fixture(scope="module")
def textured() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    noise = cv2.GaussianBlur(rng.normal(0, 60, (256, 256)).astype(np.float32), (0, 0), 1.2)
    base = np.array([190, 140, 115], np.float32) + noise[..., None]
    points = transform(face(), crop_matrix(face(), "full", 256))
    return np.clip(base, 0, 255).astype(np.uint8), points


def measure(image: np.ndarray, points: np.ndarray) -> dict[str, float]:
    return quality.measure(image, points, face(), 0.0, image)


def test_every_quality_column_is_measured_and_has_a_scalar(textured) -> None:
    wanted = {c.name for c in QUALITY}
    # those two are read from the skin's colours, and from neighbouring frames
    assert set(measure(*textured)) == wanted - {"FaceOcclusionPrevention", "LandmarkJump"}
    assert set(quality.SCALARS) == wanted
    for column in QUALITY:
        low, high = quality.scalar(column.name, np.array([0.0, 1.0]))
        assert (high > low) == (column.higher_is_better is not False) and min(low, high) >= 0 and max(low, high) <= 100
    assert np.isnan(quality.scalar("Sharpness", np.array([np.nan])))[0]


def test_a_streak_is_motion_blur_and_leaves_sharpness(textured) -> None:
    image, points = textured
    plain = measure(image, points)
    streak = measure(cv2.filter2D(image, -1, np.full((1, 15), 1 / 15)), points)
    soft = measure(cv2.GaussianBlur(image, (0, 0), 3), points)
    assert streak["MotionBlur"] > plain["MotionBlur"] + 0.5
    assert abs(soft["MotionBlur"] - plain["MotionBlur"]) < 0.3
    assert plain["Sharpness"] - soft["Sharpness"] > 3 * abs(plain["Sharpness"] - streak["Sharpness"])


def test_sharpness_does_not_follow_contrast_and_exposure(textured) -> None:
    image, points = textured
    grey = (image.astype(float) * 0.5 + 40).astype(np.uint8)
    assert measure(grey, points)["Sharpness"] == pytest.approx(measure(image, points)["Sharpness"], abs=0.1)


def test_sharpness_falls_with_blur(textured) -> None:
    image, points = textured
    values = [measure(cv2.GaussianBlur(image, (0, 0), s), points)["Sharpness"] for s in (0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True)


def test_blockiness_grows_with_jpeg(textured) -> None:
    image, points = textured
    smooth = cv2.GaussianBlur(image, (0, 0), 2)

    def jpeg(q: int) -> float:
        data = cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_QUALITY, q])[1]
        return measure(cv2.imdecode(data, cv2.IMREAD_COLOR), points)["CompressionArtifacts"]

    assert jpeg(5) > 3 * jpeg(95)


def test_exposure_colour_and_range(textured) -> None:
    image, points = textured
    plain = measure(image, points)
    dark = measure((image * 0.12).astype(np.uint8), points)
    light = measure(np.clip(image.astype(int) + 120, 0, 255).astype(np.uint8), points)
    assert dark["UnderExposurePrevention"] < 0.9 < plain["UnderExposurePrevention"]
    assert light["OverExposurePrevention"] < 0.9 < plain["OverExposurePrevention"]
    assert dark["DynamicRange"] < plain["DynamicRange"]
    assert measure(image[:, :, ::-1].copy(), points)["NaturalColour"] > 10 > plain["NaturalColour"]


def test_uniformity_falls_when_one_side_is_dark(textured) -> None:
    image, points = textured
    half = image.copy()
    half[:, 128:] //= 3
    assert measure(half, points)["IlluminationUniformity"] < 0.5 < measure(image, points)["IlluminationUniformity"]


def test_geometry_measures() -> None:
    points = face()
    assert quality.inter_eye_distance(points, 0) == pytest.approx(quality.inter_eye_distance(face(40), 40), rel=0.1)
    open_mouth = points.copy()
    open_mouth[14] += (0, 30, 0)
    assert quality.mouth_closed(open_mouth) < quality.mouth_closed(points)
    shut = points.copy()
    shut[[159, 386]] = shut[[145, 374]]
    assert quality.eyes_open(shut) == 0 < quality.eyes_open(points)
