"""The FiftyOne datasets. One process of its own loads, reloads and serves; the tests look at what it wrote down."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, unquote, urlencode

import cv2
import numpy as np
import pandas as pd
import pytest

from curate.app import dataset as app_dataset
from curate.app import launch, panels, sample, views
from curate.app.map_process import Drawing
from curate.dataset import pins
from curate.dataset.faceset import Faceset, create, open_faceset, write_selection
from curate.errors import MissingError, UsageError, WorkError
from curate.schema import COLUMNS, SELECTION_SCHEMA
from curate.select.cluster import map2d
from curate.select.gaps import Gap
from curate.select.left_out import narrowly
from curate.select.space import Space
from curate.settings import Settings
from curate.types import Clip, Subject
from tests.tables import random_rows, write_rows

FOLDER = "Łódź \"a\" <b>'c' 顔"
CLIPS = ('say "hi"', "<i>клип")
OTHER = "another person"
FACES, NO_CROP, OTHERS = 40, 3, 6


def faces() -> pd.DataFrame:
    """40 faces of two clips: 3 without a crop, 6 of somebody else, one with nulls."""
    rows = random_rows(FACES, 1)
    rows["face_id"] = [f"0123456789ab-{i:07d}-0" for i in range(FACES)]
    rows["light_from"] = "albedo"
    rows["clip"] = [CLIPS[i % 2] for i in range(FACES)]
    rows["crop"] = [None if i < NO_CROP else f"crops/{CLIPS[i % 2].replace('/', '')}/{i}.jpg" for i in range(FACES)]
    rows["kept"] = [i < FACES - OTHERS for i in range(FACES)]
    rows["status"] = ["ok" if kept else OTHER for kept in rows["kept"]]
    rows["person"] = [0 if kept else 1 for kept in rows["kept"]]
    rows.loc[5, "Sharpness"] = np.nan
    rows.at[5, "lighting"] = None
    return rows


def chosen(rows: list[int]) -> pd.DataFrame:
    """A selection of these rows of `faces`, in order."""
    ids = [f"0123456789ab-{i:07d}-0" for i in rows]
    ranks = range(len(rows))
    return pd.DataFrame(
        {"face_id": ids, "rank": ranks, "gain": 0.5, "cluster": [r % 3 for r in ranks], "reason": "new"}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_video) -> Path:
    """The faceset, and beside it the footage of its first clip; that of the second is gone."""
    path = tmp_path_factory.mktemp("app") / FOLDER
    faceset = create(path, Subject("A <b>", "research"), Settings(crop_size=32))
    footage = write_video(path.parent / "первый.mp4", [np.full((48, 64, 3), 5 * i, np.uint8) for i in range(FACES)])
    paths = footage, path.parent / "gone.mp4"
    clips = [Clip(n, str(p), n, "video", 64, 48, FACES, 25, FACES / 25) for n, p in zip(CLIPS, paths, strict=True)]
    faceset = faceset.changed(clips=tuple(clips))
    rows = faces()
    for crop in rows["crop"].dropna():
        (path / crop).parent.mkdir(parents=True, exist_ok=True)
        cv2.imencode(".jpg", np.full((32, 32, 3), 90, np.uint8))[1].tofile(path / crop)
    write_rows(faceset, rows)
    write_selection(faceset, chosen([10, 4, 20, 2]))  # face 2 has no crop
    return path


# ---- without a database


def test_every_column_of_the_schema_is_a_described_field() -> None:
    specs = {s.name: s for s in app_dataset.field_specs()}
    wanted = {c.name for c in COLUMNS if c.level != "part"} | set(SELECTION_SCHEMA.names) | {"selected"}
    wanted |= {"group", "pin", "alike", "quality_rank", "left_out", "left_out_detail", "left_out_order"}
    assert set(specs) == wanted
    assert all(s.description for s in specs.values())
    kinds = {n: specs[n].kind for n in ("yaw", "expression", "frame", "kept", "clip", "time", "rank", "gain")}
    assert kinds == {
        "yaw": "FloatField", "expression": "VectorField", "frame": "IntField", "kept": "BooleanField",
        "clip": "StringField", "time": "FloatField", "rank": "IntField", "gain": "FloatField",
    }  # fmt: skip
    assert specs["EyesOpen"].info == {"low": 0, "high": 1, "higher_is_better": True}
    assert specs["yaw"].description.endswith("[-180 to 180 deg]")
    assert specs["NaturalColour"].description.endswith("[from 0; lower is better]")


def test_selection_fields_have_texts_of_their_own() -> None:
    assert all(s.description != s.name for s in app_dataset.field_specs() if s.group == "selection")


def test_dataset_names_tell_equal_folder_names_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "a" / "顔", tmp_path / "b" / "顔"
    assert launch.dataset_name(one) != launch.dataset_name(two)
    assert launch.dataset_name(one).startswith("顔-")
    assert launch.dataset_name(one) == launch.dataset_name(tmp_path / "b" / ".." / "a" / "顔")


def test_what_is_no_faceset_is_refused_before_fiftyone_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no faceset"):
        launch.load([tmp_path])
    create(tmp_path / "empty", None, Settings())
    with pytest.raises(WorkError, match=r"no faces\.parquet"):
        launch.load([tmp_path / "empty"])
    assert "fiftyone" not in sys.modules


def test_without_fiftyone_the_command_is_told(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install 'faceset\[app\]'"):
        launch.load([folder])


@pytest.mark.parametrize("port", [0, 65536])
def test_port_out_of_range(port: int, folder: Path) -> None:
    with pytest.raises(UsageError, match="--port"):
        launch.launch([folder], port=port)


def test_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind((launch.ADDRESS, 0))
        other.listen()
        with pytest.raises(UsageError, match="give another"):
            launch.wait_for_port(other.getsockname()[1], patience=0.2)


# ---- with one


def story(folder: Path) -> dict[str, object]:
    """Runs in a process of its own: load, load again, change, serve."""
    os.environ["FIFTYONE_LOGGING_LEVEL"] = "CRITICAL"  # what the user set stays
    drawn: list[int] = []

    class Points(Drawing):
        """Yaw and pitch as a map: UMAP's compiler takes a while."""

        def __init__(self, faces: Sequence[str], points: np.ndarray, seed: int) -> None:
            drawn.append(len(faces))
            self.faces, self.points = tuple(faces), points

        def places(self) -> np.ndarray:
            return self.points[:, :2]

        def close(self) -> None: ...

    app_dataset.Drawing = Points
    faceset = open_faceset(folder)
    told: dict[str, object] = {}
    (name,) = launch.load([folder])
    import fiftyone as fo
    from fiftyone.core.odm import drop_database

    try:
        told["environment"] = {n: os.environ[n] for n in launch.ENVIRONMENT}
        told["first"] = look(fo, name, drawn)
        told["details"] = details(fo, name)
        launch.load([folder])
        told["second"] = look(fo, name, drawn)
        dataset = fo.load_dataset(name)
        dataset.match({"frame": 7}).tag_samples("mine")
        dataset.save_view("of mine", dataset.match_tags("mine"))
        write_selection(faceset, chosen([30, 31]))
        launch.load([folder])
        told["chosen again"] = look(fo, name, drawn)
        rows = faces().drop(index=[8, 9])
        rows["status"], rows["kept"] = "ok", True
        rows["yaw"] = 12.5
        write_rows(faceset, rows)
        launch.load([folder])
        told["other faces"] = look(fo, name, drawn)
        told["other yaw"] = fo.load_dataset(name).distinct("yaw")
        told["acted"] = acted(fo, name, folder)
        told["corrected"] = corrected(fo, name, folder)
        told["failures"] = failures(fo, folder)
        told["footage"] = footage(fo, folder)
        told["two"] = launch.load([folder, copied(folder)])
        told["large"] = large(fo, folder)
        told["served"] = served(folder)
    finally:
        drop_database()
    return told


