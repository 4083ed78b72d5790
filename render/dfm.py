"""Export of a run as a DFM: one ONNX file that DeepFaceLive, FaceFusion and VisoMaster read.

Input `in_face:0` (N, S, S, 3), the target's crop; outputs `out_face_mask:0` (N, S, S, 1), the target's own mask,
`out_celeb_face:0` (N, S, S, 3), the swap, and `out_celeb_face_mask:0` (N, S, S, 1), its mask: float32 in 0..1, BGR, in
this order, as DeepFaceLab's SAEHD exports them. What drives the run besides the crop, outlines or scores, is read from
the crop by a small network in the graph (train/reader.py), since those programs do not measure it. The last layer of
the graph is the watermark (render/provenance/watermark.py) in every swap, so that the promise of marking holds in other
programs too. Beside the file lies a signed statement: subject, basis, sources, the file's hash.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from torch import Tensor, nn

from curate.dataset import consent
from curate.dataset.faceset import MANIFEST, open_faceset
from curate.errors import MissingError, UsageError, WorkError
from curate.face.align import FRAMES
from curate.runtime.files import atomic, file_sha256, scratch
from curate.safe_io import DAMAGED, one_line
from curate.types import Progress, no_progress
from render.provenance.keys import SigningKey, installation_key
from render.provenance.manifest import generator
from render.provenance.marking_layer import Marking
from render.provenance.registry import new_entry
from render.provenance.watermark_code import identifier_text
from train.clarity import clarity
from train.data import Side, load_side, usable_rows
from train.model import Swap, picture
from train.reader import FILE, Agreement, Reader, compare, learnt, truth_of
from train.run import Run, load_swapper, open_run, resolve_device

OPSET = 17
INPUT = "in_face:0"
OUTPUTS = ("out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0")


@dataclass(frozen=True)
class ExportedModel:
    """What the export of a run wrote."""

    out: str
    statement: str
    """Path of the signed statement."""
    size: int
    """Side of the crops, pixels."""
    watermark: str
    """Identifier in every swap."""
    reader: Agreement | None
    """How far swaps with what the graph reads in crops are from the run's own; None: nothing but the crop drives it."""


class Graph(nn.Module):
    """What the ONNX file computes; see the module."""

    def __init__(self, model: Swap, marking: Marking, reader: Reader | None = None) -> None:
        super().__init__()
        self.model, self.marking, self.reader = model, marking, reader

    def forward(self, face: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, S, S, 3) BGR in 0..1 to the three outputs."""
        crops = face.permute(0, 3, 1, 2).flip(1)
        read, performed = (None, None) if self.reader is None else self.reader(crops)
        swap, mask = picture(self.model.through(crops, "source", performed))
        own = picture(self.model.through(crops, "target", read))[1]
        marked = self.marking(swap)
        return own.permute(0, 2, 3, 1), marked.flip(1).permute(0, 2, 3, 1), mask.permute(0, 2, 3, 1)


def export_dfm(
    folder: Path, out: Path, target: Path | None = None, progress: Progress = no_progress, force: bool = False
) -> ExportedModel:
    """Write the network of the run in `folder` to `out` (.dfm), and its signed statement to `out`.json.

    A run that outlines or scores drive is given a reader, learnt from the target's faces in the faceset `target`, by
    default the one that the run was trained on. Raises MissingError without onnx, ConsentError without a basis,
    UsageError for a run that cannot be exported, or existing files without `force`.
    """
    run = open_run(folder)
    _check(run, out, force)
    needs_onnx()
    model = load_swapper(run, "cpu").model
    reader, agreement = _reader(run, model, target, progress)
    identifier = new_entry(
        title=out.name, subject=run.source.subject.name, basis=run.source.subject.basis,
        model_sha256=run.weights_sha256, out=str(out.resolve()),
        source_sha256s=tuple(sha256 for _, sha256 in run.source.clips), model=True,
    )  # fmt: skip
    data = onnx_of(model, run.size, identifier, reader)
    statement = out.with_name(out.name + ".json")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic(out) as temporary:
            temporary.write_bytes(data)
        with atomic(statement) as temporary:
            text = signed(_statement(run, out, identifier, agreement), installation_key())
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WorkError(f"{out} cannot be written ({error.strerror}): give another --out") from None
    return ExportedModel(str(out), str(statement), run.size, identifier_text(identifier), agreement)


def needs_onnx() -> None:
    """Raise MissingError unless onnx, with which torch writes the file, is installed."""
    try:
        import onnx  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise MissingError(f"--format dfm: {error}: pip install 'faceset[onnx]'") from None


def onnx_of(model: Swap, size: int, identifier: int, reader: Reader | None = None) -> bytes:
    """The ONNX file of a network for crops of a size, with the watermark `identifier`. Raises MissingError."""
    needs_onnx()
    graph = Graph(model, Marking(identifier, size), reader).eval()
    axes = {name: {0: "faces"} for name in (INPUT, *OUTPUTS)}
    with scratch("faceset-onnx-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter, which needs no further package, is the older one
        path = folder / "model.onnx"
        torch.onnx.export(
            graph, (torch.zeros(1, size, size, 3),), str(path), input_names=[INPUT], output_names=list(OUTPUTS),
            dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
        return path.read_bytes()


def _reader(run: Run, model: Swap, target: Path | None, progress: Progress) -> tuple[Reader | None, Agreement | None]:
    """The reader of a run that not only the picture drives, and how well it reads."""
    if run.config.drive == "picture":
        return None, None
    side = _target(run, target or Path(run.target.folder), progress)
    config = replace(run.config, device="auto")
    reader = learnt(run.path / FILE, side, config, resolve_device("auto"), progress)
    return reader, compare(reader, model, truth_of(side), config)


def _target(run: Run, folder: Path, progress: Progress) -> Side:
    """The target's faces, as the run was trained on them. Raises UsageError or ConsentError."""
    if not (folder / MANIFEST).is_file():
        raise UsageError(
            f"{run.path} is driven by {run.config.drive}, which the export learns to read from the target's faces, but "
            f"its faceset {folder} is not there: give --target DIR"
        )
    faceset = open_faceset(folder)
    subject = consent.require(faceset.subject, str(folder))
    if subject.name != run.target.subject.name:
        raise UsageError(f"--target {folder}: is of {subject.name}; the target of {run.path} is another subject")
    footage = clarity(usable_rows(faceset))
    side = load_side("target", faceset, run.config, run.path / "cache", True, progress, footage)
    return replace(side, drive=run.drive, outlines=run.outlines)


