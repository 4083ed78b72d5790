"""From a run and a video to the finished, signed, reported render.

The video is cut into parts; each is decoded, swapped, composed, marked, encoded and measured on its own (`part.py`), in
this process, in several, or on a Ray cluster: the pixels are the same. What is done lies in a hidden folder beside the
output, and a render that was stopped goes on there. At the end the parts are joined and signed; the video comes last.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from curate.dataset import consent
from curate.errors import UsageError, WorkError
from curate.footage import video
from curate.runtime import jobs
from curate.runtime.files import atomic
from curate.types import Clip, Progress, no_progress
from render import part as work
from render import plan
from render.compositing.compose import RADIUS
from render.compositing.settings import RenderSettings
from render.output import footage_format, mux
from render.output.coding import Coding, check_coding, coding_for
from render.output.png import png
from render.provenance import keys, manifest, mp4_boxes, registry
from render.provenance.watermark import Marker
from render.provenance.watermark_code import identifier_text

if TYPE_CHECKING:
    from reports.artifacts.report import ArtifactReport
    from train.run import Run

log = logging.getLogger(__name__)

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
"""What the disk may say while a render is written."""


@dataclass(frozen=True)
class RenderSummary:
    """What a render wrote."""

    out: str
    report: str
    """The artifact report's page; its figures lie beside it as .json."""
    sidecar: str
    """The manifest as a file of its own."""
    watermark: str
    frames: int
    swapped: int
    """Frames with the face; the others passed through."""
    findings: int
    sound: int
    """Sound and subtitle streams copied."""
    resumed: int
    """Frames that an earlier call had finished."""
    notes: tuple[str, ...]
    """What the figures alone do not say."""
    pixels_sha256: str
    """Of all frames before watermark (each render's own) and encoding: equal for equal pixels."""
    seconds: float
    fps: float
    """Frames rendered a second, everything counted."""


@dataclass(frozen=True)
class Wishes:
    """What `render` is asked for beyond a run, footage and a name."""

    settings: RenderSettings = field(default_factory=RenderSettings)
    codec: str = "h264"
    bits: int | None = None
    """None: the footage's, 8 or 10."""
    crf: int = 18
    preset: str = "medium"
    span: str | None = None
    """START-END as in `00:10-01:20`; None: all."""
    frames: plan.Frames | None = None
    """Every frame as a picture, too."""
    masks: Path | None = None
    """Folder for the masks as pictures, too."""
    allow_hdr: bool = False
    device: str = "auto"
    workers: int = 1
    engine: str = "local"
    key: Path | None = None
    cert: Path | None = None
    tsa: str | None = None
    """Address of a time-stamp authority; None: no time-stamp, and no network."""
    force: bool = False


def render(
    run: Path, footage: Path, out: Path, wishes: Wishes | None = None, progress: Progress = no_progress
) -> RenderSummary:
    """Write `out` (.mp4, .m4v or .mov): the footage with the target's face swapped for the source's.

    Size, frame count, timestamps, colour tags and sound are the footage's; frames without the face pass through but for
    the watermark. Beside it come OUT.c2pa, OUT.artifacts.html and OUT.artifacts.json. A render that was stopped goes on
    when it is called again the same. Raises ConsentError if the run names no subject or basis, UsageError for a wrong
    call, WorkError for footage or machine.
    """
    began = time.monotonic()
    wishes = wishes or Wishes()
    _check_call(out, footage, wishes)
    opened, clip, seen, coding = _opened(run, footage, wishes)
    check_coding(coding, out)
    signing = keys.signing_key(wishes.key, wishes.cert)
    with _folder(out) as folder:
        sound = mux.check_sound(footage, out, folder / f"header{out.suffix}")
        wanted = _planned(opened, clip, coding, wishes, 0)
        made = _begin(folder, wanted, opened, out, wishes, progress)
        for writer in work.writers(made, seen):
            if writer is not None:
                writer.prepare(wishes.force, resume=(folder / "pictures").exists())
        (folder / "pictures").touch()
        resumed = _do(folder, made, wishes, progress)
        accounts = [plan.done(folder, part) or {} for part in made.parts]
        report, offset = _measured(folder, made)
        times = [t for account in accounts for t in account["times"]]
        swapped = sum(account["swapped"] for account in accounts)
        notes = _notes(sum(account["faces"] for account in accounts), swapped)
        papers = _papers(opened, made, len(times), swapped)
        _close(folder, made, times, out, papers, signing, wishes)
        page, sidecar = _publish(folder, report, offset, out, opened, made)
    seconds = time.monotonic() - began
    pixels = hashlib.sha256("".join(a["pixels_sha256"] for a in accounts).encode()).hexdigest()
    return RenderSummary(
        str(out), str(page), str(sidecar), identifier_text(made.identifier), len(times), swapped,
        len(report.findings), sound, resumed, notes, pixels, seconds, (len(times) - resumed) / max(seconds, 1e-9),
    )  # fmt: skip


