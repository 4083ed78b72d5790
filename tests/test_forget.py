"""`faceset forget`: what it finds, that it only tells without --yes, that it touches nothing else."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from curate.dataset.faceset import is_faceset, open_faceset
from curate.errors import ConsentError, UsageError
from curate.types import Subject
from curate.upkeep import forget as facesets
from render.forget import forget
from render.provenance import registry
from tests import command
from train.run import open_run


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FACESET_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(facesets, "app_was_used", lambda: False)
    return tmp_path / "config"


@pytest.fixture
def place(tmp_path: Path, seeds: ModuleType) -> Path:
    """A faceset of Ann, one of Bob, a run with both, and a render of Ann in the list."""
    seeds.faceset(tmp_path / "ann")
    seeds.faceset(tmp_path / "bob").changed(subject=Subject("Bob", "research"))
    seeds.run(tmp_path / "run")
    run = open_run(tmp_path / "run")
    replace(run, target=replace(run.target, subject=Subject("Bob", "research", "bob.pdf", "ee" * 32))).save()
    (tmp_path / "run" / "previews").mkdir()
    (tmp_path / "run" / "previews" / "step-10.png").write_bytes(b"face")
    (tmp_path / "run" / "log.csv").write_text("step,loss\n")
    for name in ("Ann", "Bob"):
        registry.new_entry(title="out.mp4", subject=name, basis="self", model_sha256="cc" * 32, out=f"/{name}.mp4")
    return tmp_path


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def call(capsys, *arguments: object) -> tuple[int, str]:
    code, out, err = command.call(capsys, *arguments)
    return code, out or err


def test_without_yes_it_only_tells(place, capsys):
    before = listing(place)
    code, out = call(capsys, "forget", "Ann", place / "ann", place / "bob", place / "run", "--json")
    told = json.loads(out)
    after = {name: data for name, data in listing(place).items() if not name.endswith(".lock")}
    assert code == 0 and after == {name: data for name, data in before.items() if not name.endswith(".lock")}
    assert not told["done"] and told["entries"] == 1
    pieces = {p["where"]: p for p in told["pieces"]}
    assert set(pieces) == {str(place / "ann"), str(place / "run")}
    files = [data for name, data in before.items() if name.startswith("ann/")]
    assert (pieces[str(place / "ann")]["files"], pieces[str(place / "ann")]["bytes"]) == (
        len(files), sum(map(len, files)))  # fmt: skip
    assert told["left"] == {str(place / "bob"): "another subject's"}
    code, text = call(capsys, "forget", "Ann", place / "ann")
    assert code == 0 and "would be removed" in text and "--yes removes it" in text


def test_with_yes_the_subject_is_gone_and_nothing_else(place, capsys):
    bob = listing(place / "bob")
    code, out = call(capsys, "forget", "Ann", place / "ann", place / "bob", place / "run", "--yes")
    assert code == 0 and "would" not in out and "removed" in out
    assert not (place / "ann").exists()
    assert listing(place / "bob") == bob
    assert {p.name for p in (place / "run").iterdir()} == {"run.json", "log.csv"}
    everything = b"".join(listing(place).values())
    assert b"Ann" not in everything and b"Bob" in everything
    assert [e.subject for e in registry._entries()][1] == "Bob"
    again = forget("Ann", [], True)
    assert (again.pieces, again.entries, again.left) == ((), 0, {})


def test_a_run_keeps_hash_and_basis_and_cannot_be_used(place):
    from curate.dataset import consent

    before = open_run(place / "run")
    forget("Ann", [place / "run"], True)
    run = open_run(place / "run")
    assert run.source.subject == Subject(consent.forgotten_name("Ann"), "self")
    assert (run.source.identity, run.source.folder) == ((), "")
    assert [sha256 for _, sha256 in run.source.clips] == [sha256 for _, sha256 in before.source.clips]
    assert run.target == before.target
    with pytest.raises(ConsentError, match="forgotten"):
        consent.require(run.source.subject, "run")
    with pytest.raises(UsageError, match="forgotten"):
        consent.make_subject(run.source.subject.name, "self")


def test_what_is_no_faceset_is_never_touched(place):
    before = listing(place)
    (place / "photos").mkdir()
    for wrong in (place / "photos", place / "none", place / "run" / "log.csv"):
        with pytest.raises(UsageError, match="neither a faceset nor a run"):
            forget("Ann", [place / "ann", wrong], True)
    assert listing(place) == before


def test_foreign_files_and_what_links_lead_to_stay(place, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "kept.jpg").write_bytes(b"kept")
    (place / "ann" / "reports").symlink_to(other, target_is_directory=True)
    (place / "ann" / "crops" / "link").symlink_to(other, target_is_directory=True)
    (place / "ann" / "my notes.txt").write_text("mine")
    done = forget("Ann", [place / "ann"], True)
    assert listing(place / "ann") == {"my notes.txt": b"mine"}
    assert (other / "kept.jpg").read_bytes() == b"kept"
    assert done.left == {str(place / "ann" / "my notes.txt"): "not made by faceset"}


def test_stopped_in_the_middle_it_can_be_called_again(place, monkeypatch):
    def fail(path: Path) -> None:
        raise OSError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(facesets.shutil, "rmtree", fail)
        with pytest.raises(Exception, match="cannot be removed"):
            forget("Ann", [place / "ann"], True)
    assert is_faceset(place / "ann") and open_faceset(place / "ann").subject.name == "Ann"
    forget("Ann", [place / "ann"], True)
    assert not (place / "ann").exists()


class _Fo:
    """FiftyOne with three datasets: Ann's faces, her clips, and somebody else's own."""

    def __init__(self, place: Path) -> None:
        folders = {"ann-1": ("faceset", "ann"), "ann-1-clips": ("faceset clips", "ann"), "bob-1": ("faceset", "bob")}
        self.infos = {n: {k: {"folder": str((place / f).resolve())}} for n, (k, f) in folders.items()} | {"own": {}}

    def list_datasets(self) -> list[str]:
        return sorted(self.infos)

    def dataset_exists(self, name: str) -> bool:
        return name in self.infos

    def load_dataset(self, name: str) -> object:
        class Dataset(SimpleNamespace):
            def __len__(self) -> int:
                return 12

        return Dataset(info=self.infos[name], delete=lambda: self.infos.pop(name))


def test_the_apps_datasets_of_the_subject_go(place, monkeypatch):
    import curate.app.launch

    fo = _Fo(place)
    monkeypatch.setattr(facesets, "app_was_used", lambda: True)
    monkeypatch.setattr(curate.app.launch, "connect", lambda: fo)
    told = forget("Ann", [], False)
    assert [p.where for p in told.pieces] == ["ann-1", "ann-1-clips"] and len(fo.infos) == 4
    assert told.left == {str(place / "ann"): "a faceset of this subject that was not named"}
    forget("Ann", [place / "ann"], True)
    assert set(fo.infos) == {"bob-1", "own"}


def test_an_app_that_was_never_used_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("FIFTYONE_DATABASE_DIR", str(tmp_path / "none"))
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    assert facesets.datasets_of("Ann", []) == [] and "fiftyone" not in sys.modules
