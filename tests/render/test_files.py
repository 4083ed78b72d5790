"""Footage as people have it, rendered: the same frames, times, sound and names, or one line that says why not."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from curate.errors import UsageError, WorkError
from curate.footage import video
from render import network, pipeline
from render.options import RenderOptions
from render.output import mux, tags
from render.provenance import registry
from render.provenance.verify import verify

SOURCE = "testsrc2=size=128x96:rate=25:duration=1.2,gblur=sigma=8"
ODD = f"{SOURCE},format=gbrp,crop=127:95:0:0,format=yuv420p"
TONE = ("-f", "lavfi", "-i", "sine=frequency=440:duration=1.2")
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "12", "-bf", "3", "-pix_fmt", "yuv420p")


def ffmpeg(*arguments: object) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-v", "error", *map(str, arguments)]
    subprocess.run(command, check=True)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes footage of 30 frames by ffmpeg."""

    def made(name: str, *options: object, source: str = SOURCE, sound: bool = False) -> Path:
        ffmpeg("-f", "lavfi", "-i", source, *(TONE if sound else ()), *options, tmp_path / name)
        return tmp_path / name

    return made


def render(stub, footage: Path, out: Path, **options) -> pipeline.RenderSummary:
    return pipeline.render(stub.path, footage, out, RenderOptions(workers=1, preset="ultrafast", **options))


def times(path: Path) -> list[Fraction]:
    """Presentation times of all frames, from the first."""
    found = [f.time for f in video.decode(video.probe(path))]
    return [t - found[0] for t in found]


def outside(footage: Path, out: Path) -> float:
    """Mean difference in a corner that no face reaches."""
    pairs = zip(video.decode(video.probe(footage)), video.decode(video.probe(out)), strict=True)
    return float(np.mean([np.abs(a.image[:10, :10].astype(int) - b.image[:10, :10]).mean() for a, b in pairs]))


FILES = {
    "ts": ("a.ts", *X264),
    "mpg": ("a.mpg", "-c:v", "mpeg2video", "-bf", "2", "-g", "12", "-q:v", "2"),
    "avi": ("a.avi", *X264),
    "mkv": ("a.mkv", *X264),
    "h264": ("a.h264", *X264),
}


@pytest.mark.parametrize("options", FILES.values(), ids=FILES.keys())
def test_a_render_has_the_frames_of_its_footage(make, stub, tmp_path, options, monkeypatch) -> None:
    monkeypatch.setattr("render.plan.PART", 10)
    footage = make(*options)
    done = render(stub, footage, tmp_path / "out.mp4", crf=4)
    assert (done.frames, done.swapped, done.notes) == (30, 20, ())
    assert [float(t) for t in times(tmp_path / "out.mp4")] == pytest.approx([i / 25 for i in range(30)], abs=0.001)
    assert outside(footage, tmp_path / "out.mp4") < 2
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert (container.start_time or 0) < 100_000, "a transmitter's clock starts anywhere; players want 0"


def test_timestamps_that_start_again_go_on_in_picture_and_sound(make, stub, tmp_path) -> None:
    one = make("a.ts", *X264, "-c:a", "aac", "-shortest", sound=True)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() * 2)
    done = render(stub, joined, tmp_path / "out.mp4")
    assert done.frames == 60
    assert "timestamps start again" in done.notes[0]
    with av.open(str(tmp_path / "out.mp4")) as container:
        heard = [float(f.time) for f in container.decode(audio=0)]
    assert np.diff(heard).min() > 0
    assert heard[-1] == pytest.approx(2.4, abs=0.1)


@pytest.mark.parametrize("name", ["a.avi", "a.mxf", "a.mkv"])
def test_pcm_sound_whose_layout_nobody_said(make, stub, tmp_path, name) -> None:
    codec = ("mpeg2video", "-q:v", "2", "-ar", "48000") if name == "a.mxf" else ("mjpeg",)
    footage = make(name, "-c:v", *codec, "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le", "-ac", "2", sound=True)
    done = render(stub, footage, tmp_path / "out.mov")
    assert done.sound == 1
    with av.open(str(tmp_path / "out.mov")) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.codec_context.layout.nb_channels) == ("pcm_s16le", 2)
        assert sum(f.samples for f in container.decode(audio=0)) / stream.rate == pytest.approx(1.2, abs=0.1)