def still(run: Path, footage: Path, moment: str, out: Path, wishes: Wishes | None = None) -> int:
    """Write `out` (.png): how the frame at a moment, as `00:12.5`, would be rendered; its number in the footage.

    It is marked like every frame, and its text says what it is. Raises as `render` does.
    """
    wishes = wishes or Wishes()
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: a still is a .png")
    if out.exists() and not wishes.force:
        raise UsageError(f"--out {out}: exists; --force writes it anew")
    opened, clip, _, coding = _opened(run, footage, wishes)
    try:
        first, _ = _frames(clip, f"{moment}-")
    except UsageError:
        length = f"{clip.duration:.2f} s"
        raise UsageError(f"--still {moment}: is no time of the footage, which has {length}") from None
    wanted = replace(_planned(opened, clip, coding, wishes, 0), first=first, end=first + 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = _begin(folder, wanted, opened, out, wishes, no_progress)
        (part,) = made.parts
        with work.one_thread(made.device):
            shown = next(work.composed(made, folder, part, range(part.first, part.end)))
        image = Marker(made.identifier, clip.width, clip.height).mark(work.labelled(made, shown))
        with atomic(out) as temporary:
            temporary.write_bytes(png(image, out.name, manifest.generator()))
    return first


def _check_call(out: Path, footage: Path, wishes: Wishes) -> None:
    if out.suffix.lower() not in mux.FORMATS:
        raise UsageError(f"--out {out}: must end in {', '.join(mux.FORMATS)}")
    if not footage.exists():
        raise UsageError(f"--footage {footage}: no such file")
    jobs.check(wishes.engine, wishes.workers)
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; name the video to write")
    if out.exists() and out.samefile(footage):
        raise UsageError(f"--out {out}: is the footage itself; name another file")
    if out.exists() and not wishes.force:
        raise UsageError(f"--out {out}: exists; --force writes it anew")


def _opened(run: Path, footage: Path, wishes: Wishes) -> tuple[Run, Clip, footage_format.Look, Coding]:
    """The run, whose subjects may be used; the footage, which can be rendered; how it is to be coded."""
    from train.run import open_run

    opened = open_run(run)
    for side in (opened.source, opened.target):
        consent.require(side.subject, str(run))
    clip = video.probe(footage)
    if clip.kind != "video":
        raise UsageError(f"--footage {footage}: photos have no timing to render; give a video")
    seen = footage_format.check_footage(footage, wishes.allow_hdr)
    return opened, clip, seen, coding_for(seen, wishes.codec, wishes.bits, wishes.crf, wishes.preset)


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """The hidden folder of work beside the output, held by this process; kept if it is stopped in the middle."""
    folder = out.parent / f".{out.name}.render"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"--out {out}: another render is writing it; wait for it, or name another file") from None
    except OSError as error:
        raise WorkError(f"--out {out}: cannot be written ({error.strerror}); name another folder") from None
    finished = False
    try:
        yield folder
        finished = True
    except OSError as error:
        if error.errno not in DISK:
            raise
        raise WorkError(f"--out {out}: cannot be written ({error.strerror}); make room or name another disk") from None
    finally:
        lock.release()
        if finished or not (folder / "face.parquet").is_file():
            shutil.rmtree(folder, ignore_errors=True)


def _planned(run: Run, clip: Clip, coding: Coding, wishes: Wishes, identifier: int) -> plan.Plan:
    first, end = _frames(clip, wishes.span)
    return plan.Plan(
        str(run.path.resolve()), _weights_sha256(run.path), clip, first, end, wishes.settings, coding, wishes.device,
        identifier, wishes.frames, None if wishes.masks is None else str(wishes.masks.resolve()),
    )  # fmt: skip


