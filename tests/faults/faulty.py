"""What the tests of faults share: a ledger of what happened, a faceset that is watched, ways to begin.

FACESET_FAULTS=N tries each random fault N times (`make faults`); the suite's own run tries a few.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.extract.pipeline import Curated, Request, curate
from faceset import cli as front

ROOT = Path(__file__).parents[2]
TRIES = int(os.environ.get("FACESET_FAULTS", "1"))
"""Factor on the number of tries; above 1 is the whole suite."""
KILLS = 2 if TRIES == 1 else 8
"""Of one faceset; a training and a render are killed TRIES times as often."""


@dataclass
class Row:
    """What was seen of one kind of fault."""

    fault: str
    tries: int = 0
    lost: int = 0
    """Finished pieces (parts, checkpoints) that had to be made again."""
    half: int = 0
    """Half-written files that were read, or lay under a final name."""
    message: str = ""


@dataclass
class Ledger:
    """All rows; `row` finds or makes one."""

    rows: dict[str, Row] = field(default_factory=dict)

    def row(self, fault: str) -> Row:
        return self.rows.setdefault(fault, Row(fault))


LEDGER = Ledger()


@dataclass
class Watched:
    """A faceset that is to survive: which parts were done, and whether all that has a final name is whole."""

    folder: Path
    row: Row
    parts: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        """After a fault: remember what is done, count what is half-written under a final name."""
        for path in self.folder.glob("parts/*.parquet"):
            if path.name.startswith("."):
                continue
            try:
                pq.read_table(path)
            except (OSError, pa.ArrowInvalid):
                self.row.half += 1
            now = path.stat().st_mtime_ns
            self.row.lost += self.parts.get(path.name, now) != now
            self.parts[path.name] = now
        self.row.lost += sum(not (self.folder / "parts" / name).exists() for name in self.parts)
        for name in ("faces.parquet", "selection.parquet"):
            if (self.folder / name).exists():
                pq.read_table(self.folder / name)


def table_hash(folder: Path) -> str:
    rows = pq.read_table(folder / "faces.parquet").sort_by("face_id").to_pylist()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


CURATE = """
import sys
from pathlib import Path
from curate.extract.pipeline import Request, curate
if __name__ == "__main__":
    settings = (("segment_seconds", 0.2),)
    curate(Request((sys.argv[1],), Path(sys.argv[2]), "A", "research", settings=settings, workers=int(sys.argv[3])))
"""


def begin(clip: Path, out: Path, workers: int = 1, **kwargs) -> Curated:
    """Curate in this process."""
    settings = (("segment_seconds", 0.2),)
    return curate(Request((str(clip),), out, "A", "research", settings=settings, workers=workers), **kwargs)


def start(script: Path, *arguments: object, **environment: str) -> subprocess.Popen[bytes]:
    """Curate in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """The command line in this process: exit code and the one line on stderr."""
    old, sys.argv = sys.argv, ["faceset", *map(str, arguments), "-q"]
    capsys.readouterr()
    try:
        with pytest.raises(SystemExit) as end:
            front.main()
    finally:
        sys.argv = old
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("faceset: ")]
    return int(end.value.code or 0), lines[-1] if lines else ""


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)
