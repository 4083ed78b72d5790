"""Rendering of one part: decode, swap, composite, watermark, encode, measure, in any process."""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from curate.errors import WorkError
from curate.footage import video
from curate.footage.picture import View
from curate.footage.timeline import Timeline, timeline
from curate.runtime.files import atomic
from curate.settings import Framing
from curate.types import Access, Clip, Floats, Frame, Segment
from render import plan
from render.compositing import label, occlusion
from render.compositing.compose import Composed, compose
from render.compositing.layers import in_layers, of_people, sizes
from render.compositing.settings import MaskSettings
from render.compositing.swap import Place, Swapper, errors, stored_points, swap_frames
from render.network import kept
from render.output import encode
from render.output.footage_format import FootageFormat, check_footage
from render.output.sequence import MaskWriter, SequenceWriter, eight_bits
from render.output.unmix import Layers, st_map
from render.plan import Plan, RenderPart
from render.provenance import manifest
from render.provenance.watermark import Marker

if TYPE_CHECKING:
    from reports.artifacts.inspector import Inspector
    from reports.artifacts.parts import InspectedPart
    from reports.artifacts.reading import Reader

RUN_UP = 3
"""Frames before a part that the artifact measures need."""
READ_EVERY = 3
"""Landmarks of the output are read in one frame of this many, for the artifact report."""
SHOWN = 0.5
"""A frame counts as swapped if its mask exceeds this anywhere."""


@dataclass(frozen=True)
class PartTask:
    """Neighbouring parts of the render in the working folder `folder`."""

    folder: Path
    parts: tuple[RenderPart, ...]

    def __str__(self) -> str:
        return f"frames {self.parts[0].first} to {self.parts[-1].end - 1}"


