from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from curate.dataset.faceset import Faceset, open_faceset
from curate.select.learned import errors_of
from curate.types import Floats, Image
from tests.tables import write_rows
from train.config import TrainConfig
from train.data import load_side
from train.fit import train
from train.identity import Judge, judge_for, paste
from train.measure import measure, overlap
from train.model import build
from train.schedule import COOL, end, latest_cooling, rate
from train.trend import tidy, trend

CPU = torch.device("cpu")


class Brightness:
    """Stands for the identity network: the mean colour of the picture's middle, as a vector."""

    def chip(self, image: Image, landmarks: Floats) -> Image:
        x, y = landmarks[:, :2].mean(0).astype(int)
        return image[y - 8 : y + 8, x - 8 : x + 8]

    def identify(self, chip: Image) -> Floats:
        return np.resize(chip.mean((0, 1)) / 255, 128).astype(np.float32)


def test_overlap_of_masks_by_hand() -> None:
    one, other = torch.zeros(3, 1, 4, 4), torch.zeros(3, 1, 4, 4)
    one[0, 0, :2], other[0, 0, 1:3] = 1, 1
    one[1, 0, 0] = 0.6
    assert overlap(one, other).tolist() == pytest.approx([1 / 3, 0, 1])


def test_a_perfect_network_has_perfect_figures(
    pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = {
        name: load_side(name, open_faceset(folder), config, tmp_path, True, lambda *_: None)
        for name, folder in zip(("source", "target"), pair, strict=True)
    }
    model = build(config)
    masks = {side: sides[side].faces(sides[side].split.held_out, config.size)[1] for side in sides}
    first = dict.fromkeys(sides, 0)

    def through(crops: torch.Tensor, side: str, scores: object = None) -> torch.Tensor:
        begun = first[side]
        first[side] += len(crops)
        return torch.cat([crops, 20 * masks[side][begun : first[side]] - 10], 1)

    monkeypatch.setattr(model, "through", through)
    seen = measure(model, sides, config.size, 3, CPU)
    for side in sides:
        assert seen.figures[f"ssim_{side}"] == pytest.approx(1, abs=1e-5)
        assert seen.figures[f"ssim_face_{side}"] == pytest.approx(1, abs=1e-5)
        assert seen.figures[f"l1_face_{side}"] == 0
        assert seen.figures[f"iou_{side}"] > 0.98  # the edge of a shrunk mask is soft
    assert [f.index for f in seen.faces if f.side == "source"] == sides["source"].split.held_out.tolist()
    assert all(np.array_equal(f.crop, f.reconstruction) for f in seen.faces)


def test_a_swap_is_closer_to_whom_it_resembles(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(config)
    bright = torch.tensor([0.9, 0.9, 0.9, 9.0]).view(1, 4, 1, 1)
    monkeypatch.setattr(model, "through", lambda crops, side, scores: bright.expand(len(crops), 4, 64, 64))
    crop, points = np.full((96, 96, 3), 30, np.uint8), np.full((478, 3), 48, np.float32)
    assert abs(int(paste(model, crop, 64, CPU)[48, 48, 0]) - 0.9 * 255) < 2
    light, dark = np.full(128, 0.95, np.float32), np.full(128, 0.1, np.float32)
    figures = Judge(Brightness(), light[None], dark[None], (crop, crop), (points, points)).evaluate(model, 64, CPU)
    assert figures["nearer"] == 1 and figures["identity_source"] < figures["identity_target"]
    other = Judge(Brightness(), dark[None], light[None], (crop,), (points,)).evaluate(model, 64, CPU)
    assert other["nearer"] == 0


def test_identity_is_measured_where_it_can_be(
    make_faceset: Callable[..., Faceset],
    pair: tuple[Path, Path],
    config: TrainConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    facesets = {name: open_faceset(folder) for name, folder in zip(("source", "target"), pair, strict=True)}
    side = load_side("target", facesets["target"], config, tmp_path, True, lambda *_: None)
    assert judge_for(facesets, side, config) is None  # asked for none
    judge = judge_for(facesets, side, replace(config, identity=3), Brightness())
    assert judge is not None and len(judge.crops) == 3 and judge.crops[0].shape == (128, 128, 3)
    # The conftest's frames are twice as large as its crops, and shifted: the landmarks have to follow the matrix.
    assert abs(judge.landmarks[0][100:, 0].mean() - 64) < 8
    made = make_faceset(tmp_path / "bare", "a")
    table = made.table()
    table["kept"] = False
    write_rows(made, table)
    assert judge_for({"source": made, "target": facesets["target"]}, side, replace(config, identity=3)) is None
    assert "swaps are not evaluated for identity" in caplog.text


def test_rate_of_an_open_end_stays_then_cools_down(config: TrainConfig) -> None:
    plain = replace(config, lr=1e-3, warmup=10, steps=1000, final_lr=0.1, stop="auto")
    assert rate(plain, 9) == rate(plain, 500) == rate(plain, 400, 400) == pytest.approx(1e-3)
    last = end(plain, 400)
    assert last == 400 + round(400 * COOL)
    cooled = [rate(plain, step, 400) for step in range(400, last + 1)]
    assert (np.diff(cooled) < 0).all() and cooled[-1] == pytest.approx(1e-4)
    assert end(plain, None) == 1000 == end(plain, latest_cooling(plain)) and rate(plain, 1000) == pytest.approx(1e-4)


def test_the_page_of_a_run_names_what_it_is(pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path) -> None:
    train(replace(config, preview_every=3), *pair, tmp_path / "<run>")
    page = (tmp_path / "<run>/reports/training.html").read_text()
    assert "&lt;run&gt;" in page and "<run>" not in page
    assert "A (self)" in page and "B (self)" in page
    data = json.loads((tmp_path / "<run>/reports/training.json").read_text())
    found = trend(tidy(pd.read_csv(tmp_path / "<run>/log.csv")))
    assert (
        data["trend"]["state"] == found.state == "short"
        and data["facts"]["precision"] == "fp32"
        and data["trend"]["level"] == found.level
    )


def test_a_run_says_which_held_out_faces_it_cannot_do_yet(pair, config: TrainConfig, tmp_path: Path) -> None:
    train(replace(config, preview_every=3), *pair, tmp_path / "run")
    errors = errors_of(tmp_path / "run")
    ids = set().union(*(open_faceset(folder).table(["face_id"])["face_id"] for folder in pair))
    assert errors and set(errors) <= ids and all(0 <= error <= 2 for error in errors.values())
    assert set(errors) & set(open_faceset(pair[0]).selection()["face_id"])
