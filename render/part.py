"""One part of a render, in whatever process this is: decode, swap, compose, mark, encode, measure."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from curate.errors import WorkError
from curate.footage import video
from curate.runtime.files import atomic
from curate.types import Clip, Floats, Frame, Framing, Image, Segment
from render import plan
from render.compositing import label, occlusion
from render.compositing.compose import Composed, compose
from render.compositing.swap import Swapper, swap_frames
from render.output import encode
from render.output.footage_format import Look, check_footage
from render.output.sequence import MaskWriter, SequenceWriter
from render.plan import Part, Plan
from render.provenance import manifest
from render.provenance.watermark import Marker

if TYPE_CHECKING:
    from reports.artifacts.inspector import Inspector

BEFORE = 3
"""Frames before a part that the artifact measures look at."""
SHOWN = 0.5
"""A mask that is nowhere above this shows no other face: the frame does not count as swapped."""
LABEL = "Synthetic: face replaced"


@dataclass(frozen=True)
class Task:
    """A part of the render whose work lies in `folder`."""

    folder: Path
    part: Part

    def __str__(self) -> str:
        return f"frames {self.part.first} to {self.part.end - 1}"


def work(task: Task) -> None:
    """Make the part's files; its account last."""
    made = plan.load(task.folder)
    if made is None:
        raise WorkError(f"{task.folder}: its plan is gone")
    part = task.part
    with one_thread(made.device):
        found = composed(made, task.folder, part, range(part.first - BEFORE, part.end))
        _write(made, task.folder, part, found)


def composed(made: Plan, folder: Path, part: Part, wanted: range) -> Iterator[Composed]:
    """The wanted frames of a part as they are to be shown, before the watermark."""
    swapper, framing = network(made.run, made.weights_sha256, made.device)
    where = plan.load_face(folder, part.with_neighbours)
    frames = video.decode(made.clip, segment(made.clip, part.with_neighbours), 16 if made.coding.deep else 8)
    typical = plan.load_typical(folder)
    faces = swap_frames(frames, where, swapper, framing, made.settings.mask, made.batch, typical is not None)
    return compose(faces, made.settings, typical, made.coding.deep, wanted)


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """Torch on one core: another number of threads sums in another order, and the pixels would differ."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@functools.lru_cache(1)
def network(run: str, weights_sha256: str, device: str) -> tuple[Swapper, Framing]:
    """The trained network and its framing, once a process."""
    from train.run import load_swapper, open_run

    opened = open_run(Path(run))
    return load_swapper(opened, device), cast(Framing, opened.framing)


@functools.lru_cache(2)
def _times(clip: Clip) -> tuple[list[int], list[int]]:
    return video.times_of(Path(clip.path))


@functools.lru_cache(2)
def _look(clip: Clip) -> Look:
    return check_footage(Path(clip.path), allow_hdr=True)


def segment(clip: Clip, frames: range) -> Segment:
    """Of the clip's frames, as far as there are any."""
    times, keys = _times(clip)
    return video.span(clip, times, keys, max(frames.start, 0), min(frames.stop, len(times)))


def learn(made: Plan, folder: Path) -> occlusion.Typical | None:
    """How well the target's decoder does on frames spread over the plan's span and what lies around it."""
    swapper, framing = network(made.run, made.weights_sha256, made.device)
    where = plan.load_face(folder)
    seen = sorted(i for i in where if i < made.clip.frames)
    picked = {seen[i] for i in np.unique(np.linspace(0, len(seen) - 1, occlusion.FRAMES).round().astype(int))}
    with one_thread(made.device):
        faces = swap_frames(_picked(made, picked), where, swapper, framing, made.settings.mask, made.batch, True)
        return occlusion.learn([face.error for _, face in faces if face is not None and face.error is not None])


def _picked(made: Plan, wanted: set[int]) -> Iterator[Frame]:
    """Some frames; those behind one key frame in one go."""
    runs: dict[int, list[int]] = {}
    for index in sorted(wanted):
        runs.setdefault(segment(made.clip, range(index, index + 1)).seek, []).append(index)
    for run in runs.values():
        frames = video.decode(made.clip, segment(made.clip, range(run[0], run[-1] + 1)))
        yield from (frame for frame in frames if frame.index in wanted)


def _write(made: Plan, folder: Path, part: Part, frames: Iterator[Composed]) -> None:
    from reports.artifacts.inspector import Inspector

    clip = made.clip
    look = _look(clip)
    rate = Fraction(clip.fps or 25).limit_denominator(1001)
    marker, inspector = Marker(made.identifier, clip.width, clip.height), Inspector(clip.fps, has_reference=True)
    frames_to, masks_to = writers(made, look)
    digest = hashlib.sha256()
    times: list[int] = []
    faces = swapped = 0
    with (
        atomic(part.path(folder, made.coding.suffix)) as path,
        encode.encoder(path, clip.width, clip.height, rate, look, made.coding) as write,
    ):
        for shown in frames:
            inside = shown.frame.index >= part.first
            _look_at(inspector, shown, not inside)
            if not inside:
                continue
            picture = labelled(made, shown)
            marked = marker.mark(picture)
            write(marked)
            if frames_to is not None:
                frames_to.write(shown.frame.index, marked, shown.mask)
            if masks_to is not None:
                masks_to.write(shown.frame.index, _mask(shown, clip))
            digest.update(np.ascontiguousarray(picture).data)
            times.append(shown.frame.pts)
            faces += shown.face is not None
            swapped += shown.face is not None and float(shown.face.mask.max()) > SHOWN
            if len(times) % 8 == 0:
                part.path(folder, ".count").write_text(str(len(times)))
        if not times:
            raise WorkError(f"{clip.path}: no frame from {part.first} to {part.end - 1} can be decoded")
    inspector.part().save(part.path(folder, ".parquet"))
    account = {"times": times, "faces": faces, "swapped": swapped, "pixels_sha256": digest.hexdigest()}
    part.path(folder, ".count").write_text(str(part.end - part.first))
    with atomic(part.path(folder, ".json")) as temporary:
        temporary.write_text(json.dumps(account))


def labelled(made: Plan, shown: Composed) -> NDArray[Any]:
    """The frame, with the visible label where it was asked for."""
    return label.draw(shown.image, LABEL) if made.settings.label else shown.image


def writers(made: Plan, look: Look) -> tuple[SequenceWriter | None, MaskWriter | None]:
    """Of the pictures of frames and of masks, where they were asked for."""
    title, creator = Path(made.clip.path).name, manifest.generator()
    asked, frames = made.frames, None
    if asked is not None:
        bits = 16 if made.coding.deep or asked.kind == "exr" else 8
        frames = SequenceWriter(Path(asked.folder), look, asked.kind, bits, asked.alpha, title, creator)
    masks = None if made.masks is None else MaskWriter(Path(made.masks), 16, title, creator)
    return frames, masks


def _mask(shown: Composed, clip: Clip) -> Floats:
    return np.zeros((clip.height, clip.width), np.float32) if shown.mask is None else shown.mask


def _look_at(inspector: Inspector, shown: Composed, context: bool) -> None:
    landmarks = None if shown.face is None else shown.face.place.landmarks
    output = eight_bits(shown.image)
    inspector.add(
        shown.frame.index, float(shown.frame.time), output, shown.frame.image, landmarks, shown.mask, context=context
    )


def eight_bits(image: NDArray[Any]) -> Image:
    """uint8 as it is, uint16 in 0..65535 rounded."""
    if image.dtype == np.uint8:
        return cast(Image, image)
    return cast(Image, ((image.astype(np.uint32) + 128) // 257).astype(np.uint8))
