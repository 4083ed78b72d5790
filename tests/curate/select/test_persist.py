"""Options of a selection last: what is not given is as it was."""

from pathlib import Path

import pytest

from curate.dataset.faceset import Faceset, open_faceset
from curate.dataset.pins import change_pins, read_pins
from curate.dataset.selection_file import LAST, void
from curate.select.options import Floors, SelectionOptions, Weights
from curate.select.persist import last_options, options_from
from curate.select.selection import select_faceset
from faceset import choosing
from tests.command import call
from tests.curate.select.test_outcome import made

NOTHING: dict[type, dict[str, object]] = {SelectionOptions: {}, Floors: {}, Weights: {}}


@pytest.fixture
def faceset(tmp_path: Path) -> Faceset:
    return made(tmp_path / "set")


def chosen(faceset: Faceset) -> int:
    return len(faceset.selection())


def test_budget_floors_weights_and_target_last(faceset, tmp_path) -> None:
    target = made(tmp_path / "target", 1)
    given = {
        SelectionOptions: {"budget": "12"}, Floors: {"min_sharpness": 2.2, "max_motion_blur": 0.9},
        Weights: {"lighting": 0.0},
    }  # fmt: skip
    choosing.select(faceset.folder, given, target.folder)
    first = faceset.selection_options()
    found = choosing.select(faceset.folder, NOTHING, None)
    assert faceset.selection_options() == first and chosen(faceset) == 12 and "target" in found
    (note,) = [n for n in found["notes"] if n.startswith("as in the last selection")]
    for said in ("--budget 12", "--min-sharpness 2.2", "--weight-lighting 0", f"--for {target.folder}", "--defaults"):
        assert said in note
    change_pins(faceset, ban=[faceset.selection()["face_id"][0]])
    choosing.select(faceset.folder, NOTHING, None)
    assert chosen(faceset) == 12
    select_faceset(open_faceset(faceset.folder))  # as the App does, and Python
    assert faceset.selection_options() == first


def test_what_is_given_replaces_and_defaults_start_over(faceset) -> None:
    choosing.select(faceset.folder, NOTHING | {SelectionOptions: {"budget": "12"}}, None)
    choosing.select(faceset.folder, NOTHING | {SelectionOptions: {"budget": "15"}}, None)
    assert chosen(faceset) == 15
    found = choosing.select(faceset.folder, NOTHING, None, defaults=True)
    assert faceset.selection_options()["budget"] == "auto"
    assert not any("last selection" in n for n in found["notes"])


def test_options_outlast_a_selection_that_is_void(faceset) -> None:
    choosing.select(faceset.folder, NOTHING | {SelectionOptions: {"budget": "12"}}, None)
    for _ in range(2):  # a second change of people finds no selection
        void(faceset.selection_path)
        assert not faceset.selection_path.exists() and last_options(faceset).options.budget == "12"
    (faceset.folder / LAST).write_text("[1]")
    assert last_options(faceset).options == SelectionOptions()
    (faceset.folder / LAST).write_text('{"budget": "12"}')
    found = choosing.select(faceset.folder, NOTHING, None)
    assert chosen(faceset) == 12 and "--budget 12" in found["notes"][0] and not (faceset.folder / LAST).exists()


def test_options_of_other_versions_and_a_target_that_is_gone(faceset, tmp_path) -> None:
    assert options_from({}) == SelectionOptions()
    old = {"budget": "30", "floors": {"min_sharpness": 1.5, "gone": 3}, "weights": {"pose": 2.0}, "seed": 0}
    assert options_from(old) == SelectionOptions("30", floors=Floors(min_sharpness=1.5), weights=Weights(pose=2.0))
    assert options_from({"budget": "many"}) == SelectionOptions()
    target = made(tmp_path / "target", 1)
    select_faceset(faceset, SelectionOptions("10", "target"), target)
    target.folder.rename(tmp_path / "elsewhere")
    last = last_options(faceset)
    assert last.target is None and last.options.cover is None and last.options.budget == "10"


def test_bans_of_all_faces_are_refused_and_not_kept(faceset, capsys) -> None:
    faces = list(faceset.table(["face_id"])["face_id"])
    before = change_pins(faceset, ban=faces[:1])
    code, _, error = call(capsys, "select", faceset.folder, *(word for face in faces for word in ("--ban", face)))
    assert code == 1 and "--free" in error
    assert read_pins(faceset) == before
