"""From a run and a video to the finished, signed, reported render.

Decode, swap, correct the colour, paste, encode: one frame flows after the other, and a window of them is held. All is
written into a hidden folder beside the output and renamed at the end, the video last.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from curate import consent, video
from curate.errors import UsageError, WorkError
from curate.types import Clip, Floats, Frame, Framing, Image, Progress, no_progress
from render import blend, boxes, colour, encode, keys, manifest, mux
from render.mask import MaskSettings
from render.swap import BATCH, Place, Swapped, places, swap_frames

if TYPE_CHECKING:
    from reports.artifacts import Inspector
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
    frames: int
    swapped: int
    """Frames with the face; the others passed through."""
    findings: int
    sound: int
    """Sound and subtitle streams copied."""
    seconds: float
    fps: float
    """Frames rendered a second, everything counted."""
    notes: tuple[str, ...]
    """What differs from the footage and is not the face."""


@dataclass(frozen=True)
class _Pass:
    """What decoding, swapping and encoding all frames left behind."""

    times: list[int]
    swapped: int
    report: Any


def render(
    run: Path,
    footage: Path,
    out: Path,
    *,
    device: str = "cpu",
    workers: int = 1,
    crf: int = 18,
    force: bool = False,
    key: Path | None = None,
    cert: Path | None = None,
    mask: MaskSettings | None = None,
    batch: int = BATCH,
    progress: Progress = no_progress,
) -> RenderSummary:
    """Write `out` (.mp4, .m4v or .mov): the footage with the target's face swapped for the source's.

    Size, frame count, timestamps, colour tags and sound are the footage's; frames without the face pass through. Beside
    it come OUT.c2pa, OUT.artifacts.html and OUT.artifacts.json. `workers` processes look for the face. Raises
    ConsentError if the run names no subject or basis, UsageError for a wrong call, WorkError for footage or machine.
    """
    from train.run import load_swapper, open_run

    began = time.monotonic()
    _check_call(out, footage, crf, force)
    opened = open_run(run)
    for side in (opened.source, opened.target):
        consent.require(side.subject, str(run))
    signing = keys.signing_key(key, cert)
    clip = video.probe(footage)
    if clip.kind != "video":
        raise UsageError(f"--footage {footage}: photos have no timing to render; give a video")
    look = encode.look_of(footage, clip.width, clip.height)
    notes = _notes(look)
    with _scratch(out) as folder:
        sound = mux.check_sound(footage, out, folder / f"header{out.suffix}")
        where = _find(footage, clip, opened, workers, progress)
        swapper, digest = load_swapper(opened, device), _weights_sha256(run)
        framing = cast(Framing, opened.framing)
        faces = swap_frames(video.decode(clip), where, swapper, framing, mask or MaskSettings(), batch)
        passed = _encode(faces, folder / "video.mp4", clip, look, crf, progress)
        _close(folder, passed, footage, out, _papers(opened, clip, digest, passed), signing)
        page, sidecar = _publish(folder, passed, out, opened, clip)
    seconds = time.monotonic() - began
    frames = len(passed.times)
    return RenderSummary(
        str(out), str(page), str(sidecar), frames, passed.swapped, len(passed.report.findings), sound,
        seconds, frames / max(seconds, 1e-9), notes,
    )  # fmt: skip


def _check_call(out: Path, footage: Path, crf: int, force: bool) -> None:
    if out.suffix.lower() not in mux.FORMATS:
        raise UsageError(f"--out {out}: must end in {', '.join(mux.FORMATS)}")
    if not footage.exists():
        raise UsageError(f"--footage {footage}: no such file")
    if not 0 <= crf <= 51:
        raise UsageError(f"--crf {crf}: must be 0 to 51")
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; name the video to write")
    if out.exists() and out.samefile(footage):
        raise UsageError(f"--out {out}: is the footage itself; name another file")
    if out.exists() and not force:
        raise UsageError(f"--out {out}: exists; --force writes it anew")


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A hidden folder beside the output, on its disk, removed in any case."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise WorkError(f"--out {out}: cannot be written ({error.strerror}); name another folder") from None
    try:
        yield folder
    except OSError as error:
        if error.errno not in DISK:
            raise
        raise WorkError(f"--out {out}: cannot be written ({error.strerror}); make room or name another disk") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _notes(look: encode.Look) -> tuple[str, ...]:
    notes = []
    if look.bits > 8:
        notes.append(f"the footage has {look.bits} bits a component, the render 8")
    if look.transfer in (16, 18):
        notes.append("the footage is HDR (PQ or HLG): its tags are kept, but 8 bits may show bands")
    for note in notes:
        log.warning("%s", note)
    return tuple(notes)


def _find(footage: Path, clip: Clip, run: Run, workers: int, progress: Progress) -> dict[int, Place]:
    """Frames with the target's face. Raises WorkError if there are none."""
    from curate.follow import follow

    identity = run.target.identity or None
    found = places(follow(footage, identity, workers=workers, progress=progress))
    if not found:
        raise WorkError(f"{footage}: the face of {run.target.subject.name} is in no frame of it; is it the right clip?")
    log.info("%s: the face is in %d of %d frames", clip.name, len(found), clip.frames)
    return found


