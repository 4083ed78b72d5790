"""A small round of the fuzzer (`make fuzz` does the whole), and that it sees the faults that it looks for."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SEED = 1
"""With it the canary has every fault."""
RUN = Path(__file__).parent / "run.py"


def fuzz(*arguments: object) -> tuple[dict[str, Any], str]:
    """The last line as JSON, and all that was said."""
    environment = {k: v for k, v in os.environ.items() if k != "FACESET_CLIPS"}
    command = [sys.executable, str(RUN), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.stdout.strip(), done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == int(found["traceback"] + found["crash"] + found["hang"] > 0)
    return found, done.stdout + done.stderr


def test_no_damaged_file_crashes_hangs_or_gives_a_traceback() -> None:
    found, told = fuzz("--inputs", 400, "--seed", 7, "--workers", 1)
    assert (found["crash"], found["hang"], found["traceback"]) == (0, 0, 0), told
    assert found["inputs"] > 380 and found["refused"] > 80 and found["read"] > 80


def test_the_fuzzer_sees_a_crash_a_hang_and_a_traceback() -> None:
    found, told = fuzz(
        "--readers", "canary", "--inputs", 8, "--seed", SEED, "--patience", 1, "--workers", 1, "--keep", 1
    )
    assert found["inputs"] == 8
    assert found["crash"] and found["hang"] and found["traceback"] and found["read"], told
    assert "KeyError: 'fault'" in told


def test_only_processor_time_or_a_standstill_is_a_hang(monkeypatch) -> None:
    spec = importlib.util.spec_from_file_location("fuzz_run", RUN)
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    clock, processor = 0.0, 0.0
    monkeypatch.setattr(run.time, "monotonic", lambda: clock)
    monkeypatch.setattr(run.Clock, "_processor", lambda _: processor)

    def over(seconds: float, share: float) -> float | None:
        """Seconds after which an input with a share of one processor hangs."""
        nonlocal clock, processor
        begun, found = clock, run.Clock(0, 20.0)
        while clock - begun < seconds:
            clock, processor = clock + 1, processor + share
            if found.is_over():
                return clock - begun
        return None

    assert over(100, 1.0) == 20
    assert over(300, 0.05) is None  # a busy machine
    assert over(1000, 0.02) == run.MOST * 20
    assert over(300, 0.0) == run.IDLE * 20