def _frames(clip: Clip, span: str | None) -> tuple[int, int]:
    """Frames [first, end) of START-END, or all."""
    if span is None:
        return 0, clip.frames
    asked = video.parse_footage(f"{clip.path}@{span}")
    if asked.start is None and asked.end is None:
        raise UsageError(f"--range {span}: must be START-END, as 00:10-01:20")
    cut = video.segments(replace(clip, start=asked.start, end=asked.end), 1e9)
    if not cut:
        raise UsageError(f"--range {span}: no frame lies there; the footage has {clip.duration:.2f} s")
    return cut[0].first_frame, cut[-1].first_frame + len(cut[-1].pts)


def _weights_sha256(run: Path) -> str:
    """Of the weights that `load_swapper` takes: the run's end, or its last checkpoint."""
    path = run / "model.safetensors"
    if path.is_file():
        return video.file_sha256(path)
    checkpoints = sorted((run / "checkpoints").glob("step-*.safetensors"), key=lambda p: int(p.stem.partition("-")[2]))
    if not checkpoints:
        raise WorkError(f"{run} has no network yet: faceset train --out {run} --resume goes on with it")
    return video.file_sha256(checkpoints[-1])


def _begin(folder: Path, wanted: plan.Plan, run: Run, out: Path, wishes: Wishes, progress: Progress) -> plan.Plan:
    """The plan in the folder, if it is the same; else the wanted one, with the face found and an identifier drawn."""
    before = plan.load(folder)
    if before is not None and before.same(wanted) and (folder / "face.parquet").is_file():
        log.info("%s: going on where an earlier render was stopped", out)
        return before
    for path in folder.iterdir():
        if path.name != "lock":
            path.unlink()
    rows = _face(wanted, run, wishes.workers, progress)
    subject = run.source.subject
    identifier = registry.new_entry(
        title=out.name, subject=subject.name, basis=subject.basis, model_sha256=wanted.weights_sha256,
        out=str(out.resolve()), source_sha256s=tuple(sha256 for _, sha256 in run.source.clips),
    )  # fmt: skip
    made = replace(wanted, identifier=identifier)
    plan.save_face(folder, rows)
    if made.settings.occlusion:
        plan.save_typical(folder, work.learn(made, folder))
    made.save(folder)  # last: a plan says that the rest is there
    return made


def _face(wanted: plan.Plan, run: Run, workers: int, progress: Progress) -> Any:
    """Rows of the frames with the target's face. Raises WorkError if there are none."""
    from curate.extract.follow import follow

    clip = wanted.clip
    start = end = None
    if not whole(wanted):
        rate = clip.fps or 25.0
        start, end = max(wanted.first - 4 * RADIUS, 0) / rate, (wanted.end + 4 * RADIUS) / rate
    identity = run.target.identity or None
    rows = follow(Path(clip.path), identity, workers=workers, progress=progress, start=start, end=end)
    if not len(rows):
        raise WorkError(
            f"{clip.path}: the face of {run.target.subject.name} is in no frame of it; is it the right clip?"
        )
    inside = rows["frame"].between(wanted.first, wanted.end - 1)
    log.info("%s: the face is in %d of %d frames", clip.name, int(inside.sum()), wanted.end - wanted.first)
    return rows


def _do(folder: Path, made: plan.Plan, wishes: Wishes, progress: Progress) -> int:
    """Every part that is not done yet; how many frames were done already."""
    open_parts = [part for part in made.parts if plan.done(folder, part) is None]
    frames = made.end - made.first
    resumed = frames - sum(part.end - part.first for part in open_parts)
    with _watched(folder, made, frames, progress):
        tasks = [work.Task(folder, part) for part in open_parts]
        for _, problem in jobs.run(work.work, tasks, wishes.workers, wishes.engine):
            if problem is not None:
                raise problem
    rendered = sum(len((plan.done(folder, part) or {})["times"]) for part in made.parts)
    if rendered != frames:
        log.warning("%s: %d of %d frames are damaged and left out", made.clip.path, frames - rendered, frames)
    return resumed


