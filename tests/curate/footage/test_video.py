from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from curate.errors import FootageError, UsageError
from curate.footage.paths import Footage, expand, parse_footage
from curate.footage.picture import matrix_of, to_rgb
from curate.footage.source import stamp
from curate.footage.video import decode, probe, segments


def level(image: np.ndarray) -> float:
    return float(image.mean())


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory, write_video, numbered_frames) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "n.mp4", numbered_frames(120), gop=25)


def test_probe_says_what_the_clip_is(clip_path: Path) -> None:
    clip = probe(clip_path)
    assert (clip.width, clip.height, clip.frames, clip.kind, clip.audio) == (96, 64, 120, "video", False)
    assert clip.fps == pytest.approx(25)
    assert clip.duration == pytest.approx(4.8)
    assert len(clip.sha256) == 64


def test_segments_are_cut_at_key_frames_and_cover_every_frame_once(clip_path: Path) -> None:
    parts = segments(probe(clip_path), 2.0)
    assert [len(s.pts) for s in parts] == [50, 70]  # 20 frames are too short a rest, they join the last
    assert [s.first_frame for s in parts] == [0, 50]


def test_a_segment_decodes_to_its_own_frames_with_exact_times(clip_path: Path) -> None:
    clip = probe(clip_path)
    seen = [f for s in segments(clip, 1.0) for f in decode(clip, s)]
    assert [f.index for f in seen] == list(range(120))
    assert [f.time for f in seen] == [Fraction(i, 25) for i in range(120)]
    assert [round((level(f.image) - 16) / 4) for f in seen] == [i % 50 for i in range(120)]


def test_variable_frame_rate_keeps_every_timestamp(tmp_path, write_video, numbered_frames) -> None:
    times = list(np.cumsum([7, 60, 24, 24, 150, 12, 12, 30, 24, 48]))
    clip = probe(write_video(tmp_path / "vfr.mkv", numbered_frames(10), [int(t) for t in times]))
    seen = list(decode(clip))
    gaps = np.diff([float(f.time) for f in seen])
    assert len(seen) == 10
    assert gaps == pytest.approx(np.diff(times) / 600, abs=0.0011)  # Matroska counts milliseconds


def test_rotation_metadata_turns_the_image_upright(tmp_path, write_video) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, :48] = 250  # left half bright
    turned = write_video(tmp_path / "turned.mp4", [image] * 3)
    _patch_matrix(turned)
    clip = probe(turned)
    frame = next(iter(decode(clip)))
    assert (clip.width, clip.height) == (64, 96)
    assert frame.image.shape == (96, 64, 3)
    # The matrix turns by 90 degrees clockwise: what was left comes to the top.
    assert frame.image[:40].mean() > 200 > 50 > frame.image[56:].mean()


