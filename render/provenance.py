"""The papers of a render: a signed C2PA manifest in the file and beside it, and reading them back.

C2PA 2.x by c2pa-python: first action `c2pa.opened` (the target footage), then `c2pa.placed` (the source's clips), then
`c2pa.edited` with the IPTC digital source type of a composite by a trained model. No thumbnails: they would hold faces.
"""

from __future__ import annotations

import io
import json
import logging
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import c2pa

from curate.errors import UsageError, WorkError
from curate.types import Subject
from render import boxes
from render.keys import SigningKey, trusted_roots

log = logging.getLogger(__name__)

LABEL = "faceset.render"
"""Our assertion: subject, basis, model, sources."""
MIME = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}
State = Literal["trusted", "valid", "invalid", "missing"]


@dataclass(frozen=True)
class Source:
    """A clip that went into a render."""

    role: Literal["source", "target"]
    name: str
    sha256: str


@dataclass(frozen=True)
class Papers:
    """What a manifest says about a render."""

    subject: Subject
    """Whose face was put in."""
    target: Subject
    """Whose performance was kept."""
    sources: tuple[Source, ...]
    model_sha256: str
    """Of the run's weights."""
    frames: int
    swapped: int


@dataclass(frozen=True)
class Verification:
    """What is known about a video. `state`: trusted (untouched, signed under a root of this installation or of its
    trust list), valid (untouched, signer not known), invalid (changed, or its papers are damaged), missing (no papers).
    """

    state: State
    reason: str
    """One line."""
    generator: str | None = None
    sources: tuple[Source, ...] = ()
    watermark: str | None = None
    """Not read by this version: always None."""
    subject: str | None = None
    basis: str | None = None
    signer: str | None = None
    model_sha256: str | None = None
    details: tuple[str, ...] = field(default=())
    """Codes of the failed checks, C2PA 2.x."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def generator() -> str:
    """Name and version of this program."""
    return f"faceset {_version()}"


def _version() -> str:
    try:
        return metadata.version("faceset")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "0+source"


def sidecar_path(video: Path) -> Path:
    """Where the manifest of `video` lies as a file of its own."""
    return video.with_suffix(".c2pa")


def sign(unsigned: Path, signed: Path, title: str, papers: Papers, footage: Path, key: SigningKey) -> bytes:
    """Write `signed` from `unsigned` (which gets its XMP), with manifest and seal; returns the manifest's bytes.

    `title` is the file's name to be. Raises UsageError if the key cannot sign by the C2PA certificate profile.
    """
    mime = MIME[Path(title).suffix.lower()]
    boxes.append_xmp(unsigned, title, generator())
    settings = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_after_sign": False}}
    try:
        builder = c2pa.Builder(_manifest(title, mime, papers), c2pa.Context.from_dict(settings))
        _add_footage(builder, footage)
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(key.algorithm, key.chain, key.private_key, None))
        with unsigned.open("rb") as source, signed.open("w+b") as target:
            manifest = bytes(builder.sign(signer, mime, source, target))
    except c2pa.C2paError as error:
        raise UsageError(
            f"the render cannot be signed ({_first_line(error)}); "
            "--cert needs a chain by the C2PA profile: a leaf with digitalSignature and EKU emailProtection"
        ) from None
    boxes.seal(signed)
    return manifest


def _manifest(title: str, mime: str, papers: Papers) -> dict[str, Any]:
    agent = {"name": "faceset", "version": _version()}
    clips = [s for s in papers.sources if s.role == "source"]
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
            "digitalSourceType": boxes.COMPOSITE,
            "softwareAgent": agent,
            "description": boxes.NOTICE,
        }
    )
    return {
        "title": title,
        "format": mime,
        "claim_generator_info": [agent],
        "ingredients": ingredients,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": LABEL, "data": _statement(papers)},
        ],
    }


def _statement(papers: Papers) -> dict[str, Any]:
    return {
        "generator": generator(),
        "subject": _subject(papers.subject),
        "target": _subject(papers.target),
        "sources": [asdict(s) for s in papers.sources],
        "model_sha256": papers.model_sha256,
        "frames": papers.frames,
        "swapped": papers.swapped,
        "sealed": True,
    }


def _subject(subject: Subject) -> dict[str, str]:
    named = {"name": subject.name, "basis": subject.basis, "evidence_sha256": subject.evidence_sha256}
    return {key: value for key, value in named.items() if value is not None}


def _add_footage(builder: c2pa.Builder, footage: Path) -> None:
    """The target footage as the parent, with its own manifest if it has one."""
    entry = {"title": footage.name, "relationship": "parentOf", "label": "target", "instance_id": "target"}
    mime = MIME.get(footage.suffix.lower(), "video/mp4")
    try:
        with footage.open("rb") as stream:
            builder.add_ingredient(entry, mime, stream)
    except c2pa.C2paError as error:
        # A container that C2PA cannot read: an empty stand-in keeps its name; its hash stands in our assertion.
        log.info("%s: taken as an ingredient by name and hash only (%s)", footage, _first_line(error))
        builder.add_ingredient(entry, "application/octet-stream", io.BytesIO())


def verify(path: Path) -> Verification:
    """Who made a video, from what, and whether it is untouched. Raises UsageError if there is no such file."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise WorkError(f"{path}: cannot be read ({error.strerror})") from None
    suffix = path.suffix.lower()
    try:
        with (
            path.open("rb") as stream,
            c2pa.Reader(MIME.get(suffix, "video/mp4"), stream, context=_context()) as reader,
        ):
            return _judge(path, json.loads(reader.json()), reader.get_validation_state())
    except c2pa.C2paError as error:
        return _without_manifest(path, _first_line(error))


