from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from curate.dataset.faceset import open_faceset
from curate.face.backends import Landmarker
from curate.face.mesh import AT as MESH
from curate.face.mesh import BLENDSHAPES
from curate.scores.expression import gaze
from curate.types import Floats, Landmarks
from tests.train.test_outlines import AT_MAP, head, seen
from tests.train.test_performance import Reader
from train import gains, performance
from train.config import TrainConfig
from train.data import load_side
from train.fit import train
from train.gains import RANGE, fitted
from train.model import Swap
from train.outlines import Outlines
from train.performance import Stage, figures
from train.retarget import BROWS, MOUTH, NONE, Gains, carried, eye_openings, frontal, shape_of
from train.run import load_swapper, open_run

CPU = torch.device("cpu")
MODEL, READER = cast(Swap, None), cast(Landmarker, None)  # nothing here draws or reads with them
AT = {name: i for i, name in enumerate(BLENDSHAPES)}
LOOKS = np.random.default_rng(3).uniform(-0.35, 0.35, 40)


def reading(gaze: float) -> Landmarks:
    """A frontal face that looks to a side, -1..1."""
    shapes = np.full(52, 0.1, np.float32)
    left, right = ("eyeLookOutLeft", "eyeLookInRight"), ("eyeLookInLeft", "eyeLookOutRight")
    for name in left if gaze > 0 else right:
        shapes[AT[name]] += abs(gaze)
    return Landmarks(seen(head()), 1.0, shapes)


def look(found: Landmarks) -> float:
    """The gaze of a `reading`."""
    assert found.blendshapes is not None
    return float(gaze(found.blendshapes)[0])


def winking(found: Landmarks, blink: float) -> Landmarks:
    """The same with its eyes closed by so much."""
    assert found.blendshapes is not None
    shapes = found.blendshapes.copy()
    shapes[[AT["eyeBlinkLeft"], AT["eyeBlinkRight"]]] = 0.1 + blink
    return replace(found, blendshapes=shapes)


class Actor(Stage):
    """Faces whose swaps look as far as `shows` of what the outlines say."""

    shows: Callable[[Floats], Floats]

    def drawn(self, model: Swap, size: int, device: torch.device, inputs: Tensor | None) -> list[Landmarks]:
        assert inputs is not None
        maps, columns = inputs.double().numpy(), np.arange(size)
        irises, eyes = (maps[:, AT_MAP[name]].sum(1) for name in ("irises", "eyes"))
        away = irises @ columns / irises.sum(1) - eyes @ columns / eyes.sum(1)
        return [reading(value) for value in self.shows(np.asarray(away / size * 40, np.float32))]


def staged(kind: type[Actor], own: Sequence[Landmarks], marks: Floats, **more: object) -> Actor:
    """A stage of this kind without pictures, which nothing here looks at."""
    made = kind(READER, (), tuple(np.zeros(0) for _ in marks), None, tuple(own), marks)
    for name, value in more.items():
        object.__setattr__(made, name, value)  # a frozen dataclass, whose subclass has fields of its own
    return made


def actor(shows: Callable[[Floats], Floats], looks: np.ndarray = LOOKS) -> tuple[Actor, Outlines]:
    """The stage, and the outlines of a source with the same face."""
    marks = np.stack([seen(head(look=look)) for look in looks]) / 256
    shape = shape_of(marks * 256)
    assert shape is not None
    outlines = Outlines(128, shape, shape)
    plain = staged(Actor, (), marks, shows=lambda away: away)
    return staged(Actor, plain.drawn(MODEL, 128, CPU, outlines.carried(marks)), marks, shows=shows), outlines


def test_a_gaze_that_arrives_as_two_thirds_is_drawn_larger() -> None:
    stage, outlines = actor(lambda away: away * np.float32(0.66))
    before = figures(stage.own, stage.drawn(MODEL, 128, CPU, outlines.carried(stage.marks)))
    found = fitted(stage, outlines, MODEL, 128, CPU)
    after = figures(stage.own, stage.drawn(MODEL, 128, CPU, replace(outlines, gains=found).carried(stage.marks)))
    assert before["slope_gaze_side"] == pytest.approx(0.66, abs=0.03)
    assert after["slope_gaze_side"] == pytest.approx(1, abs=0.12) and found.gaze_side > 1.3
    assert replace(found, gaze_side=1.0) == NONE  # what changes nothing that is read stays as it is


def test_what_cannot_be_bettered_stays_as_it_is() -> None:
    noise = np.random.default_rng(0).normal(0, 1, len(LOOKS)).astype(np.float32)
    assert fitted(*actor(lambda away: away), MODEL, 128, CPU) == NONE
    assert fitted(*actor(lambda away: noise), MODEL, 128, CPU) == NONE
    stage, outlines = actor(lambda away: away / 2)
    assert fitted(stage, replace(outlines, source=None), MODEL, 128, CPU) == NONE
    few, outlines = actor(lambda away: away / 2, LOOKS[:5])
    assert fitted(few, outlines, MODEL, 128, CPU) == NONE