def look(fo, name: str, drawn: list[int]) -> dict[str, object]:
    """What a person would see of the dataset now."""
    dataset = fo.load_dataset(name)
    dataset.reload()
    points = dataset.load_brain_results(app_dataset.MAP)
    return {
        "datasets": fo.list_datasets(),
        "persistent": dataset.persistent,
        "faces": len(dataset),
        "ids": sorted(dataset.values("id")),
        "views": {v: len(dataset.load_saved_view(v)) for v in dataset.list_saved_views()},
        "order": dataset.load_saved_view(views.SELECTED).values("frame"),
        "selection": sorted(zip(*dataset.match({"selected": True}).values(["rank", "frame", "cluster"]), strict=True)),
        "ranked": dataset.count("rank"),
        "tags": dataset.match_tags("mine").values("frame"),
        "map": len(points.points),
        "similar": similar(dataset),
        "drawn": len(drawn),
    }


def similar(dataset) -> list[int]:
    """Frames of the three faces most like that of frame 10, as the App's search finds them."""
    return dataset.sort_by_similarity(dataset.match({"frame": 10}).first().id, k=3, brain_key="similar").values("frame")


def details(fo, name: str) -> dict[str, object]:
    """Fields and values of some faces."""
    dataset = fo.load_dataset(name)
    rows = faces().set_index("face_id")
    schema = dataset.get_field_schema()
    vectors = {}
    for spec in (s for s in app_dataset.field_specs() if s.kind == "VectorField"):
        read = dict(zip(*dataset.values(["face_id", spec.name]), strict=True))
        vectors[spec.name] = all(np.array_equal(v, rows[spec.name][f]) for f, v in read.items() if v is not None)
    holed = dataset.one(fo.ViewField("frame") == 5)
    return {
        "missing files": [p for p in dataset.values("filepath") if not Path(p).is_file()],
        "clips": dataset.count_values("clip"),
        "fields": {s.name: type(schema[s.name]).__name__ == s.kind for s in app_dataset.field_specs()},
        "texts": {s.name: schema[s.name].description == s.description for s in app_dataset.field_specs()},
        "vectors": vectors,
        "nulls": [holed.Sharpness, holed.lighting],
        "yaw": dict(zip(*dataset.values(["face_id", "yaw"]), strict=True)),
        "media": dataset.media_type,
        "groups": [g.name for g in dataset.app_config.sidebar_groups],
        "workspaces": dataset.list_workspaces(),
        "left out": list(zip(*dataset.load_saved_view(views.LEFT_OUT).values(["left_out", "kept"]), strict=True)),
        "first look": [
            views.first_look(dataset)["view"].values("frame"),
            sorted(views.first_look(dataset)),
        ],
    }


