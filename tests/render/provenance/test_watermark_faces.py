"""Marks of an exported model: drawn in a face that moves and turns, composited, encoded, and read again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from curate.errors import MissingError
from curate.face.align import crop_matrix
from curate.face.mesh import canonical
from curate.types import Detection, Landmarks
from render.provenance import registry, verify, watermark_faces
from render.provenance.watermark import IN_FACES, Marker
from render.provenance.watermark_faces import find_in_faces

IDENTIFIER, COUNT, SIZE = 0x1A2B3C4D5E6F, 60, 128


def points(number: int) -> np.ndarray:
    """(478, 3) a face that wanders, grows and turns in the picture."""
    vertices = np.asarray(canonical().vertices, np.float64) * (11 + number / 40)
    turn = np.radians(number / 4)
    x = 240 + number + vertices[:, 0] * np.cos(turn) + vertices[:, 1] * np.sin(turn)
    y = 180 - vertices[:, 1] * np.cos(turn) + vertices[:, 0] * np.sin(turn)
    found = np.stack([x, y, -vertices[:, 2]], 1)
    return np.concatenate([found, np.repeat(found[:1], 478 - len(found), 0)]).astype(np.float32)


class Seen:
    """Detector and landmarker that know where the face is in each frame."""

    def __init__(self) -> None:
        self.number = -1

    def detect(self, image: np.ndarray) -> list[Detection]:
        self.number += 1
        x, y = points(self.number)[:, :2].min(0)
        width, height = np.ptp(points(self.number)[:, :2], axis=0)
        return [Detection(x, y, width, height, 0.9, np.array([[x, y], [x + width, y]]))]

    def landmark(self, image: np.ndarray, region: np.ndarray) -> Landmarks:
        return Landmarks(points(self.number), 0.9, None)


def composited(path: Path, marker: Marker | None, crf: int) -> Path:
    """A clip whose face went through the marker, as another program lays it in."""
    random = np.random.default_rng(0)
    still = np.clip(120 + cv2.GaussianBlur(random.normal(0, 40, (360, 480, 3)), (0, 0), 2), 0, 255)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 480, 360, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast"}
        for number in range(COUNT):
            frame = np.roll(still, number // 2, 1).astype(np.uint8)
            matrix = crop_matrix(points(number), "full", SIZE)
            crop = cv2.warpAffine(frame, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            face = crop if marker is None else marker.mark(crop)
            mask = np.zeros((SIZE, SIZE), np.float32)
            cv2.ellipse(mask, (SIZE // 2, SIZE // 2), (40, 52), 0, 0, 360, 1.0, -1)
            flags = cv2.WARP_INVERSE_MAP | cv2.INTER_CUBIC
            alpha = cv2.warpAffine(cv2.GaussianBlur(mask, (0, 0), 3), matrix, (480, 360), flags=flags)[..., None]
            whole = frame * (1 - alpha) + cv2.warpAffine(face, matrix, (480, 360), flags=flags) * alpha
            picture = np.clip(whole, 0, 255).round().astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


class Seen2(Seen):
    """Sees the face in the finished video a little larger and elsewhere, since the swap has another shape."""

    def landmark(self, image: np.ndarray, region: np.ndarray) -> Landmarks:
        self.number += 1
        found = points(self.number)
        middle = found.mean(0)
        return Landmarks(((found - middle) * 1.03 + middle + (2, -1.5, 0)).astype(np.float32), 0.9, None)


def found(path: Path, known: Sequence[int] = ()) -> list[int]:
    return [reading.identifier for reading in find_in_faces(path, known, Seen(), Seen2())]


def test_the_mark_of_a_model_is_read_in_the_face(tmp_path: Path) -> None:
    path = composited(tmp_path / "other.mp4", Marker(IDENTIFIER, SIZE, SIZE, response=IN_FACES), 18)
    (reading,) = find_in_faces(path, [7, IDENTIFIER], Seen(), Seen2())
    assert reading.identifier == IDENTIFIER and reading.score > 0.78 and reading.moved and reading.chance < 1e-6
    assert found(composited(tmp_path / "plain.mp4", None, 18), [7, IDENTIFIER]) == []


def test_verify_names_the_exported_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermark_faces, "LiteRTDetector", Seen)
    monkeypatch.setattr(watermark_faces, "LiteRTLandmarker", Seen2)
    identifier = registry.new_entry(
        title="her.dfm", subject="Ann", basis="release", model_sha256="", out="/her.dfm", model=True
    )
    path = composited(tmp_path / "other.mp4", Marker(identifier, SIZE, SIZE, response=IN_FACES), 18)
    said = verify.verify(path)
    assert said.state == "missing" and said.subject == "Ann" and said.watermarks[0].model
    assert "it carries the mark of a model exported here on" in said.reason and "as her.dfm" in said.reason


def test_faces_are_not_searched_without_an_exported_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "find_in_faces", lambda *_, **__: pytest.fail("searched"))
    registry.new_entry(title="a.mp4", subject="Ann", basis="release", model_sha256="", out="/a.mp4")
    assert verify.verify(composited(tmp_path / "plain.mp4", None, 23)).watermark is None


def test_without_the_models_nothing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingError("no model")

    monkeypatch.setattr(watermark_faces, "LiteRTDetector", missing)
    assert find_in_faces(composited(tmp_path / "plain.mp4", None, 23)) == ()