def test_sound_that_does_not_fit_is_refused_with_a_command_that_helps(make, stub, tmp_path) -> None:
    footage = make("take:1.mkv", *X264, "-c:a", "wmav2", sound=True)
    with pytest.raises(UsageError, match="does not support the footage's sound") as caught:
        render(stub, footage, tmp_path / "out.mp4")
    assert stub.network.passes == 0
    command = shlex.split(str(caught.value).split("first: ")[1])
    ffmpeg(*command[1:])
    assert render(stub, Path(command[-1]), tmp_path / "out.mp4").sound == 1


def test_a_change_of_size_is_refused_with_the_command_that_cuts_it_apart(make, stub, tmp_path) -> None:
    one, two = make("a.ts", *X264), make("b.ts", *X264, "-vf", "scale=160:128,setsar=1")
    joined = tmp_path / "joined 1.ts"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    with pytest.raises(UsageError, match=r"from 128x96 to 160x128 at 1\.20 s") as caught:
        render(stub, joined, tmp_path / "out.mp4")
    command = shlex.split(str(caught.value).split("each part: ")[1])
    ffmpeg(*command[1:])
    parts = [Path(command[-1].replace("%d", str(i))) for i in (0, 1)]
    assert [(c.width, c.height, c.frames) for c in map(video.probe, parts)] == [(128, 96, 30), (160, 128, 30)]


def test_an_odd_size_stays_4_2_0_and_is_shown_as_it_is(make, stub, tmp_path) -> None:
    footage = make("a.webm", "-c:v", "libvpx", "-b:v", "2M", source=ODD)
    done = render(stub, footage, tmp_path / "out.mp4", crf=4)
    assert verify(tmp_path / "out.mp4").state == "trusted"
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    clip = video.probe(tmp_path / "out.mp4")
    assert (clip.width, clip.height, clip.frames) == (127, 95, done.frames)
    assert outside(footage, tmp_path / "out.mp4") < 2


def test_an_unusual_shape_of_pixels_is_not_rounded(make, stub, tmp_path) -> None:
    footage = make("a.mp4", *X264, "-vf", "scale=64:96,setsar=169/180:max=1000")
    render(stub, footage, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(169, 180)


def test_pixels_that_are_not_square_come_back_as_they_were(make, stub, tmp_path) -> None:
    footage = make("a.mp4", *X264, "-vf", "scale=64:96,setsar=2/1")
    seen = []
    network = stub.network.swap

    def swap(crops):
        seen.extend(crops.permute(0, 2, 3, 1).numpy())
        return network(crops)

    stub.network.swap = swap
    render(stub, footage, tmp_path / "out.mp4", crf=4)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio) == (64, 96, 2)
    assert outside(footage, tmp_path / "out.mp4") < 2
    plain = make("b.mp4", *X264)
    wide, seen = list(seen), []
    render(stub, plain, tmp_path / "plain.mp4", crf=4)
    middle = slice(16, 48)
    off = [np.abs(a[middle, middle] - b[middle, middle]).mean() for a, b in zip(wide, seen, strict=True)]
    assert np.mean(off) < 0.06, "the crops are those of square pixels, but for the lost detail"


