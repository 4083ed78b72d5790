from __future__ import annotations

import json
import random
import shutil
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from curate.errors import UsageError, WorkError
from curate.types import Subject
from render.provenance import keys, manifest, mp4_boxes, registry
from render.provenance.manifest import RenderStatement, Source, sign
from render.provenance.verify import verify
from render.provenance.watermark import Marker
from render.provenance.watermark_code import identifier_text

STATEMENT = RenderStatement(
    Subject("Zoë <&>", "self"),
    Subject("Bob", "research"),
    (Source("source", "zoë.mp4", "aa" * 32), Source("target", "footage.mp4", "bb" * 32)),
    "cc" * 32,
    30,
    20,
)


@pytest.fixture
def signed(clip: Path, tmp_path: Path) -> Path:
    return signed_with(clip, tmp_path / "out.mp4", keys.installation_key())


def signed_with(clip: Path, out: Path, key: keys.SigningKey) -> Path:
    unsigned = out.with_name("unsigned.mp4")
    shutil.copy(clip, unsigned)
    store = sign(unsigned, out, out.name, STATEMENT, clip, key)
    (out.parent / "kept.c2pa").write_bytes(store)
    return out


def test_what_was_signed_is_read_back(signed):
    found = verify(signed)
    assert found.state == "trusted"
    assert (found.subject, found.basis, found.model_sha256) == ("Zoë <&>", "self", "cc" * 32)
    assert found.sources == STATEMENT.sources
    assert found.generator.startswith("faceset ")
    assert (found.watermark, found.time_stamp) == (None, None)
    assert "\n" not in found.reason
    assert found.reason.endswith("with the face of Zoë <&> (self), taken from zoë.mp4, inserted into footage.mp4")


