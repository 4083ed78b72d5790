"""The front door: the command line, one short function a verb. Heavy imports happen inside the verbs."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import typer.main

from curate.errors import FacesetError, UsageError
from faceset import messages
from faceset.completion import values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from curate.dataset.reading import Faces

log = logging.getLogger("faceset")
NO_CONFIG = {
    "source", "target", "out", "preset", "cache", "engine", "workers", "resume", "init", "force", "as_json", "quiet",
}  # fmt: skip
"""Arguments of `train` that are no fields of its configuration."""
MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENOMEM}
"""Faults of the machine: one line; any other OSError is a bug and keeps its traceback."""

app = typer.Typer(
    help="Find the few minutes of footage worth training on, train, render, and say what is wrong with the result.",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _all_verbs(
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Logs and progress on stderr: a JSON object a line (FACESET_LOG=json).")
    ] = False,
) -> None:
    if log_json:
        os.environ["FACESET_LOG"] = "json"


def _one_of(name: str, text: str) -> Any:
    """An option whose values the shell completes."""
    return typer.Option(help=text, autocompletion=values(name))


def _at_url(context: typer.Context, value: Any) -> Any:
    """Facesets at URLs as folders of this machine, which are brought there when the verb ends."""
    if isinstance(value, list):
        return [_at_url(context, one) for one in value]
    if ":/" not in str(value) or context.resilient_parsing:
        return value
    from curate.dataset.mirror import mirrored

    return context.with_resource(mirrored(value))


def _no_url(value: Path) -> Path:
    """What is written to a folder of this machine only."""
    if ":/" in str(value):
        from curate.dataset.mirror import url_of

        if url_of(value):
            raise UsageError(f"--out {url_of(value)}: must be on this machine; only facesets can be at URLs")
    return value


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only warnings and the result.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Workers = Annotated[int, typer.Option(help="Processes; 0: as many as there are cores.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A faceset; a folder or a URL.", callback=_at_url)]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Budget = Annotated[str, _one_of("budget", "How many faces to select: a number, minutes (9min), or auto.")]
Cover = Annotated[
    str | None,
    _one_of("cover", "What the selection represents: space (every kind of face alike; the default), footage, target."),
]
For = Annotated[
    Path | None,
    typer.Option(
        "--for",
        metavar="TARGETSET",
        help="Faceset whose performance is to be covered; its gaps are listed.",
        callback=_at_url,
    ),
]
Weight = Annotated[float, typer.Option(help="Weight of this block in the diversity space; 0 leaves it out.")]
Floor = Annotated[float | None, typer.Option(help="Faces below are not selected; raw value of the column.")]
Ceiling = Annotated[float | None, typer.Option(help="Faces above are not selected; raw value of the column.")]


def read(folder: str | Path, columns: Sequence[str] | None = None) -> Faces:
    """A faceset: `.table` and `.selected` (pandas DataFrames), `.dataset()` (torch); see
    `curate.dataset.reading.read`."""
    from curate.dataset.reading import read as open_faces

    return open_faces(folder, columns)


@app.command()
def curate(
    footage: Annotated[
        list[str],
        typer.Argument(
            help="Videos, folders of them, folders of photos, clip.mp4@00:10-01:20, or a faceset to go on in."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the faceset, or a URL; made, or gone on in.", callback=_at_url)
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Name of the person whose face this is.")] = None,
    basis: Annotated[str | None, _one_of("basis", "self, release, public-domain or research.")] = None,
    evidence: Annotated[Path | None, typer.Option(help="Document that shows the basis; its hash is kept.")] = None,
    budget: Budget = "auto",
    reference: Annotated[list[Path] | None, typer.Option(help="Photo of the subject; may be given again.")] = None,
    person: Annotated[int | None, typer.Option(help="Identity from `faceset people` that is the subject.")] = None,
    every: Annotated[
        str | None, _one_of("every", "Read every Nth frame; auto: leave out frames in which nothing changes.")
    ] = None,
    detect_every: Annotated[int | None, typer.Option(help="Detect on every Nth read frame, and on loss.")] = None,
    framing: Annotated[str | None, _one_of("framing", "face, full or head.")] = None,
    crop_size: Annotated[int | None, typer.Option(help="Side of the crops in pixels.")] = None,
    detector: Annotated[str | None, _one_of("detector", "litert, dlib or face-alignment.")] = None,
    landmarker: Annotated[str | None, _one_of("landmarker", "litert, face-alignment or face-alignment-2d.")] = None,
    identifier: Annotated[str | None, _one_of("identifier", "dlib.")] = None,
    cover: Cover = None,
    target: For = None,
    weight_pose: Weight = 1.0,
    weight_expression: Weight = 1.0,
    weight_lighting: Weight = 1.0,
    min_sharpness: Floor = None,
    min_eye_distance: Floor = None,
    min_pose_confidence: Floor = None,
    min_detection: Floor = None,
    min_exposure: Floor = None,
    min_visible: Floor = None,
    max_compression: Ceiling = None,
    max_motion_blur: Ceiling = None,
    engine: Annotated[str, _one_of("engine", "local, or ray (RAY_ADDRESS, or a local cluster).")] = "local",
    workers: Workers = 0,
    gpus: Annotated[float, typer.Option(help="With --engine ray: the share of a GPU that a worker needs.")] = 0.0,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Footage in, curated faceset out: find the subject's faces, score them, select the most diverse."""
    wishes = _wishes(locals())
    from curate.extract.pipeline import Request
    from curate.extract.pipeline import curate as run

    given = {
        "every": _every(every), "detect_every": detect_every, "framing": framing, "crop_size": crop_size,
        "detector": detector, "landmarker": landmarker, "identifier": identifier,
    }  # fmt: skip
    settings = tuple((k, v) for k, v in given.items() if v is not None)
    progress, cores, references = _progress(quiet), _workers(workers), tuple(reference or ())
    request = Request(
        tuple(footage), out, subject, basis, evidence, references, person, settings, cores, engine, force, gpus
    )
    done = run(request, progress)
    chosen = _select(done.faceset.folder, wishes, target)
    page = _report(done.faceset.folder, target)
    _say(as_json, {**done.summary(), **chosen, "report": str(page)}, messages.curated)


