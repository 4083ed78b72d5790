"""Addresses in files of others: no verb opens one, unless the call names or allows it."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from curate.dataset.faceset import open_faceset
from tests.command import call

pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'faceset[cloud]'")
KINDS = ("ftp", "http", "s3")


@pytest.fixture
def listener(monkeypatch, tmp_path) -> Iterator[tuple[int, list[int]]]:
    """A port that counts its connections, and where s3 leads to as well."""
    import fsspec

    server, counted = socket.create_server(("127.0.0.1", 0)), []

    def accept() -> None:
        while True:
            try:
                one, _ = server.accept()
            except OSError:
                return
            counted.append(1)
            one.close()

    threading.Thread(target=accept, daemon=True).start()
    port = server.getsockname()[1]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("FIFTYONE_DATABASE_DIR", str(tmp_path / "no App"))
    monkeypatch.setenv("FACESET_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://127.0.0.1:{port}"})
    yield port, counted
    server.close()


@pytest.fixture(params=KINDS)
def strange(request, listener, head_facesets, tmp_path: Path) -> tuple[Path, str]:
    """A stranger's faceset whose footage is at an address, with a part and a crop missing; the address."""
    address = {
        "ftp": f"ftp://127.0.0.1:{listener[0]}/clip.mp4",
        "http": f"http://127.0.0.1:{listener[0]}/clip.mp4",
        "s3": "s3://bucket/clip.mp4",
    }[request.param]
    folder = shutil.copytree(head_facesets["source"], tmp_path / "set")
    faceset = open_faceset(folder)
    faceset.changed(clips=tuple(replace(clip, path=address) for clip in faceset.clips))
    sorted((folder / "parts").iterdir())[-1].unlink()
    (folder / faceset.selected(["crop"])["crop"][0]).unlink()
    return folder, address


def test_no_verb_opens_an_address_in_a_faceset(strange, listener, head_clips, head_facesets, tmp_path, capsys) -> None:
    folder, address = strange
    small = ("--preset", "tiny", "--steps", 1, "--batch", 2, "--identity", 0, "-q")
    refused = {
        "curate": ("curate", folder, "--workers", 1, "-q", "--json"),
        "curate more": ("curate", folder, f"{head_clips['target']}@0-0.4", "--workers", 1, "-q", "--json"),
        "restore": ("prune", folder, "--restore", "-q"),
    }
    told = {name: call(capsys, *command) for name, command in refused.items()}
    assert all(address in "".join(output) and "--allow-remote" in "".join(output) for _, *output in told.values())
    assert told["restore"][0] == 1 and told["restore"][2].count("\n") == 1
    done = [
        ("select", folder, "--budget", 10, "-q"), ("report", folder, "-q"), ("people", folder, "-q"),
        ("prune", folder, "-q"), ("export", folder, "--format", "folder", "--out", tmp_path / "out", "-q"),
        ("train", "--source", folder, "--target", head_facesets["target"], "--out", tmp_path / "run", *small),
        ("forget", "Source", folder, "-q"),
    ]  # fmt: skip
    for command in done:
        code, _, err = call(capsys, *command)
        assert code == 0, (command[0], err)
    assert listener[1] == []


def test_what_is_allowed_is_opened_and_fails_in_one_line(strange, listener, capsys) -> None:
    folder, address = strange
    code, _, err = call(capsys, "prune", folder, "--restore", "--allow-remote", "-q")
    assert code == 1 and err.count("\n") == 1 and address in err and "Traceback" not in err
    assert listener[1]
    listener[1].clear()
    code, _, err = call(capsys, "curate", address, "--out", folder, "--workers", 1, "-q")
    assert code in (1, 2) and address in err and err.count("\n") == 1 and listener[1], (code, err)  # 2: no such file


@pytest.mark.parametrize("name", ["clip.mp4", "clip.m3u8", "clip.sdp", "clip.mpd"])
@pytest.mark.parametrize("kind", ["playlist", "session", "dash"])
def test_footage_that_lists_addresses_is_not_followed(name, kind, listener, tmp_path, capsys) -> None:
    port = listener[0]
    text = {
        "playlist": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n",
        "session": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:rtsp://127.0.0.1:{port}/\n"
        f"m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        f'mediaPresentationDuration="PT1S"><BaseURL>http://127.0.0.1:{port}/</BaseURL><Period><AdaptationSet '
        'mimeType="video/mp4"><Representation id="1" bandwidth="1" codecs="avc1"><SegmentTemplate media="a.mp4" '
        'initialization="i.mp4" duration="1"/></Representation></AdaptationSet></Period></MPD>',
    }[kind]
    (tmp_path / name).write_text(text)
    code, _, err = call(capsys, "curate", tmp_path / name, "--out", tmp_path / "set", "--subject", "A", "--basis",
                        "research", "--workers", 1, "-q")  # fmt: skip
    assert code != 0 and err.count("\n") == 1 and listener[1] == []


def test_a_remote_manifest_of_footage_is_not_fetched(listener, seeds, monkeypatch, tmp_path) -> None:
    """C2PA lets a file name the address of its manifest in its XMP."""
    from render.provenance import verify

    xml = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" '
        f'dcterms:provenance="http://127.0.0.1:{listener[0]}/a.c2pa"/></rdf:RDF></x:xmpmeta>'
    )
    body = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + xml.encode()
    clip = seeds.clip

    def with_address(path, *given, **more):
        made = clip(path, *given, **more)
        with made.open("ab") as stream:
            stream.write((8 + len(body)).to_bytes(4, "big") + b"uuid" + body)
        return made

    monkeypatch.setattr(seeds, "clip", with_address)
    (tmp_path / "films").mkdir()
    seeds.render(tmp_path / "films" / "render")
    footage = with_address(tmp_path / "b.mp4", "libx264", "yuv420p", None)
    assert verify.verify(footage).state == "missing" and listener[1] == []
