"""Footage to faceset on turntable heads with the real networks."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tomli_w

from curate.dataset.faceset import open_faceset, without_crop
from curate.dataset.lock import lock
from curate.errors import NobodyError, UsageError, WorkError
from curate.extract import census, pipeline
from curate.extract.census import people
from curate.extract.follow import follow
from curate.extract.pipeline import Request, choose_person, curate, split_person
from curate.extract.subject import AGAIN, OTHER_PERSON
from curate.extract.table import calibration
from curate.extract.tracks import DISSOLVE
from curate.footage.video import decode, probe
from curate.schema import STATUS_OK
from curate.select.options import Floors, SelectionOptions
from curate.select.persist import last_options
from curate.select.selection import select_faceset
from curate.turntable import painted, performance, render
from curate.upkeep.prune import restore


def table_hash(folder: Path) -> str:
    rows = pq.read_table(folder / "faces.parquet").sort_by("face_id").to_pylist()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def write_frames(path: Path, frames: list[np.ndarray]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "16"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())


def request(clip: Path | tuple[Path, ...], out: Path, **kwargs) -> Request:
    clips = clip if isinstance(clip, tuple) else (clip,)
    return Request(tuple(map(str, clips)), out, "A", "research", settings=(("segment_seconds", 0.5),), **kwargs)


def test_the_heads_are_found_in_every_frame(head_facesets) -> None:
    for folder in head_facesets.values():
        table = open_faceset(folder).table()
        assert table["kept"].sum() >= 0.95 * 40
        kept = table[table["kept"]]
        assert not kept["frame"].duplicated().any()
        assert kept["status"].eq(STATUS_OK).mean() > 0.9
        assert kept["track"].nunique() == 1, "one track across the segments of one shot"


def test_pose_agrees_with_the_turntable(head_facesets) -> None:
    for number, side in enumerate(("source", "target")):
        table = open_faceset(head_facesets[side]).table().set_index("frame")
        views = pd.DataFrame([vars(v) for v in performance(seed=number, frames=40)]).loc[table.index]
        near = (views["yaw"].abs() < 45) & table["kept"]
        assert (table["yaw"] - views["yaw"])[near].abs().mean() < 4
        assert (table["roll"] - views["roll"])[near].abs().mean() < 3
        assert np.corrcoef(table["yaw"][near], views["yaw"][near])[0, 1] > 0.98


def test_light_and_openings_agree_with_the_turntable(head_facesets) -> None:
    for number, side in enumerate(("source", "target")):
        table = open_faceset(head_facesets[side]).table().set_index("frame")
        views = [performance(seed=number, frames=40)[i] for i in table.index]
        truth = np.stack([v.light_vector() for v in views])
        found = table[["light_x", "light_y", "light_z"]].to_numpy(float)
        angle = np.degrees(np.arccos(np.clip((found * truth).sum(1), -1, 1)))
        # 1.6 seconds of a head that hardly turns, in light that hardly moves, leave the portrait's shading in doubt.
        assert table["light_from"].eq("albedo").all() and np.median(angle) < (30, 12)[number]
        mouth, eyes = np.array([(v.mouth, v.eyes) for v in views]).T
        assert np.corrcoef(table["jawOpen"], mouth)[0, 1] > 0.9 and np.corrcoef(table["blink"], eyes)[0, 1] < -0.8
        assert (table["FaceOcclusionPrevention"] > 0.6).mean() > 0.9


def test_crops_landmarks_and_matrices_agree(head_facesets) -> None:
    faceset = open_faceset(head_facesets["source"])
    chosen = faceset.selected()
    assert len(chosen) == 24
    row = chosen.iloc[0]
    crop = faceset.crop(row["crop"])
    assert crop.shape == (256, 256, 3)
    points = faceset.landmarks([row["face_id"]])[row["face_id"]]
    m = row["matrix"].reshape(2, 3)
    eyes = points[[33, 263], :2] @ m[:, :2].T + m[:, 2]
    assert eyes[1, 0] > eyes[0, 0] and abs(eyes[1, 1] - eyes[0, 1]) < 20
    frame = next(f for f in decode(probe(Path(faceset.clips[0].path))) if f.index == row["frame"])
    again = cv2.warpAffine(frame.image, m, (256, 256), borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(again.astype(int) - crop).mean() < 4


def test_any_number_of_workers_gives_the_same_table(head_clips, head_facesets, tmp_path) -> None:
    curate(request(head_clips["target"], tmp_path / "two", workers=2))
    assert table_hash(tmp_path / "two") == table_hash(head_facesets["target"])


CURATE = """
import sys
from pathlib import Path
from curate.extract.pipeline import Request, curate
if __name__ == "__main__":
    curate(Request((sys.argv[1],), Path(sys.argv[2]), "A", "research", settings=(("segment_seconds", 0.5),)))
