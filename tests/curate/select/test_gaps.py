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
from curate.select.space import Space, together
from curate.turntable import View, hopper, painted, performance, write_clip

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
