"""DeepFaceLab's and faceswap's files against readers written from the layout, which share nothing with ours."""

from __future__ import annotations

import ast
import json
import pickle
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.dataset.faceset import create
from curate.errors import UsageError, WorkError
from curate.exchange import dfl, faceswap, pak
from curate.exchange.importing import import_faceset
from curate.exchange.pictures import pictures, program_of
from curate.exchange.record import ForeignError
from curate.settings import Settings
from curate.types import Subject

POINTS = np.random.default_rng(0).uniform(100, 300, (68, 2))
BOX = (100.2, 90.0, 300.0, 310.7)


def picture(suffix: str, size: int = 96) -> bytes:
    image = np.random.default_rng(1).integers(0, 255, (size, size, 3), np.uint8)
    return cv2.imencode(suffix, cv2.GaussianBlur(image, (9, 9), 0))[1].tobytes()


def deepfacelab(data: bytes) -> tuple[dict, tuple[int, int, int]]:
    """What DeepFaceLab's loader takes from a JPEG, by its own way through it; raises where it would give up."""
    at, found, shape, order = 0, None, None, []
    while at < len(data):
        assert data[at] == 0xFF
        marker, at = data[at + 1], at + 2
        if marker in (0xD8, 0xD9):
            continue
        (length,) = struct.unpack(">H", data[at : at + 2])
        body, at = data[at + 2 : at + length], at + length
        order.append(marker)
        if marker == 0xE0:
            assert body[:4] == b"JFIF"
        if marker in (0xC0, 0xC2):
            _, height, width = struct.unpack(">BHH", body[:5])
            shape = (height, width, 3)
        if marker == 0xEF:
            found = pickle.loads(body)  # noqa: S301  # as it does
        if marker == 0xDA:
            at = data.index(b"\xff\xd9", at)
    assert found is not None and shape is not None and order.index(0xEF) == 1
    return found, shape


def test_deepfacelab_s_jpeg_is_read_as_it_reads_it() -> None:
    matrix = np.array([[0.5, -0.1, 3.0], [0.1, 0.5, -4.0]])
    raw = picture(".jpg")
    values = dfl.described(POINTS, matrix, "clip_000001.mp4", BOX)
    data = dfl.with_metadata(raw, values)
    found, shape = deepfacelab(data)
    assert shape == (96, 96, 3) and found["face_type"] == "whole_face" and found["source_filename"] == "clip_000001.mp4"
    assert np.array_equal(np.array(found["source_landmarks"]), POINTS), "exact"
    inside = np.array(found["source_landmarks"]) @ np.array(found["image_to_face_mat"])[:, :2].T + matrix[:, 2]
    assert np.allclose(np.array(found["landmarks"]), inside, atol=1e-9)
    assert found["source_rect"] == [100, 90, 300, 311]
    same = [cv2.imdecode(np.frombuffer(d, np.uint8), cv2.IMREAD_COLOR) for d in (raw, data)]
    assert np.array_equal(*same), "the picture is not coded again"
    assert dfl.metadata(data) == values
    twice = dfl.with_metadata(data, values | {"source_filename": "other"})
    assert deepfacelab(twice)[0]["source_filename"] == "other" and twice.count(b"\xff\xef") == data.count(b"\xff\xef")


def test_deepfacelab_s_own_dictionaries_are_read() -> None:
    theirs = {
        "face_type": "head",
        "landmarks": POINTS.tolist(),
        "source_filename": "00001.png",
        "source_rect": (1, 2, 3, 4),
        "source_landmarks": POINTS.astype("f4"),
        "image_to_face_mat": np.eye(2, 3),
        "xseg_mask": np.zeros((50, 1), np.uint8),
        "seg_ie_polys": {"polys": [{"type": 1, "pts": np.zeros((3, 2))}]},
    }
    raw, body = picture(".jpg"), pickle.dumps(theirs, 4)
    data = raw[:20] + b"\xff\xef" + struct.pack(">H", len(body) + 2) + body + raw[20:]
    record = dfl.record("a.jpg", dfl.metadata(data) or {})
    assert record.face_type == "head" and record.masks == ("xseg",) and record.source_file == "00001.png"
    assert np.allclose(record.landmarks, POINTS, atol=1e-4) and np.array_equal(record.matrix, np.eye(2, 3))
    for wrong in ({"landmarks": [[1, 2]]}, {"landmarks": "x"}, {"landmarks": [[np.nan] * 2] * 68}, {"source_rect": {}}):
        with pytest.raises(ForeignError, match=next(iter(wrong))):
            dfl.record("a.jpg", theirs | wrong)


