"""Registry of this installation's watermarks and renders: `watermarks.jsonl` in the config folder.

One JSON object per line, added before the render starts and never changed, except by `forget`. That of a render that
fails is withdrawn, unless its pictures (--frames) are there, and entered again when it is resumed. The file never
leaves the machine: a video carries only an identifier, and only those who can read this file can look it up.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from curate.dataset.consent import forgotten_name
from curate.errors import FacesetError, WorkError
from curate.records import record
from curate.runtime.files import write_whole
from render.provenance.keys import config_folder
from render.provenance.watermark_code import IDENTIFIER_BITS, identifier_text, parse_identifier

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Face:
    """A further person whose face a render shows."""

    subject: str
    """Name, or `sha256:...` of it once it was forgotten."""
    basis: str | None


@dataclass(frozen=True)
class Entry:
    """One render in the registry."""

    identifier: str
    """As `render.provenance.watermark_code.identifier_text` writes it."""
    created: str
    """UTC, ISO 8601, seconds."""
    title: str
    """The video's file name."""
    subject: str
    """The person whose face is shown; `sha256:...` of the name once it was forgotten."""
    basis: str | None
    model_sha256: str
    out: str
    """Path of the video."""
    source_sha256s: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    """Watermarks that the footage carried already."""
    others: tuple[Face, ...] = ()
    model: bool = False
    """Whether it is an exported model and no video: its mark is in faces."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everybody whose face is shown."""
        return (self.subject, *(face.subject for face in self.others))


def path() -> Path:
    """Path of the registry."""
    return config_folder() / "watermarks.jsonl"


def new_entry(
    *,
    title: str,
    subject: str,
    basis: str | None,
    model_sha256: str,
    out: str,
    source_sha256s: tuple[str, ...] = (),
    over: tuple[str, ...] = (),
    others: tuple[Face, ...] = (),
    model: bool = False,
    identifier: int | None = None,
) -> int:
    """A new identifier, 48 random bits never used here before, stored on disk when this returns.

    `identifier`: one that was withdrawn, and is entered again unless it is there. Raises WorkError if the config folder
    cannot be written.
    """
    made = Entry("", "", title, subject, basis, model_sha256, out, source_sha256s, over, others, model)
    return _locked(lambda: _append(made, identifier))


def withdraw(identifier: int) -> int:
    """Remove the entry of a render that failed, so that no video has its watermark; the number removed.

    Raises WorkError.
    """
    return _locked(lambda: _rewrite(lambda entry: None if entry.identifier == identifier_text(identifier) else entry))


def find(identifier: int) -> Entry | None:
    """The render of this installation with the watermark `identifier`; None if there is none. Raises WorkError."""
    wanted = identifier_text(identifier)
    return next((entry for entry in _entries() if entry.identifier == wanted), None)


def identifiers() -> list[int]:
    """The watermarks of all renders of this installation. Raises WorkError."""
    return [parse_identifier(entry.identifier) for entry in _entries()]


def models() -> list[int]:
    """The watermarks of all models that this installation exported. Raises WorkError."""
    return [parse_identifier(entry.identifier) for entry in _entries() if entry.model]


def of_subject(subject: str) -> list[Entry]:
    """The renders of this installation with the subject's face. Raises WorkError."""
    return [entry for entry in _entries() if subject in entry.subjects]


def forget(subject: str) -> int:
    """Replace the subject's name, the title and the path by their SHA-256 in all entries of `subject`; their number.

    The identifiers stay, so a render is still recognised as one of this installation. Raises WorkError.
    """
    return _locked(lambda: _forget(subject))


def _append(made: Entry, identifier: int | None) -> int:
    """Add the entry with a new identifier, or the given one, and the time."""
    used = {entry.identifier for entry in _entries()}
    if identifier is not None and identifier_text(identifier) in used:
        return identifier
    while identifier is None or identifier_text(identifier) in used:
        identifier = secrets.randbits(IDENTIFIER_BITS)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    entry = replace(made, identifier=identifier_text(identifier), created=created)
    handle = os.open(path(), os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "rb+") as stream:
        end = stream.seek(0, os.SEEK_END)
        torn = end > 0 and os.pread(stream.fileno(), 1, end - 1) != b"\n"  # a line that a crash cut off
        stream.write(b"\n" * torn + _line(entry))
        stream.flush()
        os.fsync(stream.fileno())
    return identifier


def _forget(subject: str) -> int:
    return _rewrite(lambda entry: _hashed(entry, subject) if subject in entry.subjects else entry)


def _rewrite(change: Callable[[Entry], Entry | None]) -> int:
    """Write all entries again, changed or (None) left out; the number that differ."""
    entries = list(_entries())
    changed = [change(entry) for entry in entries]
    content = b"".join(_line(entry) for entry in changed if entry is not None)
    if path().is_file() and path().read_bytes() != content:  # a damaged line may contain the name too: it is dropped
        write_whole(path(), content, 0o600)
    return sum(a != b for a, b in zip(entries, changed, strict=True))


def _hashed(entry: Entry, subject: str) -> Entry:
    def hidden(name: str) -> str:
        return forgotten_name(name) if name == subject else name

    others = tuple(replace(face, subject=hidden(face.subject)) for face in entry.others)
    return replace(
        entry, subject=hidden(entry.subject), others=others, title=forgotten_name(entry.title),
        out=forgotten_name(entry.out),
    )  # fmt: skip


def _line(entry: Entry) -> bytes:
    return json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n"


def _entries() -> Iterator[Entry]:
    """All entries that can be read; a damaged line is skipped with a warning."""
    try:
        lines = path().read_bytes().splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise WorkError(f"{path()}: cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            parse_identifier(values["identifier"])
            yield record(Entry, values)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, FacesetError) as error:
            log.warning("%s: line %d is damaged and was skipped (%s)", path(), number, type(error).__name__)


def _locked(work: Callable[[], int]) -> int:
    folder = config_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(folder / ".watermarks.lock"):
            return work()
    except OSError as error:
        raise WorkError(
            f"{folder}: the watermark cannot be registered ({error.strerror}); "
            "set FACESET_CONFIG to a folder you can write"
        ) from None