@app.command()
def select(
    folder: Folder,
    budget: Budget = "auto",
    cover: Cover = None,
    target: For = None,
    weight_pose: Weight = 1.0,
    weight_expression: Weight = 1.0,
    weight_lighting: Weight = 1.0,
    min_sharpness: Floor = None,
    min_eye_distance: Floor = None,
    min_pose_confidence: Floor = None,
    min_detection: Floor = None,
    min_exposure: Floor = None,
    min_visible: Floor = None,
    max_compression: Ceiling = None,
    max_motion_blur: Ceiling = None,
    pin: Annotated[
        list[str] | None, typer.Option(help="Face id that is always selected; kept for later calls.")
    ] = None,
    ban: Annotated[list[str] | None, typer.Option(help="Face id that never is; kept for later calls.")] = None,
    free: Annotated[list[str] | None, typer.Option(help="Face id that is neither pinned nor banned any more.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Choose again, without the footage."""
    wishes = _wishes(locals())
    _progress(quiet)
    _pin(folder, pin or [], ban or [], free or [])
    _say(as_json, {"faceset": str(folder), **_select(folder, wishes, target)}, messages.selected)


@app.command()
def prune(
    folder: Folder,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what it would free.")] = False,
    bring_back: Annotated[
        bool, typer.Option("--restore", help="The other way: make missing crops of selected faces from the footage.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Drop the crops of faces that are not selected, to save disk; they can be made again from the footage."""
    from curate.dataset.faceset import open_faceset
    from curate.runtime.disk import text
    from curate.upkeep.prune import prune as run
    from curate.upkeep.prune import restore

    progress = _progress(quiet)
    faceset = open_faceset(folder)
    if bring_back:
        _say(as_json, {"restored": restore(faceset, progress)}, lambda r: f"{r['restored']} crops made again")
        return
    found = asdict(run(faceset, yes))
    size = f"{found['crops']} crops, {text(found['bytes'])}"
    told = f"{size} freed" if yes else f"would free {size}; --yes does it"
    _say(as_json, found, lambda r: f"{told}; {r['kept']} crops of selected or pinned faces stay")


@app.command()
def people(
    folder: Folder,
    person: Annotated[int | None, typer.Option(help="Make this one the subject.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The identities found, as a sheet of faces (reports/people.png)."""
    from curate.dataset.faceset import open_faceset
    from curate.extract.pipeline import choose_person
    from reports.coverage.gallery import people_sheet

    _progress(quiet)
    faceset = open_faceset(folder)
    if person is not None:
        faceset = choose_person(faceset, person)
    sheet = people_sheet(faceset, faceset.reports / "people.png")
    counts = faceset.table(["person", "kept"]).groupby("person").agg(faces=("kept", "size"), kept=("kept", "sum"))
    found = [{"person": int(str(i)), "faces": int(r.faces), "kept": int(r.kept)} for i, r in counts.iterrows()]
    again = f"\nchoose again: faceset select {folder}" if person is not None else ""
    lines = "\n".join(f"person {p['person']}: {p['faces']} faces{', the subject' if p['kept'] else ''}" for p in found)
    _say(as_json, {"sheet": str(sheet), "people": found}, lambda r: f"{lines}\n{r['sheet']}{again}")


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Facesets; several are also compared.", callback=_at_url)
    ],
    target: For = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Diversity and coverage page (reports/coverage.html and .json); of several facesets also one that compares."""
    _progress(quiet)
    pages = [_report(folder, target) for folder in folders]
    if len(folders) > 1:
        from curate.dataset.faceset import open_faceset
        from reports.coverage.compare import write

        pages.append(write([open_faceset(folder) for folder in folders]))
    found = {"report": str(pages[-1]), "data": str(pages[-1].with_suffix(".json")), "reports": [str(p) for p in pages]}
    _say(as_json, found, lambda r: "\n".join(r["reports"]))


@app.command("app")
def open_app(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Facesets.", callback=_at_url)],
    port: Annotated[int, typer.Option(help="Port on this machine (loopback).")] = 5151,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    clips: Annotated[
        bool, typer.Option("--clips", help="The footage too: a dataset of videos with the faces as frame labels.")
    ] = False,
    load_only: Annotated[bool, typer.Option("--load-only", help="Load the datasets and leave.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The FiftyOne App on it."""
    from curate.app.launch import launch, load, load_clips

    _progress(quiet)
    if load_only:
        names = [*load(folders), *(load_clips(folder) for folder in folders if clips)]
        _say(as_json, {"datasets": names}, lambda r: "\n".join(r["datasets"]))
        return
    opened = (lambda address: _say(True, {"address": address}, None)) if as_json else None
    launch(folders, port=port, browser=browser, clips=clips, opened=opened)


@app.command()
def train(
    source: Annotated[Path, typer.Option(help="Faceset that gives the face.", callback=_at_url)],
    target: Annotated[Path, typer.Option(help="Faceset whose performance is kept.", callback=_at_url)],
    out: Annotated[Path, typer.Option(help="Folder of the run.", callback=_no_url)],
    preset: Annotated[
        str | None, _one_of("preset", "tiny (64 px), small (128 px, the default) or full (256 px).")
    ] = None,
    arch: Annotated[
        str | None, _one_of("arch", "df (a decoder a face; the default) or liae (one decoder, shares more).")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; the preset's where not given.")] = None,
    stop: Annotated[
        str | None, _one_of("stop", "steps, or auto: when held-out quality stops rising, --steps at most.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Faces a side, step and process.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Passes in which a batch is done: less memory.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything drawn by chance.")] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    preview_every: Annotated[int | None, typer.Option(help="Steps between previews and held-out figures.")] = None,
    device: Annotated[str | None, _one_of("device", "auto, cpu, cuda or mps.")] = None,
    precision: Annotated[str | None, _one_of("precision", "auto, fp32, bf16 or fp16.")] = None,
    compile: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Compile the network: a slow start, faster steps.")
    ] = None,
    price: Annotated[float | None, typer.Option(help="Money for one device for one hour: the cost is told.")] = None,
    sampling: Annotated[str | None, _one_of("sampling", "cluster (every kind of face alike) or uniform.")] = None,
    flip: Annotated[
        str | None, _one_of("flip", "Mirror half of the faces: off, auto (only those lit from the front), all.")
    ] = None,
    blur: Annotated[
        float | None, typer.Option(help="Largest blur of what is read, as a share of the crop; 0: none.")
    ] = None,
    compress: Annotated[float | None, typer.Option(help="Strongest compression of what is read, 0 to 1.")] = None,
    perceptual_weight: Annotated[float | None, typer.Option(help="Weight of the Laplacian pyramid's L1.")] = None,
    adversarial_weight: Annotated[float | None, typer.Option(help="Weight of the discriminators' verdict.")] = None,
    identity: Annotated[int | None, typer.Option(help="Held-out swaps whose identity is read each time.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of this machine for the decoded faces; OUT/cache where not given.")
    ] = None,
    engine: Annotated[str, _one_of("engine", "local, or ray: processes on a cluster (RAY_ADDRESS).")] = "local",
    workers: Annotated[int, typer.Option(help="Processes of --engine ray.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in this run where it was.")] = False,
    init: Annotated[Path | None, typer.Option(help="Run whose encoder to begin with.")] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the autoencoder (under torchrun or accelerate launch: on several GPUs and machines)."""
    given = {name: value for name, value in locals().items() if name not in NO_CONFIG}
    if engine not in ("local", "ray"):
        raise UsageError(f"--engine {engine}: must be local or ray")
    progress = _progress(quiet)
    from train.config import config_of
    from train.run import resumed_config

    config = resumed_config(out, preset, **given) if resume else config_of(preset or "small", **given)
    if engine == "ray":
        from train.on_ray import train_on_ray

        done = train_on_ray(config, source, target, out, workers, resume, force, init, cache)
    else:
        from train.fit import train as run

        done = run(config, source, target, out, resume, force, init, cache, progress)
    if os.environ.get("RANK", "0") != "0":
        return  # under torchrun the first process speaks for all
    _say(as_json, asdict(done), messages.trained(out))


@app.command()
def render(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished training.")],
    footage: Annotated[Path, typer.Option(help="Video whose performance is kept.")],
    out: Annotated[Path, typer.Option(help="The video to write: .mp4, .m4v or .mov.", callback=_no_url)],
    span: Annotated[
        str | None, typer.Option("--range", metavar="START-END", help="Only this much of it, as 00:10-01:20.")
    ] = None,
    still: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only the frame at 00:12.5, as .png: look before a long render."),
    ] = None,
    mask: Annotated[
        Literal["both", "model", "hull", "union"],
        typer.Option(help="Where the face is shown; both: model and hull."),
    ] = "both",
    erode: Annotated[float, typer.Option(help="How far inside its outline it begins, in face sizes.")] = 0.03,
    feather: Annotated[float, typer.Option(help="Over what width it fades in, in face sizes.")] = 0.10,
    keep: Annotated[str, _one_of("keep", "What stays the target's: eyes, mouth or eyes,mouth.")] = "",
    colour: Annotated[Literal["none", "reinhard", "mkl", "sot"], typer.Option(help="Colour transfer.")] = "reinhard",
    blend: Annotated[Literal["feather", "pyramid", "poisson"], typer.Option(help="How it is laid in.")] = "poisson",
    sharpen: Annotated[float, typer.Option(help="Share of the missing detail that is made good, 0 to 2.")] = 1.0,
    grain: Annotated[bool, typer.Option(help="Give the face the footage's grain.")] = True,
    occlusion: Annotated[bool, typer.Option(help="Leave hands and other things before the face in front.")] = True,
    label: Annotated[bool, typer.Option(help="A visible line that says that a face was replaced.")] = False,
    codec: Annotated[str, _one_of("codec", "h264, h265, prores or prores4444 (.mov).")] = "h264",
    bits: Annotated[int, typer.Option(help="A colour component: 8 or 10; 0: as the footage.")] = 0,
    crf: Annotated[int, typer.Option(help="H.264's and H.265's quality, 0 to 51; lower is better.")] = 18,
    preset: Annotated[str, _one_of("coding-preset", "x264's and x265's: ultrafast to veryslow.")] = "medium",
    frames: Annotated[Path | None, typer.Option(metavar="DIR", help="Every frame as a picture, too.")] = None,
    frames_as: Annotated[Literal["png", "exr"], typer.Option(help="PNG, or linear OpenEXR.")] = "png",
    alpha: Annotated[bool, typer.Option("--alpha", help="The pictures have the mask as alpha.")] = False,
    masks: Annotated[Path | None, typer.Option(metavar="DIR", help="Every mask as a 16-bit PNG, too.")] = None,
    hdr: Annotated[bool, typer.Option("--allow-hdr", help="Render HDR footage all the same, tags kept.")] = False,
    key: Annotated[Path | None, typer.Option(help="Your signing key (PEM, PKCS#8, ES256).")] = None,
    cert: Annotated[Path | None, typer.Option(help="Its certificate chain (PEM).")] = None,
    tsa: Annotated[
        str | None, typer.Option(metavar="URL", help="Time-stamp authority (RFC 3161); asks the network.")
    ] = None,
    device: Annotated[str, _one_of("device", "auto, cpu or cuda.")] = "auto",
    workers: Workers = 0,
    engine: Annotated[str, _one_of("engine", "local, or ray (RAY_ADDRESS, or a local cluster).")] = "local",
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The finished, signed and marked video, and its artifact report. Stopped, it goes on when called again."""
    from render import pipeline
    from render.compositing.mask import MaskSettings
    from render.compositing.settings import RenderSettings
    from render.plan import Frames

    masking = MaskSettings(mask, erode, feather, tuple(k for k in keep.split(",") if k))
    settings = RenderSettings(masking, colour, blend, sharpen, grain, occlusion, label)
    wishes = pipeline.Wishes(
        settings, codec, bits or None, crf, preset, span,
        None if frames is None else Frames(str(frames.resolve()), frames_as, alpha), masks, hdr, device,
        _workers(workers), engine, key, cert, tsa, force,
    )  # fmt: skip
    if still is not None:
        number = pipeline.still(run, footage, still, out, wishes)
        _say(as_json, {"out": str(out), "frame": number}, lambda r: r["out"])
        return
    done = pipeline.render(run, footage, out, wishes, _progress(quiet))
    _say(as_json, asdict(done), lambda r: f"{r['out']}\n{r['report']}")


@app.command()
def inspect(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="Any render, whoever made it.")],
    reference: Annotated[Path | None, typer.Option(help="The target's footage.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Page; None: VIDEO.artifacts.html (or .inspect.html)."),
    ] = None,
    workers: Workers = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The artifact report for any video."""
    from reports.artifact_page.page import to_json, write
    from reports.artifacts.inspect import inspect as inspect_video

    found = inspect_video(video, reference, workers=_workers(workers), progress=_progress(quiet))
    page = out or _writable_page(video)
    write(found, page, {"video": str(video), "reference": str(reference) if reference else None})
    result = {**to_json(found), "report": str(page)}
    _say(
        as_json,
        result,
        lambda r: "\n".join([*map(messages.finding, r["findings"]), f"{len(r['findings'])} findings", str(page)]),
    )


@app.command()
def verify(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A render.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Who made it, from what, is it untouched. Exit 0 only on trusted or valid."""
    from render.provenance.verify import verify as check

    _progress(quiet)
    found = asdict(check(video))
    _say(as_json, found, lambda r: f"{r['state']}: {r['reason']}")
    if found["state"] not in ("trusted", "valid"):
        raise typer.Exit(1)


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of aligned faces or photos, or a faceset.pak.")],
    out: Annotated[Path, typer.Option(help="Folder of the new faceset, or a URL.", callback=_at_url)],
    subject: Annotated[str, typer.Option(help="Name of the person whose face this is.")],
    basis: Annotated[str, _one_of("basis", "self, release, public-domain or research.")],
    evidence: Annotated[Path | None, typer.Option(help="Document that shows the basis; its hash is kept.")] = None,
    program: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="dfl, faceswap or folder (photos); the files tell if not given.",
            autocompletion=values("import-format"),
        ),
    ] = None,
    budget: Budget = "auto",
    workers: Workers = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Another program's faceset in: its pictures are scored here, its landmarks kept as imported.parquet."""
    from curate.exchange.importing import import_faceset
    from curate.select.eligible import Floors
    from curate.select.selection import Wishes
    from curate.select.space import Weights

    wishes = Wishes(budget, None, Floors(), Weights())
    done = import_faceset(path, out, subject, basis, evidence, program, _workers(workers), _progress(quiet))
    chosen = _select(out, wishes, None)
    page = _report(out)
    _say(as_json, {**done.summary(), **chosen, "report": str(page)}, messages.imported)


@app.command()
def export(
    folder: Folder,
    program: Annotated[
        str,
        typer.Option("--format", help="dfl, faceswap, folder or webdataset.", autocompletion=values("export-format")),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write, new or empty.", callback=_no_url)],
    everything: Annotated[bool, typer.Option("--all", help="All kept faces, not only the selected.")] = False,
    pack: Annotated[bool, typer.Option("--pak", help="dfl: one faceset.pak instead of pictures.")] = False,
    size: Annotated[int, typer.Option(help="dfl, faceswap: side in pixels of the faces, cut out anew.")] = 512,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The selected faces out, as another program trains on them, with the basis beside them (BASIS.json)."""
    from curate.exchange.exporting import export as run

    done = asdict(run(folder, out, program, everything, pack, size, _progress(quiet)))
    _say(as_json, done, messages.exported)


@app.command()
def forget(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="The person's name, as the faceset has it.")],
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR...]", help="Facesets and runs; others' are left alone.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, it only tells what would be removed.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove a person: facesets, what runs hold of the face, the App's datasets, the name in the list of renders."""
    from render.forget import forget as run

    _progress(quiet)
    _say(as_json, asdict(run(subject, folders or [], yes)), messages.forgotten)


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without root.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What is installed, what is missing, the command that mends it."""
    from curate.upkeep.doctor import checks, mend, required_missing
    from render.provenance.keys import config_folder

    _progress(quiet)
    key = config_folder() / "signing.key"
    found = checks(key)
    if fix:
        for line in mend(found):
            log.info("%s", line)
        found = checks(key)
    text = "\n".join(f"{c.state:8}{c.name:42}{c.detail}" + (f"   -> {c.mend}" if c.mend else "") for c in found)
    _say(
        as_json,
        {"checks": [asdict(c) for c in found], "missing": sum(c.state == "missing" for c in found)},
        lambda _: text,
    )
    if required_missing(found):
        raise typer.Exit(1)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to work in.")] = Path("demo"),
    steps: Annotated[int, typer.Option(help="Training steps.")] = 700,
    seconds: Annotated[float, typer.Option(help="Length of each clip.")] = 12.0,
    workers: Workers = 0,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The whole way on footage that it makes itself: two heads, a faceset each, a run, a render, two reports."""
    from render.demo import demo as run

    made = run(out, steps=steps, seconds=seconds, workers=_workers(workers), force=force, progress=_progress(quiet))
    found = {"made": [{"what": what, "path": str(path)} for what, path in made]}
    _say(as_json, found, lambda _: "\n".join(f"{what:9} {path}" for what, path in made))


def _every(text: str | None) -> int | None:
    from curate.types import AUTO

    if text is None:
        return None
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if text != "auto":
        raise UsageError(f"--every {text}: must be a number from 1 on, or auto")
    return AUTO


def _workers(asked: int) -> int:
    if asked < 0:
        raise UsageError(f"--workers {asked}: must be 0 (one a core) or more")
    return asked or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else asked or os.cpu_count() or 1


def _progress(quiet: bool) -> Any:
    from curate.runtime.progress import Bar, set_up_logging
    from curate.types import no_progress

    set_up_logging(quiet)
    return no_progress if quiet else Bar()


def _wishes(given: dict[str, Any]) -> Any:
    """The selection's options out of a verb's arguments; refuses wrong ones before the work begins."""
    from curate.select.eligible import Floors
    from curate.select.selection import Wishes
    from curate.select.space import Weights

    floors = {f.name: given[f.name] for f in fields(Floors) if given[f.name] is not None}
    weights = Weights(given["weight_pose"], given["weight_expression"], given["weight_lighting"])
    if given["cover"] == "target" and given["target"] is None:
        raise UsageError("--cover target: say which target with --for TARGETSET")
    return Wishes(given["budget"], given["cover"], Floors(**floors), weights)


def _pin(folder: Path, pin: list[str], ban: list[str], free: list[str]) -> None:
    from curate.dataset.faceset import open_faceset
    from curate.dataset.lock import lock
    from curate.dataset.pins import change_pins

    if pin or ban or free:
        faceset = open_faceset(folder)
        with lock(faceset):
            change_pins(faceset, pin, ban, free)


def _select(folder: Path, wishes: Any, target: Path | None) -> dict[str, Any]:
    from curate.dataset.faceset import open_faceset
    from curate.dataset.lock import lock
    from curate.select.selection import select_faceset, summary

    faceset = open_faceset(folder)
    wanted = open_faceset(target) if target else None
    with lock(faceset):
        choice = select_faceset(faceset, wishes, wanted)
    return summary(faceset, choice, wishes.weights, wanted)


def _report(folder: Path, target: Path | None = None) -> Path:
    from curate.dataset.faceset import open_faceset
    from reports.coverage.page import write

    return write(open_faceset(folder), target=open_faceset(target) if target else None)


def _writable_page(video: Path) -> Path:
    """Beside the video, or here where its folder cannot be written; not over the page that its render wrote."""
    rendered = video.with_suffix(".c2pa").is_file() and video.with_suffix(".artifacts.html").is_file()
    page = video.with_suffix(".inspect.html" if rendered else ".artifacts.html")
    return page if os.access(video.parent, os.W_OK) else Path.cwd() / page.name


def _say(as_json: bool, result: dict[str, Any], text: Any) -> None:
    from curate.runtime.logs import to_json

    typer.echo(to_json(result) if as_json else text(result))


def _failed(message: str, code: int) -> int:
    """Tell that it failed: one line on stderr, with --json also the one object on stdout; the exit code."""
    from curate.runtime.logs import VARIABLE, log_line, to_json

    as_lines = os.environ.get(VARIABLE) == "json"
    sys.stderr.write((log_line("error", "faceset", message) if as_lines else f"faceset: {message}") + "\n")
    if "--json" in sys.argv and os.environ.get("RANK", "0") == "0":
        typer.echo(to_json({"error": message, "exit": code}))
    return code


def main() -> None:
    """Run the command line; user errors are one line on stderr, and with --json {error, exit} on stdout."""
    sys.excepthook = _bug
    try:
        command = typer.main.get_command(app)  # app(...) would set its own excepthook
        code = command(sys.argv[1:] or ["--help"], prog_name="faceset", standalone_mode=False)
    except FacesetError as error:
        code = _failed(str(error), error.exit_code)
    except typer.TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        code = _failed(f"{message} (--help explains)", 2)
    except OSError as error:
        if error.errno not in MACHINE:
            raise
        code = _failed(f"{error.filename or 'writing'}: {error.strerror}; what was finished is kept", 1)
    except MemoryError:
        sys.stderr.write("faceset: the memory is full; what was finished is kept; try fewer --workers\n")
        code = 1
    except (KeyboardInterrupt, typer.Abort):
        code = _failed("interrupted; what was finished is kept", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What becomes of an exception that is no user's error: its traceback, also where --json or JSON logs are read."""
    from curate.runtime.logs import VARIABLE, log_line, to_json

    message = f"{kind.__name__}: {error}"
    if "--json" in sys.argv and os.environ.get("RANK", "0") == "0":
        typer.echo(to_json({"error": message, "exit": 1}))
    if os.environ.get(VARIABLE) == "json":
        told = "".join(traceback.format_exception(kind, error, trace))
        sys.stderr.write(log_line("critical", "faceset", message, traceback=told) + "\n")
    else:
        sys.__excepthook__(kind, error, trace)


if __name__ == "__main__":
    main()
