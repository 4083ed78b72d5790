"""Faces that people want, or never want."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.dataset.faceset import Faceset, create
from curate.dataset.pins import Pins, change_pins, meant, read_pins, write_pins
from curate.errors import UsageError, WorkError
from curate.settings import Settings
from curate.types import Subject


@pytest.fixture
def faceset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faceset:
    import pandas as pd

    monkeypatch.setattr(Faceset, "table", lambda self, columns: pd.DataFrame({"face_id": ["a", "b", "c"]}))
    return create(tmp_path / "set", Subject("A", "self"), Settings())


def test_the_latest_wish_holds() -> None:
    pins = Pins().changed(pin=["b", "a"], ban=["c"])
    assert pins == Pins(("a", "b"), ("c",))
    assert pins.changed(ban=["a"]) == Pins(("b",), ("a", "c"))
    assert pins.changed(free=["a", "c"]) == Pins(("b",), ())
    with pytest.raises(UsageError, match="face a: give it to only one"):
        pins.changed(pin=["a"], ban=["a"])


def test_they_are_kept_in_the_folder_and_the_file_goes_with_the_last(faceset: Faceset) -> None:
    assert read_pins(faceset) == Pins()
    change_pins(faceset, pin=["b"], ban=["c"])
    assert json.loads((faceset.folder / "pins.json").read_text()) == {"pinned": ["b"], "banned": ["c"]}
    assert read_pins(faceset) == Pins(("b",), ("c",))
    change_pins(faceset, free=["b", "c"])
    assert not (faceset.folder / "pins.json").exists()


def test_an_unknown_face_is_refused_and_changes_nothing(faceset: Faceset) -> None:
    write_pins(faceset, Pins(("a",)))
    with pytest.raises(UsageError, match=r"--ban x: .* has no such face"):
        change_pins(faceset, pin=["b"], ban=["x"])
    assert read_pins(faceset) == Pins(("a",))


@pytest.mark.parametrize("text", ["", "[]", '{"pinned": [1], "banned": []}', '{"pinned": []}'])
def test_a_damaged_file_is_told(faceset: Faceset, text: str) -> None:
    (faceset.folder / "pins.json").write_text(text)
    with pytest.raises(WorkError, match=r"pins.json is damaged"):
        read_pins(faceset)


def test_a_clip_is_found_however_its_accents_are_written() -> None:
    import pandas as pd

    table = pd.DataFrame({"clip": ["Andre\u0301", "Andre"], "time": [1.0, 1.0]})  # as macOS writes André
    assert (
        list(meant(table, "--pin", "clip:Andr\u00e9")) == list(meant(table, "--pin", "Andr\u00e9@0-2")) == [True, False]
    )


@pytest.fixture
def filmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faceset:
    import pandas as pd

    rows = {
        "face_id": ["a0", "a1", "a2", "b0", "b1"],
        "clip": ["a", "a", "a", "b", "b"],
        "shot": [0, 0, 1, 0, 0],
        "track": [0, 0, 1, 2, 3],
        "time": [0.0, 5.0, 10.0, 10.0, 20.0],
        "kept": [True, True, True, True, False],
    }
    monkeypatch.setattr(Faceset, "table", lambda self, columns: pd.DataFrame(rows)[columns])
    return create(tmp_path / "set", Subject("A", "self"), Settings())


@pytest.mark.parametrize(
    ("text", "faces"),
    [
        ("clip:b", ("b0", "b1")),
        ("track:0", ("a0", "a1")),
        ("shot:a:1", ("a2",)),
        ("a@00:05-00:10", ("a1",)),
        ("a@00:05-", ("a1", "a2")),
        ("a2", ("a2",)),
    ],
)
def test_whole_clips_tracks_shots_and_ranges_are_banned(filmed: Faceset, text: str, faces: tuple[str, ...]) -> None:
    assert change_pins(filmed, ban=[text]).banned == faces
    assert change_pins(filmed, free=[text]) == Pins()


def test_only_the_subjects_faces_are_pinned_by_a_group(filmed: Faceset) -> None:
    assert change_pins(filmed, pin=["clip:b"]).pinned == ("b0",)
    for text, message in (
        ("clip:c", "has no face there"),
        ("track:3", "has no face there"),
        ("clap:b", "give a face id"),
        ("a@1:x-", "give a face id"),
    ):
        with pytest.raises(UsageError, match=message):
            change_pins(filmed, pin=[text])
