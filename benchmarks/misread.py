"""Are jumps distinguished from quick movement? Shares of faces that the check for jumps in time calls misread.

    python -m benchmarks.misread FACESET...

A row per faceset: of the footage as it is, of its frames in random order and of every 15th frame at 25 fps (pictures
and time lapses: no face is misread), and of 5, 10 and 20 % misread faces the share that is found, with false alarms.
Landmarks are trusted throughout, so that only jumps count.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from curate.dataset.faceset import open_faceset
from curate.select.misread import misread
from curate.select.selection import select_columns

SHARES = (0.05, 0.1, 0.2)


def spoilt(table: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The table with so many faces misread: another head pose and expression; and which."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(table), round(share * len(table)), replace=False)
    wild = table.astype({"yaw": float, "pitch": float})
    wild.loc[rows, "yaw"], wild.loc[rows, "pitch"] = rng.uniform(-60, 60, len(rows)), rng.uniform(-40, 40, len(rows))
    for row in rows.tolist():
        wild.at[row, "expression"] = rng.uniform(-0.2, 0.6, 52).astype(np.float32)
    return wild, np.isin(np.arange(len(wild)), rows)


def measured(table: pd.DataFrame) -> dict[str, float]:
    """The row of one faceset: its kept faces in order of time."""
    found = {"faces": len(table), "as filmed": misread(table).mean()}
    order = np.random.default_rng(0).permutation(len(table))
    found["random order"] = misread(table.iloc[order].reset_index(drop=True).assign(time=table["time"])).mean()
    few = table.iloc[::15].reset_index(drop=True)
    found["time lapse"] = misread(few.assign(time=np.arange(len(few)) / 25, frame=np.arange(len(few)))).mean()
    for share in SHARES:
        wild, wrong = spoilt(table, share, 1)
        called = misread(wild)
        found[f"found of {share:.0%}"], found[f"false at {share:.0%}"] = called[wrong].mean(), called[~wrong].mean()
    return {name: round(float(value), 4) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facesets", nargs="+", type=Path)
    rows = {}
    for folder in parser.parse_args().facesets:
        table = open_faceset(folder).table(select_columns(), kept=True)
        table = table[table["kept"] & table["yaw"].notna()].sort_values(["clip", "time"], ignore_index=True)
        rows[folder.name] = measured(table.assign(landmark_confidence=np.float32(0.95)))
    print(pd.DataFrame(rows).T.to_string())
    print(json.dumps({"benchmark": "misread", "rows": rows}))


if __name__ == "__main__":
    main()
