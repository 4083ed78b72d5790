"""Who made a video, from what, and whether it is untouched: its C2PA manifest, seal and metadata read back."""

from __future__ import annotations

import json
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import c2pa

from curate.errors import UsageError, WorkError
from render import boxes
from render.keys import trusted_roots
from render.manifest import LABEL, MIME, Source, first_line, sidecar_path

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
    """Not read by this version: always None."""
    subject: str | None = None
    basis: str | None = None
    signer: str | None = None
    model_sha256: str | None = None
    details: tuple[str, ...] = ()
    """Codes of the failed checks, C2PA 2.x."""


def verify(path: Path) -> Verification:
    """Who made a video, from what, and whether it is untouched. Raises UsageError if there is no such file."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise WorkError(f"{path}: cannot be read ({error.strerror})") from None
    mime = MIME.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "video/mp4"
    try:
        with path.open("rb") as stream, c2pa.Reader(mime, stream, context=_context()) as reader:
            return _judge(path, json.loads(reader.json()), reader.get_validation_state())
    except c2pa.C2paError as error:
        return _without_manifest(path, first_line(error))


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
