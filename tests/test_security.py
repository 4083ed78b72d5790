"""What SECURITY.md promises, a test each."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import json
import logging
import os
import re
import stat
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.app import correcting
from curate.dataset import lock, mirror
from curate.dataset.faceset import inside, open_faceset
from curate.dataset.pins import read_pins
from curate.errors import FacesetError, UsageError, WeightsError, WorkError
from curate.face import weights as models
from curate.footage import video
from curate.runtime.files import file_sha256
from curate.types import Clip, Subject
from render import stretches
from render.compositing.settings import RenderSettings
from render.provenance import keys, manifest
from render.provenance.verify import verify
from train import crop_cache, folder_lock
from train.run import load_swapper, open_run

ROOT = Path(__file__).parent.parent
MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FACESET_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


# ---- nothing in a file is run


FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
FORBIDDEN_CALLS = {"eval", "exec", "__import__"}


def dangers(tree: ast.AST) -> Iterator[str]:
    """Every place where bytes of a file could become code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"import {n}" for n in names if n.split(".")[0] in FORBIDDEN_MODULES)
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if name in FORBIDDEN_CALLS:
            yield name
        if name.endswith(("torch.load", "np.load", "numpy.load")) and "load_state_dict" not in name:
            wanted = ("weights_only", "True") if "torch" in name else ("allow_pickle", "False")
            if given.get(wanted[0]) != wanted[1]:
                yield f"{name} without {'='.join(wanted)}"
        if given.get("shell") == "True" or name in ("os.system", "os.popen"):
            yield f"{name} with a shell"
        if name.endswith(("read_pickle", "extractall", "unpack_archive", "mktemp")):
            yield name


def sources() -> list[Path]:
    packages = ("curate", "reports", "train", "render", "faceset", "benchmarks")
    return [path for name in packages for path in (ROOT / name).rglob("*.py")]


def test_no_source_unpickles_evaluates_or_asks_a_shell():
    files = sources()
    assert len(files) > 100
    for path in files:
        assert list(dangers(ast.parse(path.read_text(encoding="utf-8")))) == [], path


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from yaml import load",
        "eval(x)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "np.load(p)",
        "np.load(p, allow_pickle=True)",
        "subprocess.run(c, shell=True)",
        "os.system(c)",
        "tar.extractall(p)",
    ],
)
def test_the_scan_sees(code):
    assert list(dangers(ast.parse(code)))


class _Code:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_weights_of_others_run_no_code(tmp_path):
    from curate.face.backends.fan import _depth_weights

    file, trace = tmp_path / "depth.pth.tar", tmp_path / "trace"
    torch.save({"state_dict": {}, "extra": _Code(trace)}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match="tries to run code"):
        _depth_weights(file)
    assert not trace.exists()
    numbers = {"best": np.float64(0.5), "lr": np.float32(0.1), "epoch": np.int64(3)}
    torch.save({"state_dict": {"module.a": torch.ones(2)}, **numbers}, file, _use_new_zipfile_serialization=False)
    assert list(_depth_weights(file)) == ["a"]


# ---- weights are what they were


def test_downloaded_weights_with_another_hash_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("FACESET_CACHE", str(tmp_path))
    monkeypatch.setattr(models, "_from_url", lambda weights: b"other bytes")
    monkeypatch.setattr(models, "_from_mirror", lambda weights: b"other bytes")
    (tmp_path / models.DETECTOR).write_bytes(b"other bytes")
    assert models.cached(models.DETECTOR) is None
    with pytest.raises(WeightsError, match="another hash"):
        models.fetch(models.DETECTOR)


def test_a_runs_weights_with_another_hash_are_not_used(tmp_path, seeds: ModuleType):
    seeds.run(tmp_path / "run")
    path = tmp_path / "run" / "model.safetensors"
    run = replace(open_run(tmp_path / "run"), weights_sha256=file_sha256(path))
    load_swapper(run, "cpu")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WorkError, match="its hash differs"):
        load_swapper(run, "cpu")


