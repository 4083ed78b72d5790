"""Whole files to damage: clips, photos, a faceset, a run, a render with its manifest. Small, made by the project."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
from safetensors.torch import save_file

from curate.dataset import corrections, lock
from curate.dataset.faceset import Faceset, create, write_selection, write_table
from curate.dataset.pins import Pins, write_pins
from curate.exchange import dfl, faceswap, importing, pak, pickled
from curate.exchange.cutting import jpeg, png
from curate.footage.video import probe
from curate.schema import COLUMNS, IDENTITY, STATUS_OK, part_schema
from curate.scores.expression import DISTANCES
from curate.scores.lighting import skin
from curate.settings import Settings
from curate.types import Clip, Subject
from faceset.project.state import HIDDEN
from tests.tables import write_rows

CLIPS = (
    ("h264.mp4", "libx264", "yuv420p", "aac"),
    ("mpeg4.mov", "mpeg4", "yuv420p", None),
    ("prores.mov", "prores_ks", "yuv422p10le", None),
    ("vp8.webm", "libvpx", "yuv420p", "libopus"),
    ("ffv1.mkv", "ffv1", "yuv420p10le", None),
    ("h264.ts", "libx264", "yuv420p", "aac"),
    ("mjpeg.avi", "mjpeg", "yuvj420p", None),
    ("small.gif", "gif", "rgb8", None),
)
ROWS = 12


def picture(number: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Smooth colours that move."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    waves = [np.sin(x / 17 + number / 5), np.sin(y / 13 - number / 7), np.cos((x + y) / 23)]
    return np.stack([128 + 60 * w for w in waves], axis=-1).astype(np.uint8)


def clip(path: Path, codec: str, form: str, sound: str | None, frames: int = 12) -> Path:
    """A clip of a few frames."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, form
        if codec == "libx264":
            video.options = {"preset": "ultrafast", "g": "5"}
        audio = container.add_stream(sound, rate=48_000, layout="mono") if sound else None
        for number in range(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(video.encode())
        if audio is not None:
            for start in range(0, 8640, 960):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), format="s16", layout="mono")
                frame.sample_rate, frame.pts = 48_000, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def clips(folder: Path) -> None:
    """One clip a container and codec, one photo a format."""
    for name, codec, form, sound in CLIPS:
        clip(folder / name, codec, form, sound)
    for suffix in ("png", "jpg", "tif", "bmp", "webp"):
        cv2.imwrite(str(folder / f"photo.{suffix}"), picture(3))


def _column(kind: pa.DataType, number: int, rng: np.random.Generator) -> Any:
    if pa.types.is_fixed_size_list(kind):
        return rng.random(kind.list_size).astype(np.float32)
    if pa.types.is_list(kind):
        return rng.random(478 * 3).astype(np.float32)
    if pa.types.is_floating(kind):
        return float(rng.random())
    if pa.types.is_boolean(kind):
        return True
    if pa.types.is_binary(kind):
        return bytes(rng.integers(0, 255, 30, np.uint8))
    return number if pa.types.is_integer(kind) else STATUS_OK


def rows() -> pd.DataFrame:
    """Rows of a faceset whose numbers mean nothing."""
    rng = np.random.default_rng(0)
    made = [{c.name: _column(c.type, i, rng) for c in COLUMNS} for i in range(ROWS)]
    for i, row in enumerate(made):
        row |= {"face_id": f"aa-{i:07d}-0", "clip": "h264", "segment": 0, "frame": i, "shot": 0, "track": 0}
        row |= {"crop": f"crops/h264/0000/{i:07d}-0.jpg", "stands_for": 1, "skin": rng.bytes(3 * len(skin()[0]))}
        row |= {
            "distances": rng.random(len(DISTANCES)).astype(np.float32),
            "identity": np.full(IDENTITY, 0.1, np.float32),
        }
    return pd.DataFrame(made)


