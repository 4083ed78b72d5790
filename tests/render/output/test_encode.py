from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from curate.errors import FootageError, WorkError
from curate.footage import picture, video
from render.output import mux
from render.output.coding import Coding
from render.output.encode import encoder
from render.output.footage_format import check_footage


def pictures(count: int, height: int, width: int) -> list[np.ndarray]:
    """Saturated, but within what YUV can hold, smooth so that 4:2:0 loses little."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([120 + 90 * np.sin(x / 40), 120 + 90 * np.cos(y / 33), 120 + 90 * np.sin((x + y) / 50)], -1)
    return [np.clip(base + i, 0, 255).astype(np.uint8) for i in range(count)]


@pytest.mark.parametrize("size", [(96, 128), (720, 64)])
@pytest.mark.parametrize("tags", [None, (1, 1, 1, 1), (6, 6, 6, 1), (1, 1, 1, 2)])
def test_decoding_what_was_encoded_gives_the_colours_back(make_clip, tmp_path, size, tags):
    """The same matrix and range both ways, tagged or guessed: within a level on average, and no cast."""
    footage = make_clip(tmp_path / "a.mp4", [512, 1024, 1536], size=size, tags=tags, codec="")
    footage_format = check_footage(footage, allow_hdr=True)
    frames = pictures(3, *size)
    with encoder(tmp_path / "b.mp4", size[1], size[0], Fraction(25), footage_format, Coding(crf=1)) as write:
        for frame in frames:
            write(frame)
    back = [f.image.astype(int) for f in video.decode(video.probe(tmp_path / "b.mp4"))]
    off = np.stack([b - f for b, f in zip(back, frames, strict=True)])
    assert np.abs(off).mean() < 1
    assert np.abs(off.mean((0, 1, 2))).max() < 0.3


def test_the_wrong_matrix_would_be_seen(make_clip, tmp_path):
    footage = make_clip(tmp_path / "a.mp4", [512, 1024], tags=(1, 1, 1, 1), codec="")
    right = check_footage(footage, allow_hdr=True)
    wrong = replace(right, matrix=picture.Colorspace.ITU601)
    frame = pictures(1, 96, 128)[0]
    with encoder(tmp_path / "b.mp4", 128, 96, Fraction(25), wrong, Coding(crf=1)) as write:
        write(frame)
    back = next(video.decode(video.probe(tmp_path / "b.mp4"))).image
    assert np.abs(back.astype(int) - frame).mean() > 1.5


def test_an_encoder_that_fails_gives_its_reason(make_clip, tmp_path):
    footage = make_clip(tmp_path / "a.mp4", [512, 1024], codec="")
    footage_format = check_footage(footage, allow_hdr=True)
    with (
        pytest.raises(WorkError, match="encoder failed"),
        encoder(tmp_path / "none" / "b.mp4", 128, 96, Fraction(25), footage_format, Coding()) as write,
    ):
        for _ in range(500):
            write(np.zeros((96, 128, 3), np.uint8))


def test_a_frame_of_another_size_is_refused(make_clip, tmp_path):
    footage_format = check_footage(make_clip(tmp_path / "a.mp4", [512, 1024], codec=""), allow_hdr=True)
    with (
        pytest.raises(WorkError, match="128x96"),
        encoder(tmp_path / "b.mp4", 128, 96, Fraction(25), footage_format, Coding()) as write,
    ):
        write(np.zeros((90, 128, 3), np.uint8))


def test_the_look_of_what_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_text("text")
    with pytest.raises(FootageError):
        check_footage(tmp_path / "a.mp4", allow_hdr=True)


def test_packets_never_come_before_they_are_decoded(make_clip, tmp_path, uneven_times):
    """Decode times rise, none is after its presentation time, durations fill the gaps, sound is interleaved."""
    footage = make_clip(tmp_path / "a.mp4", uneven_times)
    encode(tmp_path / "v.mp4", footage, len(uneven_times))
    mux.mux([tmp_path / "v.mp4"], footage, tmp_path / "o.mp4", ".mp4", uneven_times, "note")
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.metadata["comment"] == "note"
        packets = [(p.stream.type, p.pts, p.dts) for p in container.demux() if p.size]
    kinds = [kind for kind, _, _ in packets]
    shown = [(pts, dts) for kind, pts, dts in packets if kind == "video"]
    assert [pts for pts, _ in shown] != sorted(pts for pts, _ in shown), "there are B-frames"
    assert all(dts <= pts for pts, dts in shown)
    assert all(a[1] < b[1] for a, b in itertools.pairwise(shown))
    assert sorted(pts for pts, _ in shown) == uneven_times
    assert kinds.index("audio") < len(kinds) // 4


def encode(path: Path, footage: Path, count: int) -> None:
    footage_format = check_footage(footage, allow_hdr=True)
    with encoder(path, 128, 96, Fraction(25), footage_format, Coding()) as write:
        for number in range(count):
            write(np.roll(pictures(1, 96, 128)[0], 3 * number, axis=1))


def test_a_lost_frame_is_an_error_not_a_shift(make_clip, tmp_path, uneven_times):
    footage = make_clip(tmp_path / "a.mp4", uneven_times)
    encode(tmp_path / "v.mp4", footage, len(uneven_times) - 1)
    with pytest.raises(WorkError, match="29 of 30"):
        mux.mux([tmp_path / "v.mp4"], footage, tmp_path / "o.mp4", ".mp4", uneven_times, "note")
