"""Contact sheets before anything goes: every face once, by its reason, the doubtful ones last; nothing is changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from curate.dataset.faceset import open_faceset
from curate.errors import WorkError
from curate.select.left_out import LIKE, brief, left_out
from curate.select.options import Floors, SelectionOptions, Weights
from curate.select.selection import select_faceset
from faceset import choosing
from reports.sheets.page import command, write_left_out, write_remove
from tests.command import call


@pytest.fixture
def folder(head_facesets: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(head_facesets["source"], tmp_path / "her set"))


def middle(folder: Path) -> float:
    return float(open_faceset(folder).table(["Sharpness"], kept=True)["Sharpness"].median())


def test_every_face_that_is_left_out_has_one_reason(folder: Path) -> None:
    faceset, limit = open_faceset(folder), middle(folder)
    select_faceset(faceset, SelectionOptions("6", floors=Floors(min_sharpness=limit)))
    rows = left_out(faceset)
    table = faceset.table(["face_id", "Sharpness", "kept"])
    chosen = set(faceset.selection()["face_id"])
    assert sorted(rows["face_id"]) == sorted(set(table["face_id"]) - chosen)
    floor = rows[rows["reason"].str.startswith("--min-sharpness")]
    below = table[table["kept"] & (table["Sharpness"] < limit)]
    assert set(floor["face_id"]) == set(below["face_id"])
    sharp = floor.merge(table, on="face_id", how="left")["Sharpness"]
    assert sharp.is_monotonic_increasing  # the clearest first, the nearly sharp enough last
    like = rows[rows["reason"] == LIKE]
    assert len(like) == len(rows) - len(floor) and like["clearness"].is_monotonic_decreasing
    assert like["clearness"].between(0, 1).all() and like["detail"].str.contains("% like").all()


def test_of_very_many_faces_the_ends_of_each_group_are_kept_and_all_are_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faceset = open_faceset(folder)
    select_faceset(faceset, SelectionOptions("6", floors=Floors(min_sharpness=middle(folder))))
    whole = left_out(faceset).groupby("reason", sort=False)
    monkeypatch.setattr("curate.select.left_out.MANY", 10)
    monkeypatch.setattr("curate.select.left_out.SHOWN", 3)
    rows = brief(faceset)
    found = rows.groupby("reason", sort=False)
    assert found["faces"].sum().to_dict() == whole.size().to_dict() and len(rows) == 6 * whole.ngroups
    for reason, group in found:
        expected = whole.get_group(reason)["face_id"].tolist()
        assert group["face_id"].tolist() == expected[:3] + expected[-3:]


def test_the_page_shows_them_and_the_command_keeps_the_options(folder: Path) -> None:
    faceset = open_faceset(folder)
    select_faceset(faceset, SelectionOptions("6", floors=Floors(min_sharpness=middle(folder))))
    page = write_left_out(faceset)
    figures = json.loads(page.with_suffix(".json").read_text())
    text = page.read_text()
    assert figures["verdict"].startswith("6 faces are selected; 34 are left out")
    assert sum(g["faces"] for g in figures["groups"]) == 34
    assert all(f'data-face="{face}"' in text for g in figures["groups"] for face in g["shown"])
    said = command(faceset, faceset.selection_options())
    assert said.startswith(f"faceset select '{folder}' --budget 6 --min-sharpness 0.") and "--min-exposure" not in said


def test_a_dry_run_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "selection.parquet").read_bytes()
    code, out, _ = call(capsys, "select", folder, "--budget", "5", "--dry-run", "--json")
    found = json.loads(out)
    assert code == 0 and found["selected"] == 5 and (folder / "selection.parquet").read_bytes() == before
    assert "5 faces would be selected; 35 would be left out" in Path(found["left_out"]).read_text()
    code, out, _ = call(capsys, "select", folder, "--budget", "5", "--dry-run")
    assert code == 0 and out.startswith("5 of ") and "nothing was changed" in out
    code, _, err = call(capsys, "select", folder, "--dry-run", "--pin", "x")
    assert code == 2 and "--dry-run changes nothing" in err


def test_floors_that_nothing_passes_are_shown(folder: Path) -> None:
    given = {SelectionOptions: {}, Floors: {"min_sharpness": 1e9}, Weights: {}}
    with pytest.raises(WorkError, match=r"shown in .*left-out\.html"):
        choosing.select(folder, given, None)
    assert "No face is eligible" in (folder / "reports" / "left-out.html").read_text()


def test_prune_shows_what_it_deletes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faceset = open_faceset(folder)
    select_faceset(faceset, SelectionOptions("6"))
    code, out, _ = call(capsys, "prune", folder, "--json")
    found = json.loads(out)
    assert code == 0 and found["crops"] == 34 and len(list(folder.rglob("crops/*/*/*.jpg"))) == 40
    figures = json.loads(Path(found["sheet"]).with_suffix(".json").read_text())
    assert sum(g["faces"] for g in figures["groups"]) == 34 and "would be deleted" in figures["verdict"]
    assert call(capsys, "prune", folder, "--yes")[0] == 0
    page = Path(found["sheet"]).read_text()
    assert "34 crops are deleted" in page and page.count("data-face=") == 34  # the pictures outlive the crops
    code, out, _ = call(capsys, "prune", folder, "--yes", "--json")
    assert json.loads(out)["sheet"] is None and Path(found["sheet"]).read_text() == page


def test_remove_shows_what_goes_and_keeps_no_picture_of_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        call(capsys, "remove", str(folder), "source", "--json")[0] == 2
        and not (folder / "reports" / "remove.html").exists()
    )
    page = write_remove(open_faceset(folder), ["source"])
    groups = json.loads(page.with_suffix(".json").read_text())["groups"]
    assert [(g["reason"], g["faces"]) for g in groups] == [("source: kept, not selected", 16), ("source: selected", 24)]
    first = open_faceset(folder).selection()["face_id"].iloc[0]
    assert groups[1]["shown"][-1] == first and "choice 1<" in page.read_text()
    assert "--pin" not in page.read_text().partition("<script>")[0]


def test_a_picked_face_is_in_the_command(folder: Path, browser) -> None:
    faceset = open_faceset(folder)
    select_faceset(faceset, SelectionOptions("6"))
    view = browser.new_page()
    view.goto(write_left_out(faceset).as_uri())
    faces = view.locator("[data-face]")
    ids = [faces.nth(i).get_attribute("data-face") for i in (0, 1)]
    assert not view.locator(".keep").is_visible()
    faces.nth(0).click()
    faces.nth(1).press("Enter")
    assert view.locator(".keep code").inner_text().endswith(f"--budget 6 --pin {ids[0]} --pin {ids[1]}")
    faces.nth(0).click()
    assert view.locator(".keep strong").inner_text() == "1 face stays"
    view.close()
