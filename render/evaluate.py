"""Evaluation of swaps: renders of runs, or any video with the footage that it was made from, in one table."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from curate.dataset.faceset import open_faceset
from curate.errors import FacesetError, MissingError, UsageError, WorkError
from curate.face.backends import Identifier, Landmarker
from curate.face.pose import fit_mesh, head_pose
from curate.face.track import region_of
from curate.footage import video
from curate.footage.shots import likeness
from curate.footage.timeline import timeline
from curate.runtime.files import scratch
from curate.scores import expression
from curate.scores.identity import distances
from curate.scores.lighting import estimate, skin_colours
from curate.types import Clip, Failure, Floats, Frame, Image, Landmarks, Progress, no_progress
from render import pipeline
from render.options import RenderOptions
from reports.artifacts.inspect import check_alike
from reports.artifacts.inspector import Inspector, shrunk_to_thumbnail
from reports.evaluation import measures
from reports.evaluation.page import FLOOR_CRF
from reports.evaluation.vmaf import Vmaf
from train.performance import figures
from train.run import Run, open_run

EVERY = 3
"""Landmarks are read in every so many frames."""
WIDER = 1.4
"""Enlargement of the face's outline outside of which SSIM is measured: swaps end within it."""
LEAST = 3
"""Frames with a face below which nothing is measured."""


Vectors = tuple[tuple[float, ...], ...]
"""Identity (128,) of each look of one person."""


@dataclass(frozen=True)
class Entrant:
    """One video of the table."""

    name: str
    video: Path
    reference: Path
    """The footage that it was made from."""
    span: str | None = None
    """Part of the footage that it shows; None: all."""
    source: Vectors = ()
    """Identity (128,) of each look of the face that it is to show; empty: unknown."""
    identifier: str = "dlib"
    """Model of these identities."""
    target: Vectors = ()
    """Identity (128,) of each look of the face in the footage; empty: the one with the most frames."""


@dataclass
class _Readings:
    """What was read from output, footage and its copy."""

    own: list[Landmarks] = field(default_factory=list)
    footage: list[Landmarks] = field(default_factory=list)
    copy: list[Landmarks] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    vectors: list[tuple[Floats, Floats]] = field(default_factory=list)
    """Identity of the output and of the footage."""

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)


def of_runs(
    runs: Sequence[Path],
    footage: Path | None,
    folder: Path,
    options: RenderOptions,
    progress: Progress = no_progress,
    failed: list[Failure] | None = None,
) -> list[Entrant]:
    """Renders of all runs on the footage, or on each target's first clip, in `folder`.

    What `render` raises for a run is raised, or put into `failed`, and the other runs are rendered.
    """
    found = []
    for number, path in enumerate(runs, 1):
        out = folder / f"{number}-{path.resolve().name}.mp4"
        try:
            opened = open_run(path)
            reference = footage or _own_footage(opened)
            pipeline.render(path, reference, out, options, progress)
        except FacesetError as error:
            if failed is None:
                raise
            failed.append(Failure(str(path), str(error)))
            continue
        found.append(
            Entrant(
                path.resolve().name, out, reference, options.span, opened.source.known, opened.target.identifier,
                opened.target.known,
            )
        )  # fmt: skip
    return found


def _own_footage(run: Run) -> Path:
    with contextlib.suppress(UsageError, WorkError, OSError):
        for clip in open_faceset(Path(run.target.folder)).clips:
            if clip.kind == "video" and Path(clip.path).is_file():
                return Path(clip.path)
    raise UsageError(f"{run.path}: the footage of its target is not on this machine; name a video by --footage")


def table(
    entrants: Sequence[Entrant],
    workers: int = 1,
    progress: Progress = no_progress,
    failed: list[Failure] | None = None,
) -> list[dict[str, Any]]:
    """One row per video: name, frames, measured (frames with landmarks), and the figures of `reports.evaluation.page`.

    The people at hand are the sources and targets of all rows. A video and its footage that differ in size or number of
    frames are a UsageError, too few faces a WorkError: raised, or put into `failed`, and the other rows are made.
    """
    rows = []
    for entrant in entrants:
        alike = [other for other in entrants if other.identifier == entrant.identifier]
        people = {end for other in alike for end in (other.source, other.target) if end}
        try:
            rows.append(_row(entrant, people, workers, progress))
        except (UsageError, WorkError) as error:
            if failed is None:
                raise
            failed.append(Failure(str(entrant.video), str(error)))
    return rows


