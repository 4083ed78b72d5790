"""The App on a very large faceset: how many faces it shows, how long loading takes, and the memory of its processes.

    python -m benchmarks.app_scale [--faces 1000000]

The table is made up and written in pieces; there are no crops. The App is started as a user starts it, asked for a page
of faces, and stopped with Ctrl-C. Memory is the largest resident size of each process, in MB.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa

from curate.dataset.faceset import Faceset, create, write_faces, write_selection
from curate.schema import table_schema
from curate.select import outcome
from curate.select.options import Budget, SelectionOptions
from curate.select.selection import choose
from curate.settings import Settings
from curate.types import Clip, Subject
from tests.tables import random_rows

PIECE = 50_000
OTHERS = 0.05
"""Share of faces that are not the subject's."""
KINDS = {"curate.app.server": "server", "curate.app.map_process": "map", "mongod": "database", "-m faceset": "program"}


def piece(first: int, count: int) -> pd.DataFrame:
    """Rows `first` to `first + count` of the table."""
    rows, rng = random_rows(count, first), np.random.default_rng(first)
    numbers = range(first, first + count)
    rows["face_id"] = [f"0123456789ab-{i:07d}-0" for i in numbers]
    rows["clip"], rows["crop"] = "film", [f"crops/film/0000/{i:07d}-0.jpg" for i in numbers]
    rows["frame"], rows["time"] = numbers, np.arange(first, first + count) / 25
    rows["stands_for"], rows["light_from"] = 1, "albedo"
    rows["kept"] = rng.random(count) > OTHERS
    rows["status"] = np.where(rows["kept"], "ok", "another person")
    rows["yaw"], rows["pitch"], rows["roll"] = (rng.normal(0, 20, count) for _ in range(3))
    rows["InterEyeDistance"] = rng.uniform(20, 120, count)
    return rows


def made(folder: Path, faces: int) -> Faceset:
    """A faceset with a selection of 2,000 faces among its first 20,000."""
    clip = Clip("film", "/film.mp4", "aa" * 32, "video", 640, 360, faces, 25.0, faces / 25)
    faceset = create(folder, Subject("Ann", "self"), Settings()).changed(clips=(clip,))
    pieces = (piece(i, min(PIECE, faces - i)) for i in range(0, faces, PIECE))
    write_faces(faceset, (pa.Table.from_pandas(rows, table_schema(), preserve_index=False) for rows in pieces))
    some = piece(0, min(PIECE, faces)).head(20_000)
    options = SelectionOptions("2000")
    choice = choose(some, Budget(2000, "2000"), options)
    amounts = outcome.amounts_of(some, faceset.clips, options.weights)
    curve = choice.rows["coverage"].to_numpy(np.float32)
    worth = outcome.Outcome(choice.kept, choice.eligible, len(choice.rows), 0.9, amounts, curve, choice.space, "")
    write_selection(faceset, choice.rows, {"budget": "2000", "floors": {"min_eye_distance": 40.0}},
                    outcome.to_json(worth))  # fmt: skip
    return faceset


def sizes(database: Path, most: dict[str, float], ended: threading.Event) -> None:
    """Note the largest memory of each kind of process until the App has ended."""
    while not ended.wait(0.25):
        now: dict[str, float] = {}
        for kind, memory in _processes(database):
            now[kind] = now.get(kind, 0) + memory
        for kind, memory in now.items():
            most[kind] = max(most.get(kind, 0), memory)


def _processes(database: Path) -> Iterator[tuple[str, float]]:
    for process in psutil.process_iter(["cmdline", "memory_info", "environ"]):
        info = process.info
        line = " ".join(info["cmdline"] or ())
        ours = (info["environ"] or {}).get("FIFTYONE_DATABASE_DIR") == str(database) or str(database) in line
        kind = next((kind for part, kind in KINDS.items() if part in line), None)
        if ours and kind and info["memory_info"]:
            yield kind, info["memory_info"].rss / 1e6


def opened(folder: Path, database: Path) -> dict[str, object]:
    """The App's start and end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "FIFTYONE_DATABASE_DIR": str(database)}
    command = [sys.executable, "-m", "faceset", "app", str(folder), "--port", str(port), "--no-browser", "--json"]
    most: dict[str, float] = {}
    ended, began = threading.Event(), time.monotonic()
    watch = threading.Thread(target=sizes, args=(database, most, ended))
    watch.start()
    with (folder.parent / "log").open("w+") as log:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
        assert running.stdout is not None
        told = running.stdout.readline()
        seconds = time.monotonic() - began
        while told and "the map is drawn" not in Path(log.name).read_text() and running.poll() is None:
            time.sleep(1)
        mapped = time.monotonic() - began
        time.sleep(10)
        running.send_signal(signal.SIGINT)
        code = running.wait(120)
        ended.set()
        watch.join()
        said = [line for line in Path(log.name).read_text().splitlines() if "The App shows" in line]
    return {"seconds": round(seconds), "map_seconds": round(mapped), "exit": code, "said": said} | {
        f"{kind}_mb": round(size) for kind, size in sorted(most.items())
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=1_000_000)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs, and then by the App
    with tempfile.TemporaryDirectory(prefix="faceset-app-") as name:
        folder, database = Path(name) / "set", Path(name) / "database"
        made(folder, given.faces)
        found = {"faces": given.faces, "table_mb": round((folder / "faces.parquet").stat().st_size / 1e6)}
        found |= opened(folder, database)
        for key, value in found.items():
            print(f"{key:14} {value}")
        print(json.dumps({"benchmark": "app_scale", **found}))


if __name__ == "__main__":
    main()
