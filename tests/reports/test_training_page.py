"""The page of a training: its figures by hand, its words, and the page itself in a real browser."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.page.curves import Series, decimal, line_chart, scientific, short, ticks
from reports.training.figures import Quality, Trend, compact, points, sentence
from reports.training.held_out import summary, worst_groups
from reports.training.page import performance, write
from reports.training.text import money, pace, rows, time_span
from reports.training.timelapse import LARGE, MOST, lapse, within


def _beside(name: str) -> ModuleType:
    """A module of this folder: pytest's importlib mode does not put it on the path."""
    spec = importlib.util.spec_from_file_location(f"reports_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


made = _beside("trainings")
pages = _beside("test_pages")
browsing = _beside("test_browser")


# The figures


def curve(values: list[float], length: int = 1000) -> tuple[pd.DataFrame, Quality]:
    """A log with these held-out SSIMs at even steps."""
    steps = np.linspace(length / len(values), length, len(values))
    return pd.DataFrame({"step": steps, "seconds": 2 * steps}), Quality(steps, np.array(values), True)


def test_a_short_log_says_so() -> None:
    assert sentence(Trend("none"), 0, math.nan) == "Nothing has been logged yet."
    assert "have not been evaluated yet (step 5, loss 0.070)" in sentence(Trend("none"), 5, 0.07)
    assert "too early" in sentence(Trend("short", 0.6), 1000, 0.1)


def test_points_are_read_between_measurements() -> None:
    log, held_out = curve([0.50, 0.52, 0.51, 0.54], 400)
    found = points(log.assign(cost=[1.0, 2, 3, 4], device_hours=[0.1, 0.2, 0.3, 0.4]), held_out)
    assert [p.ssim for p in found] == pytest.approx([0.50, 0.51, 0.52, 0.53, 0.54])
    assert [p.step for p in found] == pytest.approx([100, 150, 200, 350, 400])  # not before the dip was made good
    assert [p.seconds for p in found] == pytest.approx([200, 300, 400, 700, 800])
    assert math.isnan(found[0].took) and found[3].took == pytest.approx(300)
    assert found[3].paid == pytest.approx(1.5) and found[3].hours == pytest.approx(0.35)
    assert "no further gain" not in pace(found, 850, "$")
    assert pace(found, 2800, "€") == (
        "The last gain, to 0.54, took 1.7 min and cost € 0.50. There has been no further gain in the 33 min since."
    )


def test_points_without_time_or_rise() -> None:
    log, held_out = curve([0.5, 0.45, 0.505])
    found = points(log.drop(columns="seconds"), held_out)
    assert [p.ssim for p in found] == [0.5]
    assert math.isnan(found[0].seconds) and pace(found, math.nan, "$") == ""
    assert points(*curve([0.5])) == []
    assert len(compact(points(*curve([0.1, 0.9])))) == 8 + 15


# Groups


def test_the_worst_group_stands_out_with_few_faces_in_the_set() -> None:
    groups = worst_groups(made.faces())
    assert [g.ssim for g in groups] == sorted(g.ssim for g in groups)
    worst = groups[0]
    assert (worst.side, worst.name, worst.held_out, worst.in_set) == ("source", "left 40, mouth open", 12, 9)
    assert worst.few and worst.stands_out
    assert worst.advice == "There are only 9 training faces like these: add more."
    assert [f.ssim for f in worst.worst] == sorted(f.ssim for f in worst.worst)
    assert not any(g.stands_out for g in groups[1:])
    assert "weakest group is “left 40, mouth open” (source)" in summary(groups)


def test_alike_groups_are_said_to_be_alike() -> None:
    rng = np.random.default_rng(2)
    faces = [made.face("source", f"kind {i % 4}", 0.8 + rng.normal(0, 0.02), 50) for i in range(80)]
    groups = worst_groups(faces)
    assert len(groups) == 4 and not any(g.stands_out or g.few for g in groups)
    assert summary(groups).startswith("No group stands out") and "will not help" in summary(groups)


def test_a_bad_group_of_which_there_is_enough_needs_better_faces() -> None:
    faces = [
        made.face("target", kind, ssim + 0.001 * i, 70) for kind, ssim in (("a", 0.5), ("b", 0.8)) for i in range(9)
    ]
    worst = worst_groups(faces)[0]
    assert worst.stands_out and not worst.few
    assert "70 training faces already" in worst.advice
    none = worst_groups([*faces, *(made.face("target", "c", 0.3, 0) for _ in range(5))])[0]
    assert none.few and none.advice == "There are no training faces like these: add some."


def test_a_face_of_unknown_pose_and_time_has_a_caption(tmp_path: Path) -> None:
    face = replace(made.face(), time=math.nan, yaw=math.nan, pitch=math.nan)
    text = "".join(
        pages._Page(write(made.training(faces=[face]), tmp_path / "a.html").read_text(encoding="utf-8")).text
    )
    assert f"0.80 · {made.NASTY}\n" in text


def test_one_bad_face_is_no_group_that_stands_out() -> None:
    rng = np.random.default_rng(4)
    faces = [made.face("source", "many", 0.8 + rng.normal(0, 0.05), 50) for _ in range(40)]
    group = worst_groups([*faces, made.face("source", "one", 0.7, 40)])[0]
    assert group.name == "one" and not group.stands_out
    assert group.advice == "There are too few held-out faces to judge."


def test_groups_of_nothing_and_of_one_kind() -> None:
    assert worst_groups([]) == [] and worst_groups([made.face(ssim=math.nan)]) == []
    assert summary([]) == "Held-out faces have not been evaluated yet."
    only = worst_groups([made.face(group="") for _ in range(4)])
    assert only[0].title == "ungrouped faces" and only[0].advice == "This is the only group of its side."
    assert "in one group" in summary(only)


# Charts and words


def test_ticks_are_round_and_go_around_the_values() -> None:
    assert ticks(0.52, 0.86, 5) == [0.5, 0.6, 0.7, 0.8, 0.9]
    assert ticks(0, 100_000, 5) == [0, 20_000, 40_000, 60_000, 80_000, 100_000]
    assert len(ticks(0.8, 0.8, 5)) >= 2
    assert [short(v) for v in (0, 0.8, 1.5, 20_000, 5e-5, -0.25)] == ["0", "0.8", "1.5", "20,000", "5e−5", "−0.25"]
    assert [decimal(v) for v in (0.831, -0.02, 1.2, 0, math.nan)] == ["0.83", "−0.02", "1.20", "0.00", "–"]
    assert [scientific(v) for v in (0.0712, 12.34, 4e-5, 0)] == ["0.0712", "12.3", "4.0e−5", "0"]


def test_a_chart_hand_checked() -> None:
    steps = np.array([0.0, 50, 100])
    lines = [Series("a", "a", steps, np.array([0, 1.0, 2])), Series("b", "b", steps, np.array([np.nan, np.nan, 1.9]))]
    chart = line_chart(lines, "value", decimal, width=200, height=100)
    assert chart is not None
    assert chart.lines[0].path == "M0.0,100.0L100.0,50.0L200.0,0.0"
    assert chart.lines[1].label == "b 1.90"
    assert chart.lines[1].label_y - chart.lines[0].label_y >= 13
    assert [c.label for c in chart.columns] == [
        f"step {s}: a {v}, b 1.90" for s, v in ((0, "0.00"), (50, "1.00"), (100, "2.00"))
    ]
    assert chart.columns[1].dots[0] == (100, 50, "a")
    assert (chart.x_ticks[0], chart.x_ticks[-1]) == ((0, "0"), (200, "100"))
    assert line_chart([Series("a", "a", steps, np.full(3, np.nan))], "value") is None


def test_a_long_log_makes_a_short_path_and_a_log_scale_leaves_out_zero() -> None:
    steps = np.arange(1.0, 20_001)
    chart = line_chart([Series("", "a", steps, np.where(steps == 7, 0, 1 / steps))], "value", log=True)
    assert chart is not None
    assert chart.lines[0].path.count("L") < 300 and len(chart.columns) == 100
    assert "nan" not in chart.lines[0].path


def test_time_and_money_in_words() -> None:
    assert [time_span(s) for s in (3.21, 65, 600, 11_520, 200_000, math.nan)] == [
        "3.2 s",
        "65 s",
        "10 min",
        "3.2 h",
        "2.3 days",
        "–",
    ]
    assert [money(v, "$") for v in (1234.5, 0.0012, 0, math.nan)] == ["$ 1,234.50", "$ 0.0012", "$ 0.00", "–"]
    assert rows({"final_lr": 0.05, "a": None, "b": True, "c": {"x": (1, 2)}, "d": ""}) == [
        ("final lr", "0.05"), ("a", "none"), ("b", "yes"), ("c", "x: 1, 2"), ("d", "none"),
    ]  # fmt: skip


# Previews


def test_few_of_many_previews_are_kept_the_first_and_the_newest_among_them(tmp_path: Path) -> None:
    sheets = made.previews(tmp_path, 6, cell=16)
    found = lapse([(i, sheets[i % 6][1]) for i in range(300)])
    assert found is not None
    assert len(found.shots) == MOST and found.of == 300
    assert (found.shots[0].step, found.shots[-1].step) == (0, 299)
    assert lapse([]) is None and lapse([(1, tmp_path / "gone.png")]) is None
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    mixed = lapse([(1, tmp_path / "broken.png"), sheets[0]])
    assert mixed is not None and [s.step for s in mixed.shots] == [1000]


def test_a_picture_is_made_to_fit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 700, 3), np.uint8)
    assert len(within(noise, 560, 30_000)) <= 30_000
    assert len(within(np.zeros((3000, 2, 3), np.uint8), *LARGE)) <= LARGE[1]


