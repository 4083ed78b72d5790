"""Time of `faceset VERB --help`: median of several starts, next to a bare interpreter, against a limit of 0.4 s."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

import typer.main

from faceset import cli

RUNS = 5
LIMIT = 0.4
"""Seconds that the help of any verb may take."""


def seconds(*command: str) -> float:
    """Median wall time of a process."""
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    verbs = list(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]  # it is a group
    bare = seconds(sys.executable, "-c", "pass")
    found = {verb: seconds(sys.executable, "-m", "faceset", verb, "--help") for verb in verbs}
    print(f"{'verb':10}{'seconds':>9}{'x bare python':>15}  under {LIMIT} s")
    for verb, took in found.items():
        print(f"{verb:10}{took:9.2f}{took / bare:15.1f}  {'yes' if took < LIMIT else 'NO'}")
    slowest = max(found.values())
    result = {"benchmark": "cli_start", "bare": round(bare, 3), "slowest": round(slowest, 3), "limit": LIMIT}
    print(json.dumps(result | {"under_limit": slowest < LIMIT}))


if __name__ == "__main__":
    main()
