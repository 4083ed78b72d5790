"""Measurement of a render frame by frame, against its reference, and the pictures of suspicious frames."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.footage.shots import difference, thumbnail
from curate.types import Floats, Image
from reports.artifacts import coding, detail, edge, look, outline, spectrum, texture
from reports.artifacts import landmarks as face_landmarks
from reports.artifacts import measures as m
from reports.artifacts.kinds import limits
from reports.artifacts.parts import SCALE, InspectedPart
from reports.artifacts.patch import Patch, cells, cover, mouth, patch, region_cells, upright
from reports.artifacts.report import ArtifactReport, merge
from reports.artifacts.view import (
    Colours,
    Pyramid,
    View,
    cropped,
    face_view,
    halving_factor,
    matrix_in_box,
    shrink_factor,
    shrunk,
)
from reports.page.pictures import Gallery, Picture

SMALL = 224
"""Longest side in pixels at which movement is measured."""
KEPT = 3
"""Number of earlier frames that are kept: slow movement is measured over this many."""
CORE = 0.13
"""Fraction of the face's width: movement is measured this far inside the outline, away from the edge of a paste."""
THUMB = 192
"""Width in pixels down to which frames are halved before they are shrunk to thumbnails."""
MISSED = 1.5
"""CIELAB units: a frame that differs less from its reference may be shown as not swapped."""


