"""FiftyOne's own ways in and out, in a process of its own as somebody without our command line would write them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from curate.app import launch
from curate.dataset.faceset import open_faceset

STORY = """
import json, sys
import fiftyone as fo
from curate.app.dataset_type import FacesetDataset
from curate.errors import FacesetError
from fiftyone.core.odm import drop_database

source, target, out = sys.argv[1:4]
told = {}
try:
    dataset = fo.Dataset.from_dir(source, dataset_type=FacesetDataset, tags="mine")
    told["faces"] = len(dataset)
    told["selected"] = dataset.load_saved_view("selected").values("face_id")
    told["yaw"] = dict(zip(*dataset.values(["face_id", "yaw"])))
    told["description"] = dataset.get_field("yaw").description
    told["tags"] = dataset.count_sample_tags()
    told["folder"] = dataset.info["faceset"]["folder"]
    few = fo.Dataset.from_dir(source, dataset_type=FacesetDataset, max_samples=5, shuffle=True, seed=3)
    told["few"] = len(few)
    few.add_dir(target, dataset_type=FacesetDataset, tags="target")
    told["both"] = [len(few), few.count_sample_tags(), few.count("rank")]
    exec(sys.argv[4])
    view = dataset.match({"frame": {"$gt": 24}})
    told["late"] = sorted(view.values("face_id"))
    view.export(out, dataset_type=FacesetDataset)
    told["again"] = sorted(fo.Dataset.from_dir(out, dataset_type=FacesetDataset).values("face_id"))
    told["refused"] = []
    for wrong in (
        lambda: view.export(source + "/crops", dataset_type=FacesetDataset),
        lambda: few.export(out + "2", dataset_type=FacesetDataset),
        lambda: dataset.match({"yaw": 1000}).export(out + "3", dataset_type=FacesetDataset),
        lambda: fo.Dataset.from_dir(out + "4", dataset_type=FacesetDataset),
    ):
        try:
            wrong()
        except (FacesetError, ValueError) as error:
            told["refused"].append(str(error))
finally:
    drop_database()
print("TOLD", json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(head_facesets: dict[str, Path], database_server: None, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("fiftyone")
    cleared = {n: v for n, v in os.environ.items() if n not in launch.ENVIRONMENT}
    mine = {"FIFTYONE_DATABASE_DIR": str(folder / "db"), "FIFTYONE_DATABASE_NAME": f"faceset-export-{os.getpid()}"}
    mine["PYTHONPATH"] = str(Path(launch.__file__).parents[2])
    sides = [str(head_facesets[s]) for s in ("source", "target")]
    (folder / "her").symlink_to(sides[0])
    page = (Path(launch.__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "fiftyone" in b]
    script = [sys.executable, "-c", STORY, *sides, str(folder / "out"), block]
    done = subprocess.run(
        script, env=cleared | mine, capture_output=True, text=True, check=False, timeout=300, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(open_faceset(folder / "sharpest").table()) == 10  # what the page's block exported
    lines = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    return json.loads(lines[-1][5:]) | {"out": str(folder / "out")}


def test_from_dir_gives_the_table(told: dict, head_facesets: dict[str, Path]) -> None:
    faceset = open_faceset(head_facesets["source"])
    table = faceset.table(["face_id", "yaw"])
    assert told["faces"] == len(table) == told["tags"]["mine"]
    assert told["yaw"] == pytest.approx(dict(zip(table["face_id"], table["yaw"], strict=True)), abs=1e-5)
    assert told["selected"] == faceset.selection()["face_id"].tolist()
    assert "[-180 to 180 deg]" in told["description"]
    assert told["folder"] == str(faceset.folder.resolve())


def test_some_of_it_and_more_to_it(told: dict) -> None:
    assert told["few"] == 5
    count, tags, ranked = told["both"]
    assert count == 5 + tags["target"] and tags["target"] == 40
    assert 24 <= ranked <= 24 + 5


def test_a_view_becomes_a_faceset_of_its_own(told: dict, head_facesets: dict[str, Path]) -> None:
    old, new = open_faceset(head_facesets["source"]), open_faceset(Path(told["out"]))
    assert 0 < len(told["late"]) < told["faces"]
    assert sorted(new.table()["face_id"]) == told["late"] == told["again"]
    assert new.subject == old.subject and new.settings == old.settings
    chosen = [f for f in old.selection()["face_id"] if f in set(told["late"])]
    assert new.selection()["face_id"].tolist() == chosen
    assert new.selection()["rank"].tolist() == list(range(len(chosen)))
    assert new.crop(new.table()["crop"].iloc[0]).shape[2] == 3
    assert set(new.landmarks(chosen)) == set(chosen)


def test_what_cannot_be_exported(told: dict) -> None:
    words = ["is not a faceset", "to 2 facesets", "view is empty", "is not a faceset"]
    assert [w in e for w, e in zip(words, told["refused"], strict=True)] == [True] * 4, told["refused"]
