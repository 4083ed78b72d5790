"""Plan of a render and the files of its working folder, from which it can be resumed or spread over processes.

The working folder is `.OUT.render`, next to the output OUT:
plan.json        this plan; a later call with the same plan resumes, with another one it starts again
face.parquet     positions of the face: frame, layer (1 and more where it is seen again), shot, head pose, landmarks
shots.json       the frames at which shots begin, as the face was tracked
run/             the network, see `render.network`
typical.npz      reconstruction error of the target's decoder where nothing occludes the face
and-N/           face.parquet, shots.json, run/ and typical.npz of the N-th further person
part-N.mp4 .parquet .json    a part's video, measures and account; the account is written last: the part is complete
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import UsageError, WorkError
from curate.footage.picture import View
from curate.records import record
from curate.runtime.files import atomic
from curate.safe_io import DAMAGED, one_line, read_parquet
from curate.types import Clip
from render.compositing.compose import RADIUS
from render.compositing.occlusion import Typical
from render.compositing.schedule import Schedule, Stretch
from render.compositing.settings import RenderSettings
from render.compositing.swap import BATCH, WINDOW, Place, places
from render.output.coding import Coding

FILE = "plan.json"
FORMAT = 5
"""Version of the working folder. 2: a face may be seen several times at once. 3: shots.json, noise of the coding.
4: slots of watermarks. 5: a fainter watermark.
"""
MOST_FRAMES = 10_000_000
"""Limit for a clip: 46 hours at 60 fps."""
MOST_TYPICAL = 1 << 26
"""Limit for typical.npz unpacked, bytes: two images of 2048 x 2048 pixels."""
MOST_LAYERS = 1000
"""Limit for the faces of one person at once."""
PART = 240
"""Frames per part, at least: for neighbours that are not rendered in one go 2 * RADIUS more are decoded and swapped."""
PARTS, LONGEST = 32, 4
"""Long footage has so many parts, each of up to LONGEST * PART frames, so that fewer frames are swapped twice."""
AROUND = 40
"""Frames beyond a part whose landmarks are read: more than smoothing needs."""


@dataclass(frozen=True)
class RenderPart:
    """Part of a render: frames [first, end) of the clip."""

    number: int
    first: int
    end: int

    def path(self, folder: Path, suffix: str) -> Path:
        """One of the part's files."""
        return folder / f"part-{self.number:05}{suffix}"

    @property
    def with_neighbours(self) -> range:
        """Frames that are decoded for the part: whole batches."""
        first, end = (self.first - RADIUS) // BATCH, -(-(self.end + RADIUS) // BATCH)
        return range(max(first * BATCH, 0), end * BATCH)


@dataclass(frozen=True)
class Frames:
    """Image sequence of all frames, for compositing."""

    folder: str
    kind: str = "png"
    """png or exr."""
    alpha: bool = False
    """Whether they show the face alone, with its matte as alpha."""
    layers: bool = False
    """Whether EXR has all layers."""
    space: str = "rec709"
    """Colour space of EXR."""


@dataclass(frozen=True)
class Cast:
    """Run of another person in the same footage."""

    run: str
    weights_sha256: str


