"""Pipeline of a render: from a run and a video to the finished, signed video and its artifact report.

The video is cut into parts; each is decoded, swapped, composited, watermarked, encoded and measured on its own
(`render.part`), in this process, in several, or on a Ray cluster, with the same pixels. Intermediate files are kept in
a hidden folder next to the output (`render.workdir`), from which an interrupted render resumes. At the end the parts
are joined, signed and moved into place (`render.publish`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from curate.dataset import consent
from curate.errors import UsageError, WorkError
from curate.footage import cube, video
from curate.footage.paths import parse_footage
from curate.footage.picture import View
from curate.footage.timeline import timeline
from curate.runtime import jobs
from curate.runtime.files import atomic, file_sha256, scratch
from curate.types import Clip, Progress, no_progress
from curate.words import quoted
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
from render.summary import (
    EMPTY_MASK,
    RenderSummary,
    beyond,
    counted,
    notes_of,
    of_footage,
    people_of,
    summary_of,
)
from reports.artifacts.report import ArtifactReport
from train.drive import scores_of

if TYPE_CHECKING:
    from curate.extract.follow import Followed
    from train.run import Run

log = logging.getLogger(__name__)


@part.networks_let_go()
def render(
    run: Path | str,
    footage: Path | str,
    out: Path | str,
    options: RenderOptions | None = None,
    progress: Progress = no_progress,
    also: Sequence[Path | str] = (),
) -> RenderSummary:
    """Write `out` (.mp4, .m4v or .mov): the footage with the target's face swapped for the source's.

    Size, frame count, timestamps, colour tags and sound are the footage's; frames without the face pass through, apart
    from the watermark. OUT.c2pa, OUT.artifacts.html and OUT.artifacts.json are written next to it. `also` has further
    runs, whose targets are replaced in the same pass; each has its own report. The same call resumes an interrupted
    render. Raises ConsentError without a subject or basis, UsageError for options, WorkError for footage and machine.
    """
    began = time.monotonic()
    options, footage, out = _resolved(options), Path(footage), Path(out)
    _check_call(out, footage, options)
    runs = _runs([Path(each) for each in (run, *also)], options)
    clip, footage_format, coding = _opened(footage, options)
    check_coding(coding, out)
    key = keys.signing_key(options.key, options.cert)
    wanted = _planned(runs, clip, coding, options)
    writers = part.writers(wanted, footage_format)
    with workdir.working_folder(out) as folder:
        sound = mux.check_sound(footage, out, folder / f"header{out.suffix}")
        made = _begun(folder, wanted, runs, out, options, progress)
        with publish.withdrawn_on_failure(made):
            _prepare_images(folder, writers, options.force)
            resumed = _render_parts(folder, made, options, progress)
            made, mended = _mended(folder, made, options, progress) if options.mend else (made, ())
            accounts = [plan.done(folder, each) or {} for each in made.parts]
            reports, offset = publish.artifact_reports(folder, made)
            times = [t for account in accounts for t in account["times"]]
            counts = counted(accounts, made.people)
            notes = (*notes_of(made, times, counts, accounts), *beyond(folder, runs), *_unmended(reports, options))
            stated = publish.statement(runs, made, len(times), [own for _, own in counts])
            lost = publish.mux_and_sign(folder, made, footage_format, times, out, stated, key, options.tsa)
            publish.tracking_files(folder, made, footage_format, times, options.tracking)
            pages, sidecar = publish.move_into_place(folder, reports, offset, out, runs, made, [str(m) for m in mended])
    done = summary_of(
        out, sidecar, made, accounts, resumed, sound, time.monotonic() - began, (*of_footage(clip), *notes, *lost),
        people_of(runs, pages, counts, [len(report.findings) for report in reports]),
    )  # fmt: skip
    return replace(done, settings=_settings_file(out, made) if mended else None, mended=mended)


@dataclass(frozen=True)
class Still:
    """A frame that was rendered alone."""

    out: str
    frame: int
    """Its number in the footage."""
    swapped: bool
    """Whether it shows the swapped face."""
    notes: tuple[str, ...]


@part.networks_let_go()
def still(
    run: Path,
    footage: Path,
    moment: str,
    out: Path,
    options: RenderOptions | None = None,
    also: Sequence[Path] = (),
) -> Still:
    """Write `out` (.png): the rendered frame at a time such as `00:12.5`.

    It is watermarked like every frame, and its metadata marks it as synthetic. Raises as `render` does.
    """
    options = _resolved(options)
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: a still must be a .png file")
    _check_free(out, options.force)
    runs = _runs([run, *also], options)
    clip, footage_format, coding = _opened(footage, options)
    try:
        first, _ = frames_of(clip, f"{moment}-")
    except UsageError:
        length = f"the footage lasts {clip.duration:.2f} s"
        raise UsageError(f"--still {moment}: is not a time in the footage; {length}") from None
    wanted = replace(_planned(runs, clip, coding, options), first=first, end=first + 1)
    with scratch("faceset-still-") as folder:
        made = _begun(folder, wanted, runs, out, options, no_progress)
        (only,) = made.parts
        with publish.withdrawn_on_failure(made), part.one_thread(made.device):
            composed = next(part.composed_frames(made, folder, only, range(only.first, only.end)))
        image = Marker(made.identifier, *footage_format.size, made.slot).mark(part.labelled(made, composed))
        with atomic(out) as temporary:
            temporary.write_bytes(png(image, out.name, manifest.generator()))
    notes = (*of_footage(clip), *_still_notes(composed))
    return Still(str(out), first, any(map(part.shows_swap, part.each(composed))), notes)


def _still_notes(composed: Composed) -> list[str]:
    """A sentence where the frame does not show the swapped face."""
    if composed.face is None:
        note = f"frame {composed.frame.index} does not show the target's face, so nothing is swapped in it"
    elif not any(map(part.shows_swap, part.each(composed))):
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


def _runs(paths: Sequence[Path], options: RenderOptions) -> list[Run]:
    """The runs, whose subjects may be used, and whose targets are distinguished."""
    from train.run import open_run, resolve_device

    resolve_device(options.device)
    found: list[Run] = []
    for path in paths:
        opened = open_run(path)
        if opened.people:
            raise UsageError(
                f"{path} is a prior, which cannot be rendered: faceset train --init {quoted(path)} starts from it"
            )
        for side in (opened.source, opened.target):
            consent.require(side.subject, str(path))
        found.append(opened)
    if len(found) > 1 and options.layers:
        raise UsageError("--layers: is for one person; render one run at a time, or leave it out")
    if len(found) > 1 and options.mend:
        raise UsageError("--mend: is for one person; render one run at a time, or leave it out")
    for number, opened in enumerate(found if len(found) > 1 else ()):
        if not opened.target.identity:
            raise UsageError(f"--and: {opened.path} has no identity of its target, which tells people apart")
        if any(opened.path.resolve() == other.path.resolve() for other in found[:number]):
            raise UsageError(f"--and {opened.path}: is given twice; each run replaces one person")
        if opened.target.identifier != found[0].target.identifier:
            raise UsageError(f"--and {opened.path}: its identities are of another model; render its person on its own")
    return found


def _opened(footage: Path, options: RenderOptions) -> tuple[Clip, FootageFormat, Coding]:
    """The footage, which can be rendered; its format and the coding."""
    if footage.is_dir():
        raise UsageError(f"--footage {footage}: is a folder; give a video")
    clip = video.probe(footage)
    if clip.kind != "video":
        raise UsageError(f"--footage {footage}: photos cannot be rendered; give a video")
    if options.lut is not None:
        clip = replace(clip, lut=cube.read(str(options.lut)).path)
    view = View(square=False, sdr=options.tonemap, progressive=options.deinterlace)
    found = check_footage(footage, options.allow_hdr, view, graded=bool(clip.lut))
    check_size(footage)
    return clip, found, coding_for(found, options.codec, options.bits or None, options.crf, options.preset)


def _planned(runs: Sequence[Run], clip: Clip, coding: Coding, options: RenderOptions) -> plan.Plan:
    first, end = frames_of(clip, options.span)
    casts = [plan.Cast(str(run.path.resolve()), file_sha256(network.weights_of(run.path))) for run in runs]
    own = () if options.stretches is None else stretches.read(options.stretches, options.settings, _times(clip))
    return plan.Plan(
        casts[0].run, casts[0].weights_sha256, clip, first, end, options.settings, coding, options.device, 0,
        _images(options), None if options.masks is None else str(options.masks.resolve()),
        tonemap=options.tonemap, deinterlace=options.deinterlace, others=tuple(casts[1:]), stretches=own,
        lut_sha256=file_sha256(Path(clip.lut)) if clip.lut else "",
    )  # fmt: skip


def _times(clip: Clip) -> list[float]:
    """Seconds of every frame from the first one."""
    line = timeline(Path(clip.path))
    return [float((t - line.times[0]) * line.base) for t in line.times]


def frames_of(clip: Clip, span: str | None) -> tuple[int, int]:
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
    folder: Path, wanted: plan.Plan, runs: Sequence[Run], out: Path, options: RenderOptions, progress: Progress
) -> plan.Plan:
    """The plan in the folder if it can be resumed; else the wanted one, with the faces located and an identifier."""
    earlier = workdir.resumable(folder, wanted, all(network.ended(run.path) for run in runs), options.mend)
    if earlier is not None:
        log.info("%s: resuming an interrupted render", out)
        publish.register(earlier, runs, out, earlier.identifier)
        return earlier
    for pictures in filter(None, (options.frames, options.masks)):
        sequence.check(pictures, free=not options.force)
    workdir.clear(folder)
    hashes = [
        network.keep(run.path, plan.folder_of(folder, number), run.weights_sha256) for number, run in enumerate(runs)
    ]
    others = tuple(replace(cast, weights_sha256=own) for cast, own in zip(wanted.others, hashes[1:], strict=True))
    wanted = replace(wanted, weights_sha256=hashes[0], others=others)
    faces = _located(wanted, runs, options.workers, progress)
    slot, over = publish.free_slot(Path(wanted.clip.path))
    made = replace(wanted, slot=slot, over=over)
    made = replace(made, identifier=publish.register(made, runs, out))
    with publish.withdrawn_on_failure(made):
        workdir.fill(folder, made, faces)
    return made


def _located(wanted: plan.Plan, runs: Sequence[Run], workers: int, progress: Progress) -> list[Followed]:
    """Each target's face in the footage. Raises WorkError if there is none of one of them."""
    from curate.extract.follow import follow_people

    clip = wanted.clip
    start = end = None
    if not wanted.whole:
        line = timeline(Path(clip.path))
        near = line.times[max(wanted.first - 4 * RADIUS, 0) : wanted.end + 4 * RADIUS]
        start, end = (float((time - line.times[0]) * line.base) for time in (near[0], near[-1] + 1))
    found = follow_people(
        Path(clip.path), [run.target.known or None for run in runs], workers=workers, progress=progress,
        start=start, end=end, calibrated=[None if run.drive is None else run.drive.calibrated() for run in runs],
        again=wanted.settings.faces == "all", identifier=runs[0].target.identifier, lut=clip.lut,
    )  # fmt: skip
    for run, face in zip(runs, found, strict=True):
        name, rows = run.target.subject.name, face.rows
        if not len(rows):
            raise WorkError(
                f"{clip.path}: no frame shows the face of {name}; check that it is the right clip, and upright"
            )
        if run.drive is not None:
            rows["scores"] = list(run.drive.counted(scores_of(rows)))
        inside = int(rows.loc[rows["frame"].between(wanted.first, wanted.end - 1), "frame"].nunique())
        log.info("%s: the face of %s is in %d of %d frames", clip.name, name, inside, wanted.end - wanted.first)
    return found