def test_a_flipped_byte_in_any_top_level_box_is_caught(signed, tmp_path):
    data = signed.read_bytes()
    with signed.open("rb") as stream:
        every = list(mp4_boxes.boxes(stream))
    assert {b"ftyp", b"uuid", b"moov", b"mdat", b"free"} <= {box.kind for box in every}
    generator = random.Random(11)
    broken = tmp_path / "broken.mp4"
    for box in every * (25 // len(every) + 1):
        place = box.start + generator.randrange(box.size)
        changed = bytearray(data)
        changed[place] ^= generator.randrange(1, 256)
        broken.write_bytes(changed)
        assert verify(broken).state == "invalid", f"byte {place} in {box.kind!r}"


def test_every_flipped_bit_is_caught(signed, tmp_path, monkeypatch):
    """Twenty anywhere, and every 16th byte of what the C2PA hash leaves out: file type, manifest, padding, seal."""
    monkeypatch.setattr(
        "render.provenance.verify.find_watermarks", lambda path, known: ()
    )  # the manifest alone, for speed
    data = signed.read_bytes()
    with signed.open("rb") as stream:
        store = next(b for b in mp4_boxes.boxes(stream) if b.kind == b"uuid")
    generator = random.Random(7)
    places = [generator.randrange(len(data)) for _ in range(20)]
    places += list(range(0, store.start + store.size, 16))
    places += list(range(len(data) - mp4_boxes.SEAL_SIZE, len(data), 8))
    broken = tmp_path / "broken.mp4"
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << generator.randrange(8)
        broken.write_bytes(changed)
        assert verify(broken).state == "invalid", f"byte {place} of {len(data)}"


@pytest.mark.parametrize("tail", [b"x", b"\0\0\0\x08free", b"\0\0\0\x10skipabcdefgh", b"\0" * 100])
def test_every_appended_byte_is_caught(signed, tail):
    with signed.open("ab") as stream:
        stream.write(tail)
    assert verify(signed).state == "invalid"


def test_every_cut_is_caught(signed):
    data = signed.read_bytes()
    for length in (len(data) - 1, len(data) - mp4_boxes.SEAL_SIZE, len(data) // 2, 1000):
        signed.write_bytes(data[:length])
        assert verify(signed).state == "invalid", length


def test_a_signer_of_another_installation_is_valid_not_trusted(signed, monkeypatch, tmp_path):
    monkeypatch.setenv("FACESET_CONFIG", str(tmp_path / "elsewhere"))
    found = verify(signed)
    assert found.state == "valid"
    assert found.signer == "faceset installation"
    assert not (tmp_path / "elsewhere").exists(), "reading makes no key"


def test_the_users_trust_list_counts(signed, monkeypatch, tmp_path, config_folder):
    other = tmp_path / "elsewhere"
    other.mkdir()
    shutil.copy(config_folder / "root.pem", other / "trust.pem")
    monkeypatch.setenv("FACESET_CONFIG", str(other))
    assert verify(signed).state == "trusted"
    (other / "trust.pem").write_text("no certificate")
    with pytest.raises(UsageError, match=r"trust list .*trust\.pem: contains no certificate"):
        verify(signed)


def test_no_manifest_is_missing(clip, tmp_path):
    assert verify(clip).state == "missing"
    for name, content in {
        "empty.mp4": b"",
        "text.mp4": b"words " * 99,
        "noise.bin": random.Random(1).randbytes(5000),
    }.items():
        (tmp_path / name).write_bytes(content)
        found = verify(tmp_path / name)
        assert found.state == "missing"
        assert "not an intact MP4" in found.reason
    with pytest.raises(UsageError, match="no such file"):
        verify(tmp_path / "none.mp4")
    with pytest.raises(UsageError, match="is a folder"):
        verify(tmp_path)


def test_a_file_that_may_not_be_read_is_one_error(clip, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WorkError, match="Permission denied"):
        verify(clip)


def test_a_copy_that_lost_its_manifest_says_so_by_its_metadata(make_clip, stub, clip, tmp_path):
    from render import pipeline

    pipeline.render(stub.path, clip, tmp_path / "out.mp4")
    copy = tmp_path / "copy.mp4"
    remux = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", tmp_path / "out.mp4", "-c", "copy", copy]
    subprocess.run(remux, check=True)
    found = verify(copy)
    assert (found.state, found.generator) == ("missing", "faceset (by its metadata, unsigned)")
    shutil.copy(tmp_path / "out.c2pa", tmp_path / "copy.c2pa")
    beside = verify(copy)
    assert beside.state == "invalid"
    assert "copy.c2pa" in beside.reason
    (tmp_path / "copy.c2pa").write_bytes(b"rubbish")
    assert verify(copy).state == "missing"


def test_the_manifest_names_the_kind_of_source_and_holds_no_picture(signed):
    import c2pa

    with signed.open("rb") as stream, c2pa.Reader("video/mp4", stream) as reader:
        store = json.loads(reader.json())
    active = store["manifests"][store["active_manifest"]]
    by_label = {a["label"]: a["data"] for a in active["assertions"]}
    actions = by_label["c2pa.actions.v2"]["actions"]
    assert [a["action"] for a in actions] == ["c2pa.opened", "c2pa.placed", "c2pa.edited"]
    assert actions[2]["digitalSourceType"] == mp4_boxes.COMPOSITE
    relations = {i["title"]: i["relationship"] for i in active["ingredients"]}
    assert relations == {"zoë.mp4": "componentOf", "footage.mp4": "parentOf"}
    assert "thumbnail" not in json.dumps(store)
    assert mp4_boxes.COMPOSITE.encode() in signed.read_bytes().split(b"xpacket")[1], "IPTC in the XMP"


def test_footage_that_c2pa_cannot_read_is_an_ingredient_by_name(clip, tmp_path):
    odd = tmp_path / "footage.mkv"
    odd.write_bytes(b"\x1a\x45\xdf\xa3 no box in it")
    unsigned = tmp_path / "unsigned.mp4"
    shutil.copy(clip, unsigned)
    sign(unsigned, tmp_path / "out.mp4", "out.mp4", STATEMENT, odd, keys.installation_key())
    assert verify(tmp_path / "out.mp4").state == "trusted"


def test_a_render_of_a_render_keeps_the_first_ones_manifest(signed, tmp_path):
    again = signed_with(signed, tmp_path / "again.mp4", keys.installation_key())
    assert verify(again).state == "trusted"


def test_the_key_is_the_users_alone_and_made_once(config_folder):
    first = keys.installation_key()
    assert stat.S_IMODE((config_folder / "signing.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(config_folder.stat().st_mode) == 0o700
    assert keys.installation_key() == first
    assert b"BEGIN PRIVATE KEY" in first.private_key
    leaf, root = x509.load_pem_x509_certificates(first.chain)
    leaf.verify_directly_issued_by(root)


def own_chain(folder: Path, days: float = 9, usage: x509.ObjectIdentifier | None = None) -> tuple[Path, Path]:
    """A self-made studio chain: key.pem (SEC1) and chain.pem."""
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Studio")])
    usage = usage or x509.ExtendedKeyUsageOID.EMAIL_PROTECTION
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=99))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(x509.KeyUsage(True, *[False] * 8), True)
        .add_extension(x509.ExtendedKeyUsage([usage]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
        .sign(key, hashes.SHA384())
    )
    form = serialization.PrivateFormat.TraditionalOpenSSL
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    (folder / "chain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return folder / "key.pem", folder / "chain.pem"


def test_an_own_key_signs(clip, tmp_path, config_folder):
    own = keys.signing_key(*own_chain(tmp_path))
    assert own.algorithm == "es384"
    found = verify(signed_with(clip, tmp_path / "out.mp4", own))
    assert (found.state, found.signer) == ("valid", "Studio")
    assert not config_folder.exists(), "no installation key is made when an own one is given"


def test_wrong_own_keys_are_one_error_each(clip, tmp_path):
    key, chain = own_chain(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(UsageError, match="does not match the key"):
        keys.load_key(own_chain(other)[0], chain)
    with pytest.raises(UsageError, match="not a private key"):
        keys.load_key(chain, chain)
    with pytest.raises(UsageError, match="no certificate"):
        keys.load_key(key, key)
    with pytest.raises(UsageError, match="cannot be read"):
        keys.load_key(tmp_path / "none.pem", chain)
    with pytest.raises(UsageError, match="together"):
        keys.signing_key(key, None)
    with pytest.raises(UsageError, match=r"valid only .* clock shows \d{4}-\d\d-\d\d: set the clock"):
        keys.load_key(*own_chain(other, days=-1))


def test_a_certificate_that_is_out_of_date_is_not_called_an_alteration(clip, tmp_path):
    out = signed_with(clip, tmp_path / "out.mp4", keys.load_key(*own_chain(tmp_path, days=4 / 86_400)))
    assert verify(out).state == "valid"
    time.sleep(5)
    found = verify(out)
    assert found.state == "invalid" and found.details == ("signingCredential.expired",)
    assert f"not valid on {datetime.now(UTC):%F}" in found.reason and "check the clock" in found.reason
    assert "altered" not in found.reason


def test_an_encrypted_key_is_told(tmp_path):
    key, chain = own_chain(tmp_path)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, locked))
    with pytest.raises(UsageError, match="encrypted"):
        keys.load_key(key, chain)


def test_a_certificate_against_the_profile_is_told(clip, tmp_path):
    own = keys.load_key(*own_chain(tmp_path, usage=x509.ExtendedKeyUsageOID.SERVER_AUTH))
    with pytest.raises(UsageError, match="emailProtection"):
        signed_with(clip, tmp_path / "out.mp4", own)


def test_a_config_folder_that_cannot_be_written_is_one_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("FACESET_CONFIG", str(tmp_path / "file" / "config"))
    with pytest.raises(WorkError, match="FACESET_CONFIG"):
        keys.installation_key()


def test_the_sidecar_is_the_embedded_manifest(signed, tmp_path):
    assert (tmp_path / "kept.c2pa").read_bytes() in signed.read_bytes()
    assert manifest.sidecar_path(Path("a/out.mp4")) == Path("a/out.c2pa")


def marked_video(path: Path, identifier: int | None, frames: int = 30, seed: int = 3) -> Path:
    """A 480x360 clip with texture and motion; every frame carries the mark unless it is None."""
    generator = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(generator.normal(0, 60, (360, 480, 3)).astype(np.float32), (0, 0), 2)
    wall = np.clip(texture + np.linspace(80, 170, 480)[None, :, None], 0, 255).astype(np.uint8)
    marker = None if identifier is None else Marker(identifier, 480, 360)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 480, 360, "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        for number in range(frames):
            image = wall.copy()
            image[100:200, 40 + 4 * number : 140 + 4 * number] = 200
            image = image if marker is None else marker.mark(image)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def registered() -> int:
    return registry.new_entry(
        title="out.mp4", subject="Zoë <&>", basis="self", model_sha256="cc" * 32, out="/v/out.mp4"
    )


def render_of(tmp_path: Path, identifier: int, named: int | None) -> Path:
    """A signed render whose picture carries `identifier` and whose manifest names `named`."""
    unsigned = marked_video(tmp_path / "unsigned.mp4", identifier)
    stated = replace(STATEMENT, watermark=named)
    sign(unsigned, tmp_path / "out.mp4", "out.mp4", stated, unsigned, keys.installation_key())
    return tmp_path / "out.mp4"


def stripped(video: Path) -> Path:
    """Encoded again, all metadata left out."""
    copy = video.with_name("stripped.mkv")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", video, "-map_metadata", "-1"]
    subprocess.run([*command, "-bitexact", "-c:v", "libx264", "-crf", "26", copy], check=True)
    return copy


def test_manifest_and_watermark_agree(tmp_path):
    identifier = registered()
    found = verify(render_of(tmp_path, identifier, identifier))
    assert found.state == "trusted"
    assert found.watermark == identifier_text(identifier)
    assert found.reason.endswith(f"its watermark {identifier_text(identifier)} matches")


def test_the_manifest_binds_the_watermark(tmp_path):
    import c2pa

    with render_of(tmp_path, 5, 5).open("rb") as stream, c2pa.Reader("video/mp4", stream) as reader:
        store = json.loads(reader.json())
    active = store["manifests"][store["active_manifest"]]
    data = {a["label"]: a["data"] for a in active["assertions"]}
    assert data["c2pa.actions.v2"]["actions"][-1]["action"] == "c2pa.watermarked.bound"
    assert data["c2pa.soft-binding"]["alg"] == manifest.WATERMARK
    assert data["c2pa.soft-binding"]["blocks"] == [{"scope": {}, "value": "fs-000000000005"}]


def test_a_watermark_that_the_manifest_does_not_name_is_told(tmp_path):
    found = verify(render_of(tmp_path, 5, 6))
    assert found.state == "trusted", "the file is untouched all the same"
    assert found.watermark == "fs-000000000005"
    assert "carry the mark of fs-000000000005, while its manifest names fs-000000000006" in found.reason
    assert found.details == ("faceset.watermark.mismatch",)


def test_a_watermark_that_cannot_be_read_is_told(clip, tmp_path):
    unsigned = tmp_path / "unsigned.mp4"
    shutil.copy(clip, unsigned)
    out = tmp_path / "out.mp4"
    sign(unsigned, out, out.name, replace(STATEMENT, watermark=5), clip, keys.installation_key())
    found = verify(out)
    assert (found.state, found.watermark) == ("trusted", "fs-000000000005")
    assert "cannot be read" in found.reason


def test_a_render_without_manifest_is_known_by_its_watermark(tmp_path):
    identifier = registered()
    found = verify(stripped(render_of(tmp_path, identifier, identifier)))
    assert found.state == "missing"
    assert found.watermark == identifier_text(identifier)
    assert (found.subject, found.basis, found.title) == ("Zoë <&>", "self", "out.mp4")
    assert found.created == registry.find(identifier).created
    assert f"it carries the mark of a render made here on {found.created[:10]} as out.mp4" in found.reason
    assert found.watermark in found.reason and "proves nothing" in found.reason
    (mark,) = found.watermarks
    assert mark.confidence >= 0.9 and mark.chance < 1e-6 and mark.subject == "Zoë <&>"
    assert "\n" not in found.reason


def test_a_render_of_another_installation_is_told_apart(tmp_path, monkeypatch):
    video = stripped(render_of(tmp_path, 5, 5))
    monkeypatch.setenv("FACESET_CONFIG", str(tmp_path / "elsewhere"))
    found = verify(video)
    assert (found.state, found.watermark, found.subject) == ("missing", "fs-000000000005", None)
    assert "another installation" in found.reason
    assert not (tmp_path / "elsewhere").exists()


def test_a_changed_render_is_still_named(tmp_path):
    identifier = registered()
    video = render_of(tmp_path, identifier, identifier)
    with video.open("ab") as stream:
        stream.write(b"x")
    found = verify(video)
    assert (found.state, found.watermark, found.title) == ("invalid", identifier_text(identifier), "out.mp4")
    assert "altered" in found.reason


def test_footage_carries_nothing(tmp_path):
    found = verify(marked_video(tmp_path / "plain.mp4", None))
    assert (found.state, found.watermark) == ("missing", None)
    assert "it is unknown who made it" in found.reason


def test_a_registry_that_cannot_be_read_does_not_stop_verify(tmp_path, monkeypatch):
    video = stripped(render_of(tmp_path, 5, 5))
    monkeypatch.setenv("FACESET_CONFIG", str(tmp_path / "elsewhere"))
    registry.path().mkdir(parents=True)
    assert verify(video).watermark == "fs-000000000005"


def test_verify_needs_no_torch(signed):
    script = (
        "import sys; from pathlib import Path; from render.provenance.verify import verify\n"
        "assert verify(Path(sys.argv[1])).state == 'trusted'; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, signed], check=True)


def test_no_picture_is_in_the_store_even_of_a_render_of_a_render(signed, tmp_path):
    again = signed_with(signed, tmp_path / "again.mp4", keys.installation_key())
    store = (tmp_path / "kept.c2pa").read_bytes()
    assert store in again.read_bytes()
    assert store.count(b"c2pa.claim.v2") >= 2, "the first render's manifest is inside"
    for mark in (b"thumbnail", b"image/jpeg", b"image/png", b"\xff\xd8\xff", b"\x89PNG"):
        assert mark not in store


def studio(folder: Path) -> tuple[Path, Path, Path]:
    """A studio's root, its intermediate and a leaf: key.pem, chain.pem (leaf, intermediate), root.pem."""
    folder.mkdir()
    now = datetime.now(UTC)
    held = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    names = [
        x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Studio"),
                   x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        for name in ("Studio root", "Studio 2026", "Studio compositing")
    ]  # fmt: skip
    made = []
    for i, (key, name) in enumerate(zip(held, names, strict=True)):
        above = max(i - 1, 0)
        leaf = i == 2
        builder = (
            x509.CertificateBuilder(names[above], name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(not leaf, None if leaf else 1 - i), True)
            .add_extension(x509.KeyUsage(leaf, *[False] * 4, not leaf, *[False] * 3), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(held[above].public_key()), False)
        )
        if leaf:
            usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(usage, False)
        made.append(builder.sign(held[above], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pem = held[2].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(pem)
    (folder / "chain.pem").write_bytes(made[2] + made[1])
    (folder / "root.pem").write_bytes(made[0])
    return folder / "key.pem", folder / "chain.pem", folder / "root.pem"


def test_a_studios_root_in_the_trust_folder_is_trusted(clip, tmp_path, config_folder):
    key, chain, root = studio(tmp_path / "studio")
    video = signed_with(clip, tmp_path / "out.mp4", keys.signing_key(key, chain))
    assert (verify(video).state, verify(video).signer) == ("valid", "Studio compositing")
    (config_folder / "trust").mkdir(parents=True)
    shutil.copy(studio(tmp_path / "other")[2], config_folder / "trust" / "other.pem")
    assert verify(video).state == "valid", "another root is no help"
    shutil.copy(root, config_folder / "trust" / "studio.crt")
    found = verify(video)
    assert (found.state, found.signer) == ("trusted", "Studio compositing")


def test_a_der_file_in_the_trust_folder_is_told(signed, config_folder):
    root = x509.load_pem_x509_certificate((config_folder / "root.pem").read_bytes())
    (config_folder / "trust").mkdir()
    (config_folder / "trust" / "der.cer").write_bytes(root.public_bytes(serialization.Encoding.DER))
    with pytest.raises(UsageError, match=r"der\.cer.*openssl x509 -inform der"):
        verify(signed)


class Authority(BaseHTTPRequestHandler):
    """A time-stamp authority that is asked, and refuses."""

    asked: list[str] = []  # noqa: RUF012

    def do_POST(self):
        self.asked.append(self.headers["content-type"])
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(503)
        self.end_headers()

    def log_message(self, *args):
        pass


def test_a_time_stamp_is_asked_for_only_when_told(clip, tmp_path):
    unsigned = tmp_path / "unsigned.mp4"
    shutil.copy(clip, unsigned)
    rest = (tmp_path / "out.mp4", "out.mp4", STATEMENT, clip, keys.installation_key())
    with HTTPServer(("127.0.0.1", 0), Authority) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sign(unsigned, *rest)
        assert Authority.asked == []
        url = f"http://127.0.0.1:{server.server_port}/tsa"
        with pytest.raises(WorkError, match=f"{url}: gave no time stamp"):
            sign(unsigned, *rest, tsa_url=url)
        server.shutdown()
    assert Authority.asked == ["application/timestamp-query"]


TSA = """[tsa]
default_tsa = one
[one]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl answers as the authority")
def test_a_time_stamp_is_read_back(clip, tmp_path):
    folder = tmp_path / "tsa"
    key, _, _ = studio(folder)
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Stamps")])
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=9))
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(x509.KeyUsage(True, *[False] * 8), True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.TIME_STAMPING]), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), False)
        .sign(private, hashes.SHA256())
    )
    (folder / "tsa.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "tsa.cnf").write_text(TSA)
    (folder / "serial").write_text("01\n")
    command = "openssl ts -reply -config tsa.cnf -queryfile query -signer tsa.pem -inkey key.pem -out reply"

    class Stamps(Authority):
        def do_POST(self):
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["content-length"])))
            subprocess.run(command.split(), cwd=folder, check=True, stderr=subprocess.DEVNULL)
            self.send_response(200)
            self.send_header("content-type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write((folder / "reply").read_bytes())

    unsigned, out = tmp_path / "unsigned.mp4", tmp_path / "out.mp4"
    shutil.copy(clip, unsigned)
    with HTTPServer(("127.0.0.1", 0), Stamps) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        sign(unsigned, out, "out.mp4", STATEMENT, clip, keys.installation_key(), url)
        server.shutdown()
    found = verify(out)
    assert found.state == "trusted", found
    stamped = datetime.fromisoformat(found.time_stamp)
    assert abs(datetime.now(UTC) - stamped) < timedelta(minutes=2)