def _context() -> c2pa.Context:
    roots = trusted_roots().decode()
    settings: dict[str, Any] = {"verify": {"ocsp_fetch": False, "remote_manifest_fetch": False}}
    if roots:
        settings["trust"] = {"user_anchors": roots}
    return c2pa.Context.from_dict(settings)


def _judge(path: Path, store: dict[str, Any], state: str | None) -> Verification:
    failures = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    codes = tuple(f["code"] for f in failures if f["code"] != "signingCredential.untrusted")
    active = store.get("manifests", {}).get(store.get("active_manifest"))
    if state not in ("Valid", "Trusted") or active is None:
        return Verification("invalid", f"changed after it was signed ({', '.join(codes) or state})", details=codes)
    statement = next((a["data"] for a in active.get("assertions", ()) if a["label"] == LABEL), None)
    if statement is not None and statement.get("sealed") and not boxes.seal_holds(path):
        return Verification("invalid", "changed after it was signed (its seal is broken)", details=("faceset.seal",))
    who = active.get("signature_info", {})
    signer = who.get("common_name") or who.get("issuer") or "an unnamed signer"
    made: dict[str, Any] = {"generator": _generator(active), "sources": _sources(active, statement), "signer": signer}
    if statement is not None:
        made |= {"generator": statement["generator"], "model_sha256": statement["model_sha256"]}
        made |= {"subject": statement["subject"]["name"], "basis": statement["subject"].get("basis")}
    if state == "Trusted":
        return Verification("trusted", f"untouched since {signer} signed it; made by {made['generator']}", **made)
    return Verification(
        "valid", f"untouched since it was signed, by a signer who is not on your list: {signer}", **made
    )


def _generator(active: dict[str, Any]) -> str | None:
    info = active.get("claim_generator_info") or [{}]
    return " ".join(v for v in (info[0].get("name"), info[0].get("version")) if v) or None


def _sources(active: dict[str, Any], statement: dict[str, Any] | None) -> tuple[Source, ...]:
    if statement is not None:
        return tuple(Source(s["role"], s["name"], s["sha256"]) for s in statement["sources"])
    roles: dict[str, Literal["source", "target"]] = {"parentOf": "target"}
    return tuple(
        Source(roles.get(i.get("relationship", ""), "source"), i.get("title", ""), "")
        for i in active.get("ingredients", ())
    )


def _without_manifest(path: Path, error: str) -> Verification:
    if boxes.has_traces(path):
        return Verification("invalid", f"its manifest, or the file around it, is damaged ({error})", details=(error,))
    if not boxes.is_media(path):
        return Verification("missing", "no MP4 or QuickTime video, or a damaged one, and no manifest in it")
    if sidecar_path(path).is_file():
        return _with_sidecar(path, sidecar_path(path))
    if boxes.has_notice(path):
        return Verification(
            "missing",
            "no manifest, but its metadata says that it is a synthetic composite by faceset: its papers are lost",
            generator="faceset (by its metadata, unsigned)",
        )
    return Verification("missing", "no manifest: nothing is known of who made it, or whether it was changed")


def _with_sidecar(path: Path, sidecar: Path) -> Verification:
    """A video that lost its embedded manifest, judged by the one beside it."""
    mime = MIME.get(path.suffix.lower(), "video/mp4")
    try:
        with (
            path.open("rb") as stream,
            c2pa.Reader(mime, stream, manifest_data=sidecar.read_bytes(), context=_context()) as reader,
        ):
            store, state = json.loads(reader.json()), reader.get_validation_state()
    except (c2pa.C2paError, ValueError) as error:
        return Verification(
            "missing", f"no manifest, and {sidecar.name} beside it cannot be read ({_first_line(error)})"
        )
    if state in ("Valid", "Trusted"):
        return _judge(path, store, state)
    active = store.get("manifests", {}).get(store.get("active_manifest"), {})
    return Verification(
        "invalid",
        f"not, or no longer, the file that {sidecar.name} beside it was signed for",
        generator=_generator(active),
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip(": ")
