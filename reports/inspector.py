"""Frame after frame of a render: the figures of each beside its reference, and pictures of the suspicious ones."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.shots import content_change, likeness, thumbnail
from curate.types import Floats, Image
from reports import measure_edge, measure_marks, measure_spectrum
from reports import measures as m
from reports.parts import Part
from reports.patch import Patch, cells, cover, mouth, patch, region_cells, upright
from reports.pictures import Gallery
from reports.thresholds import limits
from reports.view import View, look

Grey = NDArray[np.uint8]
SMALL = 160
"""Longest side in pixels at which movement is measured."""
KEPT = 3
"""So many frames before are held: slow movement is judged over so many."""
CORE = 0.13
"""Share of the face's width: movement is read so far inside the outline, where no paste's edge is."""
SCALE = 100
"""Colours of cells are kept as whole hundredths."""


class Inspector:
    """Takes a video's frames one by one in order, then gives the report, or a part of it.

    `fps` is frames a second; `has_reference` says whether `add` will be given the reference's frame.
    """

    def __init__(self, fps: float, has_reference: bool) -> None:
        self._fps = fps if fps > 0 else 25.0
        self._has_reference = has_reference
        self._limits = {limit.measure: limit for limit in limits(has_reference)}
        self._rows: list[dict[str, Any]] = []
        self._gallery = Gallery()
        self._thumb: Image | None = None
        self._before: deque[tuple[Grey, Grey | None]] = deque(maxlen=KEPT)
        self._cells: Floats | None = None

    def add(
        self,
        index: int,
        time: float,
        output: Image,
        reference: Image | None,
        landmarks: NDArray[np.floating] | None,
        mask: Floats | None = None,
        output_landmarks: NDArray[np.floating] | None = None,
        context: bool = False,
        identity: NDArray[np.floating] | None = None,
    ) -> None:
        """One frame: (H, W, 3) uint8 RGB; landmarks (N, 2|3) of the reference (of the output if there is none) in its
        pixels, None where there is no face.

        `mask` (H, W) in 0..1 is where the face was pasted; without it the hull of the landmarks is taken.
        `output_landmarks` (N, 3) are those of the output, `identity` (128,) its embedding: where given, expression,
        gaze, pose, lips and identity are judged by them. A `context` frame only tells what came before: it gives no
        row and no picture. KEPT frames before a part are enough.
        """
        if self._has_reference and (reference is None or reference.shape != output.shape):
            raise ValueError(f"frame {index}: the reference has another size than the output, or is missing")
        row: dict[str, Any] = {"frame": index, "time": time}
        thumb = thumbnail(output if reference is None else reference)
        if self._thumb is not None and self._thumb.shape == thumb.shape:
            row |= {"change": content_change(self._thumb, thumb), "likeness": likeness(self._thumb, thumb)}
        self._thumb = thumb
        view = None if landmarks is None else look(output, reference, landmarks, mask)
        if view is None or landmarks is None:
            self._cells = None
        else:
            row |= dict(zip(("x", "y", "width", "height"), view.face, strict=True))
            if not context:
                row |= self._measure(view, landmarks, output, reference)
                row |= _marks(landmarks, output_landmarks, self._has_reference)
                row["identity_vector"] = None if identity is None else np.asarray(identity, np.float32)
                self._keep_pictures(index, row, view)
            else:
                self._cells = cells(patch(view.output, _onto(view, landmarks)).lab)
        if not context:
            self._rows.append(row)
        self._before.append((_grey(output), None if reference is None else _grey(reference)))

    def part(self) -> Part:
        """What `merge` needs of the frames so far."""
        return Part(tuple(self._rows), self._gallery)

    def finish(self) -> Any:
        """The `ArtifactReport` on all frames that were added."""
        from reports.artifacts import merge

        return merge([self.part()], self._fps, self._has_reference)

    def _measure(
        self, view: View, landmarks: NDArray[np.floating], output: Image, reference: Image | None
    ) -> dict[str, Any]:
        at, mine = view.zones, m.luma(view.output)
        theirs = None if view.reference is None else m.luma(view.reference)
        place = _onto(view, landmarks)
        weight = cover(view.mask, place)
        face = patch(view.output, place)
        row: dict[str, Any] = {
            "cells": _packed(face.cells),
            "weight": np.rint(100 * weight).astype(np.int8).ravel(),
            "regions": region_cells(_in_view(view, landmarks), place).ravel(),
            "light": m.light(mine, at.inside),
            "light_ring": m.light(mine, at.ring),
        }
        row |= self._movement(view, mine, theirs)
        row |= _spectra(view, landmarks, output, reference)
        fine = m.bands(mine, at)
        if theirs is None or view.reference is None:
            row["lines"] = measure_edge.lines(mine, at)
            row["fine"], row["middle"], row["fine_ring"], _ = fine
        else:
            row["light"] -= m.light(theirs, at.inside)
            row["light_ring"] -= m.light(theirs, at.ring)
            octaves = m.sharpness(fine, m.bands(theirs, at))
            row["detail_lost"], row["false_detail"] = max(-octaves, 0.0), max(octaves, 0.0)
            row["edge"] = measure_edge.edge(mine, theirs, at)
            other = patch(view.reference, place)
            row |= self._beside(view, face, other, weight)
            row |= _mouths(view, landmarks, place, face, other)
        row["abrupt"] = _abrupt(self._cells, face.cells, weight)
        self._cells = face.cells
        return row

    def _beside(self, view: View, face: Patch, other: Patch, weight: Floats) -> dict[str, Any]:
        """Colour and light of the face beside the reference's."""
        assert view.reference is not None
        around, moved = _ring(view)
        apart = cells(np.linalg.norm(face.lab - other.lab, axis=2).astype(np.float32))
        by_cell = m.colour(face.cells, other.cells, weight, moved)
        known = np.isfinite(by_cell)
        inside = weight >= 0.9
        right, down = m.tilt(face.cells[..., 0] - other.cells[..., 0], weight)
        return {
            "reference_cells": _packed(other.cells),
            "apart": _packed(np.maximum(apart - around, 0)),
            "colour": float(np.median(by_cell[known])) if known.any() else math.nan,
            "colour_cell": int(np.nanargmax(by_cell)) if known.any() else -1,
            "difference": max(float(apart[inside].mean()) - around, 0.0) if inside.any() else math.nan,
            "tilt_x": right,
            "tilt_y": down,
        }

    def _movement(self, view: View, mine: Floats, theirs: Floats | None) -> dict[str, float]:
        """Where the face is beside the reference's, and how it moved since the frame before; per cent of its width."""
        at = view.zones
        zoom = min(SMALL / max(mine.shape), 1.0)
        size = (max(round(mine.shape[1] * zoom), 1), max(round(mine.shape[0] * zoom), 1))

        def small(grey: Floats) -> Floats:
            return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)

        core, ring = (
            cv2.resize(zone.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
            for zone in (at.distance > CORE * at.width, at.ring)
        )
        now, per_cent = small(mine), 100 / (at.width * zoom)
        row = dict.fromkeys(("shift_x", "shift_y", "move_x", "move_y", "ring_x", "ring_y"), math.nan)
        beside = None if theirs is None else small(theirs)
        if beside is not None and core.any():
            x, y = m.travel(m.flow(now, beside), beside, core)
            row["shift_x"], row["shift_y"] = x * per_cent, y * per_cent
        if not self._before:
            return row
        before = _piece(self._before[-1][0], view.box, size)
        if beside is None and core.any():
            moved = m.flow(now, before)
            for name, zone in (("move", core), ("ring", ring)):
                x, y = m.travel(moved, before, zone)
                row[f"{name}_x"], row[f"{name}_y"] = x * per_cent, y * per_cent
        row["moved"], row["due"] = _change(now, before, self._before[-1][1], beside, core, ring, view.box)
        if len(self._before) == KEPT:
            older, other = self._before[0]
            row["moved_long"], row["due_long"] = _change(
                now, _piece(older, view.box, size), other, beside, core, ring, view.box
            )
        return row

    def _keep_pictures(self, index: int, row: dict[str, Any], view: View) -> None:
        worst = 0.0
        for measure, limit in self._limits.items():
            value = row.get(measure, math.nan)
            if isinstance(value, float) and value > limit.threshold:
                worst = max(worst, min(value / limit.threshold, 4.0))
                self._gallery.offer(limit.kind, index, value, view.output, view.reference)
        abrupt = row["abrupt"] if math.isfinite(row["abrupt"]) else 0.0
        if row.get("difference", math.inf) < 1.5:
            self._gallery.offer("missed", index, -row["difference"], view.output, view.reference)
        self._gallery.offer("any", index, worst + 0.2 * abrupt, view.output, view.reference)


def _grey(image: Image) -> Grey:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _piece(grey: Grey, box: tuple[int, int, int, int], size: tuple[int, int]) -> Floats:
    """The box of a whole (H, W) luma, shrunk to `size` (width, height)."""
    x, y, width, height = box
    region = grey[y : y + height, x : x + width]
    return np.asarray(cv2.resize(region, size, interpolation=cv2.INTER_AREA), np.float32)


def _change(
    now: Floats,
    before: Floats,
    reference_before: Grey | None,
    reference: Floats | None,
    core: NDArray[np.bool_],
    ring: NDArray[np.bool_],
    box: tuple[int, int, int, int],
) -> tuple[float, float]:
    """How much the face changed since a frame before, and the reference's (without one: the surroundings)."""
    if reference is None or reference_before is None:
        due = m.motion(now, before, ring)
    else:
        due = m.motion(reference, _piece(reference_before, box, (now.shape[1], now.shape[0])), core)
    return m.motion(now, before, core), due


def _packed(values: Floats) -> NDArray[np.int16]:
    return np.clip(np.rint(values * SCALE), -32000, 32000).astype(np.int16).ravel()


def _in_view(view: View, points: NDArray[np.floating]) -> Floats:
    """Landmarks in pixels of the view."""
    out = np.asarray(points, np.float32).copy()
    out[:, :2] = (out[:, :2] - np.array(view.box[:2], np.float32)) * np.float32(view.zoom)
    return out


def _onto(view: View, points: NDArray[np.floating]) -> NDArray[np.float64]:
    return upright(_in_view(view, points))


def _ring(view: View) -> tuple[float, NDArray[np.float64]]:
    """Around the face: mean CIELAB distance of output and reference, and the median shift (3,) of colour."""
    assert view.reference is not None
    size = (64, max(round(64 * view.output.shape[0] / view.output.shape[1]), 1))
    mine, theirs = (
        m.lab(np.asarray(cv2.resize(i, size, interpolation=cv2.INTER_AREA), np.uint8))
        for i in (view.output, view.reference)
    )
    ring = cv2.resize(view.zones.ring.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    change = (mine - theirs)[ring]
    if not len(change):
        return 0.0, np.zeros(3)
    return float(np.linalg.norm(change, axis=1).mean()), np.median(change, axis=0).astype(np.float64)


def _spectra(view: View, landmarks: NDArray[np.floating], output: Image, reference: Image | None) -> dict[str, float]:
    x, y = np.asarray(landmarks, np.float64)[:, :2].mean(0)
    width = view.zones.width / view.zoom
    mine = measure_spectrum.square(output, (float(x), float(y)), width)
    theirs = None if reference is None else measure_spectrum.square(reference, (float(x), float(y)), width)
    if mine is None:
        return {"checkerboard_now": math.nan, "ghost_now": math.nan}
    a = measure_spectrum.power(mine)
    b = None if theirs is None else measure_spectrum.power(theirs)
    return {
        "checkerboard_now": measure_spectrum.checkerboard(a, b),
        "ghost_now": math.nan if b is None else measure_spectrum.ghost(a, b),
    }


def _mouths(
    view: View, landmarks: NDArray[np.floating], place: NDArray[np.float64], face: Patch, other: Patch
) -> dict[str, Any]:
    at = _in_view(view, landmarks)
    mine, theirs = mouth(face.lab, at, place), mouth(other.lab, at, place)
    if mine is None or theirs is None:
        return {}
    return {"mouth": _packed(mine), "reference_mouth": _packed(theirs)}


def _marks(
    landmarks: NDArray[np.floating], output_landmarks: NDArray[np.floating] | None, has_reference: bool
) -> dict[str, Any]:
    marks = measure_marks.read(landmarks)
    own = marks if output_landmarks is None and not has_reference else measure_marks.read(output_landmarks)
    return {"marks": marks, "output_marks": own}


def _abrupt(before: Floats | None, now: Floats, weight: Floats) -> float:
    """Mean change of the face's cells since the frame before, CIELAB."""
    inside = weight >= 0.9
    if before is None or not inside.any():
        return math.nan
    return float(np.linalg.norm(now - before, axis=2)[inside].mean())