def _row(entrant: Entrant, people: set[Vectors], workers: int, progress: Progress) -> dict[str, Any]:
    from curate.extract.follow import follow

    clip, other = video.probe(entrant.video), video.probe(entrant.reference)
    first, end = pipeline.frames_of(other, entrant.span)
    if (clip.width, clip.height, clip.frames) != (other.width, other.height, end - first):
        raise UsageError(
            f"{clip.path} ({clip.width}x{clip.height}, {clip.frames} frames) and its footage {other.path} "
            f"({other.width}x{other.height}, {end - first} frames) differ; give the footage that it was made from"
        )
    located = follow(entrant.reference, entrant.target or None, workers, progress, identifier=entrant.identifier).rows
    marks: dict[int, Floats] = dict(zip(located["frame"], located["landmarks"], strict=True))
    if sum(first <= frame < end for frame in marks) < LEAST:
        raise WorkError(f"{other.path}: the face is found in less than {LEAST} frames, too few to compare")
    with scratch("faceset-evaluate-") as folder:
        copy = _copied(other, first, end, folder / "copy.mp4")
        inspector, readings = Inspector(clip.fps, has_reference=True), _Readings()
        pair = (shrunk_to_thumbnail(next(f).image) for f in (video.decode(clip), _frames(other, first, end)))
        check_alike(clip.path, other.path, [likeness(*pair)])
        triples = zip(video.decode(clip), _frames(other, first, end), video.decode(copy), strict=False)
        with Vmaf(clip.fps) as outside, Vmaf(clip.fps) as floor:
            models, second = _models(entrant.identifier), round(clip.fps or 25)
            _read(triples, marks, inspector, readings, (outside, floor), models, second, progress)
            readings.add(vmaf_outside=outside.value(), vmaf_outside_floor=floor.value())
    row: dict[str, Any] = {"name": entrant.name, "frames": clip.frames, "measured": len(readings.own)}
    shown = inspector.finish().measures
    for name, column in (("ciede2000", "colour"), ("flicker", "flicker"), ("jitter", "jitter")):
        row[name] = float(shown[column].median()) if column in shown else math.nan
    row |= {name: float(np.nanmedian(v)) for name, v in readings.values.items() if np.isfinite(v).any()}
    row |= _performance(readings)
    return row | _identity(readings, entrant, people)


def _frames(clip: Clip, first: int, end: int) -> Iterator[Frame]:
    return video.decode(clip, video.span(clip, timeline(Path(clip.path)), first, end))


