"""Clean swaps that are known to be free of faults, and faults that are injected into them at known times.

A clean swap is the face of the footage, rendered: cropped by the crop's matrix, changed into another face that is the
same in every frame (a smooth warp of a few pixels, a skin of its own, freckles), and pasted with a feathered mask.
Everything is steady in the coordinates of the crop. No network is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.align import crop_matrix, transform, warp
from curate.types import Floats, Image
from render.compositing.blend import paste
from render.compositing.mask import face_mask
from render.compositing.settings import MaskSettings

SIZE = 256


@dataclass(frozen=True, eq=False)
class Footage:
    """Some frames of a clip."""

    name: str
    fps: float
    frames: list[Image]
    marks: list[NDArray[np.float32] | None]


@dataclass(frozen=True, eq=False)
class Crop:
    """One swapped face before it is pasted."""

    rgb: Floats
    """(S, S, 3) in 0..1."""
    mask: Floats
    matrix: NDArray[np.float64]
    points: NDArray[np.float32]
    """Landmarks in the crop."""
    zoom: float
    """Pixels of the crop per pixel of the frame."""


@dataclass(frozen=True, eq=False)
class Skin:
    """Appearance of the other face."""

    map_x: Floats
    map_y: Floats
    gain: Floats
    """(S, S, 3) around 1."""


def skin(seed: int, size: int) -> Skin:
    """Another person's skin and features: warp of 0.9 %, tone 6 %, freckles 4 % (standard deviations)."""
    rng = np.random.default_rng(seed)

    def smooth(scale: float, channels: int) -> Floats:
        noise = rng.normal(0, 1, (size, size, channels)).astype(np.float32)
        soft = cv2.GaussianBlur(noise, (0, 0), scale * size).reshape(size, size, channels)
        soft -= soft.mean((0, 1))
        return np.asarray(soft / soft.std((0, 1)), np.float32)

    y, x = np.indices((size, size), np.float32)
    move = smooth(0.12, 2) * 0.009 * size
    tone, chroma, freckles = smooth(0.08, 1) * 0.06, smooth(0.15, 3) * 0.012, smooth(0.012, 1) * 0.04
    return Skin(x + move[..., 0], y + move[..., 1], np.asarray(1 + tone + chroma + freckles, np.float32))


def swap(image: Image, marks: NDArray[np.float32], other: Skin, size: int) -> Crop:
    """The face of one frame as the other's."""
    matrix = crop_matrix(marks, "full", size)
    rgb = warp(image, matrix, size).astype(np.float32) / 255
    rgb = cv2.remap(rgb, other.map_x, other.map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    rgb = np.clip(rgb * other.gain, 0, 1).astype(np.float32)
    points = transform(marks, matrix)
    mask = face_mask(np.ones((size, size), np.float32), points, MaskSettings(mode="hull"))
    return Crop(rgb, mask, matrix, points, float(np.hypot(matrix[0, 0], matrix[1, 0])))


def crop_size(footage: Footage) -> int:
    """Crop size at which no detail is lost: at least one pixel of the crop per pixel of the frame."""
    zooms = [np.hypot(*crop_matrix(m, "full", SIZE)[:, 0]) for m in footage.marks if m is not None]
    return int(np.clip(16 * np.ceil(SIZE / min(min(zooms), 1.0) / 16), SIZE, 512)) if zooms else SIZE


def swapped(footage: Footage, seed: int) -> list[Crop | None]:
    """The other face in every frame."""
    size = crop_size(footage)
    other = skin(seed, size)
    return [None if m is None else swap(f, m, other, size) for f, m in zip(footage.frames, footage.marks, strict=True)]


def pasted(frame: Image, crop: Crop | None) -> Image:
    """The finished frame."""
    return frame if crop is None else paste(frame, crop.rgb, crop.mask, crop.matrix)[0]


@dataclass
class Scene:
    """Input of a fault: all frames, all crops, and a random generator."""

    footage: Footage
    crops: list[Crop | None]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def clean(self, i: int) -> Image:
        """Frame i without a fault."""
        return pasted(self.footage.frames[i], self.crops[i])


Fault = Callable[[Scene, int, int], Image]
"""fault(scene, i, k) gives frame i of the video, the k-th one with the fault."""


def _with(scene: Scene, i: int, **changes: object) -> Image:
    crop = scene.crops[i]
    if crop is None:
        return scene.footage.frames[i]
    values = {"rgb": crop.rgb, "mask": crop.mask, "matrix": crop.matrix, "points": crop.points, "zoom": crop.zoom}
    return pasted(scene.footage.frames[i], Crop(**(values | changes)))  # type: ignore[arg-type]


def _crop(scene: Scene, i: int) -> Crop:
    crop = scene.crops[i]
    if crop is None:
        raise ValueError(f"frame {i} has no face")
    return crop


def _lighter(amount: float) -> Fault:
    def fault(scene: Scene, i: int, k: int) -> Image:
        lab = cv2.cvtColor(_crop(scene, i).rgb, cv2.COLOR_RGB2LAB)
        lab[..., 0] += amount
        return _with(scene, i, rgb=np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1))

    return fault


