"""Fixtures that more than one package's tests use. Nothing here needs the network but the weights' cache."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

WriteVideo = Callable[..., Path]


@pytest.fixture(scope="session")
def write_video() -> WriteVideo:
    """A function that encodes frames (H, W, 3) uint8 to H.264, with given timestamps (in 1/600 s) or a rate of 25."""

    def write(
        path: Path,
        frames: Sequence[np.ndarray],
        times: Sequence[int] | None = None,
        gop: int = 250,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
    ) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = pix_fmt
            stream.gop_size = gop
            stream.codec_context.time_base = Fraction(1, 600)
            stream.options = {"crf": "10", "preset": "ultrafast", "sc_threshold": "0", "bf": "2"}
            for index, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = times[index] if times else index * 24
                frame.time_base = Fraction(1, 600)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """A headless Chromium, by Playwright."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield running
        running.close()


def numbered(count: int, size: tuple[int, int] = (64, 96)) -> list[np.ndarray]:
    """Flat grey frames whose level tells their number: 16 + 4 * (number % 50)."""
    return [np.full((*size, 3), 16 + 4 * (i % 50), np.uint8) for i in range(count)]


@pytest.fixture(scope="session")
def numbered_frames() -> Callable[..., list[np.ndarray]]:
    return numbered


@pytest.fixture(scope="session")
def clips_folder() -> Path:
    """Real footage, where somebody has it."""
    folder = os.environ.get("FACESET_CLIPS")
    if not folder:
        pytest.skip("FACESET_CLIPS is not set: it names a folder of real clips (d3.mp4, d6.mp4, d9.mp4, d10.mp4)")
    return Path(folder)


@pytest.fixture(scope="session")
def head_clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A short performance of each demo head, with sound: source (the portrait) and target (the painted one)."""
    from curate.turntable import hopper, painted, performance, write_clip

    folder = tmp_path_factory.mktemp("heads")
    for number, (side, head) in enumerate((("source", hopper()), ("target", painted()))):
        write_clip(folder / f"{side}.mp4", head, performance(seed=number, frames=40), (240, 240), 25)
    return {side: folder / f"{side}.mp4" for side in ("source", "target")}


@pytest.fixture(scope="session")
def head_facesets(head_clips: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Those clips curated, 24 faces selected. Not to be changed: copy first."""
    from curate.extract.pipeline import Request, curate
    from curate.select.options import SelectionOptions
    from curate.select.selection import select_faceset

    folder = tmp_path_factory.mktemp("facesets")
    for side, clip in head_clips.items():
        request = Request(
            (str(clip),), folder / side, side.title(), "public-domain", settings=(("segment_seconds", 0.5),)
        )
        select_faceset(curate(request).faceset, SelectionOptions("24"))
    return {side: folder / side for side in head_clips}


@pytest.fixture(scope="session")
def seeds() -> ModuleType:
    """tests/fuzz/seeds.py: small facesets, runs, clips and renders, made without any network."""
    path = Path(__file__).parent / "fuzz" / "seeds.py"
    spec = importlib.util.spec_from_file_location("faceset_seeds", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
