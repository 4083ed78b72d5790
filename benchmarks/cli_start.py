"""How long `faceset VERB --help` takes, beside a bare interpreter."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

VERBS = ("curate", "select", "people", "report", "app", "train", "render", "inspect", "verify", "doctor", "demo")
RUNS = 3


def seconds(*command: str) -> float:
    """Median wall time of a process."""
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    bare = seconds(sys.executable, "-c", "pass")
    found = {verb: seconds(sys.executable, "-m", "faceset", verb, "--help") for verb in VERBS}
    print(f"{'verb':10}{'seconds':>9}{'x bare python':>15}")
    for verb, took in found.items():
        print(f"{verb:10}{took:9.2f}{took / bare:15.1f}")
    slowest = max(found.values())
    print(
        json.dumps(
            {"benchmark": "cli_start", "bare": round(bare, 3), "slowest": round(slowest, 3), "under_1s": slowest < 1}
        )
    )


if __name__ == "__main__":
    main()
