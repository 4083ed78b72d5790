from __future__ import annotations

import json
import pickle
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from curate.errors import UsageError
from curate.extract.follow import Followed
from curate.face.align import hull_mask
from curate.face.mesh import canonical
from curate.face.pose import matrix
from curate.footage.paths import parse_footage
from curate.footage.video import probe
from curate.types import Landmarks
from reports.artifact_page.page import to_json, write
from reports.artifact_page.passages import verdict
from reports.artifacts import inspect as inspect_module
from reports.artifacts import kinds, reading
from reports.artifacts.inspect import inspect
from reports.artifacts.inspector import Inspector
from reports.artifacts.parts import InspectedPart
from reports.artifacts.report import merge

FPS = 30.0
COUNT, FIRST, LAST = 40, 12, 27


@pytest.fixture
def scene(scene):
    """The scene with a face that goes over into its surroundings softly."""
    y, x = np.indices((240, 240))
    soft = np.clip(1.5 - np.hypot((x - 120) / 50, (y - 120) / 65), 0, 1)
    hard = cv2.ellipse(np.zeros((240, 240), np.uint8), (120, 120), (50, 65), 0, 0, 360, 1, -1)
    change = (soft - hard)[..., None] * (35, 5, -10)
    return lambda index: np.clip(scene(index) + change, 0, 255).round().astype(np.uint8)


def _report(scene, landmarks, change, has_reference=True, count=COUNT):
    """Inspect `count` frames; change(image, inside, i) stands for the render's fault in all of them."""
    inside = hull_mask(landmarks, 240, 240)[..., None] > 0.5
    inspector = Inspector(FPS, has_reference)
    for i in range(count):
        image = scene(i)
        output = change(image.astype(np.float32), inside, i)
        output = np.clip(output, 0, 255).round().astype(np.uint8)
        inspector.add(i, i / FPS, output, image if has_reference else None, landmarks)
    return inspector.finish()


def _bad(i):
    return FIRST <= i <= LAST


def _gain(image, inside, i):
    return np.where(inside & _bad(i), image * (1.05 if i % 2 else 0.95), image)


def _brighter(image, inside, i):
    return np.where(inside & _bad(i), image + 22, image)


def _soft(image, inside, i):
    return np.where(inside & _bad(i), cv2.GaussianBlur(image, (0, 0), 2), image)


def _grain(image, inside, i):
    noise = np.random.default_rng(i).normal(0, 14, image.shape[:2])[..., None]
    return np.where(inside & _bad(i), image + noise, image)


def _shifted(image, inside, i):
    return np.where(inside & _bad(i), np.roll(image, 3, axis=0), image)


def _kinds(report):
    return {f.kind for f in report.findings}


def test_a_face_softer_than_usual_is_found_where_coding_noise_would_explain_it(scene, landmarks):
    def change(image, inside, i):
        around = np.random.default_rng(i).normal(0, 8, image.shape[:2])[..., None] * ~inside
        return _soft(image, inside, i) + around

    found = [f for f in _report(scene, landmarks, change).findings if f.kind == "soft"]
    assert len(found) == 1
    assert abs(found[0].first_frame - FIRST) <= 3 and abs(found[0].last_frame - LAST) <= 3


@pytest.mark.parametrize("has_reference", [True, False])
def test_a_clean_video_has_no_findings(scene, landmarks, has_reference):
    report = _report(scene, landmarks, lambda image, inside, i: image, has_reference)
    assert report.findings == ()
    assert (report.frames, report.faces) == (COUNT, COUNT)


@pytest.mark.parametrize(
    ("change", "kind"),
    [(_gain, "flicker"), (_soft, "soft"), (_grain, "false_detail"), (_shifted, "misaligned")],
)  # fmt: skip
def test_each_fault_is_found_by_its_name_in_its_frames(scene, landmarks, change, kind):
    report = _report(scene, landmarks, change)
    (found,) = [f for f in report.findings if f.kind == kind]
    assert abs(found.first_frame - FIRST) <= 1
    assert abs(found.last_frame - LAST) <= 1
    assert found.region == pytest.approx((70, 55, 100, 130), abs=2)
    assert (kind, found.first_frame) in report.pictures


def test_a_face_too_bright_is_one_finding_that_names_its_edge(scene, landmarks):
    def brighter(image, inside, i):
        soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 12)[..., None]
        return image + 40 * soft * _bad(i)

    (found,) = _report(scene, landmarks, brighter).findings
    assert (found.kind, found.first_frame, found.last_frame) == ("colour", FIRST, LAST)
    assert set(found.also) <= {"edge", "light", "misaligned", "jitter"}


