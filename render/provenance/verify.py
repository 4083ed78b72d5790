"""Verification of a video: who made it, from what, and whether it was altered, by manifest, seal, metadata, watermark.

Only the manifest is proof. The watermark survives steps that remove the manifest, and names the render that it claims;
its code is public, so it can be forged, and no state rests on it.
"""

from __future__ import annotations

import json
import logging
import mimetypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import c2pa

from curate.errors import WorkError, check_file
from curate.safe_io import DAMAGED, printable
from render.provenance import mp4_boxes, registry
from render.provenance.keys import trusted_roots
from render.provenance.manifest import LABEL, MIME, SOFT_BINDING, WATERMARKS, Source, first_line, sidecar_path
from render.provenance.registry import Face
from render.provenance.watermark import Reading
from render.provenance.watermark_code import identifier_text
from render.provenance.watermark_faces import find_in_faces
from render.provenance.watermark_video import find_watermarks

log = logging.getLogger(__name__)

State = Literal["trusted", "valid", "invalid", "missing"]


EXPIRED = "signingCredential.expired"
FORGEABLE = "a mark can be forged or copied and proves nothing"


@dataclass(frozen=True)
class Mark:
    """Watermark that was read from the frames, and what this installation's registry knows of it."""

    watermark: str
    """Such as fs-1a2b3c4d5e6f."""
    confidence: float
    """Cosine of the measurement and the mark: 0.90 .. 1, from 0.75 for a mark of this installation."""
    chance: float
    """Upper bound of the probability that an unmarked video gives as good a reading."""
    frames: int
    """Frames that it was read from."""
    moved: bool
    """Whether the frame was cropped or has bars."""
    title: str | None = None
    created: str | None = None
    subject: str | None = None
    basis: str | None = None
    others: tuple[Face, ...] = ()
    model: bool = False
    """Whether it is the mark of a model that this installation exported."""


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
    """Latest mark read from the frames, such as fs-1a2b3c4d5e6f; else named by an intact manifest; None for neither."""
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
    others: tuple[Face, ...] = ()
    """Further people whose faces the render shows, by its manifest or else by the registry."""
    watermarks: tuple[Mark, ...] = ()
    """All marks read from the frames, the latest first: a render over a render carries both."""


def verify(path: Path | str) -> Verification:
    """Who made a video, from what, and whether it was altered. Raises UsageError if there is no such file."""
    path = Path(path)
    check_file(path)
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise WorkError(f"{path}: cannot be read ({error.strerror})") from None
    found, known = _by_manifest(path), _known(registry.identifiers)
    readings = find_watermarks(path, known=known)
    if not readings and found.state in ("missing", "invalid") and (exported := _known(registry.models)):
        readings = find_in_faces(path, known=exported)
    return _with_watermarks(found, readings)


def _by_manifest(path: Path) -> Verification:
    """Verification by manifest, seal and metadata; `watermark` is the one that an intact manifest names."""
    mime = MIME.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "video/mp4"
    try:
        with path.open("rb") as stream, c2pa.Reader(mime, stream, context=_context()) as reader:
            return _judge(path, json.loads(reader.json()), reader.get_validation_state())
    except c2pa.C2paError as error:
        return _without_manifest(path, first_line(error))


def _with_watermarks(found: Verification, readings: Sequence[Reading]) -> Verification:
    """The verification with the watermarks that were read; they never change the state."""
    if not readings:
        if found.watermark is None:
            return found
        return replace(found, reason=f"{found.reason}; its watermark {found.watermark} cannot be read from the frames")
    entries = [_registered(reading.identifier) for reading in readings]
    marks = tuple(map(_mark, readings, entries))
    found = replace(found, watermarks=marks)
    if found.state in ("trusted", "valid"):
        return _compared(found, marks)
    latest = entries[0]
    if latest is not None:
        found = replace(
            found, subject=latest.subject, basis=latest.basis, model_sha256=latest.model_sha256,
            title=latest.title, created=latest.created, others=latest.others,
        )  # fmt: skip
    story = f"it carries {', over '.join(map(_story, marks))}; {FORGEABLE}"
    missing = found.state == "missing"
    return replace(
        found,
        reason=f"no manifest, but {story}" if missing else f"{found.reason}; {story}",
        generator=found.generator or "faceset (by its watermark, unsigned)",
        watermark=marks[0].watermark,
    )


