"""A small round of the fuzzer (`make fuzz` does the whole), and that it sees the faults that it looks for."""

from __future__ import annotations

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
