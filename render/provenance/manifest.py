"""The signed C2PA manifest of a render.

C2PA 2.x by c2pa-python: first action `c2pa.opened` (the target footage), then `c2pa.placed` (the source's clips), then
`c2pa.edited` with the IPTC digital source type of a composite by a trained model, then `c2pa.watermarked.bound`, which
requires the assertion `c2pa.soft-binding` with the watermark. No thumbnails: they would contain faces.
"""

from __future__ import annotations

import io
import logging
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import c2pa

from curate.errors import UsageError, WorkError
from curate.types import Subject
from render.provenance import mp4_boxes
from render.provenance.keys import SigningKey
from render.provenance.watermark_code import identifier_text

log = logging.getLogger(__name__)

LABEL = "faceset.render"
"""Label of the assertion with subject, basis, model and sources."""
SOFT_BINDING = "c2pa.soft-binding"
WATERMARK = "com.faceset.watermark.2"
"""Algorithm of the watermark in the soft binding; not on the C2PA list of algorithms."""
WATERMARKS = ("com.faceset.watermark.1", WATERMARK)
"""All that are read."""
NO_STAMP = "internal error"
"""Error of c2pa-rs for any failure of a time-stamp authority."""
MIME = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}


@dataclass(frozen=True)
class Source:
    """Clip that a render was made from."""

    role: Literal["source", "target"]
    name: str
    sha256: str


@dataclass(frozen=True)
class Swap:
    """A further person who is replaced in the same render."""

    subject: Subject
    target: Subject
    model_sha256: str
    swapped: int
    """Frames that show the face."""


@dataclass(frozen=True)
class RenderStatement:
    """Statement of a manifest about a render."""

    subject: Subject
    """The person whose face is shown."""
    target: Subject
    """The person whose performance was kept."""
    sources: tuple[Source, ...]
    model_sha256: str
    """Hash of the run's weights."""
    frames: int
    swapped: int
    watermark: int | None = None
    """Identifier of the watermark in every frame, 0 .. 2^48 - 1; None: no watermark."""
    over: tuple[str, ...] = ()
    """Watermarks that the footage carried already."""
    others: tuple[Swap, ...] = ()


def generator() -> str:
    """Generator: name and version of this program."""
    return f"faceset {_version()}"


def _version() -> str:
    try:
        return metadata.version("faceset")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "0+source"


def sidecar_path(video: Path) -> Path:
    """Path of the sidecar: the manifest of `video` as a separate file."""
    return video.with_suffix(".c2pa")


def sign(
    unsigned: Path,
    signed: Path,
    title: str,
    stated: RenderStatement,
    footage: Path,
    key: SigningKey,
    tsa_url: str | None = None,
) -> bytes:
    """Write `signed` from `unsigned` (to which XMP is added), with manifest and seal; returns the manifest's bytes.

    `title` is the final file name. `tsa_url` is an RFC 3161 time-stamp authority, whose time stamp keeps the signature
    valid after the certificate has expired; without it nothing is sent. Raises UsageError if the key does not satisfy
    the C2PA certificate profile, WorkError if the authority does not answer.
    """
    mime = MIME[Path(title).suffix.lower()]
    mp4_boxes.append_xmp(unsigned, title, generator())
    offline = {"verify_after_sign": False, "remote_manifest_fetch": False, "ocsp_fetch": False}
    settings = {"builder": {"thumbnail": {"enabled": False}}, "verify": offline}
    try:
        builder = c2pa.Builder(_manifest(title, mime, stated), c2pa.Context.from_dict(settings))
        _add_footage(builder, footage)
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(key.algorithm, key.chain, key.private_key, tsa_url))
        with unsigned.open("rb") as source, signed.open("w+b") as target:
            manifest = bytes(builder.sign(signer, mime, source, target))
    except c2pa.C2paError as error:
        if tsa_url is not None and NO_STAMP in str(error):
            raise WorkError(
                f"--tsa {tsa_url}: gave no time stamp ({first_line(error)}); try again, or omit --tsa"
            ) from None
        raise UsageError(
            f"the render cannot be signed ({first_line(error)}); "
            "--cert must follow the C2PA certificate profile: a leaf with digitalSignature and EKU emailProtection"
        ) from None
    mp4_boxes.seal(signed)
    return manifest


