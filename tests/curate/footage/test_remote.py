"""Footage on a store of objects: an S3 server of this machine (moto), or a memory file system of fsspec."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'faceset[cloud]'")

import fsspec

from curate.dataset.faceset import open_faceset
from curate.errors import FootageError, UsageError, WorkError
from curate.extract.pipeline import Request, curate
from curate.footage import remote
from curate.types import Clip
from tests.command import call


@pytest.fixture
def cache(monkeypatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(remote, "_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(remote, "WAIT", 0.0)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def memory(cache: Path) -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def test_a_url_is_told_from_a_path() -> None:
    assert remote.is_url("s3://b/clip.mp4") and not remote.is_url("/a/clip.mp4") and not remote.is_url("C:/a")
    assert remote.split("s3://b/c.mp4@1-2.5") == ("s3://b/c.mp4", 1.0, 2.5)
    assert remote.split("s3://b/c.mp4") == ("s3://b/c.mp4", None, None)
    with pytest.raises(UsageError, match="nosuch"):
        remote.expand("nosuch://b/clip.mp4")


def test_a_broken_copy_goes_on_and_changed_bytes_are_not_mixed(memory, cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(remote, "BLOCK", 100)
    memory.pipe("/b/clip.mp4", bytes(range(250)) * 2)
    real, asked = type(memory).cat_file, []

    def breaks(self, path, start=None, end=None, **kwargs):
        asked.append(start)
        if len(asked) in (3, 4):
            raise OSError(5, "Input/output error")
        return real(self, path, start, end, **kwargs)

    monkeypatch.setattr(type(memory), "cat_file", breaks)
    path = remote.fetch("memory://b/clip.mp4")
    assert path.read_bytes() == bytes(range(250)) * 2 and asked == [0, 100, 200, 200, 200, 300, 400]
    assert remote.fetch("memory://b/clip.mp4") == path and len(asked) == 7, "not fetched twice"
    memory.pipe("/b/clip.mp4", b"other")
    assert remote.fetch("memory://b/clip.mp4").read_bytes() == b"other"
    remote.release(Clip("clip", "memory://b/clip.mp4", "", "video", 1, 1, 1, 1.0, 1.0))
    assert not list(cache.iterdir())
    with pytest.raises(FootageError, match="cannot be read"):
        remote.fetch("memory://b/none.mp4")
    monkeypatch.setattr(type(memory), "cat_file", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "lost")))
    with pytest.raises(FootageError, match="is kept; run the command again"):
        remote.fetch("memory://b/clip.mp4")


def test_footage_of_a_folder_makes_the_same_table(memory, cache: Path, head_clips, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    memory.pipe("/b/in/target.mp4", head_clips["target"].read_bytes())
    memory.pipe("/b/in/notes.txt", b"no video")
    settings = (("segment_seconds", 0.5),)
    done = curate(Request(("memory://b/in@0-0.4",), tmp_path / "far", "A", "research", settings=settings))
    near = (f"{head_clips['target']}@0-0.4",)
    curate(Request(near, tmp_path / "near", "A", "research", settings=settings))
    assert done.faceset.clips[0].path.startswith("memory:/") and done.faceset.clips[0].name == "target"
    tables = [pq.read_table(tmp_path / name / "faces.parquet") for name in ("far", "near")]
    assert tables[0].to_pylist() == tables[1].to_pylist()
    assert not list(cache.iterdir()), "what was fetched is taken away again"
    (tmp_path / "far" / "parts" / "target-0000.parquet").unlink()
    memory.pipe("/b/in/target.mp4", head_clips["source"].read_bytes())
    with pytest.raises(WorkError, match="another file"):
        curate(Request((str(tmp_path / "far"),), allow_remote=True))
    with pytest.raises(UsageError, match="no folder that contains videos"):
        curate(Request(("memory://b/none",), tmp_path / "x", "A", "research"))


def test_a_faceset_at_a_url_goes_on_where_another_machine_was(
    memory, cache: Path, head_clips, monkeypatch, tmp_path: Path
) -> None:
    from curate.dataset import mirror
    from curate.dataset.faceset import is_faceset

    assert mirror.url_of(Path("s3://b/my/set")) == "s3://b/my/set" and mirror.url_of(Path("/a/b")) is None
    monkeypatch.setattr(mirror, "EVERY", 0.05)
    settings = (("segment_seconds", 0.5),)

    def made(machine: str, footage: tuple[str, ...], **given) -> Path:
        monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / machine)
        with mirror.mirrored(Path("memory:/b/set")) as folder:
            curate(Request(footage, folder, **given))
        return folder

    me = {"subject": "A", "basis": "research", "settings": settings}
    one = made("one", (f"{head_clips['target']}@0-0.4",), **me)
    names = {p.removeprefix("/b/set/") for p in memory.find("/b/set")}
    assert {"faceset.toml", "faces.parquet"} < names and len([n for n in names if n.startswith("crops/")]) == 10
    two = made("two", ())
    assert one != two and is_faceset(two)
    assert (two / "faces.parquet").read_bytes() == (one / "faces.parquet").read_bytes()
    three = made("three", (str(head_clips["source"]) + "@0-0.4",))
    assert len(open_faceset(three).clips) == 2
    real = type(memory).put_file
    monkeypatch.setattr(type(memory), "put_file", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "lost")))
    with pytest.raises(WorkError, match="cannot be reached"):
        made("four", (str(head_clips["source"]) + "@0.5-0.9",))
    monkeypatch.setattr(type(memory), "put_file", real)
    made("four", ())
    assert len([n for n in memory.find("/b/set") if "/parts/" in n]) == 3


def test_verbs_take_a_faceset_at_a_url(memory, cache: Path, head_facesets, monkeypatch, tmp_path: Path, capsys) -> None:
    from curate.dataset import mirror

    def there(folder: str) -> int:
        return len(memory.find(f"/verbs/set/{folder}"))

    memory.put(str(head_facesets["source"]), "/verbs/set", recursive=True)
    crops = there("crops")
    monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / "one")
    assert call(capsys, "select", "memory://verbs/set", "--budget", 5, "-q")[0] == 0
    code, out, _ = call(capsys, "report", "memory://verbs/set", "-q")
    assert code == 0 and memory.exists("/verbs/set/reports/coverage.html") and Path(out.strip()).is_file()
    assert call(capsys, "prune", "memory://verbs/set", "--yes", "-q")[0] == 0
    assert there("crops") == 5 < crops
    monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / "another")
    assert call(capsys, "export", "memory://verbs/set", "--format", "folder", "--out", tmp_path / "out", "-q")[0] == 0
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 5
    code, _, err = call(capsys, "select", "memory://verbs/none", "-q")
    assert code == 2 and "is not a faceset" in err
    code, _, err = call(capsys, "export", "memory://verbs/set", "--format", "folder", "--out", "s3://b/out", "-q")
    assert code == 2 and "s3://b/out: must be on this machine" in err and not Path("s3:").exists()


def test_what_another_machine_changed_is_fetched_and_what_was_changed_here_is_brought(
    memory, cache: Path, monkeypatch, tmp_path: Path
) -> None:
    from curate.dataset import mirror

    def at(machine: str) -> Path:
        monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / machine)
        with mirror.mirrored(Path("memory:/change/set")) as folder:
            return folder

    memory.pipe("/change/set/faceset.toml", b"format = 1")
    memory.pipe("/change/set/crops/a/0000/1.jpg", b"jpg")
    one, two = at("one"), at("two")
    (two / "faceset.toml").write_bytes(b"format = 2")  # of the same size
    assert (at("two") / "faceset.toml").read_bytes() == b"format = 2", "a verb that was killed is not undone"
    assert memory.cat("/change/set/faceset.toml") == b"format = 2"
    assert (at("one") / "faceset.toml").read_bytes() == b"format = 2"
    (one / "faceset.toml").write_bytes(b"format = 3")
    memory.pipe("/change/set/faceset.toml", b"format = 4")
    assert (at("one") / "faceset.toml").read_bytes() == b"format = 4", "what is there was changed last"
    (one / ".mirror.json").write_bytes(b"{")
    assert (at("one") / "faceset.toml").read_bytes() == b"format = 4" and not memory.exists("/change/set/.mirror.json")


def test_only_what_this_verb_removed_is_removed_at_the_url(
    memory, cache: Path, head_facesets, monkeypatch, tmp_path: Path, capsys
) -> None:
    from curate.dataset import mirror
    from curate.upkeep import prune

    memory.put(str(head_facesets["source"]), "/mine/set", recursive=True)
    monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / "one")
    url, here = "memory://mine/set", mirror.folder_of("memory://mine/set")
    assert call(capsys, "select", url, "--budget", 5, "-q")[0] == 0
    whole = set(memory.find("/mine/set"))
    with mirror.mirrored(Path("memory:/mine/set")) as folder:  # another process clears the cache meanwhile
        for crop in folder.glob("crops/*/*/*"):
            crop.unlink()
        (folder / "selection.parquet").unlink()
    assert set(memory.find("/mine/set")) == whole, "what is missing here is not what was removed"
    for verb in (("select", "--budget", 5), ("report",), ("people",), ("prune",)):
        assert call(capsys, verb[0], url, *verb[1:], "-q")[0] == 0 and set(memory.find("/mine/set")) >= whole
    assert len(list(here.glob("crops/*/*/*"))) == len(memory.find("/mine/set/crops"))
    real = prune._rewrite
    for error, code in ((WorkError("broken"), 1), (KeyboardInterrupt(), 130)):
        calls = []

        def fails(*given, error=error, calls=calls):
            real(*given)
            calls.append(1)

        def stops(*given, error=error, **_):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(prune, "_rewrite", fails)
            patch.setattr("faceset.messages.pruned", stops)
            assert call(capsys, "prune", url, "--yes", "-q")[0] == code and calls
        assert len(list(here.glob("crops/*/*/*"))) == 5 and set(memory.find("/mine/set")) >= whole
    assert call(capsys, "prune", url, "--yes", "-q")[0] == 0
    assert len(memory.find("/mine/set/crops")) == 5 == len(list(here.glob("crops/*/*/*")))


def test_a_segment_extracted_again_takes_its_older_crops_along(
    memory, cache: Path, head_clips, monkeypatch, tmp_path: Path
) -> None:
    from curate.dataset import mirror

    monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / "one")
    for every, crops in ((1, 10), (5, 2)):
        with mirror.mirrored(Path("memory:/again/set")) as folder:
            footage = (f"{head_clips['target']}@0-0.4",)
            curate(Request(footage, folder, "A", "research", settings=(("every", every),)))
        assert len(memory.find("/again/set/crops")) == crops


def test_a_faceset_that_is_gone_at_its_url_is_not_brought_back(
    memory, cache: Path, monkeypatch, tmp_path: Path, capsys
) -> None:
    from curate.dataset import mirror

    monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / "one")
    memory.pipe("/gone/set/faceset.toml", b"format = 1")
    with mirror.mirrored(Path("memory:/gone/set")) as folder:
        pass
    memory.rm("/gone", recursive=True)
    code, _, err = call(capsys, "select", "memory://gone/set", "-q")
    assert code == 1 and "was removed there" in err and str(folder) in err and not memory.exists("/gone/set")


@pytest.fixture
def bucket(cache: Path, monkeypatch) -> Iterator[fsspec.AbstractFileSystem]:
    """An S3 server of this machine, with an empty bucket."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]' s3fs")
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'faceset[cloud]'")
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    where = f"http://{host}:{port}"
    reset = urllib.request.Request(f"{where}/moto-api/reset", method="POST")  # servers of a process share their buckets
    urllib.request.urlopen(reset, timeout=30).close()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", where)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": where})
    system = fsspec.filesystem("s3", skip_instance_cache=True, endpoint_url=where)
    system.mkdir("bucket")
    yield system
    server.stop()