def test_a_network_of_another_size_is_refused_before_it_is_made(tmp_path, seeds: ModuleType, monkeypatch):
    seeds.run(tmp_path / "run")
    run = open_run(tmp_path / "run")
    huge = replace(run.config, size=512, encoder_width=1024, decoder_width=1024, latent=8192)
    with pytest.raises(WorkError, match="do not fit the run's network"):
        load_swapper(replace(run, config=huge, size=512), "cpu")


# ---- paths in files stay in the faceset


@pytest.mark.parametrize("path", ["../x.jpg", "/etc/passwd", "crops/../../x.jpg", "a\0b", "link/x.jpg"])
def test_paths_in_a_table_stay_in_the_faceset(tmp_path, seeds: ModuleType, path):
    faceset = seeds.faceset(tmp_path / "set")
    (tmp_path / "x.jpg").write_bytes(next((tmp_path / "set").rglob("*.jpg")).read_bytes())
    (tmp_path / "set" / "link").symlink_to(tmp_path, target_is_directory=True)
    for ask in (lambda: faceset.crop(path), lambda: inside(faceset.folder, path)):
        with pytest.raises(WorkError, match="points outside the faceset"):
            ask()


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "a\\b", "..", ".", "", "a\nb", " ", "x."])
def test_names_of_clips_stay_in_the_faceset(tmp_path, seeds: ModuleType, name):
    faceset = seeds.faceset(tmp_path / "set")
    faceset.changed(clips=(replace(faceset.clips[0], name=name),))
    with pytest.raises(WorkError, match="is not a valid clip name"):
        open_faceset(faceset.folder)


def test_names_of_footage_become_names_of_clips_that_are_safe():
    from curate.extract.intake import _take_in
    from curate.records import safe_name

    for number, stem in enumerate(("..", "a\nb", " x ", "...", "a\\b", "x\u202e", "-rf")):
        clips: list[Clip] = []
        _take_in(clips, Clip(stem, f"/f/{number}", f"{number:064}", "video", 8, 8, 1, 25.0, 1.0))
        assert safe_name(clips[0].name), stem


# ---- what others wrote is shown, not obeyed


def test_markup_in_names_is_text_on_every_page(tmp_path, seeds: ModuleType, monkeypatch):
    from reports.page.page import environment

    shown = environment().from_string("{{ name }}").render(name=MARKUP)
    assert "<" not in shown and '"' not in shown and "'" not in shown
    templates = list((ROOT / "reports" / "templates").rglob("*"))
    assert templates
    for path in templates:
        text = path.read_text(encoding="utf-8")
        assert "|safe" not in text.replace(" ", "") and "autoescapefalse" not in text.replace(" ", ""), path
    assert "default-src 'none'" in (ROOT / "reports" / "templates" / "base.html").read_text()


@pytest.fixture
def signed(tmp_path: Path, seeds: ModuleType, monkeypatch):
    """A function that signs a clip with any statement, as anybody can who has a key."""

    def sign(statement: object, name: str = "Ann") -> Path:
        folder = tmp_path / f"s{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        clip = seeds.clip(folder / "a.mp4", "libx264", "yuv420p", None)
        footage = seeds.clip(folder / "b.mp4", "libx264", "yuv420p", None)
        stated = manifest.RenderStatement(Subject(name, "self"), Subject("Bob", "self"), (), "cc" * 32, 12, 12)
        with monkeypatch.context() as patch:
            if statement is not None:
                patch.setattr(manifest, "_statement", lambda stated: statement)
            manifest.sign(clip, folder / "out.mp4", "out.mp4", stated, footage, keys.installation_key())
        return folder / "out.mp4"

    return sign


