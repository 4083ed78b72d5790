"""Files as people have them: every frame of every container, whatever its timestamps, seeks and headers say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from curate.errors import FootageError, UsageError
from curate.extract.intake import free_name, probe_all, storable
from curate.footage import cube, photos, picture, video
from curate.footage.flat import NOTE as LOOKS_LOG
from curate.footage.paths import Footage, expand
from curate.footage.picture import View
from curate.footage.reader import Account, Reader, packed, unpacked
from curate.footage.sizes import sizes
from curate.footage.timeline import timeline
from curate.srgb import encoded8
from curate.types import Clip, Frame

COUNT = 60
SIZE = (64, 96)


def ffmpeg(*arguments: object) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-v", "error", *map(str, arguments)]
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Lossless frames whose level tells their number: 20 + 3 * number, with something that moves."""
    path = tmp_path_factory.mktemp("pictures") / "p.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(COUNT):
            image = np.full((*SIZE, 3), 20 + 3 * number, np.uint8)
            image[40:56, number : number + 16] = 120
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def make(pictures: Path, tmp_path_factory) -> Callable[..., Path]:
    """A function that writes the pictures by ffmpeg, with these options."""

    def made(name: str, *options: str) -> Path:
        path = tmp_path_factory.mktemp("files") / name
        ffmpeg("-i", pictures, *options, path)
        return path

    return made


def number(frame: Frame) -> int:
    """The frame's number by its level."""
    return round((float(frame.image[:32].mean()) - 20) / 3)


def numbers(path: Path, seconds: float = 0.5) -> list[tuple[int, int]]:
    """(index, number shown) of all frames, segment by segment."""
    clip = video.probe(path)
    return [(f.index, number(f)) for s in video.segments(clip, seconds) for f in video.decode(clip, s)]


X264 = ("-c:v", "libx264", "-g", "12", "-bf", "3", "-preset", "veryfast", "-crf", "12", "-sc_threshold", "0")
FILES = {
    "mp4": ("a.mp4", *X264),
    "open gop": ("a.mp4", *X264, "-x264-params", "open-gop=1"),
    "mkv": ("a.mkv", *X264),
    "ts": ("a.ts", *X264),
    "mts": ("a.mts", *X264, "-f", "mpegts", "-mpegts_m2ts_mode", "1"),
    "ts, intra refresh": ("a.ts", *X264[:4], "-bf", "0", "-x264-params", "intra-refresh=1", "-crf", "12"),
    "mpg": ("a.mpg", "-c:v", "mpeg2video", "-g", "12", "-bf", "2", "-q:v", "2"),
    "vob": ("a.vob", "-c:v", "mpeg2video", "-g", "12", "-bf", "2", "-q:v", "2", "-f", "vob"),
    "avi, b-frames": ("a.avi", *X264),
    "avi, mpeg4": ("a.avi", "-c:v", "mpeg4", "-g", "40", "-bf", "2", "-q:v", "2"),
    "h264": ("a.h264", *X264),
    "hevc": ("a.hevc", "-c:v", "libx265", "-x265-params", "log-level=error:keyint=12:bframes=3", "-crf", "12"),
    "flv": ("a.flv", *X264),
    "wmv": ("a.wmv", "-c:v", "wmv2", "-q:v", "2", "-g", "12"),
    "webm, hidden frames": ("a.webm", "-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-crf", "6",
                            "-b:v", "2M", "-g", "20"),
    "mxf": ("a.mxf", "-c:v", "mpeg2video", "-g", "12", "-bf", "2", "-q:v", "2"),
    "mjpeg": ("a.avi", "-c:v", "mjpeg", "-q:v", "2"),
}  # fmt: skip


@pytest.mark.parametrize("options", FILES.values(), ids=FILES.keys())
def test_every_frame_is_read_once_whatever_the_container(make, options) -> None:
    path = make(*options)
    assert numbers(path) == [(i, i) for i in range(COUNT)]
    clip = video.probe(path)
    assert (clip.frames, clip.announced, clip.notes) == (COUNT, COUNT, ())
    steps = np.diff([float(f.time) for f in video.decode(clip)])
    assert steps == pytest.approx(1 / 25, abs=0.002)


