"""The pages in a real browser: nothing is asked from elsewhere, no error, and what is clicked or pressed happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.dataset.faceset import Faceset
from reports.artifact_page.page import write as write_artifacts
from reports.coverage.page import write

NASTY = '<script>alert("x")</script> "q" & \'s\' 日本 ünï #1?.mp4'


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

    def outside(self, path: Path) -> list[str]:
        """Addresses that are neither the page nor in it."""
        return [url for url in self.asked if url != path.as_uri() and not url.startswith("data:")]


@pytest.fixture(scope="module")
def opened(browser) -> Iterator[Opened]:
    pages: list[Opened] = []

    def open_page(path: Path, **options) -> Opened:
        pages.append(Opened(browser, path, **options))
        return pages[-1]

    yield open_page
    for page in pages:
        page.page.close()


def test_the_page_makes_no_error_and_asks_nobody(opened, faceset: Faceset) -> None:
    path = write(faceset)
    page = opened(path)
    page.page.wait_for_load_state()
    assert page.said == []
    assert page.outside(path) == []
    assert page.page.locator("main section").count() >= 8


@pytest.mark.parametrize("chart", ["pose", "expression", "light"])
def test_a_cell_shows_its_number_and_one_of_its_faces(opened, faceset: Faceset, chart: str) -> None:
    page = opened(write(faceset)).page
    cell = page.locator(f"section:has(#{chart}) .cell[data-face]").first
    tip = page.locator(".tip")
    assert tip.is_hidden()
    cell.scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    cell.hover(force=True)
    tip.wait_for(state="visible", timeout=3000)
    assert tip.locator("span").inner_text() == cell.get_attribute("data-label")
    assert tip.locator("img").evaluate("i => i.decode().then(() => i.naturalWidth)") == 112
    page.mouse.move(2, 2)
    tip.wait_for(state="hidden", timeout=3000)


def test_the_keyboard_walks_over_the_cells(opened, faceset: Faceset) -> None:
    page = opened(write(faceset)).page
    chart = page.locator("section:has(#pose) [data-map]").first
    chart.focus()
    page.keyboard.press("ArrowRight")
    page.locator(".tip").wait_for()
    first = page.locator(".tip span").inner_text()
    page.keyboard.press("ArrowUp")
    second = page.locator(".tip span").inner_text()
    assert second != first
    page.evaluate("scrollBy(0, 40); new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.locator(".tip span").inner_text() == second and page.locator(".tip").is_visible()
    page.keyboard.press("Escape")
    assert page.locator(".tip").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(opened, faceset: Faceset, scheme: str) -> None:
    page = opened(write(faceset), color_scheme=scheme).page
    ink, paper = (
        page.evaluate(f"getComputedStyle(document.body).{name}").removeprefix("rgb(").removesuffix(")").split(", ")
        for name in ("color", "backgroundColor")
    )
    light, dark = sorted((_luminance(c) for c in (ink, paper)), reverse=True)
    assert _luminance(paper) == (light if scheme == "light" else dark)
    assert (light + 0.05) / (dark + 0.05) >= 7  # WCAG 2.2, AAA


def _luminance(colour: list[str]) -> float:
    shares = [float(c) / 255 for c in colour]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_awkward_names_are_text(opened, faceset: Faceset) -> None:
    page = opened(write(faceset)).page
    names = page.locator("section:has(#clips) tbody th").all_inner_texts()
    assert faceset.clips[0].name in names
    assert page.locator("main b, main i:not(.key i)").count() == 0


@pytest.fixture
def videos(write_video, tmp_path: Path) -> dict[str, Path]:
    """Target and render, 2 s of 240 x 180; a frame's level tells its number, the render is brighter by 20."""
    made = {}
    for name, more in (("target", 0), ("render", 20)):
        frames = [np.full((180, 240, 3), 30 + 2 * i + more, np.uint8) for i in range(50)]
        made[name] = write_video(tmp_path / f"{name} {NASTY.replace('/', '')}", frames)
    return made


@pytest.fixture
def artifact_page(artifacts, videos: dict[str, Path], tmp_path: Path) -> Path:
    """An early and a late finding, between them no face."""
    found = [artifacts.finding("edge", 5, 9, 9, region_name="<b>jaw</b>"), artifacts.finding("colour", 40, 45)]
    meta = {"video": videos["render"].name, "reference": NASTY, "reference_path": videos["target"]}
    return write_artifacts(artifacts.report(found, 50, range(20, 30)), tmp_path / "out.artifacts.html", meta)


def _until(page: Opened, expression: str) -> None:
    """Playwright's own way evaluates text inside the page, which the page's policy forbids."""
    for _ in range(300):
        if page.page.evaluate(expression):
            return
        page.page.wait_for_timeout(50)
    pytest.fail(f"never true: {expression}")


def _playing(page: Opened) -> None:
    _until(page, "Array.from(document.querySelectorAll('video')).every(v => v.readyState >= 2 && !v.seeking)")


