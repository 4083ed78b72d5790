from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch

from curate.dataset.faceset import open_faceset
from curate.errors import UsageError
from curate.face.align import hull
from curate.face.mesh import AT, INNER_LIPS, LEFT_EYE, LIPS, RIGHT_EYE, canonical
from curate.face.pose import matrix
from curate.records import record
from train import outlines
from train.config import TrainConfig
from train.data import load_side
from train.drive import NAMES, Drive
from train.feed import batch_of
from train.measure import overlap
from train.model import build
from train.outlines import MAPS, Outlines, draw, maps_of
from train.retarget import EYES, Shape, back, carried, eye_openings, frontal, shape_of
from train.run import Swapper
from train.start import outlined

AT_MAP = {name: i for i, name in enumerate(MAPS)}


def head(eyes: float = 1.0, mouth: float = 0.0, look: float = 0.0, narrow: float = 1.0) -> np.ndarray:
    """(478, 3) centimetres: the canonical head with its lids opened by a factor, times `narrow` for the person, and its
    mouth opened by centimetres, looking `look` centimetres to image right."""
    points = np.concatenate([canonical().vertices, np.zeros((10, 3))])
    for lids, iris, outer, inner, top, low in EYES:
        middle = points[[outer, inner]].mean(0)
        points[list(lids), 1] = middle[1] + eyes * narrow * (points[list(lids), 1] - points[[top, low], 1].mean())
        points[list(iris)] = middle + 0.5 * np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0)])
        points[list(iris), 0] += look
    middle = points[[AT.lip_top, AT.lip_bottom], 1].mean()
    closed = points[list(INNER_LIPS), 1] * 0 + middle
    upper = np.isin(INNER_LIPS, (310, 311, 312, 13, 82, 81, 80))
    lower = np.isin(INNER_LIPS, (88, 178, 87, 14, 317, 402, 318))
    points[list(INNER_LIPS), 1] = closed + mouth / 2 * (upper.astype(float) - lower)
    return points