def _mark(reading: Reading, entry: registry.Entry | None) -> Mark:
    text, score = identifier_text(reading.identifier), round(reading.score, 4)
    if entry is None:
        return Mark(text, score, reading.chance, reading.frames, reading.moved)
    return Mark(
        text, score, reading.chance, reading.frames, reading.moved, entry.title, entry.created, entry.subject,
        entry.basis, entry.others, entry.model,
    )  # fmt: skip


def _story(mark: Mark) -> str:
    """The mark, how sure its reading is, and the render that it names."""
    sure = f"{mark.watermark} (chance of a false reading at most {mark.chance:.0e})"
    if mark.title is None or mark.created is None:
        return f"the mark of a render by another installation, {sure}"
    faces = _faces(mark.subject, mark.basis, mark.others)
    if mark.model:
        return f"the mark of a model exported here on {mark.created[:10]} as {mark.title}, {faces}, {sure}"
    return f"the mark of a render made here on {mark.created[:10]} as {mark.title}, {faces}, {sure}"


def _faces(subject: str | None, basis: str | None, others: tuple[Face, ...]) -> str:
    """Whose faces are shown: `with the face of Ann (release) and of Ben (self)`."""
    people = dict.fromkeys([(subject, basis), *((face.subject, face.basis) for face in others)])
    return "with the face of " + " and of ".join(f"{name} ({own or 'no basis'})" for name, own in people)


def _compared(found: Verification, marks: tuple[Mark, ...]) -> Verification:
    """Verification with an intact manifest and marks that were read."""
    texts = [mark.watermark for mark in marks]
    if found.watermark in texts:
        others = [text for text in texts if text != found.watermark]
        more = f"; it also carries the mark of {' and of '.join(others)}" if others else ""
        return replace(found, reason=f"{found.reason}; its watermark {found.watermark} matches{more}")
    if found.watermark is None:
        return replace(
            found, watermark=texts[0], reason=f"{found.reason}; it carries the mark of {' and '.join(texts)}"
        )
    return replace(
        found,
        watermark=texts[0],
        reason=f"{found.reason}; but its frames carry the mark of {' and of '.join(texts)}, while its manifest names "
        f"{found.watermark}",
        details=(*found.details, "faceset.watermark.mismatch"),
    )


def _known(entries: Callable[[], list[int]]) -> list[int]:
    """Identifiers of this installation's renders or models; none if its registry cannot be read."""
    try:
        return entries()
    except WorkError as error:
        log.warning("%s", error)
        return []


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


def _why_invalid(codes: tuple[str, ...]) -> str:
    """Why a signature does not hold; a certificate that is only out of date says nothing about the bytes."""
    if set(codes) == {EXPIRED}:
        return (
            f"cannot be verified: the signer's certificate is not valid on {datetime.now(UTC):%F}, the date of this "
            "machine's clock, and no time stamp says when it signed; check the clock"
        )
    return f"altered after it was signed ({', '.join(codes)})"


def _judge(path: Path, store: dict[str, Any], state: str | None) -> Verification:
    failures = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    codes = tuple(f["code"] for f in failures if f["code"] != "signingCredential.untrusted")
    active = store.get("manifests", {}).get(store.get("active_manifest"))
    if state not in ("Valid", "Trusted") or active is None:
        return Verification("invalid", _why_invalid(codes or (str(state),)), details=codes)
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
        others = (swap["subject"] for swap in statement.get("others", ()))
        made["others"] = tuple(registry.Face(other["name"], other.get("basis")) for other in others)
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
            *(s["subject"][k] or "" for s in data.get("others", ()) for k in ("name", "basis") if k in s["subject"]),
            *(s["subject"]["name"] for s in data.get("others", ())),
        ]
        return (data, None) if right and all(isinstance(t, str) for t in texts) else (None, "faceset.statement")
    except DAMAGED:
        return None, "faceset.statement"


def _origin(made: dict[str, Any]) -> str:
    """Origin in one line: program, face and clips."""
    line = f"made by {made['generator'] or 'an unnamed program'}"
    if made.get("subject"):
        line += f" {_faces(made['subject'], made.get('basis'), made.get('others', ()))}"
    for role, word in (("source", ", taken from"), ("target", ", inserted into")):
        names = [s.name or "an unnamed clip" for s in made["sources"] if s.role == role]
        if names:
            line += f"{word} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    return printable(" ".join(line.split()))


def _named_watermark(active: dict[str, Any]) -> str | None:
    bindings = (a["data"] for a in active.get("assertions", ()) if a["label"].startswith(SOFT_BINDING))
    try:
        blocks = next((data.get("blocks", ()) for data in bindings if data.get("alg") in WATERMARKS), ())
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
