"""Time of `faceset VERB --help`: the fastest of several starts, against a bare interpreter and a limit of 0.4 s.

CPU time hardly depends on other work on the machine; the time on the clock does.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import typer.main

from faceset import cli

RUNS = 5
LIMIT = 0.4
"""Seconds that the help of any verb may take."""


def seconds(*command: str) -> tuple[float, float]:
    """Least time on the clock and least CPU time of a process, in seconds."""
    taken, spent = [], []
    for _ in range(RUNS):
        before, began = _children(), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
        spent.append(_children() - before)
    return min(taken), min(spent)


def _children() -> float:
    """CPU seconds of all processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    verbs = list(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]  # it is a group
    bare = seconds(sys.executable, "-c", "pass")[1]
    print(f"{'verb':10}{'seconds':>9}{'CPU s':>8}{'x bare python':>15}  under {LIMIT} s")
    slowest = 0.0
    for verb in verbs:
        took, cpu = seconds(sys.executable, "-m", "faceset", verb, "--help")
        slowest = max(slowest, took)
        print(f"{verb:10}{took:9.2f}{cpu:8.2f}{cpu / bare:15.1f}  {'yes' if took < LIMIT else 'NO'}")
    result = {"benchmark": "cli_start", "bare_cpu": round(bare, 3), "slowest": round(slowest, 3), "limit": LIMIT}
    print(json.dumps(result | {"under_limit": slowest < LIMIT}))


if __name__ == "__main__":
    main()
