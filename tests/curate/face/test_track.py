"""Following faces, and who is who; with fake networks that see coloured squares."""

from __future__ import annotations

import numpy as np
import pytest

from curate.face.mesh import canonical
from curate.face.pose import head_pose, matrix
from curate.face.search import search
from curate.face.track import DETECT_WITHIN, Seen, Tracker, overlap, region_of, region_of_detection
from curate.types import Detection, Landmarks


class FakeDetector:
    """Finds the bounding box of every colour among 1..9 in the red channel."""

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, image: np.ndarray) -> list[Detection]:
        self.calls += 1
        found = []
        for colour in range(1, 10):
            y, x = np.nonzero(image[:, :, 0] == colour)
            if len(x):
                w, h = np.ptp(x) + 1.0, np.ptp(y) + 1.0
                eyes = np.array(
                    [[x.min() + w / 4, y.min() + h / 3], [x.min() + 3 * w / 4, y.min() + h / 3]], np.float32
                )
                found.append(Detection(float(x.min()), float(y.min()), float(w), float(h), 0.9, eyes))
        return found


class FakeLandmarker:
    """Landmarks on the outline of the square under the region's middle; no face where there is none."""

    points = 478

    def landmark(self, image: np.ndarray, region: np.ndarray) -> Landmarks:
        x, y = int(np.clip(region[0], 0, image.shape[1] - 1)), int(np.clip(region[1], 0, image.shape[0] - 1))
        colour = image[y, x, 0]
        points = np.zeros((478, 3), np.float32)
        if colour == 0:
            return Landmarks(points, 0.0, None)
        rows, columns = np.nonzero(image[:, :, 0] == colour)
        points[:, 0] = np.linspace(columns.min(), columns.max(), 478)
        points[:, 1] = np.linspace(rows.min(), rows.max(), 478)
        return Landmarks(points, 0.99, None)


def scene(*squares: tuple[int, int, int], side: int = 60) -> np.ndarray:
    image = np.zeros((240, 320, 3), np.uint8)
    for colour, x, y in squares:
        image[y : y + side, x : x + side, 0] = colour
    return image


@pytest.fixture
def tracker() -> Tracker:
    return Tracker(FakeDetector(), FakeLandmarker(), detect_every=5)


def test_a_moving_face_keeps_its_track_without_detecting_each_frame(tracker: Tracker) -> None:
    tracks = [[s.track for s in tracker.step(scene((1, 10 + 4 * i, 50)))] for i in range(20)]
    assert tracks == [[0]] * 20
    assert tracker.detector.calls <= 5


def test_two_faces_and_a_newcomer(tracker: Tracker) -> None:
    tracker.step(scene((1, 10, 50), (2, 200, 50)))
    seen = [s.track for _ in range(6) for s in tracker.step(scene((1, 10, 50), (2, 200, 50), (3, 100, 150)))]
    assert set(seen) == {0, 1, 2}


def test_the_detectors_turn_comes_by_time_where_frames_are_skipped() -> None:
    tracker = Tracker(FakeDetector(), FakeLandmarker(), detect_every=5)
    tracker.step(scene((1, 10, 50)))
    both = scene((1, 10, 50), (2, 200, 50))
    assert [len(tracker.step(both, passed)) for passed in (1, 10, DETECT_WITHIN)] == [1, 1, 2]


def test_details_are_around_eyes_and_mouth() -> None:
    mesh = np.vstack([canonical().vertices, np.zeros((10, 3))]) * (10, -10, -10) + (200, 150, 0)
    seen = Seen(0, np.zeros(4), Landmarks(mesh.astype(np.float32), 1.0, None), 1.0)
    boxes = seen.details
    for box, corners in zip(boxes, ((33, 133), (263, 362), (61, 291)), strict=True):
        inside = (mesh[list(corners), :2] > box[:2]) & (mesh[list(corners), :2] < box[:2] + box[2:])
        assert inside.all() and box[2] < 1.4 * abs(mesh[corners[0], 0] - mesh[corners[1], 0])
    assert boxes[0][0] < boxes[1][0] and boxes[2][1] > boxes[0][1]


def test_a_lost_face_is_looked_for_at_once_and_gets_a_new_track(tracker: Tracker) -> None:
    assert [s.track for s in tracker.step(scene((1, 10, 50)))] == [0]
    assert tracker.step(scene()) == []
    assert [s.track for s in tracker.step(scene((1, 200, 150)))] == [1]


def test_a_cut_ends_the_track(tracker: Tracker) -> None:
    tracker.step(scene((1, 10, 50)))
    tracker.cut()
    assert [s.track for s in tracker.step(scene((1, 10, 50)))] == [1]


class TurningLandmarker(FakeLandmarker):
    """A head that turns 10 degrees a frame; past 75 the presence falls, as the real network's does."""

    def __init__(self) -> None:
        self.yaw = 30.0

    def landmark(self, image: np.ndarray, region: np.ndarray) -> Landmarks:
        flat = super().landmark(image, region)
        if flat.score == 0:
            return flat
        mesh = np.vstack([canonical().vertices, np.zeros((10, 3))]) @ matrix(self.yaw / 1.085, 0, 0).T * (1, -1, -1)
        low, high = flat.points[:, :2].min(0), flat.points[:, :2].max(0)
        mesh *= float((high - low).max() / np.ptp(mesh[:, :2], axis=0).max())
        mesh[:, :2] += (low + high) / 2 - (mesh[:, :2].min(0) + mesh[:, :2].max(0)) / 2
        return Landmarks(mesh.astype(np.float32), 0.99 if self.yaw < 75 else 0.01, None)


