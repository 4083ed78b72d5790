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

import numpy as np
import pandas as pd
import pytest

from reports.page.curves import Series, decimal, line_chart, scientific, short, ticks
from reports.training.figures import compact, points, quality, sentence, tidy, trend
from reports.training.held_out import summary, worst_groups
from reports.training.page import write
from reports.training.text import money, pace, rows, spell
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


def log_of(values: list[float], length: int = 1000, dssim: list[float] | None = None) -> pd.DataFrame:
    """Held-out SSIM of both sides at even steps, and what training saw."""
    steps = np.linspace(length / len(values), length, len(values))
    log = pd.DataFrame({"step": steps, "ssim_face_source": values, "ssim_face_target": values, "seconds": 2 * steps})
    return log if dssim is None else log.assign(dssim_source=dssim, dssim_target=dssim)


# The log


def test_a_log_is_put_in_order_and_what_is_not_a_number_is_unknown() -> None:
    log = tidy(pd.DataFrame({"step": [20, 10, 20, np.nan], "loss": [1.0, np.inf, "3", 4.0], "note": list("abcd")}))
    assert log["step"].tolist() == [10, 20]
    assert math.isnan(log["loss"][0]) and log["loss"][1] == 3
    assert tidy(pd.DataFrame()).empty and tidy(pd.DataFrame({"loss": [1.0]})).empty


def test_quality_is_read_under_the_mask_and_over_the_crop_where_that_is_all_there_is() -> None:
    log = tidy(log_of([0.4, np.nan, 0.8]).assign(ssim_face_target=[0.6, np.nan, np.nan], ssim=0.1))
    assert quality(log).values.tolist() == [0.5, 0.8]
    whole = quality(log.drop(columns=["ssim_face_source", "ssim_face_target"]))
    assert whole.values.tolist() == [0.1] * 3 and not whole.masked
    assert not len(quality(log[["step"]]).steps)


def test_a_rising_curve_rises() -> None:
    found = trend(tidy(log_of(list(np.linspace(0.5, 0.8, 30)))))
    assert found.state == "rises"
    assert found.change == pytest.approx(0.06, abs=0.011)
    assert "still rises: 0.79, up 0.05" in sentence(found, 1000, 0.1)


def test_a_curve_that_got_there_is_flat_since_then() -> None:
    found = trend(tidy(log_of([*np.linspace(0.5, 0.8, 10), *[0.8] * 20], 30_000)))
    assert found.state == "flat"
    assert 8_000 <= found.since <= 11_000
    assert f"flat since step {found.since:,}, at 0.80" in sentence(found, 30_000, 0.1)


def test_jitter_is_hardly_ever_a_trend() -> None:
    runs = [0.8 + np.random.default_rng(seed).normal(0, 0.01, 60) for seed in range(40)]
    assert sum(trend(tidy(log_of(list(values)))).state == "flat" for values in runs) >= 38


def test_held_out_falls_while_training_falls_on_is_overfitting() -> None:
    held = [*np.linspace(0.6, 0.84, 20), *np.linspace(0.84, 0.78, 20)]
    found = trend(tidy(log_of(held, 40_000, dssim=list(np.linspace(0.2, 0.02, 40)))))
    assert found.state == "overfits"
    assert 18_000 <= found.since <= 22_000
    words = sentence(found, 40_000, 0.1)
    assert words.startswith("It overfits") and "fell from 0.84" in words
    both = trend(tidy(log_of(held, dssim=[*np.linspace(0.2, 0.1, 20), *np.linspace(0.1, 0.3, 20)])))
    assert both.state == "falls" and "does not fall either" in sentence(both, 1000, 0.1)
    assert trend(tidy(log_of(held))).state == "falls"  # nothing is known of the training's loss


def test_a_short_log_says_so() -> None:
    assert sentence(trend(tidy(pd.DataFrame())), 0, math.nan) == "Nothing is logged yet."
    assert "No held-out face" in sentence(trend(tidy(pd.DataFrame({"step": [5.0], "loss": [0.07]}))), 5, 0.07)
    assert "too early" in sentence(trend(tidy(log_of([0.5, 0.6]))), 1000, 0.1)


