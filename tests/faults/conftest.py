"""Faults on purpose; the ledger of faulty.py is printed at the end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode does not; workers of misbehave.py need it too

from faulty import CURATE, LEDGER, TRIES, Ledger, begin, table_hash


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    return LEDGER


def pytest_terminal_summary(terminalreporter) -> None:
    if not LEDGER.rows or (TRIES == 1 and not terminalreporter.config.option.verbose > 0):
        return
    terminalreporter.write_line(f"{'fault':44}{'tries':>6}{'lost':>6}{'half':>6}  message")
    for row in LEDGER.rows.values():
        message = re.sub(r"/\S+/", "", row.message)[:110]
        terminalreporter.write_line(f"{row.fault:44}{row.tries:6}{row.lost:6}{row.half:6}  {message}")


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "begin.py"
    path.write_text(CURATE)
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the painted head, a key frame every fifth frame: ten segments of .2 s."""
    import av

    from curate.turntable import painted, performance, render

    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height = stream.width = 240
        stream.pix_fmt, stream.gop_size = "yuv420p", 5
        stream.options = {"crf": "18", "preset": "ultrafast", "sc_threshold": "0"}
        for view in performance(seed=3, frames=50):
            image = render(painted(), view, (240, 240))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def whole(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash of the table that an undisturbed process makes of the clip."""
    out = tmp_path_factory.mktemp("whole") / "set"
    begin(clip, out)
    return table_hash(out)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte (tmpfs)."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("a tmpfs cannot be mounted here (needs root)")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False)