class Inspector:
    """Measurement of a video: takes its frames one by one in order, then gives the report, or a part of it.

    `fps` is frames per second; `has_reference` says whether `add` gets frames of the reference.
    """

    def __init__(self, fps: float, has_reference: bool) -> None:
        self._fps = fps if fps > 0 else 25.0
        self._has_reference = has_reference
        self._limits = limits(has_reference)
        self._rows: list[dict[str, Any]] = []
        self._gallery = Gallery()
        self._thumb: Image | None = None
        self._before: deque[tuple[Pyramid, Pyramid | None]] = deque(maxlen=KEPT)
        self._cells: Floats | None = None

    def add(
        self,
        index: int,
        time: float,
        output: Image,
        reference: Image | None,
        landmarks: NDArray[np.floating] | None,
        mask: Floats | None = None,
        read: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None,
        context: bool = False,
        identity: NDArray[np.floating] | None = None,
    ) -> None:
        """Measures one frame: `output` and `reference` (H, W, 3) uint8 RGB; `landmarks` (N, 2|3) of the reference, or
        of the output without one, in pixels, None where there is no face.

        `mask` (H, W) in 0..1 is where the face was pasted; without it the hull of the landmarks is taken.
        `read` are landmarks (N, 3) of output and reference that were read alike, `identity` (128,) is the embedding of
        the output: where given, expression, gaze, pose, geometry, lips and identity are measured with them. A `context`
        frame only serves the frames after it: it
        gives no row and no picture. KEPT of them before a part are enough.
        """
        if self._has_reference and (reference is None or reference.shape != output.shape):
            raise ValueError(f"frame {index}: the reference is missing, or its size differs from that of the output")
        row: dict[str, Any] = {"frame": index, "time": time} | self._change(output if reference is None else reference)
        mine, theirs = Pyramid(output), None if reference is None else Pyramid(reference)
        other = None if theirs is None else theirs.grey
        view = None if landmarks is None else face_view(mine.grey, other, landmarks, mask)
        if view is None or landmarks is None:
            self._cells = None
        else:
            row |= dict(zip(("x", "y", "width", "height"), view.face, strict=True))
            if not context:
                paired = None if reference is None or theirs is None else (reference, theirs)
                row |= self._measure(index, view, landmarks, (output, mine), paired)
                row |= _marks(landmarks, read, self._has_reference)
                row["identity_vector"] = None if identity is None else np.asarray(identity, np.float32)
                self._keep_pictures(index, row, view.box, output, reference)
            else:
                self._cells = _patch(Colours(output, view.box), view, upright(landmarks)).cells
        if not context:
            if mask is not None:
                row["pasted"] = float(mask.sum())
            self._rows.append(row)
        self._before.append((mine, theirs))

    def _change(self, image: Image) -> dict[str, float]:
        """Change and likeness since the frame before, from which cuts are found."""
        before, self._thumb = self._thumb, shrunk_to_thumbnail(image)
        return {} if before is None else difference(before, self._thumb)._asdict()

    def part(self) -> InspectedPart:
        """The frames so far, as `merge` takes them."""
        return InspectedPart(tuple(self._rows), self._gallery)

    def finish(self) -> ArtifactReport:
        """The report on all frames that were added."""
        return merge([self.part()], self._fps, self._has_reference)

    def _measure(
        self,
        index: int,
        view: View,
        landmarks: NDArray[np.floating],
        output: tuple[Image, Pyramid],
        reference: tuple[Image, Pyramid] | None,
    ) -> dict[str, Any]:
        at, mine, theirs = view.zones, view.output, view.reference
        place = upright(landmarks)
        weight = cover(view.mask, view.matrix_from_view(place))
        colours = Colours(output[0], view.box)
        face = _patch(colours, view, place)
        row: dict[str, Any] = {
            "cells": _packed(face.cells),
            "weight": np.rint(100 * weight).astype(np.int8).ravel(),
            "regions": region_cells(landmarks, place).ravel(),
            "light": m.light(mine, at.inside),
            "light_ring": m.light(mine, at.ring),
        }
        pyramids = (output[1], None if reference is None else reference[1])
        row |= self._movement(view, *pyramids)
        noise = 0.0 if reference is None else _noise(view, output[1], reference[1])
        if index % 2 == 0:
            row |= _spectra(view, landmarks, *pyramids, noise)
        if theirs is None or reference is None:
            row |= _alone(view, landmarks)
            row["lines"] = outline.lines(output[1], landmarks)
            row["tilt_x"], row["tilt_y"] = m.tilt(face.cells[..., 0], weight)
            row["features"] = look.features(output[1].grey, landmarks)
            if index % 2 == 0:
                row["detail"] = detail.detail(output[1], view)
                row["texture"] = texture.texture(mine, at, view.points(landmarks))
        else:
            if index % 2 == 0:
                row["detail"] = detail.detail(output[1], view) - detail.detail(reference[1], view)
            row |= _sharpness(mine, theirs, at, noise)
            row["unsteady"] = 100 * coding.unsteady(noise, at.width, math.exp(row["light"]))
            row["light"] -= m.light(theirs, at.inside)
            row["light_ring"] -= m.light(theirs, at.ring)
            row["edge"] = edge.edge(mine, theirs, at)
            row |= _colours_against(Colours(reference[0], view.box), colours, view, landmarks, face, weight)
        row["abrupt"] = _abrupt(self._cells, face.cells, weight)
        self._cells = face.cells
        return row

    def _movement(self, view: View, mine: Pyramid, theirs: Pyramid | None) -> dict[str, float]:
        """Shift of the face against the reference, and its movement since earlier frames; per cent of its width."""
        at, box = view.zones, view.box
        whole = shrink_factor(box, SMALL)
        now, reference = mine.piece(box, whole), None if theirs is None else theirs.piece(box, whole)
        far = cv2.resize(at.distance, now.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        ring = cv2.resize(at.ring.view(np.uint8), now.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
        core = far > CORE * at.width
        per_cent = 100 * whole * view.zoom / at.width
        row = dict.fromkeys(("shift_x", "shift_y", "move_x", "move_y", "ring_x", "ring_y"), math.nan)
        if reference is not None and core.any():
            x, y = m.travel(m.flow(now, reference), reference, core)
            row["shift_x"], row["shift_y"] = x * per_cent, y * per_cent
        if not self._before:
            return row
        if reference is None and core.any():
            before = self._before[-1][0].piece(box, whole)
            moved_by = m.flow(now, before)
            for name, zone in (("move", core), ("ring", ring)):
                x, y = m.travel(moved_by, before, zone)
                row[f"{name}_x"], row[f"{name}_y"] = x * per_cent, y * per_cent
        for name, held in (("", self._before[-1]), ("_long", self._before[0])):
            if name and len(self._before) < KEPT:
                continue
            row[f"moved{name}"] = m.motion(now, held[0].piece(box, whole), core)
            if reference is None or held[1] is None:
                row[f"due{name}"] = m.motion(now, held[0].piece(box, whole), ring)
            else:
                row[f"due{name}"] = m.motion(reference, held[1].piece(box, whole), core)
        return row

    def _keep_pictures(
        self, index: int, row: dict[str, Any], box: tuple[int, int, int, int], output: Image, reference: Image | None
    ) -> None:
        offers: list[tuple[str, float]] = []
        worst = 0.0
        for kind, limit in self._limits:
            value = row.get(limit.measure, math.nan)
            if isinstance(value, float) and value > limit.low:
                worst = max(worst, min(value / limit.low, 4.0))
                offers.append((kind.name, value))
        if row.get("difference", math.inf) < MISSED:
            offers.append(("missed", -row["difference"]))
        abrupt = row["abrupt"] if math.isfinite(row["abrupt"]) else 0.0
        offers.append(("any", round(worst + 0.2 * abrupt, 0)))
        wanted = [offer for offer in offers if self._gallery.wants(offer[0], index, offer[1])]
        if wanted:
            shown = Picture.of(index, cropped(output, box), None if reference is None else cropped(reference, box))
            for name, value in wanted:
                self._gallery.offer(name, value, shown)


def shrunk_to_thumbnail(image: Image) -> Image:
    """Thumbnail of a frame (H, W, 3), as `curate.footage.shots` compares them."""
    return thumbnail(shrunk(image, max(halving_factor(image.shape[1], THUMB) // 2, 1)))


def _patch(colours: Colours, view: View, place: NDArray[np.float64]) -> Patch:
    """Patch of a frame, whose (2, 3) matrix is `place`."""
    return patch(colours.face, matrix_in_box(place, view.box, colours.whole))


def _colour_difference(
    ring: tuple[float, NDArray[np.float64]], face: Patch, other: Patch, weight: Floats
) -> dict[str, Any]:
    """Colour and light of the face against the reference's."""
    around, shift = ring
    apart = cells(np.linalg.norm(face.lab - other.lab, axis=2).astype(np.float32))
    by_cell = m.colour(face.cells, other.cells, weight, shift)
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


def _packed(values: Floats) -> NDArray[np.int16]:
    return np.clip(np.rint(values * SCALE), -32000, 32000).astype(np.int16).ravel()


def _ring(view: View, output: Colours, reference: Colours) -> tuple[float, NDArray[np.float64]]:
    """Mean CIELAB distance of output and reference around the face, and the median shift (3,) of colour there."""
    mine, theirs = m.lab(output.ring), m.lab(reference.ring)
    ring = cv2.resize(view.zones.ring.view(np.uint8), mine.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
    change = (mine - theirs)[ring]
    if not len(change):
        return 0.0, np.zeros(3)
    return float(np.linalg.norm(change, axis=1).mean()), np.median(change, axis=0).astype(np.float64)


def _noise(view: View, output: Pyramid, reference: Pyramid) -> float:
    """Noise of the codec outside the face, at working size."""
    factor = round(1 / view.zoom)
    x, y, width, height = (n // factor for n in view.face)
    return coding.noise(output.whole(factor), reference.whole(factor), (x, y, width, height))


def _spectra(
    view: View, landmarks: NDArray[np.floating], output: Pyramid, reference: Pyramid | None, noise: float
) -> dict[str, float]:
    x, y = np.asarray(landmarks, np.float64)[:, :2].mean(0)
    width = view.zones.width / view.zoom
    mine = spectrum.square(output.grey, (float(x), float(y)), width)
    theirs = None if reference is None else spectrum.square(reference.grey, (float(x), float(y)), width)
    if mine is None:
        return {"checkerboard_now": math.nan, "ghost_now": math.nan}
    a = spectrum.power(mine, noise)
    b = None if theirs is None else spectrum.power(theirs, noise)
    return {
        "checkerboard_now": spectrum.checkerboard(a, b),
        "ghost_now": math.nan if b is None else spectrum.ghost(a, b),
    }


def _colours_against(
    there: Colours,
    colours: Colours,
    view: View,
    landmarks: NDArray[np.floating],
    face: Patch,
    weight: Floats,
) -> dict[str, Any]:
    """Differences of colour to the reference, of face, ring and mouth."""
    place = upright(landmarks)
    other = _patch(there, view, place)
    found = _colour_difference(_ring(view, colours, there), face, other, weight)
    return found | _mouths(landmarks, place, face, other)


def _mouths(landmarks: NDArray[np.floating], place: NDArray[np.float64], face: Patch, other: Patch) -> dict[str, Any]:
    mine, theirs = mouth(face.lab, landmarks, place), mouth(other.lab, landmarks, place)
    if mine is None or theirs is None:
        return {}
    return {"mouth": _packed(mine), "reference_mouth": _packed(theirs)}


def _sharpness(mine: Floats, theirs: Floats, at: m.Zones, noise: float) -> dict[str, float]:
    """Coding noise, and detail of the face against its reference's."""
    lost, false = m.sharpness(m.bands(mine, at), m.bands(theirs, at), noise)
    return {"noise": noise, "detail_lost": lost, "false_detail": false}


def _alone(view: View, landmarks: NDArray[np.floating]) -> dict[str, Any]:
    """Where the face is, and its width, in pixels of the frame, for a video without a reference."""
    x, y = landmarks[:, :2].mean(0).tolist()
    return {"place_x": x, "place_y": y, "across": view.zones.width / view.zoom}


def _marks(
    landmarks: NDArray[np.floating],
    read: tuple[NDArray[np.floating], NDArray[np.floating]] | None,
    has_reference: bool,
) -> dict[str, Any]:
    """What the landmarks say, and the same for the output: it differs by as much as the two that were read alike."""
    marks = face_landmarks.read(landmarks)
    if read is None:
        return {"marks": marks, "output_marks": face_landmarks.read(None) if has_reference else marks}
    return {"marks": marks, "output_marks": marks + face_landmarks.read(read[0]) - face_landmarks.read(read[1])}


def _abrupt(before: Floats | None, now: Floats, weight: Floats) -> float:
    """Mean change of the face's cells since the frame before, CIELAB."""
    inside = weight >= 0.9
    if before is None or not inside.any():
        return math.nan
    return float(np.linalg.norm(now - before, axis=2)[inside].mean())
