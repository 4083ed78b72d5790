"""Frames as numbered files for compositing: PNG or OpenEXR, and the mask as grey PNG.

Every file is written to a temporary name, flushed and renamed, so one that is there is whole; several processes may
write different frames of a folder at once. A sequence holds no C2PA manifest: each frame says itself what it is, and
the sidecar of the render lists them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError, WorkError
from curate.footage.depth import Deep, widen
from curate.runtime.files import write_whole
from curate.types import Floats
from render.output.exr import bindings, check_transfer, exr, is_exr
from render.output.footage_format import Look
from render.output.png import Pixels, is_png, png

KINDS = ("png", "exr")
OURS = re.compile(r"(frame|mask)_\d{6,}\.(png|exr)|\.(frame|mask)_\d{6,}\.\w+\.\w+(\.tmp)?")


@dataclass(frozen=True)
class SequenceWriter:
    """Writes frame_000123.png or .exr: RGB, or RGBA with the face's mask as alpha.

    PNG holds the frame's own values with straight alpha; EXR linear light, premultiplied, in half floats.
    """

    folder: Path
    look: Look
    """Of the footage."""
    kind: str = "png"
    bits: int = 16
    """A component: 8 or 16; EXR has 16."""
    with_alpha: bool = False
    title: str = ""
    """Whose face is shown, and on which basis; part of every file."""
    creator: str = "faceset"
    """The program and its version; part of every file."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"{self.kind}: frames are written as {' or '.join(KINDS)}")
        _check_bits(self.bits)
        if self.kind == "exr":
            if self.bits != 16:
                raise UsageError(f"{self.bits} bits: EXR has half floats, 16; leave the bits out, or write PNG")
            bindings()
            check_transfer(self.look.transfer)

    def path(self, index: int) -> Path:
        """Of the frame with that 0-based number in the footage."""
        return self.folder / f"frame_{index:06d}.{self.kind}"

    def prepare(self, force: bool = False, resume: bool = False) -> None:
        """Make the folder ready, once, before any process writes; see `prepare`."""
        prepare(self.folder, force, resume)

    def done(self, index: int) -> bool:
        """Whether the frame is there, whole and of this kind."""
        if self.kind == "exr":
            return is_exr(self.path(index), self.with_alpha)
        return is_png(self.path(index), self.bits, 4 if self.with_alpha else 3)

    def write(self, index: int, image: Pixels, mask: Floats | None = None) -> Path:
        """Write a frame (H, W, 3) RGB, uint8 or uint16; `mask` (H, W) in 0..1, None: no face, all transparent.

        Raises WorkError if the disk does not take it.
        """
        alpha = None
        if self.with_alpha:
            alpha = np.zeros(image.shape[:2], np.float32) if mask is None else np.clip(mask, 0, 1)
        if self.kind == "exr":
            content = exr(cast(Deep, _as_bits(image, 16)), alpha, self.title, self.creator, self.look)
        else:
            pixels = _as_bits(image, self.bits)
            if alpha is not None:
                pixels = cast(Pixels, np.dstack([pixels, _levels(alpha, self.bits)]))
            content = png(pixels, self.title, self.creator, self.look)
        return _write(self.path(index), content)


@dataclass(frozen=True)
class MaskWriter:
    """Writes mask_000123.png: grey, white where the frame is the swapped face."""

    folder: Path
    bits: int = 16
    """8 or 16."""
    title: str = ""
    creator: str = "faceset"

    def __post_init__(self) -> None:
        _check_bits(self.bits)

    def path(self, index: int) -> Path:
        """Of the mask of the frame with that 0-based number in the footage."""
        return self.folder / f"mask_{index:06d}.png"

    def prepare(self, force: bool = False, resume: bool = False) -> None:
        """Make the folder ready, once, before any process writes; see `prepare`."""
        prepare(self.folder, force, resume)

    def done(self, index: int) -> bool:
        """Whether the mask is there, whole and of these bits."""
        return is_png(self.path(index), self.bits, 1)

    def write(self, index: int, mask: Floats) -> Path:
        """Write a mask (H, W) in 0..1; zeros where there is no face. Raises WorkError if the disk does not take it."""
        return _write(self.path(index), png(_levels(np.clip(mask, 0, 1), self.bits), self.title, self.creator))


def prepare(folder: Path, force: bool = False, resume: bool = False) -> None:
    """An existing folder for frames: empty, or gone on with (`resume`), or rid of older frames and masks (`force`).

    Other files in it are left alone. Raises UsageError if it is not empty and neither is asked, or is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; name a folder for the frames")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = sorted(folder.iterdir())
        if found and not (force or resume):
            raise UsageError(f"{folder}: is not empty; name an empty folder, or --force writes its frames anew")
        for path in found:
            if OURS.fullmatch(path.name) and (force or path.name.startswith(".")):
                path.unlink()
    except OSError as error:
        raise WorkError(f"{folder}: cannot be written ({error.strerror}); name another folder") from None


def _check_bits(bits: int) -> None:
    if bits not in (8, 16):
        raise UsageError(f"{bits} bits: frames have 8 or 16 bits a component")


def _as_bits(image: Pixels, bits: int) -> Pixels:
    if image.dtype == np.uint8:
        return image if bits == 8 else widen(image.astype(np.uint8, copy=False))
    if bits == 16:
        return image
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _levels(alpha: Floats, bits: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    levels = np.rint(alpha * ((1 << bits) - 1))
    return levels.astype(np.uint8) if bits == 8 else levels.astype(np.uint16)


def _write(path: Path, content: bytes) -> Path:
    try:
        write_whole(path, content)
    except OSError as error:
        raise WorkError(f"{path}: cannot be written ({error.strerror}); make room or name another disk") from None
    return path