def test_no_movement_may_follow_less_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gaze arrives too small, and a gaze that is drawn larger hides the blinks."""
    blinks = np.tile([0.0, 0.6], 20)

    class Hiding(Actor):
        """Some blinks are smaller once the gaze is much wider: beyond the gain at which effects are measured."""

        def drawn(self, model: Swap, size: int, device: torch.device, inputs: Tensor | None) -> list[Landmarks]:
            found = super().drawn(model, size, device, inputs)
            lost = np.std([look(one) for one in found]) > 1.45 * self.first
            shown = np.where(lost & (np.arange(len(found)) % 8 == 1), 0.4, blinks)
            return [winking(one, float(blink)) for one, blink in zip(found, shown, strict=True)]

    stage, outlines = actor(lambda away: away / 2)
    own = [winking(one, blink) for one, blink in zip(stage.own, blinks, strict=True)]
    assert stage.marks is not None
    before = stage.drawn(MODEL, 128, CPU, outlines.carried(stage.marks))
    hiding = staged(Hiding, own, stage.marks, shows=stage.shows, first=np.std([look(one) for one in before]))
    assert 1.1 < fitted(hiding, outlines, MODEL, 128, CPU).gaze_side < 1.45
    monkeypatch.setattr(gains, "LOSS", 1.0)
    assert fitted(hiding, outlines, MODEL, 128, CPU).gaze_side > 1.6


def test_gains_change_one_movement_each() -> None:
    """The width of the mouth and the brows by their points, since the drawn mouth is a slit."""
    poses = ((0, 0, 1), (0.1, 0, 0.9), (-0.1, 0, 1), (0, 0, 1))
    shape = shape_of(np.stack([seen(head(look=x, mouth=m, eyes=e)) for x, m, e in poses]))
    assert shape is not None
    acts = head(look=0.2, mouth=1.0, eyes=0.7)
    acts[MOUTH, 0] *= 1.2
    acts[BROWS, 1] += 0.4
    points = seen(acts)[None]
    plain, moved = frontal(points)[0], {}
    for name, own in (("gaze_side", [468, 473]), ("brows", BROWS), ("mouth_wide", MOUTH)):
        found = (
            frontal(carried(points, shape, shape, Gains(**{name: 1.5})))[0] - frontal(carried(points, shape, shape))[0]
        )
        moved[name] = np.abs(found[0])
        rest = np.setdiff1d(np.arange(478), [*own, *range(468, 478)])
        assert moved[name][own].max() > 0.03 and moved[name][rest].max() < 0.02, name
    assert moved["mouth_wide"][:, 1].max() < 0.01 < 0.1 < moved["mouth_wide"][:, 0].max()
    assert np.isfinite(plain).all()
    with pytest.raises(ValueError, match="must be from"):
        Gains(brows=float("nan"))


@pytest.mark.parametrize("size", RANGE)
def test_closed_eyes_and_lips_stay_closed_with_every_gain(size: float) -> None:
    talks = np.stack([seen(head(mouth=m, eyes=e)) for m, e in ((0.6, 1), (0.5, 1), (0.4, 0.9), (0.6, 0.2))])
    shape = shape_of(talks)
    assert shape is not None
    shut = frontal(carried(seen(head(mouth=0.0, eyes=0.0))[None], shape, shape, Gains(size, size, size)))[0]
    assert np.abs(eye_openings(shut)).max() < 0.03
    assert abs(shut[0, MESH.lip_top, 1] - shut[0, MESH.lip_bottom, 1]) < 0.05


def test_a_target_that_holds_still_has_no_gains() -> None:
    assert fitted(*actor(lambda away: away, np.zeros(20)), MODEL, 128, CPU) == NONE


def test_a_run_keeps_the_gains_of_its_last_evaluation(
    pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []

    def fit(stage: Stage, *_: object) -> Gains:
        assert stage.marks is not None
        asked.append({str(own.tobytes()) for own in stage.marks})
        return Gains(gaze_side=1.5)

    monkeypatch.setattr(performance, "_reader", Reader)
    monkeypatch.setattr(gains, "fitted", fit)
    own = replace(config, drive="outlines", preview_every=3, held_out=0.4, guard=0.0, performance=100)
    train(own, *pair, tmp_path)
    run = open_run(tmp_path)
    assert run.outlines is not None and run.outlines.gains == Gains(gaze_side=1.5)
    assert load_swapper(run, "cpu").outlines == run.outlines
    logged = pd.read_csv(tmp_path / "log.csv")["gain_gaze_side"].tolist()
    assert logged[-1] == 1.5 and all(np.isnan(value) for value in logged[:-1]) and len(logged) > 1
    side = load_side("target", open_faceset(pair[1]), own, tmp_path / "cache", False, lambda *_: None)
    held = {str(side.marks[i].tobytes()) for i in side.split.held_out}
    assert len(asked) == 1 and not asked[0] & held
    train(replace(own, gains="off"), *pair, tmp_path, resume=True)
    after = open_run(tmp_path)
    assert after.outlines is not None and after.outlines.gains == NONE and after.results["gain_gaze_side"] == 1
    train(replace(own, steps=9), *pair, tmp_path, resume=True)
    again = open_run(tmp_path).outlines
    assert again is not None and again.gains == Gains(gaze_side=1.5) and len(asked) == 2
    monkeypatch.setattr(gains, "fitted", lambda *_: np.linalg.inv(np.zeros((2, 2))))
    train(replace(own, steps=12), *pair, tmp_path, resume=True)  # gains are no reason to fail
    last = open_run(tmp_path)
    assert last.step == 12 and last.outlines is not None and last.outlines.gains == NONE
