"""A clip is taken out of a faceset; two facesets of one subject become one."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.dataset.faceset import open_faceset
from curate.dataset.pins import change_pins, read_pins
from curate.errors import ConsentError, NobodyError, UsageError
from curate.extract.pipeline import Request, curate
from curate.select.options import SelectionOptions, Weights
from curate.select.persist import last_options
from curate.select.selection import select_faceset
from curate.types import Subject
from curate.upkeep.merge import merge
from curate.upkeep.remove import remove_clips
from tests.command import call


def table_hash(folder: Path) -> str:
    rows = pq.read_table(folder / "faces.parquet").sort_by("face_id").to_pylist()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def made(out: Path, *footage: str, subject: str = "A") -> Path:
    curate(Request(footage, out, subject, "research", settings=(("segment_seconds", 0.5),)))
    return out


@pytest.fixture(scope="module")
def halves(head_clips, tmp_path_factory) -> tuple[Path, Path, Path]:
    """Facesets of the first and the second half of a clip, and of both at once. Not to be changed."""
    folder, clip = tmp_path_factory.mktemp("halves"), head_clips["target"]
    one, two = f"{clip}@0-0.8", f"{clip}@0.8-1.6"
    return made(folder / "a", one), made(folder / "b", two), made(folder / "both", one, two)


def test_two_halves_merged_equal_both_at_once(halves, tmp_path) -> None:
    first, second, both = halves
    found = merge(first, second, tmp_path / "c")
    assert [c.name for c in found.clips] == ["target", "target-2"]
    assert table_hash(found.folder) == table_hash(both)
    chosen = [select_faceset(open_faceset(f)).rows for f in (found.folder, both)]
    assert chosen[0]["face_id"].tolist() == chosen[1]["face_id"].tolist()
    assert all((found.folder / crop).is_file() for crop in found.table(["crop"])["crop"])
    again = merge(found.folder, second, tmp_path / "d")
    assert table_hash(again.folder) == table_hash(both), "a clip that both have is taken once"


def test_a_merge_copies_nothing_that_links_lead_to(halves, tmp_path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, half in zip((first, second), halves, strict=False):
        shutil.copytree(half, folder)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("mine")
    segment = next((first / "crops" / "target").iterdir())
    (segment / "key.jpg").symlink_to(tmp_path / "secret" / "key")
    (segment / "loop").symlink_to(first / "crops")
    found = merge(first, second, tmp_path / "c")
    assert not list(found.folder.rglob("key*")) and not list(found.folder.rglob("loop"))
    assert len(list(found.folder.rglob("*.jpg"))) == sum(len(list(h.rglob("*.jpg"))) for h in halves[:2])


def test_what_cannot_be_merged_is_refused(halves, head_clips, tmp_path) -> None:
    first, second, _ = halves
    other = made(tmp_path / "other", f"{head_clips['source']}@0-0.4")
    named = made(tmp_path / "named", f"{head_clips['target']}@0-0.3", subject="B")
    for faceset, message in (
        (first, "is the first faceset again"),
        (other, "shows another person than"),
        (named, "contains the face of B, .* that of A"),
    ):
        with pytest.raises(UsageError, match=message):
            merge(first, faceset, tmp_path / "c")
        assert not (tmp_path / "c").exists()
    with pytest.raises(UsageError, match="exists and is not a faceset"):
        merge(first, second, tmp_path)
    with pytest.raises(UsageError, match="is a faceset already"):
        merge(first, second, first)
    with pytest.raises(UsageError, match=f"is inside {second}"):
        merge(first, second, second / "c")
    assert not (second / "c").exists()
    wider = made(tmp_path / "wider", f"{head_clips['target']}@0.5-1.0")
    with pytest.raises(UsageError, match="overlaps one of"):
        merge(first, wider, tmp_path / "c")
    open_faceset(wider).changed(subject=Subject("A", "release"))
    with pytest.raises(ConsentError, match="names no document"):
        merge(first, wider, tmp_path / "c")


def test_evidence_and_pins_of_both_are_kept(halves, tmp_path) -> None:
    second = made_copy(halves[1], tmp_path / "b")
    faceset = open_faceset(second).changed(subject=Subject("A", "self", "letter.pdf", "ab" * 32))
    face = str(faceset.table(["face_id"])["face_id"].iloc[2])
    change_pins(faceset, pin=[face])
    found = merge(halves[0], second, tmp_path / "c")
    assert found.subject == Subject("A", "research")
    assert found.merged == open_faceset(found.folder).merged == (Subject("A", "self", "letter.pdf", "ab" * 32),)
    assert read_pins(found).pinned == (face,)


def made_copy(folder: Path, to: Path) -> Path:
    import shutil

    return Path(shutil.copytree(folder, to))


def test_a_clip_removed_and_added_again_gives_the_same_table(halves, head_clips, tmp_path) -> None:
    folder = made_copy(halves[2], tmp_path / "set")
    before, faceset = table_hash(folder), open_faceset(folder)
    select_faceset(faceset)
    rows = faceset.table(["face_id", "clip"])
    gone, stays = (str(rows.loc[rows["clip"] == name, "face_id"].iloc[0]) for name in ("target", "target-2"))
    change_pins(faceset, pin=[stays], ban=[gone])
    told = remove_clips(faceset, ["target"], yes=False)
    assert not told.done and (told.clips[0].faces, told.clips[0].files) == (20, 21) and table_hash(folder) == before
    faceset.reports.mkdir(exist_ok=True)
    (faceset.reports / "remove.html").write_text("its pictures")
    done = remove_clips(faceset, ["target"], yes=True)
    assert done == replace(told, done=True)
    left = open_faceset(folder)
    assert left.table()["clip"].unique().tolist() == ["target-2"] == [c.name for c in left.clips]
    assert not faceset.reports.exists()
    assert not (folder / "crops" / "target").exists() and len(list((folder / "parts").iterdir())) == 2
    assert read_pins(left).pinned == (stays,) and read_pins(left).banned == () and not left.selection_path.exists()
    curate(Request((str(folder), f"{head_clips['target']}@0-0.8")))
    assert table_hash(folder) == before


def test_what_cannot_be_removed_is_refused_and_nothing_is_lost(halves, head_clips, tmp_path) -> None:
    folder = made_copy(halves[0], tmp_path / "set")
    with pytest.raises(UsageError, match=r"nothing: is no clip of .*, which has target"):
        remove_clips(open_faceset(folder), ["nothing"], yes=True)
    with pytest.raises(UsageError, match="all of its clips"):
        remove_clips(open_faceset(folder), ["target"], yes=True)
    curate(Request((str(folder), f"{head_clips['source']}@0-0.4")))
    before = table_hash(folder)
    for yes in (False, True):  # the preview promises nothing that is refused later
        with pytest.raises(NobodyError, match="the subject is seen only in target"):
            remove_clips(open_faceset(folder), [open_faceset(folder).clips[0].path], yes)
    assert table_hash(folder) == before and len(open_faceset(folder).clips) == 2


def test_the_verb_removes_a_clip_and_selects_again_as_before(halves, tmp_path, capsys) -> None:
    folder = made_copy(halves[2], tmp_path / "set")
    select_faceset(open_faceset(folder), SelectionOptions(budget="7", weights=Weights(pose=2.0)))
    code, out, _ = call(capsys, "remove", folder, "target", "--yes", "--json")
    assert code == 0 and json.loads(out)["done"]
    left = open_faceset(folder)
    assert [clip.name for clip in left.clips] == ["target-2"]
    options = last_options(left).options
    assert (options.budget, options.weights.pose) == ("7", 2.0)