def seen(points: np.ndarray, yaw: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    """The head turned, in pixels, y down."""
    return (points @ matrix(yaw, pitch, 0.0).T * (1, -1, -1) * 8 + (128, 128, 0)).astype(np.float32)


def performance(**other: float) -> np.ndarray:
    """(N, 478, 3) a head that blinks, speaks and turns in some of its frames."""
    random = np.random.default_rng(0)
    found = []
    for number in range(60):
        shut, speaks = number % 10 == 0, number % 3 == 0
        made = head(eyes=0.1 if shut else 1.0, mouth=1.5 * speaks, **other)
        found.append(seen(made, *random.uniform(-15, 15, 2)))
    return np.stack(found)


def test_what_is_drawn_lies_where_the_landmarks_are() -> None:
    points = seen(head(mouth=1.0))
    maps = draw(points / 256, 256)
    assert maps.shape == (256, 256, len(MAPS)) and maps.dtype == np.uint8
    for name, at in (("eyes", RIGHT_EYE), ("eyes", LEFT_EYE), ("lips", LIPS), ("mouth", INNER_LIPS)):
        x, y = points[list(at), :2].mean(0).round().astype(int)
        assert maps[y, x, AT_MAP[name]] == 255, name
    assert maps[..., AT_MAP["irises"]].any() and (maps[..., AT_MAP["irises"]] <= maps[..., AT_MAP["eyes"]]).all()
    assert not maps[:40, :40].any()
    for name in MAPS:
        assert 0 < maps[..., AT_MAP[name]].mean() < 0.5 * 255, name
    assert not draw(points[:5] / 256, 32).any()


def drawn_whole(points: np.ndarray, size: int) -> np.ndarray:
    """Reference of `draw`: every map is drawn on a whole fine picture, which is then shrunk."""
    fine = max(outlines.FINE, 2 * size)
    maps = np.zeros((len(MAPS), fine, fine), np.uint8)
    at = np.clip(np.asarray(points, np.float64)[:, :2], -16, 16) * fine - 0.5
    areas, lines = (outlines._mesh if len(points) == 478 else outlines._ibug)()
    shapes = [(number, path) for number, paths in enumerate(areas) for path in paths]
    for number, place in [*((n, at[list(path)]) for n, path in shapes), (len(MAPS) - 1, hull(at))]:
        cv2.fillPoly(maps[number], [outlines._fixed(place)], 255, cv2.LINE_8, outlines.SUBPIXELS)
    for name, paths in lines.items():
        for path in paths:
            line = [outlines._fixed(at[list(path)])]
            cv2.polylines(maps[AT_MAP[name]], line, False, 255, round(fine / 64), cv2.LINE_8, outlines.SUBPIXELS)
    maps[1] = np.minimum(maps[1], maps[0])
    return np.stack([cv2.resize(each, (size, size), interpolation=cv2.INTER_AREA) for each in maps], 2)


@pytest.mark.parametrize("size", [64, 128, 256, 384])
def test_what_is_drawn_in_part_is_what_is_drawn_in_whole_pictures(size: int) -> None:
    random = np.random.default_rng(size)
    for points in performance()[:20]:
        zoom, shift = random.uniform(0.3, 2.5), random.normal(0, 0.4, 2)
        for shown in (points / 256, (points / 256 - 0.5) * zoom + 0.5 + (*shift, 0), points[:68] / 256):
            assert np.array_equal(draw(shown, size), drawn_whole(shown, size))


def test_68_landmarks_have_everything_but_irises() -> None:
    maps = draw(np.random.default_rng(0).uniform(0.2, 0.8, (68, 3)), 64)
    drawn = {name for name, i in AT_MAP.items() if maps[..., i].any()}
    assert drawn == set(MAPS) - {"irises"}
    mesh = seen(head(mouth=1.0))[None] / 256
    like, whole = Outlines(64, points=68).plain(mesh)[0].float(), Outlines(64).plain(mesh)[0].float()
    assert not like[AT_MAP["irises"]].any()  # footage is read with 478 landmarks, whatever the network was taught with
    for name in ("eyes", "lips", "mouth", "face"):
        assert overlap(like[[AT_MAP[name]]][None] / 255, whole[[AT_MAP[name]]][None] / 255) > 0.6, name


def test_lids_that_close_by_less_than_a_pixel_are_told_apart() -> None:
    areas = [
        maps_of(seen(head(eyes=eyes))[None] / 256, 64)[0, AT_MAP["eyes"]].float().sum().item()
        for eyes in (1.0, 0.9, 0.6, 0.3, 0.1)
    ]
    assert np.all(np.diff(areas) < 0) and areas[-1] < 0.25 * areas[0]


def test_frontal_and_back_are_inverse() -> None:
    points = performance()
    heads, fit = frontal(points)
    assert np.abs(back(heads, fit) - points).max() < 0.01
    assert np.allclose(heads[0, 1], head()[1], atol=0.7)


def test_rest_is_with_open_eyes() -> None:
    shape = shape_of(performance())
    assert shape is not None
    assert eye_openings(np.array(shape.rest)[None]).min() > 0.9 * eye_openings(head()[None]).min()
    assert shape_of(np.zeros((3, 68, 3))) is None and shape_of(np.zeros((0, 478, 3))) is None
    assert shape_of(np.zeros((3, 478, 3))) is None  # no faces


def opening(heads: np.ndarray) -> np.ndarray:
    """(N,) centimetres between the inner lips."""
    return np.asarray(heads[:, AT.lip_top, 1] - heads[:, AT.lip_bottom, 1])


def test_the_source_moves_as_the_target_and_keeps_its_own_face() -> None:
    source, target = shape_of(1.25 * performance()), shape_of(performance(narrow=0.7))
    assert source is not None and target is not None
    acts = np.stack([seen(head(eyes=e, mouth=m, look=x, narrow=0.7), 12.0) for e, m, x in ((1, 0, 0), (0, 2, 0.3))])
    found, fit = frontal(carried(acts, target, source))
    assert np.abs(opening(found) - (0, 2)).max() < 0.2
    wide = eye_openings(head()[None])
    assert eye_openings(found)[0] == pytest.approx(wide[0], rel=0.1) and np.abs(eye_openings(found)[1]).max() < 0.03
    eye = found[1, [AT.right_eye_outer, AT.right_eye_inner], 0]
    assert found[1, AT.right_iris, 0] - eye.mean() == pytest.approx(0.3, abs=0.06)
    yaw = np.degrees(np.arcsin(-fit.rotation[:, 2, 0]))
    assert np.abs(yaw - 12).max() < 2


def test_a_source_whose_mouth_never_rests_closes_it_with_the_target() -> None:
    gaping = np.stack([seen(head(mouth=2.0), yaw) for yaw in np.linspace(-15, 15, 30)])
    source, target = shape_of(gaping), shape_of(performance())
    assert source is not None and target is not None
    found, _ = frontal(carried(seen(head(mouth=0.0))[None], target, source))
    assert abs(opening(found)[0]) < 0.1


def test_a_face_on_itself_stays_as_it_is() -> None:
    points = performance()
    shape = shape_of(points)
    assert shape is not None
    moved = carried(points, shape, shape)
    rest = np.setdiff1d(np.arange(478), [i for _, iris, *_ in EYES for i in iris])
    assert np.abs(moved - points)[:, rest].max() < 0.05
    assert np.abs(moved - points).max() < 1.0  # irises get the ring of the rest shape


def test_outlines_survive_run_json() -> None:
    shape = shape_of(performance())
    outlines = Outlines(64, shape, None)
    assert record(Outlines, json.loads(json.dumps(asdict(outlines)))) == outlines
    with pytest.raises(ValueError, match="478 points"):
        Shape(((0.0, 0.0, 0.0),))
    marks = performance()[:2] / 256
    assert torch.equal(outlines.carried(marks), outlines.plain(marks))  # an unknown shape: as it is
    both = replace(outlines, target=shape_of(performance(narrow=0.5)))
    assert not torch.equal(both.carried(marks), both.plain(marks))


def test_a_batch_has_the_outlines_of_what_is_to_be_drawn(
    pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path
) -> None:
    """Its face mask and the outline of the face come from the same landmarks, so augmentation moves both alike."""
    own = replace(config, drive="outlines", batch=4)
    side = load_side("source", open_faceset(pair[0]), own, tmp_path, True, lambda *_: None)
    batch = batch_of(replace(side, outlines=Outlines(64)), 0, own, 0, 1)
    _, _, masks = batch.part(slice(None)).pictures(64)
    assert masks.shape[1] == 2 + len(MAPS)
    assert overlap(masks[:, :1], masks[:, 2 + AT_MAP["face"]][:, None]).min() > 0.95
    plain = Outlines(64).plain(side.marks[:3])[:, AT_MAP["face"]][:, None] / 255
    assert overlap(side.faces(np.arange(3), 64)[1], plain).min() > 0.95


def test_facesets_with_different_landmarks_are_refused_and_beyond_is_said(
    pair: tuple[Path, Path], config: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sides = {
        name: load_side(name, open_faceset(folder), config, tmp_path, True, lambda *_: None)
        for name, folder in zip(("source", "target"), pair, strict=True)
    }
    found = outlined(sides, 64)
    assert found["source"].outlines == found["target"].outlines == Outlines(64)  # the conftest's heads are no faces
    assert "extrapolated" not in caplog.text
    yaw = NAMES.index("yaw")
    moved = {name: replace(side, scores=np.zeros_like(side.scores)) for name, side in sides.items()}
    moved["target"].scores[::2, yaw] = 60.0
    outlined(moved, 64)
    assert "extrapolated" in caplog.text and "yaw" in caplog.text
    other = replace(sides["target"], marks=sides["target"].marks[:, :68])
    with pytest.raises(UsageError, match="68 and 478 landmarks"):
        outlined({**sides, "target": other}, 64)


@pytest.mark.parametrize("arch", ["df", "liae"])
def test_outlines_move_what_is_drawn_once_they_are_learnt(config: TrainConfig, arch: str) -> None:
    model, crops = build(replace(config, drive="outlines", arch=arch)), torch.rand(2, 3, 64, 64)
    maps = torch.randint(0, 255, (2, len(MAPS), 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(model.through(crops, "source", maps), model.through(crops, "source"))  # begin as the picture
        for module in model.modules():
            outline = getattr(module, "outline", None)
            if outline is not None:
                outline.weight.normal_()
        drawn = model.through(crops, "source", maps)
        assert not torch.equal(drawn, model.through(crops, "source"))
        torch.testing.assert_close(drawn, model.through(crops, "source", maps.float() / 255))


@pytest.mark.parametrize("arch", ["df", "liae"])
@pytest.mark.parametrize("drive", ["outlines", "picture", "scores"])
def test_swap_and_reconstruction_at_once_are_those_made_one_by_one(
    config: TrainConfig, arch: str, drive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = shape_of(performance(narrow=0.6)), shape_of(performance())
    read = Outlines(64, source, target) if drive == "outlines" else None
    model = build(replace(config, drive=drive, arch=arch))
    for module in model.modules():
        if getattr(module, "outline", None) is not None:
            torch.nn.init.normal_(module.outline.weight)
    scores = Drive(("jawOpen",), (0.0,), (1.0,), (0.0,)) if drive == "scores" else None
    swapper = Swapper(model, 64, torch.device("cpu"), scores, read)
    given = torch.rand(3, 3, 64, 64), np.full((3, len(NAMES)), 0.4, np.float32), performance()[:3] / 256
    passes = Mock(side_effect=model.encode)
    monkeypatch.setattr(model, "encode", passes)
    rgb, mask, back_again = swapper.swap_and_reconstruct(*given)
    assert passes.call_count == (2 if drive == "scores" else 1)
    one, other = swapper.swap(*given), swapper.reconstruct(*given)
    assert torch.equal(rgb, one[0]) and torch.equal(mask, one[1]) and torch.equal(back_again, other[0])
    assert not torch.equal(rgb, back_again)