def faceset(folder: Path, video: Clip | None = None) -> Faceset:
    """A faceset with part, table, selection, pins and crops."""
    film = video or Clip("h264", "/footage/h264.mp4", "aa" * 32, "video", 64, 48, 12, 25.0, 0.48, audio=True)
    made = create(folder, Subject("Ann", "self"), Settings()).changed(clips=(film,), references=((0.1,) * IDENTITY,))
    table = rows()
    write_rows(made, table)
    chosen = table[["face_id"]].assign(rank=range(ROWS), gain=0.1, cluster=0, reason="coverage")
    write_selection(made, chosen, {"budget": "12", "cover": "space", "floors": {}})
    write_pins(made, Pins(("aa-0000001-0",), ("aa-0000002-0",)))
    thumb = np.zeros((18, 32, 3), np.uint8)
    told = {"settings": made.settings.digest(), "clip_sha256": film.sha256, "frames": "12", "skipped": "0"}
    told |= {"thumb_shape": "18x32x3"}
    extra = {k.encode(): v.encode() for k, v in told.items()} | {b"first_thumb": thumb.tobytes()}
    extra |= {b"last_thumb": thumb.tobytes()}
    schema = part_schema()
    write_table(made.part_path("h264-0000"), pa.Table.from_pandas(table, schema, preserve_index=False).cast(
        schema.with_metadata(extra)))  # fmt: skip
    crops = folder / "crops" / "h264" / "0000"
    crops.mkdir(parents=True)
    for i in range(ROWS):
        cv2.imwrite(str(crops / f"{i:07d}-0.jpg"), picture(i, (64, 64)))
    changed = corrections.Correction({"chin": (30.0, 40.0)}, np.array([(9, 9), (50, 9), (30, 40)], np.float32))
    own = table.iloc[0]
    kept = {name: own[name] for name in corrections.SCORES if name in table}
    face = str(own["face_id"])
    corrections.write(folder, {face: corrections.packed(face, made.settings.digest(), changed, kept)})
    return made


def foreign(folder: Path) -> None:
    """A picture of each kind that other programs make, with what they write of the face in it."""
    points = np.random.default_rng(0).random((68, 2)) * 40
    box = (0.0, 0.0, 40.0, 40.0)
    for name in ("dfl", "faceswap", "frames", "pack"):
        (folder / name).mkdir(parents=True)
    known = dfl.described(points, np.eye(2, 3), "0001.png", box)
    for name in ("a.jpg", "b.jpg"):
        (folder / "dfl" / name).write_bytes(dfl.with_metadata(jpeg(picture(1)), known))
    pak.write(folder / "pack" / pak.NAME, sorted((folder / "dfl").iterdir()))
    face = faceswap.described(points, box, "a_0.png", ("a.png", 0, False, (48, 64)))
    (folder / "faceswap" / "a_0.png").write_bytes(faceswap.with_header(png(picture(2, (64, 64))), face))
    (folder / "frames" / "a.jpg").write_bytes(jpeg(picture(3)))
    frames = {"__meta__": {"version": 2.4}, "__data__": {"a.jpg": {"faces": [face["alignments"]], "video_meta": {}}}}
    (folder / "frames" / "alignments.fsa").write_bytes(zlib.compress(pickled.dumps(frames)))


def run(folder: Path) -> None:
    """A run with weights and a checkpoint, of a network as small as there is."""
    from curate.select import learned
    from train import checkpoint, forecast
    from train.config import config_of
    from train.drive import Drive
    from train.model import build
    from train.run import Run, SideInfo

    config = replace(config_of("tiny", drive="scores"), encoder_width=8, decoder_width=8, latent=16)
    side = SideInfo(Subject("Ann", "self"), (("h264", "aa" * 32),), "bb" * 32, (0.1,) * 128, 12, "/faceset")
    folder.mkdir(parents=True)
    Run(
        folder, config, 64, "full", side, side, 10, held_out={"source": ("aa-0000001-0",)}, guard={"source": 0.1},
        drive=Drive(("yaw",), (-20.0,), (20.0,), (0.0,)), caches=(),
    ).save()  # fmt: skip
    faces = tuple(learned.Reconstruction(f"aa-{i:07d}-0", 0.9) for i in range(3))
    learned.write(folder, learned.HeldOut(10, faces))
    lines = [f"{step},{step / 2},{9 - step / 10},{0.5 + step / 100}" for step in range(1, 30)]
    (folder / "log.csv").write_text("\n".join(["step,seconds,loss,ssim", *lines]) + "\n")
    forecast.keep(folder, forecast.Forecast(20, 10, 0.8, 0.7, 0.9, 60.0, 0.1))
    tensors = dict(build(config).state_dict())
    checkpoint.write_tensors(folder / "model.safetensors", tensors)
    checkpoint.write(folder / "checkpoints", 10, {f"ema.{k}": v for k, v in tensors.items()}, {"losses": {}}, 2)