def test_a_hard_step_around_a_face_too_bright_is_an_edge_of_its_own_and_lies_there(scene, landmarks):
    edge, colour = sorted(_report(scene, landmarks, _brighter).findings, key=lambda f: f.kind, reverse=True)
    assert (edge.kind, edge.region_name, colour.kind) == ("edge", "edge", "colour")
    assert (edge.first_frame, edge.last_frame) == (colour.first_frame, colour.last_frame) == (FIRST, LAST)


def test_a_frame_that_jumps_and_returns_has_popped(scene, landmarks):
    def jump(image, inside, i):
        return np.where(inside & (i in (20, 21)), 255 - image, image)

    for has_reference in (True, False):
        (found,) = _report(scene, landmarks, jump, has_reference).findings
        assert (found.kind, found.first_frame, found.last_frame) == ("popped", 20, 21)


def test_a_black_patch_is_a_hole(scene, landmarks):
    def patch(image, inside, i):
        near = np.hypot(*(np.indices((240, 240)) - np.array([135, 120])[:, None, None])) < 22
        return np.where(near[..., None] & _bad(i), 0, image)

    (found,) = _report(scene, landmarks, patch).findings
    assert (found.kind, found.first_frame, found.last_frame) == ("hole", FIRST, LAST)


def test_a_regular_pattern_is_a_checkerboard(scene, landmarks):
    def pattern(image, inside, i):
        wave = np.where(np.indices((240, 240)).sum(0) % 2, 5, -5)[..., None]
        return np.where(inside & _bad(i), image + wave, image)

    (found,) = _report(scene, landmarks, pattern).findings
    assert found.kind == "checkerboard"
    assert abs(found.first_frame - FIRST) <= 1


def test_a_faint_shifted_copy_is_a_ghost(scene, landmarks):
    def copy(image, inside, i):
        return np.where(inside & _bad(i), 0.65 * image + 0.35 * np.roll(image, (5, 9), (0, 1)), image)

    (found,) = _report(scene, landmarks, copy).findings
    assert found.kind == "ghost"


def _turned(landmarks):
    """The canonical mesh with irises, seen from the front, in the place of the oval."""
    v = canonical().vertices
    points = np.column_stack([120 + 8 * v[:, 0], 125 - 8 * v[:, 1], -8 * v[:, 2]])
    eyes = [points[[33, 133]].mean(0)] * 5 + [points[[362, 263]].mean(0)] * 5
    return np.vstack([points, eyes]).astype(np.float32)


def test_the_landmarks_of_the_output_tell_expression_gaze_and_pose(scene, landmarks):
    face = _turned(landmarks)
    opened, looks = face.copy(), face.copy()
    opened[[14, 87, 317, 178, 402], 1] += 8
    looks[468:, 0] += 4
    middle = face.mean(0)
    turn = matrix(0, 0, 12)
    turned = ((face - middle) * (1, -1, -1) @ turn.T * (1, -1, -1) + middle).astype(np.float32)
    for changed, kind in ((opened, "expression"), (looks, "gaze"), (turned, "pose")):
        inspector = Inspector(FPS, True)
        for i in range(COUNT):
            mine = changed if 12 <= i <= 24 else face
            inspector.add(i, i / FPS, scene(i), scene(i), face, read=(mine, face))
        (found,) = inspector.finish().findings
        assert (found.kind, found.first_frame, found.last_frame) == (kind, 12, 24)
        assert found.pose == pytest.approx((0, 0), abs=1)


def test_a_face_that_becomes_someone_else_is_told_by_its_embeddings(scene, landmarks):
    mine, other = np.eye(128)[0] * 0.5, np.eye(128)[1] * 0.5
    inspector = Inspector(FPS, True)
    for i in range(COUNT):
        inspector.add(i, i / FPS, scene(i), scene(i), landmarks, identity=other if _bad(i) and i < 24 else mine)
    (found,) = inspector.finish().findings
    assert (found.kind, found.value) == ("identity", pytest.approx(0.5**0.5))