@pytest.mark.parametrize(
    "statement",
    [
        {},
        {"sealed": False, "subject": "Ann"},
        {"generator": 5, "model_sha256": "a", "subject": {"name": "x"}, "sources": []},
        {"generator": "g", "model_sha256": "a", "subject": {"name": "x"}, "sources": [{"role": 1}]},
        {"generator": "g", "model_sha256": "a", "subject": {"name": ["x"]}, "sources": []},
    ],
)
def test_a_signed_statement_of_another_form_is_told(signed, statement):
    found = verify(signed(statement))
    assert found.state in ("trusted", "valid") and found.subject is None
    assert "faceset.statement" in found.details and "its statement cannot be read" in found.reason


def test_what_others_signed_moves_no_cursor(signed):
    found = verify(signed(None, "Ann\x1b[2J\x1b]0;title\x07\u202e"))
    assert found.state == "trusted" and found.reason.isprintable(), found.reason


# ---- keys


def test_keys_are_the_users_alone(config, caplog):
    keys.installation_key()
    key = config / "signing.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.stat().st_mode) == 0o700
    assert "chmod" not in caplog.text
    key.chmod(0o640)
    with caplog.at_level(logging.WARNING):
        keys.installation_key()
    assert f"chmod 600 {key}" in caplog.text


# ---- no network unless asked, and only loopback


def test_the_app_listens_on_this_machine_only(monkeypatch, tmp_path):
    import curate.app.launch as app

    asked: dict[str, object] = {}

    class Session:
        def wait(self, _: int) -> None:
            pass

    class Fo(ModuleType):
        def launch_app(self, _: object, **given: object) -> Session:
            asked.update(given)
            return Session()

        def close_app(self) -> None:
            pass

    dataset = type("Dataset", (), {"name": "ann", "list_workspaces": list, "list_saved_views": list})()
    monkeypatch.setitem(sys.modules, "fiftyone", Fo("fiftyone"))
    monkeypatch.setattr(app, "_load_all", lambda *_: [(dataset, None)])
    monkeypatch.setattr(app, "_finish_all", lambda loaded: None)
    monkeypatch.setattr(app, "_shown", lambda *_: ())
    guarded = []
    monkeypatch.setattr(app.service, "protect", guarded.append)
    address = app.launch([tmp_path], port=5999, browser=False)
    assert address == f"http://127.0.0.1:5999/datasets/ann?token={guarded[0].token}" and len(guarded[0].token) >= 32
    assert asked["address"] == "127.0.0.1"
    assert app.ENVIRONMENT["FIFTYONE_DO_NOT_TRACK"] == "true"


ALONE = """
import socket, sys
def refuse(*_, **__):
    raise AssertionError("the network was asked")
class Socket(socket.socket):
    def connect(self, address):
        if self.family != socket.AF_UNIX:
            refuse()
        return super().connect(address)
    connect_ex = connect
socket.socket, socket.create_connection, socket.getaddrinfo = Socket, refuse, refuse
from faceset import cli
for call in {calls!r}:
    sys.argv = ["faceset", *call]
    try:
        cli.main()
    except SystemExit as end:
        assert end.code in (0, None), (call, end.code)
"""


def test_without_a_network_everything_works(tmp_path, head_clips):
    """From footage to a verified render in one process whose sockets refuse; the weights are in the cache."""
    sides = [
        ["curate", str(head_clips[side]), "--out", str(tmp_path / side), "--subject", side, "--basis", "self",
         "--budget", "24", "--workers", "1", "-q"]
        for side in ("source", "target")
    ]  # fmt: skip
    train = ["train", "--source", str(tmp_path / "source"), "--target", str(tmp_path / "target"), "--out"]
    train += [str(tmp_path / "run"), "--preset", "tiny", "--steps", "2", "--batch", "4", "--identity", "0", "-q"]
    out = str(tmp_path / "out.mp4")
    render = ["render", str(tmp_path / "run"), "--footage", str(head_clips["target"]), "--out", out, "--range", "0-0.4"]
    render += ["--workers", "1", "--preset", "ultrafast", "--mask", "hull", "-q"]
    calls = [*sides, ["report", str(tmp_path / "source"), "-q"], train, render, ["verify", out, "-q"]]
    code = ALONE.format(calls=calls)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=280, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].startswith("trusted: ")