def two(folder: Path) -> None:
    """Two facesets of one subject."""
    faceset(folder / "a")
    film = Clip("h264", "/footage/other.mp4", "dd" * 32, "video", 64, 48, 12, 25.0, 0.48, audio=True)
    faceset(folder / "b", film)


def notes(folder: Path) -> None:
    """What processes note for each other: holders of locks, decoded faces, a learnt reader; the basis of an export."""
    from train import crop_cache, folder_lock, reader

    folder.mkdir(parents=True)
    holder = {"pid": 5, "host": "there", "command": "faceset curate", "since": "2026-01-01 10:00:00"}
    (folder / lock.HOLDER).write_text(json.dumps(holder))
    (folder / folder_lock.HOLDER).write_text(json.dumps({"pid": 5, "machine": "there"}))
    store, label = crop_cache._paths(folder, "source")
    label.write_text(json.dumps({"digest": "aa", "ids": ["a", "b"], "size": 4, "channels": 5, "points": 3}))
    store.write_bytes(bytes(2 * 4 * 4 * 5))
    store.with_suffix(".f32").write_bytes(bytes(2 * 3 * 12))
    made = reader.Reader("scores", 64).state_dict()
    save_file(dict(made), str(folder / reader.FILE), {"faces": "faces"})
    (folder / importing.BASIS).write_text(json.dumps({"subject": "Ann", "basis": "self"}))


def edit(folder: Path) -> None:
    """A faceset, and what the page for corrections sends about a face of it."""
    faceset(folder)
    changed = {"handles": {"chin": [30.0, 40.0]}, "outline": [[9, 9], [50, 9], [30, 40]]}
    (folder / "edit.json").write_text(json.dumps({"folder": "FOLDER", "face": "aa-0000001-0", **changed}))


def access(folder: Path) -> None:
    """A request to the App, a page of the package index, a mirror's notes, the database's log."""
    (folder / "a-tool").mkdir(parents=True)
    (folder / "log").mkdir()
    request = ["/media", "filepath=/a/b.jpg&token=x", "host: 127.0.0.1:5151", "cookie: faceset-5151=x; a=b"]
    (folder / "request.txt").write_text("\n".join([*request, "origin: http://127.0.0.1:5151", "sec-fetch-site: none"]))
    links = [f'<a href="../../files/a_tool-{n}.0.tar.gz#sha256=0">a_tool-{n}.0.tar.gz</a>' for n in range(3)]
    (folder / "a-tool" / "index.html").write_text("<!DOCTYPE html><html><body>" + "<br>".join(links))
    (folder / "mirror.json").write_text(json.dumps({"faceset.toml": ["etag", 5, 7], "faces.parquet": ["", 0, 0]}))
    (folder / "log" / "mongo.log").write_text('{"s":"F","msg":"UPGRADE PROBLEM: Found an invalid document"}\n')


def texts(folder: Path) -> None:
    """A project file, settings of a render and a colour table, as people write them by hand."""
    folder.mkdir(parents=True)
    levels = [f"{r / 2} {g / 2} {b / 2}" for b in range(3) for g in range(3) for r in range(3)]
    (folder / "film.cube").write_text("\n".join(['TITLE "film"', "LUT_3D_SIZE 3", "DOMAIN_MIN 0 0 0", *levels]) + "\n")
    people = "".join(f'[subjects.{n}]\nname = "{n}"\nbasis = "self"\nfootage = ["{n}.mp4"]\n' for n in ("ann", "bob"))
    pair = '[[pairs]]\nsource = "ann"\ntarget = "bob"\n[training]\npreset = "tiny"\nsteps = 100\n'
    (folder / "project.toml").write_text(f"format = 1\n{people}{pair}")
    changed = 'feather = 0.2\ncolour = "mkl"\nkeep = ["mouth"]\ngrain = false\n'
    stretches = "".join(f"[[stretch]]\nstart = {i}.0\nend = {i}.5\n{changed}" for i in range(3))
    (folder / "settings.toml").write_text(stretches)


