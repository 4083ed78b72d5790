"""Who made a video, from what, and whether it is untouched: its C2PA manifest, seal, metadata and watermark read back.

The manifest proves; the watermark only remembers: it survives what removes the manifest, and names the render.
"""

from __future__ import annotations

import json
import logging
import mimetypes
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import c2pa

from curate.errors import UsageError, WorkError
from curate.safe_io import DAMAGED, printable
from render.provenance import mp4_boxes, registry
from render.provenance.keys import trusted_roots
from render.provenance.manifest import LABEL, MIME, SOFT_BINDING, WATERMARK, Source, first_line, sidecar_path
from render.provenance.watermark import Reading, identifier_text
from render.provenance.watermark_video import find_watermark

log = logging.getLogger(__name__)

State = Literal["trusted", "valid", "invalid", "missing"]


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
    """Read from the picture, like fs-1a2b3c4d5e6f; else what an untouched manifest names; None if there is neither."""
    subject: str | None = None
    basis: str | None = None
    signer: str | None = None
    model_sha256: str | None = None
    details: tuple[str, ...] = ()
    """Codes of the failed checks, C2PA 2.x."""
    title: str | None = None
    """Of the render, by this installation's registry of watermarks."""
    created: str | None = None
    """When this installation rendered it, UTC, ISO 8601."""
    time_stamp: str | None = None
    """When a time-stamp authority saw the signature, ISO 8601; None if none was asked."""


