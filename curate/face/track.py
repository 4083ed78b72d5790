"""Face tracking from frame to frame: periodic detection, and landmarks in between.

Past about 78 degrees of yaw the landmarker says that there is no face, though its mesh still lies on it. Where the
detector sees a face in the same place, such a profile is kept (`Seen.profile`) and its track goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curate.face.backends import Detector, Landmarker
from curate.face.mesh import AT, LEFT_EYE, LIPS, RIGHT_EYE
from curate.face.pose import head_pose
from curate.face.search import search
from curate.types import Detection, Floats, Image, Landmarks

MIN_PRESENCE = 0.5
SAME_FACE = 0.3
"""Intersection over union at which two boxes are the same face."""
PROFILE_YAW, TURNED_YAW = 40.0, 40.0
"""Degrees of yaw beyond which a mesh without presence may be a profile, and a lost track may go on as one."""
PROFILE_FIT = 0.01
"""Least fit of a profile's mesh (`curate.face.pose.HeadPose.fits`): below, the landmarks have left the face."""
SEARCH_YAW, SEARCH_FIT = 50.0, 0.15
"""The same for faces that only the longer search finds, where the detector errs more; the fit is asked of all of them.
Looked at on seven pictures of AFLW2000-3D and on 153 frames whose faces were covered."""
SEARCH_EVERY = 25
"""Frames without a face between two searches that take longer (`curate.face.search`); each shot begins with one."""
DETECT_WITHIN = 25
"""Frames of the footage within which the detector runs again, however many of them are skipped as still."""
MIN_SIDE = 24
"""Smallest box in pixels that is used."""
DETAIL = 0.6
"""Least height of an eye's or the mouth's box over its width: lids and lips move within it."""
LOOKS = 10
"""Faces of a segment that are also read upside down."""
BETTER = 0.01
"""How much higher the landmarker's score is that way where the face is upside down.

Of 155 upright faces in 33 real clips none was read better so, of the same ones turned 61 of 125."""
MARGIN = 1.5
"""Side of the landmarker's region over the longer side of the box."""


@dataclass(frozen=True)
class Seen:
    """One face in one frame."""

    track: int
    box: NDArray[np.float64]
    """(4,) x, y, width, height in pixels: the landmarks' outline."""
    landmarks: Landmarks
    detection_score: float
    """Of the detection that the track goes back to, or the landmarker's presence since then, whichever is lower."""

    @property
    def details(self) -> tuple[NDArray[np.float64], ...]:
        """Boxes as `box` of both eyes, and of the mouth."""
        points = self.landmarks.points
        groups = (RIGHT_EYE, LEFT_EYE, LIPS) if len(points) >= 468 else (range(36, 42), range(42, 48), range(48, 68))
        return tuple(_around(points[list(group), :2]) for group in groups)

    @property
    def profile(self) -> bool:
        """Whether the landmarker itself does not believe in this face: its pose and landmarks are uncertain."""
        return self.landmarks.score < MIN_PRESENCE


