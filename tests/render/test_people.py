"""Several people in one pass, with stub networks: who is replaced, what the manifest says, what resuming keeps."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from curate.errors import UsageError
from curate.extract.follow import apart
from curate.types import Subject
from render import pipeline, plan, workdir
from render.compositing.compose import Composed
from render.compositing.layers import sizes, together
from render.options import RenderOptions
from render.provenance import registry
from render.provenance.verify import verify

LEFT, RIGHT = (28, 48, 1.6), (92, 48, 1.6)


@pytest.fixture
def pair(stub, monkeypatch):
    """Two runs: the stub's, and one whose subject is Cy and whose target is Di."""
    import train.run

    second = stub.path.with_name("second")
    second.mkdir()
    (second / "model.safetensors").write_bytes(b"other weights")
    stub.places = [LEFT, RIGHT]
    first = train.run.open_run

    def open_run(path: Path) -> SimpleNamespace:
        found = first(path)
        if b"other" in (path / "model.safetensors").read_bytes():
            found.source = SimpleNamespace(**{**vars(found.source), "subject": Subject("Cy", "self"), "identity": ()})
            found.source.clips = (("cy.mp4", "cc" * 32),)
            found.target = SimpleNamespace(**{**vars(found.target), "subject": Subject("Di", "research")})
        return found

    monkeypatch.setattr(train.run, "open_run", open_run)
    return SimpleNamespace(stub=stub, first=stub.path, second=second)


def render(pair, footage, out, **options):
    options = RenderOptions(**{"workers": 1, **options})
    return pipeline.render(pair.first, footage, out, options, also=[pair.second])


def test_both_are_replaced_and_named(clip, pair, tmp_path):
    out = tmp_path / "out.mp4"
    done = render(pair, clip, out, masks=tmp_path / "masks")
    assert [(p.subject, p.target, p.faces, p.swapped) for p in done.people] == [
        ("Ann Ä", "Bob", 20, 20), ("Cy", "Di", 20, 20),
    ]  # fmt: skip
    assert json.dumps(asdict(done)) and done.swapped == 20
    assert {p.name for p in tmp_path.glob("out.*")} >= {"out.artifacts.html", "out.artifacts-2.html", "out.c2pa"}
    found = verify(out)
    assert found.state == "trusted"
    assert (found.subject, found.others) == ("Ann Ä", (registry.Face("Cy", "self"),))
    assert "with the face of Ann Ä (release) and of Cy (self)" in found.reason
    assert [s.name for s in found.sources] == ["ann.mp4", "cy.mp4", "footage.mp4"]
    entry = registry.of_subject("Cy")[0]
    assert entry.subjects == ("Ann Ä", "Cy")
    registry.forget("Cy")
    (forgotten,) = registry.of_subject("Ann Ä")
    assert "Cy" not in forgotten.subjects and "out.mp4" not in forgotten.out


