"""Crops that no selection uses: counted, dropped, and made again from the footage."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.dataset.faceset import Faceset, open_faceset
from curate.errors import FootageError, WorkError
from curate.extract.pipeline import Request, curate
from curate.runtime.disk import text as size_of
from curate.select.options import SelectionOptions
from curate.select.selection import select_faceset, summary
from curate.upkeep.prune import prune, restore
from faceset import cli as front
from faceset.choosing import report
from tests.command import call


@pytest.fixture
def some(head_facesets, tmp_path: Path) -> Faceset:
    """The target's faceset with 6 of 40 faces selected."""
    shutil.copytree(head_facesets["target"], tmp_path / "set")
    faceset = open_faceset(tmp_path / "set")
    select_faceset(faceset, SelectionOptions("6"))
    return faceset


def crops(faceset: Faceset) -> dict[str, str]:
    root = faceset.folder / "crops"
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*.jpg")}


def test_it_says_what_it_would_free_and_then_frees_it(some: Faceset) -> None:
    before = crops(some)
    asked = prune(some)
    assert crops(some) == before and not asked.done
    done = prune(some, yes=True)
    assert (done.crops, done.bytes, done.kept) == (asked.crops, asked.bytes, asked.kept) == (34, asked.bytes, 6)
    assert len(crops(some)) == 6 and done.bytes > 0
    table = some.table()
    assert len(table) == 40 and table["crop"].notna().sum() == 6, "every face stays, those without a crop are marked"
    assert some.selected(["crop"])["crop"].notna().all()
    assert prune(some, yes=True).crops == 0


def test_the_pictures_of_other_people_go_as_well(some: Faceset, head_clips) -> None:
    curate(Request((str(some.folder), f"{head_clips['source']}@0-0.4")))
    faceset = open_faceset(some.folder)
    select_faceset(faceset, SelectionOptions("6"))
    before = faceset.table()
    own = set(before.loc[before["kept"], "face_id"])

    def shown() -> set[str]:
        parts = [pq.read_table(path, columns=["face_id", "chip"]) for some in faceset.parts().values() for path in some]
        faces = pa.concat_tables(parts)
        return set(faces.filter(faces["chip"].is_valid())["face_id"].to_pylist())

    others = shown() - own
    assert others and shown() & own and not before["kept"].all()
    assert prune(faceset).pictures == len(others) and shown() - own == others, "nothing is deleted without --yes"
    assert prune(faceset, yes=True).pictures == len(others)
    assert not shown() - own and shown() & own
    done = curate(Request((str(some.folder),)))
    assert done.table.drop(columns="crop").equals(before.drop(columns="crop")), "nothing is read again"


def test_a_faceset_is_not_its_own_target(some: Faceset, capsys) -> None:
    for verb in ("select", "report", "curate"):
        code, _, said = call(capsys, verb, some.folder, "--for", some.folder)
        assert code == 2 and "is the faceset itself" in said, verb
    assert size_of(0) == "less than 1 MB" and size_of(2e6) == "2 MB"


def test_nothing_goes_but_crops_of_the_faceset(some: Faceset, tmp_path: Path) -> None:
    pictures = tmp_path / "Pictures" / "0000"
    pictures.mkdir(parents=True)
    (pictures / "0000001-0.jpg").write_text("mine")  # a name as a crop has it
    segment = next((some.folder / "crops" / "target").iterdir())
    (segment / "notes.txt").write_text("mine")
    (segment / "folder").mkdir()
    (segment / "0000001-9.jpg").symlink_to(pictures / "0000001-0.jpg")
    before = prune(some).crops
    for link, to in ((some.folder / "crops" / "pics", pictures.parent), (segment.parent / "9999", pictures)):
        link.symlink_to(to)
        assert prune(some).crops == before
        with pytest.raises(WorkError, match=f"{link.name} is a link out of the faceset"):
            prune(some, yes=True)
        link.unlink()
    assert prune(some, yes=True).crops == before
    assert (pictures / "0000001-0.jpg").read_text() == (segment / "notes.txt").read_text() == "mine"


def test_nothing_is_written_through_a_link(some: Faceset, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    shutil.rmtree(some.folder / "reports", ignore_errors=True)
    (some.folder / "reports").symlink_to(away)
    with pytest.raises(WorkError, match="reports is a link out of the faceset"):
        report(some.folder)
    (some.folder / "reports").unlink()
    prune(some, yes=True)
    shutil.move(some.folder / "crops" / "target", away / "target")
    (some.folder / "crops" / "target").symlink_to(away / "target")
    before = sorted(away.rglob("*"))
    with pytest.raises(WorkError, match="target is a link out of the faceset"):
        restore(some)
    assert sorted(away.rglob("*")) == before


def test_what_comes_after_still_works_and_a_pruned_face_comes_back(some: Faceset, monkeypatch, capsys) -> None:
    before = crops(some)
    prune(some, yes=True)
    curate(Request((str(some.folder),)))
    assert some.table(["crop"])["crop"].notna().sum() == 6, "remade from the parts, the table still marks them"
    monkeypatch.setattr(sys, "argv", ["faceset", "report", str(some.folder), "-q"])
    with pytest.raises(SystemExit) as end:
        front.main()
    assert end.value.code == 0
    choice = select_faceset(some, SelectionOptions("12"))
    (note,) = [n for n in summary(some, choice)["notes"] if "--restore" in n]
    assert note.startswith("6 selected faces have no crop")
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["faceset", "prune", str(some.folder), "--restore", "--json", "-q"])
    with pytest.raises(SystemExit) as end:
        front.main()
    assert end.value.code == 0 and json.loads(capsys.readouterr().out) == {"restored": 6}
    after = crops(some)
    assert len(after) == 12 and after.items() <= before.items(), "the same bytes as before"
    assert some.selected(["crop"])["crop"].notna().all() and restore(some) == 0


def test_other_footage_makes_no_crop(some: Faceset, head_clips, tmp_path: Path) -> None:
    clip = tmp_path / "moved.mp4"
    shutil.copy(head_clips["source"], clip)
    other = some.changed(clips=(*(type(c)(**{**vars(c), "path": str(clip)}) for c in some.clips),))
    prune(other, yes=True)
    select_faceset(other, SelectionOptions("8"))
    with pytest.raises(FootageError, match="another file"):
        restore(other)
    assert len(crops(other)) == 6


def test_a_clip_that_was_moved_is_told_where_to_give_its_new_place(some: Faceset, tmp_path: Path) -> None:
    gone = tmp_path / "gone.mp4"
    moved = some.changed(clips=tuple(replace(clip, path=str(gone)) for clip in some.clips))
    prune(moved, yes=True)
    select_faceset(moved, SelectionOptions("8"))
    advice = f"if it was moved, .* faceset curate NEW_PLACE --out {re.escape(shlex.quote(str(some.folder)))}"
    with pytest.raises(WorkError, match=advice):
        restore(moved)


def test_without_a_selection_nothing_is_dropped(some: Faceset) -> None:
    some.selection_path.unlink()
    with pytest.raises(WorkError, match="faceset select"):
        prune(some, yes=True)
    assert len(crops(some)) == 40