def _blur(sigma: float) -> Fault:
    def fault(scene: Scene, i: int, k: int) -> Image:
        crop = _crop(scene, i)
        return _with(scene, i, rgb=cv2.GaussianBlur(crop.rgb, (0, 0), sigma * crop.zoom))

    return fault


def drawn_with(pixels: int) -> Fault:
    """Fault of a network whose face is only `pixels` wide: fine detail is missing in the face alone."""

    def fault(scene: Scene, i: int, k: int) -> Image:
        crop = _crop(scene, i)
        size = crop.mask.shape[0]
        small = max(round(size * pixels / float(np.sqrt(crop.mask.sum()))), 8)
        less = cv2.resize(crop.rgb, (small, small), interpolation=cv2.INTER_AREA)
        return _with(scene, i, rgb=np.clip(cv2.resize(less, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1))

    return fault


def _flicker(share: float) -> Fault:
    def fault(scene: Scene, i: int, k: int) -> Image:
        return _with(scene, i, rgb=_crop(scene, i).rgb * np.float32(1 + share * (-1) ** k))

    return fault


def _moved(scene: Scene, i: int, move: NDArray[np.floating], turn: float = 0.0) -> Image:
    """The face moved by (x, y) pixels of the frame, and turned by degrees."""
    crop = _crop(scene, i)
    back = np.vstack([crop.matrix, [0, 0, 1]])
    middle = np.linalg.inv(back) @ [crop.rgb.shape[1] / 2, crop.rgb.shape[0] / 2, 1]
    spin = np.vstack([cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), turn, 1.0), [0, 0, 1]])
    spin[:2, 2] += move
    matrix = (back @ np.linalg.inv(spin))[:2]
    return _with(scene, i, matrix=matrix)


def _shift(pixels: float) -> Fault:
    return lambda scene, i, k: _moved(scene, i, pixels * np.array([0.6, 0.8]))