def test_points_are_read_between_measurements() -> None:
    log = tidy(log_of([0.50, 0.52, 0.51, 0.54], 400).assign(cost=[1.0, 2, 3, 4], device_hours=[0.1, 0.2, 0.3, 0.4]))
    found = points(log)
    assert [p.ssim for p in found] == pytest.approx([0.50, 0.51, 0.52, 0.53, 0.54])
    assert [p.step for p in found] == pytest.approx([100, 150, 200, 350, 400])  # not before the dip was made good
    assert [p.seconds for p in found] == pytest.approx([200, 300, 400, 700, 800])
    assert math.isnan(found[0].took) and found[3].took == pytest.approx(300)
    assert found[3].paid == pytest.approx(1.5) and found[3].hours == pytest.approx(0.35)
    assert "No other came" not in pace(found, 850, "$")
    assert (
        pace(found, 2800, "€") == "The last point, to 0.54, took 1.7 min and € 0.50. No other came in the 33 min since."
    )


def test_points_without_time_or_rise() -> None:
    found = points(tidy(log_of([0.5, 0.45, 0.505]).drop(columns="seconds")))
    assert [p.ssim for p in found] == [0.5]
    assert math.isnan(found[0].seconds) and pace(found, math.nan, "$") == ""
    assert points(tidy(log_of([0.5]))) == []
    assert len(compact(points(tidy(log_of([0.1, 0.9]))))) == 8 + 15


# Groups


def test_the_worst_group_stands_out_with_few_faces_in_the_set() -> None:
    groups = worst_groups(made.faces())
    assert [g.ssim for g in groups] == sorted(g.ssim for g in groups)
    worst = groups[0]
    assert (worst.side, worst.name, worst.held_out, worst.in_set) == ("source", "left 40, mouth open", 12, 9)
    assert worst.few and worst.stands_out
    assert worst.advice == "Only 9 in the set: more of them would help."
    assert [f.ssim for f in worst.worst] == sorted(f.ssim for f in worst.worst)
    assert not any(g.stands_out for g in groups[1:])
    assert "source's faces “left 40, mouth open”" in summary(groups)


def test_alike_groups_are_said_to_be_alike() -> None:
    rng = np.random.default_rng(2)
    faces = [made.face("source", f"kind {i % 4}", 0.8 + rng.normal(0, 0.02), 50) for i in range(80)]
    groups = worst_groups(faces)
    assert len(groups) == 4 and not any(g.stands_out or g.few for g in groups)
    assert summary(groups).startswith("No group stands out") and "not the remedy" in summary(groups)


def test_a_bad_group_of_which_there_is_enough_needs_better_faces() -> None:
    faces = [
        made.face("target", kind, ssim + 0.001 * i, 70) for kind, ssim in (("a", 0.5), ("b", 0.8)) for i in range(9)
    ]
    worst = worst_groups(faces)[0]
    assert worst.stands_out and not worst.few
    assert "70 in the set already" in worst.advice
    none = worst_groups([*faces, *(made.face("target", "c", 0.3, 0) for _ in range(5))])[0]
    assert none.few and none.advice == "None in the set: add some."


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
    assert group.advice == "Too few held out to tell."


