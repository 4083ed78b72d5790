"""Frames and masks as files: their values, what they say of themselves, and going on after an interruption."""

from __future__ import annotations

import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.errors import MissingError, UsageError, WorkError
from curate.footage.picture import Colorspace
from render.output import exr
from render.output.footage_format import FootageFormat
from render.output.sequence import MaskWriter, SequenceWriter
from render.provenance.mp4_boxes import COMPOSITE, NOTICE, has_notice

LOOK = FootageFormat(Colorspace.ITU709, 1, 1, 1, 1, "yuv420p", Fraction(4, 3), 10)


@pytest.fixture
def frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)


@pytest.fixture
def mask() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (20, 30)).astype(np.float32)


def chunks(path: Path) -> list[tuple[bytes, bytes]]:
    """Kind and data of a PNG's chunks, each with a checksum that holds."""
    data, found = path.read_bytes()[8:], []
    while data:
        size = int.from_bytes(data[:4], "big")
        assert zlib.crc32(data[4 : 8 + size]) == int.from_bytes(data[8 + size : 12 + size], "big")
        found.append((data[4:8], data[8 : 8 + size]))
        data = data[12 + size :]
    return found


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("given", [np.uint8, np.uint16])
def test_a_png_holds_the_frame_and_straight_alpha(tmp_path, frame, mask, bits, alpha, given):
    image = frame if given == np.uint16 else (frame >> 8).astype(np.uint8)
    writer = SequenceWriter(tmp_path / "out", LOOK, bits=bits, with_alpha=alpha)
    writer.prepare()
    assert not writer.done(123)
    path = writer.write(123, image, mask)
    assert path.name == "frame_000123.png"
    assert writer.done(123)
    back = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    wanted = image.astype(float) / np.iinfo(given).max * (2**bits - 1)
    assert back.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert np.array_equal(back[..., 2::-1], np.rint(wanted))
    assert back.shape[2] == (4 if alpha else 3)
    if alpha:
        assert np.abs(back[..., 3] - mask * (2**bits - 1)).max() <= 0.51
    assert not [p for p in writer.folder.iterdir() if p.name.startswith(".")]


def test_a_frame_without_a_face_is_transparent(tmp_path, frame):
    writer = SequenceWriter(tmp_path, LOOK, with_alpha=True)
    back = cv2.imread(str(writer.write(0, frame)), cv2.IMREAD_UNCHANGED)
    assert not back[..., 3].any()
    assert np.array_equal(back[..., 2::-1], frame)


def test_a_png_says_what_it_is(tmp_path, frame):
    path = SequenceWriter(tmp_path, LOOK, title="Ann Ä <release>", creator="faceset 1").write(0, frame)
    assert has_notice(path)
    found = chunks(path)
    assert found[1:3] == [(b"cICP", bytes([1, 1, 0, 1])), (b"pHYs", b"\0\0\0\3\0\0\0\4\0")]
    texts = dict(data.split(bytes(5), 1) for kind, data in found if kind == b"iTXt")
    assert texts[b"Comment"].decode() == NOTICE
    assert texts[b"Title"].decode() == "Ann Ä <release>"
    packet = texts[b"XML:com.adobe.xmp"].decode()
    assert f'DigitalSourceType="{COMPOSITE}"' in packet
    assert "Ann Ä &lt;release&gt;" in packet
    unsaid = SequenceWriter(tmp_path, replace(LOOK, transfer=2, aspect=Fraction(0))).write(1, frame)
    assert {b"cICP", b"pHYs"}.isdisjoint(kind for kind, _ in chunks(unsaid))


@pytest.mark.parametrize("bits", [8, 16])
def test_the_mask_is_grey(tmp_path, mask, bits):
    writer = MaskWriter(tmp_path, bits, "Ann")
    path = writer.write(7, mask)
    assert path.name == "mask_000007.png"
    assert writer.done(7)
    assert not MaskWriter(tmp_path, 24 - bits).done(7)
    back = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert back.shape == (20, 30)
    assert np.abs(back - mask * (2**bits - 1)).max() <= 0.51
    assert has_notice(path)