@dataclass(frozen=True)
class Plan:
    """Plan of a render: everything that its pixels and bytes depend on."""

    run: str
    weights_sha256: str
    clip: Clip
    first: int
    end: int
    settings: RenderSettings
    coding: Coding
    device: str
    identifier: int
    """Identifier of the watermark."""
    frames: Frames | None = None
    masks: str | None = None
    """Folder for the mask images; None: no masks."""
    batch: int = BATCH
    tonemap: bool = False
    """HDR footage is mapped to SDR."""
    deinterlace: bool = False
    slot: int = 0
    """Slot of the watermark: one that is free in the footage."""
    over: tuple[str, ...] = ()
    """Watermarks that the footage carries already."""
    others: tuple[Cast, ...] = ()
    """Further runs, each with the target that it replaces."""
    stretches: tuple[Stretch, ...] = ()
    """Frames with other settings."""
    lut_sha256: str = ""
    """Hash of the colour table that the footage is read through; empty for none."""
    parts: tuple[RenderPart, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", cut(self.first, self.end))

    @property
    def view(self) -> View:
        """How the footage is read: as it is stored, but for what was asked."""
        return View(square=False, sdr=self.tonemap, progressive=self.deinterlace)

    @property
    def people(self) -> int:
        """Number of people whose faces are replaced."""
        return 1 + len(self.others)

    def person(self, number: int) -> Plan:
        """The plan of one person alone, 0 for the first."""
        if number == 0:
            return replace(self, others=())
        cast = self.others[number - 1]
        return replace(self, run=cast.run, weights_sha256=cast.weights_sha256, others=())

    @property
    def schedule(self) -> Schedule:
        """Settings of every frame."""
        return Schedule(self.settings, self.stretches)

    @property
    def occlusion(self) -> bool:
        """Whether any frame keeps what occludes the face."""
        return any(settings.occlusion for settings in (self.settings, *(s.settings for s in self.stretches)))

    @property
    def whole(self) -> bool:
        """Whether all of the footage is rendered."""
        return (self.first, self.end) == (0, self.clip.frames)

    def same(self, other: Plan) -> bool:
        """Whether both give the same pixels except for the watermark."""
        own = {"identifier": 0, "slot": 0, "over": []}
        return {**_values(self), **own} == {**_values(other), **own}

    def save(self, folder: Path) -> None:
        """Write plan.json."""
        with atomic(folder / FILE) as temporary:
            temporary.write_text(json.dumps({"format": FORMAT, **_values(self)}, indent=1), encoding="utf-8")


def folder_of(folder: Path, number: int) -> Path:
    """The folder in the working folder with a person's face.parquet, run/ and typical.npz; its own for the first."""
    return folder if number == 0 else folder / f"and-{number}"


def measures(number: int) -> str:
    """Suffix of a part's measures of one person."""
    return ".parquet" if number == 0 else f".and-{number}.parquet"


def cut(first: int, end: int) -> tuple[RenderPart, ...]:
    """Parts of equal length that cover [first, end); a short remainder joins the last one."""
    length = max(PART, min((end - first) // PARTS // BATCH * BATCH, LONGEST * PART))
    starts = list(range(first, end, length))
    if len(starts) > 1 and end - starts[-1] < length // 3:
        starts.pop()
    return tuple(RenderPart(i, s, e) for i, (s, e) in enumerate(zip(starts, [*starts[1:], end], strict=True)))


def _values(plan: Plan) -> dict[str, Any]:
    values = {**asdict(plan), "identifier": plan.identifier}
    del values["parts"]
    decoded: dict[str, Any] = json.loads(json.dumps(values))
    return decoded


def load(folder: Path) -> Plan | None:
    """The plan in a folder; None if there is none that this version can read."""
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            return None
        if not 0 <= values["first"] < values["end"] <= values["clip"]["frames"] <= MOST_FRAMES:
            return None
        return record(Plan, values)
    except (*DAMAGED, UsageError):
        return None


def save_face(folder: Path, rows: pd.DataFrame) -> None:
    """Write face.parquet from the rows of `curate.extract.follow.follow`, with `scores` (K,) if they drive the run."""
    kept = rows.reindex(columns=["frame", "shot", "yaw", "pitch", "roll"]).copy()
    if "scores" in rows:
        kept["scores"] = [np.asarray(own, np.float32).tobytes() for own in rows["scores"]]
    kept["layer"] = rows.get("layer", 0)
    kept["points"] = [len(p) for p in rows["landmarks"]]
    kept["landmarks"] = [np.asarray(p, np.float32).tobytes() for p in rows["landmarks"]]
    with atomic(folder / "face.parquet") as temporary:
        kept.to_parquet(temporary, index=False, row_group_size=1000)


def save_cuts(folder: Path, cuts: Iterable[int]) -> None:
    """Write shots.json: the frames at which shots begin."""
    with atomic(folder / "shots.json") as temporary:
        temporary.write_text(json.dumps(sorted(cuts)), encoding="utf-8")


def load_cuts(folder: Path) -> frozenset[int]:
    """The frames at which shots begin. Raises WorkError."""
    try:
        found = json.loads((folder / "shots.json").read_text(encoding="utf-8"))
        if not isinstance(found, list) or not all(isinstance(frame, int) for frame in found):
            raise ValueError("not a list of frames")
        return frozenset(found)
    except DAMAGED as error:
        raise WorkError(
            f"{folder}: the shots cannot be read ({one_line(error)}); delete the folder and render again"
        ) from None


def load_face(folder: Path, span: range | None = None) -> dict[int, Place]:
    """Position of the face in all frames or those of a span, where it is seen again the main one. Raises WorkError."""
    return load_faces(folder, span)[0]


def load_faces(folder: Path, span: range | None = None, smooth: int = WINDOW) -> list[dict[int, Place]]:
    """Positions of the face in all frames or those of a span, a layer for each time that it is seen at once.

    `smooth` is the number of frames over which landmarks are smoothed. There is always a first layer. Raises WorkError.
    """
    limits = None if span is None else [("frame", ">=", span.start - AROUND), ("frame", "<", span.stop + AROUND)]
    try:
        rows = read_parquet(folder / "face.parquet", filters=limits)
        marks = [
            np.frombuffer(b, np.float32).reshape(n, -1) for b, n in zip(rows["landmarks"], rows["points"], strict=True)
        ]
        rows["landmarks"] = pd.Series(marks, index=rows.index, dtype=object)
        if "scores" in rows:
            rows["scores"] = pd.Series([np.frombuffer(b, np.float32) for b in rows["scores"]], index=rows.index)
        last = int(rows["layer"].max()) if len(rows) and "layer" in rows else 0
        if not 0 <= last <= MOST_LAYERS:
            raise WorkError(f"{last} faces at once")
        if "layer" not in rows:
            return [places(rows, smooth)]
        return [places(rows[rows["layer"] == layer], smooth) for layer in range(last + 1)]
    except (*DAMAGED, WorkError) as error:
        raise WorkError(
            f"{folder}: the face positions cannot be read ({one_line(error)}); delete the folder and render again"
        ) from None


def load_scheduled(folder: Path, made: Plan, span: range) -> list[dict[int, Place]]:
    """Positions of the face in a span of frames, as `load_faces`, smoothed as the plan says. Raises WorkError."""
    layers = load_faces(folder, span, made.settings.smooth)
    for stretch in made.stretches:
        frames = range(max(stretch.first, span.start), min(stretch.end, span.stop))
        if stretch.settings.smooth == made.settings.smooth or not frames:
            continue
        for layer, other in zip(layers, load_faces(folder, span, stretch.settings.smooth), strict=True):
            layer |= {frame: other[frame] for frame in frames if frame in other}
    return layers


def load_heads(folder: Path) -> list[dict[str, Any]]:
    """Rows of face.parquet as they were found: frame, yaw, pitch, roll (degrees), landmarks (N, 3) in square pixels.

    Raises WorkError.
    """
    try:
        rows = read_parquet(folder / "face.parquet")
        pairs = zip(rows["landmarks"], rows["points"], strict=True)
        marks = [np.frombuffer(b, np.float32).reshape(n, -1) for b, n in pairs]
        found: list[dict[str, Any]] = rows.drop(columns=["landmarks"]).to_dict("records")  # type: ignore[assignment]
        return [{**row, "landmarks": points} for row, points in zip(found, marks, strict=True)]
    except (*DAMAGED, WorkError) as error:
        raise WorkError(
            f"{folder}: the face positions cannot be read ({one_line(error)}); delete the folder and render again"
        ) from None


def save_typical(folder: Path, typical: Typical | None) -> None:
    """Write typical.npz, unless `typical` is None."""
    if typical is not None:
        with atomic(folder / "typical.npz") as temporary, temporary.open("wb") as stream:
            np.savez(stream, middle=typical.middle, spread=typical.spread)


def load_typical(folder: Path) -> Typical | None:
    """Typical reconstruction error as saved; None if there is none. Raises WorkError."""
    path = folder / "typical.npz"
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > MOST_TYPICAL:
                raise ValueError("too large")
        with np.load(path, allow_pickle=False) as found:
            typical = Typical(found["middle"], found["spread"])
    except DAMAGED as error:
        raise WorkError(f"{path} is damaged ({one_line(error)}); delete the folder {folder} and render again") from None
    if typical.middle.ndim != 2 or typical.middle.shape != typical.spread.shape:
        raise WorkError(
            f"{path} is damaged (its two images differ in size); delete the folder {folder} and render again"
        )
    return typical


def done(folder: Path, part: RenderPart) -> dict[str, Any] | None:
    """Account of a finished part: times, faces, swapped, pixels_sha256; None if it is not finished."""
    try:
        account: dict[str, Any] = json.loads(part.path(folder, ".json").read_text(encoding="utf-8"))
        whole = isinstance(account["swapped"], int) and isinstance(account["pixels_sha256"], str)
        return account if whole and all(isinstance(t, int) for t in account["times"]) else None
    except DAMAGED:
        return None


def total(folder: Path, parts: Sequence[RenderPart]) -> int:
    """Frames rendered so far, of finished and unfinished parts, for the progress bar."""
    return sum(_count(part.path(folder, ".count")) for part in parts)


def _count(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