def verify(path: Path) -> Verification:
    """Who made a video, from what, and whether it is untouched. Raises UsageError if there is no such file."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise WorkError(f"{path}: cannot be read ({error.strerror})") from None
    return _with_watermark(_by_manifest(path), find_watermark(path))


def _by_manifest(path: Path) -> Verification:
    """What manifest, seal and metadata say; `watermark` is what an untouched manifest names."""
    mime = MIME.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "video/mp4"
    try:
        with path.open("rb") as stream, c2pa.Reader(mime, stream, context=_context()) as reader:
            return _judge(path, json.loads(reader.json()), reader.get_validation_state())
    except c2pa.C2paError as error:
        return _without_manifest(path, first_line(error))


def _with_watermark(found: Verification, reading: Reading | None) -> Verification:
    """The watermark that was read added to what the papers say; it never changes the state."""
    if reading is None:
        if found.watermark is None:
            return found
        return replace(found, reason=f"{found.reason}; its watermark {found.watermark} cannot be read from the picture")
    text = identifier_text(reading.identifier)
    if found.state in ("trusted", "valid"):
        return _compared(found, text)
    entry = _registered(reading.identifier)
    if entry is None:
        tale = f"it carries the watermark {text}: a render made with faceset by another installation"
    else:
        tale = (
            f"it carries the watermark {text}: a render made with faceset on {entry.created[:10]} as {entry.title}, "
            f"with the face of {entry.subject} ({entry.basis or 'no basis'})"
        )
        found = replace(
            found, subject=entry.subject, basis=entry.basis, model_sha256=entry.model_sha256,
            title=entry.title, created=entry.created,
        )  # fmt: skip
    missing = found.state == "missing"
    return replace(
        found,
        reason=f"no manifest, but {tale}" if missing else f"{found.reason}; {tale}",
        generator=found.generator or "faceset (by its watermark)",
        watermark=text,
    )


def _compared(found: Verification, text: str) -> Verification:
    """Papers that hold, and a watermark that was read."""
    if found.watermark == text:
        return replace(found, reason=f"{found.reason}; its watermark {text} agrees")
    if found.watermark is None:
        return replace(found, watermark=text, reason=f"{found.reason}; it carries the watermark {text}")
    return replace(
        found,
        watermark=text,
        reason=f"{found.reason}; but the picture carries the watermark {text}, its manifest names {found.watermark}",
        details=(*found.details, "faceset.watermark.mismatch"),
    )


def _registered(identifier: int) -> registry.Entry | None:
    try:
        return registry.find(identifier)
    except WorkError as error:
        log.warning("%s", error)
        return None


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
    statement, wrong = _statement(active)
    if statement is not None and statement.get("sealed") and not mp4_boxes.seal_holds(path):
        return Verification("invalid", "changed after it was signed (its seal is broken)", details=("faceset.seal",))
    who = active.get("signature_info") or {}
    signer = printable(who.get("common_name") or who.get("issuer") or "an unnamed signer")
    made: dict[str, Any] = {"generator": _generator(active), "sources": _sources(active, statement), "signer": signer}
    made |= {"watermark": _named_watermark(active), "time_stamp": who.get("time")}
    if statement is not None:
        made |= {"generator": statement["generator"], "model_sha256": statement["model_sha256"]}
        made |= {"subject": statement["subject"]["name"], "basis": statement["subject"].get("basis")}
    if wrong:
        made["details"] = (wrong,)
    tale = _tale(made) + (", but its statement cannot be understood" if wrong else "")
    if state == "Trusted":
        return Verification("trusted", f"untouched since {signer} signed it; {tale}", **made)
    return Verification(
        "valid", f"untouched since it was signed, by a signer who is not on your list: {signer}; {tale}", **made
    )


def _statement(active: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """Our assertion, or None where there is none; and a code where it is not of our form, whoever signed it."""
    data = next((a["data"] for a in active.get("assertions", ()) if a["label"] == LABEL), None)
    if data is None:
        return None, None
    try:
        form = {"generator": str, "model_sha256": str, "subject": dict, "sources": list}
        right = all(isinstance(data[key], kind) for key, kind in form.items()) and isinstance(
            data["subject"]["name"], str
        )
        texts = [
            data["subject"].get("basis") or "",
            *(s[k] for s in data["sources"] for k in ("role", "name", "sha256")),
        ]
        return (data, None) if right and all(isinstance(t, str) for t in texts) else (None, "faceset.statement")
    except DAMAGED:
        return None, "faceset.statement"


def _tale(made: dict[str, Any]) -> str:
    """Made by what, with whose face, from which clips, in one line."""
    told = f"made by {made['generator'] or 'an unnamed program'}"
    if made.get("subject"):
        told += f" with the face of {made['subject']} ({made.get('basis') or 'no basis'})"
    for role, word in (("source", "from"), ("target", "on")):
        names = [s.name or "an unnamed clip" for s in made["sources"] if s.role == role]
        if names:
            told += f" {word} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    return printable(" ".join(told.split()))


def _named_watermark(active: dict[str, Any]) -> str | None:
    bindings = (a["data"] for a in active.get("assertions", ()) if a["label"].startswith(SOFT_BINDING))
    try:
        blocks = next((data.get("blocks", ()) for data in bindings if data.get("alg") == WATERMARK), ())
        return next((printable(str(block["value"]))[:40] for block in blocks), None)
    except DAMAGED:
        return None


def _generator(active: dict[str, Any]) -> str | None:
    info = (active.get("claim_generator_info") or [{}])[0]
    return " ".join(str(info[key]) for key in ("name", "version") if info.get(key)) or None


def _sources(active: dict[str, Any], statement: dict[str, Any] | None) -> tuple[Source, ...]:
    if statement is not None:
        return tuple(Source(s["role"], s["name"], s["sha256"]) for s in statement["sources"])
    roles: dict[str, Literal["source", "target"]] = {"parentOf": "target"}
    return tuple(
        Source(roles.get(i.get("relationship", ""), "source"), i.get("title", ""), "")
        for i in active.get("ingredients", ())
    )


def _without_manifest(path: Path, error: str) -> Verification:
    if mp4_boxes.has_traces(path):
        return Verification("invalid", f"its manifest, or the file around it, is damaged ({error})", details=(error,))
    if not mp4_boxes.is_media(path):
        return Verification("missing", "no MP4 or QuickTime video, or a damaged one, and no manifest in it")
    if sidecar_path(path).is_file():
        return _with_sidecar(path, sidecar_path(path))
    if mp4_boxes.has_notice(path):
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
            "missing", f"no manifest, and {sidecar.name} beside it cannot be read ({first_line(error)})"
        )
    if state in ("Valid", "Trusted"):
        return _judge(path, store, state)
    active = store.get("manifests", {}).get(store.get("active_manifest"), {})
    return Verification(
        "invalid",
        f"not, or no longer, the file that {sidecar.name} beside it was signed for",
        generator=_generator(active),
    )