"""


def test_killed_and_begun_again_gives_the_same_table(head_clips, head_facesets, tmp_path) -> None:
    out, script = tmp_path / "set", tmp_path / "begin.py"
    script.write_text(CURATE)
    command = [sys.executable, str(script), str(head_clips["target"]), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(command, env=environment)
    end = time.monotonic() + 60
    while not list(out.glob("parts/*.parquet")) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    parts = {p: p.stat().st_mtime_ns for p in out.glob("parts/*.parquet")}
    assert parts and not (out / "faces.parquet").exists()
    curate(Request((str(out),)))
    assert all(p.stat().st_mtime_ns == t for p, t in parts.items()), "what was done is not done again"
    assert table_hash(out) == table_hash(head_facesets["target"])


def test_going_on_takes_footage_in_and_keeps_the_rest(head_clips, head_facesets, tmp_path) -> None:
    shutil.copytree(head_facesets["source"], tmp_path / "set")
    parts = {p: p.stat().st_mtime_ns for p in (tmp_path / "set" / "parts").iterdir()}
    done = curate(Request((str(tmp_path / "set"), f"{head_clips['target']}@0-0.9")))
    assert [c.name for c in done.faceset.clips] == ["source", "target"]
    assert all(p.stat().st_mtime_ns == t for p, t in parts.items())
    assert done.summary()["clips"][1]["kept"] == 0, "another person stays out"
    with pytest.raises(UsageError, match="overlaps"):
        curate(Request((str(tmp_path / "set"), f"{head_clips['target']}@0.5-1.2")))
    with pytest.raises(UsageError, match="contains the face of"):
        curate(Request((str(tmp_path / "set"),), subject="Somebody else"))
    select_faceset(done.faceset, SelectionOptions(budget="7", floors=Floors(min_sharpness=-9.0)))
    before = last_options(done.faceset).options
    other = choose_person(done.faceset, (1,))
    assert last_options(other).options == before and before.budget == "7"
    assert other.table().groupby("clip")["kept"].sum().to_dict()["source"] == 0
    assert not other.selection_path.exists()
    with pytest.raises(UsageError, match="--person 9"):
        choose_person(other, (9,))
    assert open_faceset(other.folder).anchor.how == "person"


def test_a_reference_photo_picks_the_person(head_clips, tmp_path) -> None:
    photo = tmp_path / "me.png"
    view = performance(seed=5, frames=3)[0]
    cv2.imwrite(str(photo), render(painted(), view, (240, 240))[:, :, ::-1])
    clips = (Path(f"{head_clips['source']}@0-1.2"), Path(f"{head_clips['target']}@0-0.4"))
    done = curate(request(clips, tmp_path / "set", references=(photo,)))
    assert done.table.loc[done.table["kept"], "clip"].unique().tolist() == ["target"]
    with pytest.raises(UsageError, match="no such file"):
        curate(request(clips, tmp_path / "x", references=(tmp_path / "none.png",)))


def test_a_refused_photo_leaves_the_subject_as_it_was(head_clips, tmp_path, monkeypatch, caplog) -> None:
    first = curate(request(Path(f"{head_clips['target']}@0-0.4"), tmp_path / "set", person=(0,)))
    monkeypatch.setattr(pipeline, "reference_vector", lambda *_: (1.0,) * 128)
    photos = (Path("me.png"),)
    with pytest.raises(NobodyError, match="leave --reference out"), caplog.at_level("WARNING"):
        curate(Request((str(tmp_path / "set"),), references=photos))
    assert open_faceset(tmp_path / "set").anchor == first.faceset.anchor and "the subject is now" not in caplog.text
    new = tmp_path / "new"
    with pytest.raises(NobodyError):
        curate(request(Path(f"{head_clips['target']}@0-0.4"), new, references=photos))
    assert curate(Request((str(new),))).summary()["kept"] == 10, "whoever is there can be seen now"


def test_people_who_are_seen_together_are_two(head_clips, tmp_path, monkeypatch, caplog) -> None:
    film = tmp_path / "both.mp4"
    sides = [[f.image for f in decode(probe(head_clips[k])) if f.index < 12] for k in ("source", "target")]
    write_frames(film, [np.concatenate(images, axis=1) for images in zip(*sides, strict=True)])
    monkeypatch.setattr(census, "NEAR", 10.0)
    done = curate(request(film, tmp_path / "set"))
    assert len(done.people[0]) == 2 and not [note for note in done.people[1] if "if it is the same person" in note]
    with caplog.at_level("WARNING"):
        joined = choose_person(done.faceset, (0, 1))
    assert "people 0 and 1 together are in one picture in 12 frames" in caplog.text
    apart = split_person(joined, 0)
    assert len(people(apart)[0]) == 2 and apart.grouping == done.faceset.grouping, "no limit was lowered for it"


def test_a_wrong_person_does_not_cost_the_extraction(head_clips, tmp_path) -> None:
    clip = Path(f"{head_clips['target']}@0-0.4")
    with pytest.raises(UsageError, match="--person 5"):
        curate(request(clip, tmp_path / "set", person=(5,)))
    parts = {p: p.stat().st_mtime_ns for p in (tmp_path / "set" / "parts").iterdir()}
    assert parts
    done = curate(Request((str(tmp_path / "set"),), person=(0,)))
    assert done.summary()["kept"] > 0
    assert all(p.stat().st_mtime_ns == t for p, t in parts.items())


def test_other_settings_make_parts_stale(head_facesets, tmp_path) -> None:
    shutil.copytree(head_facesets["source"], tmp_path / "set")
    done = curate(Request((str(tmp_path / "set"),), settings=(("every", 4), ("crop_size", 64))))
    assert done.table["frame"].tolist() == list(range(0, 40, 4))
    assert done.faceset.crop(done.table["crop"][0]).shape == (64, 64, 3)
    assert len(list((tmp_path / "set" / "crops").rglob("*.jpg"))) == 10


def test_one_bad_clip_does_not_stop_the_others(head_clips, tmp_path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    done = curate(request((bad, Path(f"{head_clips['target']}@0-0.3")), tmp_path / "set"))
    assert [f.path for f in done.failed] == [str(bad)]
    assert done.summary()["kept"] == len(done.table) == 8


def test_only_one_process_writes(head_facesets, tmp_path) -> None:
    shutil.copytree(head_facesets["source"], tmp_path / "set")
    faceset = open_faceset(tmp_path / "set")
    with lock(faceset), pytest.raises(WorkError, match="is being written by process"), lock(faceset):
        pass


def test_follow_gives_one_row_a_frame(head_clips, head_facesets) -> None:
    identity = open_faceset(head_facesets["target"]).identity()
    found = follow(head_clips["target"], identity).rows
    assert found["frame"].is_unique and len(found) >= 38
    assert found["landmarks"][0].shape == (478, 3)
    assert follow(head_clips["source"], -identity).rows.empty


def test_real_clips_keep_one_person(clips_folder: Path, tmp_path) -> None:
    done = curate(request((clips_folder / "d3.mp4", clips_folder / "d10.mp4"), tmp_path / "set", workers=2))
    kept = done.table[done.table["kept"]]["clip"].value_counts(normalize=True)
    assert kept.iloc[0] >= 0.97


def test_announced_and_decoded_frames_are_compared_and_told(head_clips, tmp_path) -> None:
    with av.open(str(head_clips["source"])) as container:
        spots = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(head_clips["source"].read_bytes())
    for start, size in spots[20:24]:
        data[start : start + size] = b"\xff" * size
    (tmp_path / "broken.mp4").write_bytes(data)
    (tmp_path / "text.mp4").write_text("no video\n" * 50)
    request = Request((str(tmp_path),), tmp_path / "set", "A", "research", settings=(("segment_seconds", 0.5),))
    summary = curate(request).summary()
    (clip,) = summary["clips"]
    assert clip["announced"] == 40
    assert clip["frames"] == clip["decoded"] < 40
    (note,) = summary["notes"]
    assert note.startswith(f"broken: {40 - clip['frames']} of 40 announced frames are missing: ")
    assert "the decoder calls them damaged" in note
    assert [Path(f["path"]).name for f in summary["failed"]] == ["text.mp4"]
    again = curate(Request((str(tmp_path / "set"),))).summary()
    assert again["notes"] == summary["notes"], "also where everything is done already"


def test_seen_in_a_mirror_one_side_is_kept_for_the_whole_shot(head_clips, tmp_path) -> None:
    film = tmp_path / "mirror.mp4"
    frames = [f.image for f in decode(probe(head_clips["target"])) if f.index < 14]
    write_frames(film, [np.concatenate([image, image[:, ::-1]], axis=1) for image in frames])
    done = curate(request(film, tmp_path / "set"))
    kept, again = (done.table[done.table["status"].eq(s)] for s in (STATUS_OK, AGAIN))
    assert len(kept) == len(again) == 14 and kept["frame"].is_unique
    assert kept["x"].gt(240).nunique() == again["x"].gt(240).nunique() == 1, "no jump from side to side"
    assert "14 faces not kept: the subject seen a second time in a frame" in done.people[1]
    assert follow(film, None).rows["layer"].eq(0).all()
    both = follow(film, None, again=True).rows
    assert both.groupby("layer").size().to_dict() == {0: 14, 1: 14}


def test_shots_begin_in_the_table_where_a_render_says_so_and_also_where_no_face_is_seen(head_clips, tmp_path) -> None:
    film = tmp_path / "cuts.mp4"
    one, two = ([f.image for f in decode(probe(head_clips[s]))][:6] for s in ("target", "source"))
    street = np.kron(np.random.default_rng(0).integers(0, 255, (15, 15, 3)), np.ones((16, 16, 1)))
    write_frames(film, [*one, *[cv2.resize(street, one[0].shape[1::-1]).astype(np.uint8)] * 6, *two])
    found = follow(film, None)
    assert found.cuts == (6, 12)
    shots = curate(request(film, tmp_path / "set")).table.groupby("shot")["frame"].agg(["min", "max"])
    assert shots.loc[0].tolist() == [0, 5] and shots.loc[2].tolist() == [12, 17]


def test_a_dissolve_into_another_person_ends_the_track(head_clips, tmp_path) -> None:
    film = tmp_path / "dissolve.mp4"
    one, two = ([f.image.astype(float) for f in decode(probe(head_clips[s]))] for s in ("target", "source"))
    share = (np.arange(12) + 1) / 13
    mixed = [(1 - w) * a + w * b for w, a, b in zip(share, one[24:], two, strict=False)]
    write_frames(film, [np.round(f).astype(np.uint8) for f in [*one[:24], *mixed, *two[12:30]]])
    done = curate(request(film, tmp_path / "set"))
    kept = done.table[done.table["kept"]]
    assert kept["frame"].max() <= 24 and len(kept) >= 20
    faded = done.table[done.table["frame"].between(26, 33)]
    assert set(faded["status"]) <= {DISSOLVE} and not faded["kept"].any()
    assert done.table.loc[done.table["frame"] > 38, "status"].eq(OTHER_PERSON).all()


def test_what_is_taken_in_does_not_change_the_subject(head_clips, tmp_path) -> None:
    first = curate(request(Path(f"{head_clips['source']}@0-0.4"), tmp_path / "set"))
    assert first.faceset.anchor is not None and first.faceset.anchor.how == "majority"
    later = curate(Request((str(tmp_path / "set"), str(head_clips["target"]))))
    assert later.faceset.anchor == first.faceset.anchor
    assert later.table.loc[later.table["kept"], "clip"].unique().tolist() == ["source"]
    found, notes = later.people
    assert [(p.person, p.subject) for p in found] == [(0, False), (1, True)]
    assert notes[0] == "2 people: the subject, 10 faces in 1 clip; person 0, 40 faces in 1 clip"
    assert notes[1] == "no face of the subject in 1 of 2 clips: target"
    assert "person 0 has 40 faces, the subject 10, and nobody has named the subject" in notes[2]
    both = choose_person(later.faceset, (0, 1))
    assert both.table()["kept"].all() and len(both.anchor.looks) == 2
    assert len(people(both)[0]) == 1


def test_a_faceset_from_before_there_were_anchors_keeps_its_subject(head_clips, tmp_path) -> None:
    first = curate(request(Path(f"{head_clips['source']}@0-0.4"), tmp_path / "set"))
    manifest = tmp_path / "set" / "faceset.toml"
    values = tomllib.loads(manifest.read_text())
    manifest.write_text(tomli_w.dumps({k: v for k, v in values.items() if k != "anchor"}))
    later = curate(Request((str(tmp_path / "set"), str(head_clips["target"]))))
    assert later.table.loc[later.table["kept"], "clip"].unique().tolist() == ["source"]
    assert later.faceset.anchor.looks[0] == pytest.approx(first.faceset.anchor.looks[0], abs=1e-6)


def test_follow_reads_a_second_of_footage_as_its_faceset_does(head_clips, head_facesets) -> None:
    """A stretch has no neutral of its own: with the faceset's, the same frames have the same expressions."""
    faceset = open_faceset(head_facesets["target"])
    identity, own = faceset.identity(), calibration(faceset)
    table = faceset.table(kept=True).set_index("frame")
    frames = follow(head_clips["target"], identity, end=0.5, calibrated=own).rows.set_index("frame")
    both = frames.index.intersection(table.index)
    assert len(both) >= 8
    there, here = (np.stack(list(rows.loc[both, "expression"])) for rows in (table, frames))
    assert np.abs(there - here).max() < 0.02
    assert np.abs(table.loc[both, "pitch"] - frames.loc[both, "pitch"]).max() < 0.5
    alone = follow(head_clips["target"], identity, end=0.5).rows.set_index("frame")
    assert np.abs(there - np.stack(list(alone.loc[both, "expression"]))).max() > 0.02


def test_a_truncated_crop_is_never_read_and_is_restored(head_facesets, tmp_path) -> None:
    shutil.copytree(head_facesets["source"], tmp_path / "set")
    faceset = open_faceset(tmp_path / "set")
    path = faceset.folder / faceset.selected(["crop"])["crop"].iloc[3]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WorkError, match=rf"{path.name} cannot be read: restore it with faceset prune .* --restore"):
        faceset.crop(str(path.relative_to(faceset.folder)))
    assert without_crop(faceset)["crop"].tolist() == [str(path.relative_to(faceset.folder))]
    assert restore(faceset) == 1
    assert path.read_bytes() == whole
