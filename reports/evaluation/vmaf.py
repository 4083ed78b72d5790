"""VMAF of a video against its footage outside the face, by the ffmpeg that comes with imageio-ffmpeg.

VMAF (Li et al. 2016, github.com/Netflix/vmaf, model v0.6.1) predicts how good a picture looks next to its original,
0..100. Inside the face both pictures are the footage, so that only what the swap must not change counts.
"""

from __future__ import annotations

import json
import math
import subprocess
from contextlib import ExitStack
from types import TracebackType

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from curate.runtime.files import scratch
from curate.types import Image

EVERY = 3
"""One of so many frames is measured; motion is read from all."""
LOG = "vmaf.json"
GRAPH = (
    "[0]format=yuv420p,split[a][b];[a]crop=iw:ih/2:0:0[c];[b]crop=iw:ih/2:0:ih/2[d];"
    f"[c][d]libvmaf=n_subsample={EVERY}:log_fmt=json:log_path={LOG}"
)


class Vmaf:
    """Frames go to one ffmpeg, each above its footage; a context, which ends it."""

    def __init__(self, fps: float) -> None:
        self._fps = fps if math.isfinite(fps) and fps > 0 else 25.0
        self._files = ExitStack()
        self._folder = self._files.enter_context(scratch("faceset-vmaf-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._failed = False

    def __enter__(self) -> Vmaf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._files.close()

    def add(self, output: Image, reference: Image, face: NDArray[np.bool_]) -> None:
        """The next frame: output and footage (H, W, 3) RGB of one size, and `face` (H, W), which does not count."""
        if self._failed:
            return
        height, width = (side // 2 * 2 for side in face.shape)
        both = np.vstack([np.where(face[..., None], reference, output)[:height, :width], reference[:height, :width]])
        try:
            self._process = self._process or self._start(width, 2 * height)
            assert self._process.stdin is not None
            self._process.stdin.write(np.ascontiguousarray(both, np.uint8).tobytes())
        except OSError:
            self._failed = True

    def value(self) -> float:
        """Mean of the measured frames, 0..100; NaN if no frame was added, or this ffmpeg cannot measure it."""
        if self._process is None:
            return math.nan
        try:
            self._process.communicate()
            pooled = json.loads((self._folder / LOG).read_bytes())["pooled_metrics"]
            return float(pooled["vmaf"]["mean"])
        except (OSError, ValueError, KeyError, TypeError):
            return math.nan

    def _start(self, width: int, height: int) -> subprocess.Popen[bytes]:
        raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{self._fps:.6f}", "-i", "-")
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", *raw, "-lavfi", GRAPH, "-f", "null", "-"]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, cwd=self._folder)
