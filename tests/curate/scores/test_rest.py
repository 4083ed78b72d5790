"""The subject's neutral and zero of pitch from rendered heads that hardly ever rest."""

from __future__ import annotations

import numpy as np
import pytest

from curate.face.backends import LANDMARKERS, make
from curate.face.pose import head_pose, zero
from curate.face.track import region_of
from curate.scores import expression
from curate.turntable import Head, View, hopper, painted, render, truth

SIZE, VIEWS = (240, 240), 6
MOODS = {"smiles": View(smile=1.0), "talks": View(mouth=0.5), "looks down": View(pitch=22.0)}
FACES = 1200
STRETCH = 60
"""Faces in all, and those of one mood in a row."""
Seen = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def seen(head: Head, mood: View, seed: int) -> Seen:
    """Blendshapes, gaze, distances and pose of a head that moves a little, in a mood."""
    landmarker, random = make(LANDMARKERS, "litert", "--landmarker"), np.random.default_rng(seed)
    found = []
    for _ in range(VIEWS):
        yaw, pitch, roll = random.normal(0, (8, 3, 3))
        view = View(yaw, mood.pitch + pitch, roll, mouth=mood.mouth * random.uniform(0.6, 1), smile=mood.smile)
        low, high = (f(truth(head, view, SIZE)[:, :2], 0) for f in (np.min, np.max))
        region = np.array([*(low + high) / 2, *(1.5 * (high - low)), -np.radians(roll)])
        image = render(head, view, SIZE)
        landmarks = landmarker.landmark(image, region_of(landmarker.landmark(image, region)))
        assert landmarks.blendshapes is not None
        pose = head_pose(landmarks.points[None])
        row = landmarks.blendshapes, expression.gaze(landmarks.blendshapes), expression.distances(landmarks.points)
        found.append((*row, [pose.yaw[0], pose.pitch[0]]))
    return tuple(np.array(column, np.float64) for column in zip(*found, strict=True))  # type: ignore[return-value]


@pytest.fixture(scope="module", params=[0, 1], ids=["hopper", "painted"])
def faces(request: pytest.FixtureRequest) -> dict[str, Seen]:
    head = (hopper, lambda: painted(1))[request.param]()
    return {name: seen(head, mood, i) for i, (name, mood) in enumerate({"rests": View(), **MOODS}.items())}


def footage(faces: dict[str, Seen], mood: str, share: float) -> Seen:
    """Footage in which the head is in the mood for a share of the time, in stretches."""
    random = np.random.default_rng(1)
    busy = np.repeat(np.arange(FACES // STRETCH) < round(share * FACES / STRETCH), STRETCH)
    rows = random.integers(0, VIEWS, FACES)
    return tuple(  # type: ignore[return-value]
        np.where(busy[:, None], often[rows], calm[rows]) + random.normal(0, 0.002, (FACES, calm.shape[1]))
        for often, calm in zip(faces[mood], faces["rests"], strict=True)
    )


@pytest.mark.parametrize("share", [0.7, 0.95])
@pytest.mark.parametrize("mood", MOODS)
def test_neutral_is_the_resting_face_whatever_the_head_does_throughout(
    faces: dict[str, Seen], mood: str, share: float
) -> None:
    known, found = (expression.neutral_of(*f) for f in (footage(faces, mood, 0.0), footage(faces, mood, share)))
    true, read = (expression.apply(neutral, *faces["rests"]).axes for neutral in (known, found))
    for name in expression.AXES:
        assert np.median(read[name]) == pytest.approx(np.median(true[name]), abs=0.05), name


@pytest.mark.parametrize("share", [0.7, 0.95])
def test_zero_of_pitch_is_the_level_head_of_one_that_looks_down(faces: dict[str, Seen], share: float) -> None:
    pitch, yaw = footage(faces, "looks down", share)[3].T[::-1]
    level = faces["rests"][3]
    assert zero(pitch, yaw, np.ones(FACES)) == pytest.approx(np.median(level[:, 1]), abs=3)


def test_who_never_shuts_the_mouth_is_told(faces: dict[str, Seen]) -> None:
    assert expression.never_rests(expression.neutral_of(*footage(faces, "talks", 1.0))) == ("an open mouth",)
    rare, always = (expression.neutral_of(*footage(faces, "talks", share)) for share in (0.95, 0.0))
    assert expression.never_rests(rare) == expression.never_rests(always)