@pytest.mark.parametrize("cut", [0, 1, 3, 10, 25, 200])
def test_damaged_jpegs_are_told(cut: int) -> None:
    data = dfl.with_metadata(picture(".jpg"), {"landmarks": POINTS.tolist()})
    with pytest.raises(ForeignError, match="JPEG"):
        dfl.metadata(data[:cut])


def test_metadata_too_long_for_a_segment_are_told() -> None:
    with pytest.raises(ForeignError, match="65533"):
        dfl.with_metadata(picture(".jpg"), {"a": "x" * 70_000})


def unpacked(path: Path) -> list[tuple[dict, bytes]]:
    """What DeepFaceLab's loader takes from a pack."""
    with path.open("rb") as f:
        (version,) = struct.unpack("Q", f.read(8))
        (size,) = struct.unpack("Q", f.read(8))
        assert version == 1
        configs = pickle.loads(f.read(size))  # noqa: S301  # as it does
        offsets = [struct.unpack("Q", f.read(8))[0] for _ in range(len(configs) + 1)]
        begin = f.tell()
        found = []
        for config, start, end in zip(configs, offsets, offsets[1:], strict=False):
            f.seek(begin + start)
            found.append((config, f.read(end - start)))
    return found


def test_a_pack_is_read_as_deepfacelab_reads_it(tmp_path) -> None:
    faces = []
    for name in ("b.jpg", "a.jpg"):
        values = dfl.described(POINTS + len(faces), np.eye(2, 3), f"{name}.png", BOX)
        faces.append((name, dfl.with_metadata(picture(".jpg", 64 + 32 * len(faces)), values), values))
    (tmp_path / "files").mkdir()
    for name, data, _ in faces:
        (tmp_path / "files" / name).write_bytes(data)
    pak.write(tmp_path / "faceset.pak", [tmp_path / "files" / name for name, _, _ in faces])
    for (config, data), (name, written, values) in zip(unpacked(tmp_path / "faceset.pak"), faces, strict=True):
        assert data == written and config["filename"] == name
        assert config["sample_type"] == 1 and config["face_type"] == 4 and config["person_name"] is None
        assert config["shape"] == deepfacelab(data)[1] and config["landmarks"] == values["landmarks"]
        assert config["source_filename"] == values["source_filename"]
    read = list(pictures(tmp_path, "dfl"))
    assert [p.name for p in read] == ["b.jpg", "a.jpg"] and [p.data for p in read] == [f[1] for f in faces]
    assert np.allclose(read[1].records[0].source_landmarks, POINTS + 1, atol=1e-4)


def pack(path: Path, configs: object, pictures_: list[bytes], protocol: int = 4) -> Path:
    """A pack as DeepFaceLab writes it: its last offset is counted from the file's beginning."""
    raw = configs if isinstance(configs, bytes) else pickle.dumps(configs, protocol)
    offsets = [sum(map(len, pictures_[:i])) for i in range(len(pictures_))]
    table = 16 + len(raw) + 8 * (len(pictures_) + 1)
    offsets.append(table + sum(map(len, pictures_)))
    head = struct.pack("<QQ", 1, len(raw)) + raw + struct.pack(f"<{len(offsets)}Q", *offsets)
    path.write_bytes(head + b"".join(pictures_))
    return path


def test_deepfacelab_s_own_pack_is_read_and_bad_names_are_left_out(tmp_path) -> None:
    names = ["ok.jpg", "../out.jpg", "/abs.jpg", "a\\b.jpg", "run.sh", "ok.jpg", "second.jpg"]
    data = dfl.with_metadata(picture(".jpg"), dfl.described(POINTS, np.eye(2, 3), "f.png", BOX))
    configs = [{"filename": n, "person_name": "jane" if n == "second.jpg" else None} for n in names]
    found = list(pictures(pack(tmp_path / "faceset.pak", configs, [data] * len(names)), "dfl"))
    assert [p.name for p in found if p.failure is None] == ["ok.jpg", "jane/second.jpg"]
    assert all(p.data == data for p in found if p.failure is None)
    assert [p.failure for p in found].count("its name in the pack is not a plain file name") == 3
    assert any("twice" in str(p.failure) for p in found) and any("no picture suffix" in str(p.failure) for p in found)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", r"os\.system"),
        (pickle.dumps({"a": 1}), "unknown form"),
        (pickle.dumps([{}] * 100), "ends within its index"),
        (b"", "index claims 0 bytes"),
    ],
)
def test_a_pack_that_is_none_is_told_with_its_name(tmp_path, raw, message) -> None:
    path = pack(tmp_path / "faceset.pak", raw, [])
    with pytest.raises(WorkError, match=rf"faceset\.pak: .*{message}"):
        list(pictures(path, "dfl"))
    path.write_bytes(struct.pack("<QQ", 1, 1 << 60) + b"x")
    with pytest.raises(WorkError, match="index claims 1152921504606846976 bytes"):
        list(pictures(path, "dfl"))
    path.write_bytes(b"PK\3\4" * 10)
    with pytest.raises(WorkError, match="not a DeepFaceLab pack"):
        list(pictures(path, "dfl"))