def _manifest(title: str, mime: str, stated: RenderStatement) -> dict[str, Any]:
    agent = {"name": "faceset", "version": _version()}
    clips = [s for s in stated.sources if s.role == "source"]
    labels = [f"source-{i}" for i in range(len(clips))]
    ingredients = [
        {
            "title": clip.name,
            "relationship": "componentOf",
            "label": label,
            "instance_id": f"sha256:{clip.sha256}",
            "description": f"footage of the source face, SHA-256 {clip.sha256}",
        }
        for clip, label in zip(clips, labels, strict=True)
    ]
    actions: list[dict[str, Any]] = [{"action": "c2pa.opened", "parameters": {"ingredientIds": ["target"]}}]
    if labels:
        actions.append({"action": "c2pa.placed", "parameters": {"ingredientIds": labels}})
    actions.append(
        {
            "action": "c2pa.edited",
            "digitalSourceType": mp4_boxes.COMPOSITE,
            "softwareAgent": agent,
            "description": mp4_boxes.NOTICE,
        }
    )
    assertions: list[dict[str, Any]] = [
        {"label": "c2pa.actions.v2", "data": {"actions": actions}},
        {"label": LABEL, "data": _statement(stated)},
    ]
    if stated.watermark is not None:
        actions.append({"action": "c2pa.watermarked.bound", "softwareAgent": agent})
        assertions.append({"label": SOFT_BINDING, "data": _soft_binding(stated.watermark)})
    return {
        "title": title,
        "format": mime,
        "claim_generator_info": [agent],
        "ingredients": ingredients,
        "assertions": assertions,
    }


def _soft_binding(identifier: int) -> dict[str, Any]:
    """Soft binding (C2PA 2.x): one block whose empty scope is the whole video."""
    return {
        "alg": WATERMARK,
        "name": "invisible watermark in every frame",
        "blocks": [{"scope": {}, "value": identifier_text(identifier)}],
    }


def _statement(stated: RenderStatement) -> dict[str, Any]:
    return (
        {
            "generator": generator(),
            "subject": _subject(stated.subject),
            "target": _subject(stated.target),
            "sources": [asdict(s) for s in stated.sources],
            "model_sha256": stated.model_sha256,
            "frames": stated.frames,
            "swapped": stated.swapped,
            "sealed": True,
        }
        | _marks(stated)
        | _others(stated)
    )


def _others(stated: RenderStatement) -> dict[str, Any]:
    if not stated.others:
        return {}
    rows = [
        asdict(swap) | {"subject": _subject(swap.subject), "target": _subject(swap.target)} for swap in stated.others
    ]
    return {"others": rows}


def _marks(stated: RenderStatement) -> dict[str, Any]:
    marks: dict[str, Any] = {"earlier_watermarks": list(stated.over)} if stated.over else {}
    return marks if stated.watermark is None else marks | {"watermark": identifier_text(stated.watermark)}


def _subject(subject: Subject) -> dict[str, str]:
    named = {"name": subject.name, "basis": subject.basis, "evidence_sha256": subject.evidence_sha256}
    return {key: value for key, value in named.items() if value is not None}


def _add_footage(builder: c2pa.Builder, footage: Path) -> None:
    """Add the target footage as the parent ingredient, with its own manifest if it has one."""
    entry = {"title": footage.name, "relationship": "parentOf", "label": "target", "instance_id": "target"}
    mime = MIME.get(footage.suffix.lower(), "video/mp4")
    try:
        with footage.open("rb") as stream:
            builder.add_ingredient(entry, mime, stream)
    except c2pa.C2paError as error:
        # C2PA cannot read this container: an empty placeholder keeps its name; its hash is in our assertion.
        log.info(
            "%s: the manifest has its name and hash only, since C2PA cannot read %s files", footage, footage.suffix
        )
        log.debug("%s: %s", footage, first_line(error))
        builder.add_ingredient(entry, "application/octet-stream", io.BytesIO())


def first_line(error: Exception) -> str:
    """First line of an error's message, for a message of our own."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip(": ")
