"""Weights of face-alignment in the torch hub cache: files, sources and hashes. Imports no torch.

They are not among `curate.face.weights.WEIGHTS`: optional, larger (95 to 235 MB each), from one address and without
a mirror.
"""

from __future__ import annotations

import functools
import http.client
import logging
import os
import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from curate.errors import WeightsError
from curate.runtime.cache import cache_folder, made_cache_folder
from curate.runtime.files import atomic, file_sha256

log = logging.getLogger(__name__)

SOURCE = "https://www.adrianbulat.com/downloads/python-fan/"
PATIENCE = 10.0
"""Seconds without a byte after which a download has failed."""


@dataclass(frozen=True)
class File:
    """One file of weights."""

    name: str
    sha256: str
    """Its first ten digits: torch hub's files carry them in the name."""

    @property
    def url(self) -> str:
        """Its download URL."""
        return SOURCE + self.name


FACES = File("s3fd-619a316812.pth", "619a316812")
POINTS_2D = File("2DFAN4-11f355bf06.pth.tar", "11f355bf06")
POINTS_3D = File("3DFAN4-7835d9f11d.pth.tar", "7835d9f11d")
DEPTH = File("depth-2a464da4ea.pth.tar", "2a464da4ea")
DETECTOR, LANDMARKER, LANDMARKER_2D = (
    "--detector face-alignment",
    "--landmarker face-alignment",
    "--landmarker face-alignment-2d",
)
NEEDS: dict[str, tuple[File, ...]] = {DETECTOR: (FACES,), LANDMARKER: (POINTS_3D, DEPTH), LANDMARKER_2D: (POINTS_2D,)}
"""The files that each choice needs."""


def folder() -> Path:
    """Where torch hub keeps its files: `$TORCH_HOME/hub/checkpoints`, by default below the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))).expanduser() / "hub" / "checkpoints"


def missing(choice: str) -> list[File]:
    """Those files of a choice that are not in the folder; never touches the network."""
    return [file for file in NEEDS[choice] if not (folder() / file.name).is_file()]


def paths(choice: str) -> list[Path]:
    """Files of a choice in their order, downloaded if needed; their hashes match their names.

    Raises WeightsError that names each file, its address and the folder. The network is asked once a process for each
    file and given up after `PATIENCE` without an answer.
    """
    why = ""
    for file in missing(choice):
        why = why or _fetched(file, folder())  # all come from one place: where one fails, the others would too
    lacking = missing(choice)
    if lacking:
        names, urls = (" and ".join(parts) for parts in zip(*((f.name, f.url) for f in lacking), strict=True))
        raise WeightsError(f"{choice}: {names} cannot be fetched ({why}): download {urls} into {folder()}")
    for file in NEEDS[choice]:
        digits = file_sha256(folder() / file.name)[: len(file.sha256)]
        if digits != file.sha256:
            raise WeightsError(
                f"{choice}: {folder() / file.name} is damaged (its SHA-256 begins with {digits}): "
                f"delete it and download {file.url} again"
            )
    return [folder() / file.name for file in NEEDS[choice]]


@functools.cache
def _fetched(file: File, into: Path) -> str:
    """Download the file into the folder; the reason if that failed, otherwise an empty string."""
    try:
        into.mkdir(parents=True, exist_ok=True)
        made_cache_folder()
        with FileLock(cache_folder() / f".{file.name}.lock"):  # of several workers one fetches
            if not (into / file.name).is_file():
                _download(file, into / file.name)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or reason)
    return ""


def _download(file: File, target: Path) -> None:
    log.info("fetching %s", file.url)
    with atomic(target) as part:
        with urllib.request.urlopen(file.url, timeout=PATIENCE) as answer, part.open("wb") as stream:
            shutil.copyfileobj(answer, stream, 1 << 20)
        if not file_sha256(part).startswith(file.sha256):
            raise OSError("the downloaded file has another hash")
