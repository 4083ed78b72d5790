"""Codecs and depths: what comes back, what is the same every time, what is refused."""

from __future__ import annotations

import itertools
import shlex
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from curate.errors import MissingError, UsageError
from curate.footage import depth, picture, video
from render.output import coding as codings
from render.output.coding import Coding, check_coding, coding_for
from render.output.encode import encoder
from render.output.footage_format import check_footage

SIZE = (96, 128)
TAGS = {"bt709": (1, 1, 1, 1), "bt601": (6, 6, 6, 1), "bt2020": (9, 14, 9, 1), "full": (1, 1, 1, 2), "none": None}


def smooth(count: int = 2, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """(H, W, 3) uint16: a gradient in all three colours, finer than 8 bits, within what Y'CbCr can hold."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [np.sin(x / 40), np.cos(y / 33), np.sin((x + y) / 50)]
    base = np.stack([0.47 + 0.35 * w for w in waves], axis=-1)
    return [np.rint((base + i / 500) * 65535).astype(np.uint16) for i in range(count)]


def encode(path: Path, frames: list[np.ndarray], footage: Path, coding: Coding) -> Path:
    height, width = frames[0].shape[:2]
    with encoder(path, width, height, Fraction(25), check_footage(footage, allow_hdr=True), coding) as write:
        for frame in frames:
            write(frame)
    return path


def codes(path: Path) -> list[np.ndarray]:
    """Y', Cb, Cr of the first frame as stored."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
        size = np.dtype(kind).itemsize
        return [
            np.frombuffer(p, kind).reshape(-1, p.line_size // size)[: p.height, : p.width].astype(int)
            for p in frame.planes
        ]


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS.keys())
@pytest.mark.parametrize("form", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_ten_bits_decoded_and_encoded_again_are_the_same_within_one_code(make_clip, tmp_path, codec, form, tags):
    like = make_clip(tmp_path / "like.mp4", [512, 1024], tags=tags, codec="", pix_fmt=form)
    coding = Coding(codec, crf=0, bits=10, preset="ultrafast")
    first = encode(tmp_path / "a.mp4", smooth(), like, coding)
    clip = video.probe(first)
    deep = [f.deep for f in video.decode(clip, depth=16)]
    second = encode(tmp_path / "b.mp4", deep, first, coding)
    for before, after in zip(codes(first), codes(second), strict=True):
        assert np.abs(before - after).max() <= 1
        assert np.abs(before - after).mean() < 0.05
    shown = check_footage(second, allow_hdr=True)
    wanted = check_footage(like, allow_hdr=True)
    said = wanted.range_tag or (1 if codec == "h265" else 0)  # HEVC that says nothing is limited
    assert replace(shown, bits=8) == replace(wanted, bits=8, range_tag=said)
    assert shown.bits == 10
    off = (deep[0].astype(float) - smooth()[0])[4:-4, 4:-4] / 64
    assert np.abs(off.mean((0, 1))).max() < 0.1, "no cast"
    assert np.abs(off).mean() < 0.6


@pytest.mark.parametrize(("form", "bits"), [("yuv444p10le", 10), ("yuv444p12le", 12), ("yuvj444p", 8), ("yuv444p", 8)])
@pytest.mark.parametrize("full", [False, True])
def test_deep_colours_follow_the_standard(form, bits, full):
    """White is 65535, black 0, and no colour is further off than what its own codes were rounded."""
    full = full or form.startswith("yuvj")
    rgb = np.random.default_rng(0).uniform(0.02, 0.98, (32, 32, 3)) * 65535
    rgb[0], rgb[1] = 65535, 0
    matrix = depth.to_yuv(picture.Colorspace.ITU709, full, bits)
    stored = np.rint((rgb @ matrix[:, :3].T + matrix[:, 3]) / (1 << 16 - bits)).clip(0, (1 << bits) - 1)
    frame = av.VideoFrame(32, 32, form)
    kind = np.uint8 if bits == 8 else np.uint16
    for index, plane in enumerate(frame.planes):
        rows = np.zeros((32, plane.line_size // np.dtype(kind).itemsize), kind)
        rows[:, :32] = stored[..., index]
        plane.update(rows.tobytes())
    frame.color_range, frame.colorspace = 2 if full else 1, 1
    deep = picture.to_deep(frame).astype(float)
    assert np.abs(deep - rgb).max() <= 1.7 * (1 << 16 - bits)
    assert set(np.unique(deep[0])) == {65535}
    assert set(np.unique(deep[1])) == {0}
    if bits == 8:
        assert np.abs(deep / 257 - picture.to_rgb(frame)).max() < 0.6


def test_deep_is_made_only_where_it_was_asked_for(make_clip, tmp_path):
    clip = video.probe(make_clip(tmp_path / "a.mp4", [512, 1024], codec=""))
    plain, deep = next(video.decode(clip)), next(video.decode(clip, depth=16))
    assert deep.deep.dtype == np.uint16
    assert np.array_equal(plain.image, deep.image)
    assert np.abs(deep.deep / 257 - deep.image).mean() < 0.35
    with pytest.raises(ValueError, match="depth of 8"):
        _ = plain.deep
    with pytest.raises(ValueError, match="depth 12"):
        next(video.decode(clip, depth=12))


@pytest.mark.parametrize("codec", ["prores", "prores4444"])
def test_prores_is_ten_bits_limited_range_with_the_tags(make_clip, tmp_path, codec):
    like = make_clip(tmp_path / "like.mp4", [512, 1024], tags=TAGS["full"], codec="")
    out = encode(tmp_path / "a.mov", smooth(), like, Coding(codec, bits=10))
    deep = next(video.decode(video.probe(out), depth=16)).deep.astype(float)
    off = (deep - smooth()[0])[4:-4, 4:-4] / 64
    assert np.abs(off.mean((0, 1))).max() < 0.3
    assert np.abs(off).mean() < 1.5
    shown = check_footage(out, allow_hdr=True)
    assert (shown.matrix_tag, shown.primaries, shown.transfer, shown.range_tag) == (1, 1, 1, 1)
    assert shown.pixel_format == ("yuv422p" if codec == "prores" else "yuv444p")


@pytest.mark.parametrize(
    "coding",
    [
        Coding(),
        Coding(threads=2),
        Coding("h265", preset="ultrafast"),
        Coding("h265", preset="ultrafast", bits=10, threads=2),
        Coding("prores", bits=10, threads=2),
    ],
    ids=lambda c: f"{c.codec}-{c.threads}",
)
def test_the_same_frames_give_the_same_bytes(make_clip, tmp_path, coding):
    like = make_clip(tmp_path / "like.mp4", [512, 1024], codec="")
    frames = [np.roll(smooth(1)[0], 3 * i, axis=1) for i in range(30)]
    frames = frames if coding.deep else [(f >> 8).astype(np.uint8) for f in frames]
    first, second = (encode(tmp_path / name, frames, like, coding) for name in ("a.mov", "b.mov"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("codec", "said"), [("h264", b"open_gop=0"), ("h265", b"no-open-gop")])
def test_groups_of_pictures_are_closed(make_clip, tmp_path, codec, said):
    """By the encoder's own words in the stream: x265 leaves them open unless told."""
    like = make_clip(tmp_path / "like.mp4", [512, 1024], codec="")
    out = encode(tmp_path / "a.mp4", smooth(1), like, Coding(codec, bits=10))
    assert said in out.read_bytes()


KINDS = {
    "odd": ((95, 127), "yuv444p", None),
    "full range": (SIZE, "yuvj420p", (1, 1, 1, 2)),
    "4:4:4": (SIZE, "yuv444p", None),
    "4:2:2": (SIZE, "yuv422p", None),
    "grey": (SIZE, "gray", None),
}


@pytest.mark.parametrize(("size", "form", "tags"), KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize(("codec", "bits"), [("h264", 8), ("h264", 10), ("h265", 8), ("h265", 10), ("prores", 10)])
def test_other_kinds_of_footage(make_clip, tmp_path, size, form, tags, codec, bits):
    """Decoded and encoded again, the picture is the same within two levels."""
    footage = make_clip(tmp_path / "a.mp4", [512, 1024], size=size, tags=tags, codec="", pix_fmt=form)
    clip = video.probe(footage)
    coding = Coding(codec, bits=bits, crf=4, preset="ultrafast")
    frames = list(video.decode(clip, depth=16))
    out = encode(tmp_path / "b.mov", [f.deep if coding.deep else f.image for f in frames], footage, coding)
    back = list(video.decode(video.probe(out)))
    off = np.stack([b.image.astype(float) - f.image for b, f in zip(back, frames, strict=True)])
    assert off.shape[1:3] == size
    assert np.abs(off).mean() < 1.2
    assert np.abs(off.mean((0, 1, 2))).max() < 0.6


def test_alpha_is_left_out(tmp_path, make_clip):
    frame = np.dstack([np.full(SIZE, v, np.uint8) for v in (200, 90, 40, 128)])
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "rgba"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgba")))
        container.mux(stream.encode())
    shown = next(video.decode(video.probe(tmp_path / "a.mov"), depth=16))
    assert np.array_equal(shown.image, frame[..., :3])
    assert np.array_equal(shown.deep, frame[..., :3].astype(np.uint16) * 257)
    assert check_footage(tmp_path / "a.mov").pixel_format == "yuv420p"


def test_the_bits_follow_the_footage(make_clip, tmp_path):
    footage_format = check_footage(make_clip(tmp_path / "a.mp4", [512, 1024], codec=""), allow_hdr=True)
    assert coding_for(footage_format).bits == 8
    assert coding_for(replace(footage_format, bits=10)).bits == 10
    assert coding_for(replace(footage_format, bits=12), codec="h265").bits == 10
    assert coding_for(replace(footage_format, bits=10), bits=8).bits == 8
    assert coding_for(footage_format, codec="prores").bits == 10


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"codec": "vp9"}, "--codec vp9: must be one of h264, h265, prores, prores4444"),
        ({"bits": 12}, "--bits 12: must be 8 or 10"),
        ({"codec": "prores", "bits": 8}, "ProRes has 10 bits"),
        ({"crf": 52}, "--crf 52"),
        ({"preset": "placebo"}, "--preset placebo"),
        ({"threads": 0}, "--threads 0"),
    ],
)
def test_a_wrong_coding_is_named(wrong, word):
    with pytest.raises(UsageError, match=word):
        Coding(**wrong)


def test_frames_of_the_wrong_depth_are_a_bug(make_clip, tmp_path):
    like = make_clip(tmp_path / "like.mp4", [512, 1024], codec="")
    with pytest.raises(ValueError, match="uint16, but 8 bits need uint8"):
        encode(tmp_path / "a.mp4", smooth(1), like, Coding())


def test_an_ffmpeg_without_the_encoder_is_named(tmp_path, monkeypatch):
    check_coding(Coding("h265"), tmp_path / "a.mp4")
    with pytest.raises(UsageError, match=r"can only be stored in \.mov; use --out .*a\.mov"):
        check_coding(Coding("prores", bits=10), tmp_path / "a.mp4")
    poor = tmp_path / "ffmpeg"
    poor.write_text("#!/bin/sh\necho ' V....D libx264  H.264'\n")
    poor.chmod(0o755)
    monkeypatch.setattr(codings.imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(poor))
    check_coding(Coding("h264"), tmp_path / "a.mp4")
    with pytest.raises(MissingError, match=r"--codec h265: .*ffmpeg has no encoder libx265; .*IMAGEIO_FFMPEG_EXE"):
        check_coding(Coding("h265"), tmp_path / "a.mp4")


def made(path: Path, *options: str, source: str = "testsrc2=size=128x96:rate=25:duration=0.4") -> Path:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-f", "lavfi", "-i", source]
    subprocess.run([*command, *options, str(path)], check=True)
    return path


def helped(error: UsageError) -> Path:
    """Runs the command that the message names; the file that it writes."""
    command = shlex.split(str(error).split("first: ")[1])
    assert command[0] == "ffmpeg"
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", *command[1:]], check=True)
    return Path(command[-1])


INTERLACED = {
    "h264": ("-vf", "tinterlace=interleave_top,fieldorder=tff", "-c:v", "libx264", "-flags", "+ildct+ilme"),
    "mpeg2": ("-vf", "tinterlace=interleave_top,fieldorder=tff", "-c:v", "mpeg2video", "-flags", "+ildct+ilme"),
    "prores": ("-vf", "tinterlace=interleave_top,fieldorder=tff", "-c:v", "prores_ks", "-flags", "+ildct"),
}


@pytest.mark.parametrize("options", INTERLACED.values(), ids=INTERLACED.keys())
def test_interlaced_footage_is_refused_and_the_command_helps(tmp_path, options):
    footage = made(tmp_path / "two fields.mov", *options)
    with pytest.raises(UsageError, match="is interlaced") as caught:
        check_footage(footage)
    assert check_footage(helped(caught.value)).pixel_format.startswith("yuv4")


@pytest.mark.parametrize(("transfer", "name"), [("smpte2084", "PQ"), ("arib-std-b67", "HLG")])
def test_hdr_footage_is_refused_and_the_command_helps(tmp_path, transfer, name):
    tags = f"setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc:range=limited"
    footage = made(
        tmp_path / "a.mp4", "-vf", f"format=yuv420p10le,{tags}", "-c:v", "libx265",
        "-x265-params", "log-level=error", "-tag:v", "hvc1",
    )  # fmt: skip
    with pytest.raises(UsageError, match=rf"is HDR \({name}\)") as caught:
        check_footage(footage)
    allowed = check_footage(footage, allow_hdr=True)
    assert allowed.hdr
    assert allowed.bits == 10
    sdr = check_footage(helped(caught.value))
    assert (sdr.hdr, sdr.transfer, sdr.matrix_tag) == (False, 1, 1)


def test_dolby_vision_is_refused_by_its_name(tmp_path):
    footage = made(tmp_path / "a.mp4", "-c:v", "libx265", "-x265-params", "log-level=error", "-tag:v", "hvc1")
    assert not check_footage(footage).hdr
    footage.write_bytes(footage.read_bytes().replace(b"hvc1", b"dvh1"))
    with pytest.raises(UsageError, match=r"is HDR \(Dolby Vision\)"):
        check_footage(footage)
    assert check_footage(footage, allow_hdr=True).bits == 8


def test_a_damaged_packet_at_the_start_is_passed_over(make_clip, tmp_path):
    footage = make_clip(tmp_path / "a.mp4", [512 * i for i in range(12)], codec="")
    whole = check_footage(footage)
    with av.open(str(footage)) as container:
        spot = next(p.pos for p in itertools.islice(container.demux(video=0), 3, None))
    data = bytearray(footage.read_bytes())
    data[spot : spot + 12] = b"\0\0\0\5" + b"\xff" * 8
    footage.write_bytes(data)
    assert check_footage(footage) == whole


def test_progressive_footage_passes_with_its_look(make_clip, tmp_path):
    footage = make_clip(tmp_path / "a.mp4", [512, 1024], tags=TAGS["bt709"], codec="")
    footage_format = check_footage(footage)
    assert (
        footage_format.matrix_tag,
        footage_format.primaries,
        footage_format.transfer,
        footage_format.bits,
        footage_format.hdr,
    ) == (1, 1, 1, 8, False)
    assert footage_format.pixel_format == "yuv420p"
