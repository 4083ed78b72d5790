"""What a render is going to do, written down before it begins, so that it can be spread over processes and go on later.

OUT's folder of work, `.OUT.render` beside it:
plan.json        this plan; a later call with the same plan goes on, with another one begins anew
face.parquet     where the face is: frame, shot, yaw, landmarks
typical.npz      how well the target's decoder does where nothing is before the face
part-N.mp4 .parquet .json    a part's pictures, measures and account; the account comes last: it says that all is there
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import UsageError, WorkError
from curate.footage.shots import MEMORY
from curate.records import record
from curate.runtime.files import atomic
from curate.safe_io import DAMAGED, one_line, read_parquet
from curate.types import Clip
from render.compositing.compose import RADIUS
from render.compositing.occlusion import Typical
from render.compositing.settings import RenderSettings
from render.compositing.swap import BATCH, Place, places
from render.output.coding import Coding

FORMAT = 1
MOST_FRAMES = 10_000_000
"""Of a clip: 46 hours at 60 a second."""
MOST_TYPICAL = 1 << 26
"""Bytes of typical.npz unpacked: two pictures of 2048 x 2048."""
PART = 240
"""Frames of a part."""
AROUND = 40
"""Frames beyond a part whose landmarks are read: what smoothing needs, and more."""


@dataclass(frozen=True)
class Part:
    """Frames [first, end) of the clip."""

    number: int
    first: int
    end: int

    def path(self, folder: Path, suffix: str) -> Path:
        """Of one of the part's files."""
        return folder / f"part-{self.number:05}{suffix}"

    @property
    def with_neighbours(self) -> range:
        """The frames whose faces are swapped for it."""
        return range(max(self.first - RADIUS, 0), self.end + RADIUS)

    @property
    def decoded(self) -> range:
        """The frames that are decoded for it; the first ones only tell where shots begin."""
        return range(max(self.first - RADIUS - MEMORY, 0), self.end + RADIUS)


@dataclass(frozen=True)
class Frames:
    """Every frame as a picture, for compositing."""

    folder: str
    kind: str = "png"
    """png or exr."""
    alpha: bool = False
    """With the face's mask."""


@dataclass(frozen=True)
class Plan:
    """Everything that a part's pixels and bytes depend on."""

    run: str
    weights_sha256: str
    clip: Clip
    first: int
    end: int
    settings: RenderSettings
    coding: Coding
    device: str
    identifier: int
    """The watermark's."""
    frames: Frames | None = None
    masks: str | None = None
    """Folder for the masks as pictures."""
    batch: int = BATCH
    parts: tuple[Part, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", cut(self.first, self.end))

    def same(self, other: Plan) -> bool:
        """Whether both make the same pixels, but for the watermark's identifier."""
        return {**_values(self), "identifier": 0} == {**_values(other), "identifier": 0}

    def save(self, folder: Path) -> None:
        """Write plan.json."""
        with atomic(folder / "plan.json") as temporary:
            temporary.write_text(json.dumps({"format": FORMAT, **_values(self)}, indent=1), encoding="utf-8")


def cut(first: int, end: int) -> tuple[Part, ...]:
    """Frames [first, end) as parts of PART frames; a short rest joins the one before it."""
    starts = list(range(first, end, PART))
    if len(starts) > 1 and end - starts[-1] < PART // 3:
        starts.pop()
    return tuple(Part(i, s, e) for i, (s, e) in enumerate(zip(starts, [*starts[1:], end], strict=True)))


def _values(plan: Plan) -> dict[str, Any]:
    values = {**asdict(plan), "identifier": plan.identifier}
    del values["parts"]
    decoded: dict[str, Any] = json.loads(json.dumps(values))
    return decoded


def load(folder: Path) -> Plan | None:
    """The plan in a folder; None if there is none, or none that this version understands."""
    try:
        values = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            return None
        if not 0 <= values["first"] < values["end"] <= values["clip"]["frames"] <= MOST_FRAMES:
            return None
        return record(Plan, values)
    except (*DAMAGED, UsageError):
        return None


def save_face(folder: Path, rows: pd.DataFrame) -> None:
    """Write face.parquet from the rows of `curate.extract.follow.follow`."""
    kept = rows.reindex(columns=["frame", "shot", "yaw"]).copy()
    kept["points"] = [len(p) for p in rows["landmarks"]]
    kept["landmarks"] = [np.asarray(p, np.float32).tobytes() for p in rows["landmarks"]]
    with atomic(folder / "face.parquet") as temporary:
        kept.to_parquet(temporary, index=False, row_group_size=1000)


def load_face(folder: Path, span: range | None = None) -> dict[int, Place]:
    """Where the face is, in all frames or those of a span. Raises WorkError."""
    limits = None if span is None else [("frame", ">=", span.start - AROUND), ("frame", "<", span.stop + AROUND)]
    try:
        rows = read_parquet(folder / "face.parquet", filters=limits)
        marks = [
            np.frombuffer(b, np.float32).reshape(n, -1) for b, n in zip(rows["landmarks"], rows["points"], strict=True)
        ]
        rows["landmarks"] = pd.Series(marks, index=rows.index, dtype=object)
        return places(rows)
    except (*DAMAGED, WorkError) as error:
        raise WorkError(f"{folder}: the face's places cannot be read ({one_line(error)}); delete the folder") from None


def save_typical(folder: Path, typical: Typical | None) -> None:
    """Write typical.npz; nothing if there is nothing typical."""
    if typical is not None:
        with atomic(folder / "typical.npz") as temporary, temporary.open("wb") as stream:
            np.savez(stream, middle=typical.middle, spread=typical.spread)


def load_typical(folder: Path) -> Typical | None:
    """What `save_typical` wrote. Raises WorkError."""
    path = folder / "typical.npz"
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > MOST_TYPICAL:
                raise ValueError("larger than a face can be")
        with np.load(path, allow_pickle=False) as found:
            typical = Typical(found["middle"], found["spread"])
    except DAMAGED as error:
        raise WorkError(f"{path} is damaged ({one_line(error)}); delete the folder {folder}") from None
    if typical.middle.ndim != 2 or typical.middle.shape != typical.spread.shape:
        raise WorkError(f"{path} is damaged (it holds no two pictures of one size); delete the folder {folder}")
    return typical


def done(folder: Path, part: Part) -> dict[str, Any] | None:
    """A finished part's account; None if it is not finished."""
    try:
        account: dict[str, Any] = json.loads(part.path(folder, ".json").read_text(encoding="utf-8"))
        whole = isinstance(account["swapped"], int) and isinstance(account["pixels_sha256"], str)
        return account if whole and all(isinstance(t, int) for t in account["times"]) else None
    except DAMAGED:
        return None


def total(folder: Path, parts: Sequence[Part]) -> int:
    """Frames of all parts that are done so far, finished or not, for the progress bar."""
    return sum(_count(part.path(folder, ".count")) for part in parts)


def _count(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