def faceswap_meta(data: bytes) -> dict:
    """What faceswap's reader takes from a PNG, by its own way: chunks up to the picture's data."""
    at = 8
    while True:
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        if kind == b"iTXt":
            key, value = body.split(b"\0", 1)
            assert key == b"faceswap"
            return ast.literal_eval(value[4:].decode("utf-8"))
        assert kind != b"IDAT", "the header is after the picture"
        at += 12 + length


def test_faceswap_s_png_is_read_as_it_reads_it() -> None:
    raw = picture(".png", 128)
    header = faceswap.described(POINTS, BOX, "face.png", ("clip_000001.mp4", 0, True, (720, 1280)))
    data = faceswap.with_header(raw, header)
    found = faceswap_meta(data)
    face, source = found["alignments"], found["source"]
    assert set(face) == {"x", "y", "w", "h", "landmarks_xy", "mask", "identity"}
    assert set(source) == {
        "alignments_version", "original_filename", "face_index", "source_filename", "source_is_video",
        "source_frame_dims",
    }  # fmt: skip
    assert np.array_equal(np.array(face["landmarks_xy"], "f4"), POINTS.astype("f4")), "exact"
    assert (face["x"], face["y"], face["w"], face["h"]) == (100, 90, 200, 221) and source["alignments_version"] > 2
    assert source["source_frame_dims"] == (720, 1280)
    for name, mask in face["mask"].items():
        size = mask["stored_size"]
        stored = np.frombuffer(zlib.decompress(mask["mask"]), np.uint8).reshape(size, size)
        inside = POINTS @ np.array(mask["affine_matrix"])[:, :2].T + np.array(mask["affine_matrix"])[:, 2]
        centre = np.clip(inside.mean(0).round().astype(int), 0, size - 1)
        assert stored[centre[1], centre[0]] == 255 and name in ("components", "extended")
        assert mask["stored_centering"] == "face" and mask["interpolator"] in (1, 3)
    same = [cv2.imdecode(np.frombuffer(d, np.uint8), cv2.IMREAD_COLOR) for d in (raw, data)]
    assert np.array_equal(*same)
    record = faceswap.record("face.png", faceswap.header(data) or {}, 128)
    assert np.array_equal(record.source_landmarks, POINTS.astype("f4")) and record.masks == ("components", "extended")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(kind: bytes, body: bytes) -> bytes:
    raw = picture(".png")
    return raw[:33] + chunk(kind, body) + raw[33:]


def test_other_ways_to_write_the_header_are_read() -> None:
    told = {"alignments": {"landmarks_xy": POINTS.tolist()}, "source": {"alignments_version": 1.0}}
    texts = {"tEXt": b"faceswap\0" + repr(told).encode(), "json": b"faceswap\0\0\0\0\0" + json.dumps(told).encode()}
    packed = b"faceswap\0\1\0en\0\0" + zlib.compress(repr(told).encode())
    for data in (
        with_chunk(b"tEXt", texts["tEXt"]), with_chunk(b"iTXt", texts["json"]), with_chunk(b"iTXt", packed),
    ):  # fmt: skip
        assert faceswap.header(data) == told
        assert faceswap.record("a.png", told, 96).face_type == "legacy"
    assert faceswap.header(with_chunk(b"tEXt", b"Author\0me")) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"__import__('os').system('true')", "not a dictionary of literals"),
        (b"(" * 5000, "not a dictionary of literals"),
        (b"[" * 5000, "not a dictionary of literals"),
        (b"{'alignments': 1}", "lacks alignments or source"),
        (b"\xff\xfe", "not a dictionary of literals"),
        (b"x" * (3 << 20), "the limit is 2097152"),
    ],
    ids=["code", "parentheses", "json", "form", "text", "long"],
)
def test_headers_are_never_evaluated(text: bytes, message: str) -> None:
    with pytest.raises(ForeignError, match=message):
        faceswap.header(with_chunk(b"iTXt", b"faceswap\0\0\0\0\0" + text))


