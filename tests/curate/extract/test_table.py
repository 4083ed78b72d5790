"""Parts to table: the same whoever makes it, in the order of the footage, and nothing half-made is left."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.dataset.faceset import Faceset, open_faceset, write_table
from curate.errors import WorkError
from curate.extract import table as building
from curate.extract.parts import Part, chips, spread
from curate.extract.table import Count, build
from curate.extract.tracks import joined


@pytest.fixture
def faceset(head_facesets, tmp_path: Path) -> Faceset:
    return open_faceset(Path(shutil.copytree(head_facesets["source"], tmp_path / "set")))


def test_two_workers_make_the_table_that_one_makes(faceset, monkeypatch) -> None:
    assert len(faceset.parts()[faceset.clips[0].name]) == 2
    counts = build(faceset)
    alone = pq.read_table(faceset.table_path)
    assert counts == {faceset.clips[0].name: Count(len(alone), sum(alone["kept"].to_pylist()))}
    monkeypatch.setattr(building, "A_WORKER", 1)
    steps: list[tuple[str, int, int]] = []
    asked, run = [], building.jobs.run
    monkeypatch.setattr(building.jobs, "run", lambda *given: asked.append(given[2]) or run(*given))
    assert build(faceset, 2, lambda *step: steps.append(step)) == counts
    assert pq.read_table(faceset.table_path).equals(alone)
    assert asked == [2]
    assert steps[-1] == ("scores", len(alone), len(alone)) and [s[1] for s in steps] == sorted(s[1] for s in steps)


def test_the_ten_thousandth_segment_comes_last(faceset) -> None:
    name = faceset.clips[0].name
    before = open_faceset(faceset.folder).table(["frame", "shot", "track"])
    first, *_, last = faceset.parts()[name]
    last.rename(faceset.part_path(f"{name}-10000"))
    first.rename(faceset.part_path(f"{name}-9998"))
    assert [p.stem for p in faceset.parts()[name]][-2:] == [f"{name}-9998", f"{name}-10000"]
    parts, _ = joined(faceset)
    assert [p.path.stem for p in parts][-2:] == [f"{name}-9998", f"{name}-10000"]
    assert len(before) == sum(p.rows for p in parts)


def test_what_a_killed_build_left_is_swept(faceset) -> None:
    left = faceset.folder / f"{building.PIECES}left"
    left.mkdir()
    (left / "piece.parquet").write_bytes(b"half")
    build(faceset)
    assert not list(faceset.folder.glob(f"{building.PIECES}*"))


def test_a_failing_worker_leaves_the_old_table(faceset, monkeypatch) -> None:
    before = faceset.table_path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(building, "refine", full)
    with pytest.raises(OSError, match="No space"):
        build(faceset)
    assert faceset.table_path.read_bytes() == before
    assert not list(faceset.folder.glob(f"{building.PIECES}*"))


@pytest.mark.parametrize("column", ["skin", "distances"])
def test_a_part_with_vectors_of_another_size_is_named(faceset, column: str) -> None:
    path = faceset.parts()[faceset.clips[0].name][1]
    part = pq.read_table(path)
    values = [None if v is None else v[:-1] for v in part[column].to_pylist()]
    field = part.schema.field(column)
    write_table(path, part.set_column(part.column_names.index(column), field, pa.array(values, field.type)))
    with pytest.raises(WorkError, match=rf"{path.name} is damaged .*: delete it, then run faceset curate"):
        build(faceset)


def test_a_sample_is_even_over_all_parts() -> None:
    parts = [Part(Path(name), name, 0, 0, {}) for name in "abc"]

    def chosen(counts: list[int], most: int) -> dict[str, list[int]]:
        return {part.clip: at.tolist() for part, at in spread(parts, counts, most)}

    assert chosen([3, 0, 7], 5) == {"a": [0, 2], "c": [1, 3, 6]}
    assert chosen([3, 0, 7], 100) == {"a": [0, 1, 2], "c": [*range(7)]}
    assert chosen([0, 0, 0], 5) == {}


def test_footage_is_asked_for_only_where_it_can_be_added(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(building, "never_rests", lambda neutral: ("a smile",))
    own = SimpleNamespace(neutral=None, skin=())
    building._tell_own(SimpleNamespace(folder=tmp_path, subject=None), own)
    assert caplog.messages == [], "a video that is only followed has no faceset to add footage to"
    building._tell_own(SimpleNamespace(folder=tmp_path, subject="A"), own)
    assert "Add footage with a resting face" in caplog.messages[0]


def test_the_pictures_from_which_identity_was_read_are_kept(faceset) -> None:
    _, tracks = joined(faceset)
    pictures = chips(tracks.tracks[0].chips)
    assert pictures and all(picture.shape == (150, 150, 3) and picture.std() > 5 for picture in pictures)
    part = pq.read_table(faceset.parts()[faceset.clips[0].name][0], columns=["identity", "chip"])
    assert part["identity"].is_valid() == part["chip"].is_valid()
