"""Image sequences for compositing: frames as PNG or OpenEXR, masks as greyscale PNG.

Every file is written to a temporary name, flushed and renamed, so a file that exists is complete; several processes may
write different frames of a folder at once. There is no C2PA manifest: each frame's metadata marks it as synthetic.
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
from curate.types import Floats, Image
from render.output.exr import bindings, check_transfer, exr, face_alone, flat, is_exr, layered, linear
from render.output.footage_format import FootageFormat
from render.output.png import Pixels, is_png, png
from render.output.unmix import Layers, unmixed

KINDS = ("png", "exr")
OURS = re.compile(r"(frame|mask)_\d{6,}\.(png|exr)|\.(frame|mask)_\d{6,}\.\w+\.\w+(\.tmp)?")


@dataclass(frozen=True)
class SequenceWriter:
    """Writer of frame_000123.png or .exr: RGB, or the face alone as RGBA, or all layers (EXR).

    PNG has the frame's own values with straight alpha; EXR has linear light, premultiplied, in half floats.
    """

    folder: Path
    footage_format: FootageFormat
    kind: str = "png"
    bits: int = 16
    """Bits per component: 8 or 16; EXR has 16."""
    with_alpha: bool = False
    """The face alone, with its matte; see `render.output.unmix`."""
    layers: bool = False
    """Result, face, footage, matte, ST map and blend value in one file (EXR)."""
    space: str = "rec709"
    """Colour space of EXR: a key of `render.output.exr.SPACES`."""
    title: str = ""
    """Title in every file's metadata."""
    creator: str = "faceset"
    """Program and version in every file's metadata."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"--frames-as {self.kind}: must be {' or '.join(KINDS)}")
        _check_bits(self.bits)
        if self.kind != "exr" and (self.layers or self.space != "rec709"):
            raise UsageError("--layers and --exr-space: need --frames-as exr")
        if self.kind == "exr":
            if self.bits != 16:
                raise UsageError(f"{self.bits} bits: EXR frames have 16; use 16 bits, or PNG")
            bindings()
            check_transfer(self.footage_format.transfer)

    def path(self, index: int) -> Path:
        """File of the frame with that 0-based number in the footage."""
        return self.folder / f"frame_{index:06d}.{self.kind}"

    def prepare(self, force: bool = False, resume: bool = False) -> None:
        """Prepare the folder, once, before any process writes; see `prepare`."""
        prepare(self.folder, force, resume)

    def done(self, index: int) -> bool:
        """Whether the frame exists, complete and of this kind."""
        if self.kind == "exr":
            return is_exr(self.path(index), self.with_alpha or self.layers, self.layers)
        return is_png(self.path(index), self.bits, 4 if self.with_alpha else 3)

    def write(self, index: int, image: Pixels, mask: Floats | None = None, layers: Layers | None = None) -> Path:
        """Write a frame (H, W, 3) RGB, uint8 or uint16; `mask` (H, W) in 0..1, None: no face, all transparent.

        With `layers`, alpha is that of the face alone, which is unmixed from the frame; without, the frame's own pixels
        are taken for the face's. Raises WorkError if it cannot be written.
        """
        alpha = None
        if self.with_alpha:
            alpha = np.zeros(image.shape[:2], np.float32) if mask is None else np.clip(mask, 0, 1)
        if self.kind == "exr":
            content = self._exr(image, alpha, layers)
        else:
            if alpha is not None and layers is not None:
                image, exact = unmixed(layers, image, (1 << self.bits) - 1)
                alpha = np.asarray(exact, np.float32)
            pixels = _as_bits(image, self.bits)
            if alpha is not None:
                pixels = cast(Pixels, np.dstack([pixels, _levels(alpha, self.bits)]))
            content = png(pixels, self.title, self.creator, self.footage_format)
        return _write(self.path(index), content)

    def _exr(self, image: Pixels, alpha: Floats | None, layers: Layers | None) -> bytes:
        look, words = self.footage_format, (self.title, self.creator)
        result = linear(cast(Deep, _as_bits(image, 16)), look, self.space)
        if layers is None:
            return exr(flat(result, alpha), *words, look, self.space)
        plate, clean = (linear(cast(Deep, _as_bits(p, 16)), look, self.space) for p in (layers.plate, layers.unmarked))
        face = face_alone(result, clean, plate, layers.mask)
        if not self.layers:
            return exr(face if self.with_alpha else flat(result, None), *words, look, self.space)
        return exr(layered(result, face, plate, layers), *words, look, self.space)


@dataclass(frozen=True)
class MaskWriter:
    """Writer of mask_000123.png: greyscale, white where the frame shows the swapped face."""

    folder: Path
    bits: int = 16
    """Bits per pixel: 8 or 16."""
    title: str = ""
    creator: str = "faceset"

    def __post_init__(self) -> None:
        _check_bits(self.bits)

    def path(self, index: int) -> Path:
        """File of the mask of the frame with that 0-based number in the footage."""
        return self.folder / f"mask_{index:06d}.png"

    def prepare(self, force: bool = False, resume: bool = False) -> None:
        """Prepare the folder, once, before any process writes; see `prepare`."""
        prepare(self.folder, force, resume)

    def done(self, index: int) -> bool:
        """Whether the mask exists, complete and with these bits."""
        return is_png(self.path(index), self.bits, 1)

    def write(self, index: int, mask: Floats) -> Path:
        """Write a mask (H, W) in 0..1; zeros if there is no face. Raises WorkError if it cannot be written."""
        return _write(self.path(index), png(_levels(np.clip(mask, 0, 1), self.bits), self.title, self.creator))


def check(folder: Path, free: bool = False) -> None:
    """Raises UsageError if it is not a folder and, where it must be `free`, if it is not empty."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; choose a folder for the frames")
    if free and folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: is not empty; choose an empty folder, or use --force to overwrite its frames")


def prepare(folder: Path, force: bool = False, resume: bool = False) -> None:
    """Prepare a folder for frames: empty, kept as it is (`resume`), or cleared of older frames and masks (`force`).

    An interrupted render's frames are never removed, also with `force`. Other files in it are left alone. Raises
    UsageError if it is not empty and neither is set, or is not a folder.
    """
    check(folder, free=not (force or resume))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = sorted(folder.iterdir())
        for path in found:
            if OURS.fullmatch(path.name) and ((force and not resume) or path.name.startswith(".")):
                path.unlink()
    except OSError as error:
        raise WorkError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None


def _check_bits(bits: int) -> None:
    if bits not in (8, 16):
        raise UsageError(f"{bits} bits: must be 8 or 16 per component")


def _as_bits(image: Pixels, bits: int) -> Pixels:
    if image.dtype == np.uint8:
        return image if bits == 8 else widen(image.astype(np.uint8, copy=False))
    return image if bits == 16 else eight_bits(image)


def eight_bits(image: Pixels) -> Image:
    """uint8 pixels as they are; uint16 in 0..65535 rounded to 0..255."""
    if image.dtype == np.uint8:
        return cast(Image, image)
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _levels(alpha: Floats, bits: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    levels = np.rint(alpha * ((1 << bits) - 1))
    return levels.astype(np.uint8) if bits == 8 else levels.astype(np.uint16)


def _write(path: Path, content: bytes) -> Path:
    try:
        write_whole(path, content)
    except OSError as error:
        raise WorkError(
            f"{path}: cannot be written ({error.strerror}); free disk space or choose another folder"
        ) from None
    return path