def test_a_header_that_unfolds_beyond_bounds_is_refused() -> None:
    bomb = b"faceswap\0\1\0\0\0" + zlib.compress(b" " * (64 << 20))
    with pytest.raises(ForeignError, match="decompresses to more than 2097152"):
        faceswap.header(with_chunk(b"iTXt", bomb))


def test_alignments_files_tell_the_faces_of_frames(tmp_path) -> None:
    face = {"x": 1, "y": 2, "w": 3, "h": 4, "landmarks_xy": POINTS.astype("f4"), "mask": {"components": {}}}
    data = {"__meta__": {"version": 2.3}, "__data__": {"f1.png": {"faces": [face, face], "video_meta": {}}}}
    (tmp_path / "alignments.fsa").write_bytes(zlib.compress(pickle.dumps(data)))
    (tmp_path / "f1.png").write_bytes(picture(".png"))
    (tmp_path / "f2.png").write_bytes(picture(".png"))
    assert program_of(tmp_path) == "faceswap"
    first, second = pictures(tmp_path, "faceswap")
    assert len(first.records) == 2 and first.records[0].face_type == "frame"
    assert np.array_equal(first.records[0].landmarks, POINTS.astype("f4"))
    assert list(first.records[0].source_rect) == [1, 2, 4, 6]
    assert "no faceswap header" in str(second.failure)
    for raw, message in (
        (zlib.compress(b"cos\nsystem\n(S'true'\ntR."), r"os\.system"),
        (b"no zlib", "decompressed"),
        (zlib.compress(pickle.dumps(data))[:-9], "ends early"),
        (zlib.compress(pickle.dumps([1])), "no faces"),
    ):
        (tmp_path / "alignments.fsa").write_bytes(raw)
        failed = next(pictures(tmp_path, "faceswap"))
        assert failed.path.endswith("alignments.fsa")
        assert re.search(message, str(failed.failure))


def test_the_program_is_told_by_the_files(tmp_path) -> None:
    assert program_of(tmp_path) == "folder"
    (tmp_path / "a.png").write_bytes(picture(".png"))
    assert program_of(tmp_path) == "folder"
    header = faceswap.described(POINTS, BOX, "b.png", ("f.png", 0, False, (9, 9)))
    (tmp_path / "b.png").write_bytes(faceswap.with_header(picture(".png"), header))
    assert program_of(tmp_path) == "faceswap"
    (tmp_path / "a.jpg").write_bytes(dfl.with_metadata(picture(".jpg"), {}))
    assert program_of(tmp_path) == "dfl"
    with pytest.raises(UsageError, match="is a DeepFaceLab pack"):
        list(pictures(pack(tmp_path / "faceset.pak", [], []), "faceswap"))
    with pytest.raises(UsageError, match="must be a folder"):
        list(pictures(tmp_path / "a.jpg", "dfl"))


def test_a_picture_of_too_many_pixels_is_not_decoded(tmp_path) -> None:
    raw = picture(".png")
    head = raw[:16] + struct.pack(">II", 60_000, 60_000) + raw[24:29]
    (tmp_path / "a.png").write_bytes(head + struct.pack(">I", zlib.crc32(head[12:29])) + raw[33:])
    (tmp_path / "b.jpg").write_bytes(picture(".jpg").replace(b"\0\x60\0\x60", b"\xff\xf0\xff\xf0"))
    (tmp_path / "c.jpg").write_bytes(b"")
    (tmp_path / "d.bmp").write_bytes(b"BM no picture")
    reasons = [p.failure for p in pictures(tmp_path, "folder")]
    assert "60000 x 60000 pixels" in str(reasons[0]) and "65520 x 65520" in str(reasons[1])
    assert all("cannot be decoded" in str(reason) for reason in reasons[2:]) and len(reasons) == 4


def test_a_faceset_of_ours_is_not_imported(tmp_path: Path) -> None:
    ours = create(tmp_path / "ours", Subject("A", "self"), Settings()).folder
    with pytest.raises(UsageError, match=r"is a faceset of this program already: .* faceset merge"):
        import_faceset(ours, tmp_path / "out", "A", "self")
    assert not (tmp_path / "out").exists()
