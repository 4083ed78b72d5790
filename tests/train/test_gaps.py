from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curate.dataset.faceset import open_faceset
from train.config import TrainConfig
from train.data import Side, load_side
from train.drive import NAMES
from train.fit import train
from train.gaps import by_gaps, nearest, scaled

YAW, LIGHT = NAMES.index("yaw"), NAMES.index("light_x")


@pytest.fixture
def sides(pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path) -> tuple[Side, Side]:
    """A source whose four clusters look 0, 20, 40 and 60 degrees to the left, and a target that looks 40 only."""
    source, target = (
        load_side(name, open_faceset(folder), config, tmp_path, True, lambda *_: None)
        for name, folder in zip(("source", "target"), pair, strict=True)
    )
    turned = np.full_like(source.scores, np.nan)
    turned[:, YAW] = 20 * source.rows["cluster"].to_numpy(float)
    turned[:, LIGHT] = 9.0
    wanted = np.full_like(target.scores, np.nan)
    wanted[:, YAW], wanted[:, LIGHT] = 41.0, -9.0
    return replace(source, scores=turned), replace(target, scores=wanted)


def test_half_of_the_draws_go_where_the_target_is(sides: tuple[Side, Side]) -> None:
    source = by_gaps(*sides)
    assert source.cumulative[-1] == pytest.approx(1)
    drawn = source.rows["cluster"].to_numpy()[source.draw(np.random.default_rng(0), 8000)]
    shares = [(drawn == cluster).mean() for cluster in range(4)]
    assert shares == pytest.approx([0.125, 0.125, 0.625, 0.125], abs=0.02)


def test_nearest_by_hand() -> None:
    own = np.array([[0.0, 0], [1, 0], [5, 5]], np.float32)
    assert nearest(np.array([[0.9, 0.2], [4, 4], [-3, 0]], np.float32), own).tolist() == [1, 2, 0]
    assert nearest(own[:0], own).tolist() == []
    assert not scaled(np.full((1, len(NAMES)), np.nan, np.float32)).any()


def test_a_run_can_be_sampled_by_gaps(pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path) -> None:
    assert train(replace(config, steps=2, sampling="gaps"), *pair, tmp_path / "run").steps == 2