@dataclass
class Tracker:
    """Follows all faces of one segment."""

    detector: Detector
    landmarker: Landmarker
    detect_every: int
    looks: int = 0
    """Faces that were also read upside down."""
    inverted: int = 0
    """Of these, faces that are read better so."""
    _active: dict[int, Seen] = field(default_factory=dict)
    _next: int = 0
    _since: int = 0
    _passed: int = 0
    """Frames of the footage since the last detection, with those that were skipped."""
    _looked: bool = False
    _empty: int = 0
    """Frames since the last longer search."""
    _searching: bool = False
    """Whether what is detected comes from the longer search."""

    def cut(self) -> None:
        """End all tracks, because a new shot begins."""
        self._active = {}
        self._looked, self._empty = False, 0

    def step(self, image: Image, passed: int = 1) -> list[Seen]:
        """The faces of the next frame, by track; `passed` frames lie between it and the one before, with itself."""
        before = self._active
        self._active = {}
        for track, seen in before.items():
            self._try(image, track, region_of(seen.landmarks), seen.detection_score)
        self._since, self._passed = self._since + 1, self._passed + passed
        lost = {t: s for t, s in before.items() if t not in self._active}
        due = self._since >= self.detect_every or self._passed >= max(self.detect_every, DETECT_WITHIN)
        if not self._looked or not self._active or lost or due:
            self._detect(image, lost)
            self._invert(image)
        return [self._active[t] for t in sorted(self._active)]

    def _detect(self, image: Image, lost: dict[int, Seen]) -> None:
        self._since, self._passed, self._looked = 0, 0, True
        self._take(image, self.detector.detect(image), lost)
        if self._active:
            self._empty = 0
            return
        if self._empty == 0:
            self._search(image, lost)
        self._empty = 0 if self._active else (self._empty + 1) % SEARCH_EVERY

    def _invert(self, image: Image) -> None:
        """Count whether the largest face is upside down: networks find such faces, and lay an upright mesh on them."""
        seen = max(self._active.values(), key=lambda s: float(s.box[2:].prod()), default=None)
        if seen is None or seen.profile or self.looks >= LOOKS:
            return
        region = region_of(seen.landmarks)
        region[4] += np.pi
        first = self.landmarker.landmark(image, region)
        found = self.landmarker.landmark(image, region_of(first)) if np.isfinite(first.points).all() else first
        self.looks += 1
        self.inverted += int(found.score > seen.landmarks.score + BETTER)

    def _search(self, image: Image, lost: dict[int, Seen]) -> None:
        self._searching = True
        for found in search(self.detector, image):
            self._take(image, found, lost)
            if self._active:
                break
        self._searching = False

    def _take(self, image: Image, detections: list[Detection], lost: dict[int, Seen]) -> None:
        """Take detected faces that are not followed yet into the lost tracks that they go on with, or into new ones."""
        for detection in detections:
            box = np.array([detection.x, detection.y, detection.width, detection.height])
            if min(detection.width, detection.height) < MIN_SIDE:
                continue
            if any(overlap(box, seen.box) > SAME_FACE for seen in self._active.values()):
                continue
            track = next((t for t, s in lost.items() if t not in self._active and _turns_away(s, box)), self._next)
            if self._try(image, track, region_of_detection(detection), detection.score, box):
                self._next = max(self._next, track + 1)

    def _try(
        self,
        image: Image,
        track: int,
        region: NDArray[np.float64],
        score: float,
        detected: NDArray[np.float64] | None = None,
    ) -> bool:
        """Take the face in the region into the track, if there is one; a profile only where one was `detected`.

        A detected face is looked at twice: the second time in the region that its landmarks give, as in later frames.
        """
        landmarks = self.landmarker.landmark(image, region)
        if detected is not None and np.isfinite(landmarks.points).all():
            again = self.landmarker.landmark(image, region_of(landmarks))
            landmarks = again if again.score >= min(landmarks.score, MIN_PRESENCE) else landmarks
        low, high = landmarks.points[:, :2].min(0), landmarks.points[:, :2].max(0)
        box = np.array([*low, *(high - low)], np.float64)
        if not self._is_face(landmarks, box, detected):
            return False
        height, width = image.shape[:2]
        centre = (low + high) / 2
        outside = not (0 <= centre[0] < width and 0 <= centre[1] < height)
        if outside or box[2:].min() < MIN_SIDE or not np.isfinite(box).all():
            return False
        if any(overlap(box, other.box) > SAME_FACE for other in self._active.values()):
            return False
        self._active[track] = Seen(
            track, box, landmarks, score if landmarks.score < MIN_PRESENCE else min(score, landmarks.score)
        )
        return True

    def _is_face(self, landmarks: Landmarks, box: NDArray[np.float64], detected: NDArray[np.float64] | None) -> bool:
        present = landmarks.score >= MIN_PRESENCE
        if len(landmarks.points) < 468 or (present and not self._searching):
            return present
        if not present and (detected is None or overlap(box, detected) <= SAME_FACE):
            return False
        pose = head_pose(landmarks.points[None])
        turned, fit = (SEARCH_YAW, SEARCH_FIT) if self._searching else (PROFILE_YAW, PROFILE_FIT)
        return bool(pose.fits[0] >= fit) and (present or abs(float(pose.yaw[0])) > turned)


def _around(points: Floats) -> NDArray[np.float64]:
    """(4,) box around some points, at least DETAIL of its width high, with a margin of an eighth of its width."""
    low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
    width = max(float(high[0] - low[0]), 1.0)
    middle, size = (low + high) / 2, np.array([1.25 * width, max(float(high[1] - low[1]) + width / 4, DETAIL * width)])
    return np.concatenate([middle - size / 2, size])


def _turns_away(seen: Seen, box: NDArray[np.float64]) -> bool:
    """Whether a lost face was turned so far that the one detected at `box` is the same, now in profile."""
    points = seen.landmarks.points
    if len(points) < 468 or overlap(box, seen.box) <= SAME_FACE:
        return False
    return abs(float(head_pose(points[None]).yaw[0])) > TURNED_YAW


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    inter = np.clip(np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(inter / max(a[2:].prod() + b[2:].prod() - inter, 1e-9))


def region_of(landmarks: Landmarks) -> NDArray[np.float64]:
    """(5,) centre, width, height, roll (radians, image axes) around landmarks, with margin, turned as the eyes are."""
    points: Floats = landmarks.points
    eyes = (AT.right_eye_outer, AT.left_eye_outer) if len(points) >= 468 else (36, 45)
    dx, dy = points[eyes[1], :2] - points[eyes[0], :2]
    roll = float(np.arctan2(dy, dx))
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    turned = points[:, :2] @ turn.T
    low, high = turned.min(0), turned.max(0)
    centre = turn.T @ ((low + high) / 2)
    side = float((high - low).max()) * MARGIN
    return np.array([*centre, side, side, roll])


def region_of_detection(detection: Detection) -> NDArray[np.float64]:
    """(5,) as `region_of`, from a detector's box and eyes."""
    dx, dy = detection.keypoints[1] - detection.keypoints[0]
    side = max(detection.width, detection.height) * MARGIN
    middle = (detection.x + detection.width / 2, detection.y + detection.height / 2)
    return np.array([*middle, side, side, float(np.arctan2(dy, dx))])