def _unmeasured(scene, landmarks, has_reference):
    """Measures of kinds that no frame has, of a swap that moves its mouth and of which everything is known."""
    face, inside = _turned(landmarks), hull_mask(landmarks, 240, 240)[..., None] > 0.5
    marks = []
    for i in range(36):
        marks.append(face.copy())
        marks[-1][[14, 87, 317, 178, 402], 1] += 4 + 4 * np.sin(i / 3)
    inspector = Inspector(FPS, has_reference)
    for i, own in enumerate(marks):
        output = np.where(inside, 255 - cv2.GaussianBlur(scene(i), (0, 0), 3), scene(i)).astype(np.uint8)
        reference, read = (scene(i), (marks[max(i - 2, 0)], own)) if has_reference else (None, None)
        inspector.add(i, i / FPS, output, reference, own, read=read, identity=np.eye(128)[0])
    measures = inspector.finish().measures
    return [limit.measure for _, limit in kinds.limits(has_reference) if not measures[limit.measure].notna().any()]


@pytest.mark.parametrize("has_reference", [True, False])
def test_every_kind_has_a_measure_that_is_computed(scene, landmarks, has_reference, monkeypatch):
    assert _unmeasured(scene, landmarks, has_reference) == []
    limit = kinds.Limit("never_computed", "%", 1, 2, 3, 1, "A measure that nobody computes")
    forgotten = kinds.Kind("forgotten", "forgotten", "it is forgotten", "compute it", limit, limit)
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, forgotten))
    assert _unmeasured(scene, landmarks, has_reference) == ["never_computed"]


@pytest.mark.parametrize("has_reference", [True, False])
def test_the_report_is_the_same_however_the_video_is_cut_and_stored(scene, landmarks, tmp_path, has_reference):
    inside = hull_mask(landmarks, 240, 240)[..., None] > 0.5
    outputs = [np.clip(_gain(scene(i).astype(np.float32), inside, i), 0, 255).astype(np.uint8) for i in range(COUNT)]
    outputs[32] = np.where(inside, 255 - outputs[32], outputs[32])

    def part(first, last):
        inspector = Inspector(FPS, has_reference)
        for i in range(max(first - 3, 0), last):
            seen = None if i in (5, 6) else landmarks
            other = scene(i) if has_reference else None
            inspector.add(i, i / FPS, outputs[i], other, seen, context=i < first)
        return inspector.part()

    whole = merge([part(0, COUNT)], FPS, has_reference)
    pieces = []
    for number, (first, last) in enumerate(((0, 13), (13, 14), (14, COUNT))):
        path = part(first, last).save(tmp_path / f"{number}.parquet")
        pieces.append(pickle.loads(pickle.dumps(InspectedPart.load(path))))  # noqa: S301
    again = merge(pieces, FPS, has_reference)
    assert {f.kind for f in whole.findings} == {"flicker", "popped"}
    assert again.findings == whole.findings
    assert again.pictures == whole.pictures
    pd.testing.assert_frame_equal(again.measures, whole.measures)


def test_flicker_is_a_tenth_from_frame_to_frame(scene, landmarks):
    report = _report(scene, landmarks, _gain)
    (found,) = [f for f in report.findings if f.kind == "flicker"]
    assert found.value == pytest.approx(100 * np.log(1.05 / 0.95), rel=0.1)
    assert found.severity == "high"


def test_flicker_is_found_without_reference(scene, landmarks):
    report = _report(scene, landmarks, _gain, has_reference=False)
    (found,) = [f for f in report.findings if f.kind == "flicker"]
    assert abs(found.first_frame - FIRST) <= 3
    assert abs(found.last_frame - LAST) <= 3


def test_flicker_of_the_footage_itself_is_no_fault(landmarks, scene):
    inspector = Inspector(FPS, True)
    for i in range(20):
        image = (scene(i) * (0.9 if i % 2 else 1.0)).astype(np.uint8)
        inspector.add(i, i / FPS, image, image, landmarks)
    assert inspector.finish().findings == ()


def test_a_face_that_stands_still_is_frozen(scene, landmarks):
    held = scene(FIRST - 1).astype(np.float32)
    report = _report(scene, landmarks, lambda image, inside, i: np.where(inside & _bad(i), held, image))
    (found,) = [f for f in report.findings if f.kind == "frozen"]
    assert (found.first_frame, found.last_frame) == (FIRST, LAST)
    assert found.severity == "high"


def test_frames_without_swap_are_missed_but_only_in_a_swap(scene, landmarks):
    def swap(image, inside, i):
        other = 255 - cv2.GaussianBlur(image, (0, 0), 3)
        return np.where(inside, image if i in (20, 21, 22) else other, image)

    report = _report(scene, landmarks, swap)
    (found,) = [f for f in report.findings if f.kind == "missed"]
    assert (found.first_frame, found.last_frame) == (20, 22)
    assert ("missed", 20) in report.pictures
    assert report.pictures["missed", 20].frame in (20, 21, 22)
    assert "missed" not in _kinds(_report(scene, landmarks, _brighter))