def test_an_s3_server(bucket, cache: Path, head_clips, monkeypatch, tmp_path: Path, capsys) -> None:
    from curate.dataset import mirror

    bucket.put_file(str(head_clips["target"]), "bucket/in/target.mp4")
    curate(Request(("s3://bucket/in/target.mp4@0-0.4",), tmp_path / "set", "A", "research"))
    assert open_faceset(tmp_path / "set").clips[0].path == "s3://bucket/in/target.mp4"
    assert len(open_faceset(tmp_path / "set").table()) == 10 and not list(cache.iterdir())
    monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / "one")
    with mirror.mirrored(Path("s3:/bucket/set")) as folder:
        curate(Request(("s3://bucket/in/target.mp4@0-0.4",), folder, "A", "research"))
    bucket.invalidate_cache()
    assert bucket.exists("bucket/set/faces.parquet") and bucket.exists("bucket/set/parts/target-0000.parquet")
    monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / "two")
    assert call(capsys, "select", "s3://bucket/set", "--budget", 3, "-q")[0] == 0
    assert call(capsys, "prune", "s3://bucket/set", "--yes", "-q")[0] == 0
    bucket.invalidate_cache()
    assert len(bucket.find("bucket/set/crops")) == 3 and bucket.exists("bucket/set/selection.parquet")


