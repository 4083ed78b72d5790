"""The App in a real browser: a click on the Coverage panel shows a cell's faces, operators change the files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import cv2
import numpy as np
import pandas as pd
import pytest

from curate.app import launch, panels
from curate.dataset import corrections
from curate.dataset.faceset import Faceset, create, open_faceset, write_selection
from curate.dataset.pins import read_pins
from curate.settings import Settings
from curate.types import Subject
from tests.tables import random_rows, write_rows

FACES = 60


@pytest.fixture(scope="module")
def faceset(tmp_path_factory: pytest.TempPathFactory) -> Faceset:
    """60 faces of three poses, 10, 20 and 30 of each."""
    made = create(tmp_path_factory.mktemp("shown") / "set", Subject("A", "research"), Settings(crop_size=32))
    rows = random_rows(FACES, 2)
    rows["face_id"] = [f"0123456789ab-{i:07d}-0" for i in range(FACES)]
    rows["clip"], rows["light_from"], rows["status"], rows["kept"], rows["person"] = "c", "albedo", "ok", True, 0
    rows["InterEyeDistance"] = 60.0
    rows[["pose_confidence", "UnderExposurePrevention", "OverExposurePrevention"]] = 1.0
    rows["yaw"], rows["pitch"] = np.repeat([-25.0, 5.0, 45.0], [10, 20, 30]), 5.0
    rows["crop"] = [f"crops/{i}.jpg" for i in range(FACES)]
    (made.folder / "crops").mkdir()
    for i in range(FACES):
        cv2.imwrite(str(made.folder / f"crops/{i}.jpg"), np.full((32, 32, 3), 4 * i, np.uint8))
    write_rows(made, rows)
    chosen = pd.DataFrame({"face_id": rows["face_id"][[0, 15, 40]], "rank": range(3), "gain": 0.1, "cluster": 0})
    options = {"keep_misread": True}  # made-up faces jump from one to the next
    write_selection(made, chosen.assign(reason="covers 'frontal'"), options)
    return made


@pytest.fixture(scope="module")
def heads(head_facesets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Faceset:
    """A faceset with parts and crops, of a generated head."""
    folder = tmp_path_factory.mktemp("heads") / "heads"
    shutil.copytree(head_facesets["source"], folder)
    return open_faceset(folder)


@pytest.fixture(scope="module")
def address(
    browser, faceset: Faceset, heads: Faceset, database_server: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind((launch.ADDRESS, 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "FIFTYONE_DATABASE_DIR": str(tmp_path_factory.mktemp("database")),
        "PYTHONPATH": str(Path(launch.__file__).parents[2]),
    }
    log = tmp_path_factory.mktemp("log")
    told, printed = log / "stderr", log / "stdout"
    folders = [str(faceset.folder), str(heads.folder)]
    command = [sys.executable, "-m", "faceset", "app", *folders, "--port", str(port), "--no-browser"]
    with told.open("w") as stderr, printed.open("w") as stdout:
        running = subprocess.Popen(
            [*command, "--json"], env=environment, stderr=stderr, stdout=stdout, start_new_session=True
        )
    where = f"http://{launch.ADDRESS}:{port}"
    end = time.monotonic() + 400
    while told.read_text().count("the map is drawn") < 2 or not answers(f"{where}/fiftyone"):
        assert running.poll() is None, told.read_text()
        assert time.monotonic() < end, "the App does not answer"
        time.sleep(0.5)
    address = json.loads(printed.read_text())["address"]
    assert address.startswith(f"{where}/datasets/{launch.dataset_name(faceset.folder)}?token=")
    assert f"ssh -N -L {port}:127.0.0.1:{port} " in told.read_text()
    yield address
    running.send_signal(signal.SIGINT)
    try:
        running.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except urllib.error.HTTPError as refused:
        return refused.code == 403
    except OSError:
        return False
    return True


def test_it_opens_on_the_selection_next_to_coverage(browser, address: str, faceset: Faceset) -> None:
    page = first_page(browser, address)
    page.wait_for_selector(".js-plotly-plot .heatmaplayer image", timeout=120_000)
    assert shown_count(page, 3) == 3
    assert page.locator("[data-cy=panel-tab-embeddings]").count() == 1, page.locator("[data-cy^=panel-tab]").count()
    operate(page, "Left out")
    assert shown_count(page, FACES - 3) == FACES - 3
    page.wait_for_selector("text=Faces in the other panels", timeout=60_000)
    operate(page, "Selection")
    assert shown_count(page, 3) == 3
    page.close()


def test_pin_choose_again_and_write_change_the_files(browser, address: str, faceset: Faceset) -> None:
    page = first_page(browser, address)
    before = faceset.selection_path.read_bytes()
    faces = [f"0123456789ab-{i:07d}-0" for i in (0, 15)]  # the first two of the selection
    for _ in range(3):  # a busy App can miss a tick, and clears the ticks when it has pinned
        tick(page, 0)
        tick(page, 1)
        operate(page, "Pin faces")
        if waited(page, lambda: read_pins(faceset).pinned, 15) and sorted(read_pins(faceset).pinned) == faces:
            break
    assert sorted(read_pins(faceset).pinned) == faces
    operate(page, "Choose again", budget="7")
    page.wait_for_selector(f"text=7 of {FACES} eligible faces are selected", timeout=60_000)
    assert faceset.selection_path.read_bytes() == before
    operate(page, "Write selection")
    rows = waited(page, lambda: faceset.selection() if faceset.selection_path.read_bytes() != before else ())
    assert len(rows) == 7
    assert sorted(rows["face_id"][:2]) == faces
    operate(page, "Write selection")
    page.wait_for_selector("text=is saved already", timeout=60_000)
    page.close()


def test_dragging_a_handle_corrects_the_face_and_nothing_else(browser, address: str, heads: Faceset) -> None:
    face, before = str(heads.selected(["face_id"])["face_id"].iloc[0]), heads.table()
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    where = address.partition("/datasets/")[0]
    query = urlencode({"folder": str(heads.folder.resolve()), "face": face})
    assert page.goto(f"{where}/correct?{query}").status == 403  # without the token
    page.goto(f"{where}/correct?{query}&token={address.partition('token=')[2]}")
    page.wait_for_url(lambda url: "token" not in url)
    page.wait_for_selector(".handle", timeout=60_000)
    assert page.text_content("#place") == f"1 of {len(heads.selection())} selected faces"
    chin = page.locator(".handle[aria-label=chin]").bounding_box()
    middle = chin["x"] + chin["width"] / 2, chin["y"] + chin["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0], middle[1] + 60, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Edit the outline").click()
    page.locator(".corner").first.focus()
    page.keyboard.press("Shift+ArrowUp")
    page.get_by_role("button", name="Save").click()
    page.wait_for_selector("text=Saved. The face is scored again.", timeout=60_000)
    after, correction = heads.table(), corrections.correction_of(heads.folder, corrections.read(heads.folder)[face])
    others = before["face_id"] != face
    pd.testing.assert_frame_equal(after[others], before[others])
    assert after.loc[~others, "landmark_confidence"].item() == 1
    assert list(correction.handles) == ["chin"] and len(correction.outline) == 24
    page.get_by_role("button", name="Restore the face as found").click()
    page.wait_for_selector("text=The face is as it was found.", timeout=60_000)
    pd.testing.assert_frame_equal(heads.table(), before)
    answer = page.evaluate("fetch('/correct/face?folder=/etc&face=x').then((a) => a.text())")
    assert "was not opened with this faceset" in answer
    context.close()


def test_a_click_on_a_cell_shows_its_faces(browser, address: str, faceset: Faceset) -> None:
    # The last one: the App keeps the view for the next page.
    table = faceset.table(panels.COLUMNS)
    counted = panels.counts(panels.CHARTS["pose"], table)
    assert sorted(counted[counted > 0].tolist()) == [10, 20, 30]
    page = first_page(browser, address)
    page.wait_for_selector(".js-plotly-plot .heatmaplayer image", timeout=60_000)
    page.get_by_text("map", exact=True).first.click(timeout=60_000)  # the only entry of the Embeddings panel
    selected = len(faceset.selection())
    assert on_map(page, selected) == f"{FACES} points · {selected} in view"
    chosen = int(table["face_id"].isin(faceset.selection()["face_id"])[table["yaw"] == 45].sum())
    wanted = {(0, 45): 30, (0, -25): 10, (1, 45): chosen}
    shown, mapped = {}, {}
    for cell, count in wanted.items():
        shown[cell], mapped[cell] = clicked(page, *cell, count), on_map(page, count)
    page.close()
    assert 0 < chosen < 10 and shown == wanted
    assert mapped == {cell: f"{FACES} points · {count} in view" for cell, count in wanted.items()}


def tick(page, number: int) -> None:
    """Tick the face with this number."""
    place = page.locator("[data-cy=looker]").nth(number)
    place.hover()
    page.wait_for_timeout(500)
    box = place.bounding_box()
    page.mouse.click(box["x"] + 12, box["y"] + 12)
    page.wait_for_timeout(500)


def operate(page, label: str, budget: str | None = None) -> None:
    """Run an operator by its name, as the keyboard does; fill its form where there is one."""
    page.mouse.move(5, 5)
    page.keyboard.press("Backquote")
    search = page.get_by_placeholder("Search operations by name")
    search.wait_for(timeout=60_000)
    search.fill(label)
    page.locator("[role=dialog]").get_by_text(label, exact=True).click(timeout=60_000)
    if budget is not None:
        page.wait_for_selector("text=a number, minutes of footage (9min) or auto", timeout=60_000)
        page.locator("[role=dialog] input[type=string]").first.fill(budget)
        execute = page.get_by_role("button", name="Execute")
        for _ in range(4):  # a form that is still reading its last change takes no click
            page.wait_for_timeout(1_000)
            if execute.count():
                execute.first.click(timeout=60_000)
            if waited(page, lambda: [True] * (not page.locator("[role=dialog]").count()), 15):
                break
    page.locator("[role=dialog]").wait_for(state="detached", timeout=60_000)


def waited(page, what: Callable[[], Any], seconds: float = 60) -> Any:
    """What it gives, as soon as that is not empty, or after a while."""
    end = time.monotonic() + seconds
    while not len(found := what()) and time.monotonic() < end:
        page.wait_for_timeout(300)
    return found


def shown_count(page, wanted: int) -> int:
    """The App's count of the faces, as soon as it is as wanted."""
    end, count = time.monotonic() + 60, -1
    while count != wanted and time.monotonic() < end:
        page.wait_for_timeout(300)
        digits = page.locator("[data-cy=entry-counts]").first.inner_text().split()[:1]
        count = int(digits[0]) if digits and digits[0].isdecimal() else -1
    return count


