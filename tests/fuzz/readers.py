"""What reads files that somebody else may have made, each as a function of one path or folder."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

from reader import Reader

from curate.app import actions, correcting, guard, mongod
from curate.dataset import corrections, lock, mirror
from curate.dataset.faceset import open_faceset
from curate.dataset.pins import read_pins
from curate.errors import WorkError
from curate.exchange import cutlist, importing
from curate.exchange.pictures import pictures, program_of
from curate.exchange.record import to_table
from curate.extract.segment import part_info
from curate.extract.table import build
from curate.footage import cube, video
from curate.footage.timeline import timeline
from curate.runtime import archives
from curate.select.learned import errors_of
from curate.select.outcome import read_outcome
from curate.types import Subject
from curate.upkeep.merge import merge
from faceset.project import keys as project_keys
from faceset.project.file import read_project
from faceset.project.state import read_state
from render import dfm, plan, stretches
from render.compositing.settings import RenderSettings
from render.output import footage_format, mux
from render.provenance import keys, registry
from render.provenance.verify import verify
from reports.artifacts.parts import InspectedPart
from train import checkpoint, crop_cache, folder_lock, forecast, journal, reader, trend
from train.config import config_of
from train.data import usable_rows
from train.forget import caches_of, prior_of
from train.run import load_swapper, open_run

FRAMES = 15


def read_clip(path: Path) -> None:
    """As `curate` does."""
    clip = video.probe(path)
    for segment in video.segments(clip, 8.0)[:2]:
        for frame in itertools.islice(video.decode(clip, segment, 16), FRAMES):
            assert frame.image.shape[:2] == frame.luma.shape == frame.deep.shape[:2]
    if clip.kind == "video":
        timeline(path)


def read_footage(path: Path) -> None:
    """As `render` does."""
    footage_format.check_footage(path, True)
    mux.check_sound(path, path.with_name("made.mp4"), path.with_name("header.mp4"))


def read_faceset(folder: Path) -> None:
    """As `select`, `report` and `train` do."""
    faceset = open_faceset(folder)
    faceset.selection_options()
    read_outcome(faceset)
    read_pins(faceset)
    faceset.identity()
    rows = usable_rows(faceset)
    for crop in rows["crop"]:
        faceset.crop(crop)
    faceset.landmarks(rows["face_id"])
    corrections.outlines(folder)


def read_parts(folder: Path) -> None:
    """As `curate` does at its end."""
    faceset = open_faceset(folder)
    for path in sorted((folder / "parts").glob("*.parquet")):
        part_info(path)
    build(faceset)


def read_foreign(folder: Path) -> None:
    """As `import` does: facesets of other programs."""
    found = [p for kind in sorted(folder.iterdir()) for p in pictures(kind, program_of(kind))]
    to_table([(None, record) for picture in found for record in picture.records])
    for picture in found:
        if picture.failure is not None:
            raise WorkError(picture.failure)


def read_run(folder: Path) -> None:
    """As `render`, `forget` and `train --resume` do."""
    run = open_run(folder)
    caches_of(folder)
    prior_of(folder, "Ann")
    checkpoint.newest(folder / "checkpoints")
    forecast.kept(folder)
    load_swapper(run, "cpu")


def read_checkpoint(folder: Path) -> None:
    """A checkpoint whose hash is that of its bytes, so that the bytes themselves are read."""
    path = folder / "checkpoints" / "step-10.safetensors"
    note = path.with_suffix(".json")
    with suppress(ValueError, TypeError, RecursionError):  # the note itself may be what is damaged
        values = json.loads(note.read_text())
        note.write_text(json.dumps({**values, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))
    checkpoint.read(path).part("ema")


def read_work(folder: Path) -> None:
    """As a `render` does that goes on."""
    made = plan.load(folder)
    if made is None:
        return
    for part in made.parts[:3]:
        plan.done(folder, part)
    plan.load_face(folder, range(0, 12))
    plan.load_cuts(folder)
    plan.load_typical(folder)
    InspectedPart.load(folder / "part-00000.parquet")


def read_credentials(path: Path) -> None:
    """As `verify` does."""
    found = verify(path)
    assert "\n" not in found.reason, found.reason
    assert found.state in ("trusted", "valid", "invalid", "missing")


def read_config(folder: Path) -> None:
    """The registry, the trust list and the key."""
    os.environ["FACESET_CONFIG"] = str(folder)
    registry.find(5)
    keys.trusted_roots()
    keys.installation_key()


async def _nothing(*_: object) -> dict[str, Any]:
    return {"type": "http.request"}


def read_access(folder: Path) -> None:
    """What reaches the App, the package index's page, a mirror's notes, the database's log."""
    raw = (folder / "request.txt").read_bytes()
    path, query, *lines = [*raw.split(b"\n"), b"", b""]
    headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    scope = {"type": "http", "method": "GET", "path": path.decode("utf-8", "replace"), "query_string": query}
    rules = guard.Rules(5151, "t" * 32, "o" * 32, (str(folder),))
    asyncio.run(guard.Guard(_nothing, rules)({**scope, "headers": headers}, _nothing, _nothing))
    guard.refusal({**scope, "headers": headers}, rules, True)
    with suppress(OSError, ValueError):  # as `archives` does
        archives._look_up(folder.as_uri(), "a-tool", "a_tool-1.0.tar.gz", None)
    mirror._read_tags(folder / "mirror.json")
    assert "\n" not in mongod.why_not(OSError("gone"), str(folder))


