"""Quality: every measure follows its own degradation, step by step; what moderate ones of the others do to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import spearmanr

from benchmarks.accuracy_heads import collins
from benchmarks.accuracy_table import Row, at_least, figure
from curate.face import align
from curate.face.backends.litert import LiteRTDetector, LiteRTLandmarker
from curate.face.pose import head_pose, matrix
from curate.face.track import Tracker
from curate.footage.video import decode, probe
from curate.scores import albedo, lighting, occlusion, quality
from curate.srgb import decoded8
from curate.turntable import performance, render
from curate.types import Floats, Image

SIZE = 256
FRAMES = 60
"""Of a clip, from which the subject's skin is known."""
LEVELS, MODERATE = 6, 3
CHEEKS = (50, 280)
"""Mesh points in the middle of the right and the left cheek."""


@dataclass(frozen=True)
class Face:
    """A frame and the landmarks of its face, which go with it through every degradation."""

    image: Image
    points: Floats
    skin: tuple[albedo.Albedo, occlusion.Usual]
    """The subject's, from the whole clip."""


def _blur(f: Face, t: float) -> Face:
    return replace(f, image=cv2.GaussianBlur(f.image, (0, 0), 0.01 + 0.02 * t * _width(f)))


def _motion(f: Face, t: float) -> Face:
    """A streak along a direction that is another in every face."""
    length = 1 + 2 * round(0.05 * t * _width(f))
    angle = float(f.points[0].sum() % 180)
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1
    turned = cv2.warpAffine(line, cv2.getRotationMatrix2D((length // 2, length // 2), angle, 1), (length, length))
    return replace(f, image=cv2.filter2D(f.image, -1, turned / turned.sum()))


def _jpeg(f: Face, t: float) -> Face:
    data = cv2.imencode(".jpg", f.image, [cv2.IMWRITE_JPEG_QUALITY, round(95 - 88 * t)])[1]
    return replace(f, image=np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8))


def _light(f: Face, stops: Floats | float, colour: tuple[float, float, float] = (1, 1, 1)) -> Face:
    """Another amount of light in each pixel (H, W) or everywhere, in stops."""
    linear = decoded8(f.image) * np.exp2(np.asarray(stops, np.float32))[..., None] * colour
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    return replace(f, image=np.clip(255 * srgb + 0.5, 0, 255).astype(np.uint8))


def _dark(f: Face, t: float) -> Face:
    return _light(f, -6.0 * t)


def _bright(f: Face, t: float) -> Face:
    return _light(f, 3.0 * t)


def _tint(f: Face, t: float) -> Face:
    return _light(f, 0.0, (1 - 0.5 * t, 1 - 0.3 * t, 1 + 1.5 * t))


def _side(f: Face, t: float) -> Face:
    """The half of the face that is the darker one already, in shadow."""
    across = (np.arange(f.image.shape[1]) - f.points[:, 0].mean()) / _width(f)
    right, left = (f.image[int(f.points[i, 1]), int(f.points[i, 0])].mean() for i in CHEEKS)
    across = across if left < right else -across
    fall = 1 / (1 + np.exp(-np.asarray(across, np.float32) * 8))
    return _light(f, np.broadcast_to(-3.0 * t * fall, f.image.shape[:2]))


def _contrast(f: Face, t: float) -> Face:
    middle = f.image.reshape(-1, 3).mean(0)
    return replace(f, image=np.asarray(middle + (f.image - middle) * (1 - 0.85 * t) + 0.5, np.uint8))


def _downscale(f: Face, t: float) -> Face:
    """Fewer pixels, as if filmed with a worse camera: frame and face shrink together."""
    return _scaled(f, 1 - 0.8 * t)


def _far(f: Face, t: float) -> Face:
    """A smaller face in a frame of the same size."""
    small = _scaled(f, 1 - 0.8 * t)
    height, width = f.image.shape[:2]
    below, right = height - small.image.shape[0], width - small.image.shape[1]
    return replace(small, image=cv2.copyMakeBorder(small.image, 0, below, 0, right, cv2.BORDER_REFLECT))


def _scaled(f: Face, zoom: float) -> Face:
    image = cv2.resize(f.image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    return replace(f, image=np.asarray(image, np.uint8), points=np.asarray(f.points * zoom, np.float32))


def _block(f: Face, t: float) -> Face:
    """A dark blue board rises from below the chin to the eyes."""
    low, high = f.points[:, 1].min(), f.points[:, 1].max()
    image = f.image.copy()
    image[int(high - 0.7 * t * (high - low)) : int(high) + 1] = (30, 50, 90)
    return replace(f, image=image)


def _width(f: Face) -> float:
    return float(np.ptp(f.points[:, 0]))


OWN: dict[str, Callable[[Face, float], Face]] = {
    "Sharpness": _blur,
    "MotionBlur": _motion,
    "CompressionArtifacts": _jpeg,
    "UnderExposurePrevention": _dark,
    "OverExposurePrevention": _bright,
    "DynamicRange": _contrast,
    "IlluminationUniformity": _side,
    "NaturalColour": _tint,
    "InterEyeDistance": _downscale,
    "HeadSize": _far,
    "FaceOcclusionPrevention": _block,
}
"""Each measure's own degradation, t from 0 (none) to 1."""


def rows(quick: bool, clips: Path | None) -> list[Row]:
    """The table of quality; prints the matrix: what each degradation at .6 of its strength does to each scalar."""
    count = 2 if quick else 6
    faces = _clip_faces(clips, count) if clips else _turntable_faces(count)
    where = f"{len(faces)} real faces" if clips else f"{len(faces)} turntable faces (FACESET_CLIPS is not set)"
    levels = np.linspace(0, 1, LEVELS)
    found, effects = [], {}
    for name, degrade in OWN.items():
        values = [[_measures(degrade(f, float(t))) for t in levels] for f in faces]
        ranks = [_rank(levels, [v[name] for v in steps]) for steps in values]
        sign = -1.0 if quality.SCALARS[name][1] > 0 else 1.0
        found.append(at_least("quality", f"{name} along {degrade.__name__[1:]}, {where}", sign * np.mean(ranks), 0.95))
        found.append(figure("quality", "  the worst face", min(sign * r for r in ranks)))
        effects[degrade.__name__[1:]] = {m: _change(m, values) for m in OWN}
    for effect, changes in effects.items():
        moved = ", ".join(f"{m} {c:+.0f}" for m, c in changes.items() if abs(c) >= 5)
        others = [abs(c) for m, c in changes.items() if OWN[m].__name__[1:] != effect]
        found.append(figure("quality", f"{effect} at .6, median other scalar moves by", float(np.median(others))))
        print(f"{'quality':11}at .6, {effect} moves {moved}; the rest less than 5 of 100", flush=True)
    return found


def _change(name: str, values: list[list[dict[str, float]]]) -> float:
    """Median change of a scalar from no degradation to a moderate one."""
    first, last = (np.array([steps[i][name] for steps in values]) for i in (0, MODERATE))
    return float(np.median(quality.scalar(name, last) - quality.scalar(name, first)))


def _rank(levels: np.ndarray, values: list[float]) -> float:
    return float(spearmanr(levels, values).statistic) if np.ptp(values) > 0 else 0.0


def _measures(f: Face) -> dict[str, float]:
    crop, inside = _cropped(f.image, f.points)
    colours, upright = _skin(f.image, f.points)
    fitted, usual = f.skin
    shading = albedo.read(fitted, colours[None], upright[None]).shading
    seen = float(occlusion.against_usual(colours[None], shading, usual)[0])
    yaw = float(head_pose(f.points[None]).yaw[0])
    return quality.measure(crop, inside, f.points, yaw, f.image) | {"FaceOcclusionPrevention": np.nan_to_num(seen)}


def _cropped(image: Image, points: Floats) -> tuple[Image, Floats]:
    to_crop = align.crop_matrix(points, "full", SIZE)
    return align.warp(image, to_crop, SIZE), align.transform(points, to_crop)


def _skin(image: Image, points: Floats) -> tuple[np.ndarray, np.ndarray]:
    """Colours of the skin's triangles, and the rotation of the upright head."""
    crop, inside = _cropped(image, points)
    pose = head_pose(points[None])
    upright = matrix(float(pose.yaw[0]), float(pose.pitch[0]), 0.0)
    half = np.asarray(cv2.resize(crop, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_AREA), np.uint8)
    return lighting.skin_colours(half, inside / 2, upright), upright


def _clip_faces(clips: Path, count: int) -> list[Face]:
    found = []
    for path in sorted(clips.glob("*.mp4")):
        clip = probe(path)
        step = max(1, clip.frames // FRAMES)
        found += _faces((f.image for f in decode(clip) if f.index % step == 0), count)
    return found


def _turntable_faces(count: int) -> list[Face]:
    views = performance(5, FRAMES * 5)[::5]
    return _faces((render(collins(), view, (480, 480)) for view in views), count)


def _faces(images: Iterable[Image], count: int) -> list[Face]:
    """`count` faces of one subject, evenly spread over its pictures."""
    tracker = Tracker(LiteRTDetector(), LiteRTLandmarker(), 1)
    seen = [(image, faces[0].landmarks.points) for image in images if (faces := tracker.step(image))]
    colours, turns = map(np.stack, zip(*(_skin(*one) for one in seen), strict=True))
    fitted = albedo.fit(colours, turns)
    assert fitted is not None, f"{len(seen)} faces are too few"
    skin = fitted, occlusion.usual(colours, albedo.read(fitted, colours, turns).shading)
    return [Face(*seen[i], skin) for i in np.linspace(0, len(seen) - 1, count).astype(int)]