def on_map(page, wanted: int) -> str:
    """What the Embeddings panel says about its points, as soon as the number in view is as wanted."""
    counter = page.locator(".emb-plot-counter")
    waited(page, lambda: [True] * any(f" {wanted} in view" in text for text in counter.all_inner_texts()))
    return " ".join(counter.all_inner_texts())


def first_page(browser, address: str):
    """A page as the App opens."""
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    # What FiftyOne's own page asks for elsewhere (fonts) is not waited for.
    page.route(lambda url: launch.ADDRESS not in url and not url.startswith(("data:", "blob:")), lambda r: r.abort())
    page.goto(address, wait_until="domcontentloaded", timeout=120_000)
    page.wait_for_function("document.querySelectorAll('[data-cy=looker]').length > 2", timeout=120_000)
    page.evaluate("for (const b of document.querySelectorAll('button')) if (b.innerText.trim() == 'Dismiss') b.click()")
    return page


def clicked(page, chart: int, yaw: float, wanted: int) -> int:
    """The App's count after a click on a cell of pitch 5; again while it is not `wanted`, since a busy App is slow."""
    count = -1
    drawn = "n => document.querySelectorAll('.js-plotly-plot')[n]?.querySelector('.nsewdrag')"
    for _ in range(4):
        page.wait_for_function(drawn, arg=chart, timeout=30_000)  # the panel is drawn anew after a click
        at = page.evaluate(
            """([n, x, y]) => {
                const plot = document.querySelectorAll('.js-plotly-plot')[n];
                plot.scrollIntoView({block: 'center'});
                const area = plot.querySelector('.nsewdrag').getBoundingClientRect(), layout = plot._fullLayout;
                return [area.left + layout.xaxis.d2p(x), area.top + layout.yaxis.d2p(y)];
            }""",
            [chart, yaw, 5],
        )
        page.mouse.move(at[0] + 2, at[1])
        page.wait_for_timeout(500)
        page.mouse.click(*at)
        end = time.monotonic() + 15
        while count != wanted and time.monotonic() < end:
            page.wait_for_timeout(300)
            digits = page.locator("[data-cy=entry-counts]").first.inner_text().split()[:1]
            count = int(digits[0]) if digits and digits[0].isdecimal() else -1
        if count == wanted:
            break
    return count