def _patch_matrix(path: Path) -> None:
    """Write a 90 degree clockwise display matrix into the track header (ISO/IEC 14496-12)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one, neg = (1 << 16).to_bytes(4, "big"), (-(1 << 16)).to_bytes(4, "big", signed=True)
    zero = bytes(4)
    data[at : at + 36] = b"".join([zero, one, zero, neg, zero, zero, zero, zero, (1 << 30).to_bytes(4, "big")])
    path.write_bytes(data)


def test_ten_bit_input_is_read(tmp_path, write_video) -> None:
    with av.open(str(tmp_path / "ten.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p10le"
        stream.options = {"crf": "4", "preset": "ultrafast"}
        frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 140, np.uint8), format="rgb24")
        container.mux(stream.encode(frame.reformat(format="yuv420p10le")))
        container.mux(stream.encode())
    frame = next(iter(decode(probe(tmp_path / "ten.mkv"))))
    assert frame.image.dtype == np.uint8
    assert level(frame.image) == pytest.approx(140, abs=1.5)


@pytest.mark.parametrize(
    ("tag", "height", "name"), [(1, 480, "ITU709"), (2, 480, "ITU601"), (2, 720, "ITU709"), (9, 480, "BT2020")]
)
def test_the_matrix_follows_the_tag_then_the_height(tag: int, height: int, name: str) -> None:
    assert matrix_of(tag, height).name == name


def test_conversion_to_rgb_is_exact_to_one_level() -> None:
    ramp = np.repeat(np.arange(0, 256, 2, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    frame = av.VideoFrame.from_ndarray(ramp, format="rgb24").reformat(format="yuv444p", dst_colorspace="ITU601")
    assert np.abs(to_rgb(frame).astype(int) - ramp).max() <= 1


def test_a_damaged_packet_costs_its_frames_not_the_clip(tmp_path, clip_path: Path) -> None:
    data = bytearray(clip_path.read_bytes())
    at = data.index(b"mdat") + len(data) // 3
    data[at : at + 200] = bytes(200)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    clip = probe(broken)
    seen = [f.index for s in segments(clip, 1.0) for f in decode(clip, s)]
    assert clip.frames == 120
    assert 80 <= len(seen) <= 120
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("content", [b"this is no video\n" * 50, b"", b"\x00" * 4096])
def test_a_file_that_is_no_video_says_so(tmp_path, content: bytes) -> None:
    path = tmp_path / "fake.mp4"
    path.write_bytes(content)
    with pytest.raises(FootageError, match=r"fake\.mp4"):
        probe(path)


def test_a_file_cut_before_its_index_says_so(tmp_path, clip_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip_path.read_bytes()[:2000])
    with pytest.raises(FootageError, match=r"cut\.mp4"):
        probe(cut)


def test_photos_are_a_clip_of_single_frames(tmp_path) -> None:
    for name, value in (("b.png", 90), ("a.jpg", 30)):
        cv2.imwrite(str(tmp_path / name), np.full((40, 50, 3), value, np.uint8))
    (tmp_path / "note.txt").write_text("x")
    assert expand(Footage(tmp_path)) == [Footage(tmp_path)]
    clip = probe(tmp_path)
    assert (clip.kind, clip.frames, clip.fps) == ("photos", 2, 0.0)
    assert [round(level(f.image) / 10) for s in segments(clip, 30) for f in decode(clip, s)] == [3, 9]


def test_a_folder_gives_its_videos_and_sub_folders(tmp_path, clip_path: Path) -> None:
    (tmp_path / "day 1").mkdir()
    for target in (tmp_path / "z.mp4", tmp_path / "day 1" / "a.MOV"):
        target.write_bytes(clip_path.read_bytes())
    assert [f.path.name for f in expand(Footage(tmp_path))] == ["z.mp4", "a.MOV"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FootageError, match="neither videos nor photos"):
        expand(Footage(empty))
    with pytest.raises(UsageError, match="no such file"):
        expand(Footage(tmp_path / "missing.mp4"))


def test_a_range_limits_the_frames(clip_path: Path) -> None:
    footage = parse_footage(f"{clip_path}@00:01-2.5")
    assert (footage.start, footage.end) == (1.0, 2.5)
    clip = probe(footage.path, footage.start, footage.end)
    seen = [f.index for s in segments(clip, 1.0) for f in decode(clip, s)]
    assert seen == list(range(25, 63))
    with pytest.raises(UsageError, match="ends before"):
        parse_footage("x.mp4@3-2")
    with pytest.raises(UsageError, match="is not a time"):
        parse_footage("x.mp4@1.2.3-4")


def test_a_picture_that_cannot_be_made_is_footage_that_cannot_be_read(clip_path: Path, monkeypatch) -> None:
    def fails(frame: object) -> None:
        raise av.error.OSError(95, "Operation not supported")

    monkeypatch.setattr("curate.footage.picture.to_rgb", fails)
    monkeypatch.setattr("curate.footage.picture.luma_of", fails)
    frame = next(decode(probe(clip_path)))
    for name in ("image", "luma"):
        with pytest.raises(FootageError, match=r"n\.mp4: cannot be read"):
            getattr(frame, name)


def test_footage_that_was_moved_is_told_how_to_name_its_new_place(tmp_path) -> None:
    with pytest.raises(FootageError, match=r"no such file: if it was moved, .*faceset curate NEW_PLACE --out DIR"):
        stamp(tmp_path / "gone.mp4")
