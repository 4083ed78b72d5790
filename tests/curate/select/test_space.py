import numpy as np
import pandas as pd
import pytest

from curate.errors import UsageError
from curate.face.mesh import BLENDSHAPES
from curate.select.options import Weights
from curate.select.similarity import Kernel, leaders, net
from curate.select.space import BLOCKS, FLOOR, Space, neutral_of, spread

JAW = BLENDSHAPES.index("jawOpen")


def table(count: int, seed: int = 0, yaw: float = 20.0, jaw: float = 0.3, light: float = 0.4) -> pd.DataFrame:
    """Faces whose pose, expression and light vary independently, with a little noise on everything."""
    rng = np.random.default_rng(seed)
    shapes = np.clip(0.1 + rng.normal(0, 0.005, (count, 52)), 0, 1).astype(np.float32)
    shapes[:, JAW] += jaw * rng.random(count).astype(np.float32)
    lights = rng.normal(0, 0.005, (count, 6)).astype(np.float32)
    lights[:, 0] += light * rng.normal(0, 1, count).astype(np.float32)
    return pd.DataFrame(
        {
            "face_id": [f"{i:06d}" for i in range(count)],
            "yaw": rng.normal(0, yaw, count).astype(np.float32),
            "pitch": rng.normal(0, 3, count).astype(np.float32),
            "roll": rng.normal(0, 3, count).astype(np.float32),
            "expression": list(shapes),
            "gaze": list(rng.normal(0, 0.02, (count, 2)).astype(np.float32)),
            "lighting": list(lights),
        }
    )


def distance(points):
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def test_pose_distance_is_the_chord_between_the_directions_of_two_heads():
    faces = table(3)
    faces[["yaw", "pitch", "roll"]] = [[0.0, 0, 0], [30.0, 0, 0], [0.0, 20.0, 0.0]]
    space = Space.absolute(faces, Weights(1, 0, 0))
    d = distance(space.embed(faces)) * space.scale["pose"]
    assert d[0, 1] == pytest.approx(np.degrees(2 * np.sin(np.radians(15))), rel=1e-4)
    assert d[0, 2] == pytest.approx(np.degrees(2 * np.sin(np.radians(10))), rel=1e-4)


def test_roll_is_no_diversity_and_the_light_turns_with_the_crop():
    faces = table(2)
    faces[["yaw", "pitch"]] = 10.0
    faces["roll"] = [0.0, 40.0]
    faces["expression"], faces["gaze"] = [faces["expression"][0]] * 2, [faces["gaze"][0]] * 2
    turn = np.radians(40.0)
    faces["lighting"] = [
        np.float32(v) for v in ([0.5, 0, 0.2, 0, 0, 0], [0.5 * np.cos(turn), 0.5 * np.sin(turn), 0.2, 0, 0, 0])
    ]
    assert distance(Space.absolute(faces).embed(faces))[0, 1] < 1e-5, "the crops show the same face in the same light"
    faces["lighting"] = [np.float32([0.5, 0, 0.2, 0, 0, 0])] * 2
    assert distance(Space.absolute(faces).embed(faces))[0, 1] > 0.2, (
        "light that stays comes from another side of the face"
    )


def test_a_rare_expression_counts_however_long_the_footage_is():
    faces = table(20_000, jaw=0.0)
    shapes = np.stack(faces["expression"])
    shapes[100:112, BLENDSHAPES.index("cheekPuff")] += 0.5
    rare = faces.assign(expression=list(shapes))
    space = Space.fit(rare)
    expression = space.block(space.embed(rare), "expression")
    usual = np.median(np.linalg.norm(expression[200:400] - expression[0], axis=1))
    assert np.linalg.norm(expression[100:112] - expression[0], axis=1).min() > 3 * usual


