"""Identity: one subject found in a film that is cut together from clips of several people."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd

from benchmarks.accuracy_table import Row, at_least, figure
from curate.dataset.faceset import Faceset
from curate.extract.pipeline import Request, curate
from curate.extract.table import build
from curate.footage.video import decode, probe
from curate.types import Image

SIZE, FPS = (480, 640), 25
SHOT_SECONDS = (0.5, 3.0)
REFERENCE_FRAME = 12


def rows(quick: bool, clips: Path | None) -> list[Row]:
    """The table of identity."""
    if clips is None:
        return [Row("identity", "film cut from real clips", None, "", "FACESET_CLIPS is not set", None)]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in (0,) if quick else (0, 1):
            film = Path(folder) / f"film{seed}.mp4"
            owner = cut_together(film, sorted(clips.glob("*.mp4")), seed)
            found += _film_rows(f"film {seed}", owner, film, Path(folder) / f"set{seed}")
    return found


def cut_together(out: Path, clips: list[Path], seed: int) -> list[str]:
    """Write a film of shots of SHOT_SECONDS from all clips until each is used up; whose each frame is."""
    rng = np.random.default_rng(seed)
    left: dict[str, Iterator[Image]] = {c.stem: (_fitted(f.image) for f in decode(probe(c))) for c in clips}
    owner: list[str] = []
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        while left:
            others = [name for name in left if not owner or name != owner[-1]] or list(left)
            name = others[int(rng.integers(len(others)))]
            for _ in range(round(FPS * rng.uniform(*SHOT_SECONDS))):
                image = next(left[name], None)
                if image is None:
                    del left[name]
                    break
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = len(owner), Fraction(1, FPS)
                container.mux(stream.encode(frame))
                owner.append(name)
        container.mux(stream.encode())
    return owner


def _fitted(image: Image) -> Image:
    """The picture on a canvas of SIZE, as large as it fits."""
    height, width = SIZE
    zoom = min(height / image.shape[0], width / image.shape[1])
    small = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    canvas = np.zeros((height, width, 3), np.uint8)
    top, side = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    canvas[top : top + small.shape[0], side : side + small.shape[1]] = small
    return canvas


@dataclass(frozen=True)
class _Score:
    precision: float
    recall: float


def _film_rows(name: str, owner: list[str], film: Path, out: Path) -> list[Row]:
    made = curate(Request((str(film),), out, "film", "research", workers=2))
    people = sorted(set(owner))
    truth = np.array(owner)
    main = max(people, key=owner.count)
    auto = _score(made.table, truth, main)
    named = {p: _score(_with_reference(made.faceset, made.table, truth, p), truth, p) for p in people}
    shots = int((truth[1:] != truth[:-1]).sum()) + 1
    what = f"{name}, {len(people)} people, {shots} shots: "
    return [
        at_least("identity", f"{what}precision", auto.precision, 0.99),
        at_least("identity", f"{what}recall", auto.recall, 0.95),
        at_least(
            "identity", f"{what}precision with --reference, worst", min(s.precision for s in named.values()), 0.99
        ),
        at_least("identity", f"{what}recall with --reference, worst", min(s.recall for s in named.values()), 0.95),
        figure("identity", f"{what}persons found", float(made.table["person"].nunique())),
        figure("identity", f"{what}shots found", float(made.table["shot"].nunique())),
    ]


def _with_reference(faceset: Faceset, table: pd.DataFrame, owner: np.ndarray, person: str) -> pd.DataFrame:
    """The table as if a photo of the person had been given: one frame's own identity vector."""
    from curate.extract.segment import Backends

    backends = Backends.of(faceset.settings)
    frame = int(np.flatnonzero(owner == person)[REFERENCE_FRAME])
    image = next(f.image for f in decode(faceset.clips[0]) if f.index == frame)
    row = table[table["frame"] == frame].iloc[0]
    points = faceset.landmarks([row["face_id"]])[row["face_id"]]
    vector = backends.identifier.identify(backends.identifier.chip(image, points))
    given = replace(faceset, references=(tuple(float(v) for v in vector),), anchor=None)
    build(given)
    return given.table(["frame", "kept"])


def _score(table: pd.DataFrame, owner: np.ndarray, person: str) -> _Score:
    kept = table.loc[table["kept"], "frame"].to_numpy()
    right = int((owner[kept] == person).sum())
    return _Score(right / max(len(kept), 1), right / max(int((owner == person).sum()), 1))
