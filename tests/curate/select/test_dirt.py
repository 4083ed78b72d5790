"""Dirty footage: misread faces, blurred twins, held poses, other names; and no cliff at any size."""

import numpy as np
import pandas as pd
import pytest

from curate.scores.expression import AXES
from curate.select import coverage
from curate.select.apart import GAP, Apart
from curate.select.better import Better
from curate.select.facility_location import Problem
from curate.select.kinds import ALIKE, FULL, kinds_of, radius_of
from curate.select.like import small, soft
from curate.select.misread import misread
from curate.select.options import Budget, Floors, SelectionOptions
from curate.select.selection import Choice, choose
from tests.curate.select.test_keep import film

RNG = np.random.default_rng


def scored(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The film with quality measures."""
    rng, count = RNG(seed), len(table)
    return table.assign(
        Sharpness=(0.8 + rng.normal(0, 0.06, count)).astype(np.float32),
        MotionBlur=rng.uniform(0.2, 0.4, count).astype(np.float32),
        FaceOcclusionPrevention=np.float32(0.95), InterEyeDistance=np.float32(80), detection_score=np.float32(0.9),
        UnderExposurePrevention=np.float32(1), OverExposurePrevention=np.float32(1), pose_confidence=np.float32(0.95),
        CompressionArtifacts=np.float32(0.1), landmark_confidence=np.float32(0.95),
        **{name: np.float32(0.1) for name in AXES},
    )  # fmt: skip


def pick(table: pd.DataFrame, count: int | None, **options) -> Choice:
    return choose(table, Budget(count, str(count)), SelectionOptions(**options))


def ids(choice: Choice) -> list[str]:
    return choice.rows["face_id"].tolist()


def misreading(table: pd.DataFrame, share: float, seed: int = 3) -> pd.DataFrame:
    """The table with so many of its faces misread: another head pose and another expression."""
    wild = table.copy()
    rows = RNG(seed).choice(len(wild), round(share * len(wild)), replace=False)
    wild.loc[rows, "yaw"] = RNG(seed + 1).uniform(-70, 70, len(rows))
    wild.loc[rows, "pitch"] = RNG(seed + 2).uniform(-45, 45, len(rows))
    for row, shapes in zip(rows, RNG(seed + 3).uniform(0, 0.7, (len(rows), 52)).astype(np.float32), strict=True):
        wild.at[row, "expression"] = shapes
    return wild.assign(wrong=np.isin(np.arange(len(wild)), rows))


@pytest.fixture(scope="module")
def lively() -> pd.DataFrame:
    return scored(film(80, 1))


def balanced(choice: Choice, table: pd.DataFrame) -> float:
    """Coverage of the good faces of the table, every kind alike, in a space that all choices share."""
    space = type(choice.space).absolute(table)
    points, chosen = space.embed(table), space.embed(table[table["face_id"].isin(ids(choice))])
    return coverage.coverage(space, points, chosen, coverage.demand(space, points, np.full(len(points), 0.04)))


@pytest.mark.parametrize("count", [32, 150])
def test_misread_faces_are_not_chosen_and_good_ones_are_covered_as_before(lively, count) -> None:
    wild = misreading(lively, 0.05)
    choice = pick(wild, count)
    wrong = wild.set_index("face_id").loc[ids(choice), "wrong"]
    assert wrong.mean() <= 0.02
    assert any("misread" in note and "--keep-misread" in note for note in choice.notes)
    good = wild[~wild["wrong"]].reset_index(drop=True)
    kept = Choice(**{**choice.__dict__, "rows": choice.rows[~wrong.to_numpy()]})
    assert balanced(kept, good) >= balanced(pick(good, count), good) - 0.01


def test_a_misread_frame_weighs_next_to_nothing_even_if_it_is_not_noticed(lively) -> None:
    wild = misreading(lively, 0.02)
    first = pick(wild, 32, keep_misread=True)
    assert wild.set_index("face_id").loc[ids(first), "wrong"].mean() <= 0.1


def test_quick_movement_and_blinks_are_not_misread(lively) -> None:
    assert misread(lively).sum() == 0
    quick = scored(film(40, 2)).iloc[::3].reset_index(drop=True)
    assert misread(quick).mean() < 0.01
    doubtful = lively.assign(landmark_confidence=np.where(np.arange(len(lively)) == 7, 0.2, 0.95))
    assert misread(doubtful).tolist() == [i == 7 for i in range(len(lively))]


def test_no_ghost_of_a_dissolve_is_chosen(lively) -> None:
    blend = (lively["time"] > 30) & (lively["time"] < 31)
    middle = 1 - (lively["time"] - 30.5).abs() / 0.5
    table = lively.assign(landmark_confidence=np.where(blend, 0.95 - 0.4 * middle, 0.95))
    ghosts = table.loc[(table["time"] > 30.1) & (table["time"] < 30.9), "face_id"]
    assert not set(ids(pick(table, 150))) & set(ghosts) and set(ids(pick(lively, 150))) & set(ghosts)
    assert misread(table)[(table["time"] - 30.5).abs() > 0.9].sum() == 0


def test_blurred_twins_are_left_out_and_told(lively) -> None:
    soft = lively.assign(clip="b", face_id="b" + lively["face_id"], Sharpness=lively["Sharpness"] - np.float32(0.45))
    rng = RNG(1)
    soft["yaw"] += rng.normal(0, 0.2, len(soft))
    soft["expression"] = [e + rng.normal(0, 0.02, 52).astype(np.float32) for e in soft["expression"]]
    both = pd.concat([lively, soft], ignore_index=True)
    choice = pick(both, 60)
    assert choice.rows["face_id"].str.startswith("b").mean() <= 0.05
    assert any("much softer" in note and "--min-sharpness" in note for note in choice.notes)
    assert pick(both, 60, floors=Floors(max_softness=5.0)).eligible == len(both)


@pytest.mark.parametrize(("similar", "out"), [(0.65, False), (0.9, True)])
def test_a_soft_face_is_left_out_only_where_a_sharp_one_shows_the_same(similar: float, out: bool) -> None:
    points = np.zeros((40, 3), np.float32)
    points[20:, 0] = radius_of(1.0, similar)
    faces = pd.DataFrame({"Sharpness": np.repeat([0.0, -0.6], 20)})
    found = soft(kinds_of(points, 1.0, np.full(40, 0.04)), points, 1.0, faces, 0.25)
    assert found.tolist() == [False] * 20 + [out] * 20


@pytest.mark.parametrize(("similar", "times", "out"), [(0.65, 4, False), (0.9, 4, True), (0.9, 1.8, False)])
def test_a_small_face_is_left_out_only_where_a_large_one_shows_the_same(
    similar: float, times: float, out: bool
) -> None:
    points = np.zeros((40, 3), np.float32)
    points[20:, 0] = radius_of(1.0, similar)
    faces = pd.DataFrame({"InterEyeDistance": np.repeat([40.0, 40 / times], 20)})
    found = small(kinds_of(points, 1.0, np.full(40, 0.04)), points, 1.0, faces)
    assert found.tolist() == [False] * 20 + [out] * 20


def test_faces_that_are_shown_large_and_small_are_chosen_large_and_it_is_told(lively) -> None:
    wide = lively.assign(clip="b", face_id="b" + lively["face_id"], InterEyeDistance=np.float32(20))
    alone = scored(film(20, 8, name="c", yaw=60), 1).assign(InterEyeDistance=np.float32(12))
    choice = pick(pd.concat([lively, wide, alone], ignore_index=True), 80)
    assert not choice.rows["face_id"].str.startswith("b").any() and choice.rows["face_id"].str.startswith("c").any()
    assert any("less than half as large" in note for note in choice.notes)


def test_of_like_faces_the_sharper_is_chosen(lively) -> None:
    noise = RNG(5).normal(0.95, 0.01, (3, len(lively))).astype(np.float32)
    names = ("FaceOcclusionPrevention", "pose_confidence", "landmark_confidence")
    choice = pick(lively.assign(**dict(zip(names, noise, strict=True))), 60)
    points = choice.space.embed(lively)
    sharp = lively["Sharpness"].to_numpy()
    at = pd.Index(lively["face_id"]).get_indexer(pd.Index(ids(choice)))
    apart = np.sqrt(np.square(points[at][:, None] - points[None]).sum(2))
    like = (apart < radius_of(choice.space.width, ALIKE)) & ~np.isin(np.arange(len(points)), at)
    wins = (sharp[at][:, None] > sharp[None])[like]
    assert len(wins) > 100 and wins.mean() >= 0.8


def test_a_choice_gives_way_to_the_best_of_its_like_if_that_costs_next_to_nothing() -> None:
    points = np.zeros((6, 2), np.float32)
    points[:, 0] = [0, 0.05, 0.1, 0.9, 2, 2.9]  # 0 to 2 are alike, 3 is not
    good = np.array([0, 1, 2, 9, 0, 0], np.float32)
    problem = Problem(points, points, 1.0, np.ones(6), np.ones(6, np.float32))
    apart = Apart(points, None, radius_of(1.0, ALIKE))
    better = Better(problem, kinds_of(points, 1.0, np.ones(6)), good, radius_of(1.0, ALIKE), apart)
    found = better(0, np.zeros(6, np.float32), np.full(6, 1 / 6, np.float32))
    assert found is not None and found[0] == 2
    assert better(2, np.zeros(6, np.float32), np.full(6, 1 / 6, np.float32)) is None
    dear = np.array([1, 0, 0, 0, 0, 0], np.float32)
    assert better(0, np.where(points[:, 0] == 0, np.float32(0.99), np.float32(1)), dear) is None, "2 adds far less"
    apart.add(2)
    assert better(0, np.zeros(6, np.float32), np.full(6, 1 / 6, np.float32)) is None, "it is alike to a choice"


def test_near_duplicates_only_fill(lively) -> None:
    choice = pick(lively, 400)
    rows = choice.rows.merge(lively, on="face_id").sort_values("rank")
    free = rows[rows["reason_kind"] != "near-duplicate"]
    time = np.sort(free["time"].to_numpy())
    assert np.diff(time).min() >= GAP - 1e-6
    points = choice.space.embed(free)
    apart = np.sqrt(np.square(points[:, None] - points[None]).sum(2)) + 9 * np.eye(len(points))
    assert apart.min() >= radius_of(choice.space.width, ALIKE) * 0.999
    kinds = rows["reason_kind"].eq("near-duplicate").to_numpy()
    assert not kinds[: len(free)].any() and kinds[len(free) :].all()


def test_a_held_pose_does_not_fill_a_selection() -> None:
    own, rng = scored(film(20, 5)), RNG(0)
    calm = np.tile(np.arange(30), 150)
    held = own.iloc[calm].assign(
        face_id=[f"held-{i:05d}" for i in range(len(calm))], time=100 + np.arange(len(calm)) / 25,
        yaw=lambda rows: rows["yaw"] + rng.normal(0, 0.2, len(calm)),
    )  # fmt: skip
    choice = pick(pd.concat([own, held], ignore_index=True), 300)
    repeated = choice.rows["face_id"].str.startswith("held-")
    filled = choice.rows["reason_kind"] == "near-duplicate"
    assert len(held) > 8 * len(own) and filled.sum() > 100
    first = pick(pd.concat([held, own], ignore_index=True), 200)
    assert ids(first) == ids(choice)[:200] and (first.rows["reason_kind"] == "near-duplicate").sum() > 20
    assert repeated[filled].mean() < 0.25


@pytest.mark.parametrize("count", [40, None])
def test_names_and_order_do_not_matter(lively, count) -> None:
    other = scored(film(20, 8, name="b", yaw=40), 1)
    first = pick(pd.concat([lively, other], ignore_index=True), count)
    named = pd.concat([other.assign(clip="A"), lively.assign(clip="z")], ignore_index=True)
    named["face_id"] = [f"{face}" for face in named["face_id"].str[::-1]]
    again = pick(named.sample(frac=1, random_state=3), count)
    assert [face[::-1] for face in ids(again)] == ids(first)
    assert again.coverage == pytest.approx(first.coverage, abs=1e-6)


def test_other_noise_gives_the_same_coverage(lively) -> None:
    def covered(table: pd.DataFrame) -> list[float]:
        choice = pick(table, 150)
        return [balanced(Choice(**{**choice.__dict__, "rows": choice.rows[:k]}), lively) for k in (40, 150)]

    found = []
    for seed in range(3):
        rng = RNG(seed)
        shapes = [e + rng.normal(0, 0.01, 52).astype(np.float32) for e in lively["expression"]]
        found.append(covered(lively.assign(yaw=lively["yaw"] + rng.normal(0, 0.2, len(lively)), expression=shapes)))
    assert np.mean(found, axis=0) == pytest.approx(covered(lively), abs=0.012), "one noise differs from another by that"


def held(lively: pd.DataFrame, count: int) -> pd.DataFrame:
    """The film with one of its moments held, with noise, until there are `count` faces."""
    still = pd.concat([lively.iloc[[700]]] * (count - len(lively)), ignore_index=True)
    still["face_id"] = [f"still-{i:07d}" for i in range(len(still))]
    still["frame"] = len(lively) + np.arange(len(still))
    still["time"] = still["frame"] / 25
    still["yaw"] += RNG(0).normal(0, 0.2, len(still))
    return pd.concat([lively, still], ignore_index=True)


def test_twenty_thousand_faces_are_no_cliff(lively) -> None:
    small, large = (pick(held(lively, n), None) for n in (19_900, 20_100))
    alone = pick(lively, None)
    assert balanced(large, lively) == pytest.approx(balanced(small, lively), abs=0.01)
    assert balanced(small, lively) == pytest.approx(balanced(alone, lively), abs=0.03)
    assert len(large.rows) == pytest.approx(len(small.rows), rel=0.1)


def test_a_held_pose_weighs_at_most_twice_what_it_should(lively) -> None:
    table = held(lively, 8_000)
    space = pick(lively, 10).space
    points = space.embed(table)
    weight = coverage.demand(space, points, np.full(len(points), 0.04))
    kinds = kinds_of(points, space.width, np.full(len(points), 0.04))
    assert weight[len(lively) :].sum() / weight.sum() <= 2 / kinds.weight.sum()


def test_a_kind_that_lasts_counts_fully_and_one_frame_hardly() -> None:
    points = np.zeros((1000, 3), np.float32)
    points[10:20, 0], points[30, 1] = 5, 5
    kinds = kinds_of(points, 1.0, np.full(1000, 0.04))
    weight = dict(zip(map(tuple, points[kinds.rows].tolist()), kinds.weight, strict=True))
    assert weight[0, 0, 0] == weight[5, 0, 0] == 1 and weight[0, 5, 0] < 0.04
    assert FULL / 0.04 < 10


def test_the_bound_is_true_and_near_one_when_nothing_is_left(lively) -> None:
    few, many = pick(lively, 5), pick(lively, 400)
    assert 0.6 < few.bound < 1 and many.bound > 0.95
    table = lively.iloc[::100].reset_index(drop=True)
    assert pick(table, len(table)).bound == pytest.approx(1, abs=1e-6)
