"""A small clip with uneven times and sound, a face that is known, and a network that only changes colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pandas as pd
import pytest

from curate.face.mesh import canonical
from curate.types import Landmarks, Subject

SIZE = (96, 128)
BASE = Fraction(1, 12_800)


def face_points(x: float, y: float, scale: float) -> np.ndarray:
    """(478, 3) float32: the canonical face, frontal, `scale` pixels a centimetre."""
    vertices = np.asarray(canonical().vertices, np.float64)
    points = np.stack([x + scale * vertices[:, 0], y - scale * vertices[:, 1], -scale * vertices[:, 2]], axis=1)
    return np.concatenate([points, np.repeat(points[:1], 478 - len(points), axis=0)]).astype(np.float32)


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Smooth colours that move with the frame's number."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    waves = [np.sin(x / 17 + number / 5), np.sin(y / 13 - number / 7), np.cos((x + y) / 23)]
    return np.stack([128 + 60 * w for w in waves], axis=-1).astype(np.uint8)


@pytest.fixture(autouse=True)
def config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "config"
    monkeypatch.setenv("FACESET_CONFIG", str(folder))
    return folder


class Networks:
    """Stands for landmarker and identifier of the artifact report: the canonical face, and always the same person."""

    def landmark(self, image: np.ndarray, region: np.ndarray) -> Landmarks:
        return Landmarks(face_points(region[0], region[1], region[2] / 23), 0.9, None)

    def chip(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return image

    def identify(self, chip: np.ndarray) -> np.ndarray:
        return np.eye(128, dtype=np.float32)[0]


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    from reports.artifacts import reading

    monkeypatch.setattr(reading, "LiteRTLandmarker", lambda expressions: Networks())
    monkeypatch.setattr(reading, "IDENTIFIERS", {"dlib": Networks})


@pytest.fixture(scope="session")
def uneven_times() -> list[int]:
    """Presentation times in 1/12800 s: steps of 2, 1 and 5 frames at 25 a second, not starting at 0."""
    steps = [512 * (1, 2, 1, 1, 5)[i % 5] + i % 3 for i in range(29)]
    return [1024 + sum(steps[:i]) for i in range(30)]


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """A function that writes a clip with B-frames and sound."""

    def make(
        path: Path,
        times: list[int],
        size: tuple[int, int] = SIZE,
        codec: str = "aac",
        tags: tuple[int, int, int, int] | None = None,
        pix_fmt: str = "yuv420p",
    ) -> Path:
        with av.open(str(path), "w", container_options={"video_track_timescale": "12800"}) as container:
            video = container.add_stream("libx264", rate=25)
            video.height, video.width = size
            video.pix_fmt = pix_fmt
            video.codec_context.time_base = BASE
            video.options = {"crf": "12", "preset": "ultrafast", "bf": "3", "b-adapt": "0"}
            if tags is not None:
                context = video.codec_context
                context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
            sound = container.add_stream(codec, rate=48_000, layout="mono") if codec else None
            for number, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
                frame.pts, frame.time_base = time, BASE
                container.mux(video.encode(frame))
            container.mux(video.encode())
            if sound is not None:
                _write_tone(container, sound, float(times[-1] * BASE))
        return path

    return make


def _write_tone(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    wave = (np.sin(np.arange(int(48_000 * seconds)) * 0.05) * 8000).astype(np.int16)
    for start in range(0, len(wave) - 1023, 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


@pytest.fixture
def clip(tmp_path: Path, make_clip: Callable[..., Path], uneven_times: list[int]) -> Path:
    return make_clip(tmp_path / "footage.mp4", uneven_times)


@dataclass
class Network:
    """Stands for a trained run: adds a blue cast, everywhere; counts its passes, fails when told."""

    size: int = 64
    passes: int = 0
    fail_at: int = 0

    def swap_and_reconstruct(self, crops, scores=None, marks=None):
        return *self.swap(crops), crops

    def reconstruct(self, crops, scores=None, marks=None):
        self.passes += 1
        return crops, None

    def swap(self, crops, scores=None, marks=None):
        import torch

        self.passes += 1
        if self.passes == self.fail_at:
            raise RuntimeError("out of memory")
        cast = torch.tensor([0.0, 0.0, 0.25]).view(1, 3, 1, 1)
        return (crops + cast).clamp(0, 1), torch.ones(len(crops), 1, self.size, self.size)


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A run whose network is `stub.network`, and a follower that sees the face in `stub.frames`."""
    import curate.extract.follow
    import render.part
    import train.run

    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    mean = (0.0,) * 128
    side = {
        "faceset_sha256": "00" * 32,
        "identity": mean,
        "known": (mean,),
        "faces": 9,
        "folder": "",
        "identifier": "dlib",
    }
    made = SimpleNamespace(
        path=folder,
        network=Network(),
        frames=range(5, 25),
        places=[(64, 48, 3.5)],
        source=Subject("Ann Ä", "release", "form.pdf", "11" * 32),
        target=Subject("Bob", "research"),
    )

    def open_run(path: Path) -> SimpleNamespace:
        return SimpleNamespace(
            weights_sha256="",
            path=path,
            size=made.network.size,
            framing="full",
            drive=None,
            people=(),
            source=SimpleNamespace(subject=made.source, clips=(("ann.mp4", "aa" * 32),), **side),
            target=SimpleNamespace(subject=made.target, clips=(("bob.mp4", "bb" * 32),), **side),
        )

    def follow_people(video: Path, identities: list[object], **_: object) -> list[curate.extract.follow.Followed]:
        found = []
        for x, y, scale in made.places[: len(identities)]:
            rows = [{"frame": i, "shot": 0, "landmarks": face_points(x + i / 4, y, scale)} for i in made.frames]
            table = pd.DataFrame(rows, columns=["frame", "shot", "landmarks"])
            found.append(curate.extract.follow.Followed(table, ()))
        return found

    def follow(video: Path, identity: object = None, **_: object) -> curate.extract.follow.Followed:
        return follow_people(video, [identity])[0]

    render.part.network.cache_clear()
    monkeypatch.setattr(train.run, "open_run", open_run)
    monkeypatch.setattr(train.run, "load_swapper", lambda run, device="auto": made.network)
    monkeypatch.setattr(curate.extract.follow, "follow", follow)
    monkeypatch.setattr(curate.extract.follow, "follow_people", follow_people)
    return made
