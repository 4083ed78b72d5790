"""Signing keys of renders, and the root certificates that are trusted in verification.

Every installation creates its own chain once (root, leaf; ES256) in the user's config folder; a studio passes its own.
Certificates follow the C2PA 2.x certificate profile: a leaf that is not an authority, digitalSignature, EKU
emailProtection, subject and authority key identifiers, an organisation in every name.
"""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import platformdirs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from filelock import FileLock

from curate.errors import UsageError, WorkError
from curate.runtime.files import write_whole
from curate.safe_io import one_line

log = logging.getLogger(__name__)

YEARS = 10
"""Validity of an installation's own chain; short-lived leaves would need a time-stamp authority."""

ROOTS = (".pem", ".crt", ".cer")
"""Suffixes of the files in the trust list's folder that are read."""


@dataclass(frozen=True)
class SigningKey:
    """Private key with its certificate chain."""

    algorithm: str
    """C2PA name: es256, es384, es512, ps256 or ed25519."""
    chain: bytes
    """PEM, leaf first."""
    private_key: bytes
    """PEM, PKCS#8, not encrypted."""


def config_folder() -> Path:
    """Folder of the installation's chain and trust list: FACESET_CONFIG, or the user's config folder."""
    override = os.environ.get("FACESET_CONFIG")
    return Path(override) if override else Path(platformdirs.user_config_dir("faceset"))


def installation_key() -> SigningKey:
    """This installation's own key, created at the first call (mode 600). Raises WorkError if it cannot be created."""
    folder = config_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(folder / ".signing.lock"):
            if not (folder / "signing.key").is_file():
                _make_chain(folder)
    except OSError as error:
        raise WorkError(
            f"{folder}: the signing key cannot be created ({error.strerror}); "
            "set FACESET_CONFIG to a folder you can write"
        ) from None
    return load_key(folder / "signing.key", folder / "signing.pem")


def signing_key(key: Path | None, cert: Path | None) -> SigningKey:
    """The user's own key and chain, or the installation's if neither is given."""
    if key is None and cert is None:
        return installation_key()
    if key is None or cert is None:
        raise UsageError("--key and --cert must be given together: the private key and its certificate chain")
    return load_key(key, cert)


def load_key(key: Path, cert: Path) -> SigningKey:
    """Signing key from a PEM key and its PEM chain (leaf first). Raises UsageError if they do not match."""
    private = _read_private(key)
    _warn_of_readers(key)
    chain = _read_chain(cert)
    leaf = chain[0]
    if _public(leaf, cert) != private.public_key():
        raise UsageError(f"--cert {cert}: its first certificate does not match the key {key}")
    now = datetime.now(UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise UsageError(
            f"--cert {cert}: is valid only from {leaf.not_valid_before_utc:%F} to {leaf.not_valid_after_utc:%F}, and "
            f"this machine's clock shows {now:%F}: set the clock, or give another certificate"
        )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SigningKey(_algorithm(private, key), b"".join(_pem(c) for c in chain), pem)


def trusted_roots() -> bytes:
    """PEM of this installation's root and of the user's trust list in the config folder.

    The list is `trust.pem` and every .pem, .crt and .cer file in `trust/`; each may contain several certificates.
    Raises UsageError for a file without a PEM certificate.
    """
    folder = config_folder()
    dropped = sorted(p for p in (folder / "trust").glob("*") if p.suffix.lower() in ROOTS)
    listed = [p for p in (folder / "root.pem", folder / "trust.pem", *dropped) if p.is_file()]
    return b"".join(_pem(c) for path in listed for c in _read_chain(path, "trust list"))


def _warn_of_readers(key: Path) -> None:
    mode = stat.S_IMODE(key.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        log.warning("%s: other users can read this key (mode %o) and sign as you; run chmod 600 %s", key, mode, key)


def _read_private(path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise UsageError(f"--key {path}: cannot be read ({error.strerror})") from None
    except TypeError:
        raise UsageError(f"--key {path}: is encrypted; decrypt it with openssl pkcs8 -in {path} -out KEY.pem") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"--key {path}: is not a private key in PEM format") from None


def _public(leaf: x509.Certificate, path: Path) -> Any:
    """The key of a certificate. Raises UsageError for one of an unknown kind."""
    try:
        return leaf.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"--cert {path}: its key is of an unknown kind ({one_line(error)})") from None


def _read_chain(path: Path, what: str = "--cert") -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{what} {path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise UsageError(
            f"{what} {path}: contains no certificate in PEM format; "
            "convert a DER file with openssl x509 -inform der -in FILE -out FILE.pem"
        ) from None


def _algorithm(private: PrivateKeyTypes, path: Path) -> str:
    if isinstance(private, ec.EllipticCurvePrivateKey):
        names = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        if private.curve.name in names:
            return names[private.curve.name]
    if isinstance(private, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise UsageError(f"--key {path}: must be an EC (P-256, P-384 or P-521), RSA or Ed25519 key")


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _make_chain(folder: Path) -> None:
    """Write root.pem, signing.pem (leaf and root) and signing.key; the root's private key is discarded."""
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, leaf_name = _name("faceset installation root"), _name("faceset installation")
    root = (
        _certificate(root_name, root_name, root_key, root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(leaf_name, root_name, leaf_key, root_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    pem = leaf_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_whole(folder / "root.pem", _pem(root), 0o644)
    write_whole(folder / "signing.pem", _pem(leaf) + _pem(root), 0o644)
    write_whole(folder / "signing.key", pem, 0o600)  # last: its presence means that the chain is complete


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "faceset"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not sign,
        crl_sign=not sign,
        encipher_only=False,
        decipher_only=False,
    )