def copied(folder: Path) -> Path:
    """The faceset again, elsewhere."""
    return Path(shutil.copytree(folder, folder.parent / "elsewhere" / folder.name))


def corrected(fo, name: str, folder: Path) -> dict[str, object]:
    """A row that changed alone, shown without loading anything again; a whole track that is banned."""
    from curate.app import actions

    faceset, dataset = open_faceset(folder), fo.load_dataset(name)
    table = faceset.table()
    with actions._in_step(faceset) as shown:
        table.loc[table["frame"] == 20, "yaw"] = -33.0
        write_rows(faceset, table)
        app_dataset.show_face(shown, faceset, "0123456789ab-0000020-0")
    ids = dict(zip(*dataset.values(["frame", "id"]), strict=True))
    track = int(table.loc[table["frame"] == 20, "track"].iloc[0])
    count = actions.ban_tracks(dataset, [ids[20]])
    dataset.reload()
    pages = actions.correction_pages(dataset, [ids[20]])
    return {
        "yaw": dict(zip(*dataset.values(["frame", "yaw"]), strict=True)),
        "in step": launch.shown_dataset(faceset) is not None,
        "banned": [count, int((table["track"] == track).sum())],
        "page": next(iter(pages.values())),
    }


def acted(fo, name: str, folder: Path) -> dict[str, object]:
    """Pin and ban, choose again, write: what the dataset shows and what the files hold after each."""
    import fiftyone.plugins as plugins

    from curate.app import actions
    from curate.select.options import Floors, SelectionOptions
    from curate.select.outcome import read_outcome

    dataset = fo.load_dataset(name)
    face = dict(zip(*dataset.values(["frame", "id"]), strict=True))
    faceset = open_faceset(folder)
    table = faceset.table_path.read_bytes()
    told: dict[str, object] = {"plugins": [p.name for p in plugins.list_plugins()], "errors": []}
    for wrong in (lambda: actions.mark(dataset, [], "pin"), lambda: actions.write(dataset)):
        try:
            wrong()
        except (UsageError, WorkError) as error:
            told["errors"].append(str(error))
    told["pinned"] = actions.mark(dataset, [face[12], face[13]], "pin")
    actions.mark(dataset, [face[30]], "ban")
    told["marks"] = sorted(zip(*dataset.exists("pin").values(["frame", "pin"]), strict=True))
    before = faceset.selection_path.read_bytes()
    anything = Floors(min_eye_distance=None, min_pose_confidence=None, min_exposure=None)
    choice = actions.propose(dataset, SelectionOptions("7", floors=anything, keep_misread=True))
    told["shown"] = dataset.match({"selected": True}).sort_by("rank").values("frame")
    told["chosen"] = choice.rows["face_id"].str.split("-").str[1].astype(int).tolist()
    told["kept on disk"] = faceset.selection_path.read_bytes() == before
    told["written"] = actions.write(dataset)
    told["selection"] = faceset.selection()["face_id"].str.split("-").str[1].astype(int).tolist()
    told["budget"] = faceset.selection_options()["budget"]
    told["table untouched"] = faceset.table_path.read_bytes() == table
    told["unchanged after"] = launch._fingerprint(faceset) == dataset.info[launch.INFO]
    told["groups"] = dataset.count("group")
    told["coverage"] = [f"{100 * value:.1f} %" for value in (choice.coverage, read_outcome(faceset).coverage)]
    told["text"] = panels.outcome_text(dataset.info[panels.OUTCOME])
    told["stored"] = read_outcome(faceset).stored
    return told


