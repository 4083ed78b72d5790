"""Workers that die, hang or eat memory cost their own task, once; the others go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty import ROOT

from curate.errors import FacesetError
from curate.runtime import jobs, workers
from curate.runtime.workers import Limits, WorkerLostError


@pytest.fixture
def work(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import misbehave

    return misbehave.work


def outcomes(work, folder: Path, kinds: list[str], **kwargs) -> tuple[dict[str, FacesetError | None], dict[str, int]]:
    """What became of each task, and how often it was tried."""
    tasks = [(kind, str(folder / f"{i}")) for i, kind in enumerate(kinds)]
    found = {task[0]: problem for task, problem in jobs.run(work, tasks, 2, **kwargs)}
    return found, {kind: len(Path(name).read_text()) for kind, name in tasks}


def test_lost_workers_cost_their_task_only(work, ledger, tmp_path: Path) -> None:
    kinds = ["dies", "dies once", "leaves", "hangs", "hangs once", "eats once", "fails", "slow", *"abcdef"]
    found, tried = outcomes(work, tmp_path, kinds, limits=Limits(stall=2.0, memory=700_000_000))
    assert set(found) == set(kinds)
    assert all(found[k] is None for k in ("dies once", "hangs once", "eats once", "slow", *"abcdef"))
    assert tried["fails"] == 1 and str(found["fails"]) == "it cannot be done"
    words = {"dies": "SIGKILL", "leaves": "exit code 3", "hangs": "no progress"}
    for kind, word in words.items():
        assert isinstance(found[kind], WorkerLostError) and word in str(found[kind]) and "twice" in str(found[kind])
        assert tried[kind] == 2
        row = ledger.row(f"worker {kind}")
        row.tries, row.message = row.tries + 2, str(found[kind])
    assert all(tried[k] == 2 for k in ("dies once", "hangs once", "eats once"))
    assert all(tried[k] == 1 for k in ("slow", *"abcdef")), "what others did is not done again"
    row = ledger.row("worker eats memory")
    row.tries, row.message = row.tries + 1, "ended at its limit, done alone"


def test_one_that_eats_all_memory_is_ended_twice(work, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(workers, "memory_limit", lambda count: 900_000_000)
    found, tried = outcomes(work, tmp_path, ["eats", "a"], limits=Limits(memory=500_000_000))
    assert tried["eats"] == 2 and "GB of memory, limit 0.90" in str(found["eats"]) and found["a"] is None


def test_a_full_disk_and_a_bug_raise_as_they_are(work, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as full:
        outcomes(work, tmp_path, ["full", "slow"])
    assert full.value.errno == 28
    (tmp_path / "other").mkdir()
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a bug") as bug:
        outcomes(work, tmp_path / "other", ["wrong", "a"])
    assert "misbehave.py" in str(bug.value.__cause__)


def test_tasks_are_asked_for_only_as_workers_are_free(work, tmp_path: Path) -> None:
    given = 0

    def tasks() -> Iterator[tuple[str, str]]:
        nonlocal given
        for i in range(40):
            given += 1
            yield "a", str(tmp_path / f"{i}")

    for ended, _ in enumerate(jobs.run(work, tasks(), 2), 1):
        assert given <= ended + 2
    assert given == 40


def test_leaving_early_ends_the_workers(work, tmp_path: Path) -> None:
    began = time.monotonic()
    running = jobs.run(work, [("hangs", str(tmp_path / "h")), ("a", str(tmp_path / "a"))], 2)
    assert next(running)[1] is None
    running.close()
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(("kind", "ended"), [("hangs", workers.STALLED), ("slow", 0), ("fails", 1)])
def test_a_process_that_watches_itself_ends_when_it_stands_still(kind: str, ended: int, tmp_path: Path) -> None:
    code = "import sys, misbehave; from curate.runtime.workers import guarded; "
    code += "guarded(misbehave.work, tuple(sys.argv[1:]), .5)"
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    command = [sys.executable, "-c", code, kind, str(tmp_path / "tries")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, check=False, stderr=subprocess.DEVNULL)
    assert done.returncode == ended
