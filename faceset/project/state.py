"""State of a project: which steps are done, from which input, and how long they took. Read and written whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from curate.errors import UsageError, WorkError
from curate.records import record
from curate.runtime.files import write_whole
from curate.safe_io import DAMAGED, one_line

HIDDEN = ".project"


@dataclass(frozen=True)
class Done:
    """What is known of one step."""

    key: str
    """Hash of its input."""
    finished: bool
    """False: begun, and not known to have ended."""
    seconds: float = 0.0
    units: float = 0.0
    """Frames or training steps that took these seconds."""


@dataclass
class State:
    """Steps by name; every change is on disk at once."""

    path: Path
    steps: dict[str, Done] = field(default_factory=dict)

    def put(self, step: str, done: Done) -> None:
        """Remember a step."""
        self.steps[step] = done
        values = {"format": 1, "steps": {name: asdict(each) for name, each in self.steps.items()}}
        write_whole(self.path, json.dumps(values, indent=1).encode())

    def pace(self, kind: str) -> float | None:
        """Seconds per unit of all finished steps of a kind; None if there are none."""
        known = [d for name, d in self.steps.items() if name.startswith(f"{kind} ") and d.finished and d.units]
        units = sum(d.units for d in known)
        return sum(d.seconds for d in known) / units if units else None


@dataclass(frozen=True)
class _File:
    format: int
    steps: Mapping[str, Done]


def read_state(results: Path) -> State:
    """The state of the project with these results; empty before the first run. Raises WorkError where it is damaged."""
    path = results / HIDDEN / "state.json"
    if not path.is_file():
        return State(path)
    try:
        found = record(_File, json.loads(path.read_text(encoding="utf-8")))
        if found.format != 1:
            raise ValueError(f"format {found.format}")
    except DAMAGED as error:
        raise WorkError(
            f"{path} is damaged ({one_line(error)}): delete it; results are then made again, and the old ones are "
            "kept in earlier/"
        ) from None
    return State(path, dict(found.steps))


@contextmanager
def locked(results: Path) -> Iterator[None]:
    """The project for this process alone. Raises UsageError while another runs it."""
    folder = results / HIDDEN
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{results}: another faceset run is at work here; wait for it to end") from None
    except OSError as error:
        raise WorkError(f"{results}: cannot be written ({error.strerror})") from None
    try:
        yield
    finally:
        lock.release()