def test_only_the_two_faces_are_changed_with_any_number_of_workers(clip, pair, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    options = RenderOptions(workers=1)
    runs = pipeline._runs([pair.first, pair.second], options)
    footage, _, coding = pipeline._opened(clip, options)
    wanted = pipeline._planned(runs, footage, coding, options)
    made = pipeline._begun(folder, wanted, runs, tmp_path / "out.mp4", options, lambda *_: None)
    assert workdir.resumable(folder, wanted) == made
    (only,) = made.parts
    shown = list(pipeline.part.composed_frames(made, folder, only, range(30)))
    changed = np.any([s.image != s.frame.image for s in shown], axis=(0, 3))
    assert changed[:, :64].any() and changed[:, 64:].any()
    assert not changed[:, 58:68].any() and not changed[:8].any(), "nothing between them, nothing above"
    alone = [
        list(pipeline.part.composed_frames(made.person(n), plan.folder_of(folder, n), only, range(30))) for n in (0, 1)
    ]
    for both, left, right in zip(shown, *alone, strict=True):
        assert np.array_equal(both.image[:, :64], left.image[:, :64])
        assert np.array_equal(both.image[:, 64:], right.image[:, 64:])


def test_an_interrupted_render_goes_on_for_both(clip, pair, tmp_path):
    out = tmp_path / "out.mp4"
    pair.stub.network.fail_at = 8
    with pytest.raises(RuntimeError, match="memory"):
        render(pair, clip, out)
    work = tmp_path / ".out.mp4.render"
    before = plan.load(work).identifier
    assert (work / "and-1" / "face.parquet").is_file()
    pair.stub.network.fail_at = 0
    assert registry.identifier_text(before) == render(pair, clip, out).watermark
    shutil.rmtree(work, ignore_errors=True)


def test_silly_calls(clip, pair, tmp_path):
    out = tmp_path / "out.mp4"
    with pytest.raises(UsageError, match="given twice"):
        pipeline.render(pair.first, clip, out, RenderOptions(workers=1), also=[pair.first])
    with pytest.raises(UsageError, match="--layers"):
        render(pair, clip, out, layers=True, frames_as="exr", frames=tmp_path / "frames")
    assert not out.exists()


def grey(value: int, first: int, last: int, index: int = 0) -> Composed:
    """A frame of 100 in which columns first to last are half covered by a face of a value."""
    frame = SimpleNamespace(image=np.full((4, 8, 3), 100, np.uint8), index=index)
    image, mask = frame.image.copy(), np.zeros((4, 8), np.float32)
    mask[:, first:last] = 0.5
    image[:, first:last] = (100 + value) / 2
    return Composed(frame, image, None, mask)  # type: ignore[arg-type]


def test_where_two_faces_cross_the_nearer_one_is_on_top():
    back, front = grey(0, 0, 5), grey(200, 3, 8)
    for group, near in (([back, front], [10.0, 20.0]), ([front, back], [20.0, 10.0])):
        found = together(group, near)
        assert found.image[0, :, 0].tolist() == [50, 50, 50, 125, 125, 150, 150, 150], "0.5 * 200 + 0.5 * 50 between"
        assert found.people == tuple(group) and found.more == 1
    other = together([back, front], [20.0, 10.0])
    assert other.image[0, 3, 0] == 75, "0.5 * 0 + 0.5 * 150"
    none = replace(back, mask=None, image=back.frame.image)
    assert np.array_equal(together([none, front], [1.0, 1.0]).image, front.image)


def test_two_that_cross_do_not_change_places_and_back():
    def at(size: float) -> SimpleNamespace:
        return SimpleNamespace(landmarks=np.array([[0, 0, 0], [size, 0, 0]], np.float32))

    found = sizes({i: at(50.0 if i == 20 else 10.0) for i in range(40)})  # type: ignore[misc]
    assert set(found.values()) == {10.0} and sizes({}) == {}


def test_a_track_belongs_to_the_nearer_person():
    def rows(distances: dict[int, float]) -> pd.DataFrame:
        return pd.DataFrame(
            [{"frame": f, "track": t, "identity_distance": d, "layer": n} for n, (t, d) in enumerate(distances.items())
             for f in range(3)]
        )  # fmt: skip

    first, second = apart([rows({1: 0.2, 2: 0.5}), rows({1: 0.6, 2: 0.3})])
    assert set(first["track"]) == {1} and set(second["track"]) == {2}
    assert set(second["layer"]) == {0}, "what is left is the main layer"
    alone = rows({1: 0.2})
    assert apart([alone])[0] is alone


def test_workers_take_the_gpus_in_turn(monkeypatch):
    import torch

    def device(number: str, wanted: str, gpus: int) -> str:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr("multiprocessing.current_process", lambda: SimpleNamespace(name=number))
        return pipeline.part.own_device(wanted)

    assert [device(f"SpawnProcess-{n}", "auto", 4) for n in range(1, 6)] == [f"cuda:{n}" for n in (1, 2, 3, 0, 1)]
    assert device("SpawnProcess-3", "cuda", 1) == "cuda" and device("SpawnProcess-3", "auto", 0) == "auto"
    assert device("MainProcess", "cuda", 4) == "cuda" and device("SpawnProcess-3", "cuda:2", 4) == "cuda:2"
    assert [pipeline._gpus(RenderOptions(device=d)) for d in ("auto", "cuda:1", "cpu")] == [0.25, 0.25, 0]
