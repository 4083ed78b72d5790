"""Rendering with a stub network: what goes through from the footage to the file, and what happens when it fails."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from unittest.mock import Mock

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest

from curate.errors import ConsentError, FootageError, UsageError, WorkError
from curate.footage import video
from curate.types import Subject, no_progress
from render import network, part, pipeline, plan
from render.compositing.compose import RADIUS, compose
from render.compositing.settings import MaskSettings, RenderSettings
from render.compositing.swap import BATCH, places, swap_frames
from render.options import RenderOptions
from render.provenance.verify import verify
from reports.artifacts.parts import InspectedPart, table


def times_of(path: Path) -> list:
    with av.open(str(path)) as container:
        return [f.pts * f.time_base for f in container.decode(container.streams.video[0])]


def sound_of(path: Path) -> tuple:
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.audio[0]) if p.size]
        digest = hashlib.sha256(b"".join(bytes(p) for p in packets)).hexdigest()
        return digest, [p.pts * p.time_base for p in packets]


def tags_of(path: Path) -> tuple:
    with av.open(str(path)) as container:
        c = container.streams.video[0].codec_context
        return c.color_primaries, c.color_trc, c.colorspace, c.color_range, c.width, c.height


def render(run, footage, out, progress=no_progress, **options):
    return pipeline.render(run, footage, out, RenderOptions(**{"workers": 1, **options}), progress)


def left_in(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_times_size_sound_and_manifest_with_a_stub_network(clip, stub, tmp_path, uneven_times):
    out = tmp_path / "made" / "out.mp4"
    seen = []
    done = render(stub.path, clip, out, crf=12, progress=lambda *a: seen.append(a))
    assert times_of(out) == times_of(clip) == [t * video_base(clip) for t in uneven_times]
    assert video_base(out) == video_base(clip)
    assert sound_of(out) == sound_of(clip)
    assert tags_of(out) == tags_of(clip)
    assert (done.frames, done.swapped, done.sound) == (30, 20, 1)
    assert left_in(out.parent) == {"out.mp4", "out.c2pa", "out.artifacts.html", "out.artifacts.json"}
    assert seen[-1] == ("rendering", 30, 30)
    assert json.dumps(asdict(done))
    measured = json.loads(out.with_suffix(".artifacts.json").read_text())["measures"]
    read = ("expression", "gaze", "pose", "geometry", "identity")
    assert [name for name in read if not measured[name]["frames"]] == [], "the report reads the output's face"
    found = verify(out)
    assert (found.state, found.subject, found.basis) == ("trusted", "Ann Ä", "release")
    assert [(s.role, s.name) for s in found.sources] == [("source", "ann.mp4"), ("target", "footage.mp4")]
    assert found.sources[1].sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert found.model_sha256 == hashlib.sha256(b"weights").hexdigest()


def video_base(path: Path):
    with av.open(str(path)) as container:
        return container.streams.video[0].time_base


def test_only_frames_with_the_face_are_changed(clip, stub, tmp_path):
    out = tmp_path / "out.mp4"
    render(stub.path, clip, out, crf=4)
    before, after = (list(video.decode(video.probe(p))) for p in (clip, out))
    change = [np.abs(a.image.astype(int) - b.image).mean(2) for a, b in zip(before, after, strict=True)]
    for index, frame in enumerate(change):
        assert frame[:20, :20].mean() < 2, "corners never change"
        assert frame.mean() < 2 or index in stub.frames


def test_before_encoding_outside_of_the_mask_and_faceless_frames_are_the_same_bytes(clip, stub):
    rows = composed(clip, stub, batch=4)
    for shown in rows:
        image = shown.frame.image
        if shown.face is None:
            assert shown.image is image
        else:
            assert np.array_equal(shown.image[shown.mask == 0], image[shown.mask == 0])
            assert 0 < shown.mask.max() <= 1
    assert [r.frame.index for r in rows] == list(range(30))
    assert sum(r.image is not r.frame.image and not np.array_equal(r.image, r.frame.image) for r in rows) > 15


def test_the_result_does_not_depend_on_the_batch(clip, stub):
    one, many = composed(clip, stub, batch=1), composed(clip, stub, batch=16)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, many, strict=True))


def test_a_face_that_is_lost_in_a_shot_fades(clip, stub):
    most = [0 if r.mask is None else float(r.mask.max()) for r in composed(clip, stub, batch=8)]
    assert most[:5] == [0] * 5 and most[25:] == [0] * 5
    assert 0 < most[5] < most[6] < most[9] < most[10]
    assert most[24] < most[20] < most[19]
    assert max(most) == most[14] == pytest.approx(most[15], abs=0.02)


def composed(clip, stub, batch):
    import curate.extract.follow

    where = places(curate.extract.follow.follow(clip).rows)
    frames = video.decode(video.probe(clip))
    faces = swap_frames(frames, where, stub.network, "full", MaskSettings(), batch)
    return list(compose(faces, RenderSettings()))


def test_refuses_a_run_without_subject_or_basis(clip, stub, tmp_path):
    for source in (Subject("", "self"), Subject("Ann", None), Subject("Ann", "release")):
        stub.source = source
        with pytest.raises(ConsentError):
            render(stub.path, clip, tmp_path / "new" / "out.mp4")
    assert not (tmp_path / "new").exists()
    assert stub.network.passes == 0


@pytest.mark.parametrize("name", ["out.mkv", "out", "folder.mp4", "old.mp4", "footage.mp4"])
def test_refuses_a_wrong_output(clip, stub, tmp_path, name):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "old.mp4").write_bytes(b"precious")
    with pytest.raises(UsageError, match=name):
        render(stub.path, clip, tmp_path / name, force=name in ("footage.mp4", "folder.mp4"))
    assert (tmp_path / "old.mp4").read_bytes() == b"precious"


def test_force_writes_an_existing_output_anew(clip, stub, tmp_path):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"old")
    render(stub.path, clip, out, force=True)
    assert verify(out).state == "trusted"


def test_a_failure_in_the_middle_keeps_the_old_output_and_resumes_later(clip, stub, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "PART", 10)
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "out.mp4").write_bytes(b"old")
    stub.network.fail_at = 5
    with pytest.raises(RuntimeError, match="out of memory"):
        render(stub.path, clip, folder / "out.mp4", force=True)
    assert left_in(folder) == {"out.mp4", ".out.mp4.render"}
    assert (folder / "out.mp4").read_bytes() == b"old"
    stub.network.fail_at = 0
    again = render(stub.path, clip, folder / "out.mp4", force=True)
    assert 0 < again.resumed < 30
    assert ".out.mp4.render" not in left_in(folder)
    assert times_of(folder / "out.mp4") == times_of(clip)
    assert verify(folder / "out.mp4").state == "trusted"


def test_a_render_interrupted_at_its_start_is_started_again(clip, stub, tmp_path, monkeypatch):
    out, learn, learned = tmp_path / "out.mp4", part.learn, []
    whole = render(stub.path, clip, out).pixels_sha256
    monkeypatch.setattr(part, "learn", lambda *given: learned.append(learn(*given)) or learned[-1])
    for holder, name in ((part, "learn"), (plan, "save_face")):
        with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
            broken.setattr(holder, name, Mock(side_effect=KeyboardInterrupt))
            render(stub.path, clip, out, force=True)
        assert render(stub.path, clip, out, force=True).pixels_sha256 == whole
    assert len(learned) == 2, "occlusion is learned again, however far the first try came"


def test_parts_equal_the_whole_and_another_plan_starts_again(clip, stub, tmp_path, monkeypatch):
    def pixels(length: int, **options) -> list[str]:
        monkeypatch.setattr(plan, "PART", length)
        stub.network.fail_at = 0
        frames = []
        monkeypatch.setattr(part.Marker, "mark", lambda self, image: frames.append(image.tobytes()) or image)
        done = render(stub.path, clip, tmp_path / "out.mp4", force=True, **options)
        assert done.resumed == 0
        return [hashlib.sha256(f).hexdigest() for f in frames]

    whole = pixels(100)
    assert len(whole) == 30
    assert pixels(9) == whole
    other = pixels(9, settings=RenderSettings(colour="none"))
    assert other != whole and other[:4] == whole[:4]


@pytest.mark.parametrize(("workers", "tasks"), [(1, [4]), (2, [2, 1, 1]), (3, [2, 1, 1]), (4, [1] * 4), (8, [1] * 4)])
def test_neighbouring_parts_are_one_task_as_far_as_all_workers_have_work(tmp_path, workers, tasks):
    parts = plan.cut(0, 960)
    found = part.tasks(tmp_path, parts, workers)
    assert [len(task.parts) for task in found] == tasks
    assert [each for task in found for each in task.parts] == list(parts)
    assert len(part.tasks(tmp_path, (parts[0], *parts[2:]), workers)[0].parts) == 1, "a gap"
    sizes = [len(task.parts) for task in part.tasks(tmp_path, plan.cut(0, 32 * 240), workers)]
    assert sum(sizes) == 32 and sizes == sorted(sizes, reverse=True) and max(sizes) == -(-32 // workers)
    assert part.tasks(tmp_path, (), workers) == []


def test_parts_rendered_in_one_go_are_those_rendered_alone_and_no_frame_is_swapped_twice(
    clip, stub, tmp_path, monkeypatch
):
    monkeypatch.setattr(plan, "PART", 6)
    seen, rows, swap, many, save = [], [], swap_frames, part.tasks, InspectedPart.save

    def swapped(frames, *given):
        """Notes the numbers of the frames."""
        for frame, face in swap(frames, *given):
            seen.append(frame.index)
            yield frame, face

    monkeypatch.setattr(part, "swap_frames", swapped)
    monkeypatch.setattr(InspectedPart, "save", lambda own, path: rows.extend(own.rows) or save(own, path))
    together = render(stub.path, clip, tmp_path / "together.mp4")
    assert seen == list(range(30)) and len(rows) == 30
    measured = table(rows)
    seen.clear(), rows.clear()
    monkeypatch.setattr(part, "tasks", lambda folder, parts, workers: many(folder, parts, len(parts)))
    alone = render(stub.path, clip, tmp_path / "alone.mp4")
    assert len(seen) > 60 and alone.pixels_sha256 == together.pixels_sha256
    pd.testing.assert_frame_equal(table(rows), measured)


def test_batches_lie_on_one_grid_wherever_a_part_begins(clip, stub):
    import curate.extract.follow

    where, passed = places(curate.extract.follow.follow(clip).rows), []
    swap = stub.network.swap
    stub.network.swap = lambda crops, *given: passed.append(len(crops)) or swap(crops, *given)
    footage = video.probe(clip)
    for first in (0, 3, 8):
        passed.clear()
        frames = video.decode(footage, part.segment(footage, range(first, 30)))
        list(swap_frames(frames, where, stub.network, "full", MaskSettings(), 8))
        assert passed == {0: [3, 8, 8, 1], 3: [3, 8, 8, 1], 8: [8, 8, 1]}[first]
    for each in plan.cut(5, 3000):
        assert each.with_neighbours.start % BATCH == 0 == each.with_neighbours.stop % BATCH
    assert plan.cut(0, 480)[1].with_neighbours == range(240 - RADIUS, 480 + RADIUS), (
        "no frame more than smoothing needs"
    )


def test_footage_without_the_face_or_without_video_is_one_error(clip, stub, tmp_path):
    stub.frames = range(0)
    with pytest.raises(WorkError, match="Bob"):
        render(stub.path, clip, tmp_path / "made" / "out.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("no video\n" * 50)
    with pytest.raises(FootageError):
        render(stub.path, text, tmp_path / "made" / "out.mp4")
    with pytest.raises(UsageError, match="no such file"):
        render(stub.path, tmp_path / "none.mp4", tmp_path / "made" / "out.mp4")
    assert not (tmp_path / "made").exists() or not left_in(tmp_path / "made")


def test_a_folder_that_cannot_be_made_is_one_error(clip, stub, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkError, match="cannot be written"):
        render(stub.path, clip, tmp_path / "file" / "out.mp4")


def test_an_own_key_that_is_wrong_is_told_before_the_work(clip, stub, tmp_path):
    with pytest.raises(UsageError, match="--key and --cert"):
        render(stub.path, clip, tmp_path / "out.mp4", key=tmp_path / "a.pem")
    assert stub.network.passes == 0


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (6, 6, 6, 2), (9, 14, 9, 1)])
def test_colour_tags_are_kept(make_clip, stub, tmp_path, uneven_times, tags):
    footage = make_clip(tmp_path / "tagged.mp4", uneven_times[:8], tags=tags, codec="")
    render(stub.path, footage, tmp_path / "out.mp4", crf=4)
    assert tags_of(tmp_path / "out.mp4") == tags_of(footage)
    assert tags_of(footage)[:4] == tags
    before, after = (next(video.decode(video.probe(p))).image for p in (footage, tmp_path / "out.mp4"))
    assert np.abs(before.astype(int) - after).mean() < 1.5


def test_turned_footage_comes_out_upright(clip, stub, tmp_path):
    turned = tmp_path / "turned.mp4"
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    command = [ffmpeg, "-loglevel", "error", "-display_rotation", "90", "-i", clip, "-c", "copy", turned]
    subprocess.run(command, check=True)
    render(stub.path, turned, tmp_path / "out.mp4", crf=4)
    assert tags_of(tmp_path / "out.mp4")[4:] == (96, 128)
    before, after = (list(video.decode(video.probe(p))) for p in (turned, tmp_path / "out.mp4"))
    assert before[0].image.shape == (128, 96, 3)
    assert np.abs(before[0].image.astype(int) - after[0].image).mean() < 2
    assert times_of(tmp_path / "out.mp4") == times_of(turned)


def test_an_odd_size_is_kept(make_clip, stub, tmp_path, uneven_times):
    footage = make_clip(tmp_path / "odd.mp4", uneven_times[:8], size=(95, 127), pix_fmt="yuv444p", codec="")
    done = render(stub.path, footage, tmp_path / "out.mov")
    assert tags_of(tmp_path / "out.mov")[4:] == (127, 95)
    assert done.sound == 0
    assert verify(tmp_path / "out.mov").state == "trusted"


def test_footage_in_another_container_keeps_its_times_and_sound(make_clip, stub, tmp_path, uneven_times):
    footage = make_clip(tmp_path / "footage.mkv", uneven_times, codec="libopus")
    render(stub.path, footage, tmp_path / "out.mp4")
    assert times_of(tmp_path / "out.mp4") == times_of(footage)
    assert sound_of(tmp_path / "out.mp4")[0] == sound_of(footage)[0]
    assert verify(tmp_path / "out.mp4").state == "trusted"


def test_sound_that_the_container_cannot_hold_is_told_before_the_work(make_clip, stub, tmp_path, uneven_times):
    footage = make_clip(tmp_path / "footage.nut", uneven_times, codec="pcm_mulaw")
    with pytest.raises(UsageError, match="pcm_mulaw"):
        render(stub.path, footage, tmp_path / "made" / "out.mp4")
    assert stub.network.passes == 0
    assert not left_in(tmp_path / "made")


def test_ten_bit_footage_stays_ten_bits(make_clip, stub, tmp_path, uneven_times):
    footage = make_clip(tmp_path / "ten.mp4", uneven_times[:8], pix_fmt="yuv420p10le", codec="")
    render(stub.path, footage, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].format.name == "yuv420p10le"


def test_a_range_has_its_own_frames_and_sound(clip, stub, tmp_path, uneven_times):
    base = video_base(clip)
    first, end = (float(uneven_times[i] * base) - float(uneven_times[0] * base) for i in (10, 20))
    done = render(stub.path, clip, tmp_path / "out.mp4", span=f"{first:.4f}-{end:.4f}")
    assert done.frames == 10
    assert times_of(tmp_path / "out.mp4") == [(t - uneven_times[10]) * base for t in uneven_times[10:20]]
    assert done.sound == 1
    with pytest.raises(UsageError, match="--range 90-95"):
        render(stub.path, clip, tmp_path / "other.mp4", span="90-95")


def test_pictures_of_frames_and_masks_and_a_still(clip, stub, tmp_path):
    frames = tmp_path / "frames"
    render(stub.path, clip, tmp_path / "out.mp4", frames=frames, alpha=True, masks=tmp_path / "masks")
    assert len(list((tmp_path / "frames").glob("frame_*.png"))) == 30
    picture = cv2.imread(str(tmp_path / "frames" / "frame_000015.png"), cv2.IMREAD_UNCHANGED)
    mask = cv2.imread(str(tmp_path / "masks" / "mask_000015.png"), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (96, 128, 4) and (mask.shape, mask.dtype) == ((96, 128), np.uint16)
    assert np.abs(picture[..., 3] / 255 - mask / 65535).max() < 0.01 and picture[..., 3].max() > 200
    with pytest.raises(UsageError, match="frames"):
        render(stub.path, clip, tmp_path / "other.mp4", frames=frames)

    seconds = float(times_of(clip)[15] - times_of(clip)[0])
    made = pipeline.still(stub.path, clip, f"{seconds:.4f}", tmp_path / "still.png")
    assert part.network.cache_info().currsize == 0  # a process that renders many runs keeps none of their networks
    assert (made.frame, made.swapped, made.notes) == (15, True, ())
    still = cv2.imread(str(tmp_path / "still.png"))
    assert np.abs(still.astype(int) - picture[..., :3]).mean() < 4, "but for the watermark, the frame of the video"
    with pytest.raises(UsageError, match=r"\.png"):
        pipeline.still(stub.path, clip, "0", tmp_path / "still.jpg")


def test_damaged_weights_are_named_before_anything_is_rendered(stub, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with pytest.raises(WorkError, match=r"run/model\.safetensors is damaged"):
        network.keep(stub.path, tmp_path / "work", "00" * 32)
    assert not list((tmp_path / "work").iterdir())
