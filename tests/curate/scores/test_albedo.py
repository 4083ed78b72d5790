"""Light read with the subject's own albedo, on Lambertian triangles whose light is known."""

import numpy as np
import pytest

from curate.face.pose import matrix
from curate.scores import albedo, lighting
from curate.scores.occlusion import against_usual, usual, visible


def footage(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Colours, rotations, true lights and the albedo of a blotchy face under a light that moves."""
    rng = np.random.default_rng(seed)
    normals = lighting.skin()[1]
    skin = np.exp(0.2 * np.sin(6 * normals[:, 1]) + 0.1 * normals[:, 0] + rng.normal(0, 0.2, len(normals)))
    yaw, pitch = rng.uniform(-35, 35, count), rng.uniform(-15, 15, count)
    turns = matrix(yaw, pitch, 0.0)
    side, height = np.radians(rng.uniform(-60, 60, count)), np.radians(rng.uniform(-20, 50, count))
    light = np.column_stack([np.sin(side) * np.cos(height), np.sin(height), np.cos(side) * np.cos(height)])
    turned = np.einsum("nij,tj->nti", turns, normals)
    key = rng.uniform(0.4, 0.8, count)[:, None]
    level = 0.25 * skin * (0.25 + key * np.maximum(np.einsum("nti,ni->nt", turned, light), 0))
    srgb = 255 * (1.055 * np.clip(level, 0, 1) ** (1 / 2.4) - 0.055)
    colours = np.repeat(np.clip(srgb, 1, 252)[..., None], 3, axis=2) * (1, 0.85, 0.75)
    return np.where((turned[..., 2] > 0.15)[..., None], np.maximum(colours, 1), 0).astype(np.uint8), turns, light, skin


def median_error(found: np.ndarray, light: np.ndarray) -> float:
    return float(np.median(np.degrees(np.arccos(np.clip((found * light).sum(1), -1, 1)))))


def test_the_albedo_makes_the_light_right() -> None:
    colours, turns, light, skin = footage(120)
    fitted = albedo.fit(colours, turns)
    assert fitted is not None
    found = albedo.read(fitted, colours, turns)
    single = [lighting.estimate(c, t) for c, t in zip(colours, turns, strict=True)]
    alone = median_error(np.array([s.direction for s in single if s is not None]), light)
    with_albedo = median_error(found.direction, light)
    assert with_albedo < 6 and with_albedo < 0.75 * alone  # single frames are read within 6 degrees here
    known = fitted.weight > 0
    assert np.corrcoef(fitted.log[known], np.log(skin)[known])[0, 1] > 0.9
    assert (found.contrast >= 0).all() and (found.contrast <= 1).all()


def test_more_rounds_do_not_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    colours, turns, light, _ = footage(80, seed=1)
    monkeypatch.setattr(albedo, "ROUNDS", 120)
    fitted = albedo.fit(colours, turns)
    assert fitted is not None and median_error(albedo.read(fitted, colours, turns).direction, light) < 7


def test_few_frames_and_hidden_faces() -> None:
    colours, turns, _, _ = footage(60)
    assert albedo.fit(colours[:9], turns[:9]) is None
    fitted = albedo.fit(colours, turns)
    assert fitted is not None
    colours[3] = 0
    found = albedo.read(fitted, colours, turns)
    assert np.isnan(found.direction[3]).all() and np.isfinite(np.delete(found.direction, 3, axis=0)).all()


def test_blocks_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    colours, turns, _, _ = footage(50)
    fitted = albedo.fit(colours, turns)
    assert fitted is not None
    whole = albedo.read(fitted, colours, turns)
    monkeypatch.setattr(albedo, "BLOCK", 7)
    assert albedo.read(fitted, colours, turns).direction == pytest.approx(whole.direction, abs=1e-6)


def test_a_hidden_part_of_the_face_is_seen_as_hidden() -> None:
    colours, turns, _, _ = footage(60)
    fitted = albedo.fit(colours, turns)
    assert fitted is not None
    expected = usual(colours, albedo.read(fitted, colours, turns).shading)
    shares = []
    for hidden in (0, 60, 150, 250):
        frame = colours[:1].copy()
        rows = np.flatnonzero(frame[0].any(1))[:hidden]
        frame[0, rows] = (30, 60, 160)
        shading = albedo.read(fitted, frame, turns[:1]).shading
        shares.append((visible(frame[0]), float(against_usual(frame, shading, expected)[0])))
    for column in zip(*shares, strict=True):
        assert list(column) == sorted(column, reverse=True) and column[0] - column[-1] > 0.3
    assert shares[0][1] > 0.85
    assert visible(np.zeros_like(colours[0])) == 0
    nobody = np.zeros_like(colours[:1])
    assert np.isnan(against_usual(nobody, albedo.read(fitted, nobody, turns[:1]).shading, expected))[0]
