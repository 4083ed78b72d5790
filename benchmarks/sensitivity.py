"""How much a selection depends on each constant of choosing: every constant at half and at twice its value.

    python -m benchmarks.sensitivity FACESET... [--k 100]

A row per constant: of all facesets the mean number of faces for `auto`, coverage of all kinds by k faces (in the space
with the constants as they are), share of the k faces that are the same, and minutes worth keeping.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from curate.dataset.faceset import open_faceset
from curate.select import coverage, keep
from curate.select.content import seconds
from curate.select.options import Budget, Floors, SelectionOptions
from curate.select.selection import choose, select_columns

CONSTANTS = {
    "floor of pose": ("space", "FLOOR", "pose"), "floor of expression": ("space", "FLOOR", "expression"),
    "floor of lighting": ("space", "FLOOR", "lighting"), "least width": ("space", "LEAST_WIDTH", None),
    "yardstick of pose": ("space", "YARDSTICK", "pose"),
    "yardstick of expression": ("space", "YARDSTICK", "expression"),
    "yardstick of lighting": ("space", "YARDSTICK", "lighting"), "absolute width": ("space", "ABSOLUTE_WIDTH", None),
    "seconds of a full kind": ("kinds", "FULL", None), "seconds between faces": ("apart", "GAP", None),
    "pull of quality": ("like", "QUALITY_PULL", None), "weight of sharpness": ("like", "MEASURES", "Sharpness"),
    "faces of a cell that count": ("like", "MOST_EACH", None), "cost of a better face": ("better", "TRACE", None),
    "weight of gaze": ("space", "GAZE_WEIGHT", None), "unlike faces for scales": ("space", "UNLIKE", None),
    "company of a face": ("space", "COMPANY", None), "jump of pose": ("misread", "TURN", None),
    "jump of expression": ("misread", "CHANGE", None), "calm before a jump": ("misread", "CALM", None),
    "drop of trust": ("misread", "DROP", None), "window kept": ("keep", "WINDOW", None),
    "hole kept": ("keep", "SHORT", None), "share of a small face": ("like", "HALF", None),
}  # fmt: skip
"""Name to module, constant and key."""
RESTS = {
    "rest for auto": ("selection", "AUTO_ENOUGH"), "rest of distinct faces": ("keep", "KEEPS"),
    "least trust (rest)": ("misread", "TRUST"),
}  # fmt: skip
"""Shares, of which what is missing to 1 is changed."""
SIMILARITIES = {"alike (distance)": "ALIKE", "same kind (distance)": "SAME_KIND", "compared in quality": "LIKE"}
USERS = ("kinds", "selection", "gaps", "coverage", "keep", "like")


@contextlib.contextmanager
def changed(name: str, factor: float) -> Iterator[None]:
    """A constant, in every module that has it, times `factor`; of a similarity the distance that it stands for."""
    if name in SIMILARITIES:
        constant = SIMILARITIES[name]
        there = [m for user in USERS if hasattr(m := importlib.import_module(f"curate.select.{user}"), constant)]
        old = getattr(there[0], constant)
        new = float(old ** (factor**2))
    else:
        place, constant, key = CONSTANTS.get(name) or (*RESTS[name], None)
        there = [importlib.import_module(f"curate.select.{place}")]
        old = getattr(there[0], constant)
        if name in RESTS:
            new = 1 - (1 - old) * factor
        elif constant == "MEASURES":
            new = old | {key: (old[key][0] * factor, old[key][1])}
        else:
            new = old | {key: old[key] * factor} if key else type(old)(old * factor)
    for module in there:
        setattr(module, constant, new)
    try:
        yield
    finally:
        for module in there:
            setattr(module, constant, old)


def measured(tables: list[pd.DataFrame], clips: list, k: int, first: list | None = None, floors: Floors | None = None):
    """Means over the facesets, and the choices of k faces."""
    options = SelectionOptions(floors=floors or Floors())
    figures, chosen = [], []
    for i, table in enumerate(tables):
        few = choose(table, Budget(k, str(k)), options)
        auto = len(choose(table, Budget(None, "auto"), options).rows)
        ids = set(few.rows["face_id"])
        chosen.append((few, ids))
        base, old = (few, ids) if first is None else first[i]
        points = base.space.embed(table)
        weight = coverage.demand(base.space, points, seconds(table))
        covers = coverage.coverage(base.space, points, points[table["face_id"].isin(ids).to_numpy()], weight)
        minutes = keep.amounts_of(table, clips[i]).keep_minutes or 0.0
        figures.append((auto, covers, len(ids & old) / len(ids), minutes))
    return tuple(np.mean(figures, axis=0)), chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facesets", nargs="+", type=Path)
    parser.add_argument("--k", type=int, default=100)
    args = parser.parse_args()
    sets = [open_faceset(folder) for folder in args.facesets]
    tables, clips = [s.table(select_columns(), kept=True) for s in sets], [s.clips for s in sets]
    plain, first = measured(tables, clips, args.k)
    rows = {"as they are": plain}
    print("| constant | faces for auto | coverage | same faces | minutes kept |\n|---|---|---|---|---|")
    for name in (*CONSTANTS, *RESTS, *SIMILARITIES):
        for factor in (0.5, 2.0):
            with changed(name, factor):
                rows[f"{name} x{factor:g}"], _ = measured(tables, clips, args.k, first)
    for factor in (0.5, 2.0):
        floors = Floors(max_softness=(Floors().max_softness or 0) * factor)
        rows[f"--max-softness x{factor:g}"], _ = measured(tables, clips, args.k, first, floors)
    for name, (auto, covers, same, minutes) in rows.items():
        print(f"| {name} | {auto:.0f} | {covers:.3f} | {same:.2f} | {minutes:.3f} |")
    print(
        json.dumps({"benchmark": "sensitivity", "rows": {k: [round(float(x), 4) for x in v] for k, v in rows.items()}})
    )


if __name__ == "__main__":
    main()
