"""Worker processes: one that dies (a decoder that crashes, no memory) costs its own clip only; scripts need no guard.

Light: every worker imports this.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from curate.runtime import jobs


def dies_on_the_marked(task: str) -> None:
    if task == "marked":
        os.abort()
    if task == "segfault":
        import ctypes

        ctypes.string_at(0)
    Path(task).write_text("done")


def test_a_decoder_that_crashes_costs_its_own_clip_only(tmp_path):
    tasks = [str(tmp_path / "a"), "marked", str(tmp_path / "b"), "segfault", str(tmp_path / "c")]
    outcomes = dict(jobs.run(dies_on_the_marked, tasks, workers=2))
    assert {t for t, problem in outcomes.items() if problem} == {"marked", "segfault"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]
    assert all("died" in str(outcomes[t]) for t in ("marked", "segfault"))


def writes(task: str) -> None:
    Path(task).write_text("done")


UNGUARDED = """
import sys
from curate.runtime import jobs
{work}
print(dict(jobs.run(work, sys.argv[1:], workers=2)))
"""


def test_a_script_without_a_guard_and_one_from_stdin_can_use_workers(tmp_path):
    program, script = UNGUARDED.format(work="from tests.test_workers_die import writes as work"), tmp_path / "script.py"
    script.write_text(program)
    for command, given in (([str(script)], None), (["-"], program)):
        tasks = [str(tmp_path / f"{command[0] == '-'}-{n}") for n in range(3)]
        ended = subprocess.run(
            [sys.executable, *command, *tasks], input=given, capture_output=True, text=True, cwd=Path.cwd(),
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        )  # fmt: skip
        assert ended.returncode == 0 and not ended.stderr, ended.stderr
        assert all(Path(task).read_text() == "done" for task in tasks)


def test_work_that_the_script_itself_defines_still_reaches_its_workers(tmp_path):
    script = tmp_path / "script.py"
    work = "def work(task):\n    open(task, 'w').close()"
    script.write_text(UNGUARDED.format(work=work).replace("print(dict(", "if __name__ == '__main__': print(dict("))
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "a")], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert ended.returncode == 0 and (tmp_path / "a").exists(), ended.stderr