def test_a_used_folder_needs_force_or_goes_on(tmp_path, frame):
    writer = SequenceWriter(tmp_path / "out", LOOK)
    writer.prepare()
    kept = writer.write(1, frame)
    other = writer.folder / "notes.txt"
    other.write_text("mine")
    draft = writer.folder / ".frame_000002.png.77.tmp"
    draft.write_bytes(b"half")
    with pytest.raises(UsageError, match="is not empty"):
        writer.prepare()
    writer.prepare(resume=True)
    assert kept.exists()
    assert not draft.exists()
    writer.prepare(force=True)
    assert not kept.exists()
    assert other.read_text() == "mine"


def test_what_is_cut_short_or_of_another_kind_is_not_done(tmp_path, frame):
    writer = SequenceWriter(tmp_path, LOOK)
    path = writer.write(1, frame)
    assert not SequenceWriter(tmp_path, LOOK, bits=8).done(1)
    assert not SequenceWriter(tmp_path, LOOK, with_alpha=True).done(1)
    path.write_bytes(path.read_bytes()[:-1])
    assert not writer.done(1)
    path.write_bytes(b"")
    assert not writer.done(1)


def test_wrong_calls_are_named(tmp_path, frame):
    with pytest.raises(UsageError, match="--frames-as tiff: must be png or exr"):
        SequenceWriter(tmp_path, LOOK, "tiff")
    with pytest.raises(UsageError, match="12 bits"):
        SequenceWriter(tmp_path, LOOK, bits=12)
    with pytest.raises(UsageError, match="EXR frames have 16"):
        SequenceWriter(tmp_path, LOOK, "exr", bits=8)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        SequenceWriter(tmp_path / "file", LOOK).prepare()
    with pytest.raises(WorkError, match="cannot be written"):
        SequenceWriter(tmp_path / "file", LOOK).write(0, frame)


def test_without_openexr_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "OpenEXR", None)
    with pytest.raises(MissingError, match=r"pip install 'faceset\[exr\]'"):
        SequenceWriter(tmp_path, LOOK, "exr")


@pytest.mark.parametrize(
    ("transfer", "value", "light"),
    [(1, 0.5, 0.2597), (2, 0.5, 0.2597), (1, 0.05, 0.0111), (13, 0.5, 0.2140), (4, 0.5, 0.2176), (8, 0.5, 0.5)],
)
def test_the_inverse_transfer(transfer, value, light):
    """Figures of BT.709-6 and IEC 61966-2-1."""
    table = exr.to_linear(transfer)
    assert table[round(value * 65535)] == pytest.approx(light, abs=2e-4)
    assert (table[0], table[-1]) == (0, pytest.approx(1, abs=1e-6))
    assert (np.diff(table) > 0).all()


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_has_no_linear_light_here(transfer):
    with pytest.raises(UsageError, match=f"characteristics {transfer}"):
        exr.check_transfer(transfer)


@pytest.mark.parametrize("alpha", [False, True])
def test_an_exr_holds_linear_light_premultiplied(tmp_path, frame, mask, alpha):
    openexr = pytest.importorskip("OpenEXR")
    writer = SequenceWriter(tmp_path, LOOK, "exr", with_alpha=alpha, title="Ann Ä", creator="faceset 1")
    path = writer.write(5, frame, mask)
    assert path.name == "frame_000005.exr"
    assert writer.done(5)
    assert not replace(writer, with_alpha=not alpha).done(5)
    first = path.read_bytes()
    assert writer.write(5, frame, mask).read_bytes() == first
    with openexr.File(str(path)) as file:
        header = dict(file.header())
        pixels = next(iter(file.channels().values())).pixels
    assert pixels.dtype == np.float16
    light = exr.to_linear(1)[frame]
    wanted = np.dstack([light * mask[..., None], mask]) if alpha else light
    assert np.allclose(pixels, wanted, rtol=2**-11, atol=1e-7)
    assert (header["comments"], header["digitalSourceType"]) == (NOTICE, COMPOSITE)
    assert header["title"] == "Ann Ä"
    assert header["pixelAspectRatio"] == pytest.approx(4 / 3)
    assert header["transferCharacteristics"].endswith("H.273 1")