def test_interlaced_and_hdr_footage_are_refused_or_converted_as_asked(make, stub, tmp_path) -> None:
    fields = make("i.mp4", "-vf", "tinterlace=interleave_top,fieldorder=tff", *X264, "-flags", "+ildct+ilme")
    with pytest.raises(UsageError, match="add --deinterlace"):
        render(stub, fields, tmp_path / "i-out.mp4")
    done = render(stub, fields, tmp_path / "i-out.mp4", deinterlace=True)
    assert done.frames == 15
    hlg = "format=yuv420p10le,setparams=color_primaries=bt2020:color_trc=arib-std-b67:colorspace=bt2020nc"
    hdr = make("h.mp4", "-vf", hlg, "-c:v", "libx265", "-x265-params", "log-level=error")
    with pytest.raises(UsageError, match=r"is HDR \(HLG\).*add --tonemap"):
        render(stub, hdr, tmp_path / "h-out.mp4")
    render(stub, hdr, tmp_path / "h-out.mp4", tonemap=True)
    with av.open(str(tmp_path / "h-out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (int(frame.color_trc), int(frame.colorspace), int(frame.color_primaries)) == (1, 1, 1)
    assert outside(hdr, tmp_path / "h-out.mp4") < 2, "as reading maps it"
    with pytest.raises(UsageError, match="--tonemap and --allow-hdr"):
        RenderOptions(tonemap=True, allow_hdr=True)


def test_log_footage_is_rendered_through_its_colour_table(make, stub, tmp_path) -> None:
    rows = [f"{1 - r} {1 - g} {1 - b}" for b in (0, 1) for g in (0, 1) for r in (0, 1)]
    table = tmp_path / "invert.cube"
    table.write_text("LUT_3D_SIZE 2\n" + "\n".join(rows))
    footage = make("a.mov", *X264, "-colorspace", "bt2020nc")
    render(stub, footage, tmp_path / "out.mp4", lut=table, crf=4)
    before, after = (next(video.decode(video.probe(p))).image.astype(int) for p in (footage, tmp_path / "out.mp4"))
    assert np.abs(after[:10, :10] - (255 - before[:10, :10])).mean() < 3
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert int(next(container.decode(video=0)).colorspace) == 1, "the table gives BT.709"
    with pytest.raises(UsageError, match=r"--lut .*a\.mov: cannot be read as a \.cube table"):
        render(stub, footage, tmp_path / "other.mp4", lut=footage)
    with pytest.raises(UsageError, match="--lut: already maps"):
        RenderOptions(lut=table, tonemap=True)


def tagged(make, tmp_path: Path, name: str, *more: str) -> Path:
    """Footage with chapters, names, two sounds of which the second is the default, and tags."""
    (tmp_path / "c.txt").write_text(
        ";FFMETADATA1\ntitle=Take 4\nartist=Me\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=600\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=600\nEND=1200\ntitle=Two\n"
    )
    (tmp_path / "s.srt").write_text("1\n00:00:00,100 --> 00:00:00,500\n<i>Hello</i>\n\n"
                                    "2\n00:00:00,700 --> 00:00:01,000\nWorld &amp; all\n")  # fmt: skip
    return make(
        name, *TONE, "-i", tmp_path / "c.txt", "-i", tmp_path / "s.srt", "-map", "0:v", "-map", "1:a", "-map", "2:a",
        "-map", "4:s", "-map_metadata", "3", *X264, "-c:a", "aac", "-metadata:s:v:0", "title=Camera A",
        "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu", "-metadata:s:a:1", "title=Commentary",
        "-disposition:a:0", "0", "-disposition:a:1", "default", *more, sound=True,
    )  # fmt: skip


def told(path: Path) -> dict[str, object]:
    """Everything about a file that is not its pictures."""
    with av.open(str(path)) as container:
        chapters = [
            (round(float(c["start"] * c["time_base"]), 2), c["metadata"]["title"]) for c in container.chapters()
        ]
        sounds = [
            (s.language, s.metadata.get("title") or s.metadata.get("name"), bool(s.disposition & 1))
            for s in container.streams.audio
        ]
        named = container.streams.video[0].metadata
        texts = [p for s in container.streams.subtitles for p in container.demux(s) if p.size > 2]
        shown = [bytes(p)[2 : 2 + int.from_bytes(bytes(p)[:2], "big")].decode() for p in texts]
        return {
            "chapters": chapters, "sounds": sounds, "camera": named.get("title") or named.get("name"),
            "timecode": named.get("timecode"), "texts": shown,
            "tags": {k.lower(): v for k, v in container.metadata.items()},
        }  # fmt: skip


@pytest.mark.parametrize(("name", "subtitles"), [("a.mkv", "srt"), ("a.mp4", "mov_text")])
def test_names_chapters_subtitles_and_the_default_track_are_kept(make, stub, tmp_path, name, subtitles) -> None:
    footage = tagged(make, tmp_path, name, "-c:s", subtitles)
    done = render(stub, footage, tmp_path / "out.mp4")
    found = told(tmp_path / "out.mp4")
    assert found["chapters"] == [(0.0, "One"), (0.6, "Two")]
    assert found["sounds"] == [("eng", None, False), ("deu", "Commentary", True)]
    assert found["camera"] == "Camera A"
    assert found["texts"] == (["Hello", "World & all"] if subtitles == "srt" else ["Hello", "World &amp; all"])
    assert (found["tags"]["title"], found["tags"]["artist"]) == ("Take 4", "Me")
    assert done.sound == 3
    # MP4 has no way to say that no subtitles are on
    assert [note.startswith("no subtitles are on by default") for note in done.notes] == [True] * (name == "a.mkv")


def test_a_tag_that_the_container_cannot_hold_is_named(make, stub, tmp_path) -> None:
    footage = make("a.mkv", *X264, "-metadata", "CAMERA_UNIT=7")
    done = render(stub, footage, tmp_path / "out.mp4")
    assert done.notes == ("tags of the footage that this container cannot hold: camera_unit",)


def test_the_timecode_is_kept_and_moved_by_a_range(make, stub, tmp_path) -> None:
    footage = make("a.mov", *X264, "-timecode", "01:02:03:04")
    render(stub, footage, tmp_path / "out.mov")
    assert told(tmp_path / "out.mov")["timecode"] == "01:02:03:04"
    render(stub, footage, tmp_path / "part.mp4", span="0.4-1.0")
    assert told(tmp_path / "part.mp4")["timecode"] == "01:02:03:14"


@pytest.mark.parametrize(
    ("code", "frames", "rate", "expected"),
    [
        ("01:02:03:04", 30, Fraction(25), "01:02:04:09"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("00:00:59;29", 1, Fraction(30000, 1001), "00:01:00;02"),
        ("00:09:59;29", 1, Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:00;00", 17982, Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:59;59", 1, Fraction(60000, 1001), "00:01:00;04"),
        ("10:00:00:00", 24, Fraction(24000, 1001), "10:00:01:00"),
    ],
)
def test_timecode_counts_as_the_standard_does(code, frames, rate, expected) -> None:
    assert tags.later(code, frames, rate) == expected


def test_an_error_at_the_end_is_one_line_and_the_render_can_be_finished(make, stub, tmp_path, monkeypatch) -> None:
    footage, out = make("a.mp4", *X264), tmp_path / "made" / "out.mp4"
    with monkeypatch.context() as broken, pytest.raises(WorkError, match="its sound cannot be written"):
        broken.setattr(mux, "crop", lambda *given: None)
        broken.setattr(mux, "_write", lambda *given: (_ for _ in ()).throw(av.error.InvalidDataError(1, "wrong")))
        render(stub, footage, out)
    assert not out.exists()
    assert registry.of_subject(stub.source.name) == [], "a render that failed is not in the list"
    again = render(stub, footage, out)
    assert again.resumed == again.frames == 30
    assert verify(out).state == "trusted"


@pytest.mark.parametrize("name", ["take:2.mp4", "-v.mp4"])
def test_names_that_look_like_something_else(make, stub, tmp_path, monkeypatch, name) -> None:
    footage = make("a.mp4", *X264, "-c:a", "aac", sound=True)
    monkeypatch.chdir(tmp_path)
    footage.rename(name)
    done = render(stub, Path(name), Path(f"out {name}"))
    assert (done.frames, done.sound) == (30, 1)
    assert verify(Path(f"out {name}").resolve()).state == "trusted"


def test_a_folder_is_no_footage_of_a_render(stub, tmp_path) -> None:
    with pytest.raises(UsageError, match="is a folder; give a video"):
        render(stub, tmp_path, tmp_path / "out.mp4")


def test_pictures_that_are_finished_are_never_deleted(make, stub, tmp_path, monkeypatch) -> None:
    """Stopped and given again with --force, a render once deleted them: 48 of 75 were gone, without an error."""
    monkeypatch.setattr("render.plan.PART", 10)
    footage, frames, out = make("a.mp4", *X264), tmp_path / "frames", tmp_path / "out.mp4"
    stub.network.fail_at = 5
    with pytest.raises(RuntimeError, match="out of memory"):
        render(stub, footage, out, frames=frames, force=True)
    stub.network.fail_at = 0
    there = {p: p.stat().st_mtime_ns for p in frames.glob("frame_*.png")}
    assert 0 < len(there) < 30
    again = render(stub, footage, out, frames=frames, force=True)
    assert again.resumed > 0
    found = sorted(frames.glob("frame_*.png"))
    assert len(found) == 30
    kept = [p for p in found if there.get(p) == p.stat().st_mtime_ns]
    assert len(kept) >= again.resumed


def test_a_part_whose_pictures_are_gone_is_rendered_again(make, stub, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("render.plan.PART", 10)
    footage, frames, out = make("a.mp4", *X264), tmp_path / "frames", tmp_path / "out.mp4"
    stub.network.fail_at = 5
    with pytest.raises(RuntimeError, match="out of memory"):
        render(stub, footage, out, frames=frames)
    stub.network.fail_at = 0
    (frames / "frame_000004.png").unlink()
    render(stub, footage, out, frames=frames)
    assert len(list(frames.glob("frame_*.png"))) == 30


def test_head_pose_and_points_are_written_for_nuke_and_blender(make, stub, tmp_path, monkeypatch) -> None:
    import curate.extract.follow

    plain = curate.extract.follow.follow_people

    def posed(*given: object, **more: object):
        found = plain(*given, **more)
        return [
            one._replace(rows=one.rows.assign(yaw=one.rows["frame"] * 1.5, pitch=-2.25, roll=one.rows["frame"] / 4))
            for one in found
        ]

    monkeypatch.setattr(curate.extract.follow, "follow_people", posed)
    footage = make("a.mp4", *X264)
    render(stub, footage, tmp_path / "out.mp4", tracking=tmp_path / "track")
    lines = (tmp_path / "track" / "head.chan").read_text().splitlines()
    assert len(lines) == len(stub.frames)
    table = posed(footage, [None])[0].rows
    for line, row in zip(lines, table.itertuples(), strict=True):
        frame, x, y, z, pitch, yaw, roll = map(float, line.split())
        assert (frame, z) == (row.frame, 0)
        assert (pitch, yaw, roll) == pytest.approx((row.pitch, row.yaw, row.roll), abs=1e-4)
        middle = row.landmarks[:, :2].mean(axis=0)
        assert (x + 64, 48 - y) == pytest.approx(tuple(middle), abs=0.01)
    head, *rows = (tmp_path / "track" / "points.csv").read_text().splitlines()
    assert head == "frame,time,point,x,y"
    chin = next(r.split(",") for r in rows if ",chin," in r)
    assert (int(chin[0]), float(chin[1])) == (5, 0.2)
    assert [float(v) for v in chin[3:]] == pytest.approx(table["landmarks"][0][152, :2], abs=0.01)
    with pytest.raises(UsageError, match="--tracking"):
        render(stub, footage, tmp_path / "other.mp4", tracking=tmp_path / "track")


def test_a_run_in_training_is_rendered_with_the_weights_it_began_with(make, stub, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("render.plan.PART", 10)
    footage, out = make("a.mp4", *X264), tmp_path / "out.mp4"
    (stub.path / "model.safetensors").unlink()
    checkpoints = stub.path / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "step-5.safetensors").write_bytes(b"five")
    stub.network.fail_at = 5
    with pytest.raises(RuntimeError, match="out of memory"):
        render(stub, footage, out)
    stub.network.fail_at = 0
    (checkpoints / "step-5.safetensors").unlink()
    (checkpoints / "step-9.safetensors").write_bytes(b"nine")
    assert render(stub, footage, out).resumed > 0
    assert verify(out).model_sha256 == hashlib.sha256(b"five").hexdigest()


def test_a_worker_refuses_other_weights_than_the_plans(stub, tmp_path) -> None:
    sha256 = network.keep(stub.path, tmp_path / "work")
    assert network.kept(tmp_path / "work", sha256).is_dir()
    path = tmp_path / "work" / "run" / "model.safetensors"
    path.unlink()
    path.write_bytes(b"others")
    with pytest.raises(WorkError, match="not those that this render began with"):
        network.kept(tmp_path / "work", sha256)