def tasks(folder: Path, parts: Sequence[RenderPart], workers: int) -> list[PartTask]:
    """All parts as tasks for a number of workers, the largest first.

    Neighbours in one task are composited in one go, which decodes and swaps no frame twice. A task has a worker's share
    of the parts that are left, so that the last ones are small and all workers end at about the same time (guided
    self-scheduling, Polychronopoulos and Kuck 1987).
    """
    found: list[PartTask] = []
    left = list(parts)
    while left:
        share = left[: -(-len(left) // workers)]
        gap = next((n for n in range(1, len(share)) if share[n - 1].end != share[n].first), len(share))
        found.append(PartTask(folder, tuple(share[:gap])))
        left = left[gap:]
    return found


@dataclass
class _Account:
    """Figures of a part while it is rendered; written as its .json."""

    times: list[int] = field(default_factory=list)
    people: list[list[int]] = field(default_factory=list)
    """Frames with a face and frames with the swapped face, of each person where there are several."""
    frames: list[int] = field(default_factory=list)
    """Numbers in the footage: the part's pictures have them as names."""
    faces: int = 0
    swapped: int = 0
    several: int = 0
    """Frames with several swapped faces."""
    pixels: Any = field(default_factory=hashlib.sha256)

    def add(self, composed: Composed, picture: NDArray[Any]) -> None:
        """Count one frame, and hash its `picture` (H, W, C)."""
        self.pixels.update(np.ascontiguousarray(picture).data)
        self.times.append(composed.frame.pts)
        self.frames.append(composed.frame.index)
        own = [(one.face is not None, shows_swap(one)) for one in each(composed)]
        self.faces += any(seen for seen, _ in own)
        self.swapped += any(shown for _, shown in own)
        self.several += any(one.more > 0 for one in each(composed))
        if composed.people:
            before = self.people or [[0, 0] for _ in own]
            self.people = [[f + seen, s + shown] for (f, s), (seen, shown) in zip(before, own, strict=True)]

    def save(self, path: Path) -> None:
        """Write the figures as JSON."""
        values = {
            "times": self.times, "frames": self.frames, "faces": self.faces, "swapped": self.swapped,
            "several": self.several, "people": self.people,
        }  # fmt: skip
        with atomic(path) as temporary:
            temporary.write_text(json.dumps({**values, "pixels_sha256": self.pixels.hexdigest()}))


def shows_swap(composed: Composed) -> bool:
    """Whether a frame shows the swapped face."""
    return composed.face is not None and float(composed.face.mask.max()) > SHOWN


def render_parts(task: PartTask) -> None:
    """Write the parts' files, those of each part after those of the one before, its account last.

    Finished parts, of a worker that was lost, are left alone. Raises WorkError if a part cannot be rendered.
    """
    made = plan.load(task.folder)
    if made is None:
        raise WorkError(f"{task.folder / 'plan.json'}: the file is missing or damaged; start the render again")
    parts = [part for part in task.parts if not finished(made, task.folder, part)]
    if not parts:
        return
    whole = replace(parts[0], end=parts[-1].end)
    with one_thread(made.device):
        found = composed_frames(made, task.folder, whole, range(whole.first - RUN_UP, whole.end))
        for part, frames in zip(parts, _by_part(found, parts), strict=True):
            _write(made, task.folder, part, frames)


def _by_part(frames: Iterator[Composed], parts: Sequence[RenderPart]) -> Iterator[Iterator[Composed]]:
    """The frames of each part and the RUN_UP before it; all of one part's are to be taken before the next part's."""
    before: deque[Composed] = deque(maxlen=RUN_UP)
    held = next(frames, None)

    def of(part: RenderPart) -> Iterator[Composed]:
        """The frames of one part."""
        nonlocal held
        near = range(part.first - RUN_UP, part.end)
        yield from [own for own in before if own.frame.index in near]
        while held is not None and held.frame.index < part.end:
            before.append(held)
            if held.frame.index in near:
                yield held
            held = next(frames, None)

    yield from map(of, parts)


def finished(made: Plan, folder: Path, part: RenderPart) -> bool:
    """Whether a part is rendered, and its pictures, if any are wanted, still exist."""
    account = plan.done(folder, part)
    if account is None:
        return False
    asked = [writer for writer in writers(made, _format_of(made.clip, made.view)) if writer is not None]
    return all(writer.done(frame) for writer in asked for frame in account.get("frames", ()))


def each(composed: Composed) -> tuple[Composed, ...]:
    """The frame as it is for each person: itself where only one is swapped."""
    return composed.people or (composed,)


def composed_frames(made: Plan, folder: Path, part: RenderPart, wanted: range) -> Iterator[Composed]:
    """The wanted frames of a part, composited, without the watermark."""
    frames = video.decode(made.clip, segment(made.clip, part.with_neighbours), 16 if made.coding.deep else 8, made.view)
    alone = [(made.person(n), plan.folder_of(folder, n)) for n in range(made.people)]
    places = [plan.load_scheduled(own, who, part.with_neighbours) for who, own in alone]
    people = [functools.partial(_person, *who, where, wanted) for who, where in zip(alone, places, strict=True)]
    return people[0](frames) if len(people) == 1 else of_people(frames, people, [sizes(where[0]) for where in places])


def _person(
    made: Plan, folder: Path, layers: list[dict[int, Place]], wanted: range, frames: Iterable[Frame]
) -> Iterator[Composed]:
    """The wanted frames with all faces of one person."""
    swapper, framing = network(str(folder), made.weights_sha256, made.device)
    typical, cuts, schedule = plan.load_typical(folder), plan.load_cuts(folder), made.schedule

    def mask(frame: int) -> MaskSettings:
        return schedule.at(frame).mask

    def layer(where: dict[int, Place], frames: Iterable[Frame]) -> Iterator[Composed]:
        faces = swap_frames(frames, where, swapper, framing, mask, made.batch, typical is not None)
        return compose(faces, schedule, typical, made.coding.deep, wanted, cuts)

    return in_layers(frames, [functools.partial(layer, where) for where in layers])


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """Torch on one core: with another number of threads sums are rounded differently, and so are pixels."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def networks_let_go() -> Iterator[None]:
    """Let go of the networks that the block has loaded in this process, which may render many runs."""
    try:
        yield
    finally:
        network.cache_clear()


@functools.lru_cache(4)
def network(folder: str, weights_sha256: str, device: str) -> tuple[Swapper, Framing]:
    """The plan's network, from the working folder, and its framing; checked and loaded once per process and render."""
    from train.run import load_swapper, open_run

    opened = open_run(kept(Path(folder), weights_sha256))
    return load_swapper(opened, own_device(device)), cast(Framing, opened.framing)


def own_device(device: str) -> str:
    """The device of this process: of several GPUs the worker processes take one each, in turn."""
    import torch

    number = multiprocessing.current_process().name.rpartition("-")[2]
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") and torch.cuda.is_available() else 0
    return f"cuda:{int(number) % gpus}" if gpus > 1 and number.isdecimal() else device


@functools.lru_cache(2)
def _line(clip: Clip) -> Timeline:
    return timeline(Path(clip.path))


@functools.lru_cache(2)
def _format_of(clip: Clip, view: View) -> FootageFormat:
    return check_footage(Path(clip.path), True, view, graded=bool(clip.lut))


def segment(clip: Clip, frames: range) -> Segment:
    """Segment of the clip with these frames, as far as they exist."""
    line = _line(clip)
    return video.span(clip, line, max(frames.start, 0), min(frames.stop, len(line.times)))


def learn(made: Plan, folder: Path) -> occlusion.Typical | None:
    """Typical reconstruction error of the target's decoder, from frames spread over the plan's span."""
    swapper, framing = network(str(folder), made.weights_sha256, made.device)
    where = plan.load_face(folder)
    seen = sorted(i for i in where if i < made.clip.frames)
    picked = {seen[i] for i in np.unique(np.linspace(0, len(seen) - 1, occlusion.FRAMES).round().astype(int))}
    with one_thread(made.device):
        return occlusion.learn(list(errors(_picked(made, picked), where, swapper, framing, made.batch)))


def _picked(made: Plan, wanted: set[int]) -> Iterator[Frame]:
    """The wanted frames; those after the same key frame are decoded together."""
    runs: dict[Access, list[int]] = {}
    for index in sorted(wanted):
        runs.setdefault(segment(made.clip, range(index, index + 1)).access, []).append(index)
    for run in runs.values():
        frames = video.decode(made.clip, segment(made.clip, range(run[0], run[-1] + 1)), view=made.view)
        yield from (frame for frame in frames if frame.index in wanted)


def _write(made: Plan, folder: Path, part: RenderPart, frames: Iterable[Composed]) -> None:
    """The part's video, image sequences, measures and account, in this order."""
    from reports.artifacts.inspector import Inspector
    from reports.artifacts.reading import Reader

    clip, footage_format = made.clip, _format_of(made.clip, made.view)
    rate = Fraction(clip.fps or 25).limit_denominator(1001)
    size = footage_format.size
    marker = Marker(made.identifier, *size, made.slot)
    inspectors = [(Inspector(clip.fps, True), Reader(clip.fps, READ_EVERY)) for _ in range(made.people)]
    sequences, account = writers(made, footage_format), _Account()
    with (
        atomic(part.path(folder, made.coding.suffix)) as path,
        encode.encoder(path, *size, rate, footage_format, made.coding) as write,
    ):
        for composed in frames:
            inside = composed.frame.index >= part.first
            for own, one in zip(inspectors, each(composed), strict=True):
                _measure(*own, replace(one, image=composed.image), not inside)
            if not inside:
                continue
            picture = labelled(made, composed)
            marked = marker.mark(picture)
            write(marked)
            _write_images(sequences, composed, marked)
            account.add(composed, picture)
            if len(account.times) % 8 == 0:
                part.path(folder, ".count").write_text(str(len(account.times)))
        if not account.times:
            raise WorkError(f"{clip.path}: frames {part.first} to {part.end - 1} cannot be decoded; repair the footage")
    for number, (inspector, _) in enumerate(inspectors):
        inspector.part().save(part.path(folder, plan.measures(number)))
    part.path(folder, ".count").write_text(str(part.end - part.first))
    account.save(part.path(folder, ".json"))


def measured(made: Plan, folder: Path, first: int, end: int) -> InspectedPart:
    """Measures of the frames [first, end), composited but not encoded."""
    from reports.artifacts.inspector import Inspector
    from reports.artifacts.reading import Reader

    inspector, reader = Inspector(made.clip.fps, has_reference=True), Reader(made.clip.fps, READ_EVERY)
    with one_thread(made.device):
        for composed in composed_frames(made, folder, RenderPart(0, first, end), range(first - RUN_UP, end)):
            _measure(inspector, reader, composed, composed.frame.index < first)
    return inspector.part()


def labelled(made: Plan, composed: Composed) -> NDArray[Any]:
    """The frame, with the visible label if the settings ask for it."""
    return label.draw(composed.image) if made.settings.label else composed.image


def writers(made: Plan, footage_format: FootageFormat) -> tuple[SequenceWriter | None, MaskWriter | None]:
    """Writers of the image sequences of frames and masks; None for one that is not wanted."""
    title, creator = Path(made.clip.path).name, manifest.generator()
    asked, frames = made.frames, None
    if asked is not None:
        bits = 16 if made.coding.deep or asked.kind == "exr" else 8
        frames = SequenceWriter(
            Path(asked.folder), footage_format, asked.kind, bits, asked.alpha, asked.layers, asked.space, title, creator
        )
    masks = None if made.masks is None else MaskWriter(Path(made.masks), 16, title, creator)
    return frames, masks


def _write_images(
    sequences: tuple[SequenceWriter | None, MaskWriter | None], composed: Composed, marked: NDArray[Any]
) -> None:
    frames, masks = sequences
    if frames is not None:
        layers = _layers(composed, marked) if frames.with_alpha or frames.layers else None
        frames.write(composed.frame.index, marked, composed.mask, layers)
    if masks is not None:
        empty: Floats = np.zeros(marked.shape[:2], np.float32)
        masks.write(composed.frame.index, empty if composed.mask is None else composed.mask)


def _layers(composed: Composed, marked: NDArray[Any]) -> Layers:
    """What the frame is made of. With a visible label the label counts as part of what is not the face."""
    plate = composed.frame.deep if composed.image.dtype == np.uint16 else composed.frame.image
    if composed.mask is None or composed.face is None:
        empty: Floats = np.zeros(marked.shape[:2], np.float32)
        return Layers(plate, composed.image, empty, np.zeros((*empty.shape, 2), np.float32), 0.0)
    st = st_map(composed.face.matrix, len(composed.face.rgb), composed.mask)
    return Layers(plate, composed.image, composed.mask, st, composed.opacity)


def _measure(inspector: Inspector, reader: Reader, composed: Composed, context: bool) -> None:
    frame = composed.frame
    landmarks = None if composed.face is None else stored_points(composed.face.place.landmarks, frame.square)
    output, own, identity = eight_bits(composed.image), None, None
    if not context:
        own = reader.landmarks(frame.index, output, frame.image, landmarks)
        identity = reader.identity(frame.index, output, landmarks if own is None else own[0])
    inspector.add(frame.index, float(frame.time), output, frame.image, landmarks, composed.mask, own, context, identity)
