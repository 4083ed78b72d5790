"""Export of selected faces in another program's format, together with the basis for their use."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset import consent, corrections
from curate.dataset.faceset import Faceset, open_faceset
from curate.errors import UsageError, WorkError
from curate.exchange import cutting, dfl, faceswap, pak, plain
from curate.exchange.importing import records_of
from curate.exchange.layout import dfl_matrix, faceswap_matrix, ibug68
from curate.exchange.record import BASIS, PICTURES
from curate.face.align import hull_mask
from curate.types import Failure, Floats, Image, Progress, Subject, no_progress

Format = Literal["dfl", "faceswap", "folder", "webdataset"]
FORMATS: tuple[Format, ...] = ("dfl", "faceswap", "folder", "webdataset")
ALIGNED = ("dfl", "faceswap")
"""Formats whose faces are cropped again, in the program's own alignment."""
MESH = 468
"""Points of a face mesh; other landmarks are no outline of the whole face."""
UNOCCLUDED = 0.9
"""FaceOcclusionPrevention from which the outline is taken for the face."""
FRAME_NAMES = ("number", "clip")
SIZE = 512
"""Side in pixels of faces that are cropped again; the default of both programs."""


@dataclass
class Exported:
    """What an export wrote."""

    out: str
    format: str
    faces: int = 0
    kept: int = 0
    """Of those, pictures with unchanged bytes: our crops, or pictures made by the same program."""
    from_footage: int = 0
    """Of those, cropped again from the footage."""
    from_crops: int = 0
    """Of those, cropped from our crops, because the footage is gone."""
    frame_names: str = "clip"
    """How frames of videos are named."""
    failed: list[Failure] = field(default_factory=list)


