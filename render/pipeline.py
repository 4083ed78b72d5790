"""Pipeline of a render: from a run and a video to the finished, signed video and its artifact report.

The video is cut into parts; each is decoded, swapped, composited, watermarked, encoded and measured on its own
(`render.part`), in this process, in several, or on a Ray cluster, with the same pixels. Intermediate files are kept in
a hidden folder next to the output (`render.workdir`), from which an interrupted render resumes. At the end the parts
are joined, signed and moved into place (`render.publish`).
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from curate.dataset import consent
from curate.errors import UsageError, WorkError
from curate.footage import cube, video
from curate.footage.flat import NOTE as LOOKS_LOG
from curate.footage.paths import parse_footage
from curate.footage.picture import View
from curate.footage.timeline import timeline
from curate.runtime import jobs
from curate.runtime.files import atomic, file_sha256
from curate.types import Clip, Progress, no_progress
from curate.words import many, quoted
from render import mend, network, part, plan, publish, stretches, workdir
from render.compositing.compose import RADIUS, Composed
from render.options import RenderOptions
from render.output import mux, sequence, tracking
from render.output.coding import Coding, check_coding, coding_for
from render.output.footage_format import FootageFormat, check_footage, check_size
from render.output.png import png
from render.output.sequence import MaskWriter, SequenceWriter
from render.provenance import keys, manifest
from render.provenance.watermark import Marker
from render.provenance.watermark_code import identifier_text
from train.drive import scores_of

if TYPE_CHECKING:
    from curate.extract.follow import Followed
    from train.run import Run

log = logging.getLogger(__name__)

EMPTY_MASK = "the mask is nearly empty; train longer, or try --mask hull"
MOST_TOLD = 6
"""Scores beyond the source's range that a note names."""


@dataclass(frozen=True)
class RenderSummary:
    """Files and figures of a finished render."""

    out: str
    report: str
    """Page of the artifact report; its figures are next to it as .json."""
    sidecar: str
    """The manifest as a separate file."""
    watermark: str
    frames: int
    swapped: int
    """Frames with the swapped face; the others pass through."""
    findings: int
    sound: int
    """Sound and subtitle streams copied."""
    resumed: int
    """Frames that an earlier call had finished."""
    notes: tuple[str, ...]
    """Problems that the figures alone do not show."""
    pixels_sha256: str
    """Hash of all frames without watermark, before encoding: equal for equal pixels."""
    seconds: float
    fps: float
    """Frames rendered per second, including everything."""
    settings: str | None = None
    """Settings file that --mend wrote; None if it changed nothing."""
    mended: tuple[mend.Mended, ...] = ()
    """What --mend changed."""


def render(
    run: Path, footage: Path, out: Path, options: RenderOptions | None = None, progress: Progress = no_progress
) -> RenderSummary:
    """Write `out` (.mp4, .m4v or .mov): the footage with the target's face swapped for the source's.

    Size, frame count, timestamps, colour tags and sound are the footage's; frames without the face pass through, apart
    from the watermark. OUT.c2pa, OUT.artifacts.html and OUT.artifacts.json are written next to it. The same call
    resumes an interrupted render. Raises ConsentError if the run names no subject or basis, UsageError for wrong
    options, WorkError for problems of the footage or machine.
    """
    began = time.monotonic()
    options = _resolved(options)
    _check_call(out, footage, options)
    opened, clip, footage_format, coding = _opened(run, footage, options)
    check_coding(coding, out)
    key = keys.signing_key(options.key, options.cert)
    wanted = _planned(opened, clip, coding, options, 0)
    writers = [writer for writer in part.writers(wanted, footage_format) if writer is not None]
    with workdir.working_folder(out) as folder:
        sound = mux.check_sound(footage, out, folder / f"header{out.suffix}")
        made = _begun(folder, wanted, opened, out, options, progress)
        with publish.withdrawn_on_failure(made):
            _prepare_images(folder, writers, options.force)
            resumed = _render_parts(folder, made, options, progress)
            made, mended = _mended(folder, made, options, progress) if options.mend else (made, ())
            accounts = [plan.done(folder, each) or {} for each in made.parts]
            report, offset = publish.artifact_report(folder, made)
            times = [t for account in accounts for t in account["times"]]
            swapped, faces, several = (sum(a.get(n, 0) for a in accounts) for n in ("swapped", "faces", "several"))
            notes = (*_notes(made, times, faces, swapped, several), *_beyond(folder, opened))
            stated = publish.statement(opened, made, len(times), swapped)
            lost = publish.mux_and_sign(folder, made, footage_format, times, out, stated, key, options.tsa)
            if options.tracking is not None:
                publish.tracking_files(folder, made, footage_format, times, options.tracking)
            page, sidecar = publish.move_into_place(folder, report, offset, out, opened, made, [str(m) for m in mended])
            settings = _settings_file(out, made) if mended else None
    seconds = time.monotonic() - began
    pixels = hashlib.sha256("".join(a["pixels_sha256"] for a in accounts).encode()).hexdigest()
    said = (*_of_footage(clip), *notes, *lost)
    return RenderSummary(
        str(out), str(page), str(sidecar), identifier_text(made.identifier), len(times), swapped,
        len(report.findings), sound, resumed, said, pixels, seconds, (len(times) - resumed) / max(seconds, 1e-9),
        settings, mended,
    )  # fmt: skip