def test_a_seek_to_any_frame_gives_that_frame(make) -> None:
    path = make("a.ts", *X264)
    clip, line = video.probe(path), timeline(path)
    for first in range(0, COUNT - 2, 5):
        shown = [number(f) for f in video.decode(clip, video.span(clip, line, first, first + 2))]
        assert shown == [first, first + 1]


def test_the_decoder_is_shown_the_first_packet_before_a_seek(make, monkeypatch) -> None:
    """Older x264 wrote only there that its CAVLC 4:4:4 streams have to be read in another way."""
    path = make("a.mp4", *X264, "-pix_fmt", "yuv444p", "-profile:v", "high444", "-coder", "0")
    data = path.read_bytes()
    at = data.index(b"x264 - core ")
    old = data[:at] + b"x264 - core 142" + data[at + 15 :]
    path.write_bytes(old)
    clip = video.probe(path)
    whole = {f.pts: f.luma.copy() for f in video.decode(clip)}
    for segment in video.segments(clip, 0.5):
        for frame in video.decode(clip, segment):
            assert np.array_equal(frame.luma, whole[frame.pts])


def test_timestamps_that_start_again_continue(make, tmp_path) -> None:
    one = make("a.ts", *X264)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() * 2)
    clip = video.probe(joined)
    assert clip.frames == 2 * COUNT
    assert numbers(joined) == [(i, i % COUNT) for i in range(2 * COUNT)]
    assert "timestamps start again at 2.40 s" in clip.notes[0]
    times = [float(f.time) for f in video.decode(clip)]
    assert np.diff(times) == pytest.approx(1 / 25, abs=0.001)


def test_a_short_stream_file_that_is_cut_short_says_so_too(make, tmp_path) -> None:
    data = make("a.mkv", *X264).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) * 6 // 10])
    clip = video.probe(cut)
    assert clip.frames < 0.7 * COUNT and clip.announced == pytest.approx(COUNT, abs=1)
    assert "cut short" in clip.notes[0]


def test_a_file_that_is_cut_short_says_how_much_is_missing(make, tmp_path) -> None:
    path = make("a.mp4", *X264, "-movflags", "+faststart")
    data = path.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 6 // 10])
    clip = video.probe(cut)
    assert clip.frames < COUNT == clip.announced
    assert "cut short" in clip.notes[0]
    assert str(COUNT - clip.frames) in clip.notes[0]


