"""Light direction on heads with photo texture: with the subject's albedo, with few frames, and from single frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy_heads import read, report_heads
from benchmarks.accuracy_table import Row, at_least, at_most, figure
from curate.face import align
from curate.face.pose import head_pose, matrix
from curate.scores import albedo, lighting
from curate.turntable import Head, View, performance

OFF_AXIS = 15.0


def rows(quick: bool, clips: Path | None) -> list[Row]:
    """The table of light."""
    found = []
    for number, head in enumerate(report_heads(clips, photos_only=True, quick=quick)):
        found += _head_rows(head.name, _measured(head, views(100 if quick else 150, 30 + number)))
    return found


def views(count: int, seed: int) -> list[View]:
    """A lively performance under a light that wanders 75 degrees to both sides, from 30 below to 60 above."""
    r = np.random.default_rng(seed)
    time = np.arange(count)
    side = np.radians(75 * np.sin(2 * np.pi * time / 97 + r.uniform(0, 6)))
    height = np.radians(15 + 45 * np.sin(2 * np.pi * time / 61 + r.uniform(0, 6)))
    out = []
    for view, a, e in zip(performance(seed, 3 * count)[::3], side, height, strict=True):
        light = (float(np.sin(a) * np.cos(e)), float(np.sin(e)), float(np.cos(a) * np.cos(e)))
        out.append(replace(view, light=light, key=float(r.uniform(0.45, 0.85)), ambient=float(r.uniform(0.1, 0.3))))
    return out


@dataclass(frozen=True)
class _Measured:
    colours: np.ndarray
    rotations: np.ndarray
    truth: np.ndarray
    """(N, 3) unit vectors in the upright crop's axes."""


def _measured(head: Head, wanted: list[View]) -> _Measured:
    seen = read(head, wanted, keep=True)
    colours, rotations, truth = [], [], []
    for view, image, points in zip(wanted, seen.images, seen.points, strict=True):
        if not np.isfinite(points).all():
            continue
        pose = head_pose(points[None])
        rotation = matrix(float(pose.yaw[0]), float(pose.pitch[0]), 0.0)
        to_crop = align.crop_matrix(points, "full", 128)
        crop = align.warp(image, to_crop, 128)
        colours.append(lighting.skin_colours(crop, align.transform(points, to_crop), rotation))
        rotations.append(rotation)
        truth.append(matrix(0.0, 0.0, float(pose.roll[0])).T @ view.light_vector())
    return _Measured(np.stack(colours), np.stack(rotations), np.stack(truth))


def _head_rows(name: str, m: _Measured) -> list[Row]:
    single = [lighting.estimate(c, r) for c, r in zip(m.colours, m.rotations, strict=True)]
    alone = np.array([(0, 0, 1) if light is None else light.direction for light in single])
    found = _with(m, len(m.colours))
    off = np.abs(m.truth[:, 0]) > np.sin(np.radians(OFF_AXIS))
    sides = (np.sign(found[:, 0]) == np.sign(m.truth[:, 0]))[off].mean()
    rows = [
        at_most("light", f"{name}: {len(found)} frames, median error", _median(found, m.truth), 10, "deg"),
        at_most(
            "light", f"{name}: the same, constant offset removed", _median(_turned(found, m.truth), m.truth), 6, "deg"
        ),
        at_least("light", f"{name}: left/right right past {OFF_AXIS:g} deg off axis", sides, 0.99),
        figure("light", f"{name}: single frames, median error", _median(alone, m.truth), "deg"),
    ]
    for count in (40, 10, 6):
        few = np.linspace(0, len(m.colours) - 1, count).astype(int)
        part = _Measured(m.colours[few], m.rotations[few], m.truth[few])
        directions = _with(part, count) if count >= albedo.LEAST_FRAMES else alone[few]
        how = "" if count >= albedo.LEAST_FRAMES else " (one-light search)"
        rows.append(
            figure("light", f"{name}: {count} frames{how}, median error", _median(directions, part.truth), "deg")
        )
    return rows


def _with(m: _Measured, count: int) -> np.ndarray:
    fitted = albedo.fit(m.colours, m.rotations)
    assert fitted is not None, f"{count} frames are too few"
    return albedo.read(fitted, m.colours, m.rotations).direction


def _median(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.median(np.degrees(np.arccos(np.clip((found * truth).sum(1), -1, 1)))))


def _turned(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The directions after the one rotation that brings them nearest to the truth (Kabsch 1976)."""
    u, _, vt = np.linalg.svd(found.T @ truth)
    return found @ (u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt)