def export(
    folder: Path,
    out: Path,
    program: str,
    everything: bool = False,
    pack: bool = False,
    size: int | None = None,
    frame_names: str | None = None,
    progress: Progress = no_progress,
) -> Exported:
    """Write the selection, or all kept faces, into the new folder `out`: whole or not at all.

    `size` is the side of the faces in pixels, for dfl and faceswap; None: SIZE. `frame_names` says how the metadata
    name the frame of a video: `number` (00001.png) or `clip` (d9_000001.mp4); None: as the program's own extractor
    does, `number` for dfl and `clip` for faceswap.

    Raises ConsentError for a faceset that names no subject or basis, UsageError and WorkError.
    """
    _check_call(out, program, pack, size, frame_names)
    out = out.resolve() if out.is_symlink() else out
    faceset = open_faceset(folder)
    subject = consent.require(faceset.subject, str(folder))
    rows = _rows(faceset, everything)
    done = Exported(str(out), program, frame_names=frame_names or ("number" if program == "dfl" else "clip"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise WorkError(f"--out {out}: cannot be written ({error.strerror}); name another folder") from None
    try:
        _WRITERS[program](faceset, rows, stage, done, pack, size or SIZE, progress)
        if not done.faces:
            reason = f": {done.failed[0].path}: {done.failed[0].reason}" if done.failed else ""
            raise WorkError(f"no face of {folder} could be exported{reason}")
        (stage / BASIS).write_text(json.dumps(_basis(subject, faceset, done), indent=2) + "\n", encoding="utf-8")
        os.chmod(stage, 0o755)
        if out.exists():
            out.rmdir()
        os.replace(stage, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return done


def _check_call(out: Path, program: str, pack: bool, size: int | None, frame_names: str | None) -> None:
    if program not in get_args(Format):
        raise UsageError(f"--format {program}: must be one of {', '.join(FORMATS)}")
    if pack and program != "dfl":
        raise UsageError(f"--pak: packs exist only for --format dfl, not {program}")
    if frame_names not in (None, *FRAME_NAMES):
        raise UsageError(f"--frame-names {frame_names}: must be {' or '.join(FRAME_NAMES)}")
    for flag, value in (("--size", size), ("--frame-names", frame_names)):
        if value is not None and program not in ALIGNED:
            raise UsageError(f"{flag}: has no effect with --format {program}, which copies the crops as they are")
    if size is not None and not 64 <= size <= 4096:
        raise UsageError(f"--size {size}: must be 64 to 4096 pixels")
    if (out.is_symlink() and not out.exists()) or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise UsageError(f"--out {out}: already exists; name a new folder")


def _rows(faceset: Faceset, everything: bool) -> pd.DataFrame:
    """The table's rows that are exported, in order of rank, or of time with --all."""
    if not everything:
        return faceset.selected()
    table = faceset.table()
    return table[table["kept"]].reset_index(drop=True)


def _basis(subject: Subject, faceset: Faceset, done: Exported) -> dict[str, Any]:
    """Who is shown, and on which basis the face may be used; it goes with the faces."""
    return {
        "subject": subject.name,
        "basis": subject.basis,
        "evidence": Path(subject.evidence).name if subject.evidence else None,
        "evidence_sha256": subject.evidence_sha256,
        "faceset": faceset.folder.resolve().name,
        "format": done.format,
        "faces": done.faces,
        "note": "Use these faces on this basis only, and mark everything made with them as synthetic.",
    }


def _dfl(
    faceset: Faceset, rows: pd.DataFrame, out: Path, done: Exported, pack: bool, size: int, progress: Progress
) -> None:
    """Aligned JPEG files with DeepFaceLab's metadata, or one pack of them."""
    written: list[Path] = []

    def make(row: cutting.Row, frame: Image | None, mesh: Floats, source: str) -> tuple[str, bytes]:
        points = ibug68(mesh)
        matrix = dfl_matrix(points, size)
        values = dfl.described(points, matrix, source, _box(row), _mask(row, mesh, matrix, size))
        return ".jpg", dfl.with_metadata(cutting.jpeg(cutting.cut(faceset, row, frame, matrix, size)), values)

    def write(name: str, data: bytes) -> None:
        (out / name).write_bytes(data)
        written.append(out / name)

    _aligned(faceset, rows, done, "dfl", make, write, progress)
    if pack and written:
        pak.write(out / pak.NAME, written)
        for path in written:
            path.unlink()


def _mask(row: cutting.Row, mesh: Floats, matrix: NDArray[np.float64], size: int) -> Image | None:
    """(size, size) uint8: the face in DeepFaceLab's crop, from the mesh's outline; None without a mesh, or if something
    is in front of the face, which the outline would include."""
    if len(mesh) < MESH or not row["FaceOcclusionPrevention"] >= UNOCCLUDED:
        return None
    points = mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(np.rint(255 * hull_mask(points, size, size)), np.uint8)


def _faceswap(
    faceset: Faceset, rows: pd.DataFrame, out: Path, done: Exported, _: bool, size: int, progress: Progress
) -> None:
    """Aligned PNG files with faceswap's header."""
    clips, outlines = cutting.clips_of(faceset), corrections.outlines(faceset.folder)

    def make(row: cutting.Row, frame: Image | None, mesh: Floats, source: str) -> tuple[str, bytes]:
        """Suffix and bytes of one face."""
        points = ibug68(mesh)
        clip, face = clips[row["clip"]], row["face_id"]
        matrix = faceswap_matrix(points, size)
        shape = (clip.height, clip.width) if frame is None else frame.shape[:2]
        place = (source, int(face.rsplit("-", 1)[1]), clip.kind == "video", (int(shape[0]), int(shape[1])))
        found = faceswap.described(points, _box(row), f"{face}.png", place, outlines.get(face))
        return ".png", faceswap.with_header(cutting.png(cutting.cut(faceset, row, frame, matrix, size)), found)

    def write(name: str, data: bytes) -> None:
        (out / name).write_bytes(data)

    _aligned(faceset, rows, done, "faceswap", make, write, progress)


def _aligned(
    faceset: Faceset,
    rows: pd.DataFrame,
    done: Exported,
    program: str,
    make: Callable[[cutting.Row, Image | None, Floats, str], tuple[str, bytes]],
    write: Callable[[str, bytes], None],
    progress: Progress,
) -> None:
    """Each face through `make` and `write`; what was imported from the same program goes out as it came in."""
    clips = cutting.clips_of(faceset)
    records = records_of(faceset)
    landmarks = faceset.landmarks(rows["face_id"])
    used: set[str] = set()
    for number, (row, frame) in enumerate(cutting.with_frames(faceset, rows)):
        progress("exporting", number, len(rows))
        face = row["face_id"]
        try:
            original = _original(faceset, records, face, program)
            if original is not None:
                name, data = original
                done.kept += 1
            else:
                clip = clips[row["clip"]]
                source = cutting.frame_name(clip, row["frame"], done.frame_names)
                suffix, data = make(row, frame, landmarks[face], source)
                name = face + suffix
                done.from_footage += frame is not None
                done.from_crops += frame is None
        except WorkError as error:
            done.failed.append(Failure(face, str(error)))
            continue
        name = face + Path(name).suffix if name in used else name
        used.add(name)
        write(name, data)
        done.faces += 1
    progress("exporting", len(rows), len(rows))


def _original(faceset: Faceset, records: pd.DataFrame | None, face: str, program: str) -> tuple[str, bytes] | None:
    """The picture as the same program had aligned it: file name and bytes."""
    if records is None or face not in records.index:
        return None
    record = records.loc[face]
    if record["program"] != program or record["landmarks"] is None or record["face_type"] == "frame":
        return None
    file = str(record["file"])
    paths = [p / file for p in sorted((faceset.folder / PICTURES).glob("*/")) if (p / file).is_file()]
    return (file.replace("/", "_"), paths[0].read_bytes()) if paths else None


def _box(row: cutting.Row) -> tuple[float, float, float, float]:
    return row["x"], row["y"], row["x"] + row["width"], row["y"] + row["height"]


def _plain(
    write: Callable[[Path, list[plain.Item]], None],
) -> Callable[[Faceset, pd.DataFrame, Path, Exported, bool, int, Progress], None]:
    """A writer of our crops, whose bytes are kept."""

    def run(
        faceset: Faceset, rows: pd.DataFrame, out: Path, done: Exported, _: bool, __: int, progress: Progress
    ) -> None:
        """Write the faces, one after the other."""
        landmarks = faceset.landmarks(rows["face_id"])
        items: list[plain.Item] = []
        for row in rows.to_dict("records"):
            try:
                items.append(plain.item(faceset, row, np.asarray(landmarks[row["face_id"]])))
            except WorkError as error:
                done.failed.append(Failure(row["face_id"], str(error)))
        if items:
            write(out, items)
        done.faces = done.kept = len(items)
        progress("exporting", len(rows), len(rows))

    return run


_WRITERS: dict[str, Callable[[Faceset, pd.DataFrame, Path, Exported, bool, int, Progress], None]] = {
    "dfl": _dfl,
    "faceswap": _faceswap,
    "folder": _plain(plain.write_folder),
    "webdataset": _plain(plain.write_shards),
}
