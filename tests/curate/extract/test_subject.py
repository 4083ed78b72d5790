"""Who is the subject: by anchor, photo or majority; which of its faces is kept."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from curate.dataset.faceset import Faceset
from curate.errors import NobodyError, UsageError, WorkError
from curate.extract import naming
from curate.extract.subject import AGAIN, MISSING, NOBODY, OTHER_PERSON, PASSING, find_people
from curate.extract.tracks import DISSOLVE, Track, Tracks
from curate.settings import Grouping, Settings
from curate.types import Anchor

PEOPLE = np.random.default_rng(0).normal(0, 0.6 / np.sqrt(128), (6, 128)).astype(np.float32)


def track(person: int, first: int, last: int, **changes: object) -> Track:
    name = f"{person}-{first:03}-{last:03}-{changes.get('area', 0)}"
    values = {"vector": PEOPLE[person], "area": 100.0 * (last - first + 1), "clip": "a", "shot": 0, "reason": None}
    return Track(face=name, first=first, last=last, frames=last - first + 1, **{**values, **changes})  # type: ignore


def faceset(**changes: object) -> Faceset:
    return Faceset(Path("set"), None, (), Settings(), **changes)  # type: ignore[arg-type]


def anchor(*looks: np.ndarray, how: str = "majority") -> Anchor:
    return Anchor(how, tuple(tuple(map(float, look)) for look in looks), "dlib", ("x",))  # type: ignore[arg-type]


def test_the_anchor_keeps_the_subject_whoever_is_seen_longer() -> None:
    tracks = Tracks([track(0, 0, 59), track(1, 100, 219)])
    alone = find_people(Tracks(tracks.tracks[:1]), faceset())
    assert alone.anchor.how == "majority" and alone.anchor.tracks == (tracks.tracks[0].face,)
    later = find_people(tracks, faceset(anchor=alone.anchor))
    assert later.anchor == alone.anchor
    assert (later.person, later.kept, later.subject) == ({0: 1, 1: 0}, {0}, 1)
    assert later.reasons == {1: OTHER_PERSON}
    assert find_people(tracks, faceset()).kept == {1}, "without an anchor the longer one"


def test_nobody_is_named_where_the_subject_is_gone() -> None:
    with pytest.raises(NobodyError, match=r"looks like the subject \(identity distance 0\.\d{3}, limit 0\.500\)"):
        find_people(Tracks([track(1, 0, 99)]), faceset(anchor=anchor(PEOPLE[0])))
    with pytest.raises(NobodyError, match="clear enough"):
        find_people(Tracks([track(1, 0, 99, vector=None)]), faceset())


def test_two_looks_are_one_subject() -> None:
    beard = PEOPLE[0].copy()
    beard[:60] += 0.6 / np.sqrt(60)
    tracks = Tracks([track(0, 0, 59), track(1, 100, 399), track(0, 60, 90, vector=beard)])
    assert find_people(tracks, faceset(anchor=anchor(PEOPLE[0]))).kept == {0}
    for given in (faceset(anchor=anchor(PEOPLE[0], beard)), faceset(persons=(1, 2))):
        both = find_people(tracks, given)
        assert both.kept == {0, 2} and both.person == {0: 1, 1: 0, 2: 1} and len(both.centres) == 2
    photos = tuple(tuple(map(float, v + 0.02)) for v in (PEOPLE[0], beard))
    assert find_people(tracks, faceset(references=photos)).kept == {0, 2}
    with pytest.raises(UsageError, match="--person 7"):
        find_people(tracks, faceset(persons=(7,)))


def test_with_a_photo_only_tracks_near_it_stay() -> None:
    twin, photo = PEOPLE[0].copy(), PEOPLE[0].copy()
    twin[:50] += 0.454 / np.sqrt(50)
    photo[:50] -= 0.2 / np.sqrt(50)
    tracks = Tracks([track(0, 0, 59), track(0, 100, 130, vector=twin)])
    assert find_people(tracks, faceset()).kept == {0, 1}, "at 0.454 they are one person"
    assert find_people(tracks, faceset(grouping=Grouping(0.42))).kept == {0}
    seen = Tracks([track(0, 0, 59), track(0, 20, 40, vector=twin)], {(0, 1)})
    assert find_people(seen, faceset()).person == {0: 0, 1: 1}, "seen in the same frames"


def test_one_track_is_kept_where_the_subject_is_seen_twice() -> None:
    left, again = track(0, 0, 40, area=900.0), track(0, 50, 99, area=800.0)
    right = track(0, 0, 99, area=1000.0, vector=PEOPLE[0] + 0.01)
    elsewhere = track(0, 0, 99, shot=1, area=10.0)
    found = find_people(Tracks([left, again, right, elsewhere], {(0, 2), (1, 2)}), faceset())
    assert found.kept == {2, 3}
    assert found.reasons == {0: AGAIN, 1: AGAIN}


def test_tracks_without_a_clear_face_are_nobodys() -> None:
    tracks = [track(0, 0, 9), track(0, 10, 19, vector=None), track(0, 20, 29, vector=None, reason=DISSOLVE)]
    found = find_people(Tracks(tracks), faceset())
    assert found.person == {0: 0, 1: MISSING, 2: MISSING}
    assert found.reasons == {1: NOBODY, 2: DISSOLVE}
    assert found.of([1]).person == {1: MISSING} and found.of([1]).vectors == {}


def test_a_passing_track_is_nobody_of_its_own_but_may_be_somebody() -> None:
    near = PEOPLE[0] + 0.3 / np.sqrt(128)
    blur = PEOPLE[1] + (PEOPLE[0] - PEOPLE[1]) * 0.3
    tracks = [track(0, 0, 59), track(0, 70, 72, vector=near, brief=True), track(1, 80, 80, vector=blur, brief=True)]
    found = find_people(Tracks(tracks), faceset())
    assert found.person == {0: 0, 1: 0, 2: MISSING} and found.reasons == {2: PASSING} and 2 not in found.vectors
    assert find_people(Tracks(tracks, {(0, 1)}), faceset()).person[1] == MISSING, "seen next to the one that it is near"
    assert find_people(Tracks(tracks[-1:]), faceset()).kept == {0}, "nobody else is there"


def test_an_anchor_is_carried_to_another_identity_model_by_its_tracks() -> None:
    tracks = [track(0, 0, 9), track(1, 20, 99)]
    old = Anchor("person", ((9.0,) * 128,), "other", (tracks[0].face,))
    found = find_people(Tracks(tracks), faceset(anchor=old))
    assert found.kept == {0} and found.anchor.identifier == "dlib" and found.anchor.looks[0][0] == PEOPLE[0][0]
    with pytest.raises(NobodyError, match="--identifier other"):
        find_people(Tracks(tracks[1:]), faceset(anchor=old))


def test_a_photo_like_a_part_of_the_footage_finds_the_whole_person() -> None:
    grimace = PEOPLE[0] - (PEOPLE[2] - PEOPLE[0]) * 0.2
    photo = PEOPLE[0] + (PEOPLE[2] - PEOPLE[0]) * 0.5
    given = faceset(references=(tuple(map(float, photo)),))
    away = [np.linalg.norm(photo - vector) for vector in (PEOPLE[0], grimace)]
    assert away[0] < 0.45 and 0.5 < away[1] < 0.6
    tracks = [track(0, 0, 99, vector=grimace), track(0, 200, 219), track(1, 300, 400)]
    assert find_people(Tracks(tracks), given).kept >= {1}
    ghost = track(4, 500, 502, vector=PEOPLE[4] + (photo - PEOPLE[4]) * 0.45, brief=True)
    assert 0.4 < np.linalg.norm(ghost.vector - photo) < 0.5, "a face in passing does not make the photo ambiguous"
    assert find_people(Tracks([*tracks, ghost]), given).kept >= {1}
    with pytest.raises(NobodyError, match="may be somebody else"):
        find_people(Tracks([tracks[0], tracks[2], replace(tracks[1], brief=True)]), given)


def test_a_photo_that_suits_two_people_or_is_far_from_all_is_not_guessed_from() -> None:
    middle = (PEOPLE[0] + PEOPLE[1]) / 2
    across = np.array(PEOPLE[2] - middle, np.float64)
    across /= np.linalg.norm(across)
    for distance, told in ((0.7, "nobody"), (0.47, "may be somebody else"), (0.56, "may be somebody else")):
        photo = middle + across * np.sqrt(distance**2 - np.linalg.norm(middle - PEOPLE[0]) ** 2)
        given = faceset(references=(tuple(map(float, photo)),))
        with pytest.raises(NobodyError, match=told):
            find_people(Tracks([track(0, 0, 59), track(1, 100, 219)]), given)
    one, other = (vector + (photo - vector) * 0.36 for vector in PEOPLE[:2])
    parts = [track(0, 0, 99), track(0, 200, 209, vector=one), track(1, 300, 399), track(1, 400, 409, vector=other)]
    assert np.linalg.norm(photo - one) < 0.45 and np.linalg.norm(one - PEOPLE[0]) < 0.3
    with pytest.raises(NobodyError, match=r"does not tell two people apart \(identity distances 0\.3\d and 0\.3\d\)"):
        find_people(Tracks(parts), replace(given, grouping=Grouping(0.5)))


def test_a_photo_of_two_people_names_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "two.png"
    cv2.imwrite(str(path), np.full((80, 160, 3), 120, np.uint8))

    class Fake:
        sides: tuple[int, ...] = ()

        def detect(self, image: np.ndarray) -> list[SimpleNamespace]:
            return [SimpleNamespace(width=side, height=side) for side in self.sides]

        def landmark(self, image: np.ndarray, region: object) -> SimpleNamespace:
            return SimpleNamespace(points=region)

        def chip(self, image: np.ndarray, points: object) -> object:
            return points

        def identify(self, chip: SimpleNamespace) -> np.ndarray:
            return np.full(128, chip.width)

    monkeypatch.setattr(naming, "make", lambda *_: Fake())
    monkeypatch.setattr(naming, "region_of_detection", lambda found: found)
    Fake.sides = (30, 40, 10)
    with pytest.raises(WorkError, match=r"two\.png: shows several faces of similar size"):
        naming.reference_vector(path, Settings())
    Fake.sides = (20, 40, 10)
    assert naming.reference_vector(path, Settings())[0] == 40


def test_photos_as_unlike_as_two_people_are_reported() -> None:
    photos = [Path("a.png"), Path("b.png")]
    near, far = PEOPLE[0] + np.float32(0.01), PEOPLE[1] / np.linalg.norm(PEOPLE[1]) * 0.7 + PEOPLE[0]
    assert naming.asked(faceset(), (), photos, (tuple(PEOPLE[0]), tuple(near)))[1] == ()
    (said,) = naming.asked(faceset(), (), photos, (tuple(PEOPLE[0]), tuple(far)))[1]
    assert said.startswith("a.png and b.png are 0.70 apart")
