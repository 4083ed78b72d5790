"""Demo: the full pipeline, end to end, on generated footage (`faceset demo`, `make demo`).

The footage shows two synthetic heads, neither of a living person: one textured from the public-domain portrait of Grace
Hopper, one painted by code. The first gives the face, the second the performance.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from curate.dataset.faceset import open_faceset
from curate.errors import UsageError
from curate.extract.pipeline import Request, curate
from curate.select.options import SelectionOptions
from curate.select.selection import select_faceset
from curate.turntable import hopper, painted, performance, write_clip
from curate.types import Progress, no_progress
from render.options import RenderOptions
from render.pipeline import render
from reports.coverage.page import write as write_coverage
from train.config import config_of
from train.fit import train

FPS = 25
SIZE = (480, 480)
MARK = ".faceset-demo"


def demo(
    out: Path,
    steps: int,
    seconds: float,
    workers: int = 1,
    force: bool = False,
    progress: Progress = no_progress,
) -> list[tuple[str, Path]]:
    """Make footage, two facesets, a run, a render and its reports under `out`; names and paths of the results."""
    if not 1 <= seconds <= 600:
        raise UsageError(f"--seconds {seconds:g}: must be 1 to 600 seconds")
    config = config_of(
        "tiny", steps=steps, save_every=max(steps // 3, 1), preview_every=max(steps // 7, 1), identity=12,
        performance=24,
    )  # fmt: skip
    _prepare(out, force)
    footage = _footage(out / "footage", round(seconds * FPS), progress)
    pages = []
    for side, subject in (("source", "Grace Hopper"), ("target", "Painted head")):
        request = Request((str(footage[side]),), out / side, subject, "public-domain", workers=workers)
        select_faceset(curate(request, progress).faceset, SelectionOptions("200"))
        pages.append(write_coverage(open_faceset(out / side)))
    train(config, out / "source", out / "target", out / "run", progress=progress)
    done = render(out / "run", footage["target"], out / "render.mp4", RenderOptions(workers=workers), progress)
    results = [
        ("render", Path(done.out)),
        ("artifacts", Path(done.report)),
        ("training", out / "run" / "reports" / "training.html"),
    ]
    return [*results, *(("coverage", page) for page in pages)]


def _prepare(out: Path, force: bool) -> None:
    """Make the folder, empty; only a demo's own folder is ever cleared."""
    if out.exists() and any(out.iterdir()):
        ours = (out / MARK).is_file()
        if not (force and ours):
            advice = "use --force to overwrite this demo" if ours else "choose another folder"
            raise UsageError(f"--out {out}: is not empty; {advice}")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()


def _footage(folder: Path, frames: int, progress: Progress) -> dict[str, Path]:
    """Make a clip of each head, with a tone as sound."""
    folder.mkdir()
    paths = {}
    for number, (side, head) in enumerate((("source", hopper()), ("target", painted()))):
        progress("rendering heads", number, 2)
        paths[side] = folder / f"{side}.mp4"
        write_clip(paths[side], head, performance(seed=number, frames=frames), SIZE, FPS)
    progress("rendering heads", 2, 2)
    return paths
