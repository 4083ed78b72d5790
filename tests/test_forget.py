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
from render import plan
from render.forget import forget
from render.provenance import registry
from render.workdir import folder_of
from tests import command
from train import decoded
from train.folder_lock import held
from train.forget import BEGUN
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


def test_working_folders_of_interrupted_renders_go(place, capsys):
    for name in ("ann", "bob"):
        out = place / f"{name}.mp4"
        registry.new_entry(title="x", subject=name.title(), basis="self", model_sha256="cc" * 32, out=str(out))
        folder_of(out).mkdir()
        (folder_of(out) / plan.FILE).write_text("{}")
        (folder_of(out) / "part-00000.mkv").write_bytes(b"swapped faces")
    code, out = call(capsys, "forget", "Ann")
    assert code == 0 and "interrupted render" in out and folder_of(place / "ann.mp4").is_dir()
    assert call(capsys, "forget", "Ann", "--yes")[0] == 0
    assert not folder_of(place / "ann.mp4").exists() and folder_of(place / "bob.mp4").is_dir()


def test_a_run_keeps_hash_and_basis_and_cannot_be_used(place):
    from curate.dataset import consent

    before = open_run(place / "run")
    forget("Ann", [place / "run"], True)
    run = open_run(place / "run")
    assert run.source.subject == Subject(consent.forgotten_name("Ann"), "self")
    assert (run.source.identity, run.source.looks, run.source.folder) == ((), (), "")
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


def test_decoded_faces_in_other_cache_folders_go(place, tmp_path_factory):
    import socket

    cache, own = tmp_path_factory.mktemp("fast"), place / "run" / "cache"
    own.mkdir(exist_ok=True)
    for name in ("source.u8", "target.u8", ".source.u8.x1", "people-0.u8", "pool.u8"):
        (cache / name).write_bytes(b"face")
    for name in ("source.json", "target.json"):
        (cache / name).write_text('{"digest": "", "ids": []}')
    (cache / "notes.txt").write_text("mine")
    (place / "run" / ".model.safetensors.k2").write_bytes(b"half written")
    here = socket.gethostname()
    replace(open_run(place / "run"), caches=((here, str(cache)), ("gpu-2", "/fast/gone"), (here, "/gone"))).save()
    told = forget("Ann", [place / "run"], False)
    assert [(p.kind, p.where, p.files) for p in told.pieces][1:] == [("cache", str(cache), 7)]
    assert told.left == {"gpu-2:/fast/gone": "decoded faces on another machine: delete this folder there"}
    assert len(listing(cache)) == 8
    forget("Ann", [place / "run"], True)
    assert listing(cache) == {"notes.txt": b"mine"}
    assert {p.name for p in (place / "run").iterdir()} == {"run.json", "log.csv"}
    assert open_run(place / "run").caches == (("gpu-2", "/fast/gone"),)


def test_files_that_are_no_cache_stay_whatever_a_run_says(place, tmp_path_factory):
    import socket

    foreign = tmp_path_factory.mktemp("music")
    for name in ("source.u8", "source.json"):
        (foreign / name).write_text("mine")
    replace(open_run(place / "run"), caches=((socket.gethostname(), str(foreign)),)).save()
    assert "not decoded faces" in forget("Ann", [place / "run"], False).left[str(foreign)]
    forget("Ann", [place / "run"], True)
    assert len(listing(foreign)) == 2


def test_what_a_training_left_that_never_began_goes(place, tmp_path_factory):
    cache, out = tmp_path_factory.mktemp("fast"), place / "stopped"
    out.mkdir()
    (cache / "source.u8").write_bytes(b"face")
    (cache / "target.json").write_text('["mine"]')
    decoded.note(out, decoded.Decoded(), ["Ann"], cache)
    decoded.note(out, decoded.earlier(out), ["Bob"], out / "cache")  # a second attempt forgets nothing of the first
    found = forget("Ann", [out], False)
    assert [(p.kind, p.where, p.files) for p in found.pieces] == [("cache", str(cache), 1), (BEGUN, str(out), 1)]
    with held(out), pytest.raises(UsageError, match="trains into it"):
        forget("Bob", [out], True)
    decoded.note(out, decoded.Decoded(), ["Ann", "Bob"], cache)
    assert forget("Cy", [out], True).left[str(out)] == "another subject's" and (cache / "source.u8").exists()
    forget("Bob", [out], True)
    assert not out.exists() and listing(cache) == {"target.json": b'["mine"]'}
    with pytest.raises(UsageError, match="neither a faceset nor a run"):
        forget("Bob", [place], True)


