"""Samples that were deleted in the App are bans; the faceset's other files stay as they are."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from curate.app import launch
from curate.dataset.faceset import Faceset, create
from curate.dataset.pins import read_pins
from curate.settings import Settings
from curate.types import Subject
from tests.tables import random_rows, write_rows


@pytest.fixture
def faceset(tmp_path: Path) -> Faceset:
    made = create(tmp_path / "set", Subject("A", "self"), Settings())
    rows = random_rows(6, 1)
    rows["face_id"] = list("abcdef")
    rows["crop"] = [None, *(f"crops/{i}.jpg" for i in range(5))]
    write_rows(made, rows.assign(clip="a", kept=True, status="ok", person=0, light_from="albedo"))
    return made


def dataset(faceset: Faceset, faces: str) -> SimpleNamespace:
    """A dataset as far as it tells what it was made of, and which faces it still shows."""
    return SimpleNamespace(name="set", info={launch.INFO: launch._fingerprint(faceset)}, values=lambda _: list(faces))


def test_deleted_samples_are_banned_and_told(faceset: Faceset, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert launch._ban_deleted(dataset(faceset, "bdf"), faceset, None) == 2
    assert read_pins(faceset).banned == ("c", "e"), "a face without a crop was never shown"
    assert "2 faces that were deleted in the App are banned" in caplog.text and "--free" in caplog.text


def test_deleted_samples_are_asked_for_once(faceset: Faceset, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    def no(question: str) -> bool:
        return bool(asked.append(question))

    with caplog.at_level(logging.WARNING):
        assert launch._ban_deleted(dataset(faceset, "bdf"), faceset, no) == 2, "they are shown again"
    assert asked == [f"{faceset.folder}: 2 faces were deleted in the App. Never select them?"]
    assert read_pins(faceset).banned == () and "are shown again" in caplog.text
    assert launch._ban_deleted(dataset(faceset, "bcdef"), faceset, no) == 0 and len(asked) == 1
    assert launch._ban_deleted(dataset(faceset, "bdf"), faceset, lambda _: True) == 2
    assert read_pins(faceset).banned == ("c", "e")


def test_a_dataset_that_shows_all_or_is_of_another_table_bans_nothing(faceset: Faceset) -> None:
    assert launch._ban_deleted(dataset(faceset, "bcdef"), faceset, None) == 0
    older = dataset(faceset, "b")
    older.info[launch.INFO]["faces"] = "1 2"
    interrupted = SimpleNamespace(name="set", info={}, values=lambda _: [])
    assert launch._ban_deleted(older, faceset, None) == launch._ban_deleted(interrupted, faceset, None) == 0
    assert read_pins(faceset).banned == ()