def signed(statement: dict[str, Any], key: SigningKey) -> str:
    """A statement as JSON, with its signature over the statement's canonical JSON and the chain that signed it."""
    private = serialization.load_pem_private_key(key.private_key, None)
    text = _canonical(statement)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        signature = private.sign(text, ec.ECDSA(hashes.SHA256()))
    elif isinstance(private, rsa.RSAPrivateKey):
        signature = private.sign(text, _pss(), hashes.SHA256())
    elif isinstance(private, ed25519.Ed25519PrivateKey):
        signature = private.sign(text)
    else:
        raise UsageError(f"the signing key is of a kind that cannot sign ({type(private).__name__})")
    return json.dumps(
        {"statement": statement, "signature": signature.hex(), "certificates": key.chain.decode()}, indent=1
    )


def check(out: Path) -> dict[str, Any]:
    """The statement of an exported file. Raises WorkError if the file or its statement was changed."""
    path = out.with_name(out.name + ".json")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        statement: dict[str, Any] = found["statement"]
        leaf = x509.load_pem_x509_certificates(found["certificates"].encode())[0]
        _check_signature(leaf.public_key(), bytes.fromhex(found["signature"]), _canonical(statement))
        digest = statement["sha256"]
    except InvalidSignature:
        raise WorkError(f"{path}: the statement was changed after it was signed") from None
    except (*DAMAGED, UnsupportedAlgorithm) as error:
        raise WorkError(f"{path}: cannot be read ({one_line(error)})") from None
    if file_sha256(out) != digest:
        raise WorkError(f"{out}: was changed after it was signed")
    return statement


def _check_signature(public: Any, signature: bytes, text: bytes) -> None:
    """Raise InvalidSignature unless the key signed the text."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, text, ec.ECDSA(hashes.SHA256()))
    elif isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, text, _pss(), hashes.SHA256())
    elif isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(signature, text)
    else:
        raise ValueError("the certificate's key is of a kind that cannot sign")


def _check(run: Run, out: Path, force: bool) -> None:
    """Raise UsageError or ConsentError unless the run can be exported to `out`."""
    if run.people:
        raise UsageError(f"{run.path} is a prior, which draws nobody: export a run that was initialised from it")
    consent.require(run.source.subject, str(run.path))
    consent.require(run.target.subject, str(run.path))
    if out.suffix != ".dfm":
        raise UsageError(f"--out {out}: the name of a DFM ends with .dfm")
    if not force and (taken := [p for p in (out, out.with_name(out.name + ".json")) if p.exists()]):
        raise UsageError(f"--out {taken[0]} already exists: give another name")


def _statement(run: Run, out: Path, identifier: int, reader: Agreement | None) -> dict[str, Any]:
    width, centre = FRAMES[run.framing]  # type: ignore[index]  # checked when the run was opened
    return {
        "generator": generator(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "title": out.name,
        "sha256": file_sha256(out),
        "model_sha256": run.weights_sha256,
        "subject": asdict(run.source.subject),
        "target": asdict(run.target.subject),
        "sources": [{"name": name, "sha256": sha256} for name, sha256 in run.source.clips],
        "watermark": identifier_text(identifier),
        "size": run.size,
        "reader": None if reader is None else asdict(reader),
        "framing": {"name": run.framing, "width_cm": width, "centre_cm": list(centre)},
        "synthetic": "Faces that this model draws are generated. Show them as such.",
    }


def _canonical(statement: dict[str, Any]) -> bytes:
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()


def _pss() -> padding.PSS:
    return padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
