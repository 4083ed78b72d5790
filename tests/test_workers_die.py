"""A worker that dies (a decoder that crashes, no memory) costs its own clip only. Light: every worker imports this."""

from __future__ import annotations

import os
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
