import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dataset.faceset import create, open_faceset
from curate.dataset.pins import Pins
from curate.errors import UsageError, WorkError
from curate.schema import BY_NAME, SELECTION_SCHEMA, table_schema
from curate.scores.expression import AXES
from curate.select import facility_location, kinds
from curate.select.options import Budget, Floors, SelectionOptions, Weights, parse_budget
from curate.select.selection import choose, select_columns, select_faceset
from curate.select.similarity import Kernel
from curate.settings import Settings
from curate.types import Clip, Subject
from tests.tables import write_rows


def faces(count: int, seed: int = 0) -> pd.DataFrame:
    """Kept faces of good quality, all different."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "face_id": [f"{seed:03d}-{i:06d}" for i in range(count)],
            "kept": True,
            "detection_score": 0.9,
            **{name: rng.uniform(0, 0.5, count).astype(np.float32) for name in AXES},
            "yaw": rng.normal(0, 25, count).astype(np.float32),
            "pitch": rng.normal(0, 10, count).astype(np.float32),
            "roll": rng.normal(0, 5, count).astype(np.float32),
            "expression": list((rng.random((count, 52)) ** 4 * 0.5).astype(np.float32)),
            "gaze": list(rng.normal(0, 0.2, (count, 2)).astype(np.float32)),
            "lighting": list(rng.normal(0, 0.3, (count, 6)).astype(np.float32)),
            "Sharpness": rng.uniform(2, 4, count).astype(np.float32),
            "InterEyeDistance": rng.uniform(60, 120, count).astype(np.float32),
            "UnderExposurePrevention": np.float32(1),
            "OverExposurePrevention": np.float32(1),
            "pose_confidence": np.float32(0.95),
            "MotionBlur": np.float32(0.3),
            "FaceOcclusionPrevention": np.float32(0.95),
            "CompressionArtifacts": rng.uniform(0, 0.2, count).astype(np.float32),
        }
    )


def pick(table: pd.DataFrame, count: int | None, pins=None, target=None, among=None, **options):
    return choose(table, Budget(count, str(count or "auto")), SelectionOptions(**options), pins, target, among)


def problem(count: int, seed: int, dimensions: int = 3, width: float = 0.8) -> facility_location.Problem:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, dimensions)).astype(np.float32)
    return facility_location.Problem(
        points, points, width, rng.random(count) + 0.1, rng.uniform(0.8, 1, count).astype(np.float32)
    )


def value(p: facility_location.Problem, chosen) -> float:
    """f, in double precision, straight from its formula."""
    d2 = np.square(p.points[list(chosen)].astype(float)[:, None] - p.demand.astype(float)[None]).sum(2)
    found = p.worth[list(chosen), None].astype(float) * np.exp(-d2 / (2 * p.width**2))
    return float(np.average(found.max(0), weights=p.demand_weight))


def naive(p: facility_location.Problem, length: int) -> list[int]:
    chosen: list[int] = []
    while len(chosen) < length:
        rest = [j for j in range(len(p.points)) if j not in chosen]
        chosen.append(max(rest, key=lambda j: value(p, [*chosen, j])))
    return chosen


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pairs", [1, 10_000_000])
def test_lazy_greedy_is_the_naive_greedy(seed, pairs, monkeypatch):
    monkeypatch.setattr(facility_location, "PAIRS", pairs)
    p = problem(70, seed)
    order = facility_location.order(p, 15)
    assert order.chosen.tolist() == naive(p, 15)
    assert order.gains.cumsum()[-1] * order.total == pytest.approx(value(p, order.chosen), abs=1e-5)


@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0.2, 0.6, 2.0]))
@settings(max_examples=25, deadline=None)
def test_greedy_reaches_its_guarantee(seed, length, width):
    p = problem(10, seed, 2, width)
    optimum = max(value(p, s) for s in itertools.combinations(range(10), length))
    assert value(p, facility_location.order(p, length).chosen) >= (1 - 1 / np.e) * optimum


def test_gains_fall_and_sum_to_one():
    order = facility_location.order(problem(200, 1), 200)
    assert sorted(order.chosen.tolist()) == list(range(200))
    assert (np.diff(order.gains) <= 2e-8).all()
    assert order.gains.sum() == pytest.approx(1, abs=1e-4)


def test_blocks_change_nothing(monkeypatch):
    p = problem(300, 2)
    whole = facility_location.order(p, 100).chosen.tolist()
    monkeypatch.setattr(facility_location, "BLOCK_CELLS", 5000)
    assert facility_location.order(p, 100).chosen.tolist() == whole


def test_order_ends_where_it_is_told():
    p = problem(200, 3)
    full = facility_location.order(p, 200)
    enough = facility_location.order(p, 200, enough=0.9)
    assert enough.gains.sum() >= 0.9 > enough.gains[:-1].sum()
    least = facility_location.order(p, 200, least_gain=0.01)
    assert least.gains.min() >= 0.01 > full.gains[len(least.gains)]


def test_selections_are_nested():
    table = faces(400)
    long = pick(table, 200).rows["face_id"].tolist()
    for k in (1, 2, 17, 64):
        assert pick(table, k).rows["face_id"].tolist() == long[:k]


def test_row_order_and_index_do_not_matter():
    table = faces(300)
    shuffled = table.sample(frac=1, random_state=5)
    a, b = pick(table, 60), pick(shuffled, 60)
    pd.testing.assert_frame_equal(a.rows, b.rows)
    assert a.coverage == b.coverage


def test_sets_with_more_cells_than_the_most_are_nested_stable_and_nearly_as_good(monkeypatch):
    table = faces(900)
    exact = {cover: pick(table, 60, cover=cover).coverage for cover in ("footage", "space")}
    monkeypatch.setattr(kinds, "MOST_CELLS", 600)
    for cover in ("footage", "space"):
        long = pick(table, 60, cover=cover)
        assert (
            pick(table.sample(frac=1, random_state=1), 20, cover=cover).rows["face_id"].tolist()
            == (long.rows["face_id"].tolist()[:20])
        )
        # in 54 dimensions no two of these 900 faces are alike, so that 600 cells cannot stand for all of them
        assert long.coverage >= 0.95 * exact[cover]


@pytest.mark.parametrize("jitter", [0.0, 0.01])
@pytest.mark.parametrize("cover", ["space", "footage"])
def test_a_face_repeated_a_thousand_times_comes_once_before_the_others(jitter, cover):
    table = faces(25)
    held = pd.concat([table.iloc[[0]]] * 1000, ignore_index=True)
    held["face_id"] = [f"held-{i:04d}" for i in range(1000)]
    held["yaw"] += np.random.default_rng(0).normal(0, jitter, 1000).astype(np.float32)
    choice = pick(pd.concat([held, table.iloc[1:]], ignore_index=True), 25, cover=cover)
    chosen = choice.rows["face_id"]
    assert chosen.str.startswith("held").sum() == 1
    more = pick(pd.concat([held, table.iloc[1:]], ignore_index=True), 30, cover=cover).rows
    assert more["reason"].iloc[25:].str.startswith("near-duplicate").all()


def test_a_rare_face_is_found_among_many():
    table = faces(1500)
    table["yaw"] /= 10
    table["expression"] = [e / 10 for e in table["expression"]]
    table["lighting"] = [v / 10 for v in table["lighting"]]
    table.loc[777, "yaw"] = -70.0
    assert table.loc[777, "face_id"] in pick(table, 40).rows["face_id"].tolist()


def test_quality_decides_between_like_faces():
    table = pd.concat([faces(40)] * 2, ignore_index=True)
    table["face_id"] = [f"{i:03d}" for i in range(80)]
    table["Sharpness"] = np.repeat([2.0, 4.0], 40).astype(np.float32)
    table["CompressionArtifacts"] = table["InterEyeDistance"] = np.float32(50)
    assert (pick(table, 40).rows["face_id"] >= "040").all()


def test_space_cover_gives_a_held_pose_less_than_footage_cover_does():
    held, rest = faces(900, 1), faces(300, 2)
    held["yaw"] = held["yaw"] / 5
    for name in ("expression", "gaze", "lighting"):
        held[name] = [vector / 5 for vector in held[name]]
    table = pd.concat([held, rest], ignore_index=True)
    share = {c: pick(table, 60, cover=c).rows["face_id"].str.startswith("001").mean() for c in ("space", "footage")}
    assert share["space"] < 0.75 * share["footage"]


def test_choosing_beats_random_and_even_spacing_in_coverage():
    table = faces(500)
    table["yaw"] = np.sort(table["yaw"]) ** 3 / 2000
    choice = pick(table, 20, cover="footage")
    points = choice.space.embed(table)
    kernel = Kernel(points, choice.space.width)
    rows = np.random.default_rng(0).choice(500, 20, replace=False)
    assert choice.coverage > kernel(points[rows]).max(0).mean() + 0.01
    assert choice.coverage > kernel(points[::25]).max(0).mean() + 0.01


def test_rows_have_the_schema_of_the_file():
    choice = pick(faces(120), 30)
    assert list(choice.rows) == SELECTION_SCHEMA.names
    assert pa.Table.from_pandas(choice.rows, SELECTION_SCHEMA, preserve_index=False).num_rows == 30
    assert choice.rows["rank"].tolist() == list(range(30))
    assert choice.rows["cluster"].between(0, len(choice.clusters.names) - 1).all()
    assert choice.rows["reason"].iloc[0].startswith("covers '")
    assert np.allclose(choice.curve, choice.rows["gain"].cumsum(), atol=1e-4)


def test_more_than_there_are_gives_all_with_a_note():
    choice = pick(faces(12), 50)
    assert len(choice.rows) == choice.eligible == 12 and set(choice.rows["face_id"]) == set(faces(12)["face_id"])
    assert "12 eligible" in " ".join(choice.notes)


def test_auto_stops_where_the_rest_adds_little():
    table = pd.concat([faces(30).assign(face_id=lambda t, i=i: t["face_id"] + str(i)) for i in range(10)])
    choice = pick(table, None)
    assert 15 <= len(choice.rows) <= 35
    assert choice.curve[-1] >= 0.98 > choice.curve[-2]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_tiny_sets(count):
    assert len(pick(faces(count), 1).rows) == 1
    assert len(pick(faces(count), None).rows) <= count


def test_floors_are_hard_and_counted():
    table = faces(100)
    table.loc[:29, "Sharpness"] = 1.0
    table.loc[30:34, "Sharpness"] = np.nan
    choice = pick(table, 100, floors=Floors(min_sharpness=1.5))
    assert choice.eligible == 65 and choice.kept == 100 and len(choice.rows) == 65
    assert choice.rows["face_id"].min() == table["face_id"].iloc[35]
    assert any("--min-sharpness 1.5" in note and "35" in note for note in choice.notes)


@pytest.mark.parametrize(
    ("floors", "column", "value"),
    [
        (Floors(max_compression=0.5), "CompressionArtifacts", 0.6),
        (Floors(min_detection=0.5), "detection_score", 0.4),
        (Floors(), "pose_confidence", 0.01),
        (Floors(), "InterEyeDistance", 7.0),
        (Floors(), "UnderExposurePrevention", 0.1),
        (Floors(), "OverExposurePrevention", 0.1),
    ],
)
def test_every_floor(floors, column, value):
    table = faces(20)
    table[column] = table[column].astype(np.float32)
    table.loc[4, column] = value
    assert table.loc[4, "face_id"] not in pick(table, 20, floors=floors).rows["face_id"].tolist()


def test_a_measure_that_no_face_has_is_no_floor():
    table = faces(20).assign(InterEyeDistance=np.nan)
    choice = pick(table, 20)
    assert choice.eligible == 20 and "InterEyeDistance" in " ".join(choice.notes)


def test_only_kept_faces_with_a_pose_are_chosen():
    table = faces(30)
    table.loc[:9, "kept"] = False
    table.loc[10:14, ["yaw", "pitch", "roll"]] = np.nan
    choice = pick(table, 30)
    assert choice.kept == 20 and choice.eligible == 15
    assert choice.rows["face_id"].min() == table["face_id"].iloc[15]


def test_nothing_to_choose_from():
    with pytest.raises(WorkError, match="no face is kept"):
        pick(faces(3).assign(kept=False), 1)
    with pytest.raises(WorkError, match=r"none of 3 kept faces is eligible .*--min-sharpness 99"):
        pick(faces(3), 1, floors=Floors(min_sharpness=99))
    with pytest.raises(UsageError, match="--cover moon"):
        pick(faces(3), 1, cover="moon")


def test_weights_steer():
    def away(weights: Weights) -> float:
        """Degrees from the chosen faces to the face that is farthest in pose: mean of four tables."""
        found = []
        for seed in range(4):
            table = faces(300, seed)
            rows = pick(table, 20, weights=weights).rows["face_id"]
            poses = table.set_index("face_id")[["yaw", "pitch"]]
            apart = poses.to_numpy(float)[:, None] - poses.loc[rows].to_numpy(float)
            found.append(np.linalg.norm(apart, axis=2).min(1).max())
        return float(np.mean(found))

    assert away(Weights(1, 0, 0)) < 0.8 * away(Weights(0, 0, 1))


@pytest.mark.parametrize(
    ("text", "fps", "count"),
    [
        ("200", 30, 200),
        (" 1 ", None, 1),
        ("9min", 30, 16200),
        ("1.5 MIN", 24, 2160),
        (".001min", 25, 2),
        ("auto", 0, None),
    ],
)
def test_budgets(text, fps, count):
    assert parse_budget(text, fps).faces == count


@pytest.mark.parametrize(
    "text", ["0", "-3", "abc", "", "0min", "-1min", "min", "9h", "1e3", "3.5", "nan", "infmin", "1 2"]
)
def test_bad_budgets(text):
    with pytest.raises(UsageError, match="--budget"):
        parse_budget(text, 30)


def test_minutes_of_photos_are_refused():
    with pytest.raises(UsageError, match="photos"):
        parse_budget("9min", None)


def test_columns_are_those_of_the_schema():
    assert set(select_columns()) <= set(BY_NAME)


def test_on_a_faceset(tmp_path):
    clip = Clip("a", "/a.mp4", "ab" * 32, "video", 64, 64, 300, 30.0, 10.0)
    faceset = create(tmp_path / "set", Subject("A", "self"), Settings()).changed(clips=(clip,))
    rows = faces(300).assign(clip="a", status="ok")
    empty = {name: None for name in table_schema().names if name not in rows}
    write_rows(faceset, rows.assign(**empty))
    choice = select_faceset(open_faceset(faceset.folder), SelectionOptions(".05min"))
    assert len(choice.rows) == 90
    pd.testing.assert_frame_equal(faceset.selection(), choice.rows, check_dtype=False)
    assert faceset.selection_options()["budget"] == ".05min" and faceset.selection_options()["target"] is None
    select_faceset(faceset, SelectionOptions("20"))
    assert faceset.selection()["face_id"].tolist() == choice.rows["face_id"].tolist()[:20]


def test_pins_come_first_and_bans_never():
    table = faces(200)
    table.loc[150, "Sharpness"] = 0.1
    plain = pick(table, 10).rows["face_id"].tolist()
    pins = Pins((table["face_id"][150], table["face_id"][151], "nobody"), (plain[0],))
    choice = pick(table, 10, pins=pins, floors=Floors(min_sharpness=1))
    chosen = choice.rows["face_id"].tolist()
    assert chosen[:2] == [table["face_id"][150], table["face_id"][151]] and len(chosen) == 10
    assert choice.rows["reason"].str.startswith("pinned").tolist() == [True] * 2 + [False] * 8
    assert plain[0] not in chosen and plain[0] not in choice.eligible_ids
    assert any("1 pinned faces are not" in note for note in choice.notes) and "banned: 1" in " ".join(choice.notes)
    assert pick(table, 4, pins=pins, floors=Floors(min_sharpness=1)).rows["face_id"].tolist() == chosen[:4]
    assert len(pick(table, 1, pins=pins).rows) == 1


def test_a_target_is_covered_as_it_is_and_about_its_own_neutral():
    table = faces(400)
    target = faces(300, 7)
    target["yaw"] = np.abs(target["yaw"])
    target["lighting"] = [v + np.float32([0, 0, 0, 3, 1, 1]) for v in target["lighting"]]
    choice = pick(table, 25, target=target)
    chosen = table.set_index("face_id").loc[choice.rows["face_id"], "yaw"]
    assert (chosen > -10).mean() > 0.9 > (table["yaw"] > -10).mean()
    plain = pick(table, 25, target=target, cover="space")
    assert 0 < plain.target.after < choice.target.after <= choice.target.before < 1
    assert plain.target.before == choice.target.before and pick(table, 25).target is None
    with pytest.raises(UsageError, match="--cover target needs a target"):
        pick(table, 5, cover="target")
    with pytest.raises(WorkError, match="keeps no face with a head pose"):
        pick(table, 5, target=target.assign(kept=False))


def test_what_a_face_stands_for_counts_as_filmed():
    table = faces(300)
    table["stands_for"] = np.where(table["yaw"] > 20, 50, 1)
    share = []
    for filmed in (table, table.drop(columns="stands_for")):
        chosen = table.set_index("face_id").loc[pick(filmed, 12, cover="footage").rows["face_id"], "yaw"]
        share.append((chosen > 20).mean())
    assert share[0] > share[1] + 0.2


def test_wrong_options_are_refused_at_once():
    for wrong, words in (({"budget": "many"}, "--budget many"), ({"cover": "moon"}, "--cover moon")):
        with pytest.raises(UsageError, match=words):
            SelectionOptions(**wrong)
