"""One process that reads damaged files: `worker.py SEEDS WORK SEED PIECES`, one line of JSON an input.

PIECES is JSON: lists of reader, first and end.
"""

from __future__ import annotations

import json
import logging
import random
import resource
import shutil
import sys
import traceback
from pathlib import Path

from mutate import damaged
from reader import CANARY, Reader, pick

from curate.errors import FacesetError

ROOM = 2 << 30
"""Bytes of memory that reading may take beyond what the imports took."""


def limit_memory() -> None:
    """From here on an allocation beyond ROOM fails instead of filling the machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def outcome(reader: Reader, path: Path) -> dict[str, str]:
    """read, refused (one line by one of our errors), or traceback."""
    try:
        reader.read(path)
    except FacesetError as error:
        text = str(error)
        if not text.strip() or "\n" in text:
            return {"outcome": "traceback", "text": f"not one line: {text!r}"}
        return {"outcome": "refused", "text": text}
    except Exception:  # noqa: BLE001  # whatever comes is what is looked for
        return {"outcome": "traceback", "text": traceback.format_exc(limit=-6)}
    return {"outcome": "read", "text": ""}


def readers(names: set[str]) -> dict[str, Reader]:
    """By name; what they need is loaded, with one thread."""
    if names == {"canary"}:
        return {"canary": CANARY}
    import cv2  # after ours, as from the command line
    import torch
    from readers import READERS

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    return READERS


def read_all(seeds: Path, work: Path, name: str, reader: Reader, seed: int, first: int, end: int) -> None:
    """Inputs [first, end) of one reader."""
    whole = seeds / reader.seeds
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(whole, work)
    for number in range(first, end):
        rng = random.Random(f"{seed} {name} {number}")
        file = pick(reader, seeds, rng)
        damaged(whole / file, work / file, rng)
        target = file.with_suffix(".mp4") if file.suffix == ".c2pa" else file
        told = outcome(reader, work if reader.whole else work / target)
        print(json.dumps({"reader": name, "input": number, "file": str(file), **told}), flush=True)
        shutil.copyfile(whole / file, work / file)
        if name == "checkpoint":
            shutil.copytree(whole / "checkpoints", work / "checkpoints", dirs_exist_ok=True)


def main(seeds: Path, work: Path, seed: int, pieces: list[tuple[str, int, int]]) -> None:
    """All pieces."""
    known = readers({name for name, _, _ in pieces})
    logging.disable(logging.CRITICAL)
    limit_memory()
    print("{}", flush=True)  # loaded: from here on every input has little time
    for name, first, end in pieces:
        read_all(seeds, work, name, known[name], seed, first, end)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