@pytest.mark.parametrize("times", [1, 7, 30])
def test_a_held_face_changes_neither_scales_nor_width(times):
    faces = table(500)
    still = pd.concat([faces.iloc[[7]]] * (500 * times), ignore_index=True)
    still["yaw"] += np.random.default_rng(0).normal(0, 0.2, len(still)).astype(np.float32)
    both = pd.concat([faces, still.assign(face_id=[f"s{i}" for i in range(len(still))])], ignore_index=True)
    a, b = Space.fit(faces), Space.fit(both)
    assert b.width == pytest.approx(a.width, rel=0.01) and b.scale == pytest.approx(a.scale, rel=0.01)


def test_misread_faces_do_not_stretch_the_scales():
    again = table(4000, yaw=12)
    wild = again.copy()
    rows = np.random.default_rng(1).choice(len(wild), len(wild) // 20, replace=False)
    wild.loc[rows, "yaw"] = np.random.default_rng(2).uniform(-80, 80, len(rows)).astype(np.float32)
    wild.loc[rows, "pitch"] = np.random.default_rng(3).uniform(-50, 50, len(rows)).astype(np.float32)
    assert Space.fit(wild).scale["pose"] == pytest.approx(Space.fit(again).scale["pose"], rel=0.2)


def test_no_block_drowns_the_others():
    faces = table(800, yaw=40, jaw=0.9, light=1.0)
    space = Space.fit(faces)
    points = space.embed(faces)
    typical = [np.median(distance(space.block(points, name))) for name in BLOCKS]
    assert max(typical) < 3 * min(typical)


@pytest.mark.parametrize("still", BLOCKS)
def test_noise_in_a_block_that_stands_still_is_not_blown_up(still):
    change = {"pose": {"yaw": 0.0}, "expression": {"jaw": 0.0}, "lighting": {"light": 0.0}}[still]
    faces = table(400, **change)
    if still == "pose":
        faces[["pitch", "roll"]] = faces[["pitch", "roll"]] / 10
    space = Space.fit(faces)
    assert space.scale[still] == FLOOR[still]
    points = space.embed(faces)
    noise = np.median(distance(space.block(points, still)))
    assert noise < 0.35 * np.median(distance(points))


def test_weight_zero_removes_a_block_and_weights_scale_it():
    faces = table(100)
    points = Space.fit(faces, Weights(pose=1, expression=0, lighting=3))
    embedded = points.embed(faces)
    assert not points.block(embedded, "expression").any()
    plain = Space.fit(faces, Weights(1, 1, 1))
    ratio = np.linalg.norm(points.block(embedded, "lighting")) / np.linalg.norm(
        plain.block(plain.embed(faces), "lighting")
    )
    assert ratio == pytest.approx(np.sqrt((3 / 4) / (1 / 3)), rel=1e-4)


@pytest.mark.parametrize("bad", [{"pose": -1}, {"expression": float("nan")}, {"lighting": float("inf")}])
def test_bad_weights_are_refused_by_name(bad):
    with pytest.raises(UsageError, match=f"--weight-{next(iter(bad))}"):
        Weights(**bad)
    with pytest.raises(UsageError, match="all 0"):
        Weights(0, 0, 0)


def test_nulls_stand_for_the_median():
    faces = table(60)
    faces["expression"] = faces["expression"].astype(object)
    for column in ("expression", "gaze", "lighting"):
        faces.at[5, column] = None
    faces.loc[5, ["yaw", "pitch", "roll"]] = np.nan
    space = Space.fit(faces)
    points = space.embed(faces)
    assert np.isfinite(points).all()
    assert not space.block(points, "expression")[5].any()
    everything = faces.assign(expression=None, gaze=None, lighting=None)
    assert np.isfinite(Space.fit(everything).embed(everything)).all()


def test_neutral_makes_two_subjects_compare():
    mine, theirs = table(300), table(300)
    theirs["lighting"] = [v + np.array([0, 0, 0, -1.5, 0.3, 0.1], np.float32) for v in theirs["lighting"]]
    space = Space.fit(mine)
    here = space.embed(mine)
    assert np.abs(space.embed(theirs, neutral_of(theirs)) - here).max() < 1e-3
    assert np.abs(space.embed(theirs) - here).max() > 0.2


def test_scales_do_not_depend_on_row_order_or_repetition():
    faces = table(300)
    again = pd.concat([faces.assign(face_id=faces["face_id"] + str(i)) for i in range(5)])
    a, b, c = Space.fit(faces), Space.fit(faces.sample(frac=1, random_state=3)), Space.fit(again)
    assert a.scale == b.scale and a.width == b.width
    for name in BLOCKS:
        assert c.scale[name] == pytest.approx(a.scale[name], rel=0.02)


def test_leaders_are_apart_reach_everybody_and_widen_when_there_are_too_many():
    points = np.random.default_rng(0).normal(size=(900, 3)).astype(np.float32)
    rows, cell, radius = leaders(points, 0.3, 10_000)
    assert radius == 0.3 and (distance(points[rows]) + np.eye(len(rows))).min() >= 0.3
    assert np.linalg.norm(points - points[rows[cell]], axis=1).max() < 0.3
    few, cell, radius = leaders(points, 0.3, len(rows) // 2)
    assert 0.2 * len(rows) < len(few) <= len(rows) // 2 and radius < 1
    assert (cell[few] == np.arange(len(few))).all() and cell.max() < len(few)
    assert np.linalg.norm(points - points[few[cell]], axis=1).max() < 3 * radius


def test_spread_ignores_how_long_a_point_is_held():
    points = np.random.default_rng(0).normal(0, 10, (100, 3))
    held = np.vstack([points, np.repeat(points[:1], 5000, axis=0) + 1e-3])
    assert spread(held, 1.0) == pytest.approx(spread(points, 1.0), rel=0.03)
    assert spread(points[:1], 1.0) == 1.0 and spread(points * 1e-3, 1.0) == 1.0


def test_kernel_is_the_gaussian_of_the_distance():
    rng = np.random.default_rng(0)
    a, b = rng.normal(5, 1, (20, 6)).astype(np.float32), rng.normal(5, 1, (30, 6)).astype(np.float32)
    exact = np.exp(-np.square(a[:, None].astype(float) - b[None]).sum(2) / (2 * 0.7**2))
    assert np.abs(Kernel(b, 0.7)(a) - exact).max() < 1e-4
    assert (np.diag(Kernel(a, 0.7)(a)) == 1).all()


def test_one_face_and_none():
    faces = table(1)
    assert np.isfinite(Space.fit(faces).embed(faces)).all()
    assert Space.fit(faces).embed(faces.iloc[:0]).shape[0] == 0
    with pytest.raises(ValueError, match="at least one face"):
        Space.fit(faces.iloc[:0])


def test_a_net_keeps_its_distance_and_reaches_everybody():
    points = np.random.default_rng(0).normal(size=(900, 3))
    members, cell = net(points, 0.5, 10_000)
    apart = distance(points[members]) + np.eye(len(members))
    assert apart.min() >= 0.5
    assert np.linalg.norm(points - points[members[cell]], axis=1).max() < 0.5
    assert (cell[members] == np.arange(len(members))).all()


def test_repetition_does_not_change_a_net():
    points = np.random.default_rng(0).normal(size=(300, 3))
    looped = np.vstack([points, points, points])
    assert net(looped, 0.5, 10_000)[0].tolist() == net(points, 0.5, 10_000)[0].tolist()


def test_a_net_that_is_full_leaves_the_rest_out():
    points = np.arange(1000.0)[:, None] * 10
    members, cell = net(points, 1.0, 200)
    assert 200 <= len(members) < 400 and (cell == -1).sum() == 1000 - len(members)
    assert net(points[:0], 1.0, 5)[0].size == 0


def test_the_spread_of_points_that_are_equally_far_apart_is_their_distance() -> None:
    for distance in (5.0, 1e9):
        found = spread(np.array([[0.0, 0.0], [distance, 0.0]], np.float32), 1.0)
        assert found == pytest.approx(distance, rel=1e-3)