@contextmanager
def _watched(folder: Path, made: plan.Plan, frames: int, progress: Progress) -> Iterator[None]:
    """Tells how far the parts are, whoever makes them, once in a while."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            progress("rendering", min(plan.total(folder, made.parts), frames), frames)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
        progress("rendering", frames, frames)
    finally:
        stop.set()
        thread.join()


def _measured(folder: Path, made: plan.Plan) -> tuple[ArtifactReport, float]:
    """The artifact report, and the footage's time in seconds at which the output begins."""
    from reports.artifacts.parts import InspectedPart
    from reports.artifacts.report import merge

    parts = [InspectedPart.load(part.path(folder, ".parquet")) for part in made.parts]
    # The output of a range begins at 0, the footage does not.
    offset = 0.0 if whole(made) else float(parts[0].rows[0]["time"])
    parts = [replace(p, rows=tuple({**row, "time": row["time"] - offset} for row in p.rows)) for p in parts]
    return merge(parts, made.clip.fps, has_reference=True), offset


def _notes(faces: int, swapped: int) -> tuple[str, ...]:
    if swapped >= 0.5 * faces:
        return ()
    note = (
        f"the mask is nearly empty in {faces - swapped} of {faces} frames with the face, which show the target's own: "
        "train longer, or try --mask hull"
    )
    log.warning("%s", note)
    return (note,)


def _papers(run: Run, made: plan.Plan, frames: int, swapped: int) -> manifest.Papers:
    sources = [manifest.Source("source", name, sha256) for name, sha256 in run.source.clips]
    sources.append(manifest.Source("target", Path(made.clip.path).name, made.clip.sha256))
    return manifest.Papers(
        run.source.subject, run.target.subject, tuple(sources), made.weights_sha256, frames, swapped, made.identifier
    )


def _close(
    folder: Path,
    made: plan.Plan,
    times: list[int],
    out: Path,
    papers: manifest.Papers,
    signing: keys.SigningKey,
    wishes: Wishes,
) -> None:
    """The footage's times and sound, then the papers: folder/signed and folder/manifest.c2pa."""
    unsigned, footage = folder / f"unsigned{out.suffix}", Path(made.clip.path)
    parts = [part.path(folder, made.coding.suffix) for part in made.parts]
    span = None if whole(made) else (made.first, made.end - 1)
    mux.mux(parts, footage, unsigned, out.suffix.lower(), times, mp4_boxes.NOTICE, span)
    store = manifest.sign(unsigned, folder / "signed", out.name, papers, footage, signing, wishes.tsa)
    (folder / "manifest.c2pa").write_bytes(store)
    unsigned.unlink()


def whole(made: plan.Plan) -> bool:
    """Whether all of the footage is rendered."""
    return (made.first, made.end) == (0, made.clip.frames)


def _flags(made: plan.Plan, size: int) -> dict[str, Any]:
    """The settings by the names of their flags."""
    mask, other = asdict(made.settings.mask), asdict(made.settings)
    mask |= {"mask": mask.pop("mode"), "keep": ",".join(made.settings.mask.keep)}
    del other["mask"]
    return {**mask, **other, "size": size}


def _publish(
    folder: Path, report: ArtifactReport, offset: float, out: Path, run: Run, made: plan.Plan
) -> tuple[Path, Path]:
    """Everything under its name, the video last; the paths of the report's page and of the sidecar."""
    from reports.artifact_page import page as artifact_page

    meta: dict[str, Any] = {
        "video": out.name,
        "reference": Path(made.clip.path).name,
        "video_path": str(out.resolve()),
        "reference_path": made.clip.path,
        "reference_offset": None if whole(made) else offset,
        "source_faceset": run.source.folder if Path(run.source.folder).is_dir() else None,
        "settings": _flags(made, run.size),
        "source": run.source.subject.name,
        "target": run.target.subject.name,
        "run": run.path.name,
        "generator": manifest.generator(),
    }
    page = artifact_page.write(report, out.with_suffix(".artifacts.html"), meta)
    sidecar = manifest.sidecar_path(out)
    os.replace(folder / "manifest.c2pa", sidecar)
    with (folder / "signed").open("rb+") as stream:
        os.fsync(stream.fileno())
    os.replace(folder / "signed", out)
    return page, sidecar