def _times(page: Opened) -> list[float]:
    _playing(page)
    return [page.page.evaluate(f"document.querySelector('[data-role={r}]').currentTime") for r in ("render", "target")]


def test_the_artifact_page_asks_for_its_two_videos_only(opened, artifact_page: Path, videos) -> None:
    page = opened(artifact_page)
    _playing(page)
    assert page.said == []
    assert set(page.outside(artifact_page)) == {v.as_uri() for v in videos.values()}
    assert NASTY in page.page.locator("section:has(#facts)").inner_text()
    assert "<b>jaw</b>" in page.page.locator(".verdict").inner_text()
    assert page.page.locator("main b").count() == 0


def test_a_click_on_the_timeline_seeks_both_videos_and_the_list(opened, artifact_page: Path) -> None:
    page = opened(artifact_page)
    assert _times(page) == [pytest.approx(0.29, abs=0.02)] * 2  # the worst frame of the worst place
    page.page.locator(".lane:not(.sum) .mark.medium, .lane:not(.sum) .mark.low").first.click()
    assert _times(page) == [pytest.approx(1.72, abs=0.12)] * 2
    assert page.page.locator(".passages .on h3").inner_text().startswith("0:01.6")
    assert "At this time: the colour of the face is off" in page.page.locator(".now").inner_text()
    assert page.page.locator(".pane").nth(1).locator(".boxes i").count() == 1
    page.page.locator(".passages [data-go]").first.click()
    assert _times(page) == [pytest.approx(0.21, abs=0.02)] * 2
    assert page.page.locator(".lanes").get_attribute("aria-valuetext") == "0:00.20"


def test_the_keyboard_plays_steps_and_jumps(opened, artifact_page: Path) -> None:
    page = opened(artifact_page)
    start = _times(page)[0]
    for key, moved in ((".", 0.04), (".", 0.08), (",", 0.04), ("ArrowRight", 1.04), ("ArrowLeft", 0.04)):
        page.page.keyboard.press(key)
        assert _times(page) == [pytest.approx(start + moved, abs=0.011)] * 2
    page.page.keyboard.press("n")
    assert _times(page)[0] == pytest.approx(1.61, abs=0.011)
    page.page.locator(".lanes").focus()
    page.page.keyboard.press("Home")
    assert _times(page)[0] < 0.05
    page.page.keyboard.press(" ")
    _until(page, "document.querySelector('[data-role=render]').currentTime > .4")
    page.page.keyboard.press(" ")
    render, target = _times(page)
    assert page.page.evaluate("Array.from(document.querySelectorAll('video')).every(v => v.paused)")
    assert render == target
    page.page.locator("#boxed").uncheck()
    assert not page.page.locator(".boxes").first.is_visible()


def test_the_difference_is_drawn_from_both_videos(opened, artifact_page: Path) -> None:
    page = opened(artifact_page)
    _playing(page)
    page.page.locator("#boxed").uncheck()
    page.page.wait_for_timeout(200)
    for gain, least, most in (("1", 15, 30), ("4", 60, 110)):
        page.page.locator("#gain").select_option(gain)
        shot = np.frombuffer(page.page.locator("canvas").screenshot(), np.uint8)
        level = float(cv2.imdecode(shot, cv2.IMREAD_GRAYSCALE)[20:-20, 20:-20].mean())
        assert least <= level <= most


@pytest.mark.parametrize("lost", ["render", "target"])
def test_a_lost_video_is_told_and_the_pictures_stay(opened, artifact_page: Path, videos, lost: str) -> None:
    videos[lost].unlink()
    page = opened(artifact_page).page
    note = page.locator(".failed")
    note.wait_for(state="visible", timeout=15_000)
    assert videos[lost].name in note.inner_text()
    assert page.locator("video").count() == (0 if lost == "render" else 1)
    assert page.locator(".passages img").first.evaluate("i => i.decode().then(() => i.naturalWidth)") > 0
    page.locator(".lanes").focus()
    page.keyboard.press("End")
    assert page.locator(".lanes").get_attribute("aria-valuetext") == "0:01.98"


def test_a_reference_whose_clock_starts_later_is_kept_in_step(opened, artifacts, write_video, tmp_path: Path) -> None:
    frames = [np.full((96, 128, 3), 30 + 3 * i, np.uint8) for i in range(50)]
    write_video(tmp_path / "render.mp4", frames)
    late = write_video(tmp_path / "late.mp4", frames, times=[300 + 24 * i for i in range(50)])
    report = artifacts.report([artifacts.finding("edge", 20, 24)])
    meta = {"video": "render.mp4", "reference_path": late}
    page = opened(write_artifacts(report, tmp_path / "out.html", meta))
    render, target = _times(page)
    assert (render, target) == (pytest.approx(0.89, abs=0.011), pytest.approx(1.39, abs=0.011))