def footage(fo, folder: Path) -> dict[str, object]:
    """The dataset of videos, loaded twice, then again after another choice."""
    dataset = fo.load_dataset(launch.load_clips(folder))
    sample = dataset.first()
    box = sample.frames[11].faces.detections[0]
    told: dict[str, object] = {
        "clips": dataset.values("clip"),
        "media": dataset.media_type,
        "frames": sorted(sample.frames),
        "box": [box.label, box.index, *box.bounding_box, box.yaw, box.status],
        "labels": dataset.count_values("frames.faces.detections.label"),
        "again": fo.load_dataset(launch.load_clips(folder)).first().id == sample.id,
    }
    write_selection(open_faceset(folder), chosen([10]))
    other = fo.load_dataset(launch.load_clips(folder))
    chosen_boxes = other.filter_labels("frames.faces", fo.ViewField("selected") == True)  # noqa: E712  # an expression
    told["selected"] = [sorted(n for n, f in s.frames.items() if f.faces.detections) for s in chosen_boxes]
    fo.delete_dataset(other.name)
    return told


def failures(fo, folder: Path) -> dict[str, object]:
    """A faceset without crops, and one whose crop leaves it: the messages, and that no dataset stays behind."""
    told = {}
    for what, crop in (("no crops", None), ("outside", "../../x.jpg")):
        faceset: Faceset = create(folder.parent / what, None, Settings(crop_size=0))
        write_rows(faceset, faces().assign(crop=crop))
        try:
            launch.load([faceset.folder])
        except WorkError as error:
            told[what] = str(error)
    return {"told": told, "datasets": len(fo.list_datasets())}


def large(fo, folder: Path) -> dict[str, object]:
    """A faceset of more faces than are shown: what is shown, and that nothing else counts as deleted."""
    sample.MOST, sample.NARROW, sample.LEAST_EVEN = 20, 4, 8
    faceset = open_faceset(Path(shutil.copytree(folder, folder.parent / "large")))
    write_rows(faceset, faces())
    write_selection(faceset, chosen([10, 4, 20]), {"floors": {"min_sharpness": 0.5}})
    banned = set(pins.change_pins(faceset, ban=["0123456789ab-0000025-0"]).banned)
    (name,) = launch.load([faceset.folder])
    dataset = fo.load_dataset(name)

    def shown() -> list[int]:
        dataset.reload()
        return sorted(dataset.values("frame"))

    told: dict[str, object] = {"first": shown(), "words": sample.words(dataset)}
    told["narrowly"] = narrowly(faceset, 4)
    away = next(frame for frame in range(11, 20) if frame not in shown())
    write_selection(faceset, chosen([away]))
    launch.load([faceset.folder])
    told["selected later"] = [away, dataset.match({"selected": True}).values("frame"), len(shown())]
    dataset.delete_samples(dataset.match({"frame": away}))
    launch.load([faceset.folder])
    told["banned later"] = sorted(set(pins.read_pins(faceset).banned) - banned)
    told["after"] = shown()
    return told


