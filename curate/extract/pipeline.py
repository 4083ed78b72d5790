"""The pipeline of `faceset curate`: from footage to a faceset's table, step by step."""

from __future__ import annotations

import functools
import logging
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from curate.dataset import mirror, selection_file
from curate.dataset.consent import make_subject
from curate.dataset.faceset import Faceset, check_new, create, is_faceset, open_faceset
from curate.dataset.lock import lock
from curate.errors import FacesetError, NobodyError, UsageError, WorkError
from curate.extract import account, anchor, correct
from curate.extract.census import Person, people
from curate.extract.engine import any_done, extract, tell_disk
from curate.extract.intake import probe_all
from curate.extract.naming import asked, reference_vector, together
from curate.extract.segment import part_info
from curate.extract.table import Count, build
from curate.face.backends import DETECTORS, IDENTIFIERS, LANDMARKERS, weights
from curate.footage import cube
from curate.runtime import disk, jobs
from curate.runtime.files import file_sha256
from curate.settings import BASES, Settings
from curate.types import Clip, Failure, Progress, Subject, no_progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A call of `faceset curate`; None: as the faceset has it, or the default."""

    footage: tuple[str, ...]
    out: Path | None = None
    subject: str | None = None
    basis: str | None = None
    evidence: Path | None = None
    references: tuple[Path, ...] = ()
    person: tuple[int, ...] = ()
    """People of `faceset people` who are the subject, a look each."""
    settings: tuple[tuple[str, Any], ...] = ()
    """Fields of Settings that were given."""
    grouping: tuple[tuple[str, Any], ...] = ()
    """Fields of Grouping that were given."""
    workers: int = 1
    engine: str = "local"
    force: bool = False
    gpus: float = 0.0
    """Share of a GPU that a segment needs on Ray."""
    allow_remote: bool = False
    """Open the URLs that the faceset's manifest names, not only those in `footage`."""

    def __post_init__(self) -> None:
        """Texts that name files become paths, and one of several a tuple of one."""
        for name, kind in (("footage", str), ("references", Path)):
            given = getattr(self, name)
            listed = (given,) if isinstance(given, str | Path) else given
            object.__setattr__(self, name, tuple(map(kind, listed)))
        for name in ("out", "evidence"):
            if isinstance(given := getattr(self, name), str):
                object.__setattr__(self, name, Path(given))


