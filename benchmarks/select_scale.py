"""How selection grows: time and memory of `choose` on tables of made-up footage with the real number of dimensions.

    python -m benchmarks.select_scale [--million] [--budget 2000] [--stored 10000000 --folder DIR]

Each size runs in a process of its own; seconds are of `choose` alone, from table to selection, without the imports
(stated apart: nothing is compiled, so there is no other warm-up). Beside it apricot-select, where it is installed
(pip install --no-deps apricot-select), on the size that it can do, with our similarities. Last, how much of the value
of exact greedy over all faces ours has, and the coverage of all kinds and the number for `auto` on both sides of 20,000
faces, where a sample once stood in for the rest.

--stored writes a faceset of so many faces, in clips of 100,000, to --folder instead, and measures the commands
`faceset select` and `faceset report` on it: processor and wall time, and the most memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.vectors import Vectors

SIZES = (5_000, 20_000, 100_000)
PEER_SIZE, PEER_BUDGET = 5_000, 200
_SELF = (sys.executable, "-m", "benchmarks.select_scale")
CLIP = 100_000
"""Faces of a clip of a faceset that is stored."""
MINUTE = 1500
"""Faces of one scene: its pose, expression and light wander about a middle of their own."""


def footage(count: int, seed: int = 0) -> pd.DataFrame:
    """A table of `count` faces that wander through scenes of a minute each."""
    from curate.scores.expression import AXES
    from curate.select.selection import select_columns

    rng = np.random.default_rng(seed)

    def wander(size: int, spread: float, drift: float) -> np.ndarray:
        scenes = rng.normal(0, spread, (count // MINUTE + 1, size))[np.arange(count) // MINUTE]
        steps = np.cumsum(rng.normal(0, 1, (count, size)), axis=0)
        wave = np.sin(steps * 0.05 + rng.uniform(0, 6, size))
        return (scenes + drift * wave + rng.normal(0, 0.05 * drift, (count, size))).astype(np.float32)

    angles = wander(3, 12, 18) * (1, 0.5, 0.3)
    expression = np.abs(wander(52, 0.05, 0.2)) * rng.uniform(0.1, 1, 52).astype(np.float32)
    columns = {
        "face_id": [f"{i:012d}" for i in range(count)], "kept": True, "stands_for": 1, "clip": "a",
        "frame": np.arange(count), "time": np.arange(count) / 25,
        "yaw": angles[:, 0], "pitch": angles[:, 1], "roll": angles[:, 2], "expression": Vectors(expression),
        "gaze": Vectors(wander(2, 0.1, 0.2)), "lighting": Vectors(wander(6, 0.4, 0.1)),
        **{name: rng.uniform(0, 0.5, count).astype(np.float32) for name in AXES},
    }  # fmt: skip
    rest = {c: rng.uniform(0.9, 1, count).astype(np.float32) for c in select_columns() if c not in columns}
    return pd.DataFrame(columns | rest | {"InterEyeDistance": rng.uniform(60, 120, count).astype(np.float32)})


def measured(count: int, budget: int) -> dict[str, float]:
    """Called in a process of its own."""
    began = time.perf_counter()
    from curate.select.options import Budget
    from curate.select.selection import choose

    imports = time.perf_counter() - began
    table = footage(count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    choice = choose(table, Budget(budget, str(budget)))
    seconds = time.perf_counter() - began
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert len(choice.rows) == min(budget, count)
    dimensions = choice.space.embed(table.head(1)).shape[1]
    found = {"faces": count, "dimensions": dimensions, "imports": imports, "seconds": seconds, "mb": most}
    return found | {"mb_table": before, "coverage": choice.coverage}


def _column(table: pd.DataFrame, field: Any) -> Any:
    """A column of the table as Arrow has it; null where the table has none."""
    import pyarrow as pa

    if field.name not in table:
        return pa.nulls(len(table), field.type)
    if isinstance(table[field.name].array, Vectors):
        values = table[field.name].array.values
        return pa.FixedSizeListArray.from_arrays(values.reshape(-1), values.shape[1])
    return pa.array(table[field.name], field.type)


def store(count: int, folder: Path) -> None:
    """A faceset of `count` faces in clips of CLIP."""
    import pyarrow as pa

    from curate.dataset.faceset import create, write_faces
    from curate.schema import table_schema
    from curate.settings import Settings
    from curate.types import Clip, Subject

    names = [f"clip{i:03d}" for i in range(-(-count // CLIP))]

    def pieces() -> Iterator[pa.Table]:
        for i, name in enumerate(names):
            table = footage(min(CLIP, count - i * CLIP), i).assign(clip=name, status="ok", person=0, track=i)
            table["face_id"] = f"{i:03d}-" + table["face_id"]
            columns = [_column(table, f) for f in table_schema()]
            yield pa.Table.from_arrays(columns, schema=table_schema())

    faceset = create(folder, Subject("A", "research"), Settings())
    clips = [Clip(n, f"/{n}", "0" * 64, "video", 64, 64, CLIP, 25.0, CLIP / 25) for n in names]
    write_faces(faceset.changed(clips=tuple(clips)), pieces())


def stored(count: int, folder: Path, budget: int) -> None:
    """Write a faceset and print what selecting and reporting take."""
    if not folder.exists():
        subprocess.run([*_SELF, "--only", f"store {count}", "--folder", str(folder)], check=True)
    for words in (["select", str(folder), "--budget", str(budget)], ["report", str(folder)]):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-m", "faceset", *words, "--quiet"], check=True)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        took = f"{used:.0f} s of processor time, {seconds:.0f} s, {after.ru_maxrss / 1e6:.2f} GB"
        print(f"{count} faces, {words[0]}: {took}", flush=True)


def peer() -> dict[str, float]:
    """apricot's lazy greedy and ours on the same similarities: seconds, and ours' value over its."""
    from curate.select import facility_location
    from curate.select.similarity import Kernel
    from curate.select.space import Space

    points = Space.fit(table := footage(PEER_SIZE)).embed(table)
    width = Space.fit(table).width
    problem = facility_location.Problem(points, points, width, np.ones(len(points)), np.ones(len(points), np.float32))
    began = time.perf_counter()
    ours = facility_location.order(problem, PEER_BUDGET).chosen
    mine = time.perf_counter() - began
    if importlib.util.find_spec("apricot") is None:
        return {"ours": mine}
    from apricot import FacilityLocationSelection

    similarity = Kernel(points, width)(points).astype(np.float64)
    FacilityLocationSelection(3, metric="precomputed", optimizer="lazy").fit(similarity[:50, :50])  # compiles
    began = time.perf_counter()
    theirs = FacilityLocationSelection(PEER_BUDGET, metric="precomputed", optimizer="lazy").fit(similarity).ranking
    took = time.perf_counter() - began
    value = similarity[:, ours].max(1).mean() / similarity[:, theirs].max(1).mean()
    return {"ours": mine, "apricot": took, "value": float(value)}


def exactness() -> dict[str, float]:
    """Value over that of exact greedy over all faces, in double precision, without regard to quality and likeness."""
    from curate.select import selection
    from curate.select.options import Budget, SelectionOptions
    from curate.select.pool import pool_of

    table = footage(5_000, 1)
    pool = pool_of(table, SelectionOptions())
    cells, weight = pool.points[pool.kinds.rows].astype(np.float64), pool.kinds.weight / pool.kinds.weight.sum()
    points = pool.points.astype(np.float64)
    apart = np.square(points).sum(1)[:, None] + np.square(cells).sum(1) - 2 * points @ cells.T
    similar = np.exp(-np.maximum(apart, 0) / (2 * pool.space.width**2))
    best = np.zeros(len(cells))
    for _ in range(PEER_BUDGET):
        best = np.maximum(best, similar[int((np.maximum(similar - best, 0) @ weight).argmax())])
    chosen = selection.choose(table, Budget(PEER_BUDGET, "")).rows["face_id"]
    rows = pd.Index(pool.ids).get_indexer(pd.Index(chosen))
    return {"of exact greedy": float(similar[rows].max(0) @ weight / (best @ weight))}


def cliff() -> dict[str, float]:
    """Coverage of all kinds by 500 faces, and the number for auto, of 19,900 and 20,100 faces, 90 % of them held."""
    from curate.select import coverage
    from curate.select.options import Budget
    from curate.select.selection import choose

    found: dict[str, float] = {}
    lively = footage(2_000, 2)
    for count in (19_900, 20_100):
        still = pd.concat([lively.iloc[[700]]] * (count - len(lively)), ignore_index=True)
        still["yaw"] += np.random.default_rng(0).normal(0, 0.2, len(still)).astype(np.float32)
        still["face_id"] = [f"still-{i:07d}" for i in range(len(still))]
        still["frame"] = np.arange(len(still)) + len(lively)
        table = pd.concat([lively, still.assign(time=still["frame"] / 25)], ignore_index=True)
        for budget in (500, None):
            choice = choose(table, Budget(budget, str(budget)))
            points = choice.space.embed(lively)
            chosen = choice.space.embed(table.set_index("face_id").loc[choice.rows["face_id"]])
            share = coverage.coverage(choice.space, points, chosen, coverage.demand(choice.space, points))
            found[f"{count}, {'auto' if budget is None else budget}: coverage"] = share
            if budget is None:
                found[f"{count}, auto: faces"] = len(choice.rows)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--budget", type=int, default=2000)
    parser.add_argument("--stored", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stored:
        stored(args.stored, args.folder, args.budget)
        return
    if args.only and args.only.startswith("store "):
        store(int(args.only.split()[1]), args.folder)
        return
    if args.only:
        call = {"peer": peer, "exactness": exactness, "cliff": cliff}.get(args.only)
        print(json.dumps(call() if call else measured(int(args.only), args.budget)))
        return
    print(f"{'faces':>10}{'dimensions':>12}{'seconds':>9}{'us a face':>11}{'MB':>7}{'coverage':>10}{'imports s':>11}")
    sizes = []
    for count in (*SIZES, *((1_000_000,) if args.million else ())):
        r = _alone(str(count), args.budget)
        print(
            f"{r['faces']:10.0f}{r['dimensions']:12.0f}{r['seconds']:9.1f}{1e6 * r['seconds'] / r['faces']:11.0f}"
            f"{r['mb']:7.0f}{r['coverage']:10.3f}{r['imports']:11.1f}",
            flush=True,
        )
        sizes.append(r)
    beside, exact, sides = (_alone(what, args.budget) for what in ("peer", "exactness", "cliff"))
    print(f"{PEER_SIZE} faces, {PEER_BUDGET} chosen, seconds:", ", ".join(f"{k} {v:.3g}" for k, v in beside.items()))
    print("share of exact greedy's value:", ", ".join(f"{k} {v:.4f}" for k, v in exact.items()))
    print("both sides of 20,000:", ", ".join(f"{k} {v:.4g}" for k, v in sides.items()))
    print(json.dumps({"benchmark": "select_scale", "sizes": sizes, "peer": beside, "of_exact": exact, "sides": sides}))


def _alone(what: str, budget: int) -> dict[str, float]:
    command = [*_SELF, "--only", what, "--budget", str(budget)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