def served(folder: Path) -> dict[str, object]:
    """The App's answer, and the addresses on which it listens."""
    import psutil

    with socket.socket() as probe:
        probe.bind((launch.ADDRESS, 0))
        port = probe.getsockname()[1]
    address = launch.launch([folder], port=port, browser=False, wait=False)
    page, _, token = address.partition("?token=")
    end = time.monotonic() + 120
    while True:
        try:
            status = request(port, "/fiftyone", {"X-Faceset-Token": token})[0]
            break
        except OSError:
            assert time.monotonic() < end, "the App does not answer"
            time.sleep(0.3)
    children = psutil.Process().children(recursive=True)
    listening = [c.laddr for p in children for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    hosts = [a.ip for a in listening if a.port == port]
    commands = [" ".join(p.cmdline()) for p in children]
    return {
        "address": address, "status": status, "hosts": hosts, "processes": [p.pid for p in children],
        "token shown": [c for c in commands if token in c],
        "requests": attacks(port, token, page, folder),
    }  # fmt: skip


def request(
    port: int, path: str, headers: dict[str, str], method: str = "GET", body: str | None = None
) -> tuple[int, str, str]:
    """Status, cookie and text of an answer of the App; a header Host replaces the right one."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body or "")))
        connection.endheaders((body or "").encode())
        answer = connection.getresponse()
        cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        return answer.status, cookie, answer.read(2000).decode("utf-8", "replace")


def attacks(port: int, token: str, page: str, folder: Path) -> dict[str, int]:
    """Status of each request: those that the guard refuses, and the same ones as the user's browser makes them."""
    page = page.removeprefix(f"http://127.0.0.1:{port}")
    status, cookie, text = request(port, f"{page}?token={token}", {"Sec-Fetch-Site": "cross-site"})
    mine = {"Cookie": cookie}
    crop = f"/media?filepath={quote(str(next(folder.rglob('crops/**/*.jpg'))))}"
    outside, inner = folder.parent / "secret.txt", folder / "crops" / "link.jpg"
    outside.write_text("secret")
    inner.symlink_to(outside)
    secret = {n: f"/media?filepath={quote(str(p))}" for n, p in (("passwd", "/etc/passwd"), ("link", inner))}
    run = json.dumps({"operator_uri": "@faceset/faceset/choose_again", "params": {}})
    plain, own = {"Content-Type": "text/plain"}, {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}

    def post(headers: dict[str, str]) -> int:
        return request(port, "/operators/execute", headers, "POST", run)[0]

    found = {
        "welcome": status,
        "welcome leads to the page": int(f"url={page}" in text and token not in text),
        "page": request(port, page, mine)[0],
        "page by another loopback name": request(port, page, mine | {"Host": f"localhost:{port}"})[0],
        "crop": request(port, crop, mine)[0],
        "no token": request(port, "/fiftyone", {})[0],
        "crop, no token": request(port, crop, {})[0],
        "wrong token": request(port, f"{page}?token=wrong", {})[0],
        "wrong cookie": request(port, "/fiftyone", {"Cookie": cookie.replace("=", "=x")})[0],
        "foreign host": request(port, secret["passwd"], mine | {"Host": "evil.example"})[0],
        "foreign host, our port": request(port, crop, mine | {"Host": f"evil.example:{port}"})[0],
        "foreign host, token": request(port, f"{page}?token={token}", {"Host": f"evil.example:{port}"})[0],
        "another port": request(port, crop, mine | {"Host": "127.0.0.1:80"})[0],
        "foreign origin": post(mine | plain | {"Origin": "http://evil.example"}),
        "origin of another port": post(mine | plain | {"Origin": "http://127.0.0.1:80"}),
        "null origin": post(mine | plain | {"Origin": "null"}),
        "cross-site": post(mine | plain | {"Sec-Fetch-Site": "cross-site"}),
        "same-site": request(port, crop, mine | {"Sec-Fetch-Site": "same-site"})[0],
        "post, no token": post(plain),
        "post, token in the address": request(port, f"/operators/execute?token={token}", plain, "POST", run)[0],
        "outside": request(port, secret["passwd"], mine)[0],
        "outside by a link": request(port, secret["link"], mine)[0],
        "outside, named second": request(port, crop + "&filepath=/etc/passwd", mine)[0],
        "outside, dots": request(port, f"/media?filepath={quote(str(folder))}/../secret.txt", mine)[0],
    }
    inner.unlink()
    return found | {"own post": int(post(mine | own | {"Content-Type": "application/json"}) not in (403, 404))}


@pytest.fixture(scope="module")
def told(folder: Path, database_server: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    database = tmp_path_factory.mktemp("database")
    mine = {"FIFTYONE_DATABASE_DIR": str(database), "FIFTYONE_DATABASE_NAME": f"faceset-test-{os.getpid()}"}
    cleared = {n: v for n, v in os.environ.items() if n not in launch.ENVIRONMENT}
    script = [sys.executable, __file__, str(folder), str(database / "told.json")]
    mine["PYTHONPATH"] = str(Path(launch.__file__).parents[2])
    done = subprocess.run(script, env=cleared | mine, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((database / "told.json").read_text(encoding="utf-8")) | {"database": str(database)}


def test_a_corrected_face_is_shown_alone_and_a_track_is_banned(told: dict[str, dict]) -> None:
    corrected = told["corrected"]
    assert {frame for frame, yaw in corrected["yaw"].items() if yaw != 12.5} == {"20"} and corrected["in step"]
    assert corrected["banned"][0] == corrected["banned"][1] > 0
    assert unquote(corrected["page"]).startswith("/correct?folder=") and "0123456789ab-0000020-0" in corrected["page"]


def test_people_choose_again_pin_ban_and_write(told: dict[str, dict]) -> None:
    acted = told["acted"]
    assert "@faceset/faceset" in acted["plugins"]
    assert ["no face is ticked" in e or "is saved already" in e for e in acted["errors"]] == [True, True]
    assert acted["pinned"] == 2
    assert acted["marks"] == [[12, "pinned"], [13, "pinned"], [30, "banned"]]
    assert acted["kept on disk"]
    assert acted["shown"][:2] == [12, 13] and 30 not in acted["shown"] and len(acted["shown"]) == 7
    assert acted["written"] == 7
    assert acted["selection"] == acted["shown"] == acted["chosen"]
    assert acted["budget"] == "7"
    assert acted["table untouched"] and acted["unchanged after"]
    assert acted["groups"] > 7
    chosen, read = acted["coverage"]
    assert acted["stored"] and chosen == read and f"they cover {read} of the footage" in acted["text"]


def test_footage_is_videos_with_faces_on_their_frames(told: dict[str, dict]) -> None:
    footage, rows = told["footage"], faces().drop(index=[8, 9])
    own = rows[rows["clip"] == CLIPS[0]]
    assert (footage["clips"], footage["media"]) == ([CLIPS[0]], "video")
    assert footage["frames"] == (own["frame"] + 1).tolist()
    face = rows.loc[10]
    assert footage["box"][:2] == ["subject", 10]
    wanted = [face["x"] / 64, face["y"] / 48, face["width"] / 64, face["height"] / 48]
    assert footage["box"][2:6] == pytest.approx(wanted)
    assert footage["box"][6:] == [12.5, "ok"]
    assert footage["labels"] == {"subject": len(own)}
    assert footage["again"]
    assert footage["selected"] == [[11]]


def test_a_cell_of_the_panel_holds_the_faces_that_it_counts() -> None:
    rows = faces()
    chart = panels.CHARTS["pose"]
    rows["yaw"], rows["pitch"] = np.linspace(-100, 100, FACES), np.linspace(-70, 70, FACES)
    found = panels.counts(chart, rows)
    assert found.sum() == FACES
    for row, column in np.argwhere(found):
        x = (chart.x_edges[column] + chart.x_edges[column + 1]) / 2
        y = (chart.y_edges[row] + chart.y_edges[row + 1]) / 2
        limits = panels.bounds(chart, x, y)
        inside = np.all([(rows[n] >= b["$gte"]) & (rows[n] < b["$lt"]) for n, b in limits.items()], axis=0)
        assert inside.sum() == found[row, column]
    with pytest.raises(UsageError, match="the chart covers"):
        panels.bounds(chart, 200, 0)


def test_time_codes_of_a_gap_open_only_clips_that_may_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [Clip(n, str(tmp_path / f"{n}.mp4"), n, "video", 64, 48, 9, 25, 9 / 25) for n in ("here (1)", "there")]
    spans = (("here (1)", 62.0, 64.0), ("there", 1.0, 2.0))
    gap = Gap("smiling", 0.5, None, None, None, 0.1, 1.0, spans, (), ())
    assert "Play" not in panels.gap_text(1, gap, clips)
    monkeypatch.setattr(panels, "media", [clips[0].path])
    text = panels.gap_text(1, gap, clips)
    assert text.count("/media?") == 1
    assert text.endswith(f" 01:02.0](/media?{urlencode({'filepath': clips[0].path})}#t=62.00).")


def test_markdown_shows_names_as_they_are() -> None:
    assert panels.escaped("<b>[x](y)</b> `é`") == r"\<b\>\[x\]\(y\)\</b\> \`é\`"


def test_the_likest_other_face() -> None:
    rows = faces()
    space = Space.fit(rows)
    points = space.embed(rows)
    points[3] = points[2]
    found = app_dataset.likeness(space, points)
    apart = space.similarity(points, points) - 2 * np.eye(FACES)
    assert found == pytest.approx(apart.max(1), abs=1e-5)
    assert found[2] == pytest.approx(1, abs=1e-5)


def test_the_map_of_another_process_is_the_same() -> None:
    points = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    drawing = Drawing([f"face {i}" for i in range(10)], points, 0)
    assert np.array_equal(drawing.places(), map2d(points))
    drawing.close()


def test_first_load_holds_the_faces_that_have_a_crop(told: dict[str, dict]) -> None:
    first, details = told["first"], told["details"]
    assert first["faces"] == FACES - NO_CROP
    assert first["persistent"]
    assert len(first["datasets"]) == 1
    assert details["media"] == "image"
    assert details["missing files"] == []
    assert details["clips"] == {CLIPS[0]: 18, CLIPS[1]: 19}


def test_the_search_finds_the_likest_faces(told: dict[str, dict]) -> None:
    rows = faces()
    rows = rows[rows["kept"] & rows["crop"].notna()].reset_index(drop=True)
    points = Space.fit(rows).embed(rows)
    apart = np.linalg.norm(points - points[rows["frame"] == 10], axis=1)
    assert told["first"]["similar"] == rows["frame"].iloc[np.argsort(apart)[:3]].tolist()


def test_fields_are_typed_and_described(told: dict[str, dict]) -> None:
    assert all(told["details"]["fields"].values())
    assert all(told["details"]["texts"].values())
    assert told["details"]["groups"][:3] == ["tags", "selection", "face"]


def test_values_are_those_of_the_table(told: dict[str, dict]) -> None:
    details = told["details"]
    assert details["vectors"] == dict.fromkeys(("matrix", "expression", "gaze", "lighting", "identity"), True)
    assert details["nulls"] == [None, None]
    yaw = faces().set_index("face_id")["yaw"]
    assert details["yaw"] == pytest.approx({f: yaw[f] for f in details["yaw"]}, abs=1e-6)


def test_views(told: dict[str, dict]) -> None:
    first = told["first"]
    kept = FACES - NO_CROP - OTHERS
    found = dict(first["views"])
    for name in ("by clip", "by group", "by person", "near-duplicates"):  # counts are of stacks, or random here
        found.pop(name)
    assert found == {
        "selected": 3, "kept, not selected": kept - 3, f"dropped: {OTHER}": OTHERS,
        "outliers": 1, "worst quality": 3, "pinned or banned": 0, "left out, by reason": FACES - NO_CROP - 3,
    }  # fmt: skip
    assert first["order"] == [10, 4, 20]
    assert first["selection"] == [[0, 10, 0], [1, 4, 1], [2, 20, 2]]


def test_the_app_opens_on_the_selection_and_explains_the_rest(told: dict[str, dict]) -> None:
    details = told["details"]
    assert details["first look"] == [[10, 4, 20], ["spaces", "view"]]
    reasons = [reason for reason, _ in details["left out"]]
    assert {(r == OTHER, kept) for r, kept in details["left out"]} == {(True, False), (False, True)}
    assert sorted(set(reasons), key=reasons.index) == sorted(set(reasons), key=lambda r: (-reasons.count(r), r))
    assert sum(reasons[i] != reasons[i - 1] for i in range(1, len(reasons))) == len(set(reasons)) - 1


def test_map_holds_the_subjects_faces(told: dict[str, dict]) -> None:
    assert told["first"]["map"] == FACES - NO_CROP - OTHERS
    assert sorted(told["details"]["workspaces"]) == ["faceset", "map"]


def test_unchanged_is_not_loaded_again(told: dict[str, dict]) -> None:
    assert told["second"] == told["first"]


def test_other_selection_changes_only_the_selection(told: dict[str, dict]) -> None:
    first, again = told["first"], told["chosen again"]
    assert again["order"] == [30, 31]
    assert again["selection"] == [[0, 30, 0], [1, 31, 1]]
    assert again["ranked"] == 2
    assert again["views"]["kept, not selected"] == FACES - NO_CROP - OTHERS - 2
    assert again["ids"] == first["ids"]
    assert again["drawn"] == first["drawn"] == 1
    assert again["tags"] == [7]


def test_other_faces_replace_the_old_ones(told: dict[str, dict]) -> None:
    other = told["other faces"]
    assert other["faces"] == FACES - NO_CROP - 2
    assert len(other["datasets"]) == 1
    assert told["other yaw"] == [12.5]
    assert other["map"] == other["faces"]
    assert other["order"] == [30, 31]


def test_what_people_did_stays_and_views_of_gone_reasons_go(told: dict[str, dict]) -> None:
    assert told["other faces"]["tags"] == [7]
    views = set(told["other faces"]["views"])
    assert {"selected", "kept, not selected", "of mine"} <= views
    assert not any(name.startswith("dropped") for name in views)
    assert told["other faces"]["views"]["of mine"] == 1


def test_nothing_to_show_is_told_and_leaves_no_dataset(told: dict[str, dict]) -> None:
    assert "has no crops to show" in told["failures"]["told"]["no crops"]
    assert "points outside the faceset" in told["failures"]["told"]["outside"]
    assert told["failures"]["datasets"] == 1


def test_two_facesets_of_one_name_are_two_datasets(told: dict[str, dict]) -> None:
    one, two = told["two"]
    assert one != two
    assert one.rsplit("-", 1)[0] == two.rsplit("-", 1)[0] == FOLDER


def test_the_users_environment_wins(told: dict[str, dict]) -> None:
    wanted = launch.ENVIRONMENT | {"FIFTYONE_LOGGING_LEVEL": "CRITICAL"}
    assert told["environment"] == wanted


def test_a_large_faceset_is_shown_in_part_and_says_so(told: dict[str, dict]) -> None:
    found, ids = told["large"], [f"0123456789ab-{i:07d}-0" for i in range(FACES)]
    narrow = {ids.index(face) for face in found["narrowly"]}
    assert len(narrow) == 4 and not narrow & {4, 10, 20}
    assert {4, 10, 20, 25} | {i for i in narrow if i >= NO_CROP} <= set(found["first"])
    assert len(found["first"]) == 20 < FACES - NO_CROP
    assert found["words"].startswith(f"The App shows {len(found['first'])} of {FACES - NO_CROP} faces: ")
    away, selected, shown = found["selected later"]
    assert selected == [away] and shown == len(found["first"]) + 1
    assert found["banned later"] == [ids[away]]
    assert away in found["after"] and len(found["after"]) <= 21


def test_app_answers_on_this_machine_only(told: dict[str, dict]) -> None:
    assert told["served"]["status"] == 200
    assert set(told["served"]["hosts"]) == {"127.0.0.1"}


def test_foreign_requests_to_the_app_are_refused(told: dict[str, dict]) -> None:
    allowed = {"welcome", "page", "page by another loopback name", "crop"}
    found = told["served"]["requests"]
    assert {name: found.pop(name) for name in ("welcome leads to the page", "own post")} == {
        "welcome leads to the page": 1, "own post": 1}  # fmt: skip
    assert found == {name: 200 if name in allowed else 403 for name in found} and len(found) > 20
    assert told["served"]["token shown"] == []


def test_address_opens_the_dataset_by_name(told: dict[str, dict]) -> None:
    host, _, name = told["served"]["address"].partition("?")[0].rpartition("/datasets/")
    assert host.startswith("http://127.0.0.1:")
    assert name.isascii()
    assert unquote(name) in told["two"]


def test_nothing_runs_on_afterwards(told: dict[str, dict]) -> None:
    psutil = pytest.importorskip("psutil")
    end = time.monotonic() + 40
    while alive := [p for p in told["served"]["processes"] if psutil.pid_exists(p) and _is_ours(psutil, p, told)]:
        assert time.monotonic() < end, f"still running: {alive}"
        time.sleep(0.5)


def _is_ours(psutil, pid: int, told: dict[str, dict]) -> bool:
    try:
        process = psutil.Process(pid)
        line = " ".join(process.cmdline())
        return process.status() != psutil.STATUS_ZOMBIE and ("fiftyone" in line or str(told["database"]) in line)
    except psutil.Error:
        return False


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(story(Path(sys.argv[1])), default=str), encoding="utf-8")