def test_forget_on_a_bucket_leaves_nothing_there_and_nothing_in_the_cache(
    bucket, cache: Path, head_facesets, head_clips, monkeypatch, tmp_path: Path, capsys
) -> None:
    """A search of bucket and disk for the bytes of any crop, and for the downloaded footage."""
    from curate.dataset import mirror
    from curate.upkeep import forget as upkeep
    from curate.upkeep import forget_copies

    monkeypatch.setenv("FACESET_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(upkeep, "app_was_used", lambda: False)
    for module in (mirror, forget_copies):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "machine")
    bucket.put_file(str(head_clips["source"]), "bucket/in/source.mp4")
    jpegs = [path.read_bytes() for path in head_facesets["source"].glob("crops/*/*/*.jpg")]
    bucket.put(str(head_facesets["source"]), "bucket/ann", recursive=True)
    bucket.put(str(head_facesets["target"]), "bucket/bob", recursive=True)
    bucket.pipe("bucket/ann/notes.txt", b"mine")
    for name in ("ann", "bob"):
        assert call(capsys, "select", f"s3://bucket/{name}", "--budget", 3, "-q")[0] == 0
    with mirror.mirrored(Path("s3:/bucket/ann")) as folder:
        faceset = open_faceset(folder)
        faceset.changed(clips=tuple(replace(clip, path="s3://bucket/in/source.mp4") for clip in faceset.clips))
    remote.fetch("s3://bucket/in/source.mp4")

    def found() -> tuple[int, int]:
        bucket.invalidate_cache()
        there = [bucket.cat(path) for path in bucket.find("bucket/ann")]
        here = [p.read_bytes() for root in ("machine", "cache") for p in (tmp_path / root).rglob("*") if p.is_file()]
        return tuple(sum(jpeg in data for data in some for jpeg in jpegs) for some in (there, here))  # type: ignore[return-value]

    assert found() == (len(jpegs), len(jpegs)) and len(list(cache.rglob("source.mp4"))) == 1
    bobs = bucket.find("bucket/bob")
    told = call(capsys, "forget", "Source", "s3://bucket/ann", "s3://bucket/bob", "-q")[1]
    assert found() == (len(jpegs), len(jpegs)) and "would be removed" in told
    code, out, _ = call(capsys, "forget", "Source", "s3://bucket/ann", "s3://bucket/bob", "--yes", "-q")
    assert code == 0 and found() == (0, 0) and not list(cache.rglob("source.mp4"))
    assert "on other machines" in out and "s3://bucket/bob: another subject's" in out
    assert [Path(p).name for p in bucket.find("bucket/ann")] == ["notes.txt"] and bucket.find("bucket/bob") == bobs
    assert len(list((tmp_path / "machine" / "facesets").iterdir())) == 1, "that of the other person"
    assert call(capsys, "forget", "Source", "s3://bucket/ann", "--yes", "-q")[0] == 2
    told = call(capsys, "forget", "Target", "-q")[1]
    assert "mirror " in told and "s3://bucket/bob: a faceset of this subject that was not named" in told