def test_a_profile_is_kept_in_its_track_and_marked() -> None:
    landmarker = TurningLandmarker()
    tracker = Tracker(FakeDetector(), landmarker, detect_every=50)
    seen = []
    for yaw in (30, 40, 50, 60, 70, 80, 85, 80, 70, 60):
        landmarker.yaw = float(yaw)
        seen += tracker.step(scene((1, 50, 50)))
    assert [s.track for s in seen] == [0] * 10
    assert [s.profile for s in seen] == [False] * 5 + [True] * 3 + [False] * 2
    assert head_pose(seen[6].landmarks.points[None]).confidence[0] < 0.3


def test_no_profile_without_a_detection_or_without_a_turn() -> None:
    landmarker = TurningLandmarker()
    tracker = Tracker(FakeDetector(), landmarker, detect_every=50)
    landmarker.yaw = 80.0
    assert [s.profile for s in tracker.step(scene((1, 50, 50)))] == [True]
    tracker.detector.detect = lambda image: []
    assert tracker.step(scene((1, 50, 50))) == []
    absent = Tracker(FakeDetector(), landmarker, detect_every=50)
    landmarker.landmark = lambda image, region: Landmarks(FakeLandmarker().landmark(image, region).points, 0.2, None)
    assert absent.step(scene((1, 50, 50))) == []


def test_a_tiny_face_is_left_out(tracker: Tracker) -> None:
    assert tracker.step(scene((1, 10, 50), side=12)) == []


def test_overlap() -> None:
    a = np.array([0, 0, 10, 10.0])
    assert overlap(a, a) == pytest.approx(1)
    assert overlap(a, np.array([5, 0, 10, 10.0])) == pytest.approx(1 / 3)
    assert overlap(a, np.array([20, 0, 10, 10.0])) == 0


def test_regions_turn_with_the_eyes() -> None:
    points = np.zeros((478, 3), np.float32)
    points[33, :2], points[263, :2] = (100, 100), (150, 150)
    points[:, :2] += np.where(points[:, :2] == 0, 125, 0)
    assert region_of(Landmarks(points, 1, None))[4] == pytest.approx(np.pi / 4)
    detection = Detection(0, 0, 40, 60, 1, np.array([[10, 10], [10, 30]], np.float32))
    assert region_of_detection(detection) == pytest.approx([20, 30, 90, 90, np.pi / 2])


class OneWayUp:
    """Finds a bright block only where its darker half is below it, and none that touches the picture's edge."""

    def detect(self, image: np.ndarray) -> list[Detection]:
        y, x = np.nonzero(image[:, :, 0])
        if not len(x) or min(x.min(), y.min()) == 0 or image[y.min(), x.min(), 0] < image[y.max(), x.max(), 0]:
            return []
        low, size = (float(x.min()), float(y.min())), (float(np.ptp(x)), float(np.ptp(y)))
        return [Detection(*low, *size, 0.9, np.array([low, (low[0] + size[0], low[1])], np.float32))]


def test_search_finds_close_ups_and_heads_upside_down_in_their_own_place() -> None:
    close = np.zeros((100, 160, 3), np.uint8)
    close[:50], close[50:] = 200, 100
    (found,) = next(search(OneWayUp(), close))
    assert (found.x, found.y, found.width, found.height) == (0, 0, 159, 99)
    down = np.zeros((100, 160, 3), np.uint8)
    down[20:40, 30:60], down[40:70, 30:60] = 100, 200
    (found,) = next(search(OneWayUp(), down))
    assert (found.x, found.y, found.width, found.height) == (30, 20, 29, 49)
    assert found.keypoints == pytest.approx(np.array([[59, 69], [30, 69]]))  # right eye on image right: upside down
    for turns in (1, 3):
        side = np.ascontiguousarray(np.rot90(np.ascontiguousarray(down[::-1]), turns))
        (found,) = next(search(OneWayUp(), side))
        y, x = np.nonzero(side[:, :, 0])
        assert (found.x, found.y, found.width, found.height) == (x.min(), y.min(), np.ptp(x), np.ptp(y))
    assert not list(search(OneWayUp(), np.zeros((100, 160, 3), np.uint8)))


class Reluctant(FakeDetector):
    """Finds nothing but in the longer search, whose first views are larger than the frame."""

    def detect(self, image: np.ndarray) -> list[Detection]:
        return super().detect(image) if image.shape[0] > 240 else []


def test_what_only_the_longer_search_finds_must_be_shaped_as_a_face() -> None:
    frame = scene((1, 50, 50))
    assert Tracker(FakeDetector(), FakeLandmarker(), 5).step(frame)  # its mesh is a line, which presence alone accepts
    assert Tracker(Reluctant(), FakeLandmarker(), 5).step(frame) == []
    landmarker = TurningLandmarker()
    assert [s.profile for s in Tracker(Reluctant(), landmarker, 5).step(frame)] == [False]
    landmarker.yaw = 80.0
    assert [s.profile for s in Tracker(Reluctant(), landmarker, 5).step(frame)] == [True]


def test_the_search_goes_on_where_the_landmarker_sees_no_face() -> None:
    landmarker, looks = TurningLandmarker(), iter([0.2, 0.2])
    honest = landmarker.landmark

    def first_rejected(image: np.ndarray, region: np.ndarray) -> Landmarks:
        found = honest(image, region)
        return Landmarks(found.points, next(looks, found.score), None)

    landmarker.landmark = first_rejected
    assert len(Tracker(Reluctant(), landmarker, 5).step(scene((1, 50, 50)))) == 1
