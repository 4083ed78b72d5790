"""Figures of an evaluation on pictures whose truth is known, and the table made of them."""

from __future__ import annotations

import csv
import json
import math

import cv2
import numpy as np
import pytest

from reports.evaluation import measures as m
from reports.evaluation import page


def texture(seed: int = 0, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(128, 60, (*size, 3)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 3) * 3 - 256, 0, 255).astype(np.uint8)


def face(shape: tuple[int, int] = (96, 128)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[20:70, 30:90] = True
    return mask


def test_landmark_error_ignores_place_and_counts_shape():
    points = np.random.default_rng(1).normal(0, 30, (478, 3))
    points[list(m.EYES)] = [[-40, 0, 0], [-20, 0, 0], [20, 0, 0], [40, 0, 0]]
    assert m.landmark_error(points + np.array([7, -3, 0]), points) == pytest.approx(0)
    away = points.copy()
    away[:239, 0] += 1.2
    away[239:, 0] -= 1.2
    assert m.landmark_error(away, points) == pytest.approx(100 * 1.2 / 60, rel=0.02)
    points[list(m.EYES)] = 0
    assert math.isnan(m.landmark_error(points, points))


def test_ssim_counts_only_what_lies_outside():
    picture = texture()
    inside, outside = picture.copy(), picture.copy()
    inside[30:60, 40:80] = 255 - inside[30:60, 40:80]
    outside[75:90, 95:120] = 255 - outside[75:90, 95:120]
    assert m.outside_ssim(picture, picture, face()) == pytest.approx(1)
    assert m.outside_ssim(inside, picture, face()) == pytest.approx(1, abs=1e-3)
    assert m.outside_ssim(outside, picture, face()) < 0.97
    assert math.isnan(m.outside_ssim(picture, picture, np.ones((96, 128), bool)))


def test_warping_error_is_small_for_movement_and_counts_flicker():
    wide = texture(2, (96, 160))
    before, now = wide[:, 3:131], wide[:, :128]
    same, footage = m.warping_error((before, now), (before, now), face())
    assert same == footage < 2
    bright = np.clip(now.astype(int) + 12, 0, 255).astype(np.uint8)
    flickered, _ = m.warping_error((before, bright), (before, now), face())
    assert flickered > footage + 5
    assert math.isnan(m.warping_error((before, now), (before, now), np.zeros((96, 128), bool))[0])


def test_outlines_grow_about_their_middle():
    square = np.array([[40, 30], [60, 30], [60, 50], [40, 50]], float)
    assert m.outline(square, (96, 128)).sum() == 21 * 21
    assert m.outline(square, (96, 128), 1.4).sum() == 29 * 29


def test_angles():
    assert m.angle(np.array([0, 0, 2.0]), np.array([0, 3.0, 0])) == pytest.approx(90)
    assert m.angle(np.array([1.0, 1, 0]), np.array([2.0, 2, 0])) == pytest.approx(0, abs=1e-5)


def test_the_table_is_written_as_text_page_and_csv(tmp_path):
    rows = [
        {"name": "one<b>", "frames": 30, "measured": 10, "pose": 1.5, "pose_floor": 0.25, "follows": math.nan},
        {"name": "two", "frames": 20, "measured": 7, "identity_top1": 1.0},
    ]
    lines = page.text(rows).splitlines()
    assert "one<b>" in lines[0] and "two" in lines[0]
    shown = next(line for line in lines if line.startswith("pose")).split()
    assert shown[-3:] == ["1.50", "(0.250)", "–"]
    html, sheet = page.write(rows, tmp_path / "new")
    text = html.read_text(encoding="utf-8")
    assert "one&lt;b&gt;" in text and "1.50 (0.250)" in text and "10 of 30" in text
    assert json.loads(html.with_suffix(".json").read_text())["rows"][0]["follows"] is None
    first, second = csv.DictReader(sheet.read_text(encoding="utf-8").splitlines())
    assert (first["pose"], first["pose_floor"], first["follows"]) == ("1.5", "0.25", "")
    assert (second["identity_top1"], second["pose"]) == ("1.0", "")