def test_the_socket_guard_refuses():
    code = ALONE.format(calls=[]) + "\nimport urllib.request\nurllib.request.urlopen('http://127.0.0.1:9/')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode != 0 and "the network was asked" in done.stderr


# ---- memory is bounded


def png(width: int, height: int) -> bytes:
    """A black photo, packed a thousandfold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = bytes(1 + width * 3)
    pixels = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


LIMITED = """
import resource, sys
import curate.footage.video as video
from pathlib import Path
pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + (1200 << 20),) * 2)
"""


def limited(code: str, *arguments: object) -> str:
    """What a process says that may take 1.2 GB."""
    command = [sys.executable, "-c", LIMITED + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_photo_of_400_megapixels_is_refused_one_of_100_is_read(tmp_path):
    """20000 x 20000 in 5 MB of PNG; beside a good photo the folder goes on."""
    (tmp_path / "bomb.png").write_bytes(png(20_000, 20_000))
    (tmp_path / "large.png").write_bytes(png(10_000, 10_000))
    code = """
from curate.errors import FootageError
try:
    video.probe(Path(sys.argv[1]) / "bomb.png")
except FootageError as error:
    print(error)
print(video.probe(Path(sys.argv[1])).width)
"""
    told = limited(code, tmp_path).splitlines()
    assert told[0].endswith("bomb.png: it contains no readable photo")
    assert told[1] == "10000"


def test_a_video_frame_beyond_the_limit_is_not_decoded(tmp_path, seeds: ModuleType, monkeypatch):
    clip = seeds.clip(tmp_path / "a.mkv", "ffv1", "yuv420p", None)
    assert video.probe(clip).width == 64
    monkeypatch.setattr(video, "MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(FacesetError):
        video.probe(clip)


def test_a_clip_that_claims_a_billion_frames(tmp_path, seeds: ModuleType):
    """`stsz`, `stts` and `stsc` say 10^9 samples of 100 bytes in a file of 4 kB."""
    data = seeds.clip(tmp_path / "a.mp4", "libx264", "yuv420p", None).read_bytes()
    many = (10**9).to_bytes(4, "big")
    place = data.index(b"stsz")
    data = data[: place + 8] + (100).to_bytes(4, "big") + many + data[place + 16 :]
    for name, offset in ((b"stts", 12), (b"stsc", 16)):
        place = data.index(name)
        data = data[: place + offset] + many + data[place + offset + 4 :]
    (tmp_path / "many.mp4").write_bytes(data)
    code = """
from curate.errors import FootageError
try:
    print(video.probe(Path(sys.argv[1])).frames < 1000)
except FootageError as error:
    print(True)
"""
    assert limited(code, tmp_path / "many.mp4").strip() == "True"


def test_a_table_that_unpacks_to_more_than_the_memory(tmp_path, seeds: ModuleType):
    """A column of one megabyte, repeated ten thousand times: 10 GB out of some kilobytes."""
    faceset = seeds.faceset(tmp_path / "set")
    large = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10_000, np.int32)), pa.array(["x" * (1 << 20)]))
    numbers = {"rank": pa.array(range(10_000), pa.int32()), "gain": pa.nulls(10_000, pa.float32())}
    table = pa.table({"face_id": large, **numbers, "cluster": numbers["rank"], "reason": large})
    pq.write_table(table, faceset.selection_path, compression="zstd", store_schema=False)
    assert faceset.selection_path.stat().st_size < 1 << 20
    code = """
from curate.errors import WorkError
from curate.dataset.faceset import open_faceset
try:
    open_faceset(Path(sys.argv[1])).selection()
except WorkError as error:
    print(error)
