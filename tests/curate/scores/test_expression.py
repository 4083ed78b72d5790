"""Expression above a subject's neutral, without what pose explains."""

import numpy as np
import pytest

from curate.axes import EXPRESSION
from curate.face.mesh import BLENDSHAPES, canonical
from curate.face.pose import LEVEL, matrix, zero
from curate.schema import COLUMNS
from curate.scores import expression
from curate.scores.expression import AXES, DISTANCES, FULL, INDEX, LIPS, apply, neutral_of, never_rests, untilted

JAW = INDEX["jawOpen"]


def faces(count: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = 0.3 + rng.normal(0, 0.02, (count, 52))
    lengths = np.array([0.2, 5.0, 0.9]) + rng.normal(0, 0.01, (count, 3))
    return shapes, rng.normal(0.2, 0.02, (count, 2)), lengths, rng.normal(0, (20, 8, 5), (count, 3))


def test_the_subjects_usual_face_is_zero() -> None:
    mine = faces()
    found = apply(neutral_of(*mine), *mine)
    assert np.abs(found.shapes.mean(0)).max() < 0.01 and np.abs(found.gaze.mean(0)).max() < 0.01
    assert all(abs(found.axes[name].mean()) < 0.01 for name in AXES)


def test_two_people_of_other_looks_doing_the_same_read_the_same() -> None:
    mine, theirs = faces(), faces()
    theirs[0][:] += np.random.default_rng(1).random(52) * 0.4
    theirs[2][:] += (0.1, 0.8, -0.2)
    a, b = (apply(neutral_of(*who), *who) for who in (mine, theirs))
    # An opening at rest weighs in how tilt is undone, by a little, and so in which faces are at rest.
    assert np.abs(a.shapes - b.shapes).max() < 1e-3
    assert all(np.abs(a.axes[name] - b.axes[name]).max() < (0.06 if name in FULL else 1e-3) for name in AXES)


def test_what_pose_explains_is_taken_away() -> None:
    mine = faces()
    leak = 0.1 / 30 * mine[3][:, 0]
    mine[0][:, JAW] += leak
    assert apply(neutral_of(*mine), *mine).shapes[:, JAW].std() < 0.5 * leak.std()


def test_who_smiles_whenever_turned_away_still_smiles() -> None:
    mine = faces()
    turned = mine[3][:, 0] > 15
    mine[0][turned, JAW] += 0.7
    found = apply(neutral_of(*mine), *mine).shapes[:, JAW]
    assert np.median(found[turned]) - np.median(found[~turned]) > 0.4


def test_axes_join_blendshapes_and_distances() -> None:
    shapes, gazes, lengths, pose = faces(40)
    pose[:] = 0
    neutral = neutral_of(shapes, gazes, lengths, pose)
    talks, opens = shapes.copy(), lengths.copy()
    talks[:, JAW] += 0.6
    opens[:, DISTANCES.index("mouth opening")] += 1.25
    before, after = (apply(neutral, s, gazes, d, pose).axes for s, d in ((shapes, lengths), (talks, opens)))
    assert after["jawOpen"] - before["jawOpen"] == pytest.approx(np.full(40, 0.25 * 0.6 + 0.75 * 1.25 / 2.5))
    assert after["smile"] == pytest.approx(before["smile"])
    assert {n for names in AXES.values() for n in names} <= set(BLENDSHAPES)
    assert list(AXES) == [c.name for c in COLUMNS if c.group == "axis"] == [axis.name for axis in EXPRESSION]


def test_nulls_stay_nulls_and_do_not_move_the_neutral() -> None:
    mine = faces(80)
    whole = neutral_of(*(part[1:] for part in mine))
    mine[0][0] = np.nan
    found = neutral_of(*mine)
    assert found.level == pytest.approx(whole.level)
    assert np.isnan(apply(found, *mine).shapes[0]).all()
    assert (neutral_of(*(part[:0] for part in mine)).level == 0).all()


def test_distances_stay_when_the_head_turns_and_follow_the_mouth() -> None:
    def seen(yaw: float, pitch: float, gap: float = 0.0) -> np.ndarray:
        model = np.vstack([canonical().vertices, np.zeros((10, 3))])
        model[[lower for _, lower in LIPS], 1] -= gap
        return (model @ matrix(yaw, pitch, 10.0).T * 20 * (1, -1, -1)).astype(np.float32)

    front, turned, wide = (expression.distances(p) for p in (seen(0, 0), seen(35, 15), seen(35, 15, 1.5)))
    assert turned == pytest.approx(front, abs=1e-3)
    assert wide[0] > front[0] + 1 and wide[1:] == pytest.approx(front[1:], abs=1e-3)


def test_tilt_is_undone_alike_up_and_down_and_not_at_the_subjects_zero() -> None:
    lengths = np.tile([0.5, 5.0, 0.9], (4, 1))
    pose = np.array([[0, 10.0, 0], [0, 30.0, 0], [0, -10.0, 0], [0, np.nan, 0]])
    found = untilted(lengths, pose, 10.0)
    assert found[0] == pytest.approx(lengths[0])
    assert (found[1:3, 0] > lengths[1:3, 0]).all(), "a tilted head's mouth is read as too small"
    assert np.isnan(found[3, 0]) and found[3, 1] == 5.0


@pytest.mark.parametrize("share", [0.0, 0.7, 0.95])
def test_neutral_is_the_resting_face_however_rare(share: float) -> None:
    random = np.random.default_rng(4)
    count = 1200
    shapes = np.clip(random.normal(0.04, 0.01, (count, 52)), 0, 1)
    lengths = np.tile([0.02, 5.0, 1.0], (count, 1)) + random.normal(0, 0.01, (count, 3))
    busy = (np.arange(count) // 60 + 0.5) / (count / 60) < share  # in stretches, as people smile
    smile = [INDEX["mouthSmileLeft"], INDEX["mouthSmileRight"]]
    shapes[np.ix_(busy, smile)] += 0.7
    shapes[busy, JAW] += 0.4
    lengths[busy] += (0.9, 0.6, 0.0)
    pose = random.normal(0, 4, (count, 2))
    neutral = neutral_of(shapes, np.zeros((count, 2)), lengths, pose)
    found = apply(neutral, shapes, np.zeros((count, 2)), lengths, pose)
    still = ~busy
    for name in AXES:
        assert abs(np.median(found.axes[name][still])) < 0.05, name
    if share:
        assert np.median(found.axes["smile"][busy]) > 0.4


def test_who_smiles_throughout_is_told_to_never_rest() -> None:
    mine = faces()
    mine[0][:] -= 0.25
    assert never_rests(neutral_of(*mine)) == ()
    mine[0][:, [INDEX["mouthSmileLeft"], INDEX["mouthSmileRight"]]] += 0.5
    assert never_rests(neutral_of(*mine)) == ("a smile",)


@pytest.mark.parametrize("share", [0.0, 0.7, 0.95])
def test_pitch_zero_is_the_level_head_of_somebody_who_looks_down(share: float) -> None:
    random = np.random.default_rng(5)
    pitch = 2.0 + random.normal(0, 2, 2000)
    pitch[: round(2000 * share)] += 22
    assert zero(pitch, np.zeros(2000), np.ones(2000)) == pytest.approx(2.0, abs=3)
    assert zero(pitch + 40, np.zeros(2000), np.ones(2000)) == LEVEL
    assert zero(np.zeros(0), np.zeros(0), np.zeros(0)) == 0