def _prepare_images(folder: Path, writers: Sequence[SequenceWriter | MaskWriter | None], force: bool) -> None:
    """Folders of the image sequences; those of an interrupted render are kept."""
    begun = folder / "pictures"
    for writer in writers:
        if writer is not None:
            writer.prepare(force, resume=begun.exists())
    begun.touch()


def _render_parts(folder: Path, made: plan.Plan, options: RenderOptions, progress: Progress) -> int:
    """Render every unfinished part; the number of frames that were finished before."""
    unfinished = workdir.open_parts(folder, made)
    for each in unfinished:  # one whose pictures are gone is not finished, whatever its account says
        each.path(folder, ".json").unlink(missing_ok=True)
    with workdir.progress_shown(folder, made, progress):
        workers = options.workers if options.engine == "local" else max(len(unfinished), 1)
        tasks = part.tasks(folder, unfinished, workers)
        for _, problem in jobs.run(part.render_parts, tasks, options.workers, options.engine, gpus=_gpus(options)):
            if problem is not None:
                raise problem
    return made.end - made.first - sum(each.end - each.first for each in unfinished)


def _gpus(options: RenderOptions) -> float:
    """GPUs that a worker asks for on Ray."""
    return options.gpus if options.device == "auto" or options.device.startswith("cuda") else 0.0


def _mended(
    folder: Path, made: plan.Plan, options: RenderOptions, progress: Progress
) -> tuple[plan.Plan, tuple[mend.Mended, ...]]:
    """The plan after mending, whose parts are rendered, and what was changed."""

    def run(work: Callable[[mend.Trial], None], trials: Sequence[mend.Trial]) -> None:
        """Do the trials with the render's workers; raises the first problem."""
        for done, (_, problem) in enumerate(
            jobs.run(work, trials, options.workers, options.engine, gpus=_gpus(options)), 1
        ):
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


def _unmended(reports: Sequence[ArtifactReport], options: RenderOptions) -> list[str]:
    """Notes about what --mend could not mend."""
    return [note for report in reports for note in mend.left(report)] if options.mend else []


def _settings_file(out: Path, made: plan.Plan) -> str:
    path = out.with_suffix(".settings.toml")
    stretches.write(path, made.stretches, made.settings, _times(made.clip))
    return str(path)
