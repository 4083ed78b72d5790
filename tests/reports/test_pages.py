from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import cv2
import numpy as np
import pandas as pd
import pytest

from curate.dataset.faceset import open_faceset, write_selection
from curate.errors import UsageError, WorkError
from curate.types import Subject
from reports.coverage.compare import write as write_comparison
from reports.coverage.figures import figures
from reports.coverage.gallery import TILE, TOP, people, people_sheet
from reports.coverage.page import verdict, write
from reports.page.grids import grid_map, shade, timeline
from reports.page.page import clock, duration, figure, to_text
from tests.tables import write_rows

NASTY = '<script>alert("x")<script> "q" & \'s\' 日本 ünï.mp4'


class _Page(HTMLParser):
    """What a browser would see: elements, text outside of scripts, references."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.references, self.text, self.inside = [], [], [], []
        self.images_without_alt = 0
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append(tag)
        self.references += [v for k, v in attributes if k in ("src", "href", "srcset", "data", "poster", "action")]
        self.images_without_alt += tag == "img" and not named.get("alt")
        if tag in ("script", "style"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside:
            self.text.append(data)


@pytest.fixture
def html(faceset):
    return write(faceset).read_text(encoding="utf-8")


def test_names_from_outside_are_text_never_markup(html):
    page = _Page(html)
    assert page.tags.count("script") == 1
    assert "b" not in page.tags
    text = "".join(page.text)
    assert NASTY in text
    assert "<b>group 0</b>" in text
    assert "another <i>person</i>" in text


def test_the_page_loads_nothing_from_elsewhere(html):
    page = _Page(html)
    assert page.references
    assert all(r.startswith("data:") for r in page.references)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", html)
    assert "default-src 'none'" in html


def test_the_page_can_be_read_by_all(html):
    page = _Page(html)
    assert page.images_without_alt == 0
    assert page.tags.count("h1") == 1
    assert '<html lang="en">' in html
    assert html.count("<svg") == html.count('role="img"') + html.count('aria-hidden="true"><rect')
    assert page.tags.count("th") >= 9
    assert "prefers-color-scheme: dark" in html and "@media print" in html


def test_figures_count_what_is_in_the_table(faceset):
    found = figures(faceset)
    assert (found.faces, found.kept, found.selected) == (60, 50, 20)
    assert found.pose.footage.sum() == 49  # one kept face has no pose
    assert found.pose.selection.sum() in (19, 20)
    assert found.light.footage.sum() == 50
    assert all(s.footage.sum() == 50 and s.selection.sum() == 20 for s in found.expressions + found.quality)
    assert [(d.reason, d.faces) for d in found.dropped] == [("another <i>person</i>", 10)]
    assert sum(c.faces for c in found.clusters) == 20
    assert sum(c.selected for c in found.clips) == 20
    assert found.coverage is not None and 0 < found.coverage <= 1
    assert found.curve[-1] == pytest.approx(found.coverage, abs=1e-4)
    assert np.all(np.diff(found.curve) >= -1e-6)
    assert found.minutes == pytest.approx(2 / 60)


def test_light_from_above_left_is_at_the_top_left(faceset):
    table = faceset.table()
    table["light_x"], table["light_y"] = np.float32(-0.9), np.float32(0.4)
    write_rows(faceset, table)
    row, column = np.argwhere(figures(faceset).light.footage)[0]
    assert column == 0
    assert 0 < row < 6


def test_the_json_holds_the_figures(faceset):
    page = write(faceset)
    assert page == faceset.reports / "coverage.html"
    data = json.loads((faceset.reports / "coverage.json").read_text(encoding="utf-8"))
    assert (data["faces"], data["kept"], data["selected"]) == (60, 50, 20)
    assert data["subject"]["name"] == NASTY
    assert data["clips"][0]["name"] == NASTY
    assert np.array(data["pose"]["footage"]).shape == (12, 18)
    assert data["settings"]["crop_size"] == 256


def test_the_page_goes_where_it_is_told_and_is_made_again_freely(faceset, tmp_path):
    first = write(faceset, tmp_path / "elsewhere")
    again = write(faceset, tmp_path / "elsewhere")
    assert first == again == tmp_path / "elsewhere" / "coverage.html"
    assert sorted(p.name for p in first.parent.iterdir()) == ["coverage.html", "coverage.json"]


def test_a_faceset_that_keeps_nobody_still_has_a_page(faceset):
    table = faceset.table()
    table["kept"] = False
    write_rows(faceset, table)
    found = figures(faceset)
    assert found.coverage is None
    assert verdict(found) == "None of 60 faces is kept."
    assert "another" in write(faceset).read_text(encoding="utf-8")


def test_without_a_selection_one_says_how_to_make_it(faceset):
    faceset.selection_path.unlink()
    with pytest.raises(WorkError, match="faceset select"):
        write(faceset)


def test_an_empty_selection_is_told(faceset):
    write_selection(faceset, faceset.selection().head(0))
    write(faceset)
    assert verdict(figures(faceset)) == "None of 50 kept faces is selected."


@pytest.fixture
def other(faceset, tmp_path):
    """The same faces, all turned 35 degrees further to the left, of another person."""
    folder = tmp_path / "other"
    shutil.copytree(faceset.folder, folder)
    made = open_faceset(folder).changed(subject=Subject("<i>other</i>", "research"))
    table = made.table()
    table["yaw"] += np.float32(35)
    write_rows(made, table)
    return made


def test_with_a_target_the_gaps_are_listed_in_words_and_pictures(faceset, other):
    for made in (faceset, other):  # nothing but the pose differs
        table = made.table().assign(stands_for=1)
        for name in ("expression", "gaze", "lighting"):
            table[name] = [np.zeros_like(v) for v in table[name]]
        write_rows(made, table)
    found = figures(faceset, other)
    assert found.target is not None and found.target.faces == 49
    assert found.pose.target.sum() == found.target.faces
    assert 0 < found.target.after <= found.target.before < 1
    assert any(gap.axis == "yaw" and "turned left" in gap.words for gap in found.target.gaps)
    html = write(faceset, target=other).read_text(encoding="utf-8")
    assert "turned left" in html and "&lt;i&gt;other&lt;/i&gt;" in html
    assert _Page(html).images_without_alt == 0
    data = json.loads((faceset.reports / "coverage.json").read_text(encoding="utf-8"))
    assert data["target"]["gaps"][0]["share"] == pytest.approx(found.target.gaps[0].share, abs=1e-4)


def test_a_target_like_the_footage_has_no_gap(faceset):
    assert figures(faceset, faceset).target.gaps == ()
    assert "There are no gaps" in write(faceset, target=faceset).read_text(encoding="utf-8")


def test_each_cell_of_a_chart_shows_a_face_that_is_on_the_page(html):
    wanted = set(re.findall(r'data-face="([^"]+)"', html))
    there = set(re.findall(r'<template id="([^"]+)">data:image/jpeg;base64,', html))
    assert len(wanted) > 40
    assert wanted <= there


def test_facesets_are_compared_side_by_side(faceset, other):
    page = write_comparison([faceset, other])
    html = page.read_text(encoding="utf-8")
    assert page == faceset.reports / "compare.html"
    assert _Page(html).tags.count("script") == 1
    assert "<i>other</i>" in "".join(_Page(html).text)
    data = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    covers = np.array(data["covers"])
    assert covers.shape == (2, 2)
    assert np.diag(covers) == pytest.approx(1, abs=1e-3)
    assert covers[0, 1] < 0.9
    assert [s["kept"] for s in data["facesets"]] == [50, 50]
    with pytest.raises(UsageError, match="given twice"):
        write_comparison([faceset, faceset])


def test_the_curve_goes_on_beyond_the_selection(faceset):
    found = figures(faceset)
    assert len(found.more)
    assert found.more[0] >= found.curve[-1]
    assert np.all(np.diff(found.more) >= -1e-6)
    assert found.more[-1] > 0.99  # all are chosen


def test_people_are_counted_most_faces_first(faceset):
    found = people(faceset)
    assert [(p.number, p.faces, p.subject) for p in found] == [(0, 50, True), (1, 10, False)]
    assert (found[0].frames, found[0].share) == (50, pytest.approx(50 / 60))
    assert found[1].share == pytest.approx(10 / 60)


def test_the_people_sheet_is_a_picture_with_a_row_each(faceset, tmp_path):
    path = people_sheet(faceset, tmp_path / "new" / "people.png")
    image = cv2.imread(str(path))
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert image.shape[0] == TOP + 2 * (TILE + 16) + 16
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20


def test_timeline_hand_checked():
    chart = timeline(np.arange(4.0), np.array([0, 1, np.nan, 4]), 1.0, [(1.0, 2.0, "low", "x")], width=40, height=10)
    assert chart.top == pytest.approx(4.2)
    assert chart.threshold == pytest.approx(10 - 10 / 4.2)
    assert chart.area.count("M") == 2  # the unknown frame parts the area
    assert chart.events[0][2:] == ("low", "x")
    assert chart.events[0][0] == pytest.approx(40 / 3)


def test_timeline_of_nothing():
    empty = np.zeros(0)
    assert timeline(empty, empty, 1.0, []).area == ""


def test_map_marks_what_the_selection_lacks_and_shades_by_share():
    edges = np.array([-10.0, 0, 10])
    footage, chosen = np.array([[5, 0], [3, 2]]), np.array([[1, 0], [0, 1]])
    cells = grid_map("Selection", chosen, edges, edges, missing=(footage > 0) & (chosen == 0), tick=10).cells
    assert [c.missing for c in cells] == [False, False, True, False]
    assert cells[0].label == "yaw −10 to 0°, pitch −10 to 0°: 1 of 2 faces"
    assert [shade(n, 1000) for n in (0, 1, 2, 5, 20, 50, 500)] == [0, 1, 2, 3, 4, 5, 6]


def test_numbers_in_words():
    assert [figure(v) for v in (None, float("nan"), 0, 0.01234, 1.5, 1234.5)] == [
        "–",
        "–",
        "0",
        "0.0123",
        "1.50",
        "1,234",
    ]
    assert [clock(s) for s in (0, 59.96, 61.25, 3661.2)] == ["0:00.0", "1:00.0", "1:01.2", "1:01:01.2"]
    assert (duration(0.5), duration(9.0), duration(None)) == ("30.0 s", "9.00 min", "–")
    assert to_text({"a": float("nan"), "b": [1, (2.5,)]}) == '{\n "a": null,\n "b": [\n  1,\n  [\n   2.5\n  ]\n ]\n}'


def test_a_big_selection_does_not_make_a_big_page(faceset):
    table = pd.concat([faceset.table()] * 40, ignore_index=True)
    table["face_id"] = [f"{i:012x}-0" for i in range(len(table))]
    table["kept"] = True
    write_rows(faceset, table)
    chosen = pd.DataFrame({"face_id": table["face_id"].head(2000), "rank": range(2000)})
    write_selection(faceset, chosen.assign(gain=0.0, cluster=[i % 40 for i in range(2000)], reason="covers 'x'"))
    assert write(faceset).stat().st_size < 2_000_000
