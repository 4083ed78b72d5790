"""Time, disk space and price of the steps that are due: from this project's own steps, else from measured figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curate.footage.paths import expand, parse_footage
from curate.runtime import disk
from curate.runtime.jobs import processes
from curate.settings import Settings
from faceset.project import keys
from faceset.project.file import Project
from faceset.project.state import State
from faceset.project.steps import Step, folder_of, footage_of

CURATING = 1 / 18
"""Seconds of one core per frame of footage: middle of the 15 to 30 frames per second of docs/getting-started.md."""
RENDERING = 1 / 3.5
"""Seconds of one core per rendered frame at 480 px: the demo's render on two cores, November 2026."""
SHORT = {"select": 3.0, "report": 6.0, "compare": 6.0}
"""Seconds of the steps that hardly depend on the footage."""
PER_PIXEL = 0.25
"""Bytes of a rendered frame per pixel at the default quality, an upper bound."""
COPIES = 4
"""Tensors in a checkpoint per weight: itself, its average, two moments of the optimiser."""


@dataclass(frozen=True)
class Cost:
    """What a step takes."""

    seconds: float
    size: float
    """Bytes."""
    measured: bool
    """From this project's earlier steps or this machine; False: from figures of another machine."""


def cost(project: Project, state: State, step: Step) -> Cost:
    """Estimate for a step that is due."""
    return COSTS[step.kind](project, state, step)


def _short(project: Project, state: State, step: Step) -> Cost:
    pace = state.pace(step.kind)
    return Cost(SHORT[step.kind] if pace is None else pace, 2e6, pace is not None)


def _curate(project: Project, state: State, step: Step) -> Cost:
    frames = sum(_frames(Path(project.path(t))) for t in _local(project, step))
    pace = state.pace("curate")
    settings = Settings(**project.settings())
    each = CURATING / processes(project.workers) if pace is None else pace
    return Cost(frames * each, disk.needed(frames, settings), pace is not None)


def _local(project: Project, step: Step) -> list[str]:
    return [text for text in project.subjects[step.of].footage if "://" not in text]


def _frames(path: Path) -> int:
    """Frames of footage; of a folder those of all its clips."""
    return sum(_counted(each.path, each.start, each.end) for each in expand(parse_footage(str(path))))


def _counted(path: Path, start: float | None, end: float | None) -> int:
    """Frames of a clip between two times, from its header; 0 where it cannot be read."""
    if path.is_dir():
        return sum(1 for _ in path.iterdir())
    seconds, rate, _ = _header(path)
    stop = seconds if end is None else min(end, seconds)
    return round(max(stop - (start or 0.0), 0.0) * rate)


def _header(path: Path) -> tuple[float, float, int]:
    """Length in seconds, frames per second and pixels of a frame, without decoding; zeros for what is no video."""
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            length = container.duration / av.time_base if container.duration else 0.0
            return float(length), float(stream.average_rate or 25), stream.width * stream.height
    except (av.error.FFmpegError, OSError, IndexError, ValueError):
        return 0.0, 25.0, 0


def _train(project: Project, state: State, step: Step) -> Cost:
    from train.pace import parameters, seconds_per_step

    config = project.config(project.pair(step.of))
    run = keys.run_facts(folder_of(project, step))
    left = max(config.steps - (run.done if step.name in state.steps else 0), 0)
    shape = keys.shape_of(config.to_json())
    same = any(keys.run_facts(project.results / "runs" / pair.name).shape == shape for pair in project.pairs)
    pace = state.pace("train") if same else None
    weights = 4 * parameters(config)
    size = weights * (COPIES * config.keep + 1)
    return Cost(left * (seconds_per_step(config) if pace is None else pace), size, True)


def _render(project: Project, state: State, step: Step) -> Cost:
    footage = footage_of(project, step)
    frames = _counted(footage.path, footage.start, footage.end)
    pace = state.pace("render")
    each = RENDERING / processes(project.workers) if pace is None else pace
    return Cost(frames * each, frames * _header(footage.path)[2] * PER_PIXEL, pace is not None)


COSTS: dict[str, Callable[[Project, State, Step], Cost]] = {
    "curate": _curate,
    "select": _short,
    "report": _short,
    "compare": _short,
    "train": _train,
    "render": _render,
}
