"""Verification of a video: who made it, from what, and whether it was altered, by manifest, seal, metadata, watermark.

Only the manifest is proof. The watermark survives steps that remove the manifest, and identifies the render.
"""

from __future__ import annotations

import json
import logging
import mimetypes
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import c2pa

from curate.errors import WorkError, check_file
from curate.safe_io import DAMAGED, printable
from render.provenance import mp4_boxes, registry
from render.provenance.keys import trusted_roots
from render.provenance.manifest import LABEL, MIME, SOFT_BINDING, WATERMARK, Source, first_line, sidecar_path
from render.provenance.watermark import Reading
from render.provenance.watermark_code import identifier_text
from render.provenance.watermark_video import find_watermark

log = logging.getLogger(__name__)

State = Literal["trusted", "valid", "invalid", "missing"]


@dataclass(frozen=True)
class Verification:
    """Result of a verification. `state`: trusted (unaltered, signed under a root of this installation or of its trust
    list), valid (unaltered, unknown signer), invalid (altered, or its manifest is damaged), missing (no manifest).
    """

    state: State
    reason: str
    """One line."""
    generator: str | None = None
    sources: tuple[Source, ...] = ()
    watermark: str | None = None
    """Read from the frames, such as fs-1a2b3c4d5e6f; else named by an intact manifest; None if there is neither."""
    subject: str | None = None
    basis: str | None = None
    signer: str | None = None
    model_sha256: str | None = None
    details: tuple[str, ...] = ()
    """Codes of the failed checks, C2PA 2.x."""
    title: str | None = None
    """Title of the render in this installation's registry of watermarks."""
    created: str | None = None
    """When this installation rendered it, UTC, ISO 8601."""
    time_stamp: str | None = None
    """Time stamp of the signature by a time-stamp authority, ISO 8601; None without one."""


def verify(path: Path) -> Verification:
    """Who made a video, from what, and whether it was altered. Raises UsageError if there is no such file."""
    check_file(path)
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise WorkError(f"{path}: cannot be read ({error.strerror})") from None
    return _with_watermark(_by_manifest(path), find_watermark(path))


def _by_manifest(path: Path) -> Verification:
    """Verification by manifest, seal and metadata; `watermark` is the one that an intact manifest names."""
    mime = MIME.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "video/mp4"
    try:
        with path.open("rb") as stream, c2pa.Reader(mime, stream, context=_context()) as reader:
            return _judge(path, json.loads(reader.json()), reader.get_validation_state())
    except c2pa.C2paError as error:
        return _without_manifest(path, first_line(error))


def _with_watermark(found: Verification, reading: Reading | None) -> Verification:
    """The verification with the watermark that was read; it never changes the state."""
    if reading is None:
        if found.watermark is None:
            return found
        return replace(found, reason=f"{found.reason}; its watermark {found.watermark} cannot be read from the frames")
    text = identifier_text(reading.identifier)
    if found.state in ("trusted", "valid"):
        return _compared(found, text)
    entry = _registered(reading.identifier)
    if entry is None:
        story = f"it carries the watermark {text}, of a render made with faceset by another installation"
    else:
        story = (
            f"it carries the watermark {text}, of a render made with faceset on {entry.created[:10]} as {entry.title}, "
            f"with the face of {entry.subject} ({entry.basis or 'no basis'})"
        )
        found = replace(
            found, subject=entry.subject, basis=entry.basis, model_sha256=entry.model_sha256,
            title=entry.title, created=entry.created,
        )  # fmt: skip
    missing = found.state == "missing"
    return replace(
        found,
        reason=f"no manifest, but {story}" if missing else f"{found.reason}; {story}",
        generator=found.generator or "faceset (by its watermark)",
        watermark=text,
    )


def _compared(found: Verification, text: str) -> Verification:
    """Verification with an intact manifest and a watermark that was read."""
    if found.watermark == text:
        return replace(found, reason=f"{found.reason}; its watermark {text} matches")
    if found.watermark is None:
        return replace(found, watermark=text, reason=f"{found.reason}; it carries the watermark {text}")
    return replace(
        found,
        watermark=text,
        reason=f"{found.reason}; but its frames carry the watermark {text}, while its manifest names {found.watermark}",
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
        return Verification("invalid", f"altered after it was signed ({', '.join(codes) or state})", details=codes)
    statement, wrong = _statement(active)
    if statement is not None and statement.get("sealed") and not mp4_boxes.seal_holds(path):
        return Verification("invalid", "altered after it was signed (its seal is broken)", details=("faceset.seal",))
    who = active.get("signature_info") or {}
    signer = printable(who.get("common_name") or who.get("issuer") or "an unnamed signer")
    made: dict[str, Any] = {"generator": _generator(active), "sources": _sources(active, statement), "signer": signer}
    made |= {"watermark": _named_watermark(active), "time_stamp": who.get("time")}
    if statement is not None:
        made |= {"generator": statement["generator"], "model_sha256": statement["model_sha256"]}
        made |= {"subject": statement["subject"]["name"], "basis": statement["subject"].get("basis")}
    if wrong:
        made["details"] = (wrong,)
    origin = _origin(made) + (", but its statement cannot be read" if wrong else "")
    if state == "Trusted":
        return Verification("trusted", f"unaltered since {signer} signed it; {origin}", **made)
    return Verification(
        "valid", f"unaltered since it was signed, by a signer who is not on your trust list: {signer}; {origin}", **made
    )


def _statement(active: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """Our assertion, or None; and an error code if it does not have our format, whoever signed it."""
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


def _origin(made: dict[str, Any]) -> str:
    """Origin in one line: program, face and clips."""
    line = f"made by {made['generator'] or 'an unnamed program'}"
    if made.get("subject"):
        line += f" with the face of {made['subject']} ({made.get('basis') or 'no basis'})"
    for role, word in (("source", ", taken from"), ("target", ", inserted into")):
        names = [s.name or "an unnamed clip" for s in made["sources"] if s.role == role]
        if names:
            line += f"{word} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    return printable(" ".join(line.split()))


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
        return Verification(
            "invalid", f"its manifest, or the file that contains it, is damaged ({error})", details=(error,)
        )
    if not mp4_boxes.is_media(path):
        return Verification("missing", "no manifest, and not an intact MP4 or QuickTime video")
    if sidecar_path(path).is_file():
        return _with_sidecar(path, sidecar_path(path))
    if mp4_boxes.has_notice(path):
        return Verification(
            "missing",
            "no manifest, but its metadata marks it as a synthetic composite by faceset: the manifest was stripped",
            generator="faceset (by its metadata, unsigned)",
        )
    return Verification("missing", "no manifest: it is unknown who made it, and whether it was altered")


def _with_sidecar(path: Path, sidecar: Path) -> Verification:
    """Verification of a video without an embedded manifest by the sidecar next to it."""
    mime = MIME.get(path.suffix.lower(), "video/mp4")
    try:
        with (
            path.open("rb") as stream,
            c2pa.Reader(mime, stream, manifest_data=sidecar.read_bytes(), context=_context()) as reader,
        ):
            store, state = json.loads(reader.json()), reader.get_validation_state()
    except (c2pa.C2paError, ValueError) as error:
        return Verification(
            "missing", f"no manifest, and {sidecar.name} next to it cannot be read ({first_line(error)})"
        )
    if state in ("Valid", "Trusted"):
        return _judge(path, store, state)
    active = store.get("manifests", {}).get(store.get("active_manifest"), {})
    return Verification(
        "invalid",
        f"not the file that {sidecar.name} next to it was signed for, or altered since",
        generator=_generator(active),
    )