def results(folder: Path) -> None:
    """What a project remembers of its steps, a run's facts, and a selection."""
    (folder / HIDDEN).mkdir(parents=True)
    done = {"key": "aa", "seconds": 1.5, "units": 12.0, "finished": True}
    state = {"format": 1, "steps": {f"curate {n}": done for n in ("ann", "bob")}}
    (folder / HIDDEN / "state.json").write_text(json.dumps(state))
    facts = {"step": 9, "ended": "", "weights_sha256": "a", "results": {"ssim": 0.9}}
    (folder / "run.json").write_text(json.dumps({"config": {"steps": 9, "size": 64}, **facts}))
    pd.DataFrame({"rank": range(9), "face_id": [f"a-{i}" for i in range(9)]}).to_parquet(folder / "selection.parquet")


def exported(folder: Path) -> None:
    """A signed statement next to a file."""
    from curate.runtime.files import file_sha256
    from render import dfm
    from render.provenance import keys

    folder.mkdir(parents=True)
    (folder / "net.dfm").write_bytes(b"a network")
    statement = {"sha256": file_sha256(folder / "net.dfm"), "subject": "Ann", "basis": "self"}
    (folder / "net.dfm.json").write_text(dfm.signed(statement, keys.installation_key()))


def render(folder: Path) -> None:
    """A signed and marked video, and the folder of a render in the middle of its work."""
    from render import plan
    from render.compositing.settings import RenderSettings
    from render.output.coding import coding_for
    from render.output.footage_format import check_footage
    from render.provenance import keys, manifest, registry
    from reports.artifacts.parts import InspectedPart

    folder.mkdir(parents=True)
    footage = clip(folder / "footage.mp4", "libx264", "yuv420p", "aac")
    unsigned = clip(folder / "unsigned.mp4", "libx264", "yuv420p", "aac")
    subject, film = Subject("Ann", "self"), probe(footage)
    identifier = registry.new_entry(
        title="out.mp4", subject="Ann", basis="self", model_sha256="cc" * 32, out="/out.mp4"
    )
    sources = (manifest.Source("source", "a.mp4", "aa" * 32), manifest.Source("target", "b.mp4", "bb" * 32))
    stated = manifest.RenderStatement(subject, subject, sources, "cc" * 32, 12, 12, identifier)
    store = manifest.sign(unsigned, folder / "out.mp4", "out.mp4", stated, footage, keys.installation_key())
    (folder / "stripped.mp4").write_bytes(footage.read_bytes())
    (folder / "stripped.c2pa").write_bytes(store)
    work = folder / "work"
    work.mkdir()
    coding = coding_for(check_footage(footage, False), "h264", None, 18, "ultrafast")
    made = plan.Plan("/run", "cc" * 32, film, 0, 12, RenderSettings(), coding, "cpu", identifier)
    made.save(work)
    places = [np.random.default_rng(i).random((478, 3)).astype(np.float32) * 40 for i in range(12)]
    plan.save_face(work, pd.DataFrame({"frame": range(12), "shot": 0, "yaw": 1.0, "landmarks": places}))
    plan.save_cuts(work, [5])
    np.savez(work / "typical.npz", middle=np.zeros((8, 8), np.float32), spread=np.ones((8, 8), np.float32))
    account = {"times": list(range(12)), "swapped": 12, "pixels_sha256": "aa"}
    made.parts[0].path(work, ".json").write_text(json.dumps(account))
    inspected = InspectedPart(tuple({"frame": i, "time": i / 25, "x": 1.0} for i in range(12)))
    inspected.save(made.parts[0].path(work, ".parquet"))


MAKERS: dict[str, Callable[[Path], object]] = {
    "clips": lambda f: (f.mkdir(parents=True), clips(f)),
    "faceset": lambda f: faceset(f),
    "foreign": foreign,
    "run": run,
    "render": render,
    "access": access,
    "texts": texts,
    "results": results,
    "exported": exported,
    "two": two,
    "notes": notes,
    "edit": edit,
}


def make(folder: Path) -> None:
    """Everything, each under its name."""
    for name, maker in MAKERS.items():
        maker(folder / name)


def first_second(source: Path, out: Path) -> None:
    """The packets of a clip's first second, copied."""
    with av.open(str(source)) as read, av.open(str(out), "w") as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        for packet in read.demux(stream):
            if packet.dts is None or packet.dts * packet.time_base > 1:
                break
            packet.stream = copy
            written.mux(packet)
