from __future__ import annotations

import random
import shutil
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import imageio_ffmpeg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from curate.errors import UsageError, WorkError
from curate.types import Subject
from render import boxes, keys, manifest
from render.manifest import Papers, Source, sign
from render.provenance import verify

PAPERS = Papers(
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
    store = sign(unsigned, out, out.name, PAPERS, clip, key)
    (out.parent / "kept.c2pa").write_bytes(store)
    return out


def test_what_was_signed_is_read_back(signed):
    found = verify(signed)
    assert found.state == "trusted"
    assert (found.subject, found.basis, found.model_sha256) == ("Zoë <&>", "self", "cc" * 32)
    assert found.sources == PAPERS.sources
    assert found.generator.startswith("faceset ")
    assert found.watermark is None
    assert "\n" not in found.reason


def test_every_flipped_bit_is_caught(signed, tmp_path):
    """Twenty anywhere, and every 16th byte of what the C2PA hash leaves out: file type, manifest, padding, seal."""
    data = signed.read_bytes()
    with signed.open("rb") as stream:
        store = next(b for b in boxes.boxes(stream) if b.kind == b"uuid")
    generator = random.Random(7)
    places = [generator.randrange(len(data)) for _ in range(20)]
    places += list(range(0, store.start + store.size, 16))
    places += list(range(len(data) - boxes.SEAL_SIZE, len(data), 8))
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
    for length in (len(data) - 1, len(data) - boxes.SEAL_SIZE, len(data) // 2, 1000):
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
    with pytest.raises(UsageError, match="trust"):
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
        assert "no MP4" in found.reason
    with pytest.raises(UsageError, match="no such file"):
        verify(tmp_path / "none.mp4")
    with pytest.raises(UsageError, match="no such file"):
        verify(tmp_path)


def test_a_file_that_may_not_be_read_is_one_error(clip, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WorkError, match="Permission denied"):
        verify(clip)


def test_a_copy_that_lost_its_papers_says_so_by_its_metadata(make_clip, stub, clip, tmp_path):
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
    import json

    import c2pa

    with signed.open("rb") as stream, c2pa.Reader("video/mp4", stream) as reader:
        store = json.loads(reader.json())
    active = store["manifests"][store["active_manifest"]]
    by_label = {a["label"]: a["data"] for a in active["assertions"]}
    actions = by_label["c2pa.actions.v2"]["actions"]
    assert [a["action"] for a in actions] == ["c2pa.opened", "c2pa.placed", "c2pa.edited"]
    assert actions[2]["digitalSourceType"] == boxes.COMPOSITE
    relations = {i["title"]: i["relationship"] for i in active["ingredients"]}
    assert relations == {"zoë.mp4": "componentOf", "footage.mp4": "parentOf"}
    assert "thumbnail" not in json.dumps(store)
    assert boxes.COMPOSITE.encode() in signed.read_bytes().split(b"xpacket")[1], "IPTC in the XMP"


def test_footage_that_c2pa_cannot_read_is_an_ingredient_by_name(clip, tmp_path):
    odd = tmp_path / "footage.mkv"
    odd.write_bytes(b"\x1a\x45\xdf\xa3 no box in it")
    unsigned = tmp_path / "unsigned.mp4"
    shutil.copy(clip, unsigned)
    sign(unsigned, tmp_path / "out.mp4", "out.mp4", PAPERS, odd, keys.installation_key())
    assert verify(tmp_path / "out.mp4").state == "trusted"


def test_a_render_of_a_render_keeps_the_first_ones_papers(signed, tmp_path):
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


def own_chain(folder: Path, days: int = 9, usage: x509.ObjectIdentifier | None = None) -> tuple[Path, Path]:
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
    with pytest.raises(UsageError, match="not for the key"):
        keys.load_key(own_chain(other)[0], chain)
    with pytest.raises(UsageError, match="no private key"):
        keys.load_key(chain, chain)
    with pytest.raises(UsageError, match="no certificate"):
        keys.load_key(key, key)
    with pytest.raises(UsageError, match="cannot be read"):
        keys.load_key(tmp_path / "none.pem", chain)
    with pytest.raises(UsageError, match="together"):
        keys.signing_key(key, None)
    with pytest.raises(UsageError, match="only"):
        keys.load_key(*own_chain(other, days=-1))


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
