from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from curate.dataset import consent
from curate.dataset.faceset import Faceset, create, open_faceset, write_selection
from curate.errors import ConsentError, UsageError, WorkError
from curate.runtime.files import atomic
from curate.schema import BY_NAME, COLUMNS, QUALITY, SCORES, part_schema, table_schema
from curate.settings import Settings
from curate.types import Anchor, Clip, Subject
from tests.tables import write_rows

SUBJECT = Subject("Jane Doe", "research")


def clip(name: str = "c") -> Clip:
    return Clip(name, f"/footage/{name}.mp4", "ab" * 32, "video", 640, 480, 100, 25.0, 4.0)


def rows(count: int) -> pd.DataFrame:
    data = {f.name: [None] * count for f in table_schema()}
    data |= {"face_id": [f"id-{i}" for i in range(count)], "kept": [True] * count, "status": ["ok"] * count}
    data |= {"yaw": np.arange(count, dtype=np.float32), "identity": [np.full(128, i, np.float32) for i in range(count)]}
    data |= {"clip": ["c"] * count, "frame": list(range(count))}
    return pd.DataFrame(data)


@pytest.fixture
def faceset(tmp_path) -> Faceset:
    return create(tmp_path / "set", SUBJECT, Settings()).changed(clips=(clip(), clip('späße <b>"q"')))


def test_manifest_round_trip(faceset: Faceset) -> None:
    again = open_faceset(faceset.folder)
    assert again == faceset


def test_a_moved_faceset_works(faceset: Faceset, tmp_path: Path) -> None:
    write_rows(faceset, rows(3))
    faceset.folder.rename(tmp_path / "moved")
    assert len(open_faceset(tmp_path / "moved").table()) == 3


def test_table_and_selection(faceset: Faceset) -> None:
    write_rows(faceset, rows(5))
    chosen = {"face_id": ["id-3", "id-1"], "rank": [1, 0], "gain": [0.2, 0.8], "cluster": [0, 1], "reason": ["", ""]}
    write_selection(faceset, pd.DataFrame(chosen))
    assert faceset.selected(["yaw"])["yaw"].to_list() == [1, 3]
    assert faceset.identity() == pytest.approx(np.full(128, 2))
    assert list(faceset.table(["yaw"]).columns) == ["yaw"]


def test_an_identity_for_each_look(faceset: Faceset) -> None:
    write_rows(faceset, rows(5))
    assert faceset.looks() == pytest.approx(np.full((1, 128), 2)), "without an anchor there is one look"
    looks = tuple((value,) * 128 for value in (0.0, 9.0, 3.5))
    two = replace(faceset, anchor=Anchor("person", looks, "dlib"))
    assert two.looks() == pytest.approx(np.stack([np.full(128, 0.5), np.full(128, 3.0)])), "nobody is near the second"
    assert two.identity() == pytest.approx(np.full(128, 2))
    assert replace(two, anchor=Anchor("person", looks, "sface")).looks().shape == (1, 128)


def test_missing_files_say_what_makes_them(faceset: Faceset) -> None:
    with pytest.raises(WorkError, match="faceset curate"):
        faceset.table()
    with pytest.raises(WorkError, match="faceset select"):
        faceset.selection()


def test_a_crop_is_read_and_cannot_leave_the_faceset(faceset: Faceset, tmp_path: Path) -> None:
    (faceset.folder / "crops").mkdir()
    cv2.imwrite(str(faceset.folder / "crops/a.png"), np.full((8, 8, 3), (10, 20, 30), np.uint8))
    assert faceset.crop("crops/a.png")[0, 0].tolist() == [30, 20, 10]
    cv2.imwrite(str(tmp_path / "secret.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(WorkError, match="points outside the faceset"):
        faceset.crop("../secret.png")
    with pytest.raises(WorkError, match="cannot be read"):
        faceset.crop("crops/none.png")


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a faceset"):
        create(tmp_path, SUBJECT, Settings())
    with pytest.raises(UsageError, match="is not a faceset"):
        open_faceset(tmp_path)


@pytest.mark.parametrize("change", [{"fps": 1e308}, {"start": 1e300}, {"duration": -1.0}])
def test_numbers_beyond_reason_are_damage(faceset: Faceset, change: dict[str, float]) -> None:
    clip = Clip("a", "/a.mp4", "00" * 32, "video", 64, 48, 10, 25.0, 0.4)
    faceset.changed(clips=(replace(clip, **change),)).save()
    with pytest.raises(WorkError, match=r"is damaged.*too large"):
        open_faceset(faceset.folder)


@pytest.mark.parametrize("text", ["format = [", "format = 1\nclips = 3\nsettings = 4", "\xff\xfe", "format = 2"])
def test_a_damaged_manifest_is_one_message(faceset: Faceset, text: str) -> None:
    (faceset.folder / "faceset.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(WorkError, match="is damaged"):
        open_faceset(faceset.folder)


def test_a_newer_format_is_refused_with_a_word(faceset: Faceset) -> None:
    path = faceset.folder / "faceset.toml"
    path.write_text(path.read_text().replace("format = 2", "format = 99"))
    with pytest.raises(UsageError, match="update faceset"):
        open_faceset(faceset.folder)


def test_atomic_leaves_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(ValueError, match="stop"), atomic(path) as temporary:
        temporary.write_text("half")
        raise ValueError("stop")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_settings_name_the_flag_that_is_wrong() -> None:
    with pytest.raises(UsageError, match="--every -1"):
        Settings(every=-1)
    with pytest.raises(UsageError, match="--framing ear"):
        Settings(framing="ear")
    with pytest.raises(UsageError, match="--crop-size 7"):
        Settings(crop_size=7)


def test_settings_digest_changes_with_every_field() -> None:
    digests = {Settings().digest(), Settings(every=2).digest(), Settings(crop_size=128).digest()}
    digests |= {Settings(framing="face").digest(), Settings(models={"a": "b"}).digest()}
    assert len(digests) == 5


def test_the_schema_is_complete_and_described() -> None:
    assert len(BY_NAME) == len(COLUMNS)
    assert all(c.doc and c.group for c in COLUMNS)
    promised = """face_id clip segment frame time shot track x y width height detection_score crop yaw pitch roll
        pose_confidence expression gaze lighting light_x light_y light_z identity identity_distance status kept"""
    assert set(promised.split()) <= set(table_schema().names)
    assert "landmarks" in part_schema().names and "landmarks" not in table_schema().names
    assert "kept" not in part_schema().names
    assert all(c.type == pa.float32() for c in (*SCORES, *QUALITY))


def test_consent_gate(tmp_path: Path) -> None:
    assert consent.require(SUBJECT, "set") is SUBJECT
    for subject in (None, Subject("", "research"), Subject("J", None)):
        with pytest.raises(ConsentError, match=r"myset.*faceset curate"):
            consent.require(subject, "myset")
    with pytest.raises(ConsentError, match="--evidence"):
        consent.require(Subject("J", "release"), "myset")
    paper = tmp_path / "release.pdf"
    paper.write_bytes(b"signed")
    made = consent.make_subject("J", "release", paper)
    assert consent.require(made, "s").evidence_sha256 == hashlib.sha256(b"signed").hexdigest()
    with pytest.raises(UsageError, match="--basis fun"):
        consent.make_subject("J", "fun")
    with pytest.raises(UsageError, match="no such file"):
        consent.make_subject("J", "release", tmp_path / "none.pdf")
    with pytest.raises(UsageError, match="--subject"):
        consent.make_subject(" ", "self")