"""
    assert "is damaged" in limited(code, faceset.folder)


def test_a_million_boxes_are_read_in_little_memory(tmp_path):
    path = tmp_path / "boxes.mp4"
    path.write_bytes((8).to_bytes(4, "big") + b"free" + ((8).to_bytes(4, "big") + b"skip") * 1_000_000)
    assert verify(path).state == "missing"


def test_tables_of_other_columns_or_types_are_told(tmp_path, seeds: ModuleType):
    faceset = seeds.faceset(tmp_path / "set")
    good = pq.read_table(faceset.table_path)
    wrong = {
        "no column kept": good.drop_columns(["kept"]),
        "not bool": good.set_column(good.schema.get_field_index("kept"), "kept", pa.array(["x"] * len(good))),
        "rows without a value": good.set_column(
            good.schema.get_field_index("face_id"), "face_id", pa.nulls(len(good), pa.string())
        ),
    }
    offsets = pa.array(range(len(good) + 1), pa.int32()).buffers()[1]
    bytes_ = pa.StringArray.from_buffers(len(good), offsets, pa.py_buffer(b"\xff" * len(good)))
    wrong["Invalid UTF8"] = good.set_column(good.schema.get_field_index("face_id"), "face_id", bytes_)
    for words, table in wrong.items():
        pq.write_table(table, faceset.table_path)
        with pytest.raises(WorkError, match=words):
            faceset.table(["face_id", "kept"])


# ---- the command line says one line


@pytest.mark.parametrize("file", ["faceset.toml", "faces.parquet", "selection.parquet", "pins.json"])
def test_a_damaged_faceset_is_one_line(tmp_path, seeds: ModuleType, file, capsys):
    from faceset import cli as front

    seeds.faceset(tmp_path / "set")
    (tmp_path / "set" / file).write_bytes(b"\0\xff" * 50)
    old, sys.argv = sys.argv, ["faceset", "select", str(tmp_path / "set"), "-q"]
    try:
        if file != "selection.parquet":  # select makes that one anew
            with pytest.raises(SystemExit) as end:
                front.main()
            assert end.value.code == 1
            err = capsys.readouterr().err
            assert err.count("\n") == 1 and err.startswith("faceset: ") and file in err
        else:
            with pytest.raises(WorkError, match=r"selection.parquet is damaged .*: faceset select"):
                open_faceset(tmp_path / "set").selection()
    finally:
        sys.argv = old


def test_a_plan_with_other_values_is_not_followed(tmp_path, seeds: ModuleType):
    from render import plan

    seeds.render(tmp_path / "render")
    path = tmp_path / "render" / "work" / "plan.json"
    values = json.loads(path.read_text())
    assert plan.load(path.parent) is not None
    changes: list[dict[str, object]] = [{"first": -5}, {"end": 10**9}, {"identifier": "x"}, {"run": None}, {"new": 1}]
    for change in changes:
        path.write_text(json.dumps({**values, **change}))
        assert plan.load(path.parent) is None, change


def test_the_apps_database_listens_on_this_machine_only():
    """mongod binds to localhost unless it is told otherwise, and FiftyOne does not tell it."""
    spec = importlib.util.find_spec("fiftyone")
    if spec is None or spec.origin is None:
        pytest.skip("FiftyOne is not installed")
    service = (Path(spec.origin).parent / "core" / "service.py").read_text(encoding="utf-8")
    assert "--dbpath" in service and "bind_ip" not in service and "ipv6" not in service


def test_every_promise_has_its_test():
    names = re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    written = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    assert len(names) > 25
    assert [name for name in names if f"def {name}(" not in written] == []


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(PLAIN, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=8), v, max_size=4))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_values_are_a_record_or_one_line(data, records):
    """Any JSON in any place of a record."""
    path, read = data.draw(st.sampled_from(list(records)))
    whole = json.loads(path.read_text())
    changed = place = json.loads(path.read_text())
    while isinstance(place, dict) and place:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or data.draw(st.booleans()):
            place[key] = data.draw(VALUES)
            break
        place = place[key]
    try:
        path.write_text(json.dumps(changed))
        read()
    except FacesetError as error:
        assert str(error).isprintable() and len(str(error)) < 600
    finally:
        path.write_text(json.dumps(whole))


@pytest.fixture(scope="module")
def records(seeds: ModuleType, tmp_path_factory: pytest.TempPathFactory):
    """Files of JSON, each with what reads it."""
    from curate.dataset.pins import read_pins
    from render import plan
    from train import checkpoint

    place = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACESET_CONFIG", str(place / "config"))
        faceset = seeds.faceset(place / "set")
        seeds.run(place / "run")
        seeds.render(place / "render")
    work, steps = place / "render" / "work", place / "run" / "checkpoints"
    part = plan.cut(0, 12)[0]
    return [
        (faceset.folder / "pins.json", lambda: read_pins(faceset)),
        (place / "run" / "run.json", lambda: open_run(place / "run")),
        (steps / "step-10.json", lambda: checkpoint.read(steps / "step-10.safetensors")),
        (work / "plan.json", lambda: plan.load(work)),
        (work / "part-00000.json", lambda: plan.done(work, part)),
    ]


DEEP = "[" * 100_000


def test_nesting_deeper_than_the_stack_is_one_line(tmp_path, seeds: ModuleType):
    faceset = seeds.faceset(tmp_path / "set")
    for name in ("pins.json", lock.HOLDER):
        (faceset.folder / name).write_text(DEEP)
    (tmp_path / "stretches.toml").write_text(f"stretch = {DEEP}")
    for name in (folder_lock.HOLDER, "source.json", "tags.json"):
        (tmp_path / name).write_text(DEEP)
    with pytest.raises(WorkError, match=r"pins\.json is damaged"):
        read_pins(faceset)
    with pytest.raises(UsageError, match="is not TOML"):
        stretches.read(tmp_path / "stretches.toml", RenderSettings(), [0.0])
    assert lock.holder(faceset.folder) is None and folder_lock._holder(tmp_path) == "another process"
    assert not crop_cache._is_current(*crop_cache._paths(tmp_path, "source"), "aa")
    assert mirror._read_tags(tmp_path / "tags.json") == {}


@pytest.mark.parametrize("found", [{"pid": "five"}, {"pid": None}, {"pid": 10**400}, {"host": ["here"]}])
def test_a_note_of_who_holds_a_faceset_is_used_only_with_the_right_types(tmp_path, found):
    whole = {"pid": 5, "host": "there", "command": "curate", "since": "now"}
    (tmp_path / lock.HOLDER).write_text(json.dumps(whole))
    assert lock.holder(tmp_path) == lock.Holder(5, "there", "curate", "now")
    (tmp_path / lock.HOLDER).write_text(json.dumps({**whole, **found}))
    assert lock.holder(tmp_path) is None


@pytest.mark.parametrize(
    "body",
    [DEEP, '{"handles": {"chin": [1%s, 2]}}' % ("0" * 400), '{"handles": {"chin": [1, []]}}',
     r'{"folder": "/a\u0000b"}', r'{"folder": "/a\ud800b"}'],
)  # fmt: skip
def test_the_page_for_corrections_refuses_what_is_no_correction(tmp_path, seeds: ModuleType, body):
    faceset = seeds.faceset(tmp_path / "set")
    known = json.dumps({"folder": str(faceset.folder), "face": "aa-0000001-0"})
    body = body if body == DEEP or "folder" in body else known[:-1] + ", " + body[1:]
    answers = []

    async def receive() -> dict:
        return {"type": "http.request", "body": body[:99_000].encode(), "more_body": False}

    async def send(message: dict) -> None:
        answers.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": f"{correcting.PATH}/face", "query_string": b""}
    asyncio.run(correcting.Pages(None, (str(faceset.folder),))({**scope, "headers": headers}, receive, send))
    assert answers[0]["status"] == 400 and b"error" in answers[1]["body"]
