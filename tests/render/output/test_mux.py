"""Parts joined packet by packet: the same pictures, the footage's times, the footage's sound."""

from __future__ import annotations

import itertools
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from curate.errors import WorkError
from curate.footage import video
from render.output import mux
from render.output.coding import Coding
from render.output.encode import encoder
from render.output.footage_format import check_footage
from render.output.packets import join

BASE = Fraction(1, 12_800)
CODINGS = [
    Coding("h264"),
    Coding("h264", bits=10),
    Coding("h265", preset="veryfast"),
    Coding("h265", bits=10, preset="veryfast"),
    Coding("prores", bits=10),
    Coding("prores4444", bits=10),
]


def moving(number: int) -> np.ndarray:
    """(96, 128, 3) uint8: waves that move, and a corner whose level tells the number."""
    y, x = np.mgrid[:96, :128]
    waves = [np.sin((x + 5 * number) / 9), np.cos((y - 3 * number) / 7), np.sin((x + y) / 11)]
    image = np.stack([128 + 90 * w for w in waves], axis=-1)
    image[:16, :16] = 40 + 5 * (number % 40)
    return image.astype(np.uint8)


def write_parts(folder: Path, footage: Path, counts: list[int], coding: Coding, crf: int | None = None) -> list[Path]:
    """Frames 0, 1, 2 ... in parts of `counts` frames."""
    footage_format = check_footage(footage, allow_hdr=True)
    numbers = itertools.count()
    paths = []
    for index, count in enumerate(counts):
        paths.append(folder / f"part-{index}{coding.suffix}")
        with encoder(paths[-1], 128, 96, Fraction(25), footage_format, coding) as write:
            for number in itertools.islice(numbers, count):
                image = moving(number)
                write(image.astype(np.uint16) * 257 if coding.deep else image)
    return paths


def planes(path: Path) -> list[bytes]:
    """The decoded pictures, as stored."""
    with av.open(str(path)) as container:
        return [b"".join(bytes(p) for p in frame.planes) for frame in container.decode(video=0)]


def times_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


@pytest.mark.parametrize("coding", CODINGS, ids=lambda c: f"{c.codec}-{c.bits}")
def test_the_joined_video_is_its_parts_one_after_the_other(make_clip, tmp_path, uneven_times, coding):
    footage = make_clip(tmp_path / "a.mp4", uneven_times)
    parts = write_parts(tmp_path, footage, [11, 1, 1, 17], coding)
    out = tmp_path / f"o{coding.suffix}"
    mux.mux(parts, footage, out, coding.suffix, uneven_times, "note")
    assert planes(out) == [picture for part in parts for picture in planes(part)]
    assert times_of(out) == [time * BASE for time in uneven_times]
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        packets = [(p.pts, p.dts) for p in container.demux(stream) if p.size]
        assert stream.codec_context.codec_tag == {"h264": "avc1", "h265": "hvc1"}.get(
            coding.codec, "apch" if coding.codec == "prores" else "ap4h"
        )
    assert all(dts <= pts for pts, dts in packets)
    assert all(a[1] < b[1] for a, b in itertools.pairwise(packets))
    if not coding.prores:
        assert [pts for pts, _ in packets] != sorted(pts for pts, _ in packets), "there are B-frames"


def test_times_that_do_not_begin_at_0_and_frames_found_by_seeking(make_clip, tmp_path):
    times = [90_000 + 512 * i for i in range(30)]
    footage = make_clip(tmp_path / "a.mp4", times)
    parts = write_parts(tmp_path, footage, [10, 10, 10], Coding(crf=8))
    mux.mux(parts, footage, tmp_path / "o.mp4", ".mp4", times, "note")
    clip = video.probe(tmp_path / "o.mp4")
    segments = video.segments(clip, 0.1)
    assert [s.first_frame for s in segments] == [0, 10, 20]
    seen = [(f.index, f.pts, f.image) for s in reversed(segments) for f in video.decode(clip, s)]
    assert sorted(pts for _, pts, _ in seen) == times
    for index, _, image in seen:
        assert abs(float(image[4:12, 4:12].mean()) - (40 + 5 * index)) < 2.5


def test_a_part_of_another_coding_is_refused(make_clip, tmp_path, uneven_times):
    footage = make_clip(tmp_path / "a.mp4", uneven_times)
    (tmp_path / "x").mkdir()
    first = write_parts(tmp_path, footage, [3], Coding())
    second = write_parts(tmp_path / "x", footage, [3], Coding(preset="ultrafast"))
    with pytest.raises(WorkError, match="codec header"):
        join(first + second)


def test_a_broken_part_is_named(make_clip, tmp_path, uneven_times):
    footage = make_clip(tmp_path / "a.mp4", uneven_times)
    parts = write_parts(tmp_path, footage, [3, 3], Coding())
    assert len(join(parts[1:]).order) == 3
    parts[1].write_bytes(parts[1].read_bytes()[:500])
    for broken in (parts[1], tmp_path / "none.mp4"):
        with pytest.raises(WorkError, match=broken.name):
            join([broken])
    with pytest.raises(WorkError, match=r"part-1\.mp4.*delete it"):
        join(parts)


