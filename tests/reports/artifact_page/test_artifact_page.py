"""Artifact page: words, passages, timeline, links and remedies, hand-checked, and the contents of the file."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from reports.artifact_page import timeline
from reports.artifact_page.page import to_json, write
from reports.artifact_page.passages import affected, passages, phrase, verdict, worst_second
from reports.artifact_page.player import link, player, track
from reports.artifact_page.remedies import COMPUTED, Context, SourcePoses, remedy, source_poses, typed
from reports.artifacts.kinds import KINDS, by_name
from reports.page.pictures import difference, jpeg

NASTY = '<script>alert("x")</script> "q" & \'s\' 日本 ünï.mp4'


def test_the_verdict_says_where_to_look(artifacts):
    made = artifacts.finding
    jaw = made("edge", 300, 349, 5, region_name="jaw/chin")
    assert verdict(artifacts.report([jaw], 400)) == (
        "Check one passage: 0:12.0–0:14.0 (the edge of the swap is visible at the jaw/chin). "
        "Looked at 400 of 400 frames."
    )
    found = [jaw, made("missed", 10, 12, 1.2), made("colour", 100, 124), made("soft", 200, 224, 1.1)]
    words = verdict(artifacts.report(found, 400))
    assert words.startswith("Check 4 passages, these first: 0:00.4–0:00.5 (the face is not swapped), 0:04.0–0:05.0 (")
    assert by_name()["soft"].phrase not in words
    assert verdict(artifacts.report((), 1234)) == "No artifacts were found. Looked at 1,234 of 1,234 frames."
    assert verdict(artifacts.report((), 50, range(9))) == "No artifacts were found. Looked at 41 of 50 frames."
    few = artifacts.report((), 1)
    few = replace(few, measures=few.measures.assign(**dict.fromkeys(few.measures.columns[6:-3], np.nan)))
    assert verdict(few).startswith("No artifacts of 3 kinds were found; "), "most need more frames"
    none = replace(few, measures=few.measures.assign(**dict.fromkeys(few.measures.columns[6:], np.nan)))
    assert verdict(none).startswith("Nothing could be measured: all ")
    assert verdict(artifacts.report((), 3, range(3))) == "No face was detected, so nothing was measured."


def test_findings_at_the_same_time_are_one_passage(artifacts):
    made = artifacts.finding
    long, worst, beside, after = (
        made("soft", 0, 249, 1.1), made("edge", 50, 60, 9), made("colour", 55, 64), made("flicker", 100, 110, 7),
    )  # fmt: skip
    found = passages(artifacts.report([long, worst, beside, after], 250).findings)
    assert [[f.kind for f in p.findings] for p in found] == [["edge", "colour"], ["flicker"], ["soft"]]
    assert found[0].span == "0:02.0–0:02.4"


def test_of_equal_severity_the_longer_passage_comes_first(artifacts):
    short, long = artifacts.finding("edge", 0, 4), artifacts.finding("edge", 100, 180)
    assert passages((short, long))[0].worst is long


def test_numbers_on_top(artifacts):
    found = [artifacts.finding("edge", 10, 14), artifacts.finding("colour", 12, 19), artifacts.finding("soft", 90, 99)]
    report = artifacts.report(found, 100)
    assert affected(report) == 20
    assert worst_second(report) < 0.3  # the first two lie in it; the third lies alone
    assert worst_second(artifacts.report((), 10)) is None


def test_the_timeline_hand_checked(artifacts):
    found = [artifacts.finding("edge", 25, 49, 9), artifacts.finding("colour", 50, 54, 1.2)]
    report = artifacts.report(found, 100, faceless=range(80, 90))
    made = timeline.timeline(report, passages(report.findings))
    assert (made.start, made.length) == (0, pytest.approx(4))
    assert [lane.title for lane in made.lanes] == ["visible edge around the face", "colour of the face is off"]
    edge, colour = (lane.marks[0] for lane in made.lanes)
    assert (edge.x, edge.width, edge.height) == (pytest.approx(250), pytest.approx(250), 1.0)
    assert (colour.x, colour.width) == (pytest.approx(500), pytest.approx(50))
    assert colour.height < edge.height  # severity shows without colour
    assert made.empty == ((pytest.approx(800), pytest.approx(100), "0:03.2–0:03.6: no face"),)
    assert made.ticks[:3] == ((0, "0:00"), (125, "0:00.5"), (250, "0:01"))
    assert [round(m.x) for m in made.summed] == list(range(250, 550, 10)), "a bar per frame"
    assert {m.severity for m in made.summed[:25]} == {"high"} and {m.severity for m in made.summed[25:]} == {"low"}
    assert made.summed[0].height == 0.5  # weight 4 of 8


def test_a_long_video_has_a_bounded_timeline(artifacts):
    found = [artifacts.finding("edge", i, i, 9 if i == 600 else 1.2) for i in range(0, 90_000, 60)]
    report = artifacts.report(found, 90_000)
    made = timeline.timeline(report, passages(report.findings))
    assert len(made.lanes[0].marks) <= 250 and len(made.summed) <= timeline.BARS
    assert sum(m.severity == "high" for m in made.lanes[0].marks) == 1  # the worst of those that share a bar
    assert made.lanes[0].findings == 1500


def test_a_video_near_the_page_is_linked_relatively(tmp_path):
    page = tmp_path / "a" / "b" / "c" / "out.html"
    assert link(page, page.parent / "out.mp4") == "./out.mp4"
    assert link(page, tmp_path / "a" / "x: #1?.mp4") == "./../../x%3A%20%231%3F.mp4"
    assert link(page, tmp_path / "far.mp4") == (tmp_path / "far.mp4").as_uri()


def test_a_box_moves_with_the_face(artifacts):
    part = artifacts.finding("edge", 0, 40, region=(80, 90, 50, 30))  # worst frame 20: the face is at 60, 30
    boxes = json.loads(track(artifacts.report([part], 50), part))
    assert boxes[0] == [0.0, 60, 90, 50, 30]
    assert boxes[-1] == [1.6, 100, 90, 50, 30]
    lost = artifacts.report([part], 50, faceless=range(50))
    assert json.loads(track(lost, part)) == [[0.0, 80, 90, 50, 30]]


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_every_kind_has_a_remedy(artifacts, kind):
    own = Context({"mask": "both", "feather": 0.1, "erode": 0.03, "colour": "reinhard", "size": 128, "sharpen": 0.0})
    found = artifacts.finding(kind, 10, 20)
    assert len(remedy(found, own)) > 15
    assert len(remedy(found)) > 15 and "--" not in remedy(found)  # nobody knows a foreign renderer's flags
    assert phrase(found) != found.title
    assert set(COMPUTED) <= set(by_name())
    assert not by_name()[kind].own_advice or kind not in COMPUTED


def test_remedies_name_figures(artifacts):
    sizes, made = {15: 80.0}, artifacts.finding
    edge = Context({"feather": 0.1, "blend": "feather"}, sizes=sizes)
    assert remedy(made("edge", 10, 20), edge) == (
        "Widen the feather to 12 px (now 8 px): --feather 0.15, or use --blend pyramid."
    )
    wide = Context({"feather": 0.4, "blend": "pyramid"}, sizes=sizes)
    assert remedy(made("edge", 10, 20), wide).startswith(
        "Use more --erode; a feather wider than the present one (now 0.4)"
    )
    assert remedy(made("colour", 1, 2), Context({"colour": "reinhard"})) == "Use --colour mkl (now reinhard)."
    assert remedy(made("colour", 1, 2), Context({"colour": "mkl"})) == "Use --colour sot (now mkl)."
    small = Context({"size": 64, "sharpen": 0.0}, sizes=sizes)
    assert "(the face is 80 px here, the model draws 64), or render with --sharpen 0.3 (now 0)" in remedy(
        made("soft", 10, 20), small
    )
    assert "--range 0:00.4-0:00.8" in remedy(made("frozen", 10, 19), edge)
    assert "--range 0:02.4-0:02.8" in remedy(made("frozen", 10, 19), Context({"feather": 0.1}, offset=2.0))
    assert "--mask" not in remedy(made("ghost", 10, 19), Context({"mask": "union", "feather": 0.1}))
    assert "--sharpen" not in remedy(made("soft", 10, 19), Context({"sharpen": 2.0}))
    against = Context({"size": 64, "sharpen": 1.0}, kinds=frozenset({"soft", "checkerboard"}))
    assert "--sharpen" not in remedy(made("soft", 10, 19), against)  # the other one's remedy is --sharpen 0
    assert "--keep" not in remedy(made("lips", 10, 19), Context({"keep": "eyes,mouth"}))
    assert remedy(made("some_new_kind", 1, 2), edge) == ""


def test_a_pose_that_the_source_lacks_is_told(artifacts):
    source = SourcePoses(np.array([0.0] * 97 + [31, 40, 50]), np.zeros(100))
    known = Context({"colour": "none"}, source)
    turned = artifacts.finding("identity", 1, 9, pose=(34.0, 2.0))
    assert remedy(turned, known).endswith("Add source faces that are turned left beyond 30° (the source has 3 of 100).")
    up = artifacts.finding("soft", 1, 9, pose=(-3.0, -25.0))
    assert "are tilted up beyond 20° (the source has 0 of 100)" in remedy(up, known)
    for pose in ((5.0, 5.0), None, (float("nan"), float("nan"))):
        assert "the source has" not in remedy(artifacts.finding("soft", 1, 9, pose=pose), known)
    assert "the source has" not in remedy(artifacts.finding("frozen", 1, 9, pose=(34.0, 2.0)), known)
    plenty = Context({"colour": "none"}, SourcePoses(np.full(50, 40.0), np.zeros(50)))
    assert "the source has" not in remedy(turned, plenty)


def test_what_is_to_be_typed_is_told_apart():
    text = "Feather 12 px (now 8 px): --feather 0.15, or --blend pyramid. See: --range 0:01.4-0:06.6."
    assert [p for p, typed_ in typed(text) if typed_] == ["--feather 0.15", "--blend pyramid", "--range 0:01.4-0:06.6"]
    assert "".join(p for p, _ in typed(text)) == text
    assert typed("") == ()


def test_source_poses_are_those_of_the_selected_faces(faceset):
    table = faceset.selected(["yaw"])
    assert np.array_equal(source_poses(faceset).yaw, table["yaw"].dropna().to_numpy(np.float64))
    faceset.selection_path.unlink()
    assert source_poses(faceset) is None


def test_the_json_keeps_its_contract_and_says_more(artifacts):
    found = [artifacts.finding("edge", 10, 19, region_name="left cheek")]
    data = to_json(artifacts.report(found))
    first = data["findings"][0]
    assert {"kind", "severity", "start", "end", "measure", "value", "threshold", "region"} <= set(first)
    assert (first["start"], first["end"], first["time"]) == (0.4, 0.8, "0:00.4–0:00.8")
    assert first["region"] == [40, 30, 100, 120] and first["remedy"].startswith("Use a wider feather")
    assert data["measures"]["edge"]["threshold"] == first["threshold"]


def test_the_page_is_text_pictures_and_two_links(artifacts, faceset, tmp_path):
    found = [
        artifacts.finding("edge", 10, 19, region_name=NASTY, also=("colour",)),
        artifacts.finding("new<b>", 45, 48),
    ]
    name = NASTY.replace("/", "")
    meta = {
        "video": name, "reference": "t.mp4", "reference_path": tmp_path / name, "source_faceset": faceset.folder,
        "settings": {"feather": 0.1},
    }  # fmt: skip
    page = write(artifacts.report(found), tmp_path / "out.artifacts.html", meta)
    html = page.read_text(encoding="utf-8")
    assert "<script>alert" not in html and "new<b>" not in html
    assert "not listed separately): colour of the face is off." in html
    assert html.count("data:image/jpeg;base64,") == 6  # two passages: target, render, difference
    outside = [u for u in re.findall(r'(?:src|href)="([^"]*)"', html) if not u.startswith("data:")]
    assert len(outside) == 2 and all(u.startswith("./%3Cscript%3E") for u in outside)
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest|import\(|getImageData", html)
    data = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert data["meta"] == {"video": name, "reference": "t.mp4"}
    edge = next(f for f in data["findings"] if f["kind"] == "edge")
    assert "Widen the feather" in edge["remedy"] and "--feather 0.15" in edge["remedy"]


def test_without_reference_video_or_face_there_is_still_a_page(artifacts, tmp_path):
    alone = write(artifacts.report((), reference=False), tmp_path / "a.html", {"source_faceset": tmp_path / "none"})
    html = alone.read_text(encoding="utf-8")
    assert "<video" not in html and "No reference was given" in html and "no findings" in html
    empty = write(artifacts.report((), 0), tmp_path / "b.html", {"video": "x.mp4"})
    assert "not measured" in empty.read_text(encoding="utf-8")
    one = write(artifacts.report(()), tmp_path / "c.html", {"video": "x.mp4"}).read_text(encoding="utf-8")
    assert one.count("<video") == 1 and "<canvas" not in one


def test_a_long_bad_video_does_not_make_a_big_page(artifacts, tmp_path):
    kinds = ("edge", "colour", "soft", "flicker", "misaligned")
    found = [artifacts.finding(kinds[i % 5], 90 * i, 90 * i + 40, 1 + i % 9) for i in range(900)]
    report = artifacts.report(found, 90 * 900)
    rng = np.random.default_rng(1)
    noise = jpeg(rng.integers(0, 255, (240, 200, 3), np.uint8))  # larger than any real face's
    for key, picture in report.pictures.items():
        report.pictures[key] = type(picture)(picture.frame, noise, noise)
    page = write(report, tmp_path / "long.html", {"video": "x.mp4"})
    html = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 6_000_000
    assert html.count('<li class="card finding"') == 60
    assert len(json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))["findings"]) == 900


def test_the_difference_of_two_pictures():
    one, other = np.full((20, 20, 3), 100, np.uint8), np.full((20, 20, 3), 110, np.uint8)
    shown = cv2.imdecode(np.frombuffer(difference(jpeg(one), jpeg(other)), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(shown.astype(int) - 40).max() <= 3
    with pytest.raises(ValueError, match="cannot be compared"):
        difference(jpeg(one), jpeg(other[:10]))


def test_first_frames_belong_together_where_both_videos_are_there(write_video, tmp_path):
    frames = [np.full((64, 64, 3), 9 * i, np.uint8) for i in range(5)]
    video = write_video(tmp_path / "a.mp4", frames)
    reference = write_video(tmp_path / "b.mp4", frames, times=[300 + 24 * i for i in range(5)])
    assert player(tmp_path / "p.html", video, reference).offset == pytest.approx(0.5)
    assert player(tmp_path / "p.html", tmp_path / "later.mp4", reference).offset == 0
    assert player(tmp_path / "p.html", video, reference, 2.0).offset == 2
    (tmp_path / "c.mp4").write_bytes(b"no video")
    assert player(tmp_path / "p.html", tmp_path / "c.mp4", reference).offset == 0


def test_the_title_names_the_person_where_there_are_several(artifacts, tmp_path):
    for more, title in (({}, "Artifacts: a.mp4"), ({"person": "Ann"}, "Artifacts: a.mp4: Ann")):
        page = write(artifacts.report((), 10), tmp_path / "a.html", {"video": "a.mp4", **more})
        assert f"<title>{title}" in page.read_text()
