"""The flat map of a faceset, drawn in a separate process while the database is filled, since UMAP compiles first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from curate.errors import WorkError
from curate.runtime.files import room_in
from curate.select.cluster import map2d
from curate.types import Floats


class Drawing:
    """A map that is being drawn from the start; `places` waits for it."""

    def __init__(self, faces: Sequence[str], points: Floats, seed: int) -> None:
        self.faces, self.points = tuple(faces), points
        """(N,) face ids, and (N, D) their points in the diversity space."""
        self._folder = tempfile.TemporaryDirectory(prefix="faceset-map-")
        self._out = Path(self._folder.name) / "map.npy"
        source = Path(self._folder.name) / "points.npy"
        with room_in(Path(self._folder.name)):
            np.save(source, points)
        command = [sys.executable, "-P", "-m", "curate.app.map_process", str(source), str(self._out), str(seed)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def places(self) -> Floats:
        """(N, 2) places on the map. Raises WorkError where the process failed."""
        _, errors = self._process.communicate()
        if self._process.returncode:
            last = errors.strip().splitlines()[-1:] or [f"exit {self._process.returncode}"]
            raise WorkError(f"the map of the faces could not be drawn: {last[0]}")
        found = np.asarray(np.load(self._out, allow_pickle=False), np.float32)
        self._folder.cleanup()
        return found

    def close(self) -> None:
        """End it, if it still runs, and remove its files."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


if __name__ == "__main__":
    parent = os.getppid()
    np.save(sys.argv[2], map2d(np.load(sys.argv[1], allow_pickle=False), int(sys.argv[3])))
    if os.getppid() != parent:  # it was killed and removes nothing
        shutil.rmtree(Path(sys.argv[2]).parent, ignore_errors=True)