def test_a_part_that_begins_in_the_middle_is_refused(make_clip, tmp_path, uneven_times):
    footage = make_clip(tmp_path / "a.mp4", uneven_times)
    whole = write_parts(tmp_path, footage, [6], Coding())[0]
    with av.open(str(whole)) as source, av.open(str(tmp_path / "cut.mp4"), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in list(source.demux(video=0))[1:]:
            if packet.size:
                packet.stream = stream
                container.mux_one(packet)
    with pytest.raises(WorkError, match="key frame"):
        join([tmp_path / "cut.mp4"])


def sound(path: Path) -> tuple[int, np.ndarray]:
    """The first sample's number in presentation time, and the samples, as a player hears them."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        start = frames[0].pts * frames[0].time_base * frames[0].sample_rate
        return round(start), np.concatenate([f.to_ndarray()[0] for f in frames])


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_of_a_range_stays_in_sync(make_chirp, tmp_path, codec):
    """Sample for sample what is heard from the first frame's time on, to within a packet at the end."""
    times = [512 * i for i in range(75)]
    footage = make_chirp(tmp_path / f"a{'.mp4' if codec == 'aac' else '.mov'}", times, codec)
    parts = write_parts(tmp_path, footage, [8, 12], Coding())
    out = tmp_path / f"o{footage.suffix}"
    mux.mux(parts, footage, out, footage.suffix, times[30:50], "note", span=(30, 49))
    assert times_of(out) == [Fraction(i, 25) for i in range(20)]
    began, whole = sound(footage)
    start, heard = sound(out)
    first = round(Fraction(30, 25) * 48_000)
    assert -1024 <= start <= 0
    shown = heard[-start:]
    assert 20 * 1920 <= len(shown) <= 20 * 1920 + 1024
    wanted = whole[first - began :][: len(shown)]
    # A shift by one sample would be off by far more than what the decoder's memory leaves.
    assert np.abs(shown - wanted).max() <= 1e-3 * np.abs(whole).max()
    assert np.abs(shown[1:] - wanted[:-1]).max() > 0.05 * np.abs(whole).max()


def test_a_range_of_uneven_times_begins_at_0_and_ends_where_the_next_frame_would(make_clip, tmp_path, uneven_times):
    footage = make_clip(tmp_path / "a.mp4", uneven_times)
    parts = write_parts(tmp_path, footage, [1, 9], Coding())
    times = uneven_times[5:15]
    mux.mux(parts, footage, tmp_path / "o.mp4", ".mp4", times, "note", span=(5, 14))
    assert times_of(tmp_path / "o.mp4") == [(time - times[0]) * BASE for time in times]
    with av.open(str(tmp_path / "o.mp4")) as container:
        last = max((p for p in container.demux(video=0) if p.size), key=lambda p: p.pts)
        assert (last.pts + last.duration) * last.time_base == (uneven_times[15] - times[0]) * BASE


@pytest.fixture
def make_chirp():
    """A function that writes footage whose sound rises in pitch, so that every moment sounds different."""

    def make(path: Path, times: list[int], codec: str) -> Path:
        with av.open(str(path), "w", container_options={"video_track_timescale": "12800"}) as container:
            stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
            stream.codec_context.time_base = BASE
            audio = container.add_stream(codec, rate=48_000, layout="mono")
            for number, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(moving(number), format="rgb24")
                frame.pts, frame.time_base = time, BASE
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            clock = np.arange(3 * 48_000) / 48_000
            wave = (9000 * np.sin(2 * np.pi * (200 + 300 * clock) * clock)).astype(np.int16)
            for start in range(0, len(wave), 1000):
                frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1000], format="s16", layout="mono")
                frame.sample_rate, frame.pts = 48_000, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
        return path

    return make


def test_subtitles_of_a_range_are_shortened_to_it(make_clip, tmp_path):
    times = [512 * i for i in range(75)]
    plain = make_clip(tmp_path / "plain.mp4", times)
    spoken = [("00:00:00,200", "00:00:00,800", "early"), ("00:00:01,000", "00:00:01,600", "across")]
    spoken += [("00:00:01,700", "00:00:02,900", "late")]
    lines = [f"{i}\n{a} --> {b}\n{text}\n" for i, (a, b, text) in enumerate(spoken, 1)]
    (tmp_path / "s.srt").write_text("\n".join(lines))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", plain, "-i", tmp_path / "s.srt"]
    footage = tmp_path / "a.mp4"
    subprocess.run([*command, "-c", "copy", "-c:s", "mov_text", "-map", "0", "-map", "1", footage], check=True)
    parts = write_parts(tmp_path, footage, [20], Coding())
    mux.mux(parts, footage, tmp_path / "o.mp4", ".mp4", times[30:50], "note", span=(30, 49))
    with av.open(str(tmp_path / "o.mp4")) as container:
        packets = [p for p in container.demux(subtitles=0) if p.size > 2]
        shown = [(bytes(p)[2:].decode(), float(p.pts * p.time_base), float(p.duration * p.time_base)) for p in packets]
    assert [text for text, _, _ in shown] == ["across", "late"]
    assert [start for _, start, _ in shown] == pytest.approx([0.0, 0.5], abs=0.002)
    assert [length for _, _, length in shown] == pytest.approx([0.4, 0.3], abs=0.002)


def test_what_the_muxer_refuses_is_one_line(make_clip, tmp_path, monkeypatch):
    footage = make_clip(tmp_path / "a.mp4", [0, 24, 48])
    parts = write_parts(tmp_path, footage, [3], CODINGS[0])
    real = mux._video_packets

    def backwards(*given):
        for number, packet in enumerate(real(*given)):
            packet.dts -= 1000 * number
            yield packet

    monkeypatch.setattr(mux, "_video_packets", backwards)
    with pytest.raises(WorkError) as caught:
        mux.mux(parts, footage, tmp_path / "o.mp4", ".mp4", [0, 24, 48], "note")
    assert "\n" not in str(caught.value) and "a.mp4" in str(caught.value) and ".mov" in str(caught.value)