def test_the_pages_of_a_project_go_with_its_facesets(place, seeds: ModuleType, capsys):
    project = place / "project"
    seeds.faceset(project / "facesets" / "ann")
    for name in (".project", "reports/ann-bob"):
        (project / name).mkdir(parents=True)
    for name in ("index.html", "reports/ann-bob/coverage.html", "project.toml", "clip.mp4"):
        (project / name).write_text("Ann")
    for yes in ((), ("--yes",)):
        code, out = call(capsys, "forget", "Ann", project, "--json", *yes)
        found = json.loads(out)
        assert code == 0 and [p["kind"] for p in found["pieces"]] == ["faceset", "pages of the project"]
        assert str(project / "project.toml") in found["left"]
        assert (project / "index.html").exists() == (not yes)
    assert set(listing(project)) == {"project.toml", "clip.mp4"}
    assert call(capsys, "forget", "Cy", place / "project", "--yes")[0] == 0


def test_a_run_that_does_not_say_where_its_cache_was_is_told(place):
    replace(open_run(place / "run"), caches=None).save()
    assert "older version" in forget("Ann", [place / "run"], False).left[str(place / "run")]


def test_a_run_that_began_from_the_persons_run_is_named(place, seeds: ModuleType):
    for name, init in (("child", "run"), ("grandchild", "child"), ("loop", "loop"), ("other", "none")):
        seeds.run(place / name)
        run = open_run(place / name)
        bob = Subject("Bob", "research")
        sides = {side: replace(getattr(run, side), subject=bob) for side in ("source", "target")}
        replace(run, init=str(place / init), **sides).save()
    runs = [place / name for name in ("child", "grandchild", "loop", "other")]
    for removed in (False, True):  # also when the run itself has only the hash of the name left
        left = forget("Ann", runs, False).left
        named = [name for name in ("child", "grandchild") if "trained on this person" in left[str(place / name)]]
        assert named == ["child", "grandchild"] and str(place / "run") in left[str(place / "grandchild")]
        assert {left[str(place / name)] for name in ("loop", "other")} == {"another subject's"}
        if not removed:
            forget("Ann", [place / "run"], True)


def test_the_apps_dataset_of_a_faceset_that_was_deleted_by_hand_goes(place, monkeypatch):
    import shutil

    import curate.app.launch

    fo = _Fo(place)
    for name, info in (("ann-1", "faceset"), ("ann-1-clips", "faceset clips")):
        fo.infos[name][info]["subject"] = "Ann"
    shutil.rmtree(place / "ann")
    monkeypatch.setattr(facesets, "app_was_used", lambda: True)
    monkeypatch.setattr(curate.app.launch, "connect", lambda: fo)
    forget("Ann", [], True)
    assert set(fo.infos) == {"bob-1", "own"}
    fo.infos["bob-1"]["faceset"]["subject"] = "Ann"  # its folder says otherwise
    forget("Ann", [], True)
    assert set(fo.infos) == {"bob-1", "own"}


def test_training_notes_its_cache_and_after_it_was_forgotten_no_face_is_left(
    tmp_path: Path, head_facesets, capsys
) -> None:
    """A search of all files for the crops' bytes, and for the decoded pixels of any crop in a row."""
    import shutil

    import cv2
    import numpy as np

    work = tmp_path / "work"
    for side in ("source", "target"):
        shutil.copytree(head_facesets[side], work / side)
    assert call(capsys, "people", work / "source", "-q")[0] == 0
    train = ["train", "--source", work / "source", "--target", work / "target", "--out", work / "run", "--steps", 2]
    train += ["--preset", "tiny", "--batch", 2, "--identity", 0, "--preview-every", 1, "--cache", work / "fast", "-q"]
    assert call(capsys, *train)[0] == 0
    assert open_run(work / "run").caches[0][1] == str(work / "fast")
    faces = [work / "source" / crop for crop in open_faceset(work / "source").table(["crop"])["crop"].dropna()]
    jpegs = [path.read_bytes() for path in faces]
    size = json.loads((work / "fast" / "source.json").read_text())["size"]
    images = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in faces]
    small = [cv2.resize(i, (size, size), interpolation=cv2.INTER_AREA) if len(i) > size else i for i in images]
    rows = [i[size // 2, size // 4 : -size // 4].tobytes() for i in small]

    def found() -> int:
        count = 0
        for path in (p for p in work.rglob("*") if p.is_file() and work / "target" not in p.parents):
            data = path.read_bytes()
            pixels = data
            if path.suffix == ".u8":
                pixels = np.frombuffer(data, np.uint8).reshape(-1, 4)[:, :3].tobytes()
            count += sum(jpeg in data for jpeg in jpegs) + sum(row in pixels for row in rows)
            count += path.suffix in (".png", ".safetensors") or "tfevents" in path.name
        return count

    assert found() > len(faces)
    assert call(capsys, "forget", "Source", work / "source", work / "run", "--yes", "-q")[0] == 0
    assert found() == 0 and not (work / "fast").exists() and not (work / "source").exists()