def test_a_cut_is_no_fault(scene, landmarks):
    inspector = Inspector(FPS, False)
    for i in range(30):
        image = scene(i) if i < 15 else 255 - scene(i)
        inspector.add(i, i / FPS, image, None, landmarks)
    assert inspector.finish().findings == ()


@pytest.mark.parametrize("has_reference", [True, False])
def test_footage_that_stands_still_is_no_fault(scene, landmarks, has_reference):
    inspector = Inspector(FPS, has_reference)
    for i in range(20):
        still = cv2.GaussianBlur(scene(0), (0, 0), 1)
        inspector.add(i, i / FPS, still, still if has_reference else None, landmarks)
    assert inspector.finish().findings == ()


def test_frames_without_a_face_are_rows_without_values(scene, landmarks):
    inspector = Inspector(FPS, True)
    for i in range(6):
        inspector.add(i, i / FPS, scene(i), scene(i), landmarks if i % 2 else None)
    report = inspector.finish()
    assert (report.frames, report.faces) == (6, 3)
    assert report.measures["colour"].isna().tolist() == [True, False] * 3


def test_no_frame_and_no_face_give_a_report(tmp_path):
    empty = Inspector(FPS, True).finish()
    assert (empty.frames, empty.findings) == (0, ())
    assert verdict(empty) == "No face was detected, so nothing was measured."
    assert write(empty, tmp_path / "e.html", {}).is_file()
    assert json.loads((tmp_path / "e.json").read_text())["measures"]["colour"]["median"] is None


def test_a_face_out_of_the_picture_is_no_face(scene, landmarks):
    inspector = Inspector(FPS, True)
    inspector.add(0, 0.0, scene(0), scene(0), landmarks + np.float32([1000, 0, 0]))
    assert inspector.finish().faces == 0


def test_the_render_may_say_where_it_pasted(scene, landmarks):
    mask = np.zeros((240, 240), np.float32)
    mask[80:160, 80:160] = 1
    inspector = Inspector(FPS, True)
    for i in range(6):
        image = scene(i)
        output = np.where(mask[..., None] > 0, np.minimum(image.astype(int) + 25, 255), image).astype(np.uint8)
        inspector.add(i, i / FPS, output, image, landmarks, mask)
    found = inspector.finish().findings
    assert {k for f in found for k in (f.kind, *f.also)} >= {"edge", "colour"}


def test_another_size_of_reference_raises(scene, landmarks):
    with pytest.raises(ValueError, match="size differs"):
        Inspector(FPS, True).add(0, 0.0, scene(0), scene(0)[:-2], landmarks)
    with pytest.raises(ValueError, match="missing"):
        Inspector(FPS, True).add(0, 0.0, scene(0), None, landmarks)


def test_json_has_the_contract_and_no_nan(scene, landmarks):
    found = to_json(_report(scene, landmarks, _gain))
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text)["findings"][0]["kind"] == "flicker"
    wanted = {
        "kind",
        "severity",
        "start",
        "end",
        "measure",
        "value",
        "threshold",
        "region",
        "first_frame",
        "last_frame",
    }
    assert wanted <= set(found["findings"][0])
    assert len(found["findings"][0]["region"]) == 4
    assert {"median", "p95", "max"} <= set(found["measures"]["flicker"])
    assert found["frames"] == COUNT


def _video(path: Path, frames, size=240, rate=30, times=None):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "ultrafast"}
        stream.codec_context.thread_count = 1
        for i, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:size, :size]), "rgb24")
            frame.pts = i if times is None else times[i]
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


class _Networks:
    """Stands for landmarker and identifier: the same face in every frame."""

    def __init__(self, points):
        self.points = points

    def landmark(self, image, region):
        return Landmarks(self.points, 0.9, None)

    def chip(self, image, landmarks):
        return image[:150, :150]

    def identify(self, chip):
        return np.eye(128, dtype=np.float32)[0]


@pytest.fixture
def followed(monkeypatch, landmarks):
    """The face tracker and the networks, replaced: landmarks in all frames of a video."""
    face = _turned(landmarks)

    def follow(video, identity, workers=1, progress=None, start=None, end=None):
        return Followed(pd.DataFrame({"frame": range(COUNT), "landmarks": [face] * COUNT}), ())

    monkeypatch.setattr(inspect_module, "follow", follow)
    monkeypatch.setattr(reading, "LiteRTLandmarker", lambda expressions: _Networks(face))
    monkeypatch.setattr(reading, "IDENTIFIERS", {"dlib": lambda: _Networks(face)})