@dataclass(frozen=True)
class Curated:
    """The result of an extraction."""

    faceset: Faceset
    clips: tuple[dict[str, Any], ...]
    """path, announced, decoded, frames (read), faces, kept, seconds of each clip."""
    failed: tuple[Failure, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    """Sentences about what reading did, and what it could not read."""
    disk: int = 0
    """Bytes of the faceset."""

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """The whole table, read when it is first asked for."""
        return self.faceset.table()

    @functools.cached_property
    def people(self) -> tuple[tuple[Person, ...], tuple[str, ...]]:
        """The people of the table, and notes about them."""
        return people(self.faceset)

    @property
    def minutes(self) -> float:
        """Footage in minutes."""
        return float(sum(c["seconds"] for c in self.clips)) / 60

    def summary(self) -> dict[str, Any]:
        """The JSON object of the command, as far as extraction knows it."""
        frames = sum(c["frames"] for c in self.clips)
        return {
            "faceset": str(self.faceset.folder),
            "clips": list(self.clips),
            "frames": frames,
            "skipped": sum(c["skipped"] for c in self.clips),
            "faces": sum(c["faces"] for c in self.clips),
            "kept": sum(c["kept"] for c in self.clips),
            "people": [person.to_json() for person in self.people[0]],
            "minutes": round(self.minutes, 4),
            "failed": [{"path": f.path, "reason": f.reason} for f in self.failed],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
            "disk": self.disk,
            "fps": round(frames / max(self.seconds, 1e-9), 2),
        }


def curate(request: Request, progress: Progress = no_progress) -> Curated:
    """The faceset with its table remade, after everything that is missing was extracted.

    A new folder is removed if no face was found at all. A clip that failed keeps the segments that are done, and is
    among `failed`; the next call tries the other segments again.
    """
    began = time.monotonic()
    jobs.check(request.engine, request.workers)
    request = _own_faceset(request)
    out = request.out
    if out is None:
        raise UsageError("--out is missing: give the folder of the faceset")
    old = open_faceset(out) if is_faceset(out) else None
    if old is None:
        check_new(out)
    subject = _subject(request, old)
    settings = _settings(request, old)
    clips, failed, named = probe_all(request.footage, old, progress)
    references = tuple(reference_vector(path, settings) for path in request.references)
    faceset = old or create(out, subject, settings)
    try:
        with lock(faceset):
            before, (faceset, said) = faceset, asked(faceset, request.person, request.references, references)
            faceset = faceset.changed(
                subject=subject,
                settings=settings,
                clips=_with_lut(clips, settings),
                grouping=replace(faceset.grouping, **dict(request.grouping)),
            )
            faceset = _extracted(faceset, request, None if request.allow_remote else named, failed, progress)
            parts = faceset.parts()
            correct.again(faceset)
            counts = _built(faceset, before, request, progress)
            faceset = open_faceset(out)
    except FacesetError:
        if old is None and not _holds_faces(faceset):
            shutil.rmtree(out, ignore_errors=True)
        raise
    for sentence in said:
        log.warning("%s: %s", out, sentence)
    clips_told = tuple(_clip_summary(c, parts.get(c.name, []), counts.get(c.name, Count())) for c in faceset.clips)
    failed += [Failure(c["path"], "no frame can be decoded") for c in clips_told if not c["decoded"]]
    seconds = time.monotonic() - began
    return Curated(faceset, clips_told, tuple(failed), seconds, account.notes(faceset), disk.used(out))


def _extracted(
    faceset: Faceset, request: Request, addresses: Collection[str] | None, failed: list[Failure], progress: Progress
) -> Faceset:
    """The faceset with its usable clips after extraction; clips that fail are added to `failed`."""
    tell_disk(faceset)
    failed += extract(faceset, request.workers, request.engine, progress, gpus=request.gpus, addresses=addresses)
    bad, parts = {f.path for f in failed}, faceset.parts()
    usable = tuple(c for c in faceset.clips if c.path not in bad or any_done(faceset, c, parts))
    faceset = faceset.changed(clips=usable)
    if not faceset.clips:
        raise WorkError(f"none of the footage is usable: {failed[0].reason}")
    return faceset


def _with_lut(clips: Sequence[Clip], settings: Settings) -> tuple[Clip, ...]:
    return tuple(replace(clip, lut=settings.lut if clip.kind == "video" else "") for clip in clips)


def _built(faceset: Faceset, before: Faceset, request: Request, progress: Progress) -> dict[str, Count]:
    """Faces by clip of the table, remade. Where the subject of the call is not in it, the subject stays as before."""
    try:
        return build(faceset, request.workers, progress, request.engine)
    except NobodyError:
        faceset.changed(references=before.references, persons=before.persons, anchor=before.anchor)
        raise


def _holds_faces(faceset: Faceset) -> bool:
    """Whether any part has a row: then the folder is worth keeping, whatever went wrong after it."""
    infos = (part_info(p) for p in (faceset.folder / "parts").glob("*.parquet"))
    return any(info is not None and info.rows for info in infos)


def _own_faceset(request: Request) -> Request:
    """The request with the faceset as its folder, where footage names a faceset: `faceset curate DIR [MORE...]`."""
    own = [f for f in request.footage if is_faceset(Path(f))]
    if not own:
        return request
    if len(own) > 1 or (request.out is not None and request.out.resolve() != Path(own[0]).resolve()):
        raise UsageError(f"{own[-1]} is a faceset, not footage: to resume it, give it alone or as --out")
    return replace(request, out=Path(own[0]), footage=tuple(f for f in request.footage if f != own[0]))


def _subject(request: Request, old: Faceset | None) -> Subject | None:
    had = old.subject if old else None
    if had is None and (request.subject is None or request.basis is None):
        missing = "--subject" if request.subject is None else "--basis"
        raise UsageError(
            f"{missing} is missing: name the subject and the basis on which the face may be used, for example "
            f"--subject 'Jane Doe' --basis release --evidence release.pdf (bases: {', '.join(BASES)})"
        )
    if had is not None and request.subject not in (None, had.name) and not request.force:
        raise UsageError(
            f"--subject {request.subject}: {request.out} contains the face of {had.name}: give another --out"
        )
    if request.subject is None and request.basis is None and request.evidence is None:
        return had
    name = request.subject or (had.name if had else "")
    basis = request.basis or (had.basis if had and had.basis else "")
    made = make_subject(name, basis, request.evidence)
    if request.evidence is None and had is not None and had.basis == made.basis:
        made = replace(made, evidence=had.evidence, evidence_sha256=had.evidence_sha256)
    if made.basis == "release" and not made.evidence_sha256:
        log.warning(
            "a release without a document does not allow training or rendering: run faceset curate %s --evidence "
            "RELEASE.pdf to add the document", request.out,
        )  # fmt: skip
    return made


def _settings(request: Request, old: Faceset | None) -> Settings:
    settings = replace(old.settings if old else Settings(), **dict(request.settings))
    for flag, name, table in (
        ("--detector", settings.detector, DETECTORS),
        ("--landmarker", settings.landmarker, LANDMARKERS),
        ("--identifier", settings.identifier, IDENTIFIERS),
    ):
        if name not in table:
            raise UsageError(f"{flag} {name}: must be one of {', '.join(table)}")
    models = weights(settings)
    if settings.lut:
        settings = replace(settings, lut=cube.read(settings.lut).path)
        models["lut"] = file_sha256(Path(settings.lut))
    settings = replace(settings, models=models)
    if old and old.settings.digest() != settings.digest():
        log.warning("%s: the settings have changed, so all footage is processed again", old.folder)
    return settings


def _clip_summary(clip: Clip, parts: Sequence[Path], count: Count) -> dict[str, Any]:
    frames = account.of_clip(clip, parts)
    return {
        "path": clip.path,
        "name": clip.name,
        "announced": frames.announced,
        "decoded": frames.decoded,
        "frames": frames.read,
        "skipped": frames.skipped,
        "faces": count.faces,
        "kept": count.kept,
        "seconds": round(clip.seconds, 4),
    }


def split_person(faceset: Faceset, person: int) -> Faceset:
    """The faceset with `same_person` lowered until this person comes apart into two, each a tenth of it or more.

    People who were joined by name come apart without that. Where it is the subject, the larger half is the subject
    from then on. Raises UsageError where it does not come apart at 0.2 or above. The selection, now void, is removed;
    its options stay.
    """
    with lock(faceset):
        limit, larger = anchor.parted(faceset, person)
        mine = bool(faceset.table(["person", "kept"]).query("kept")["person"].eq(person).any())
        wanted = replace(faceset, grouping=replace(faceset.grouping, same_person=limit))
        if mine:
            wanted = replace(wanted, anchor=larger, references=(), persons=())
        return _remade(faceset, wanted)


def choose_person(faceset: Faceset, persons: tuple[int, ...]) -> Faceset:
    """The faceset with these people of its table as its subject, a look each, and its table remade.

    The selection, now void, is removed; its options stay. Nothing changes where it is the subject already.
    """
    with lock(faceset):
        kept = faceset.table(["person", "kept"]).query("kept")["person"]
        wanted = replace(faceset, references=(), persons=(), anchor=anchor.named(faceset, persons))
        if set(kept) == set(persons):
            return faceset
        said = together(faceset, persons)
        made = _remade(faceset, wanted)
    for sentence in said:
        log.warning("%s: %s", faceset.folder, sentence)
    return made


def _remade(faceset: Faceset, wanted: Faceset) -> Faceset:
    """The faceset with another subject or grouping: its table is remade, or all stays where that fails."""
    try:
        build(wanted.changed())
    except FacesetError:
        faceset.save()
        raise
    selection_file.void(faceset.selection_path)
    mirror.removed(faceset.selection_path)
    return open_faceset(faceset.folder)