def test_groups_of_nothing_and_of_one_kind() -> None:
    assert worst_groups([]) == [] and worst_groups([made.face(ssim=math.nan)]) == []
    assert summary([]) == "No held-out face was measured."
    only = worst_groups([made.face(group="") for _ in range(4)])
    assert only[0].title == "faces without a group" and only[0].advice == "The only group of its side."
    assert "all in one group" in summary(only)


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
    assert [spell(s) for s in (3.21, 65, 600, 11_520, 200_000, math.nan)] == [
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
    assert data["trend"]["state"] == "flat" and "flat since" in data["verdict"]
    assert (data["steps"], data["ended"]) == (100_000, "finished")
    assert len(data["measured"]["step"]) == 40
    assert data["groups"][0]["name"] == "left 40, mouth open" and len(data["groups"]) == 8
    assert data["now"]["cost"] == pytest.approx(100_000 * 0.31 / 3600 * 0.42)
    assert data["config"]["lr"] == 2e-4 and data["subjects"]["target"] == "Jörg (release)"


@pytest.mark.parametrize("ended", ["", "stopped by SIGTERM"])
def test_a_training_of_nothing_has_a_page(tmp_path: Path, ended: str) -> None:
    empty = {"log": pd.DataFrame(), "faces": [], "facts": {}, "config": {}, "subjects": {}, "steps": 0}
    gone = [(5, tmp_path / "gone.png")]
    html = write(made.training(**empty, ended=ended, previews=gone), tmp_path / "empty.html").read_text(
        encoding="utf-8"
    )
    said = "It ended before anything was logged: stopped by SIGTERM." if ended else "Nothing is logged yet."
    assert said in html
    for words in (
        "There is no preview sheet yet",
        "No held-out face was measured",
        "None of this has been measured yet",
    ):
        assert words in html
    json.loads((tmp_path / "empty.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("lines", [1, 2, 12])
def test_columns_may_be_missing(tmp_path: Path, lines: int) -> None:
    log = made.rising()[["step", "loss"]].head(lines)
    write(made.training(log=log, ended="", faces=[made.face()]), tmp_path / "few.html")
    whole = (
        made.rising().drop(columns=[c for c in made.rising() if "face" in c or c in ("cost", "nearer")]).head(lines * 5)
    )
    html = write(made.training(log=whole, ended="", steps=30_000), tmp_path / "whole.html").read_text(encoding="utf-8")
    assert "SSIM, whole crop" in html and "images/s" in html and "This point cost" not in html


def test_a_swap_that_keeps_the_targets_face_is_told(tmp_path: Path) -> None:
    log = made.rising().assign(nearer=0.31)
    html = write(made.training(log=log), tmp_path / "kept.html").read_text(encoding="utf-8")
    assert "Only 31 % of the swaps are nearer to the source" in html


def test_hundreds_of_previews_do_not_make_a_big_page(tmp_path: Path) -> None:
    sheets = made.previews(tmp_path, 2, noise=True, cell=200)
    faces = [made.face("source", f"kind {i % 40}", 0.5, 9, i) for i in range(512)]
    log = made.rising(5000)
    told = made.training(previews=[(i, sheets[i % 2][1]) for i in range(300)], faces=faces, log=log)
    assert write(told, tmp_path / "big.html").stat().st_size < 4_000_000


# In a browser


class Opened:
    """A page that was opened from disk, and what it said and asked for."""

    def __init__(self, browser, path: Path, **options) -> None:
        self.page = browser.new_page(viewport={"width": 1200, "height": 900}, **options)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())


@pytest.fixture
def opened(browser, page: Path) -> Iterator[Opened]:
    shown = Opened(browser, page)
    yield shown
    shown.page.close()


def test_the_page_makes_no_error_and_asks_nobody(opened: Opened, page: Path) -> None:
    opened.page.wait_for_load_state()
    assert opened.said == []
    assert [u for u in opened.asked if u != page.as_uri() and not u.startswith("data:")] == []
    assert opened.page.locator("main section").count() == 8
    for width in (1200, 390):
        opened.page.set_viewport_size({"width": width, "height": 800})
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_slider_shows_an_earlier_preview(opened: Opened) -> None:
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


def test_the_keyboard_and_the_pointer_read_a_chart(opened: Opened) -> None:
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
    assert re.fullmatch(r"step [\d,]+: training 0\.\d{3}, held out 0\.\d{3}", tip.inner_text())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_and_labels_stand_out_in_both_schemes(browser, page: Path, scheme: str) -> None:
    shown = Opened(browser, page, color_scheme=scheme).page
    luminance = _beside("test_browser")._luminance
    card = shown.locator("figure.card").first.evaluate("e => getComputedStyle(e).backgroundColor")
    for style in "ab":
        label = shown.locator(f"svg text.{style}").first.evaluate("e => getComputedStyle(e).fill")
        low, high = sorted(luminance(re.findall(r"\d+", c)) for c in (card, label))
        assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2.2, AA
    shown.close()
