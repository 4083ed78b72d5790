"""Real use in a loop: curate, select, report, train, render, verify, and the App started and stopped, again and again.

    python -m benchmarks.loop --minutes 40

All verbs but the App run in this one process, so that what they leave behind adds up here. After every round: memory,
open files, threads and child processes of this process, processes of the App, and temporary files. The first round
loads libraries; the last is compared with the second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import psutil

from curate.turntable import hopper, painted, performance, write_clip
from faceset import cli


def verb(*arguments: object) -> None:
    """Run a verb in this process; raises RuntimeError if it does not exit with 0."""
    with (
        mock.patch.object(sys, "argv", ["faceset", *map(str, arguments), "-q"]),
        open(os.devnull, "w") as silent,
        mock.patch.object(sys, "stdout", silent),
    ):
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"faceset {arguments[0]}: exit {end.code}") from None


def app(folder: Path) -> float:
    """Start the App, wait for its address, stop it with Ctrl-C; seconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "faceset", "app", str(folder), "--port", str(port), "--no-browser", "--json", "-q"]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, text=True) as running:
        assert running.stdout is not None
        json.loads(running.stdout.readline())
        time.sleep(3)
        running.send_signal(signal.SIGINT)
        running.wait(60)
    return time.monotonic() - began


def once(work: Path, clips: dict[str, Path]) -> None:
    """One round in the folder `work`, which is removed at the end."""
    for side, clip in clips.items():
        footage = ("curate", clip, "--out", work / side, "--subject", side, "--basis", "self", "--workers", 2)
        verb(*footage, "--budget", 24)
        verb("select", work / side, "--budget", 12)
        verb("report", work / side)
    train = ("train", "--source", work / "source", "--target", work / "target", "--out", work / "run")
    verb(*train, "--preset", "tiny", "--steps", 4, "--batch", 4, "--identity", 0, "--cache", work / "cache")
    out = work / "out.mp4"
    verb("render", work / "run", "--footage", clips["target"], "--out", out, "--range", "0-0.4", "--workers", 2)
    verb("verify", out)
    app(work / "source")
    faces = [path.read_bytes() for path in (work / "source" / "crops").rglob("*.jpg")]
    verb("forget", "source", work / "source", work / "run", "--yes")
    left = [path for path in work.parents[1].rglob("*") if path.is_file() and holds(path, faces)]
    if left:
        raise RuntimeError(f"forget left faces in {left}")
    shutil.rmtree(work)


def holds(path: Path, faces: list[bytes]) -> bool:
    """Whether a file contains the bytes of a crop."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # the database's own files come and go
        return False
    return any(face in data for face in faces)


def state(temporary: Path) -> dict[str, float]:
    """What this process and those of the App hold now."""
    me = psutil.Process()
    database = os.environ["FIFTYONE_DATABASE_DIR"]
    others = [p for p in psutil.process_iter(["cmdline"]) if database in " ".join(p.info["cmdline"] or ())]
    return {
        "memory_mb": round(me.memory_info().rss / 1e6, 1),
        "files": me.num_fds(),
        "threads": me.num_threads(),
        "children": len(me.children(recursive=True)),
        "app": len(others),
        "temporary": sum(1 for _ in temporary.rglob("*")),
        "cache": sum(1 for p in Path(os.environ["FACESET_CACHE_COUNTED"]).rglob("*") if p.is_file()),
    }


def main() -> None:
    """Run the loop and print the table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40.0)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs, and then by the App
    with tempfile.TemporaryDirectory(prefix="faceset-loop-") as name:
        base = Path(name)
        for folder in ("tmp", "work", "config"):
            (base / folder).mkdir()
        from curate.runtime.cache import cache_folder

        settings = {"TMPDIR": str(base / "tmp"), "FIFTYONE_DATABASE_DIR": str(base / "database")}
        settings |= {"FACESET_CONFIG": str(base / "config"), "FACESET_CACHE_COUNTED": str(cache_folder())}
        os.environ.update(settings)
        tempfile.tempdir = None
        clips = {side: base / f"{side}.mp4" for side in ("source", "target")}
        for number, (side, head) in enumerate((("source", hopper()), ("target", painted()))):
            write_clip(clips[side], head, performance(seed=number, frames=40), (240, 240), 25)
        rounds: list[dict[str, float]] = []
        end = time.monotonic() + given.minutes * 60
        while time.monotonic() < end or len(rounds) < 2:
            began = time.monotonic()
            once(base / "work" / str(len(rounds)), clips)
            time.sleep(20)  # the App's server and its database end some seconds after it
            rounds.append({"round": len(rounds), "seconds": round(time.monotonic() - began), **state(base / "tmp")})
            print("  ".join(f"{key} {value:g}" for key, value in rounds[-1].items()), flush=True)
        for process in (p for p in psutil.Process().children(recursive=True) if "mongod" in p.name()):
            process.terminate()
            process.wait(60)
        print(json.dumps({"benchmark": "loop", "minutes": given.minutes, "rounds": rounds}))


if __name__ == "__main__":
    main()
