from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curate.errors import WorkError
from curate.faceset import open_faceset, write_selection
from curate.types import no_progress
from train.config import TrainConfig
from train.data import Side, chance, load_side, split


def load(path: Path, config: TrainConfig, cache: Path) -> Side:
    return load_side("source", open_faceset(path), config, cache, True, no_progress)


def test_no_face_is_near_a_held_out_face_of_its_clip() -> None:
    random = np.random.default_rng(0)
    times = np.concatenate([np.sort(random.uniform(0, 60, 150)), np.sort(random.uniform(0, 30, 50))])
    clips = np.array(["a"] * 150 + ["b"] * 50)
    parts = split(list(clips), times, 0.1, 0.5)
    assert len(parts.held_out) == 20
    assert parts.guard == 0.5
    assert not set(parts.held_out) & set(parts.train)
    for i in parts.held_out:
        own = parts.train[clips[parts.train] == clips[i]]
        assert np.abs(times[own] - times[i]).min() > 0.5
    assert len(parts.train) > 100
    assert set(clips[parts.held_out]) == {"a", "b"}


def test_held_out_faces_come_in_blocks() -> None:
    parts = split(["a"] * 200, np.arange(200) / 5.0, 0.1, 0.5)
    assert (np.diff(parts.held_out) > 1).sum() == 3
    assert np.array_equal(parts.held_out, split(["a"] * 200, np.arange(200) / 5.0, 0.1, 0.5).held_out)


def test_a_guard_that_would_take_everything_shrinks() -> None:
    parts = split(["a"] * 40, np.arange(40) / 25, 0.1, 5.0)
    assert 0 < parts.guard < 5
    assert len(parts.train) >= 20
    still = split(["a"] * 40, np.zeros(40), 0.1, 5.0)
    assert still.guard == 0 and len(still.train) == 36


def test_clusters_are_drawn_equally_often(pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path) -> None:
    clusters = np.array([0] * 30 + [7] * 3 + [2] * 9)
    chances = chance(clusters, "cluster")
    assert chances.sum() == pytest.approx(1)
    assert [chances[clusters == c].sum() for c in (0, 7, 2)] == pytest.approx([1 / 3] * 3)
    assert chance(clusters, "uniform") == pytest.approx(np.full(42, 1 / 42))


def test_draws_only_faces_to_train_on(pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path) -> None:
    side = load(pair[0], config, tmp_path)
    drawn = side.draw(np.random.default_rng(0), 2000)
    assert set(drawn) == set(side.split.train)


def test_mask_follows_landmarks_through_the_matrix(
    pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path
) -> None:
    side = load(pair[0], config, tmp_path)
    crops, masks = side.faces(np.arange(5), 64)
    assert crops.shape == (5, 3, 64, 64) and masks.shape == (5, 1, 64, 64)
    skin = (crops[:, 0] > 0.7) & (crops[:, 0] < 0.9) & (crops[:, 2] < 0.6)
    inside = masks[:, 0] > 0.5
    assert (skin & ~inside).sum() < 0.02 * skin.sum()
    assert masks.mean().item() == pytest.approx(np.pi * 0.27 * 0.36, abs=0.02)


def test_cache_is_used_again_until_the_selection_changes(
    make_faceset: object, config: TrainConfig, tmp_path: Path
) -> None:
    made = make_faceset(tmp_path / "a")  # type: ignore[operator]  # a fixture that is a function
    first = load(tmp_path / "a", config, tmp_path)
    stamp = (tmp_path / "source.u8").stat().st_mtime_ns
    load(tmp_path / "a", config, tmp_path)
    assert (tmp_path / "source.u8").stat().st_mtime_ns == stamp
    write_selection(made, made.selection().iloc[:30])
    second = load(tmp_path / "a", config, tmp_path)
    assert (len(first.ids), len(second.ids)) == (40, 30)


def test_order_of_rank_does_not_matter(make_faceset: object, config: TrainConfig, tmp_path: Path) -> None:
    made = make_faceset(tmp_path / "a")  # type: ignore[operator]  # a fixture that is a function
    first = load(tmp_path / "a", config, tmp_path / "x")
    write_selection(made, made.selection().assign(rank=np.arange(40)[::-1]))
    second = load(tmp_path / "a", config, tmp_path / "y")
    assert first.ids == second.ids and np.array_equal(first.pixels, second.pixels)


def test_an_unreadable_crop_is_left_out(make_faceset: object, config: TrainConfig, tmp_path: Path) -> None:
    make_faceset(tmp_path / "a")  # type: ignore[operator]  # a fixture that is a function
    (tmp_path / "a/crops/a/0007.png").write_bytes(b"no picture")
    side = load(tmp_path / "a", config, tmp_path)
    assert len(side.ids) == 39 and not any("-7-" in i for i in side.ids)


def test_too_few_faces_or_none(make_faceset: object, config: TrainConfig, tmp_path: Path) -> None:
    made = make_faceset(tmp_path / "a")  # type: ignore[operator]  # a fixture that is a function
    write_selection(made, made.selection().iloc[:3])
    with pytest.raises(WorkError, match="gives 3 faces to train on, at least 8"):
        load(tmp_path / "a", config, tmp_path)
    write_selection(made, made.selection().iloc[:0])
    with pytest.raises(WorkError, match="has no selected faces"):
        load(tmp_path / "a", config, tmp_path)


def test_crops_smaller_than_the_network_are_enlarged(make_faceset: object, config: TrainConfig, tmp_path: Path) -> None:
    make_faceset(tmp_path / "a", size=48)  # type: ignore[operator]  # a fixture that is a function
    assert load(tmp_path / "a", replace(config), tmp_path).crops(np.arange(2)).shape == (2, 4, 64, 64)
