"""The App in a real browser: a click on the Coverage panel shows the faces of that cell."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from curate import app, app_panel, mongod
from curate.errors import MissingError
from curate.faceset import Faceset, create, write_faces, write_selection
from curate.table import table_schema
from curate.types import Settings, Subject

FACES = 60


@pytest.fixture(scope="module")
def faceset(tmp_path_factory: pytest.TempPathFactory) -> Faceset:
    """60 faces of three poses, 10, 20 and 30 of each."""
    made = create(tmp_path_factory.mktemp("shown") / "set", Subject("A", "research"), Settings(crop_size=32))
    rng = np.random.default_rng(2)
    columns = {}
    for field in table_schema():
        if str(field.type).startswith("fixed_size_list"):
            columns[field.name] = list(rng.random((FACES, field.type.list_size), np.float32))
        elif str(field.type) in ("float", "double"):
            columns[field.name] = rng.random(FACES)
        elif str(field.type).startswith("int"):
            columns[field.name] = np.arange(FACES)
    rows = pd.DataFrame(columns)
    rows["face_id"] = [f"0123456789ab-{i:07d}-0" for i in range(FACES)]
    rows["clip"], rows["light_from"], rows["status"], rows["kept"], rows["person"] = "c", "albedo", "ok", True, 0
    rows["yaw"], rows["pitch"] = np.repeat([-25.0, 5.0, 45.0], [10, 20, 30]), 5.0
    rows["crop"] = [f"crops/{i}.jpg" for i in range(FACES)]
    (made.folder / "crops").mkdir()
    for i in range(FACES):
        cv2.imwrite(str(made.folder / f"crops/{i}.jpg"), np.full((32, 32, 3), 4 * i, np.uint8))
    write_faces(made, rows)
    chosen = pd.DataFrame({"face_id": rows["face_id"][[0, 15, 40]], "rank": range(3), "gain": 0.1, "cluster": 0})
    write_selection(made, chosen.assign(reason="covers 'frontal'"))
    return made


@pytest.fixture(scope="module")
def address(browser, faceset: Faceset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if importlib.util.find_spec("fiftyone") is None:
        pytest.skip("FiftyOne is not installed: pip install 'faceset[app]'")
    try:
        mongod.ensure()
    except MissingError as error:
        pytest.skip(f"no MongoDB server: {error}")
    with socket.socket() as probe:
        probe.bind((app.ADDRESS, 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "FIFTYONE_DATABASE_DIR": str(tmp_path_factory.mktemp("database")),
        "PYTHONPATH": str(Path(app.__file__).parent.parent),
    }
    command = [sys.executable, "-m", "faceset", "app", str(faceset.folder), "--port", str(port), "--no-browser", "-q"]
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    where = f"http://{app.ADDRESS}:{port}"
    end = time.monotonic() + 180
    while True:
        try:
            urllib.request.urlopen(f"{where}/fiftyone", timeout=5).close()
            break
        except OSError:
            assert running.poll() is None, running.stderr.read() if running.stderr else ""
            assert time.monotonic() < end, "the App does not answer"
            time.sleep(0.5)
    yield f"{where}/datasets/{app.dataset_name(faceset.folder)}"
    running.send_signal(signal.SIGINT)
    try:
        running.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    if running.stderr:
        running.stderr.close()


def test_a_click_on_a_cell_shows_its_faces(browser, address: str, faceset: Faceset) -> None:
    table = faceset.table(app_panel.COLUMNS)
    counted = app_panel.counts(app_panel.CHARTS["pose"], table)
    assert sorted(counted[counted > 0].tolist()) == [10, 20, 30]
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    # What FiftyOne's own page asks for elsewhere (fonts) is not waited for.
    page.route(lambda url: app.ADDRESS not in url and not url.startswith(("data:", "blob:")), lambda r: r.abort())
    page.goto(address, wait_until="domcontentloaded", timeout=120_000)
    page.wait_for_function("document.querySelectorAll('[data-cy=looker]').length > 5", timeout=120_000)
    page.evaluate("for (const b of document.querySelectorAll('button')) if (b.innerText.trim() == 'Dismiss') b.click()")
    page.locator("[data-cy=new-panel-btn]").first.click()
    page.locator("[data-cy=new-panel-option-coverage]").first.click(timeout=60_000)
    page.wait_for_selector(".js-plotly-plot .heatmaplayer image", timeout=60_000)
    shown = {}
    for chart, yaw, faces in ((0, 45, 30), (0, -25, 10), (1, 45, 1)):
        shown[chart, yaw] = clicked(page, chart, yaw, faces)
    page.close()
    assert shown == {(0, 45): 30, (0, -25): 10, (1, 45): 1}


def clicked(page, chart: int, yaw: float, wanted: int) -> int:
    """The App's count after a click on a cell of pitch 5; again while it is not `wanted`, since a busy App is slow."""
    count = -1
    for _ in range(4):
        at = page.evaluate(
            """([n, x, y]) => {
                const plot = document.querySelectorAll('.js-plotly-plot')[n];
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
