"""Damaged files to every reader, in processes that may die: `python tests/fuzz/run.py --inputs 100000`.

Of every input one of: read, refused (one clear line by an error of ours), traceback, crash (the interpreter ended),
hang. The last three are faults; each is printed with what makes it again, and the exit code is 1. An input hangs if it
takes PATIENCE seconds of processor time, or ten times as long without using any: a busy machine makes no hangs. With
FACESET_CLIPS the first second of real clips is damaged too.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PATIENCE = 20.0
MOST = 30
"""Times PATIENCE that an input may take by the clock, whatever it does."""
IDLE = 10
"""Times PATIENCE that an input may take without processor time: a busy machine may give it none for a while."""
Piece = tuple[str, int, int]
"""Reader, first input, end."""
FAULTS = ("traceback", "crash", "hang")
SHARES = {"clip": 6, "footage": 2, "foreign": 3, "credentials": 2, "run": 2}
"""Inputs of a reader relative to the others'; 1 where it is not named."""


def environment(config: Path) -> dict[str, str]:
    """One thread a process, the project's packages, a config folder of its own."""
    paths = [str(ROOT), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_DEFAULT_MEMORY_POOL"), "1")
    one["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    return {**os.environ, **one, "PYTHONPATH": os.pathsep.join(paths), "FACESET_CONFIG": str(config)}


def make_seeds(folder: Path) -> None:
    """The whole files, and the first second of real clips where there are any."""
    code = "import sys, pathlib, seeds; seeds.make(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(folder)], env=environment(folder / "config"), check=True)
    real = os.environ.get("FACESET_CLIPS")
    for clip in sorted(Path(real).glob("*.mp4"))[:3] if real else ():
        code = "import sys, pathlib, seeds; seeds.first_second(*map(pathlib.Path, sys.argv[1:]))"
        out = folder / "clips" / f"real-{clip.name}"
        subprocess.run(
            [sys.executable, "-c", code, str(clip), str(out)], env=environment(folder / "config"), check=True
        )


def fuzz(seeds: Path, seed: int, pieces: list[Piece], patience: float = PATIENCE) -> Iterator[dict[str, Any]]:
    """What became of all inputs of the pieces; a process that dies or hangs is replaced by another."""
    while pieces:
        for told in _process(seeds, seed, pieces, patience):
            yield told
            pieces = _after(pieces, told["input"] + 1)


def _after(pieces: list[Piece], number: int) -> list[Piece]:
    """What is left once the first piece is done up to `number`."""
    (name, _, end), *rest = pieces
    return [(name, number, end), *rest] if number < end else rest


def _process(seeds: Path, seed: int, pieces: list[Piece], patience: float) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        command = [sys.executable, "-X", "faulthandler", str(HERE / "worker.py"), str(seeds)]
        command += [str(Path(scratch) / "work"), str(seed), json.dumps(pieces)]
        env = environment(Path(scratch) / "config")
        with (
            (Path(scratch) / "log").open("w+b") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=env) as process,
        ):
            for line in _lines(process, patience):
                if line is None:
                    name, number, _ = pieces[0]
                    text = f"no answer in {patience:.0f} s of processor time"
                    yield {"reader": name, "input": number, "file": None, "outcome": "hang", "text": text}
                    return
                told = json.loads(line)
                if not told:
                    continue
                pieces = _after(pieces, told["input"] + 1)
                yield told
                if not pieces:
                    process.kill()
                    return
            name, number, _ = pieces[0]
            code = process.wait()
            log.seek(0)
            said = log.read()[-3000:].decode(errors="replace")[:1500]
            yield {"reader": name, "input": number, "file": None, "outcome": "crash", "text": f"{said}\nexit {code}"}


def _lines(process: subprocess.Popen[bytes], patience: float) -> Iterator[bytes | None]:
    """Lines as they come; None, and the process is ended, where the next one hangs (the first has longer: imports)."""
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    rest, clock = b"", Clock(process.pid, patience + 60)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(min(patience, 1.0)):
                if clock.is_over():
                    process.kill()
                    yield None
                    return
                continue
            chunk = process.stdout.read(1 << 16)
            if not chunk:
                return
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
            if whole:
                clock = Clock(process.pid, patience)


class Clock:
    """Time that one input of a process takes."""

    def __init__(self, pid: int, patience: float) -> None:
        self.pid, self.patience = pid, patience
        self.began = self.moved = time.monotonic()
        self.first = self.used = self._processor()

    def is_over(self) -> bool:
        """Whether the input hangs: too much processor time, none for as long, or far too long in all."""
        now, used = time.monotonic(), self._processor()
        if used > self.used:
            self.used, self.moved = used, now
        idle, total = now - self.moved, now - self.began
        return used - self.first >= self.patience or idle >= IDLE * self.patience or total >= MOST * self.patience

    def _processor(self) -> float:
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.Error:  # it has just ended: the end of its output comes next
            return 0.0
        return float(times.user + times.system)


def every_reader() -> list[str]:
    """Names of all readers."""
    from readers import READERS

    return list(READERS)


def tasks(names: list[str], inputs: int, workers: int) -> list[list[Piece]]:
    """About `inputs` in all, as lists of pieces, one list a process, the same number of inputs in each."""
    shares = {name: SHARES.get(name, 1) for name in names}
    counts = {name: max(inputs * shares[name] // sum(shares.values()), 1) for name in names}
    lists = max(workers, sum(counts.values()) // 5000)
    cuts = {name: [count * i // lists for i in range(lists + 1)] for name, count in counts.items()}
    return [[(n, c[i], c[i + 1]) for n, c in cuts.items() if c[i] < c[i + 1]] for i in range(lists)]


def main() -> int:
    """The command line."""
    sys.path[:0] = [str(ROOT), str(HERE)]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--readers", default="", help="only these, with commas")
    parser.add_argument("--only", type=int, help="only the input of this number, of one reader")
    parser.add_argument(
        "--patience", type=float, default=PATIENCE, help="seconds of processor time after which an input hangs"
    )
    parser.add_argument("--keep", type=int, default=3, help="examples shown of each fault")
    asked = parser.parse_args()
    names = asked.readers.split(",") if asked.readers else every_reader()
    began, counts, faults = time.monotonic(), Counter[tuple[str, str]](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="fuzz-seeds-") as folder, ThreadPoolExecutor(asked.workers) as pool:
        make_seeds(Path(folder))
        todo = tasks(names, asked.inputs, asked.workers)
        todo = todo if asked.only is None else [[(names[0], asked.only, asked.only + 1)]]
        for results in pool.map(lambda t: list(fuzz(Path(folder), asked.seed, t, asked.patience)), todo):
            for told in results:
                counts[told["reader"], told["outcome"]] += 1
                if told["outcome"] in FAULTS:
                    kind = f"{told['reader']} {told['outcome']} {told['text'].strip().splitlines()[-1][:150]}"
                    faults[kind] += 1
                    if faults[kind] <= asked.keep or asked.only is not None:
                        again = f"--readers {told['reader']} --seed {asked.seed} --only {told['input']}"
                        print(f"{told['outcome']}: {again} ({told.get('file')})\n{told['text']}", file=sys.stderr)
    for name in names:
        print(f"{name:12}" + "".join(f"{o} {counts[name, o]:<8}" for o in ("read", "refused", *FAULTS)))
    for kind, number in faults.most_common():
        print(f"{number:6} {kind}")
    total = {o: sum(n for (_, kind), n in counts.items() if kind == o) for o in ("read", "refused", *FAULTS)}
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"inputs": sum(total.values()), **total, "seconds": seconds, "seed": asked.seed}))
    return int(any(total[o] for o in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
