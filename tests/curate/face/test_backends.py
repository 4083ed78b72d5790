"""One conformance suite for all detectors, landmarkers and identifiers, a fake of each included.

The networks look at rendered heads whose landmarks are known. Where optional weights (face-alignment's, SFace's) are
not in the cache their backends are left out here (one skipped test each says so), and test_fan.py and test_sface.py
run their plumbing on made-up weights.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.errors import MissingError, UsageError
from curate.extract.pipeline import Request, curate
from curate.face import weights as models
from curate.face.backends import DETECTORS, IDENTIFIERS, LANDMARKERS, fan_weights, make
from curate.face.mesh import AT, canonical, mirrored
from curate.face.pose68 import FIRST, MESH_OF_68
from curate.face.track import overlap, region_of, region_of_detection
from curate.settings import Settings
from curate.turntable import View, hopper, painted, render, truth, write_clip
from curate.types import Detection, Image, Landmarks

VIEWS = (View(), View(yaw=25, pitch=5), View(yaw=-25, roll=10, mouth=0.4), View(pitch=12, scale=0.3, x=0.2, y=-0.1))
SIZE = (480, 480)


class FakeDetector:
    """The largest patch of skin colour, as wide as it is and as high."""

    def detect(self, image: Image) -> list[Detection]:
        soft = cv2.blur(np.ascontiguousarray(image), (9, 9)).astype(int)
        _, _, patches, _ = cv2.connectedComponentsWithStats((soft[..., 0] - soft[..., 2] > 30).astype(np.uint8))
        patches = patches[1:][patches[1:, cv2.CC_STAT_AREA] > 400]
        found = []
        for x, y, width, _, area in sorted(patches.tolist(), key=lambda p: -p[cv2.CC_STAT_AREA]):
            eyes = np.array([[x + 0.28 * width, y + 0.3 * width], [x + 0.72 * width, y + 0.3 * width]], np.float32)
            found.append(Detection(float(x), float(y), float(width), float(width), area / (area + 400), eyes))
        return found


class FakeLandmarker:
    """The canonical mesh, as large as the region lets it be; a face is what is warm in the middle."""

    points = 478

    def landmark(self, image: Image, region: np.ndarray) -> Landmarks:
        x, y, width, height, roll = region
        mesh = canonical().vertices - (0, -0.6, 0)
        turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        per_cm = max(width, height) / 1.5 / np.ptp(mesh[:, 1])
        points = np.zeros((478, 3), np.float32)
        points[:468, :2] = per_cm * (mesh[:, :2] * (1, -1)) @ turn.T + (x, y)
        points[:468, 2] = -per_cm * mesh[:, 2]
        points[468:473], points[473:] = points[[33, 133]].mean(0), points[[263, 362]].mean(0)
        row, column = np.clip([round(y), round(x)], 0, np.array(image.shape[:2]) - 1)
        middle = image[max(row - 9, 0) : row + 9, max(column - 9, 0) : column + 9].astype(float).mean((0, 1))
        warm = middle[0] - middle[2]
        return Landmarks(points, float(np.clip(warm / 40, 0, 1)), None)


class FakeIdentifier:
    """Colours from the forehead to the chin, brightness taken out, through a fixed projection."""

    def chip(self, image: Image, landmarks: np.ndarray) -> Image:
        low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
        zoom = 32 / float((high - low).max())
        return cv2.warpAffine(image, np.column_stack([np.eye(2) * zoom, -low * zoom]), (32, 32))

    def identify(self, chip: Image) -> np.ndarray:
        coarse = cv2.resize(chip, (1, 4), interpolation=cv2.INTER_AREA).reshape(-1).astype(float)
        return (np.random.default_rng(0).normal(0, 0.15, (128, 12)) @ (coarse / max(coarse.mean(), 1))).astype(
            np.float32
        )


TABLES = {"--detector": DETECTORS, "--landmarker": LANDMARKERS, "--identifier": IDENTIFIERS}
FAKES = {"--detector": FakeDetector, "--landmarker": FakeLandmarker, "--identifier": FakeIdentifier}


def at_hand(flag: str) -> list[str]:
    """The backends whose weights are here; those of the defaults are fetched."""
    return [n for n in TABLES[flag] if not lacking(f"{flag} {n}")]


def lacking(choice: str) -> list[str]:
    """Optional weights of a choice that are not here."""
    optional = [name for name, file in models.WEIGHTS.items() if file.choice == choice and models.cached(name) is None]
    fan = fan_weights.missing(choice) if choice in fan_weights.NEEDS else []
    return [*optional, *(file.name for file in fan)]


OPTIONAL = (*fan_weights.NEEDS, *(file.choice for file in models.WEIGHTS.values() if file.choice))


def every(flag: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [*at_hand(flag), "fake"])


@functools.cache
def backend(flag: str, name: str):
    return FAKES[flag]() if name == "fake" else make(TABLES[flag], name, flag)


@functools.cache
def picture(number: int, view: View = VIEWS[0]) -> Image:
    """A head that nobody may write on: the networks get it as it is."""
    image = render((hopper(), painted(0))[number], view, SIZE)
    image.flags.writeable = False
    return image


@functools.cache
def known(number: int, view: View = VIEWS[0]) -> np.ndarray:
    return truth((hopper(), painted(0))[number], view, SIZE)


def box_of(points: np.ndarray) -> np.ndarray:
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return np.array([*low, *(high - low)])


def region(number: int, view: View) -> np.ndarray:
    x, y, width, height = box_of(known(number, view))
    side = 1.5 * max(width, height)
    return np.array([x + width / 2, y + height / 2, side, side, -np.radians(view.roll)])


def empty(kind: str) -> Image:
    rng = np.random.default_rng(7)
    grey = {
        "black": np.zeros((240, 320)),
        "white": np.full((240, 320), 255),
        "noise": rng.integers(0, 256, (240, 320)),
        "soft noise": cv2.GaussianBlur(rng.normal(128, 800, (240, 320)), (0, 0), 6),
        "30 pixels": rng.integers(0, 256, (30, 30)),
        "a line": rng.integers(0, 256, (1, 500)),
        "one pixel": np.full((1, 1), 90),
    }[kind]
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


NOTHING = ("black", "white", "noise", "soft noise", "30 pixels", "a line", "one pixel")


def plain(found: list[Detection]) -> list[tuple[float, ...]]:
    return [(d.x, d.y, d.width, d.height, d.score, *d.keypoints.ravel()) for d in found]


# ---- detectors


@every("--detector")
@pytest.mark.parametrize("view", VIEWS, ids=["frontal", "left", "right", "small"])
@pytest.mark.parametrize("number", [0, 1], ids=["portrait", "painted"])
def test_a_detector_finds_the_head_and_its_eyes(name: str, number: int, view: View) -> None:
    found = backend("--detector", name).detect(picture(number, view))
    assert found
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    assert all(0.5 <= d.score <= 1 and d.width > 0 and d.height > 0 for d in found)
    points = known(number, view)
    best, box = found[0], box_of(points)
    assert overlap(np.array([best.x, best.y, best.width, best.height]), box) > 0.5
    assert best.keypoints.dtype == np.float32 and best.keypoints.ndim == 2 and best.keypoints.shape[1] == 2
    eyes = np.stack([points[[33, 133], :2].mean(0), points[[263, 362], :2].mean(0)])
    assert np.linalg.norm(best.keypoints[:2] - eyes, axis=1).max() < (0.25 if name == "fake" else 0.13) * box[2:].max()
    assert best.keypoints[0, 0] < best.keypoints[1, 0], "the subject's right eye is on image left"


@every("--detector")
def test_a_detector_finds_both_of_two_heads_and_gives_the_better_first(name: str) -> None:
    for pair in (picture(0), picture(1, VIEWS[3])), (picture(0, VIEWS[3]), picture(1)):
        found = backend("--detector", name).detect(np.hstack(pair))
        scores = [d.score for d in found]
        assert {d.x > SIZE[1] for d in found} == {False, True} and scores == sorted(scores, reverse=True)


@every("--detector")
@pytest.mark.parametrize("kind", [kind for kind in NOTHING if kind != "soft noise"])  # blobs may pass for one
def test_a_detector_sees_no_face_where_there_is_none(name: str, kind: str) -> None:
    assert backend("--detector", name).detect(empty(kind)) == []


@every("--detector")
def test_a_detector_moves_with_the_picture_at_any_shape(name: str) -> None:
    image = picture(0)
    wide = np.zeros((560, 700, 3), np.uint8)
    wide[60:540, 150:630] = image
    best, moved = (backend("--detector", name).detect(p)[0] for p in (image, wide))
    shift = np.array([moved.x - best.x, moved.y - best.y]) + (moved.width - best.width) / 2
    assert shift == pytest.approx((150, 60), abs=0.1 * best.width)
    assert moved.keypoints[:2].mean(0) - best.keypoints[:2].mean(0) == pytest.approx((150, 60), abs=0.1 * best.width)


@every("--detector")
def test_a_detector_gives_the_same_again_whatever_the_memory_layout(name: str) -> None:
    detector, image = backend("--detector", name), picture(0)
    before = image.copy()
    first = plain(detector.detect(image))
    detector.detect(picture(1))
    assert plain(detector.detect(image)) == first
    assert plain(detector.detect(np.asfortranarray(image))) == first
    assert plain(detector.detect(image[::-1, ::-1].copy()[::-1, ::-1])) == first
    assert np.array_equal(image, before)


@every("--detector")
def test_a_detector_survives_a_face_at_the_border(name: str) -> None:
    for view in (View(x=0.42), View(y=0.45), View(scale=1.6)):
        for found in backend("--detector", name).detect(picture(0, view)):
            box = np.array([found.x, found.y, found.width, found.height])
            assert np.isfinite([*box, *found.keypoints.ravel()]).all()
            assert overlap(box, np.array([0.0, 0.0, *SIZE])) > 0


# ---- landmarkers


@every("--landmarker")
@pytest.mark.parametrize("view", VIEWS, ids=["frontal", "left", "right", "small"])
@pytest.mark.parametrize("number", [0, 1], ids=["portrait", "painted"])
def test_a_landmarker_finds_the_points(name: str, number: int, view: View) -> None:
    landmarker = backend("--landmarker", name)
    found = landmarker.landmark(picture(number, view), region(number, view))
    assert found.points.shape == (landmarker.points, 3) and found.points.dtype == np.float32
    assert np.isfinite(found.points).all() and 0.5 < found.score <= 1
    wanted = known(number, view)
    seen = found.points[:468] if landmarker.points == 478 else found.points[FIRST:]
    wanted = wanted if landmarker.points == 478 else wanted[list(MESH_OF_68)]
    error = np.linalg.norm(seen[:, :2] - wanted[:, :2], axis=1).mean() / (view.scale * SIZE[0])
    assert error < (0.15 if name == "fake" else 0.025 if name == "litert" else 0.05)
    if found.blendshapes is not None:
        assert found.blendshapes.shape == (52,) and found.blendshapes.dtype == np.float32
        assert found.blendshapes.min() >= 0 and found.blendshapes.max() <= 1


@every("--landmarker")
def test_depth_is_negative_toward_the_camera_or_zero_everywhere(name: str) -> None:
    landmarker = backend("--landmarker", name)
    z = landmarker.landmark(picture(0), region(0, VIEWS[0])).points[:, 2]
    if name == "face-alignment-2d":
        assert not z.any()
    else:
        nose, eyes = (AT.nose_tip, (33, 263)) if landmarker.points == 478 else (30, (36, 45))
        wanted = known(0)[[33, 263], 2].mean() - known(0)[AT.nose_tip, 2]
        assert z[list(eyes)].mean() - z[nose] == pytest.approx(wanted, rel=0.5)


@every("--landmarker")
def test_a_landmarker_turns_and_moves_with_the_picture(name: str) -> None:
    landmarker = backend("--landmarker", name)
    at = region(0, VIEWS[0])
    still = landmarker.landmark(picture(0), at).points
    angle = np.radians(35)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # clockwise: y points down
    matrix = np.column_stack([turn, np.array([250, 230]) - turn @ (240, 240)])
    turned = cv2.warpAffine(picture(0), matrix, SIZE, borderMode=cv2.BORDER_REPLICATE)
    there = np.array([*(matrix @ (*at[:2], 1)), *at[2:4], at[4] + angle])
    found = landmarker.landmark(turned, there).points
    assert np.linalg.norm(found[:, :2] - (still[:, :2] @ turn.T + matrix[:, 2]), axis=1).mean() < 0.01 * at[2]
    assert np.abs(found[:, 2] - still[:, 2]).mean() < 0.01 * at[2]


@every("--landmarker")
@pytest.mark.parametrize("kind", NOTHING)
def test_a_landmarker_doubts_what_is_no_face(name: str, kind: str) -> None:
    landmarker, image = backend("--landmarker", name), empty(kind)
    found = landmarker.landmark(image, np.array([image.shape[1] / 2, image.shape[0] / 2, 150, 150, 0.3]))
    assert found.points.shape == (landmarker.points, 3) and np.isfinite(found.points).all()
    face = landmarker.landmark(picture(0), region(0, VIEWS[0])).score
    assert 0 <= found.score < (face if name.startswith("face-alignment") else 0.5)


@every("--landmarker")
def test_a_landmarker_gives_the_same_again_whatever_the_memory_layout(name: str) -> None:
    landmarker, at = backend("--landmarker", name), region(0, VIEWS[0])
    image, where = picture(0), at.copy()
    where.flags.writeable = False
    first = landmarker.landmark(image, where)
    kept = first.points.copy()
    landmarker.landmark(picture(1), region(1, VIEWS[0]))
    assert np.array_equal(first.points, kept), "a result is not a view of the network's own memory"
    for same in (image, np.asfortranarray(image), image[::-1, ::-1].copy()[::-1, ::-1]):
        again = landmarker.landmark(same, where)
        assert np.array_equal(again.points, first.points) and again.score == first.score
    assert np.array_equal(image, render(hopper(), VIEWS[0], SIZE))


@every("--landmarker")
def test_a_landmarker_reads_beyond_the_border(name: str) -> None:
    view = View(x=0.4)
    found = backend("--landmarker", name).landmark(picture(0, view), region(0, view))
    assert np.isfinite(found.points).all()
    assert abs(found.points[:, 0].mean() - known(0, view)[:, 0].mean()) < 0.25 * region(0, view)[2]


@every("--landmarker")
def test_landmarks_lead_to_the_same_landmarks(name: str) -> None:
    landmarker = backend("--landmarker", name)
    first = landmarker.landmark(picture(0), region(0, VIEWS[0]))
    again = landmarker.landmark(picture(0), region_of(first))
    assert np.linalg.norm(again.points - first.points, axis=1).mean() < 0.05 * region(0, VIEWS[0])[2]


# ---- identifiers


def identity(name: str, number: int, view: View, points: int = 478) -> np.ndarray:
    """As a landmarker with that many points would lead to it."""
    seen = backend("--landmarker", "litert").landmark(picture(number, view), region(number, view)).points
    if points == 68:
        jaw = np.repeat(seen[:1], FIRST, axis=0)
        seen = np.concatenate([jaw, seen[list(MESH_OF_68)]])
    identifier = backend("--identifier", name)
    return identifier.identify(identifier.chip(picture(number, view), seen))


@every("--identifier")
def test_an_identifier_tells_heads_apart(name: str) -> None:
    mine, turned, other = (identity(name, *w) for w in ((0, VIEWS[0]), (0, VIEWS[1]), (1, VIEWS[0])))
    assert mine.shape == (128,) and mine.dtype == np.float32 and np.isfinite(mine).all()
    assert np.linalg.norm(mine - turned) < 0.5 < np.linalg.norm(mine - other)
    assert np.linalg.norm(mine - identity(name, 0, replace(VIEWS[0], key=0.5))) < 0.5, "darker"


def test_dlib_reads_68_points_as_it_reads_478() -> None:
    assert np.linalg.norm(identity("dlib", 0, VIEWS[0]) - identity("dlib", 0, VIEWS[0], 68)) < 0.25


@every("--identifier")
def test_a_chip_is_small_its_own_and_the_same_again(name: str) -> None:
    identifier = backend("--identifier", name)
    landmarks = known(0).astype(np.float32)
    image = picture(0).copy()
    chip = identifier.chip(image, landmarks)
    assert chip.ndim == 3 and chip.shape[0] == chip.shape[1] <= 256 and chip.shape[2] == 3 and chip.dtype == np.uint8
    first = identifier.identify(chip)
    image[:] = 0
    assert np.array_equal(identifier.identify(chip), first)
    assert np.array_equal(identifier.chip(np.asfortranarray(picture(0)), landmarks), chip)


@every("--identifier")
def test_a_chip_is_made_at_the_border_and_of_nothing(name: str) -> None:
    identifier = backend("--identifier", name)
    for image, x, y in (
        (picture(0), 0, 0),
        (empty("noise"), 319, 239),
        (empty("black"), 160, 0),
        (empty("one pixel"), 0, 0),
    ):
        landmarks = known(0).astype(np.float32)
        landmarks[:, :2] += np.array([x, y]) - landmarks[:, :2].mean(0)
        assert np.isfinite(identifier.identify(identifier.chip(image, landmarks))).all()


# ---- what the command line names


def test_the_defaults_exist_and_an_unknown_name_tells_the_choices() -> None:
    settings = Settings()
    assert settings.detector in DETECTORS and settings.landmarker in LANDMARKERS and settings.identifier in IDENTIFIERS
    with pytest.raises(UsageError, match=r"--detector x: must be one of litert, dlib, face-alignment$"):
        make(DETECTORS, "x", "--detector")


@pytest.mark.parametrize(
    ("flag", "name", "module", "package"),
    [
        ("--detector", "litert", "ai_edge_litert.interpreter", "ai-edge-litert"),
        ("--detector", "dlib", "dlib", "dlib-bin"),
        ("--detector", "face-alignment", "face_alignment", "face-alignment"),
        ("--landmarker", "litert", "ai_edge_litert.interpreter", "ai-edge-litert"),
        ("--landmarker", "face-alignment", "face_alignment", "face-alignment"),
        ("--landmarker", "face-alignment-2d", "face_alignment", "face-alignment"),
        ("--identifier", "dlib", "dlib", "dlib-bin"),
    ],
)
def test_a_missing_package_is_told_with_the_command(
    flag: str, name: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingError, match=f"the package {package} is not installed: pip install {package}"):
        make(TABLES[flag], name, flag)


@pytest.mark.parametrize("choice", OPTIONAL)
def test_the_suite_ran_on_the_real_weights_of(choice: str) -> None:
    if files := lacking(choice):
        pytest.skip(f"{', '.join(files)}: not in the cache; see test_fan.py and test_sface.py")
    flag, name = choice.split()
    assert name in at_hand(flag)


def test_what_a_detector_finds_is_a_region_for_the_landmarker() -> None:
    for name in ("litert", "dlib"):
        found = backend("--detector", name).detect(picture(0, VIEWS[2]))[0]
        seen = backend("--landmarker", "litert").landmark(picture(0, VIEWS[2]), region_of_detection(found))
        error = np.linalg.norm(seen.points[:468, :2] - known(0, VIEWS[2])[:, :2], axis=1).mean()
        assert seen.score > 0.9 and error < 0.03 * VIEWS[2].scale * SIZE[0]


def test_a_faceset_is_made_with_dlibs_detector(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", hopper(), [View(yaw=4 * i, roll=i) for i in range(4)], (240, 240), 25)
    settings = (("detector", "dlib"), ("detect_every", 2))
    done = curate(Request((str(clip),), tmp_path / "set", "A", "research", settings=settings))
    assert done.table["frame"].tolist() == list(range(4)) and done.table["kept"].all()
    assert done.table["track"].nunique() == 1 and (done.table["detection_score"] > 0.5).all()
    assert np.abs(done.table["yaw"] - 4 * np.arange(4)).mean() < 5


def test_a_turned_head_is_read_in_a_mirror_too_and_a_frontal_one_once(monkeypatch: pytest.MonkeyPatch) -> None:
    landmarker, read = make(LANDMARKERS, "litert", "--landmarker"), list[int]()
    plain = landmarker._read
    monkeypatch.setattr(landmarker, "_read", lambda crop: (read.append(1), plain(crop))[1])
    head, found = hopper(), {}
    for yaw in (0.0, 50.0):
        image = render(head, View(yaw=yaw), (240, 240))
        points = truth(head, View(yaw=yaw), (240, 240))
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        region = np.array([*(low + high) / 2, *(1.5 * (high - low)), 0])
        read.clear()
        seen = landmarker.landmark(image, region).points
        found[yaw] = len(read)
        # A picture and its mirror image have the same landmarks, but for rounding.
        flipped = np.ascontiguousarray(image[:, ::-1])
        other = landmarker.landmark(flipped, region * (-1, 1, 1, 1, 1) + (239, 0, 0, 0, 0)).points[mirrored()]
        if yaw:
            assert np.abs(other * (-1, 1, 1) + (239, 0, 0) - seen)[:468, :2].max() < 1.5
    assert found == {0.0: 1, 50.0: 2}
