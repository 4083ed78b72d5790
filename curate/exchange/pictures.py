"""Pictures of another program's folder or pack, each with its metadata or the reason why it is left out."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from curate.errors import UsageError, WorkError
from curate.exchange import dfl, faceswap, pak
from curate.exchange.record import MAX_PICTURE, ForeignError, Record
from curate.footage.paths import PHOTO_SUFFIXES

Program = Literal["dfl", "faceswap", "folder"]
PROGRAMS: tuple[Program, ...] = ("dfl", "faceswap", "folder")
MAX_PIXELS = 100_000_000
"""Of one picture: it is decoded whole."""
_LOOKED_AT = 50
"""Number of files that are read to detect the program."""


@dataclass(frozen=True)
class Picture:
    """One picture file."""

    path: str
    """For messages: where it lies."""
    name: str
    """Path inside the folder or pack, with slashes, safe to join."""
    data: bytes = b""
    records: tuple[Record, ...] = ()
    failure: str | None = None
    """Why it is left out."""


def program_of(path: Path) -> Program:
    """Program that made the faceset in a folder or file, by its contents."""
    if path.is_file() or (path / pak.NAME).is_file():
        return "dfl"
    if any(path.rglob("*.fsa")):
        return "faceswap"
    for file in _files(path)[:_LOOKED_AT]:
        with file.open("rb") as stream:
            begin = stream.read(faceswap.MAX_HEADER)
        if dfl.has_metadata(begin):
            return "dfl"
        if begin[:4] == b"\x89PNG" and b"faceswap\0" in begin:
            return "faceswap"
    return "folder"


def pictures(path: Path, program: Program) -> Iterator[Picture]:
    """The pictures in order of their names. UsageError for a path that is of the wrong kind."""
    packed = path if path.is_file() else path / pak.NAME
    if path.is_file() and path.suffix.lower() != ".pak":
        raise UsageError(f"{path}: must be a folder, or a DeepFaceLab pack ({pak.NAME})")
    if packed.is_file():
        if program != "dfl":
            raise UsageError(
                f"--format {program}: {packed} is a DeepFaceLab pack; leave out --format, or use --format dfl"
            )
        yield from _of_pack(packed)
        return
    if not path.is_dir():
        raise UsageError(f"{path}: no such file or folder")
    faces: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(path.rglob("*.fsa")) if program == "faceswap" else ():
        try:
            faces |= faceswap.read_fsa(file)
        except WorkError as error:
            yield Picture(str(file), file.name, failure=str(error))
    for file in _files(path):
        name = file.relative_to(path).as_posix()
        try:
            if file.stat().st_size > MAX_PICTURE:
                raise ForeignError(f"it has {file.stat().st_size} bytes; the limit is {MAX_PICTURE}")
            data = file.read_bytes()
            yield Picture(str(file), name, data, _records(name, data, program, faces))
        except WorkError as error:
            yield Picture(str(file), name, failure=str(error))
        except OSError as error:
            yield Picture(str(file), name, failure=f"it cannot be read ({error.strerror})")


def about(path: Path) -> int:
    """About how many pictures there are, for progress; 0 for a pack."""
    return 0 if path.is_file() or (path / pak.NAME).is_file() else len(_files(path))


def _files(path: Path) -> list[Path]:
    """The picture files below a folder, in order; hidden ones are left out."""
    found = (p for p in path.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)
    return sorted(p for p in found if p.is_file() and not p.name.startswith("."))


def _of_pack(path: Path) -> Iterator[Picture]:
    with path.open("rb") as stream:
        try:
            contents = pak.contents(stream)
        except WorkError as error:
            raise WorkError(f"{path}: {error}") from None
        seen: set[str] = set()
        for face in contents:
            name = f"{face.person}/{face.name}" if face.person else face.name
            try:
                _check_name(name, seen)
                data = face.read(stream)
                records = _records(name, data, "dfl", {}, face.values)
                yield Picture(f"{path}: {name}", name, data, records)
            except WorkError as error:
                yield Picture(f"{path}: {name}", name, failure=str(error))


def _check_name(name: str, seen: set[str]) -> None:
    """Refuse names that leave the folder, or that come twice."""
    parts = name.split("/")
    bad = any(p in ("", ".", "..") or len(p.encode()) > 255 for p in parts) or len(parts) > 2
    if bad or any(c in name for c in "\\:\0\n\r") or not name.isprintable():
        raise ForeignError("its name in the pack is not a plain file name")
    if Path(name).suffix.lower() not in PHOTO_SUFFIXES:
        raise ForeignError("its name in the pack has no picture suffix")
    if name in seen:
        raise ForeignError("its name occurs twice in the pack")
    seen.add(name)


def _records(
    name: str,
    data: bytes,
    program: Program,
    faces: dict[str, list[dict[str, Any]]],
    packed: dict[str, Any] | None = None,
) -> tuple[Record, ...]:
    """What is known about a picture; ForeignError if it is not of this program, or cannot be decoded."""
    size = _checked(data)
    if program == "folder":
        return ()
    if program == "dfl":
        values = dfl.metadata(data) if data[:2] == b"\xff\xd8" else None
        values = packed if values is None else values
        if values is None:
            raise ForeignError("it has no DeepFaceLab metadata; --format folder accepts any picture")
        return (dfl.record(name, values),)
    found = faceswap.header(data) if data[:4] == b"\x89PNG" else None
    if found is not None:
        return (faceswap.record(name, found, size[1]),)
    listed = faces.get(name.rsplit("/", 1)[-1])
    if listed is None:
        raise ForeignError(
            "it has no faceswap header and is in no alignments file; --format folder accepts any picture"
        )
    return tuple(faceswap.frame_record(name, face) for face in listed)


def _checked(data: bytes) -> tuple[int, int]:
    """(height, width) of a picture that can be decoded; ForeignError."""
    height, width = _said_size(data)
    if height * width > MAX_PIXELS:
        raise ForeignError(f"it has {width} x {height} pixels; the limit is {MAX_PIXELS}")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise ForeignError("it cannot be decoded as a picture")
    return image.shape[0], image.shape[1]


def _said_size(data: bytes) -> tuple[int, int]:
    """(height, width) as a PNG's or JPEG's head says; (0, 0) for other pictures."""
    if data[:4] == b"\x89PNG" and len(data) > 24:
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    return dfl.size(data) if data[:2] == b"\xff\xd8" else (0, 0)
