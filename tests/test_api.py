"""`faceset.read`: the table, the chosen faces and a torch dataset, in two lines."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import faceset
from curate.dataset.faceset import open_faceset
from curate.errors import ConsentError, UsageError, WorkError
from curate.schema import SCORES
from tests.tables import write_rows


@pytest.fixture(scope="module")
def folder(head_facesets: dict[str, Path]) -> Path:
    return head_facesets["source"]


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def shade(image: torch.Tensor) -> torch.Tensor:
    return image.mean(0, keepdim=True)


def test_table_and_selection(folder: Path) -> None:
    faces = faceset.read(folder)
    assert isinstance(faces.table, pd.DataFrame) and len(faces.table) == len(faces) == 40
    assert faces.table["yaw"].dtype == np.float32
    assert faces.selected["rank"].tolist() == list(range(24))
    assert set(faces.selected["face_id"]) <= set(faces.table["face_id"])
    assert "Source" in repr(faces) and "public-domain" in repr(faces)


def test_what_is_asked_of_it_is_asked_of_the_table(folder: Path) -> None:
    faces = faceset.read(str(folder))
    assert faces["yaw"].equals(faces.table["yaw"])
    assert len(faces[faces.kept]) == faces.table["kept"].sum()
    assert list(faces) == list(faces.table.columns)
    assert faces.groupby("clip").size().sum() == 40
    with pytest.raises(AttributeError):
        faces.no_such_thing  # noqa: B018  # the access is what fails
    assert pickle.loads(pickle.dumps(faces)).table.equals(faces.table)  # noqa: S301  # our own bytes


def test_only_the_columns_that_are_wanted(folder: Path) -> None:
    faces = faceset.read(folder, columns=["yaw", "kept"])
    assert faces.table.columns.tolist() == ["yaw", "kept"]
    assert {"face_id", "rank", "yaw"} <= set(faces.selected.columns) and "pitch" not in faces.selected
    with pytest.raises(UsageError, match=r"no column 'yaww'.*yaw"):
        faceset.read(folder, columns=["yaww"])
    with pytest.raises(UsageError, match="must be a list"):
        faceset.read(folder, columns="yaw")  # type: ignore[arg-type]


def test_what_is_no_faceset(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a faceset"):
        faceset.read(tmp_path)


def test_items_of_the_dataset(folder: Path) -> None:
    faces = faceset.read(folder)
    dataset = faces.dataset(size=64)
    assert isinstance(dataset, Dataset) and len(dataset) == 24
    image, scores = dataset[3]
    assert image.shape == (3, 64, 64) and image.dtype == torch.float32
    assert 0 <= image.min() < image.max() <= 1
    row = faces.selected.iloc[3]
    crop = open_faceset(folder).crop(row["crop"]).astype(np.float32) / 255
    assert np.abs(image.mean((1, 2)).numpy() - crop.mean((0, 1))).max() < 0.01  # RGB, not BGR: the heads are warm
    assert crop.mean((0, 1))[0] > crop.mean((0, 1))[2] + 0.02
    assert set(scores) == {c.name for c in SCORES}
    assert scores["yaw"].dtype == torch.float32 and scores["yaw"].item() == pytest.approx(row["yaw"])
    with pytest.raises(IndexError):
        dataset[24]
    assert len(list(dataset)) == 24


def test_enlarged_transformed_and_with_other_columns(folder: Path) -> None:
    faces = faceset.read(folder)
    names = ["face_id", "expression", "kept", "rank"]
    dataset = faces.dataset(size=300, transform=shade, columns=names, selected=False)
    assert len(dataset) == faces["kept"].sum()
    image, values = dataset[-1]
    assert image.shape == (1, 300, 300)
    assert values["face_id"] == faces[faces.kept]["face_id"].iloc[-1]
    assert values["expression"].shape == (52,) and values["expression"].dtype == torch.float32
    assert torch.isnan(values["rank"])  # not a column of the table
    assert faces.dataset(columns=names)[5][1]["rank"] == 5


def test_nulls_are_nan_and_faces_without_a_crop_are_left_out(copy: Path) -> None:
    opened = open_faceset(copy)
    rows = opened.table()
    kept = rows.index[rows["kept"]]
    rows.loc[kept[0], "crop"] = None
    rows.loc[kept[1], "Sharpness"] = np.nan
    rows.at[kept[1], "expression"] = None
    write_rows(opened, rows)
    dataset = faceset.read(copy).dataset(columns=["Sharpness", "expression"], selected=False)
    assert len(dataset) == len(kept) - 1
    values = dataset[0][1]
    assert torch.isnan(values["Sharpness"]) and torch.isnan(values["expression"]).all()
    write_rows(opened, rows.assign(crop=None))
    with pytest.raises(WorkError, match="no crops"):
        faceset.read(copy).dataset()


def test_workers_of_a_loader_give_what_the_dataset_gives(folder: Path) -> None:
    dataset = faceset.read(folder).dataset(size=32, transform=shade)
    loader = DataLoader(dataset, batch_size=10, num_workers=2, multiprocessing_context="spawn")
    images, scores = zip(*loader, strict=True)
    assert [len(i) for i in images] == [10, 10, 4]
    assert torch.equal(torch.cat(images), torch.stack([image for image, _ in dataset]))
    assert torch.equal(torch.cat([s["yaw"] for s in scores]), torch.stack([s["yaw"] for _, s in dataset]))


def test_no_dataset_of_a_face_without_a_basis(copy: Path) -> None:
    manifest = copy / "faceset.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('name = "Source"', 'name = ""'), encoding="utf-8")
    assert len(faceset.read(copy)) == 40
    with pytest.raises(ConsentError, match="names no subject"):
        faceset.read(copy).dataset()


def test_wrong_sizes_and_columns(folder: Path) -> None:
    with pytest.raises(UsageError, match="size=0"):
        faceset.read(folder).dataset(size=0)
    with pytest.raises(UsageError, match="no column"):
        faceset.read(folder).dataset(columns=["sharpness"])


def test_without_a_selection(copy: Path) -> None:
    (copy / "selection.parquet").unlink()
    with pytest.raises(WorkError, match="faceset select"):
        faceset.read(copy).dataset()
    assert len(faceset.read(copy).dataset(selected=False)) > 0


def test_torch_is_imported_when_it_is_needed(folder: Path) -> None:
    code = f"import sys, faceset; faceset.read({str(folder)!r}).table; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(faceset.__file__).parents[1])