def test_inspect_finds_flicker_in_an_encoded_video_and_nothing_in_a_clean_copy(tmp_path, scene, landmarks, followed):
    frames = [scene(i) for i in range(COUNT)]
    inside = hull_mask(landmarks, 240, 240)[..., None] > 0.5
    bad = [np.clip(_gain(f.astype(np.float32), inside, i), 0, 255).astype(np.uint8) for i, f in enumerate(frames)]
    clean, flicker = _video(tmp_path / "clean.mp4", frames), _video(tmp_path / "bad.mp4", bad)
    assert inspect(clean, clean).findings == ()
    (found,) = [f for f in inspect(flicker, clean).findings if f.kind == "flicker"]
    assert abs(found.first_frame - FIRST) <= 3
    assert abs(found.last_frame - LAST) <= 3
    assert "flicker" in _kinds(inspect(flicker))


@pytest.mark.parametrize("has_reference", [True, False])
def test_inspect_reads_landmarks_and_identity_of_the_output(tmp_path, scene, followed, has_reference):
    video = _video(tmp_path / "a.mp4", [scene(i) for i in range(COUNT)])
    measures = inspect(video, video if has_reference else None).measures
    read = ("geometry", "identity", *(("expression", "gaze", "pose") if has_reference else ()))
    assert [name for name in read if not measures[name].notna().any()] == []


def test_inspect_says_that_a_reference_shows_another_scene(tmp_path, scene, followed, caplog):
    video = _video(tmp_path / "a.mp4", [scene(i) for i in range(12)])
    upside = _video(tmp_path / "b.mp4", [np.ascontiguousarray(scene(i)[::-1]) for i in range(12)])
    inspect(video, video)
    assert not [r for r in caplog.records if "different scenes" in r.getMessage()]
    inspect(video, upside)
    assert [r for r in caplog.records if "a.mp4 and " in r.getMessage() and "different scenes" in r.getMessage()]


def test_inspect_refuses_another_size_or_other_frames(tmp_path, scene, followed):
    frames = [scene(i) for i in range(12)]
    video = _video(tmp_path / "a.mp4", frames)
    with pytest.raises(UsageError, match=r"240x240 and --reference .* is 120x120"):
        inspect(video, _video(tmp_path / "small.mp4", frames, size=120))
    with pytest.raises(
        UsageError, match=r"12 frames.*10 frames.*compared by time stamps.*2 frames have no counterpart"
    ):
        inspect(video, _video(tmp_path / "short.mp4", frames[:10]))
    with pytest.raises(UsageError, match=r"frame 6 is at 0\.200 s in the video and at 0\.300 s in the reference"):
        inspect(video, _video(tmp_path / "late.mp4", frames, times=[i if i < 6 else i + 3 for i in range(12)]))


def test_a_render_of_a_range_is_compared_with_that_range(tmp_path, scene, followed):
    frames = [scene(i) for i in range(20)]
    footage = _video(tmp_path / "a.mp4", frames)
    part = _video(tmp_path / "part.mp4", frames[6:14])
    other = inspect_module._reference(parse_footage(f"{footage}@0.2-0.46"))
    pairs = list(inspect_module._pairs(probe(part), other))
    assert [(mine.index, theirs.index) for mine, theirs in pairs] == [(i, i + 6) for i in range(8)]
    assert inspect(part, Path(f"{footage}@0.2-0.46")).frames == 8
    facts = inspect_module.page_facts(part, Path(f"{footage}@0.2-0.46"))
    assert facts["reference_path"] == str(footage) and facts["reference_offset"] == pytest.approx(0.2)
    with pytest.raises(UsageError, match=r"8 frames.*20 frames.*a.mp4@START-END"):
        inspect(part, footage)
    with pytest.raises(UsageError, match="contains no frame; the clip's last frame is at"):
        inspect(part, Path(f"{footage}@9-10"))


def test_the_page_shows_findings_as_text(tmp_path, scene, landmarks):
    nasty = '<img src=x onerror="alert(1)"> 日本.mp4'
    report = _report(scene, landmarks, _gain)
    page = write(report, tmp_path / "out.artifacts.html", {"video": nasty, "reference": None})
    html = page.read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt; 日本.mp4" in html
    assert "brightness flickers" in html
    assert html.count("data:image/jpeg;base64,") >= 2
    data = json.loads((tmp_path / "out.artifacts.json").read_text(encoding="utf-8"))
    assert data["meta"] == {"video": nasty}
    assert data["findings"][0]["kind"] == "flicker"
    assert "Check one passage: 0:00.4" in data["verdict"]
