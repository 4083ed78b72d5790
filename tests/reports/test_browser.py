"""The pages in a real browser: nothing is asked from elsewhere, no error, and a cell shows one of its faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.faceset import Faceset
from reports.coverage_page import write


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
    assert page.locator(".tip").is_visible()
    first = page.locator(".tip span").inner_text()
    page.keyboard.press("ArrowUp")
    assert page.locator(".tip span").inner_text() != first
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