def _checkerboard(levels: float, period: int) -> Fault:
    def fault(scene: Scene, i: int, k: int) -> Image:
        rgb = _crop(scene, i).rgb
        y, x = np.indices(rgb.shape[:2])
        wave = np.where(((x * 2 // period) + (y * 2 // period)) % 2, 1, -1)[..., None]
        return _with(scene, i, rgb=np.clip(rgb + np.float32(levels / 255) * wave, 0, 1).astype(np.float32))

    return fault


def _hard(scene: Scene, i: int, k: int) -> Image:
    crop = _crop(scene, i)
    tinted = np.clip(crop.rgb * np.float32([1.05, 1.04, 1.03]), 0, 1)
    return _with(scene, i, mask=(crop.mask > 0.5).astype(np.float32), rgb=tinted)


def _patch(crop: Crop) -> Floats:
    """(S, S) 0..1: a disc of a quarter of the face on its own left cheek."""
    size = crop.mask.shape[0]
    x, y = crop.points[[280, 425]].mean(0) if len(crop.points) >= 468 else crop.points.mean(0)
    yy, xx = np.indices((size, size), np.float32)
    width = float(np.sqrt(crop.mask.sum()))
    return np.asarray(np.clip((0.19 * width - np.hypot(xx - x, yy - y)) / 3 + 0.5, 0, 1), np.float32)


def _black(scene: Scene, i: int, k: int) -> Image:
    crop = _crop(scene, i)
    return _with(scene, i, rgb=(crop.rgb * (1 - _patch(crop)[..., None])).astype(np.float32))


def _unswapped_patch(scene: Scene, i: int, k: int) -> Image:
    crop = _crop(scene, i)
    return _with(scene, i, mask=crop.mask * (1 - _patch(crop)))


def _ghost(scene: Scene, i: int, k: int) -> Image:
    crop = _crop(scene, i)
    copy = np.roll(crop.rgb, (round(3 * crop.zoom), round(7 * crop.zoom)), (0, 1))
    return _with(scene, i, rgb=0.7 * crop.rgb + np.float32(0.3) * copy)


def _jitter(scene: Scene, i: int, k: int) -> Image:
    return _moved(scene, i, scene.rng.normal(0, 1, 2))


def _popped(scene: Scene, i: int, k: int) -> Image:
    crop = _crop(scene, i)
    away = 0.12 * np.sqrt(crop.mask.sum()) / crop.zoom
    return _moved(scene, i, away * np.array([0.7, -0.7]))


def _frozen(scene: Scene, i: int, k: int) -> Image:
    held = scene.crops[i - k - 1]
    return pasted(scene.footage.frames[i], held)


def _missed(scene: Scene, i: int, k: int) -> Image:
    return scene.footage.frames[i]


def _mouth_of(frames: int | None) -> Fault:
    """Fault with the mouth of `frames` earlier; None: held where it was when the fault began."""

    def fault(scene: Scene, i: int, k: int) -> Image:
        crop = _crop(scene, i)
        other = scene.crops[i - (k + 1 if frames is None else frames)]
        if other is None:
            return scene.clean(i)
        size = crop.mask.shape[0]
        x, y = crop.points[[61, 291, 17, 0]].mean(0)
        wide = float(np.linalg.norm(crop.points[61] - crop.points[291]))
        yy, xx = np.indices((size, size), np.float32)
        near = np.clip(2.4 - 2 * np.hypot((xx - x) / (0.85 * wide), (yy - y - 0.1 * wide) / (0.8 * wide)), 0, 1)[
            ..., None
        ]
        return _with(scene, i, rgb=(crop.rgb + near * (other.rgb - crop.rgb)).astype(np.float32))

    return fault


def _side_light(scene: Scene, i: int, k: int) -> Image:
    crop = _crop(scene, i)
    size = crop.mask.shape[0]
    width = float(np.sqrt(crop.mask.sum()))
    ramp = (np.indices((size, size))[1] - crop.points[:, 0].mean()) / width
    lab = cv2.cvtColor(crop.rgb, cv2.COLOR_RGB2LAB)
    lab[..., 0] += 20 * np.clip(ramp, -0.6, 0.6).astype(np.float32)
    return _with(scene, i, rgb=np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1))


def _torn(points: tuple[int, ...], reach: float, move: tuple[float, float], turn: float = 0.0) -> Fault:
    """Fault that moves what lies around some mesh points, as fractions of the face's width, and turns it by degrees.

    The border of the moved piece is hard: the face tears there.
    """

    def fault(scene: Scene, i: int, k: int) -> Image:
        crop = _crop(scene, i)
        width = float(np.sqrt(crop.mask.sum()))
        x, y = crop.points[list(points), :2].mean(0)
        matrix = cv2.getRotationMatrix2D((float(x), float(y)), turn, 1.0)
        matrix[:, 2] += np.array(move) * width
        size = crop.mask.shape[0]
        piece = cv2.warpAffine(crop.rgb, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
        yy, xx = np.indices((size, size), np.float32)
        near = np.hypot(xx - x - move[0] * width, yy - y - move[1] * width) < reach * width
        return _with(scene, i, rgb=np.where(near[..., None], piece, crop.rgb).astype(np.float32))

    return fault


def _dark_eyes(scene: Scene, i: int, k: int) -> Image:
    crop = _crop(scene, i)
    size, width = crop.mask.shape[0], float(np.sqrt(crop.mask.sum()))
    yy, xx = np.indices((size, size), np.float32)
    centres = (crop.points[[33, 133]].mean(0), crop.points[[362, 263]].mean(0))
    far = np.minimum.reduce([np.hypot((xx - x) / 1.5, yy - y) for x, y in (c[:2] for c in centres)])
    shade = 0.5 * np.clip(1.6 - far / (0.09 * width), 0, 1)
    return _with(scene, i, rgb=(crop.rgb * (1 - shade[..., None])).astype(np.float32))


@dataclass(frozen=True)
class Injection:
    """One kind of fault: how it is made, and the kind that should be found."""

    name: str
    kind: str
    fault: Fault
    no_reference: bool = True
    """Whether it must also be found without the reference."""
    length: int | None = None
    """Frames; None: as many as the benchmark takes."""


INJECTIONS: tuple[Injection, ...] = (
    Injection("colour +6 L*", "colour", _lighter(6)),
    Injection("colour +15 L*", "colour", _lighter(15)),
    Injection("light 20 L* across", "light", _side_light),
    Injection("blur sigma 1", "soft", _blur(1)),
    Injection("blur sigma 3", "soft", _blur(3)),
    Injection("flicker 1 %", "flicker", _flicker(0.01)),
    Injection("flicker 5 %", "flicker", _flicker(0.05)),
    Injection("shift 1 px", "misaligned", _shift(1), no_reference=False),
    Injection("shift 3 px", "misaligned", _shift(3), no_reference=False),
    Injection("checkerboard 4 levels", "checkerboard", _checkerboard(4, 2)),
    Injection("hard edge", "edge", _hard),
    Injection("hole, black", "hole", _black),
    Injection("hole, not swapped", "hole", _unswapped_patch, no_reference=False),
    Injection("ghost 30 %", "ghost", _ghost, no_reference=False),
    Injection("jitter 1 px", "jitter", _jitter),
    Injection("popped 2 frames", "popped", _popped, length=2),
    Injection("frozen", "frozen", _frozen),
    Injection("missed 6 frames", "missed", _missed, length=6, no_reference=False),
    Injection("late lips 3 frames", "lips", _mouth_of(3), no_reference=False),
    Injection("mouth held", "expression", _mouth_of(None), no_reference=False),
    Injection("nose torn", "geometry", _torn((1, 2, 4, 5, 6), 0.22, (0.09, 0.03))),
    Injection("eye dropped", "geometry", _torn((33, 133, 159, 145), 0.2, (0.0, 0.08))),
    Injection("mouth crooked", "geometry", _torn((61, 291, 13, 14), 0.3, (0.05, 0.0), 14.0)),
    Injection("eyes dark", "hole", _dark_eyes, no_reference=False),
    Injection("turned 8 degrees", "pose", lambda scene, i, k: _moved(scene, i, np.zeros(2), 8.0), no_reference=False),
)
"""All faults that are injected."""


def load(clip: Path, cache: Path, first: int, count: int) -> Footage:
    """Frames first..first+count of a clip with the landmarks of its face, tracked once and cached."""
    from curate.extract.follow import follow
    from curate.footage.video import decode, probe

    stored = cache / f"{clip.stem}.npz"
    if not stored.is_file():
        found = follow(clip, None).rows
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(stored, frame=found["frame"], marks=np.stack(list(found["landmarks"])))
    with np.load(stored, allow_pickle=False) as held:
        marks = dict(zip(held["frame"].tolist(), held["marks"], strict=True))
    probed = probe(clip)
    frames = []
    for frame in decode(probed):
        if frame.index >= first + count:
            break
        if frame.index >= first:
            frames.append(frame.image)
    return Footage(clip.stem, probed.fps, frames, [marks.get(first + i) for i in range(len(frames))])
