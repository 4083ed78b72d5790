"""A run goes on with the person it began with, whatever the name says."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curate.errors import UsageError
from curate.settings import Settings
from curate.types import Subject
from tests.command import call
from train.config import config_of
from train.fit import train
from train.people import check_people
from train.run import Run, SideInfo


class Looks:
    """A faceset as far as its identity goes."""

    anchor = None

    def __init__(self, name: str, first: float, identifier: str = "dlib") -> None:
        self.folder, self._first, self.settings = Path(name), first, Settings(identifier=identifier)

    def looks(self) -> np.ndarray:
        vectors = np.zeros((1, 128), np.float32)
        vectors[0, 0] = self._first
        return vectors


def run(first: float, *looks: float) -> Run:
    vectors = [(value, *(0.0,) * 127) for value in (first, *looks)]
    side = SideInfo(None, (), "", vectors[0], 1, looks=tuple(vectors[1:]))  # type: ignore[arg-type]
    other = replace(side, identity=(), looks=())
    return Run(Path("r"), None, 1, "full", side, other, 0)  # type: ignore[arg-type]


def test_resume_on_another_person_is_refused(caplog) -> None:
    sides = {"source": Looks("a", 0.9), "target": Looks("b", 0.0)}
    check_people(sides, run(0.8))  # type: ignore[arg-type]
    assert not caplog.records
    with pytest.raises(UsageError, match=r"--resume: a shows another person than the source .* 0\.90, limit 0\.5"):
        check_people(sides, run(0.0))  # type: ignore[arg-type]
    check_people(sides, run(0.0, -0.6, 0.7))  # type: ignore[arg-type]  # the nearest look counts, not their mean
    with pytest.raises(UsageError, match=r"distance 0\.60"):
        check_people(sides, run(0.9, 0.3, -0.3))  # type: ignore[arg-type]
    other = {**sides, "source": Looks("a", 0.9, "sface")}
    check_people(other, run(0.0))  # type: ignore[arg-type]  # vectors of two models say nothing about each other


def test_one_person_on_both_sides_is_told(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        check_people({"source": Looks("a", 0.3), "target": Looks("b", 0.1)}, None)  # type: ignore[dict-item]
    assert "look like one person (identity distance 0.20" in caplog.text


def test_a_run_is_not_resumed_on_a_faceset_that_became_somebody_elses(pair, make_faceset, tmp_path, capsys) -> None:
    small = {"encoder_width": 4, "decoder_width": 4, "latent": 16, "residuals": 0, "batch": 2, "device": "cpu"}
    config = config_of("tiny", steps=2, save_every=2, preview_every=0, identity=0, **small)
    train(config, *pair, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    stranger = make_faceset(tmp_path / "b", "somebody", (210, 160, 130), subject=Subject("A", "self")).folder
    sides = ("--source", stranger, "--target", pair[1])
    code, _, told = call(capsys, "train", *sides, "--out", tmp_path / "run", "--resume", "--quiet")
    assert code == 2 and len(told.strip().splitlines()) == 1
    assert f"{stranger} shows another person than the source of this run" in told
    assert {path: path.read_bytes() for path in before} == before