# The page


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return write(made.training(previews=made.previews(tmp_path / "previews", 8, cell=32)), tmp_path / "training.html")


def test_the_page_is_whole_and_names_are_text(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    seen = pages._Page(html)
    assert seen.tags.count("script") == 1 and "b" not in seen.tags
    text = "".join(seen.text)
    assert made.NASTY in text and 'run <1> & "more"' in text and "down 15 & <b>dark</b>" in text
    assert all(r.startswith("data:") for r in seen.references)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", html)
    assert seen.images_without_alt == 0 and seen.tags.count("h1") == 1
    assert not re.search(r"\bnan\b", text, re.I)
    assert html.count("<svg") == html.count('role="img"')


def test_the_json_holds_the_figures(page: Path) -> None:
    data = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert data["trend"]["state"] == "flat" and "flat at 0.84 since step 67,500" in data["verdict"]
    assert (data["steps"], data["ended"]) == (100_000, "finished")
    assert len(data["measured"]["step"]) == 40
    assert data["groups"][0]["name"] == "left 40, mouth open" and len(data["groups"]) == 8
    assert data["now"]["cost"] == pytest.approx(100_000 * 0.31 / 3600 * 0.42)
    assert data["config"]["lr"] == 2e-4 and data["subjects"]["target"] == "Jörg (release)"


@pytest.mark.parametrize("ended", ["", "stopped by SIGTERM"])
def test_a_training_of_nothing_has_a_page(tmp_path: Path, ended: str) -> None:
    empty = {"log": pd.DataFrame({"step": []}), "faces": [], "facts": {}, "config": {}, "subjects": {}, "steps": 0}
    empty |= {"quality": Quality(np.zeros(0), np.zeros(0), True), "trend": Trend("none")}
    gone = [(5, tmp_path / "gone.png")]
    html = write(made.training(**empty, ended=ended, previews=gone), tmp_path / "empty.html").read_text(
        encoding="utf-8"
    )
    said = "The run ended before anything was logged (stopped by SIGTERM)." if ended else "Nothing has been logged yet."
    assert said in html
    for words in (
        "There are no preview sheets",
        "Held-out faces have not been evaluated",
        "Nothing has been measured yet",
    ):
        assert words in html
    json.loads((tmp_path / "empty.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("lines", [1, 2, 12])
def test_columns_may_be_missing(tmp_path: Path, lines: int) -> None:
    log = made.rising()[["step", "loss"]].head(lines)
    none = Quality(np.zeros(0), np.zeros(0), True)
    few = made.training(log=log, quality=none, trend=Trend("none"), ended="", faces=[made.face()])
    write(few, tmp_path / "few.html")
    whole = (
        made.rising().drop(columns=[c for c in made.rising() if "face" in c or c in ("cost", "nearer")]).head(lines * 5)
    )
    held = whole.dropna(subset=["ssim"])
    crop = Quality(held["step"].to_numpy(), held["ssim"].to_numpy(), False)
    going = made.training(log=whole, quality=crop, ended="", steps=30_000)
    html = write(going, tmp_path / "whole.html").read_text(encoding="utf-8")
    assert "SSIM, whole crop" in html and "images/s" in html and "Cost of this gain" not in html


@pytest.mark.parametrize("ended", ["", "finished"])
def test_a_run_that_ended_while_quality_rose_is_undertrained(tmp_path: Path, ended: str) -> None:
    page = write(made.training(trend=Trend("rises", 0.84, 0.02), ended=ended), tmp_path / "rising.html")
    assert ("The run is undertrained: resume it" in page.read_text(encoding="utf-8")) == bool(ended)


def test_swaps_that_keep_the_targets_identity_are_reported(tmp_path: Path) -> None:
    log = made.rising().assign(nearer=0.31)
    html = write(made.training(log=log), tmp_path / "kept.html").read_text(encoding="utf-8")
    assert "Only 31 % of the swaps resemble the source more than the target" in html


def test_hundreds_of_previews_do_not_make_a_big_page(tmp_path: Path) -> None:
    sheets = made.previews(tmp_path, 2, noise=True, cell=200)
    faces = [made.face("source", f"kind {i % 40}", 0.5, 9, i) for i in range(512)]
    log = made.rising(5000)
    large = made.training(previews=[(i, sheets[i % 2][1]) for i in range(300)], faces=faces, log=log)
    assert write(large, tmp_path / "big.html").stat().st_size < 4_000_000


# In a browser


@pytest.fixture
def opened(browser, page: Path) -> Iterator[Any]:
    shown = browsing.Opened(browser, page)
    yield shown
    shown.page.close()


def test_the_page_makes_no_error_and_asks_nobody(opened: Any, page: Path) -> None:
    opened.page.wait_for_load_state()
    assert opened.said == []
    assert opened.outside(page) == []
    assert opened.page.locator("main section").count() == 8
    for width in (1200, 390):
        opened.page.set_viewport_size({"width": width, "height": 800})
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_slider_shows_an_earlier_preview(opened: Any) -> None:
    page = opened.page
    large, slider, said = (page.locator(f"[data-lapse] {name}").first for name in ("img", "input", "output"))
    newest = large.get_attribute("src")
    assert said.inner_text() == "Step 8,000"
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert said.inner_text() == large.get_attribute("alt") == slider.get_attribute("aria-valuetext") == "Step 7,000"
    assert large.get_attribute("src") != newest
    page.keyboard.press("Home")
    assert said.inner_text() == "Step 1,000"
    assert large.evaluate("i => i.decode().then(() => i.naturalWidth)") > 100
    page.locator("[data-lapse] li img").nth(3).click()
    assert said.inner_text() == "Step 4,000" and slider.input_value() == "3"
    slider.press("End")
    assert large.get_attribute("src") == newest


def test_the_keyboard_and_the_pointer_read_a_chart(opened: Any) -> None:
    page = opened.page
    chart, tip = page.locator("section:has(#quality) [data-map]").first, page.locator(".tip")
    chart.focus()
    page.keyboard.press("ArrowLeft")
    assert tip.inner_text().startswith("step 97,500: source 0.8")
    assert chart.locator(".on + .dots").evaluate("d => getComputedStyle(d).visibility") == "visible"
    for _ in range(60):
        page.keyboard.press("ArrowLeft")
    assert tip.inner_text().startswith("step 2,500: source 0.5")
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    cell = page.locator("section:has(#overfit) .cell").nth(50)
    cell.scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    cell.hover(force=True)
    tip.wait_for(state="visible", timeout=3000)
    assert re.fullmatch(r"step [\d,]+: training 0\.\d{3}, held-out 0\.\d{3}", tip.inner_text())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_and_labels_stand_out_in_both_schemes(browser, page: Path, scheme: str) -> None:
    shown = browsing.Opened(browser, page, color_scheme=scheme).page
    luminance = browsing._luminance
    card = shown.locator("figure.card").first.evaluate("e => getComputedStyle(e).backgroundColor")
    for style in "ab":
        label = shown.locator(f"svg text.{style}").first.evaluate("e => getComputedStyle(e).fill")
        low, high = sorted(luminance(re.findall(r"\d+", c)) for c in (card, label))
        assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2.2, AA
    shown.close()


def test_the_page_lists_what_swaps_follow(tmp_path: Path) -> None:
    log = made.rising().assign(
        follows=0.8, follows_jaw=0.95, slope_jaw=1.02, follows_blink=0.92, slope_blink=0.3, follows_gaze_up=0.1,
        slope_gaze_up=0.05,
    )  # fmt: skip
    assert performance(log) == [
        ("Mouth open", "0.95", "1.02", ""),
        ("Eyes closed", "0.92", "0.30", "too little movement"),
        ("Gaze, up and down", "0.10", "0.05", "not followed"),
    ]
    assert performance(made.rising()) == []
    page = write(made.training(log=log), tmp_path / "training.html").read_text(encoding="utf-8")
    assert "Performance followed" in page and "too little movement" in page and "Lips pursed" not in page
    bare = write(made.training(), tmp_path / "bare.html").read_text(encoding="utf-8")
    assert "Performance of held-out swaps" not in bare
