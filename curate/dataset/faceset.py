"""Faceset folder: manifest, parts, crops, table and selection. Every file is written whole or not at all."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w
from numpy.typing import NDArray

from curate.dataset import corrections, selection_file
from curate.dataset.links import check_link, inside
from curate.errors import UsageError, WorkError
from curate.records import checked, record, safe_name
from curate.runtime.files import atomic
from curate.safe_io import DAMAGED, one_line, read_arrow, read_faces, read_groups, read_parquet, stacked
from curate.schema import IDENTITY, part_schema, table_schema
from curate.settings import Grouping, Settings
from curate.types import Anchor, Clip, Image, Subject
from curate.words import quoted

FORMAT = 2
"""Version of the manifest. 2: clips have a size in bytes."""
KNOWN = ("face_id", "kept")
"""Columns of the table without which a row means nothing."""
MANIFEST = "faceset.toml"
PART = re.compile(r"(.+)-(\d{4,})\.parquet")
"""A part's file: clip, number of the segment."""
ROWS = 50_000
"""Rows of the table that are written at a time."""


@dataclass(frozen=True)
class Faceset:
    """A faceset on disk. Cheap to make: holds the manifest only."""

    folder: Path
    subject: Subject | None
    clips: tuple[Clip, ...]
    settings: Settings
    persons: tuple[int, ...] = ()
    """People that were named with --person and are not in the anchor yet."""
    references: tuple[tuple[float, ...], ...] = ()
    """Identity vectors of --reference photos."""
    merged: tuple[Subject, ...] = ()
    """Basis and evidence of facesets of the same subject that were merged into this one."""
    grouping: Grouping = field(default_factory=Grouping)
    anchor: Anchor | None = None
    """Who the subject is; None: not decided yet, or a faceset of before there were anchors."""
    only: frozenset[str] | None = None
    """Ids of the faces whose rows `table` reads, for tables that do not fit in memory; None: all."""

    @property
    def table_path(self) -> Path:
        """faces.parquet."""
        return self.folder / "faces.parquet"

    @property
    def selection_path(self) -> Path:
        """selection.parquet."""
        return self.folder / "selection.parquet"

    @property
    def reports(self) -> Path:
        """Folder of the pages. Raises WorkError if a link leads out of the faceset."""
        check_link(self.folder, self.folder / "reports")
        return self.folder / "reports"

    def part_path(self, key: str) -> Path:
        """Part of the segment `key`."""
        return self.folder / "parts" / f"{key}.parquet"

    def parts(self) -> dict[str, list[Path]]:
        """All parts, current or stale, by their clip's name and in order."""
        found: dict[str, list[tuple[int, Path]]] = {}
        for path in (self.folder / "parts").glob("*.parquet"):
            if match := PART.fullmatch(path.name):
                found.setdefault(match[1], []).append((int(match[2]), path))
        return {name: [path for _, path in sorted(numbered)] for name, numbered in found.items()}

    def table(self, columns: Sequence[str] | None = None, kept: bool = False) -> pd.DataFrame:
        """faces.parquet as a DataFrame in order of clip, frame and face; vectors are (n,) float32 arrays.

        `kept`: the subject's faces alone, which takes less memory where others are seen too.
        """
        with self.table_there():
            if self.only is not None:
                return read_faces(self.table_path, self.only, columns or table_schema().names, kept)
            rows = [("kept", "==", True)] if kept else None
            return read_parquet(self.table_path, columns or None, table_schema(), KNOWN, rows)

    @contextmanager
    def table_there(self) -> Iterator[None]:
        """Add the remedy to the error of a missing or damaged table."""
        again = f"rebuild it from the parts with faceset curate {quoted(self.folder)}"
        if not self.table_path.is_file():
            raise WorkError(f"{self.folder} has no faces.parquet: {again}")
        try:
            yield
        except WorkError as error:
            raise WorkError(f"{error}: {again}") from None

    def selection(self) -> pd.DataFrame:
        """selection.parquet in order of rank, with the columns of `curate.schema.SELECTION_COLUMNS`."""
        return selection_file.read(self.selection_path)

    def selection_options(self) -> dict[str, Any]:
        """How the selection was made: budget, cover, floors, weights, seed, target; empty where it does not say."""
        return selection_file.read_metadata(self.selection_path, selection_file.OPTIONS)

    def selected(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The table's rows of the selected faces, in order of rank, with the selection's columns."""
        wanted = None if columns is None else sorted({"face_id", *columns})
        chosen = self.selection()
        own = replace(self, only=frozenset(chosen["face_id"]) if self.only is None else self.only)
        try:
            rows = chosen.merge(own.table(wanted), on="face_id", how="inner", validate="one_to_one")
        except pd.errors.MergeError:
            raise WorkError(
                f"{self.folder} contains a face twice: rebuild its table with faceset curate {quoted(self.folder)}"
            ) from None
        return rows.sort_values("rank", ignore_index=True)

    def landmarks(self, face_ids: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Face id to landmarks (478, 3) or (68, 3), frame pixels, out of the parts, or as they were corrected."""
        wanted, found = set(face_ids), dict[str, NDArray[np.float32]]()
        for path in sorted((self.folder / "parts").glob("*.parquet")):
            if wanted.isdisjoint(read_arrow(path, ["face_id"], part_schema())["face_id"].to_pylist()):
                continue
            part = read_parquet(path, ("face_id", "landmarks"), part_schema())
            for face, points in zip(part["face_id"], part["landmarks"], strict=True):
                if face in wanted and points is not None and len(points) % 3 == 0:
                    found[face] = points.reshape(-1, 3)
        return found | corrections.landmarks(self.folder, found)

    def crop(self, path: str) -> Image:
        """Crop at a path from the table: (S, S, 3) uint8 RGB."""
        target = inside(self.folder, path)
        try:
            image = cv2.imread(str(target), cv2.IMREAD_COLOR) if is_whole(target) else None
        except DAMAGED:
            image = None
        if image is None:
            raise WorkError(
                f"crop {target} cannot be read: restore it with faceset prune {quoted(self.folder)} --restore"
            )
        return np.ascontiguousarray(image[:, :, ::-1]).astype(np.uint8, copy=False)

    def identity(self) -> NDArray[np.float32]:
        """(128,) mean identity vector of the subject's kept faces."""
        total, count = self._sums()
        return np.asarray(total.sum(axis=0) / count.sum(), np.float32)

    def looks(self) -> NDArray[np.float32]:
        """(L, 128) mean identity vector of the kept faces of each look: of those that are nearest to it."""
        total, count = self._sums()
        return np.asarray(total[count > 0] / count[count > 0, None], np.float32)

    def _sums(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Sums (L, 128) of the kept faces' vectors by the nearest look of the anchor, and how many (L,) they are."""
        known = self.anchor is not None and self.anchor.identifier == self.settings.identifier
        looks = np.array(self.anchor.looks if self.anchor is not None and known else [[0.0] * IDENTITY])
        total, count = np.zeros(looks.shape), np.zeros(len(looks), np.int64)
        with self.table_there():
            for rows in read_groups(self.table_path, ["identity", "kept"], table_schema(), KNOWN):
                vectors = stacked(self.table_path, rows.filter(rows["kept"])["identity"].drop_null(), IDENTITY)
                apart = np.stack([np.linalg.norm(vectors - look, axis=1) for look in looks], axis=1)
                nearest = apart.argmin(axis=1)
                for look in range(len(looks)):
                    total[look] += vectors[nearest == look].sum(axis=0, dtype=np.float64)
                count += np.bincount(nearest, minlength=len(looks))
        if not count.any():
            raise WorkError(f"{self.folder} has no kept face with an identity vector")
        return total, count

    def save(self) -> None:
        """Write the manifest."""
        clips = [{k: v for k, v in asdict(c).items() if v is not None} for c in self.clips]
        subject = {k: v for k, v in asdict(self.subject).items() if v is not None} if self.subject else {}
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "subject": subject,
            "settings": asdict(self.settings),
            "clips": clips,
        }
        if self.persons:
            manifest["person"] = list(self.persons)
        if self.references:
            manifest["references"] = [list(v) for v in self.references]
        if self.anchor is not None:
            manifest["anchor"] = asdict(self.anchor)
        if self.merged:
            manifest["merged"] = [{k: v for k, v in asdict(s).items() if v is not None} for s in self.merged]
        if self.grouping != Grouping():
            manifest["people"] = asdict(self.grouping)
        _keep_older(self.folder / MANIFEST)
        with atomic(self.folder / MANIFEST) as temporary:
            temporary.write_text(tomli_w.dumps(manifest), encoding="utf-8")

    def changed(self, **changes: Any) -> Faceset:
        """A copy with other fields, saved."""
        other = replace(self, **changes)
        other.save()
        return other


def is_faceset(folder: Path) -> bool:
    """Whether a folder holds a manifest."""
    return (folder / MANIFEST).is_file()


def check_new(folder: Path) -> None:
    """Raise UsageError if `folder` holds something that is not a faceset."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "is a faceset already" if (folder / MANIFEST).is_file() else "exists and is not a faceset"
        raise UsageError(f"--out {folder}: {what}; name another folder")


def create(folder: Path, subject: Subject | None, settings: Settings) -> Faceset:
    """A new empty faceset; raises UsageError if the folder holds something else, WorkError if it cannot be written."""
    check_new(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        faceset = Faceset(folder, subject, (), settings)
        faceset.save()
    except OSError as error:
        raise WorkError(f"--out {folder}: cannot be written ({error.strerror}); name another folder") from None
    return faceset


def open_faceset(folder: Path | str) -> Faceset:
    """The faceset in `folder`, one of an older format too; raises UsageError if there is none or its format is newer.

    An older manifest is migrated in memory; the next `save` writes it, and keeps the old one as faceset.toml.FORMAT.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise UsageError(
            f"{folder} is not a faceset (it has no {MANIFEST}): create one with faceset curate FOOTAGE --out "
            f"{quoted(folder)}"
        )
    try:
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
        number = checked(manifest["format"], int, "format")
        if 1 <= number <= FORMAT:
            for older in range(number, FORMAT):
                MIGRATIONS[older](manifest)
            return _of(folder, manifest)
    except (*DAMAGED, UsageError) as error:
        raise WorkError(
            f"{path} is damaged ({one_line(error)}): restore it, or curate the footage into a new folder"
        ) from None
    raise UsageError(
        f"{folder} has format {repr(number)[:20]}; this version of faceset reads up to format {FORMAT}: update faceset"
    )


def _of(folder: Path, manifest: dict[str, Any]) -> Faceset:
    """What a manifest says. Raises one of DAMAGED, or UsageError for settings that no flag could give."""
    named = manifest.get("subject", {}).get("name")
    clips = tuple(record(Clip, c, strict=False) for c in manifest.get("clips", []))
    for clip in clips:
        _check_clip(clip)
    if len({clip.name for clip in clips}) < len(clips):
        raise ValueError("two clips have the same name")
    return Faceset(
        folder,
        record(Subject, {"basis": None, **manifest["subject"]}) if named else None,
        clips,
        record(Settings, manifest["settings"], strict=False),
        _persons(checked(manifest.get("person", ()), int | tuple[int, ...], "person")),
        checked(manifest.get("references", []), tuple[tuple[float, ...], ...], "references"),
        tuple(record(Subject, {"basis": None, **values}) for values in manifest.get("merged", [])),
        record(Grouping, manifest.get("people", {}), strict=False),
        _anchor(manifest["anchor"]) if "anchor" in manifest else None,
    )


def _persons(value: int | tuple[int, ...]) -> tuple[int, ...]:
    """The people of a manifest, which named one by its number before there were anchors."""
    return (value,) if isinstance(value, int) else value


def _anchor(values: Any) -> Anchor:
    anchor = record(Anchor, values)
    if not anchor.looks or any(len(look) != IDENTITY or not all(map(math.isfinite, look)) for look in anchor.looks):
        raise ValueError("the anchor has no valid look")
    return anchor


def _sizes(manifest: dict[str, Any]) -> None:
    """1 to 2: a clip's size is not known until it is probed again."""
    for clip in manifest.get("clips", []):
        clip.setdefault("size", 0)


MIGRATIONS: dict[int, Callable[[dict[str, Any]], None]] = {1: _sizes}
"""What makes a manifest of a format one of the next."""


def _keep_older(path: Path) -> None:
    """Keep the manifest at `path` under the number of its format, if that is an older one."""
    try:
        older = tomllib.loads(path.read_text(encoding="utf-8"))["format"]
    except DAMAGED:
        return
    if isinstance(older, int) and older < FORMAT:
        with atomic(path.with_name(f"{MANIFEST}.{older}")) as temporary:
            temporary.write_bytes(path.read_bytes())


def is_whole(path: Path) -> bool:
    """Whether a JPEG or PNG file ends as it must; decoders show the rest of a truncated one as grey."""
    try:
        with path.open("rb") as stream:
            kind = stream.read(4)
            stream.seek(-min(path.stat().st_size, 12), 2)
            end = stream.read()
    except OSError:
        return False
    if kind[:2] == b"\xff\xd8":
        return end.rstrip(b"\0").endswith(b"\xff\xd9")
    return bool(kind) and (kind != b"\x89PNG" or end.endswith(b"IEND\xaeB`\x82"))


def without_crop(faceset: Faceset) -> pd.DataFrame:
    """Selected faces without their whole crop: face_id, clip, segment, frame, crop. Empty if no crops are written.

    Raises WorkError where there is no selection.
    """
    rows = faceset.selected(["face_id", "clip", "segment", "frame", "crop"])
    if not faceset.settings.crop_size:
        return rows.iloc[:0]
    there = [isinstance(crop, str) and is_whole(faceset.folder / crop) for crop in rows["crop"]]
    return rows[~np.array(there, bool)].reset_index(drop=True)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically."""
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_selection(
    faceset: Faceset,
    rows: pd.DataFrame,
    options: dict[str, Any] | None = None,
    outcome: dict[str, Any] | None = None,
) -> None:
    """Write selection.parquet atomically, with JSON of how it was made and of what it is worth.

    `options` are those of `Faceset.selection_options`, `outcome` is that of `curate.select.outcome.to_json`; without it
    what the selection is worth is computed when somebody asks.
    """
    table = selection_file.to_arrow(rows, {selection_file.OPTIONS: options, selection_file.OUTCOME: outcome})
    write_table(faceset.selection_path, table)
    (faceset.folder / selection_file.LAST).unlink(missing_ok=True)


def write_faces(faceset: Faceset, pieces: Iterable[pa.Table]) -> None:
    """Write faces.parquet atomically from pieces of the table in order, ROWS rows at a time."""
    held: list[pa.Table] = []
    with (
        atomic(faceset.table_path) as temporary,
        pq.ParquetWriter(temporary, table_schema(), compression="zstd") as writer,
    ):
        for piece in pieces:
            held.append(piece)
            if sum(map(len, held)) >= ROWS:
                writer.write_table(pa.concat_tables(held))
                held.clear()
        writer.write_table(pa.concat_tables([*held, table_schema().empty_table()]))


LARGEST = 1e10
"""Size, frames, rate and seconds of a clip are below this: 300 years."""


def _check_clip(clip: Clip) -> None:
    """Raise ValueError for a clip whose name leads out of the faceset, or whose numbers are invalid."""
    if not safe_name(clip.name):
        raise ValueError(f"{clip.name!r} is not a valid clip name")
    numbers = [clip.width, clip.height, clip.frames, clip.fps, clip.duration, clip.start or 0, clip.end or 0]
    if not all(math.isfinite(n) and 0 <= n <= LARGEST for n in numbers):
        raise ValueError(f"clip {clip.name} has a number that is negative or too large")
