"""SFace's plumbing on a made-up network of the same shape: its real weights are fetched only by those who ask for them.

The stand-in averages the blocks of a 4 x 4 grid over the chip, in eight ways.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.dataset.faceset import open_faceset
from curate.errors import WeightsError
from curate.extract.pipeline import Request, curate
from curate.face import weights as models
from curate.face.backends.sface import FIVE, SCALE, SIDE, SFaceIdentifier
from curate.face.pose68 import FIRST, MESH_OF_68
from curate.turntable import View, hopper, painted, render, truth, write_clip

GRID = 28
SHA = "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79"
TEMPLATE = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])
"""Where the five points of the networks trained on 112 x 112 pixels lie (ArcFace's)."""


def _field(number: int, content: int | bytes) -> bytes:
    """One field of a protocol buffer: a number, or bytes with their length."""
    if isinstance(content, int):
        return _number(number << 3) + _number(content)
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _number(value >> 7)


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_field(1, _field(1, side)) for side in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))


def onnx(kernel: np.ndarray) -> bytes:
    """An ONNX model (onnx.proto3): a convolution of `data` (1, 3, 112, 112) with (8, 3, 28, 28), flattened to 128."""
    sides = [
        _field(1, name.encode()) + _field(8, GRID) + _field(8, GRID) + _field(20, 7)
        for name in ("kernel_shape", "strides")
    ]
    conv = _field(1, b"data") + _field(1, b"w") + _field(2, b"blocks") + _field(4, b"Conv")
    conv += b"".join(_field(5, side) for side in sides)
    flat = _field(1, b"blocks") + _field(2, b"fc1") + _field(4, b"Flatten")
    weights = b"".join(_field(1, side) for side in kernel.shape) + _field(2, 1) + _field(8, b"w")
    weights += _field(9, np.ascontiguousarray(kernel, "<f4").tobytes())
    graph = _field(1, conv) + _field(1, flat) + _field(2, b"g") + _field(5, weights)
    graph += _field(11, _value("data", (1, 3, SIDE, SIDE))) + _field(12, _value("fc1", (1, 128)))
    return _field(1, 7) + _field(7, graph) + _field(8, _field(2, 11))


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[np.ndarray], SFaceIdentifier]:
    """A cache in which a network with weights (8, 3, 28, 28) is in the place of SFace's; the other weights are real."""
    real = [models.fetch(name) for name, weights in models.WEIGHTS.items() if not weights.choice]
    cache = tmp_path / "cache"
    cache.mkdir()
    for path in real:
        (cache / path.name).symlink_to(path)
    monkeypatch.setenv("FACESET_CACHE", str(cache))

    def put(kernel: np.ndarray) -> SFaceIdentifier:
        data = onnx(kernel)
        weights = replace(models.WEIGHTS[models.SFACE], sha256=hashlib.sha256(data).hexdigest())
        monkeypatch.setitem(models.WEIGHTS, models.SFACE, weights)
        (cache / models.SFACE).write_bytes(data)
        return SFaceIdentifier()

    return put


def grey(strength: float = 1.0) -> np.ndarray:
    """Means of the blocks, brightness taken out by differences between rows inside each block, in eight ways."""
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(8, 1, GRID, GRID))
    return strength * np.repeat(ways - ways.mean((2, 3), keepdims=True), 3, axis=1) / GRID**2


def test_vectors_have_one_length_whatever_the_network_gives(stand_in) -> None:
    image = render(hopper(), View(), (240, 240))
    landmarks = truth(hopper(), View(), (240, 240)).astype(np.float32)
    one, other = (stand_in(grey(strength)) for strength in (1, 9))
    vector = one.identify(one.chip(image, landmarks))
    assert vector.shape == (128,) and vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(SCALE, abs=1e-6)
    assert np.allclose(other.identify(other.chip(image, landmarks)), vector, atol=1e-6)
    # OpenCV says one person at a cosine of 0.363 and more
    assert SCALE * np.sqrt(2 - 2 * 0.363) == pytest.approx(0.6, abs=0.001)


def test_the_network_sees_red_first(stand_in) -> None:
    kernel = np.zeros((8, 3, GRID, GRID))
    kernel[:, 0] = 1
    red = np.zeros((SIDE, SIDE, 3), np.uint8)
    red[:56, :, 0], red[56:, :, 2] = 200, 200
    blocks = np.abs(stand_in(kernel).identify(red).reshape(8, 4, 4))
    assert blocks[:, :2].min() > 0.05 and blocks[:, 2:].max() < 1e-6


@pytest.mark.parametrize("points", [478, 68])
def test_the_five_points_come_where_the_network_has_them(stand_in, points: int) -> None:
    view = View(roll=12, scale=0.4, x=0.1)
    marks = truth(hopper(), view, (480, 480)).astype(np.float32)
    five = np.stack([marks[list(group), :2].mean(0) for group in FIVE])
    if points == 68:
        marks = np.concatenate([np.repeat(marks[:1], FIRST, axis=0), marks[list(MESH_OF_68)]])
    identifier = stand_in(grey())
    for (x, y), place in zip(five, TEMPLATE, strict=True):
        image = cv2.circle(np.zeros((480, 480, 3), np.uint8), (round(x), round(y)), 5, (255, 255, 255), -1)
        found = np.argwhere(identifier.chip(image, marks)[..., 0] > 127).mean(0)[::-1]
        assert np.abs(found - place).max() < 6


def test_a_faceset_is_made_with_it_and_its_subject_stays_the_subject(stand_in, tmp_path: Path) -> None:
    stand_in(grey())
    out, clips = tmp_path / "set", []
    for name, head, count in (("one", hopper(), 6), ("two", painted(), 12)):
        views = [View(yaw=2 * i) for i in range(count)]
        clips.append(str(write_clip(tmp_path / f"{name}.mp4", head, views, (240, 240), 25)))
    first = curate(Request((clips[0],), out, "A", "research", settings=(("identifier", "sface"),)))
    assert first.table["kept"].all() and open_faceset(out).anchor.identifier == "sface"
    assert open_faceset(out).settings.models[models.SFACE] == models.WEIGHTS[models.SFACE].sha256
    again = curate(Request((clips[0],), out, settings=(("identifier", "dlib"),)))
    assert again.table["kept"].all() and open_faceset(out).anchor.identifier == "dlib"
    assert set(open_faceset(out).settings.models) & {models.SFACE, models.IDENTITY} == {models.IDENTITY}
    both = curate(Request((clips[1],), out)).table
    assert both["kept"].groupby(both["clip"]).sum().to_dict() == {"one": 6, "two": 0}


def test_another_file_in_its_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESET_CACHE", str(tmp_path))
    monkeypatch.setattr(models, "_from_url", lambda weights: (_ for _ in ()).throw(models._NoSourceError("offline")))
    (tmp_path / models.SFACE).write_bytes(onnx(grey()))
    with pytest.raises(WeightsError, match=f"download the file from https://github.com/opencv/opencv_zoo.*{SHA}"):
        SFaceIdentifier()
