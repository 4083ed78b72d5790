from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.dataset.faceset import open_faceset, write_selection
from curate.errors import WorkError
from curate.scores.quality import sharpness
from curate.types import no_progress
from tests.tables import write_rows
from train.augment import Limits
from train.clarity import CLARITY, HARSHEST, MOST_BLUR, SCORED, clarity, matched
from train.config import TrainConfig
from train.crop_cache import channels
from train.data import Side, load_side, usable_rows
from train.split import chance, split


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
    with pytest.raises(WorkError, match="has 3 usable faces, but training needs at least 8"):
        load(tmp_path / "a", config, tmp_path)
    write_selection(made, made.selection().iloc[:0])
    with pytest.raises(WorkError, match="has no selected faces"):
        load(tmp_path / "a", config, tmp_path)


def test_crops_smaller_than_the_network_are_enlarged(make_faceset: object, config: TrainConfig, tmp_path: Path) -> None:
    make_faceset(tmp_path / "a", size=48)  # type: ignore[operator]  # a fixture that is a function
    assert load(tmp_path / "a", replace(config), tmp_path).crops(np.arange(2)).shape == (2, channels(config), 64, 64)


def medians(sharpness: float, compression: float) -> dict[str, float]:
    return dict(zip(CLARITY, (sharpness, compression), strict=True))


def test_only_the_clearer_side_is_degraded_further(config: TrainConfig) -> None:
    clear, poor, plain = medians(1.0, 0.1), medians(0.0, 0.3), Limits(config.blur, config.compress)
    assert matched(config, clear, clear) == matched(config, poor, clear) == plain
    assert matched(config, clear, {}) == matched(config, medians(np.nan, np.nan), poor) == plain
    found = matched(config, clear, poor)
    assert found.blur > 2 * config.blur and found.compress > config.compress + 0.2
    assert matched(config, clear, medians(0.0, 0.1)) == Limits(found.blur, config.compress)
    assert matched(config, clear, poor, "face").blur > found.blur > matched(config, clear, poor, "head").blur
    assert matched(config, clear, medians(-9.0, 9.0)) == Limits(MOST_BLUR, HARSHEST)
    off = replace(config, blur=0.0, compress=0.0)
    assert matched(off, clear, poor) == Limits(0.0, 0.0)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_the_blur_between_two_sharpnesses_is_found(config: TrainConfig, sigma: float) -> None:
    """In a picture whose amplitude falls as one over the frequency."""
    noise = np.fft.rfft2(np.random.default_rng(0).standard_normal((SCORED, SCORED)))
    far = np.hypot(np.fft.fftfreq(SCORED)[:, None], np.fft.rfftfreq(SCORED)[None])
    grey = np.fft.irfft2(noise / np.maximum(far, 1 / SCORED)).astype(np.float32)
    grey *= 40 / grey.std()
    inside = np.ones(grey.shape, bool)
    sharp, soft = (sharpness(g, inside) for g in (grey, cv2.GaussianBlur(grey, (0, 0), sigma)))
    limit = matched(replace(config, blur=1e-9), medians(sharp, 0.0), medians(soft, 0.0)).blur
    drawn = np.linspace(0, limit, 1001) * SCORED
    assert np.sqrt((drawn**2).mean()) == pytest.approx(sigma, rel=0.15)


def test_a_side_knows_its_limits_and_who_may_be_mirrored(
    make_faceset: object, config: TrainConfig, tmp_path: Path
) -> None:
    made = make_faceset(tmp_path / "a")  # type: ignore[operator]  # a fixture that is a function
    side = load(tmp_path / "a", config, tmp_path)
    assert not side.may_flip.any() and side.limits == Limits(config.blur, config.compress)
    rows = made.table()
    rows["light_x"] = np.float32([0.0, 0.2, -0.2, 0.3, -0.9] * 8)
    rows["light_y"] = np.float32([1.0, 0.0, 0.0, 0.0, 0.3] * 8)
    rows.loc[0, "light_x"] = np.nan
    # Leaning by 90 degrees, light from above in the frame comes from the side in the crop.
    rows.at[5, "matrix"] = np.array([0, -0.5, 10, 0.5, 0, -10], np.float32)
    rows["Sharpness"], rows["CompressionArtifacts"] = np.float32(1.0), np.float32([0.1, 0.3] * 20)
    write_rows(made, rows)
    poor = medians(0.0, 0.5)
    side = load_side("source", open_faceset(tmp_path / "a"), config, tmp_path, False, no_progress, poor)
    numbers = np.array([int(i.split("-")[1]) for i in side.ids])
    assert set(numbers[side.may_flip]) == {n for n in range(40) if n % 5 < 3} - {0, 5}
    own = clarity(usable_rows(made))
    assert own == pytest.approx(medians(1.0, 0.2))
    assert side.limits == matched(config, own, poor) != Limits(config.blur, config.compress)