def test_a_packet_that_is_cut_costs_only_its_own_frame(make, tmp_path) -> None:
    path = make("a.mp4", *X264, "-movflags", "+faststart")
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    known = [max(p.pts for p in packets[: n + 1]) for n in range(len(packets))]
    waited = next(n for n, p in enumerate(packets) if n > 30 and p.pts < known[n])
    cut, last = tmp_path / "cut.mp4", packets[waited]
    cut.write_bytes(path.read_bytes()[: last.pos + last.size // 2])
    clip, account = video.probe(cut), Account()
    (segment,) = video.segments(clip, 30)
    assert len(segment.pts) == waited + 1
    read = [f.pts for f in video.decode(clip, segment, account=account)]
    assert read == sorted(p.pts for p in packets[:waited])
    assert [(gap.frames, gap.damaged) for gap in account.gaps] == [(1, True)]


def test_damaged_frames_are_told_by_their_time(make, tmp_path) -> None:
    path = make("a.mp4", *X264)
    with av.open(str(path)) as container:
        spots = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for start, size in spots[26:30]:
        data[start : start + size] = b"\xff" * size
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    clip = video.probe(broken)
    gaps, decoded = [], 0
    for segment in video.segments(clip, 0.5):
        account = Account()
        list(video.decode(clip, segment, account=account))
        gaps += unpacked(packed(account)).gaps
        decoded += account.decoded
    assert 4 <= sum(g.frames for g in gaps) < 12
    assert decoded + sum(g.frames for g in gaps) == clip.frames == COUNT
    assert all(g.damaged and 0.96 < g.first <= g.last < 1.48 for g in gaps)


def matrix(path: Path, values: tuple[int, ...]) -> Path:
    """The MP4 with another display matrix (a, b, c, d) in its track's header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = ((v << 16).to_bytes(4, "big", signed=True) for v in values)
    data[at : at + 36] = b"".join([a, b, bytes(4), c, d, bytes(12), (1 << 30).to_bytes(4, "big")])
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 0, 0, 1), lambda i: i),
        ((0, 1, -1, 0), lambda i: np.rot90(i, -1)),
        ((-1, 0, 0, -1), lambda i: np.rot90(i, 2)),
        ((0, -1, 1, 0), lambda i: np.rot90(i, 1)),
        ((-1, 0, 0, 1), lambda i: i[:, ::-1]),
        ((1, 0, 0, -1), lambda i: i[::-1]),
        ((0, 1, 1, 0), lambda i: i.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda i: np.rot90(i, 2).transpose(1, 0, 2)),
    ],
)
def test_all_eight_display_matrices_turn_and_mirror(make, values, expected) -> None:
    """x' = a x + c y, y' = b x + d y, as ISO/IEC 14496-12 has it."""
    path = make("a.mp4", "-frames:v", "1", "-c:v", "libx264", "-qp", "1")
    plain = next(video.decode(video.probe(path))).image
    clip = video.probe(matrix(path, values))
    shown = next(video.decode(clip)).image
    assert np.abs(shown.astype(int) - expected(plain)).max() <= 1
    assert (clip.height, clip.width) == shown.shape[:2]


def test_pixels_that_are_not_square_are_stretched_for_faces_and_kept_for_rendering(make) -> None:
    clip = video.probe(make("a.mp4", *X264, "-vf", "setsar=2/1"))
    assert (clip.width, clip.height) == (192, 64)
    assert "96x64 is read as 192x64" in clip.notes[0]
    frame = next(video.decode(clip))
    assert frame.image.shape == (64, 192, 3)
    assert frame.luma.shape == (64, 192)
    stored = next(video.decode(clip, view=View(square=False)))
    assert stored.image.shape == (64, 96, 3)
    assert stored.square == (2.0, 1.0)
    tall = video.probe(make("b.mp4", *X264, "-vf", "setsar=8/9"))
    assert (tall.width, tall.height) == (96, 72), "nothing is lost: the other direction is stretched"


def test_interlaced_footage_is_deinterlaced_on_reading(tmp_path) -> None:
    source = "testsrc2=size=128x96:rate=50:duration=1,tinterlace=interleave_top,fieldorder=tff"
    path = tmp_path / "i.mp4"
    ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-flags", "+ildct+ilme", "-crf", "8", path)
    clip = video.probe(path)
    assert "deinterlaced" in clip.notes[0]

    def combing(view: View | None) -> float:
        rows = [f.luma.astype(float) for f in video.decode(clip, view=view)]
        assert len(rows) == 25
        return float(np.mean([np.abs(r[1:-1] - (r[:-2] + r[2:]) / 2).mean() for r in rows]))

    assert combing(None) < 0.8 * combing(View(progressive=False))
    segments = video.segments(clip, 0.3)
    assert [f.index for s in segments for f in video.decode(clip, s)] == list(range(25))


def test_nothing_is_asked_of_a_container_that_is_closed(tmp_path, monkeypatch) -> None:
    """The deinterlacer gives its last pictures after the last frame was read."""
    source = "testsrc2=size=64x48:rate=50:duration=0.4,tinterlace=interleave_top,fieldorder=tff"
    path = tmp_path / "i.mp4"
    ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-flags", "+ildct+ilme", path)
    clip, read, account = video.probe(path), Reader.frames, Account()

    def closed(reader: Reader) -> Iterator[tuple[int, object]]:
        yield from read(reader)
        reader.stream = None

    monkeypatch.setattr(Reader, "frames", closed)
    assert len(list(video.decode(clip, account=account))) == clip.frames == account.decoded


HDR = "setparams=color_primaries=bt2020:color_trc={}:colorspace=bt2020nc:range=limited"


@pytest.mark.parametrize(("transfer", "kind"), [("arib-std-b67", "HLG"), ("smpte2084", "PQ")])
def test_hdr_becomes_sdr(tmp_path, transfer, kind) -> None:
    path = tmp_path / "h.mp4"
    source = "gradients=size=128x96:c0=black:c1=white:x0=0:x1=128:y0=0:y1=0:duration=0.2:nb_colors=2"
    ffmpeg("-f", "lavfi", "-i", source, "-vf", f"format=yuv420p10le,{HDR.format(transfer)}",
           "-c:v", "libx265", "-crf", "4", "-x265-params", "log-level=error", path)  # fmt: skip
    clip = video.probe(path)
    assert f"HDR ({kind})" in clip.notes[0]
    mapped = next(video.decode(clip)).image.astype(int)
    stored = next(video.decode(clip, view=View(sdr=False))).image.astype(int)
    assert np.abs(mapped - mapped.mean(axis=2, keepdims=True)).max() <= 6, "grey stays grey"
    assert not np.array_equal(mapped, stored)
    deep = next(video.decode(clip, depth=16)).deep
    assert np.abs(deep / 257 - mapped).max() <= 0.51


def test_the_hdr_curve_is_that_of_the_standard() -> None:
    """Black, peak and order are kept; HDR's reference white (203 cd/m2) becomes 0.687."""
    from curate.footage.cube import sdr

    grey = np.repeat(np.linspace(0, 1, 101)[:, None], 3, axis=1)
    for kind, white in (("HLG", 0.75), ("PQ", 0.58)):
        mapped = sdr(grey, kind)
        assert np.ptp(mapped, axis=1).max() < 0.002
        assert (np.diff(mapped[:, 0]) >= -1e-9).all()
        assert mapped[0].max() < 0.01 and mapped[-1].min() > 0.99
        assert float(np.interp(white, grey[:, 0], mapped[:, 0])) == pytest.approx(0.687, abs=0.01)  # by hand


def test_a_cube_table_is_applied(make, tmp_path) -> None:
    from dataclasses import replace

    rows = [f"{1 - r} {1 - g} {1 - b}" for b in (0, 1) for g in (0, 1) for r in (0, 1)]
    (tmp_path / "invert.cube").write_text('TITLE "To Infinity"\n# nan\nLUT_3D_SIZE 2\n' + "\n".join(rows))
    clip = video.probe(make("a.mp4", *X264))
    plain = next(video.decode(clip)).image.astype(int)
    inverted = next(video.decode(replace(clip, lut=str(tmp_path / "invert.cube")))).image
    assert np.abs(inverted - (255 - plain)).max() <= 1
    for number in ("nan", "inf", "1e999"):
        wrong = tmp_path / f"{number}.cube"
        wrong.write_text("LUT_3D_SIZE 2\n" + "\n".join([f"{number} 0 0", *rows[1:]]))
        with pytest.raises(UsageError, match=f"{number} is not a finite number"):
            cube.read(str(wrong))


def test_frames_that_a_transmission_lost_are_announced(make, tmp_path) -> None:
    path = make("a.ts", *X264)
    data, clip = path.read_bytes(), video.probe(path)
    lost = tmp_path / "lost.ts"
    lost.write_bytes(_without_frames(data, path, 20, 26))
    found = video.probe(lost)
    assert clip.notes == () and clip.announced == COUNT
    assert found.announced == COUNT and found.frames <= COUNT - 4, "what came, and what should have"
    assert any(f"{COUNT - found.frames} frames are missing, lost in transmission" in note for note in found.notes)
    uneven = make("b.ts", *X264, "-vf", "select='not(mod(n,3))+gt(mod(n,7),4)'", "-fps_mode", "vfr")
    assert video.probe(uneven).notes == (), "an uneven rate is no loss"


def _without_frames(data: bytes, path: Path, first: int, end: int) -> bytes:
    """A transport stream without the 188-byte packets of these frames, in the order of the file."""
    with av.open(str(path)) as container:
        places = [p.pos for p in container.demux(video=0) if p.size]
    return data[: places[first] // 188 * 188] + data[places[end] // 188 * 188 :]


@pytest.mark.parametrize("curve", ["s-log3", "logc3", "v-log"])
def test_log_footage_is_noted_and_ordinary_footage_is_not(tmp_path, curve) -> None:
    curves = {
        "s-log3": lambda x: (420 + np.log10((x + 0.01) / 0.19) * 261.5) / 1023,
        "logc3": lambda x: 0.24719 * np.log10(5.555556 * x + 0.052272) + 0.385537,
        "v-log": lambda x: 0.241514 * np.log10(x + 0.00873) + 0.598206,
    }
    y, x = np.mgrid[:64, :96] / (64, 96)[0]
    light = np.stack([0.9 * x / 1.5, 0.7 * x / 1.5, 0.6 * x / 1.5 + 0.1 * y], axis=-1) ** 2 + 0.012
    for name, values, noted in (
        ("log", curves[curve](light), True),
        ("video", encoded8(light.astype(np.float32)) / 255, False),
    ):
        path = tmp_path / f"{name}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
            image = (np.clip(values, 0, 1) * 255).astype(np.uint8)
            for _ in range(3):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        assert [LOOKS_LOG in note for note in video.probe(path).notes] == [True] * noted


def test_changes_of_the_size_are_found_and_told(make, pictures, tmp_path) -> None:
    one, two = make("a.ts", *X264), make("b.ts", *X264, "-vf", "scale=128:96")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    found = sizes(joined)
    assert [(c.width, c.height) for c in found] == [(96, 64), (128, 96)]
    clip, account = video.probe(joined), Account()
    segment = video.segments(clip, 60)[0]
    assert len(list(video.decode(clip, segment, account=account))) == 2 * COUNT
    assert [(s.width, s.height) for s in account.sizes] == [(96, 64), (128, 96)]
    assert account.sizes[1].seconds == pytest.approx(2.4, abs=0.01)


@pytest.mark.parametrize("name", ["take:2.mp4", "-v.mp4", "a b's #1%d.mp4"])
def test_names_that_look_like_something_else(make, tmp_path, monkeypatch, name) -> None:
    (tmp_path / name).write_bytes(make("a.mp4", *X264).read_bytes())
    monkeypatch.chdir(tmp_path)
    clip = video.probe(Path(name))
    assert sum(1 for _ in video.decode(clip)) == COUNT


def test_alpha_is_told(tmp_path) -> None:
    path = tmp_path / "a.webm"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x64:duration=0.2,format=yuva420p", "-c:v", "libvpx-vp9", path)
    assert ["alpha channel is not read" in note for note in video.probe(path).notes] == [True]
    mov = tmp_path / "a.mov"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x64:duration=0.2,format=rgba", "-c:v", "png", mov)
    assert ["alpha channel is not read" in note for note in video.probe(mov).notes] == [True]


def test_a_link_to_nothing_has_failed(make, tmp_path) -> None:
    folder = tmp_path / "footage"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(make("a.mp4", *X264).read_bytes())
    (folder / "b.mp4").symlink_to("gone.mp4")
    clips, failed, _ = probe_all([str(folder)], None)
    assert [c.name for c in clips] == ["a"]
    assert [f.reason for f in failed] == [f"{folder / 'b.mp4'}: is a link to gone.mp4, which does not exist"]


def test_what_macos_keeps_beside_a_video_is_no_footage(make, tmp_path) -> None:
    (tmp_path / "x.mp4").write_bytes(make("a.mp4", *X264).read_bytes())
    (tmp_path / "._x.mp4").write_bytes(b"\0\5\x16\7" + bytes(80))
    assert expand(Footage(tmp_path)) == [Footage(tmp_path / "x.mp4")]


def test_photos_that_cannot_be_read_are_named(tmp_path) -> None:
    rng = np.random.default_rng(0)
    whole = cv2.imencode(".jpg", rng.integers(0, 255, (200, 200, 3), np.uint8))[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(whole)
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.jpg").write_bytes(b"")
    (tmp_path / "d.jpg").write_text("hello")
    survey = photos.survey(tmp_path)
    assert len(survey.sizes) == 1
    assert [Path(f.path).name for f in survey.failures] == ["b.jpg", "c.jpg", "d.jpg"]
    assert "cut short" in survey.failures[0].reason
    clip, account = video.probe(tmp_path), Account()
    assert clip.frames == 4
    assert len(list(video.decode(clip, video.segments(clip, 1)[0], account=account))) == 1
    assert sum(g.frames for g in account.gaps) == 3


def test_photos_that_cannot_be_read_are_in_failed_even_if_none_can(make, tmp_path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"")
    (tmp_path / "a.mp4").write_bytes(make("a.mp4", *X264).read_bytes())
    clips, failed, _ = probe_all([str(tmp_path)], None)
    assert [c.name for c in clips] == ["a"]
    assert [Path(f.path).name for f in failed] == ["photos", "a.jpg", "b.jpg"]
    cv2.imwrite(str(folder / "c.jpg"), np.full((40, 50, 3), 90, np.uint8))
    clips, failed, _ = probe_all([str(tmp_path)], None)
    assert [c.name for c in clips] == ["a", "photos"]
    assert [Path(f.path).name for f in failed] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("suffix", [".avif", ".jp2", ".heic"])
def test_photos_of_newer_kinds_are_read_and_those_cut_short_are_named(tmp_path, suffix) -> None:
    from PIL import Image

    if suffix == ".heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.full((64, 96, 3), (200, 90, 40), np.uint8)).save(path)
    frame = next(video.decode(video.probe(path)))
    assert frame.image.shape == (64, 96, 3)
    assert np.abs(frame.image.astype(int).mean((0, 1)) - (200, 90, 40)).max() < 4
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FootageError, match=r"cannot be read as a photo \((?!.*BytesIO)"):
        photos.read(path)


def test_the_end_of_a_thumbnail_is_not_that_of_its_photo(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    small, whole = (cv2.imencode(".jpg", image)[1].tobytes() for image in (pixels[:16, :16], pixels))
    camera = whole[:2] + b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small + whole[2:]
    path = tmp_path / "a.jpg"
    path.write_bytes(camera + small)
    assert photos.read(path).shape == (60, 90, 3)
    path.write_bytes(camera[:-100])
    with pytest.raises(FootageError, match="it is cut short"):
        photos.read(path)


def test_heic_photos_name_the_extra_that_they_need(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(FootageError, match=r"pip install 'faceset\[heif\]'"):
        video.probe(tmp_path)


def test_orientation_has_no_matrix_no_turn() -> None:
    assert picture.orientation(av.VideoFrame(16, 16, "yuv420p")) == picture.Orientation()


def test_an_older_clip_has_no_account() -> None:
    clip = Clip("a", "a.mp4", "0" * 64, "video", 2, 2, 1, 25.0, 1.0)
    assert (clip.announced, clip.notes, clip.lut) == (0, (), "")


@pytest.mark.parametrize(
    ("name", "taken", "free"),
    [("clip", {"other"}, "clip"), ("clip", {"Clip"}, "clip-2"), ("clip", {"CLIP", "Clip-2"}, "clip-3"),
     ("e\u0301", {"\u00c9"}, "e\u0301-2"), ("STRASSE", {"straße"}, "STRASSE-2")],
)  # fmt: skip
def test_names_of_clips_differ_where_file_systems_ignore_case(name: str, taken: set[str], free: str) -> None:
    assert free_name(name, taken) == free


@pytest.mark.parametrize(
    ("name", "stored"),
    [('Scene 4: "take" 2?', "Scene 4_ _take_ 2_"), ("a<b>|c*", "a_b__c_"), ("nul", "nul_"), ("COM1.raw", "COM1.raw_"),
     ("..", "clip"), ("end. ", "end"), ("console", "console"),  ("\u00e9" * 120, "\u00e9" * 75)],
)  # fmt: skip
def test_names_of_clips_can_be_stored_on_every_file_system(name: str, stored: str) -> None:
    assert storable(name) == stored


def test_footage_whose_name_is_not_unicode_is_refused_and_the_rest_is_used(
    tmp_path, write_video, numbered_frames
) -> None:
    good = write_video(tmp_path / "good.mp4", numbered_frames(5))
    bad = tmp_path / "bad\udcff.mp4"
    bad.write_bytes(good.read_bytes())
    clips, failures, _ = probe_all([str(bad), str(good)], None)
    assert [clip.name for clip in clips] == ["good"]
    assert len(failures) == 1 and "not UTF-8" in str(failures[0].reason)