def _encode(
    faces: Iterator[tuple[Frame, Swapped | None]],
    path: Path,
    clip: Clip,
    look: encode.Look,
    crf: int,
    progress: Progress,
) -> _Pass:
    """All frames through colour, paste and the encoder, looked at on the way."""
    from reports.artifacts import Inspector

    inspector = Inspector(clip.fps, has_reference=True)
    rate = Fraction(clip.fps or 25).limit_denominator(1001)
    times: list[int] = []
    swapped = 0
    with encode.encoder(path, clip.width, clip.height, rate, look, crf) as write:
        for frame, output, face, mask in _composed(faces):
            write(output)
            _look_at(inspector, frame, output, face, mask)
            times.append(frame.pts)
            swapped += face is not None
            progress("rendering", len(times), clip.frames)
        if not times:
            raise WorkError(f"{clip.path}: no frame of it can be decoded")
    if len(times) != clip.frames:
        log.warning("%s: %d of %d frames are damaged and left out", clip.path, clip.frames - len(times), clip.frames)
        progress("rendering", clip.frames, clip.frames)
    return _Pass(times, swapped, inspector.finish())


def _composed(
    faces: Iterator[tuple[Frame, Swapped | None]],
) -> Iterator[tuple[Frame, Image, Swapped | None, Floats | None]]:
    """Every frame as decoded, as it is to be shown, its face, and the mask in the frame."""
    items = (
        (frame, face, None if face is None else colour.correction(face.rgb, face.footage, face.mask))
        for frame, face in faces
    )
    for (frame, face, _), change in colour.steady(
        items, lambda item: None if item[1] is None else item[1].place.shot, lambda item: item[2]
    ):
        if face is None:
            yield frame, frame.image, None, None
        else:
            output, mask = blend.paste(frame.image, colour.apply(face.rgb, change), face.mask, face.matrix)
            yield frame, output, face, mask


def _look_at(inspector: Inspector, frame: Frame, output: Image, face: Swapped | None, mask: Floats | None) -> None:
    landmarks = None if face is None else face.place.landmarks
    inspector.add(frame.index, float(frame.time), output, frame.image, landmarks, mask)


def _weights_sha256(run: Path) -> str:
    """Of the weights that `load_swapper` takes: the run's end, or its last checkpoint."""
    path = run / "model.safetensors"
    if not path.is_file():
        path = max((run / "checkpoints").glob("step-*.safetensors"), key=lambda p: int(p.stem.partition("-")[2]))
    return video.file_sha256(path)


def _papers(run: Run, clip: Clip, digest: str, passed: _Pass) -> manifest.Papers:
    sources = [manifest.Source("source", name, sha256) for name, sha256 in run.source.clips]
    sources.append(manifest.Source("target", Path(clip.path).name, clip.sha256))
    return manifest.Papers(
        run.source.subject, run.target.subject, tuple(sources), digest, len(passed.times), passed.swapped
    )


def _close(
    folder: Path, passed: _Pass, footage: Path, out: Path, papers: manifest.Papers, signing: keys.SigningKey
) -> None:
    """The footage's times and sound, then the papers: folder/signed and folder/manifest.c2pa."""
    unsigned = folder / f"unsigned{out.suffix}"
    suffix = out.suffix.lower()
    mux.mux(folder / "video.mp4", footage, unsigned, suffix, passed.times, boxes.NOTICE)
    store = manifest.sign(unsigned, folder / "signed", out.name, papers, footage, signing)
    (folder / "manifest.c2pa").write_bytes(store)
    unsigned.unlink()


def _publish(folder: Path, passed: _Pass, out: Path, run: Run, clip: Clip) -> tuple[Path, Path]:
    """Everything under its name, the video last; the paths of the report's page and of the sidecar."""
    from reports import artifact_page

    meta = {
        "video": out.name,
        "reference": Path(clip.path).name,
        "source": run.source.subject.name,
        "target": run.target.subject.name,
        "run": run.path.name,
        "generator": manifest.generator(),
    }
    page = artifact_page.write(passed.report, out.with_suffix(".artifacts.html"), meta)
    sidecar = manifest.sidecar_path(out)
    os.replace(folder / "manifest.c2pa", sidecar)
    with (folder / "signed").open("rb+") as stream:
        os.fsync(stream.fileno())
    os.replace(folder / "signed", out)
    return page, sidecar