def _copied(clip: Clip, first: int, end: int, path: Path) -> Clip:
    """The footage re-encoded, from which the floors are measured."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(clip.fps or 25).limit_denominator(1001))
        stream.width, stream.height = clip.width // 2 * 2, clip.height // 2 * 2
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(FLOOR_CRF), "preset": "veryfast", "threads": "1"}
        for frame in _frames(clip, first, end):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24")))
        container.mux(stream.encode())
    return video.probe(path)


def _read(
    triples: Iterator[tuple[Frame, Frame, Frame]],
    marks: Mapping[int, Floats],
    inspector: Inspector,
    readings: _Readings,
    outside: tuple[Vmaf, Vmaf],
    models: tuple[Landmarker, Identifier | None],
    second: int,
    progress: Progress,
) -> None:
    """Fill readings and inspector from output, footage and copy, frame by frame."""
    reader, identifier = models
    before: tuple[Image, Image] | None = None
    for number, (own, footage, copy) in enumerate(triples):
        at = marks.get(footage.index)
        inspector.add(own.index, float(own.time), own.image, footage.image, at)
        if at is not None:
            face = measures.outline(at, footage.image.shape[:2], WIDER)
            for vmaf, image in zip(outside, (own.image, copy.image), strict=True):
                rows, columns = image.shape[:2]
                vmaf.add(image, footage.image[:rows, :columns], face[:rows, :columns])
        if at is not None and number % EVERY == 0:
            region = region_of(Landmarks(at, 1.0, None))
            images = (own.image, footage.image, copy.image[: own.image.shape[0], : own.image.shape[1]])
            found = [reader.landmark(image, region) for image in images]
            for there, one in zip((readings.own, readings.footage, readings.copy), found, strict=True):
                there.append(one)
            _add_still(readings, images, found)
            if before is not None:
                face = measures.outline(at, own.image.shape[:2])
                missed = measures.warping_error((before[0], own.image), (before[1], footage.image), face)
                readings.add(warping=missed[0], warping_floor=missed[1])
            if identifier is not None and number % max(second // EVERY * EVERY, EVERY) == 0:
                pair = _vector(identifier, images[0], found[0]), _vector(identifier, images[1], found[1])
                readings.vectors.append(pair)
        before = (own.image, footage.image)
        progress("evaluate", number + 1, 0)


def _models(identifier: str) -> tuple[Landmarker, Identifier | None]:
    """Landmarker and identity model; None if that is not installed."""
    from curate.face.backends import IDENTIFIERS
    from curate.face.backends.litert import LiteRTLandmarker

    with contextlib.suppress(MissingError):
        return LiteRTLandmarker(), IDENTIFIERS[identifier]()
    return LiteRTLandmarker(), None


def _vector(identifier: Identifier, image: Image, found: Landmarks) -> Floats:
    return identifier.identify(identifier.chip(image, found.points))


def _add_still(readings: _Readings, images: Sequence[Image], found: Sequence[Landmarks]) -> None:
    """Figures of one frame and their floors."""
    own, footage, copy = (one.points for one in found)
    readings.add(nme=measures.landmark_error(own, footage), nme_floor=measures.landmark_error(copy, footage))
    face = measures.outline(footage, images[1].shape[:2], WIDER)
    readings.add(ssim_outside=measures.outside_ssim(images[0], images[1], face))
    if images[2].shape == images[1].shape:
        readings.add(ssim_outside_floor=measures.outside_ssim(images[2], images[1], face))
    lights = [_light(image, one.points) for image, one in zip(images, found, strict=True)]
    for name, light in (("light", lights[0]), ("light_floor", lights[2])):
        if light is not None and lights[1] is not None:
            readings.add(**{name: measures.angle(light, lights[1])})


def _light(image: Image, points: Floats) -> Floats | None:
    rotation = fit_mesh(points[None]).rotation[0]
    light = estimate(skin_colours(image, points, rotation), rotation)
    return None if light is None else light.direction


def _performance(readings: _Readings) -> dict[str, float]:
    """Errors of pose, expression and gaze with their floors, and how the output follows the footage."""
    own, footage, copy = (_acted(found) for found in (readings.own, readings.footage, readings.copy))
    row: dict[str, float] = {}
    for name, there in (("", own), ("_floor", copy)):
        row |= {f"{axis}{name}": float(np.nanmean(np.abs(there[axis] - footage[axis]))) for axis in footage}
    return row | {k: v for k, v in figures(readings.footage, readings.own).items() if k.startswith("follows")}


def _acted(found: Sequence[Landmarks]) -> dict[str, NDArray[np.float64]]:
    """Pose (N, 3) in degrees, expression (N, 52) and gaze (N, 2), these two against the face's own neutral."""
    points = np.stack([one.points for one in found])
    pose = head_pose(points)
    nothing = np.full(52, np.nan, np.float32)
    shapes = np.stack([nothing if one.blendshapes is None else one.blendshapes for one in found])
    gazes = np.stack([expression.gaze(s) for s in shapes])
    lengths = np.stack([expression.distances(one.points) for one in found])
    turned = np.column_stack([pose.yaw, pose.pitch])
    read = expression.apply(expression.neutral_of(shapes, gazes, lengths, turned), shapes, gazes, lengths, turned)
    return {
        "pose": np.column_stack([pose.yaw, pose.pitch, pose.roll]),
        "expression": read.shapes,
        "gaze": read.gaze,
    }


def _identity(readings: _Readings, entrant: Entrant, people: set[Vectors]) -> dict[str, float]:
    """Retrieval of the source among the people at hand, and the distance to the footage's face."""
    if not readings.vectors:
        return {}
    own, footage = (np.stack(side) for side in zip(*readings.vectors, strict=True))
    row = {"identity_target": float(np.linalg.norm(own - footage, axis=1).mean())}
    others = [person for person in people if person != entrant.source]
    if not entrant.source or not others:
        return row
    near = distances(own, np.array(entrant.source)).min(axis=1)
    far = np.min([distances(own, np.array(person)).min(axis=1) for person in others], axis=0)
    return row | {"identity_top1": float((near < far).mean()), "identity_margin": float((far - near).mean())}
