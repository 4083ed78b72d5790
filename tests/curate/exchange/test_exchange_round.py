"""Facesets out to other programs and in again, with the real networks on turntable heads."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import pickle
import shutil
import struct
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.dataset.consent import make_subject
from curate.dataset.faceset import open_faceset, write_selection
from curate.errors import ConsentError, UsageError, WorkError
from curate.exchange import dfl, faceswap
from curate.exchange.exporting import export
from curate.exchange.importing import TABLE, import_faceset, records_of
from curate.exchange.layout import ibug68
from curate.face.align import transform
from tests.command import call

FACES = 5
SIZE = 320


@pytest.fixture(scope="module")
def faces(head_facesets, tmp_path_factory) -> Path:
    """The source's faceset with five faces selected, and a release."""
    folder = tmp_path_factory.mktemp("exchange") / "set"
    shutil.copytree(head_facesets["source"], folder)
    faceset = open_faceset(folder)
    write_selection(faceset, faceset.selection().iloc[:FACES])
    return folder


@pytest.fixture(scope="module")
def exported(faces, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("out")
    for program in ("dfl", "faceswap", "folder", "webdataset"):
        done = export(faces, folder / program, program, size=SIZE if program in ("dfl", "faceswap") else None)
        assert done.faces == FACES and not done.failed
    return {p.name: p for p in folder.iterdir()}


@pytest.fixture(scope="module")
def imported(exported, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("in")
    for program in ("dfl", "faceswap"):
        done = import_faceset(exported[program], folder / program, "Source", "research")
        assert (done.program, done.pictures, done.recognised, done.failed) == (program, FACES, FACES, ())
    return {p.name: p for p in folder.iterdir()}


def truth(faces: Path) -> dict[str, np.ndarray]:
    faceset = open_faceset(faces)
    ids = faceset.selection()["face_id"]
    return {face: ibug68(points) for face, points in faceset.landmarks(ids).items()}


def test_every_export_names_the_subject_and_the_basis(exported) -> None:
    for program, folder in exported.items():
        told = json.loads((folder / "BASIS.json").read_text())
        assert (told["subject"], told["basis"], told["format"]) == ("Source", "public-domain", program)
        assert told["faces"] == FACES and told["evidence_sha256"] is None and "synthetic" in told["note"]
        assert os.stat(folder).st_mode & 0o777 == 0o755
    assert not [p for p in exported["dfl"].parent.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("program", ["dfl", "faceswap"])
def test_landmarks_are_the_same_after_out_and_in(faces, imported, program) -> None:
    records = records_of(open_faceset(imported[program]))
    true = truth(faces)
    assert records is not None and len(records) == FACES
    for record in records.to_dict("records"):
        points = true[Path(record["file"]).stem]
        assert np.abs(record["source_landmarks"].reshape(68, 2) - points).max() < 1e-3
        again = transform(points, record["matrix"].reshape(2, 3))
        assert np.abs(record["landmarks"].reshape(68, 2) - again).max() < 0.1
        assert record["program"] == program and record["source_file"] == _frame(program, record["file"])
        assert record["face_type"] == {"dfl": "whole_face", "faceswap": "head"}[program]


def _frame(program: str, file: str) -> str:
    """Name of a face's frame, as the program's own extractor forms it from a video."""
    number = int(Path(file).stem.split("-")[1]) + 1
    return f"{number:05d}.png" if program == "dfl" else f"source_{number:06d}.mp4"


def test_the_mask_in_deepfacelab_s_metadata_is_the_face(faces, exported) -> None:
    rows = open_faceset(faces).selected().set_index("face_id")
    masked = 0
    for path in exported["dfl"].glob("*.jpg"):
        values = dfl.metadata(path.read_bytes())
        clear = rows.loc[path.stem, "FaceOcclusionPrevention"] >= 0.9
        assert (values["xseg_mask"] is not None) == clear
        if clear:
            mask = cv2.imdecode(values["xseg_mask"], cv2.IMREAD_UNCHANGED)
            assert mask.shape == cv2.imread(str(path)).shape[:2] and mask.dtype == np.uint8
            inside = [mask[round(y), round(x)] for x, y in values["landmarks"][27:68]]
            assert min(inside) == 255 and mask[0].max() == 0, "nose, eyes and mouth are the face, the border is not"
            masked += 1
    assert masked, "the heads have nothing in front of them"


def test_frames_are_named_as_asked(faces, tmp_path) -> None:
    export(faces, tmp_path / "out", "dfl", size=128, frame_names="clip")
    path = next((tmp_path / "out").glob("*.jpg"))
    assert dfl.metadata(path.read_bytes())["source_filename"] == _frame("faceswap", path.name)
    with pytest.raises(UsageError, match="--frame-names stem"):
        export(faces, tmp_path / "other", "dfl", frame_names="stem")


@pytest.mark.parametrize("program", ["dfl", "faceswap"])
def test_an_imported_face_has_the_roll_of_its_frame(faces, imported, program) -> None:
    before = open_faceset(faces).selected().set_index("face_id")["roll"]
    faceset = open_faceset(imported[program])
    files = records_of(faceset)["file"].map(lambda f: Path(f).stem)
    after = faceset.table().set_index("face_id").loc[files.index].set_index(files)["roll"]
    assert before.abs().max() > 3
    assert (after - before.loc[after.index]).abs().max() < 2


@pytest.mark.parametrize("program", ["dfl", "faceswap"])
def test_the_picture_shows_the_face_where_its_metadata_say(imported, program) -> None:
    """Our own mesh, run on the picture, finds the points there."""
    faceset = open_faceset(imported[program])
    records = records_of(faceset)
    seen = faceset.landmarks(records.index)
    for face, record in records.iterrows():
        told = record["landmarks"].reshape(68, 2)
        apart = np.linalg.norm(ibug68(seen[face]) - told, axis=1).mean()
        assert apart < 0.05 * np.linalg.norm(told[36] - told[45])


def test_scores_are_computed_here(faces, imported) -> None:
    before = open_faceset(faces).selected().set_index("face_id")
    faceset = open_faceset(imported["dfl"])
    assert faceset.subject.basis == "research" and faceset.table()["kept"].sum() == FACES
    files = records_of(faceset)["file"].map(lambda f: Path(f).stem)
    after = faceset.table().set_index("face_id").loc[files.index].set_index(files)
    assert (after["yaw"] - before["yaw"].loc[after.index]).abs().max() < 3
    assert after["Sharpness"].notna().all()


@pytest.mark.parametrize("program", ["dfl", "faceswap"])
def test_what_came_from_a_program_goes_back_to_it_untouched(exported, imported, program, tmp_path) -> None:
    done = export(imported[program], tmp_path / "out", program, everything=True)
    assert (done.faces, done.kept, done.from_footage) == (FACES, FACES, 0)
    for path in exported[program].glob("*.[jp][pn]g"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_to_the_other_program_it_is_cut_anew_from_the_pictures(imported, tmp_path) -> None:
    done = export(imported["faceswap"], tmp_path / "out", "dfl", everything=True, pack=True, size=256)
    assert (done.faces, done.from_footage) == (FACES, FACES)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["BASIS.json", "faceset.pak"]
    raw = (tmp_path / "out" / "faceset.pak").read_bytes()
    (size,) = struct.unpack_from("<Q", raw, 8)
    configs = pickle.loads(raw[16 : 16 + size])  # noqa: S301  # ours
    assert len(configs) == FACES and all(c["shape"] == (256, 256, 3) for c in configs)
    done = import_faceset(tmp_path / "out" / "faceset.pak", tmp_path / "in", "Source", "research")
    assert (done.program, done.pictures, done.recognised) == ("dfl", FACES, FACES)


def test_a_moved_import_finds_its_pictures(imported, tmp_path) -> None:
    shutil.copytree(imported["faceswap"], tmp_path / "moved")
    faceset = open_faceset(tmp_path / "moved")
    (clip,) = faceset.clips
    path = clip.path.replace(str(imported["faceswap"].resolve()), str(tmp_path / "gone"))
    faceset.changed(clips=(dataclasses.replace(clip, path=path),))
    done = export(tmp_path / "moved", tmp_path / "out", "dfl", everything=True, size=128)
    assert (done.faces, done.from_footage) == (FACES, FACES)


def test_without_the_footage_faces_are_cut_from_the_crops(faces, exported, tmp_path) -> None:
    shutil.copytree(faces, tmp_path / "set")
    faceset = open_faceset(tmp_path / "set")
    clips = tuple(dataclasses.replace(c, path=str(tmp_path / "gone.mp4")) for c in faceset.clips)
    faceset.changed(clips=clips)
    done = export(tmp_path / "set", tmp_path / "out", "dfl", size=SIZE)
    assert (done.faces, done.from_crops) == (FACES, FACES)
    for path in exported["dfl"].glob("*.jpg"):
        a, b = (cv2.imread(str(p)).astype(int) for p in (path, tmp_path / "out" / path.name))
        middle = slice(SIZE // 4, -SIZE // 4)
        assert np.abs(a - b)[middle, middle].mean() < 4
        told = [dfl.metadata(p.read_bytes())["landmarks"] for p in (path, tmp_path / "out" / path.name)]
        assert told[0] == told[1]


def test_plain_exports_keep_the_crops_bytes(faces, exported) -> None:
    faceset = open_faceset(faces)
    chosen = faceset.selected()
    true = truth(faces)
    with (exported["folder"] / "faces.csv").open(newline="") as stream:
        told = {Path(r["file"]).stem: r for r in csv.DictReader(stream)}
    with (exported["folder"] / "landmarks.csv").open(newline="") as stream:
        points = {Path(r["file"]).stem: r for r in csv.DictReader(stream)}
    with tarfile.open(exported["webdataset"] / "faces-000000.tar") as shard:
        members = {m.name: shard.extractfile(m).read() for m in shard.getmembers()}
    assert list(told) == list(chosen["face_id"]) and len(members) == 2 * FACES
    for row in chosen.to_dict("records"):
        face, crop = row["face_id"], (faces / row["crop"]).read_bytes()
        assert (exported["folder"] / f"{face}.jpg").read_bytes() == crop == members[f"{face}.jpg"]
        assert float(told[face]["yaw"]) == pytest.approx(row["yaw"], abs=1e-4)
        inside = transform(true[face], row["matrix"].reshape(2, 3))
        value = json.loads(members[f"{face}.json"])
        assert np.allclose(value["landmarks"], inside, atol=0.01) and len(value["expression"]) == 52
        written = [[float(points[face][f"{axis}_{n}"]) for axis in "xy"] for n in range(68)]
        assert np.allclose(written, inside, atol=0.01)


def test_an_export_needs_a_basis_and_a_new_folder(faces, tmp_path) -> None:
    shutil.copytree(faces, tmp_path / "set")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for wrong, message in (
        ({"program": "zip"}, "--format zip: must be one of dfl"),
        ({"program": "folder", "pack": True}, "--pak: packs exist only for --format dfl"),
        ({"program": "dfl", "size": 5}, "--size 5"),
        ({"program": "dfl", "out": tmp_path / "full"}, "exists; name a new folder"),
    ):
        with pytest.raises(UsageError, match=message):
            export(tmp_path / "set", **{"out": tmp_path / "o", **wrong})
    open_faceset(tmp_path / "set").changed(subject=None)
    with pytest.raises(ConsentError, match="names no subject"):
        export(tmp_path / "set", tmp_path / "o", "dfl")
    assert not (tmp_path / "o").exists()


def test_a_release_goes_with_its_document(faces, tmp_path) -> None:
    shutil.copytree(faces, tmp_path / "set")
    (tmp_path / "release.pdf").write_bytes(b"signed")
    faceset = open_faceset(tmp_path / "set").changed(subject=make_subject("Jane", "release", None))
    with pytest.raises(ConsentError, match="names no document"):
        export(tmp_path / "set", tmp_path / "o", "folder")
    faceset.changed(subject=make_subject("Jane", "release", tmp_path / "release.pdf"))
    export(tmp_path / "set", tmp_path / "o", "folder")
    told = json.loads((tmp_path / "o" / "BASIS.json").read_text())
    assert (told["basis"], told["evidence"]) == ("release", "release.pdf")
    assert told["evidence_sha256"] == hashlib.sha256(b"signed").hexdigest()


class Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_bad_files_are_listed_and_the_rest_goes_on(exported, tmp_path, capsys) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    good = sorted(exported["dfl"].glob("*.jpg"))[:2]
    for path in good:
        shutil.copy(path, folder)
    raw = good[0].read_bytes()
    evil = pickle.dumps({"landmarks": Runs(tmp_path / "made")})
    at = raw.index(b"\xff\xef")
    end = at + 2 + struct.unpack_from(">H", raw, at + 2)[0]
    (folder / "evil.jpg").write_bytes(raw[:at] + b"\xff\xef" + struct.pack(">H", len(evil) + 2) + evil + raw[end:])
    (folder / "plain.jpg").write_bytes(raw[:at] + raw[end:])
    (folder / "short.jpg").write_bytes(raw[:300])
    (folder / "notes.txt").write_text("left alone")
    named = ("--subject", "Source", "--basis", "research", "--workers", 1, "--quiet")
    code, out, err = call(capsys, "import", folder, "--out", tmp_path / "in", *named, "--json")
    assert code == 0, err
    told = json.loads(out)
    reasons = {Path(f["path"]).name: f["reason"] for f in told["failed"]}
    assert set(reasons) == {"evil.jpg", "plain.jpg", "short.jpg"} and "posix.mkdir" in reasons["evil.jpg"]
    assert (told["format"], told["pictures"], told["kept"], told["recognised"]) == ("dfl", 2, 2, 2)
    assert not (tmp_path / "made").exists() and Path(told["report"]).is_file()
    code, out, err = call(capsys, "import", folder, "--out", tmp_path / "in", *named)
    assert code == 2 and "is already a faceset" in err
    for path in good:
        (folder / path.name).unlink()
    code, out, err = call(capsys, "import", folder, "--out", tmp_path / "none", *named)
    assert code == 1 and "no picture in" in err and "posix.mkdir" in err and not (tmp_path / "none").exists()
    code, out, err = call(capsys, "export", tmp_path / "in", "--format", "folder", "--out", tmp_path / "o", "--all")
    assert code == 0 and "2 faces (2 unchanged)" in out


def test_an_export_s_subject_stays_its_subject(exported, tmp_path) -> None:
    with pytest.raises(UsageError, match=r"--subject Another: .*BASIS\.json says that these are faces of Source"):
        import_faceset(exported["dfl"], tmp_path / "in", "Another", "research")


def test_wrong_imports_are_one_line(tmp_path) -> None:
    (tmp_path / "theirs").mkdir()
    for wrong, error, message in (
        ({"path": tmp_path / "gone"}, UsageError, "no such file or folder"),
        ({"program": "zip"}, UsageError, "--format zip"),
        ({"basis": "none"}, UsageError, "--basis none"),
        ({"subject": " "}, UsageError, "--subject is empty"),
        ({"out": tmp_path / "theirs" / "in"}, UsageError, "is inside"),
        ({}, WorkError, "contains no pictures"),
    ):
        given = {"path": tmp_path / "theirs", "out": tmp_path / "in", "subject": "A", "basis": "self"} | wrong
        with pytest.raises(error, match=message):
            import_faceset(**given)
        assert not (tmp_path / "in").exists()


def test_a_killed_import_goes_on(exported, tmp_path, monkeypatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("curate.exchange.importing.curate", killed)
    with pytest.raises(KeyboardInterrupt):
        import_faceset(exported["folder"], tmp_path / "in", "Source", "research")
    monkeypatch.undo()
    done = import_faceset(exported["folder"], tmp_path / "in", "Source", "research")
    assert (done.program, done.pictures) == ("folder", FACES) and (tmp_path / "in" / TABLE).is_file()
    assert records_of(done.curated.faceset).empty


def test_frames_with_an_alignments_file(faces, exported, tmp_path) -> None:
    """The frame's two-faced list: only what is seen there is matched, each face once."""
    import zlib

    image = next(iter(sorted(exported["faceswap"].glob("*.png"))))
    told = faceswap.record("f.png", faceswap.header(image.read_bytes()), SIZE)
    box = dict(zip("xywh", (1, 1, 9, 9), strict=True))
    listed = [{**box, "landmarks_xy": told.landmarks + 500}, {**box, "landmarks_xy": told.landmarks}]
    (tmp_path / "theirs").mkdir()
    pixels = cv2.imread(str(image))
    cv2.imwrite(str(tmp_path / "theirs" / "f.png"), pixels)
    raw = zlib.compress(pickle.dumps({"__meta__": {"version": 2.3}, "__data__": {"f.png": {"faces": listed}}}))
    (tmp_path / "theirs" / "alignments.fsa").write_bytes(raw)
    done = import_faceset(tmp_path / "theirs", tmp_path / "in", "Source", "research")
    assert (done.program, done.pictures, done.recognised) == ("faceswap", 1, 1)
    assert np.allclose(records_of(done.curated.faceset)["landmarks"].iloc[0].reshape(68, 2), told.landmarks)


def test_shards_are_the_same_each_time(faces, exported, tmp_path) -> None:
    export(faces, tmp_path / "again", "webdataset")
    first, second = (p / "faces-000000.tar" for p in (exported["webdataset"], tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()
