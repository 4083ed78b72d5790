"""What a source lacks for a target: on turntable heads whose poses are known, and on tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curate.dataset.faceset import Faceset
from curate.extract.pipeline import Request, curate
from curate.scores.expression import AXES, INDEX
from curate.select.gaps import GAP_COLUMNS, gaps, gaps_for
from curate.select.habits import found_in
from curate.select.options import Floors, SelectionOptions
from curate.select.selection import select_faceset
from curate.select.space import Space, together
from curate.turntable import View, hopper, painted, performance, write_clip
from tests.tables import write_rows

STEP = 5


def curated(folder: Path, name: str, views: list[View], head: object) -> Faceset:
    clip = write_clip(folder / f"{name}.mp4", head, views, (220, 220), 25)
    request = Request((str(clip),), folder / name, name, "public-domain", settings=(("crop_size", 64),), workers=2)
    return curate(request).faceset


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> tuple[Faceset, Faceset, list[View]]:
    """One performance by two people: the source's and the target's faceset, and its views."""
    folder = tmp_path_factory.mktemp("gaps")
    views = performance(seed=12, frames=90 * STEP)[::STEP]
    return curated(folder, "source", views, painted()), curated(folder, "target", views, hopper()), views


def tables(heads: tuple[Faceset, Faceset, list[View]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return heads[0].table(GAP_COLUMNS), heads[1].table(GAP_COLUMNS)


def found(source: pd.DataFrame, target: pd.DataFrame):
    return gaps(Space.fit(together(source, target)), source, target)


def test_a_source_that_covers_the_target_has_no_gap(heads) -> None:
    assert gaps_for(heads[0], heads[1]) == ()


def test_right_turns_that_are_missing_come_first_with_their_share(heads) -> None:
    source, target = tables(heads)
    yaw = np.array([v.yaw for v in heads[2]])
    lacking = source[yaw[_frames(source)] > -12]
    first = found(lacking, target)[0]
    assert first.axis == "yaw" and first.words.startswith("turned right")
    assert first.share == pytest.approx((yaw[_frames(target)] < -12).mean(), abs=0.03)
    assert first.high is not None and first.high < 0 and first.away > 8
    assert set(first.faces) <= set(target["face_id"]) and set(first.nearest) <= set(lacking["face_id"])
    assert "film faces as in" in first.sentence() and "turned right" in first.sentence()
    clip, start, end = first.spans[0]
    assert clip == "target" and 0 <= start <= end <= len(heads[2]) / 25


def _frames(table: pd.DataFrame) -> np.ndarray:
    return table["face_id"].str.extract(r"-(\d+)-", expand=False).astype(int).to_numpy()


def faces(count: int, seed: int, yaw: float = 20.0) -> pd.DataFrame:
    """Faces whose yaw, mouth and light vary independently."""
    rng = np.random.default_rng(seed)
    shapes = rng.normal(0, 0.01, (count, 52)).astype(np.float32)
    shapes[:, INDEX["jawOpen"]] += rng.uniform(0, 0.6, count).astype(np.float32)
    light = rng.normal(0, (0.3, 0.1, 0.1, 0.2, 0.1, 0.05), (count, 6)).astype(np.float32)
    table = pd.DataFrame({"face_id": [f"{seed}-{i:05d}" for i in range(count)], "clip": f"clip {seed}"})
    angles = rng.uniform(-1, 1, (count, 3)) * (yaw, 8, 4)
    axes = {n: shapes[:, [INDEX[p] for p in parts]].mean(1) for n, parts in AXES.items()}
    gaze = rng.normal(0, 0.03, (count, 2)).astype(np.float32)
    table = table.assign(time=np.arange(count) / 5, kept=True, expression=list(shapes), gaze=list(gaze), **axes)
    return table.assign(yaw=angles[:, 0], pitch=angles[:, 1], roll=angles[:, 2], lighting=list(light))


def test_axes_are_named_largest_share_first() -> None:
    target = faces(900, 1)
    source = faces(900, 2)
    source = source[(source["jawOpen"] < 0.2) & (source["yaw"] < 12)]
    names = [gap.axis for gap in found(source, target)]
    assert names[:2] == ["jawOpen", "yaw"]
    shares = [gap.share for gap in found(source, target)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx((target["jawOpen"] > 0.2).mean(), abs=0.03)


def test_a_combination_that_is_missing_is_named_by_its_look() -> None:
    target = faces(1200, 1, yaw=40)
    source = faces(1200, 2, yaw=40)
    source = source[~((source["yaw"] > 10) & (source["jawOpen"] > 0.2))]
    reported = found(source, target)
    assert reported and all(gap.axis is None for gap in reported)
    assert any("left" in gap.words and "mouth open" in gap.words for gap in reported)


def test_another_exposure_is_no_gap_but_another_side_is() -> None:
    target, source = faces(600, 1), faces(600, 2)
    source["lighting"] = [v + np.float32([0, 0, 0, 2, 0.5, 0.2]) for v in source["lighting"]]
    assert found(source, target) == ()
    source["lighting"] = [np.where(np.arange(6) == 0, -abs(v), v) for v in source["lighting"]]
    assert found(source, target)[0].words.startswith("lit from the left")


def test_nothing_to_compare() -> None:
    assert gaps(Space.fit(faces(30, 1)), faces(30, 1)[:0], faces(30, 2)) == ()


def stretched(target: pd.DataFrame, fps: float, still: np.ndarray, frames: int) -> pd.DataFrame:
    """The target as `--every auto` reads it: the faces `still` stand for `frames` frames each."""
    lasts = np.where(still, frames, 1)
    frame = np.concatenate([[0], np.cumsum(lasts)[:-1]])
    return target.assign(stands_for=lasts, frame=frame, time=frame / fps)


def test_shares_are_of_the_footage_and_not_of_the_faces_that_were_read() -> None:
    target, source = faces(600, 1), faces(600, 2)
    source = source[source["yaw"] < 8]
    turned = (target["yaw"] > 8).to_numpy()
    shown = stretched(target, 25, turned, 24)
    true = 24 * turned.sum() / (24 * turned.sum() + (~turned).sum())
    gap = found(source, shown)[0]
    assert gap.axis == "yaw" and gap.share == pytest.approx(true, abs=0.03) and true > turned.mean() + 0.3


@pytest.mark.parametrize("fps", [24.0, 25.0, 60.0])
def test_a_held_stretch_is_one_at_any_frame_rate(fps) -> None:
    target, source = faces(400, 1, yaw=4), faces(400, 2, yaw=4)
    held, glance = np.arange(100, 110), np.arange(300, 330)
    target.loc[held, "yaw"], target.loc[glance, "yaw"] = 40.0, 40.0
    shown = stretched(target, fps, np.isin(np.arange(400), held), round(2 * fps))
    gap = next(g for g in found(source, shown) if g.axis == "yaw")
    _, start, end = gap.spans[0]
    assert start == pytest.approx(100 / fps, abs=0.05) and end - start == pytest.approx(20, abs=0.5)


def test_faces_just_beyond_the_edge_that_have_a_counterpart_are_no_part_of_a_gap() -> None:
    rng = np.random.default_rng(0)
    source = faces(2000, 2, yaw=1)
    source["yaw"] = np.clip(rng.normal(0, 6, 2000), -14, 14)
    target = source.assign(face_id="t" + source["face_id"], clip="t")
    target.loc[:999, "yaw"] = 14.2
    target.loc[1000:1329, "yaw"] = rng.uniform(35, 45, 330)
    same = source.loc[:999].assign(yaw=14.0)
    gap = found(pd.concat([source, same], ignore_index=True), target)[0]
    assert gap.axis == "yaw" and gap.share == pytest.approx(0.165, abs=0.02)


def test_a_shot_that_fills_a_gap_says_what_it_adds() -> None:
    target, source = faces(900, 1), faces(900, 2)
    gap = found(source[source["yaw"] < 8], target)[0]
    assert 0 < gap.adds <= gap.share and f"{100 * gap.adds:.0f} % more of the target" in gap.sentence()


def test_what_a_target_does_throughout_is_found_in_the_values_as_measured() -> None:
    rng = np.random.default_rng(0)
    supply = {"smile": rng.uniform(0, 0.2, 500), "pitch": rng.normal(0, 4, 500), "jawOpen": rng.uniform(0, 0.3, 500)}
    asked = {"smile": rng.uniform(0.6, 0.9, 300), "pitch": rng.normal(30, 2, 300), "jawOpen": rng.uniform(0, 0.5, 300)}
    lasts = np.ones(300)
    habits = {h.axis: h for h in found_in(supply, asked, lasts)}
    assert set(habits) == {"smile", "pitch"} and habits["smile"].side == habits["pitch"].side == 1
    assert habits["smile"].share == 1.0
    assert not found_in(supply, supply, np.ones(500))
    part = np.where(np.arange(300) < 200, asked["smile"], 0.0)
    assert not found_in({"smile": supply["smile"]}, {"smile": part}, lasts), "the neutral shows what it does at times"


def test_floors_of_the_source_count(heads) -> None:
    source, target, _ = heads
    select_faceset(source, SelectionOptions("20"))
    assert gaps_for(source, target) == ()
    table = source.table()
    limit = float(table.loc[table["yaw"] < -12, "Sharpness"].max()) if (table["yaw"] < -12).any() else 0.0
    lowered = table.assign(Sharpness=np.where(table["yaw"] < -12, limit - 10, table["Sharpness"]).astype(np.float32))
    write_rows(source, lowered)
    try:
        floor = float(lowered.loc[lowered["yaw"] >= -12, "Sharpness"].min()) - 1
        select_faceset(source, SelectionOptions("20", floors=Floors(min_sharpness=floor)))
        assert any(gap.axis == "yaw" and gap.words.startswith("turned right") for gap in gaps_for(source, target))
    finally:
        write_rows(source, table)