@dataclass(frozen=True)
class Still:
    """A frame that was rendered alone."""

    out: str
    frame: int
    """Its number in the footage."""
    swapped: bool
    """Whether it shows the swapped face."""
    notes: tuple[str, ...]


def still(run: Path, footage: Path, moment: str, out: Path, options: RenderOptions | None = None) -> Still:
    """Write `out` (.png): the rendered frame at a time such as `00:12.5`.

    It is watermarked like every frame, and its metadata marks it as synthetic. Raises as `render` does.
    """
    options = _resolved(options)
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: a still must be a .png file")
    _check_free(out, options.force)
    opened, clip, footage_format, coding = _opened(run, footage, options)
    try:
        first, _ = _frames(clip, f"{moment}-")
    except UsageError:
        length = f"the footage lasts {clip.duration:.2f} s"
        raise UsageError(f"--still {moment}: is not a time in the footage; {length}") from None
    wanted = replace(_planned(opened, clip, coding, options, 0), first=first, end=first + 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = _begun(folder, wanted, opened, out, options, no_progress)
        (only,) = made.parts
        with publish.withdrawn_on_failure(made), part.one_thread(made.device):
            composed = next(part.composed_frames(made, folder, only, range(only.first, only.end)))
        image = Marker(made.identifier, *footage_format.size).mark(part.labelled(made, composed))
        with atomic(out) as temporary:
            temporary.write_bytes(png(image, out.name, manifest.generator()))
    notes = (*_of_footage(clip), *_still_notes(composed))
    return Still(str(out), first, part.shows_swap(composed), notes)


def _still_notes(composed: Composed) -> list[str]:
    """A sentence where the frame does not show the swapped face."""
    if composed.face is None:
        note = f"frame {composed.frame.index} does not show the target's face, so nothing is swapped in it"
    elif not part.shows_swap(composed):
        note = f"frame {composed.frame.index} shows the target's own face because {EMPTY_MASK}"
    else:
        return []
    log.warning("%s", note)
    return [note]


def _resolved(options: RenderOptions | None) -> RenderOptions:
    """The options, with the number of processes that 0 means."""
    options = options or RenderOptions()
    return replace(options, workers=jobs.processes(options.workers))


def _images(options: RenderOptions) -> plan.Frames | None:
    folder = options.frames
    return (
        None
        if folder is None
        else plan.Frames(str(folder.resolve()), options.frames_as, options.alpha, options.layers, options.exr_space)
    )


def _check_call(out: Path, footage: Path, options: RenderOptions) -> None:
    if out.suffix.lower() not in mux.FORMATS:
        raise UsageError(f"--out {out}: must end in {', '.join(mux.FORMATS)}")
    if not footage.exists():
        raise UsageError(f"--footage {footage}: no such file")
    jobs.check(options.engine, options.workers)
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; give the name of the video to write")
    if out.exists() and out.samefile(footage):
        raise UsageError(f"--out {out}: is the footage itself; choose another file")
    _check_free(out, options.force)
    for pictures in filter(None, (options.frames, options.masks)):
        sequence.check(pictures)
    if options.tracking is not None:
        tracking.check(options.tracking, options.force)


def _check_free(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise UsageError(f"--out {out}: already exists; use --force to overwrite it")


def _opened(run: Path, footage: Path, options: RenderOptions) -> tuple[Run, Clip, FootageFormat, Coding]:
    """The run, whose subjects may be used; the footage, which can be rendered; its format and the coding."""
    from train.run import open_run, resolve_device

    resolve_device(options.device)
    opened = open_run(run)
    if opened.people:
        raise UsageError(
            f"{run} is a prior, which cannot be rendered: faceset train --init {quoted(run)} starts from it"
        )
    for side in (opened.source, opened.target):
        consent.require(side.subject, str(run))
    clip = video.probe(footage)
    if clip.kind != "video":
        raise UsageError(f"--footage {footage}: photos cannot be rendered; give a video")
    if options.lut is not None:
        clip = replace(clip, lut=cube.read(str(options.lut)).path)
    view = View(square=False, sdr=options.tonemap, progressive=options.deinterlace)
    found = check_footage(footage, options.allow_hdr, view, graded=bool(clip.lut))
    check_size(footage)
    return opened, clip, found, coding_for(found, options.codec, options.bits or None, options.crf, options.preset)


def _planned(run: Run, clip: Clip, coding: Coding, options: RenderOptions, identifier: int) -> plan.Plan:
    first, end = _frames(clip, options.span)
    sha256 = file_sha256(network.weights_of(run.path))
    own = () if options.stretches is None else stretches.read(options.stretches, options.settings, _times(clip))
    return plan.Plan(
        str(run.path.resolve()), sha256, clip, first, end, options.settings, coding, options.device, identifier,
        _images(options), None if options.masks is None else str(options.masks.resolve()),
        tonemap=options.tonemap, deinterlace=options.deinterlace, stretches=own,
        lut_sha256=file_sha256(Path(clip.lut)) if clip.lut else "",
    )  # fmt: skip


def _times(clip: Clip) -> list[float]:
    """Seconds of every frame from the first one."""
    line = timeline(Path(clip.path))
    return [float((t - line.times[0]) * line.base) for t in line.times]


def _frames(clip: Clip, span: str | None) -> tuple[int, int]:
    """Frames [first, end) of START-END, or all."""
    if span is None:
        return 0, clip.frames
    asked = parse_footage(f"{clip.path}@{span}")
    if asked.start is None and asked.end is None:
        raise UsageError(f"--range {span}: must be START-END, such as 00:10-01:20")
    frames = timeline(Path(clip.path)).between(asked.start, asked.end)
    if not frames:
        raise UsageError(f"--range {span}: contains no frame; the footage lasts {clip.duration:.2f} s")
    return frames.start, frames.stop


def _begun(
    folder: Path, wanted: plan.Plan, run: Run, out: Path, options: RenderOptions, progress: Progress
) -> plan.Plan:
    """The plan in the folder if it can be resumed; else the wanted one, with the face located and an identifier."""
    earlier = workdir.resumable(folder, wanted, network.ended(run.path), options.mend)
    if earlier is not None:
        log.info("%s: resuming an interrupted render", out)
        publish.register(earlier, run, out, earlier.identifier)
        return earlier
    for pictures in filter(None, (options.frames, options.masks)):
        sequence.check(pictures, free=not options.force)
    workdir.clear(folder)
    wanted = replace(wanted, weights_sha256=network.keep(run.path, folder))
    face = _located(wanted, run, options.workers, progress)
    made = replace(wanted, identifier=publish.register(wanted, run, out))
    with publish.withdrawn_on_failure(made):
        workdir.fill(folder, made, face)
    return made


def _located(wanted: plan.Plan, run: Run, workers: int, progress: Progress) -> Followed:
    """The target's face in the footage. Raises WorkError if there are none."""
    from curate.extract.follow import follow

    clip = wanted.clip
    start = end = None
    if not wanted.whole:
        line = timeline(Path(clip.path))
        near = line.times[max(wanted.first - 4 * RADIUS, 0) : wanted.end + 4 * RADIUS]
        start, end = (float((time - line.times[0]) * line.base) for time in (near[0], near[-1] + 1))
    identity = run.target.identity or None
    again = wanted.settings.faces == "all"
    own = None if run.drive is None else run.drive.calibrated()
    face = follow(
        Path(clip.path), identity, workers=workers, progress=progress, start=start, end=end, calibrated=own,
        again=again, identifier=run.target.identifier, lut=clip.lut,
    )  # fmt: skip
    rows = face.rows
    if not len(rows):
        raise WorkError(
            f"{clip.path}: no frame shows the face of {run.target.subject.name}; check that it is the right clip"
        )
    if run.drive is not None:
        rows["scores"] = list(run.drive.counted(scores_of(rows)))
    inside = rows["frame"].between(wanted.first, wanted.end - 1)
    log.info("%s: %d of %d frames show the face", clip.name, int(inside.sum()), wanted.end - wanted.first)
    return face


def _prepare_images(folder: Path, writers: Sequence[SequenceWriter | MaskWriter], force: bool) -> None:
    """Folders of the image sequences; those of an interrupted render are kept."""
    begun = folder / "pictures"
    for writer in writers:
        writer.prepare(force, resume=begun.exists())
    begun.touch()


def _render_parts(folder: Path, made: plan.Plan, options: RenderOptions, progress: Progress) -> int:
    """Render every unfinished part; the number of frames that were finished before."""
    unfinished = workdir.open_parts(folder, made)
    for each in unfinished:  # one whose pictures are gone is not finished, whatever its account says
        each.path(folder, ".json").unlink(missing_ok=True)
    with workdir.progress_shown(folder, made, progress):
        tasks = [part.PartTask(folder, each) for each in unfinished]
        for _, problem in jobs.run(part.render_part, tasks, options.workers, options.engine):
            if problem is not None:
                raise problem
    return made.end - made.first - sum(each.end - each.first for each in unfinished)


def _mended(
    folder: Path, made: plan.Plan, options: RenderOptions, progress: Progress
) -> tuple[plan.Plan, tuple[mend.Mended, ...]]:
    """The plan after mending, whose parts are rendered, and what was changed."""

    def run(work: Callable[[mend.Trial], None], trials: Sequence[mend.Trial]) -> None:
        for done, (_, problem) in enumerate(jobs.run(work, trials, options.workers, options.engine), 1):
            if problem is not None:
                raise problem
            progress("mending", done, len(trials))

    before, _ = publish.artifact_report(folder, made)
    better = mend.search(folder, made, run)
    if better == made:
        return made, ()
    better.save(folder)
    for each in mend.touched(made, better):
        each.path(folder, ".json").unlink(missing_ok=True)
        each.path(folder, ".count").unlink(missing_ok=True)
    _render_parts(folder, better, options, progress)
    after, _ = publish.artifact_report(folder, better)
    return better, mend.account(before, after, better)


def _settings_file(out: Path, made: plan.Plan) -> str:
    path = out.with_suffix(".settings.toml")
    stretches.write(path, made.stretches, made.settings, _times(made.clip))
    return str(path)


def _beyond(folder: Path, run: Run) -> tuple[str, ...]:
    """A note on scores of the footage that go beyond the source's range, where swaps hold them at its edge."""
    acted = [place.scores for place in plan.load_face(folder).values() if place.scores is not None]
    found = run.drive.beyond(np.stack(acted)) if run.drive is not None and acted else {}
    if not found:
        return ()
    shares = ", ".join(f"{name} in {100 * share:.0f} % of frames" for name, share in [*found.items()][:MOST_TOLD])
    note = f"the footage goes beyond the source's range, so the swap stops at the source's limits: {shares}"
    log.warning("%s", note)
    return (note,)


def _of_footage(clip: Clip) -> tuple[str, ...]:
    """Notes on the footage that hold for the render as well: of the frames, log curves and alpha."""
    kept = [note for note in clip.notes if "alpha channel" in note or (note == LOOKS_LOG and not clip.lut)]
    return (*timeline(Path(clip.path)).notes, *kept)


def _notes(made: plan.Plan, times: list[int], faces: int, swapped: int, several: int) -> tuple[str, ...]:
    notes = []
    frames = made.end - made.first
    if len(times) != frames:
        notes.append(
            f"{frames - len(times)} of {many(frames, 'announced frame')} cannot be decoded; the frame before each is "
            "shown for longer instead"
        )
    if made.clip.announced > made.clip.frames and made.end == made.clip.frames:
        notes.append(f"the footage announces {many(made.clip.announced, 'frame')} but contains {made.clip.frames}")
    if swapped < 0.5 * faces:
        notes.append(
            f"the target's own face is shown in {faces - swapped} of {many(faces, 'frame')} with a face, because "
            f"{EMPTY_MASK}"
        )
    for note in notes:
        log.warning("%s: %s", made.clip.path, note)
    if several:
        shows = "shows" if several == 1 else "show"
        notes.append(
            f"{many(several, 'frame')} {shows} the face more than once; all are swapped (--faces one swaps one)"
        )
        log.info("%s", notes[-1])
    return tuple(notes)