def read_project_file(path: Path) -> None:
    """As `run` does."""
    project = read_project(path)
    project.settings()
    project.render_options()
    for pair in project.pairs:
        project.config(pair)
        project.choosing(pair.source)


def read_errors(folder: Path) -> None:
    """As `select --learn` does."""
    errors_of(folder)


def read_results(folder: Path) -> None:
    """As `run` does that continues a project."""
    read_state(folder)
    project_keys.run_facts(folder)
    project_keys.selected(folder)


def read_stretches(path: Path) -> None:
    """As `render --settings` does."""
    stretches.read(path, RenderSettings(), [i / 25 for i in range(100)])


def read_statement(folder: Path) -> None:
    """What lies next to an exported network."""
    dfm.check(folder / "net.dfm")


def read_table_of_colours(path: Path) -> None:
    """As `curate --lut` does."""
    cube.read.cache_clear()
    cube.read(str(path))


def read_cut(folder: Path) -> None:
    """As `cut` does: a timeline of what is worth keeping."""
    for suffix in (".otio", ".edl"):
        cutlist.write(open_faceset(folder), folder / f"keep{suffix}", force=True)


def read_two(folder: Path) -> None:
    """As `merge` does."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    merge(folder / "a", folder / "b", folder / "out")


def read_log(folder: Path) -> None:
    """As `forecast` and `train --resume` do."""
    lines = forecast.read_log(folder)
    forecast.forecast(lines, 40)
    forecast.step_after(lines, 1.0)
    forecast.check(forecast.kept(folder), lines)
    trend.trend(trend.tidy(lines))
    journal._lines(folder / "log.csv", 10)


def read_notes(folder: Path) -> None:
    """Small files that processes leave for each other: who holds a lock, decoded faces, a learnt reader, a basis."""
    found = lock.holder(folder)
    assert found is None or "\n" not in str(found), found
    assert found is None or found.alive() in (True, False)
    assert "\n" not in folder_lock._holder(folder)
    if crop_cache._is_current(*crop_cache._paths(folder, "source"), "aa"):
        crop_cache.open_cache(folder, "source")
    reader._stored(folder / reader.FILE, "faces", config_of("tiny", drive="scores"))
    importing._check_basis(folder, Subject("Ann", "self"))


def read_edit(folder: Path) -> None:
    """What the page for corrections is sent."""
    body = (folder / "edit.json").read_bytes().replace(b"FOLDER", str(folder).encode())

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        assert message.get("status", 200) < 500

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": f"{correcting.PATH}/face", "query_string": b""}
    with mock.patch.object(actions, "correct_face"):  # the faceset stays as it is
        pages = correcting.Pages(_nothing, (str(folder),))
        asyncio.run(pages({**scope, "headers": headers}, receive, send))


READERS: dict[str, Reader] = {
    "clip": Reader(read_clip, "clips", "*.*", False),
    "footage": Reader(read_footage, "clips", "[!p]*.*", False),
    "faceset": Reader(read_faceset, "faceset", "*.[tj]*"),
    "table": Reader(read_faceset, "faceset", "*.parquet"),
    "crop": Reader(read_faceset, "faceset", "crops/*/*/0000000-0.jpg"),
    "part": Reader(read_parts, "faceset", "parts/*.parquet"),
    "foreign": Reader(read_foreign, "foreign", "*/*.*"),
    "run": Reader(read_run, "run", "*.[js]*"),
    "checkpoint": Reader(read_checkpoint, "run", "checkpoints/*"),
    "errors": Reader(read_errors, "run", "reports/*.json"),
    "work": Reader(read_work, "render/work", "*"),
    "credentials": Reader(read_credentials, "render", "out.mp4", False),
    "sidecar": Reader(read_credentials, "render", "stripped.c2pa", False),
    "access": Reader(read_access, "access", "**/*.*"),
    "lut": Reader(read_table_of_colours, "texts", "*.cube", False),
    "project": Reader(read_project_file, "texts", "project.toml", False),
    "results": Reader(read_results, "results", "**/*.*"),
    "settings": Reader(read_stretches, "texts", "settings.toml", False),
    "statement": Reader(read_statement, "exported", "net.dfm.json"),
    "config": Reader(read_config, "config", "*.*"),
    "cut": Reader(read_cut, "faceset", "*.[tp]*"),
    "merge": Reader(read_two, "two", "[ab]/**/*.[tjp]*"),
    "log": Reader(read_log, "run", "log.csv"),
    "notes": Reader(read_notes, "notes", "*.*"),
    "edit": Reader(read_edit, "edit", "edit.json"),
}
